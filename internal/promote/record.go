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
		Mode: r.recordMode(), Environment: r.request.TargetEnv, Ledger: p.ledgerName(r.request), Entry: p.ledger.id, Policy: r.policy(),
		From: p.heldDocument(), Source: p.sourceDocument(), Tags: p.recordTags(), PreviousDigest: p.previousDigest(),
		Job: r.request.Job, Approvers: p.approvers(), Reason: r.request.Reason,
		Gates: p.verdicts, Overrides: overridesOf(p.verdicts),
		Started: p.dated(r.request), Ended: time.Now().UTC(), Bytes: p.bytes(),
	}
	switch {
	case p.ledger.stored != nil: // the graph may have been let go since
		record.Attachments, record.Restores = p.ledger.stored.record.Attachments, p.ledger.stored.record.Restores
	case p.past.brought != nil:
		record.Restores = p.past.brought.Record // which lists what is attached
	case p.ledger.listing:
		record.Attachments = p.attachmentsThere(ctx)
	default:
		record.Attachments = attachmentsOf(p.graph)
	}
	if len(r.promotions) > 1 {
		record.Release, record.Members = r.releaseID(), r.members()
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
	if b := p.past.brought; b != nil && (p.graph == nil || b.Bytes > 0) { // the graph has what was attached since
		return b.Bytes
	}
	return p.graph.Bytes()
}

// attachmentsOf names what is attached as a record does.
func attachmentsOf(g *graph.Graph) (names []string) {
	for _, a := range g.Attachments {
		if ledger.IsRecord(g.Node(a.Digest).Raw) {
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
		if _, _, record := ledger.AttachedRecord(d); !record {
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

// members are all promotions of the release. What a tag pointed to before, its own record says: the
// others are still being read.
func (r *run) members() (all []document.Member) {
	for _, p := range r.promotions {
		m := document.Member{Repository: p.target.Name(), Ledger: p.ledgerName(r.request), Digest: p.root.Digest.String()}
		for _, t := range p.tags {
			m.Tags = append(m.Tags, document.RecordTag{Name: t.text, Fixed: t.fixed, After: m.Digest})
		}
		all = append(all, m)
	}
	return all
}

// release names what the run brings where.
func (r *run) release() string {
	var lines []string
	for _, m := range r.moves() {
		lines = append(lines, m.target.Reference(m.text)+" "+m.root.Digest.String()+"\n")
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// readAttached reads what is attached to an image that stays in its repository, where that is not
// walked: as far as it can be told without a request of its own.
func (r *run) readAttached(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, p := range r.promotions {
		if !p.ledger.listing {
			continue
		}
		g.Go(func() error {
			p.ledger.attached, _ = p.ledger.finder.Listed(ctx, p.root.Digest) // without it the record tells less
			return nil
		})
	}
	return g.Wait()
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
