package promote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// record says of every promotion that is about to move a tag what it does and why it
// may. If that cannot be written, nothing moves.
func (r *run) record(ctx context.Context) error {
	r.Step("Record")
	if err := r.readLedgers(ctx); err != nil { // of tags that were named late
		return fmt.Errorf("nothing has moved: %w", err)
	}
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		g.Go(func() error {
			if err := p.ledger.catchUp(ctx, p.holds()); err != nil {
				return err
			}
			if p.moves() || p.unsaid() {
				return p.attach(ctx, r.recordOf(p))
			}
			return p.recordedBefore(ctx)
		})
	}
	switch err := g.Wait(); {
	case err != nil && slices.ContainsFunc(r.promotions, (*promotion).moves):
		return fmt.Errorf("the record could not be written, so nothing has moved: %w", err)
	case err != nil:
		return &unrecordedError{err}
	}
	for _, p := range r.promotions {
		r.tellCaughtUp(p)
		r.tellNotices(p)
		if w := p.ledger.wrote; w != nil {
			r.Info(fmt.Sprintf("recorded as %s in %s", w.Digest(), p.target.Name()))
		}
	}
	return nil
}

func (p *promotion) attach(ctx context.Context, record document.Record) error {
	written, err := p.ledger.book.Attach(ctx, p.ledger.page, record, v1.Descriptor{
		MediaType: types.MediaType(p.root.MediaType), Digest: p.root.Digest, Size: int64(len(p.root.Raw)),
	})
	if err != nil {
		return err
	}
	p.ledger.wrote, p.ledger.digest = &written, written.Digest()
	return nil
}

// recordedBefore names the record of what is in place already, if there is one, and
// writes the lines that the ledger lacked: that is all there is left to do.
func (p *promotion) recordedBefore(ctx context.Context) error {
	page, err := p.ledger.book.Write(ctx, p.ledger.page)
	if err != nil {
		return err
	}
	p.ledger.page = page
	if line, known := p.ledger.recorded(p.root.Digest.String()); known {
		p.ledger.digest, p.ledger.listed = line.Record, true
	}
	return nil
}

// unsaid reports whether an earlier attempt has moved every tag, and nothing but this
// run knows that: its line says that an attempt failed, or the tag that shows what the
// environment holds held it before.
func (p *promotion) unsaid() bool {
	lines := p.ledger.page.Lines()
	if len(lines) == 0 || !p.continues() {
		return false
	}
	last := lines[len(lines)-1]
	return !last.Outcome.Good() && last.Fault == "" && last.Digest == p.root.Digest.String()
}

// recordOf is what the record of a promotion says.
func (r *run) recordOf(p *promotion) document.Record {
	d := p.document()
	record := document.Record{
		Version: r.request.Version, Repository: d.Repository, Digest: d.Digest,
		Mode: r.recordMode(), Environment: r.request.TargetEnv, Policy: r.policy(),
		From: d.From, Source: d.Source, Tags: p.recordTags(), PreviousDigest: p.previousDigest(),
		Job: r.request.Job, Approvers: p.approvers(), Reason: r.request.Reason,
		Gates: p.verdicts, Overrides: overridesOf(p.verdicts),
		Started: p.dated(r.request), Ended: time.Now().UTC(), Bytes: d.Copied.Bytes,
		Attachments: attachmentsOf(p.graph),
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

// attachmentsOf names what is attached as a record does. Earlier records are attached as
// well, and are no part of what was promoted.
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
// same images may be released again, but not by the same run.
func (r *run) releaseID() string {
	job := r.request.Job
	unique := job.Repository + "\n" + job.RunID + "\n" + job.Name
	if job.RunID == "" {
		unique = r.request.Started.Format(time.RFC3339Nano)
	}
	sum := sha256.Sum256([]byte(r.release() + "\n" + unique))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// unrecordedError says that everything is done, but for the ledger's lines: exit 1.
type unrecordedError struct{ err error }

func (e *unrecordedError) Error() string {
	return fmt.Sprintf("every tag has moved, but the ledger does not list it yet: %v", e.err)
}

func (e *unrecordedError) Unwrap() error { return e.err }

func (e *unrecordedError) hint() string {
	text := "Run it again, which adds the line, or let the next promotion there do it: the record itself is in the registry."
	if more := registry.HintOf(e.err); more != "" {
		text += "\n" + more
	}
	return text
}

// listTime is how long the writing of the ledger may still take once the run has been
// ended.
const listTime = 2 * time.Second

// list adds what became of each record to its ledger. Of a run that has failed, only
// those of tags that had begun to move say anything.
func (r *run) list(ctx context.Context, moved error, begun []move) error {
	ctx, cancel := queue.Outlive(ctx, listTime)
	defer cancel()
	g, inner := group(ctx)
	g.SetLimit(movesAtOnce)
	for _, p := range r.promotions {
		outcome := r.outcome(moved)
		began := slices.ContainsFunc(begun, func(m move) bool { return m.promotion == p })
		if p.ledger.wrote == nil || moved != nil && !began {
			continue
		}
		g.Go(func() error { return p.ledger.append(inner, outcome) })
	}
	err := g.Wait()
	for _, p := range r.promotions {
		r.tellNotices(p)
	}
	return err
}

func (r *run) outcome(moved error) document.Outcome {
	switch {
	case moved != nil:
		return document.OutcomeFailed
	case r.request.Mode == Rollback:
		return document.OutcomeRolledBack
	default:
		return document.OutcomePromoted
	}
}

func (c *chronicle) append(ctx context.Context, outcome document.Outcome) error {
	page, err := c.book.Append(ctx, c.page, *c.wrote, outcome)
	if err != nil {
		return err
	}
	c.page, c.listed = page, true
	return nil
}
