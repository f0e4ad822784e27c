package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/ledger"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// recordOf is what the record of a promotion says.
func (r *run) recordOf(ctx context.Context, p *promotion) document.Record {
	record := document.Record{
		Version: r.request.Version, Repository: p.target.Name(), Digest: p.root.Digest.String(),
		Mode: r.recordMode(), Environment: r.request.TargetEnv, Policy: r.policy(),
		From: p.heldDocument(), Source: p.sourceDocument(), Tags: p.recordTags(), PreviousDigest: p.previousDigest(),
		Job: r.request.Job, Approvers: p.approvers(), Reason: r.request.Reason,
		Gates: p.verdicts, Overrides: overridesOf(p.verdicts),
		Started: p.dated(r.request), Ended: time.Now().UTC(), Bytes: p.bytes(),
	}
	switch {
	case p.past.brought != nil:
		record.Restores = p.past.brought.Record // which lists what is attached
	case p.ledger.listing:
		record.Attachments = p.attachmentsThere(ctx)
	default:
		record.Attachments = attachmentsOf(p.graph)
	}
	if len(r.promotions) > 1 {
		record.Release = r.releaseID()
	}
	return record
}

func (r *run) recordMode() document.Mode {
	if r.request.Mode == Rollback {
		return document.ModeRollback
	}
	return document.ModePromote
}

func (r *run) policy() *document.Policy {
	c := r.request.Config
	if c == nil {
		return nil
	}
	uri := c.Path
	if c.Ref != "" {
		uri += "@" + c.Ref
	}
	return &document.Policy{URI: uri, Digest: c.Digest}
}

func (p *promotion) bytes() int64 {
	if p.graph == nil { // which is not read yet
		return p.past.brought.Bytes
	}
	return p.graph.Bytes()
}

// attachmentsOf names what is attached as a record does.
func attachmentsOf(g *graph.Graph) (names []string) {
	for _, a := range g.Attachments {
		if g.Node(a.Digest).ArtifactType == ledger.RecordType {
			continue
		}
		name := a.Tag
		if name == "" {
			name = a.Digest.String()
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// attachmentsThere names what the registry's lists show of an image that stays in its
// repository: cosign's tags of all its manifests, and, where there is the referrers API,
// what is attached to the image itself.
func (p *promotion) attachmentsThere(ctx context.Context) (names []string) {
	for _, d := range p.ledger.attached {
		if d.ArtifactType != ledger.RecordType {
			names = append(names, d.Digest.String())
		}
	}
	var digests []v1.Hash
	for _, n := range p.graph.Nodes {
		digests = append(digests, n.Digest)
	}
	return append(names, p.ledger.finder.Tagged(ctx, digests...)...)
}

func (p *promotion) recordTags() (tags []document.RecordTag) {
	for _, t := range p.tags {
		tags = append(tags, document.RecordTag{Name: t.text, Fixed: t.fixed, Before: digestText(t.before), After: p.root.Digest.String()})
	}
	return tags
}

// previousDigest is what the first moving tag held; of fixed tags alone, nothing.
func (p *promotion) previousDigest() string {
	for _, t := range p.tags {
		if !t.fixed {
			return digestText(t.before)
		}
	}
	return ""
}

// approvers are who approved the run, where a gate has asked.
func (p *promotion) approvers() (names []string) {
	for _, a := range p.evidence.Approvals.List {
		if a.Approved && !slices.Contains(names, a.User) {
			names = append(names, a.User)
		}
	}
	return names
}

func overridesOf(verdicts []document.Verdict) (gates []string) {
	for _, v := range verdicts {
		if v.Overridden && !slices.Contains(gates, v.Gate) {
			gates = append(gates, v.Gate)
		}
	}
	return gates
}

// releaseID is what the records of one release share, and those of no other: the
// same images may be released again, but not by the same run. It is the same in every
// attempt of a run, also where an earlier one wrote but some of the records.
func (r *run) releaseID() string {
	job := r.request.Job
	lines := []string{string(r.recordMode()), job.Repository, job.RunID, job.Name}
	if job.RunID == "" {
		lines = append(lines, r.release(), r.request.Started.Format(time.RFC3339Nano))
	}
	var places []string
	for _, p := range r.promotions {
		places = append(places, p.target.Name()+" "+p.ledgerName(r.request))
	}
	slices.Sort(places)
	sum := sha256.Sum256([]byte(strings.Join(append(lines, places...), "\n")))
	return "sha256:" + hex.EncodeToString(sum[:])
}
