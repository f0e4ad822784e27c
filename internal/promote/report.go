package promote

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// report says everything about the run, however it ended.
func (r *run) report(ctx context.Context, err error) document.Report {
	d := document.Report{
		Result: r.result(err), Mode: string(r.request.Mode), DryRun: r.request.DryRun, NoGates: r.request.NoGates,
		TargetEnv: r.request.TargetEnv, Reason: r.request.Reason,
		Started: r.request.Started, Ended: time.Now().UTC(),
		Notices: r.notices.all(),
		Config:  r.request.Config, Overrides: r.overridden, Job: r.request.Job, Plan: r.request.Plan,
		Histories: r.histories, Lineage: r.lineage, Findings: r.findings, Audited: r.audited, Uncompared: r.uncompared,
	}
	if r.plan != nil {
		d.Plan = r.plan
	}
	if err != nil {
		d.Faults = faultsOf(err)
		if ctx.Err() != nil {
			d.Faults = ended(d.Faults, context.Cause(ctx))
		}
	}
	for _, p := range r.promotions {
		d.Promotions = append(d.Promotions, p.document())
	}
	return d
}

// ended puts the fault first that says why the run ended early and which operation was
// interrupted, or makes one of the cause alone. It leaves out faults that only repeat the cause.
func ended(faults []document.Fault, cause error) []document.Fault {
	why := cause.Error()
	at := slices.IndexFunc(faults, func(f document.Fault) bool { return f.Message != why && strings.Contains(f.Message, why) })
	first := document.Fault{Message: why}
	if at >= 0 {
		first = faults[at]
	}
	first.Hint = cmp.Or(first.Hint, "Run the promotion again: blobs that were copied are not sent again.")
	all := []document.Fault{first}
	for n, f := range faults {
		if n != at && !strings.HasSuffix(f.Message, why) {
			all = append(all, f)
		}
	}
	return all
}

func (r *run) result(err error) document.Result {
	switch {
	case err != nil:
		return resultOf(err)
	case r.request.Mode == Plan:
		return document.Planned
	case r.request.Mode == History:
		return document.Listed
	case r.request.Mode == Audit:
		return r.auditResult()
	case !r.changes():
		return document.Unchanged
	case r.request.DryRun:
		return document.WouldPromote
	case r.request.Mode == Rollback:
		return document.RolledBack
	default:
		return document.Promoted
	}
}

// changes reports whether anything was, or would be, done.
func (r *run) changes() bool {
	if r.wrote() {
		return true
	}
	for _, m := range r.moves() {
		if !m.unchanged() {
			return true
		}
	}
	return false
}

func (p *promotion) document() document.Promotion {
	d := document.Promotion{
		Source:     p.sourceDocument(),
		Repository: p.target.Name(),
		Copied:     p.copied,
		Image:      p.item.Image, From: p.heldDocument(), Gates: p.verdicts, Missing: p.missing,
		Record: p.ledger.digest, Recorded: p.ledger.listed, LedgerHeads: p.ledger.heads(), Brought: p.past.brought,
	}
	if p.root.Digest.Hex != "" {
		d.Digest, d.MediaType = p.root.Digest.String(), p.root.MediaType
	}
	if p.verified {
		d.Verified = string(p.proof.Level())
	}
	if p.graph != nil {
		p.describe(&d)
	}
	for _, t := range p.tags {
		d.Tags = append(d.Tags, p.tagDocument(t))
	}
	return d
}

func (i *image) sourceDocument() document.Source {
	return document.Source{Reference: i.item.Source.Text, Repository: i.source.Name(), Tag: i.item.Source.Tag}
}

func (i *image) heldDocument() *document.Held {
	h := i.held()
	if h == nil {
		return nil
	}
	return &document.Held{Environment: h.Environment, Reference: h.Reference, Digest: h.Digest}
}

func (p *promotion) describe(d *document.Promotion) {
	d.Platforms = p.graph.Platforms()
	d.Content = document.Content{Manifests: len(p.graph.Nodes), Blobs: p.graph.BlobCount(), Bytes: p.graph.Bytes()}
	for _, a := range p.graph.Attachments {
		d.Attachments = append(d.Attachments, document.Attachment{
			Digest: a.Digest.String(), Subject: a.Subject.String(), Tag: a.Tag,
			ArtifactType: p.graph.Node(a.Digest).ArtifactType,
		})
	}
}

func (p *promotion) tagDocument(t *tag) document.Tag {
	d := document.Tag{Fixed: t.fixed, State: t.state, After: t.after, Note: t.note}
	d.Reference = p.target.Reference(t.text)
	if t.text == "" {
		d.Reference = p.target.Name() + ":" + t.template.String()
	}
	if t.observed {
		d.Before = digestText(t.before)
		if t.state == document.TagPending {
			d.After = d.Before
		}
		if t.state == document.TagPending && t.recalled {
			d.After = digestText(t.shown)
		}
		if t.state == document.TagPending && t.lastSeen != nil {
			d.After = *t.lastSeen
		}
		if t.state == document.TagPending && !t.recalled && p.root.Digest.Hex != "" && t.before.Digest() == p.root.Digest {
			d.State = document.TagUnchanged
		}
	}
	return d
}
