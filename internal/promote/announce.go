package promote

import (
	"context"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/queue"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// announcement says of a promotion that is about to move a tag what it does and why it
// may, while its image is copied; nil if none moves. The record stands before the first
// tag moves; until one has moved it counts for nothing.
func (r *run) announcement(ctx context.Context, p *promotion) func(context.Context) error {
	switch {
	case p.ledger.book == nil || !p.moves():
		return nil
	case p.ledger.early != nil:
		return func(context.Context) error { return p.ledger.waitEarly() }
	}
	record, holds := r.recordOf(ctx, p), p.holds() // before its tags are read again
	return func(ctx context.Context) error { return p.announce(ctx, record, holds) }
}

// announceEarly begins with the records of a rollback as soon as it is known where that
// goes, where no gate can refuse it: all that they say of the image, the line of what
// brought it there tells. They are attached to it once it was read.
func (r *run) announceEarly(ctx context.Context) {
	if !r.keepsRecords() || r.request.Gates != nil && !r.request.Gates.Policy.IsZero() {
		return
	}
	r.leaveTaken()
	for _, p := range r.promotions {
		if p.past.brought == nil || p.past.brought.Bytes == 0 || !p.named() || p.ledger.book == nil || !p.moves() || p.underWay() {
			continue
		}
		record, holds, done := r.recordOf(ctx, p), p.holds(), make(chan struct{})
		p.ledger.early = done
		r.ahead.Go(func() {
			defer close(done)
			p.ledger.earlyErr = r.announceResolved(ctx, p, record, holds)
		})
	}
}

// announceResolved stores the record at once, and attaches it once the image was read.
func (r *run) announceResolved(ctx context.Context, p *promotion, record document.Record, holds string) error {
	draft, err := p.draft(ctx, record, holds)
	if err != nil {
		return err
	}
	select {
	case <-r.resolved:
		return p.attach(ctx, draft)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// underWay reports whether a journal says that the tags are moving, or were when a run
// was ended: what they hold now is then not what they held before this one.
func (p *promotion) underWay() bool {
	return slices.ContainsFunc(p.tags, func(t *tag) bool { return t.journal != nil && !t.journal.Done })
}

// named reports whether all tags have their names, and were read.
func (p *promotion) named() bool {
	return !slices.ContainsFunc(p.tags, func(t *tag) bool { return t.text == "" || !t.observed })
}

func unwritten(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the record could not be written, so nothing has moved: %w", err)
}

// record sees that every promotion that is to move a tag has its record. One that says
// no longer what is so, as somebody else has promoted there meanwhile, is written anew.
func (r *run) record(ctx context.Context) error {
	r.Step("Record")
	err := r.readAgain(ctx)
	if err == nil {
		err = r.recordAnew(ctx)
	}
	switch {
	case err != nil && slices.ContainsFunc(r.promotions, (*promotion).moves):
		return unwritten(err)
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

// recordAnew writes the records of tags that were named late, and of those that were
// moved by others since, and lets the ledgers be where nothing moves.
func (r *run) recordAnew(ctx context.Context) error {
	if err := r.readLedgers(ctx); err != nil {
		return err
	}
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		if p.ledger.wrote != nil && p.ledger.previous == p.previousDigest() && p.ledger.follows == p.ledger.page.Last() {
			continue
		}
		g.Go(func() error {
			if err := p.ledger.catchUp(ctx, p.holds()); err != nil {
				return err
			}
			if p.moves() || p.unsaid() {
				return p.announce(ctx, r.recordOf(ctx, p), p.holds())
			}
			return p.recordedBefore(ctx)
		})
	}
	return g.Wait()
}

// announce writes a promotion's record onto its image.
func (p *promotion) announce(ctx context.Context, record document.Record, holds string) error {
	draft, err := p.draft(ctx, record, holds)
	if err != nil {
		return err
	}
	return p.attach(ctx, draft)
}

// draft stores a record, once the ledger has caught up.
func (p *promotion) draft(ctx context.Context, record document.Record, holds string) (*ledger.Draft, error) {
	c := &p.ledger
	if err := c.catchUp(ctx, holds); err != nil {
		return nil, err
	}
	c.previous, c.follows = record.PreviousDigest, c.page.Last()
	return c.book.Draft(ctx, c.page, record)
}

// attach attaches a record to the image.
func (p *promotion) attach(ctx context.Context, draft *ledger.Draft) error {
	c := &p.ledger
	written, err := c.book.Attach(ctx, draft, v1.Descriptor{
		MediaType: types.MediaType(p.root.MediaType), Digest: p.root.Digest, Size: int64(len(p.root.Raw)),
	})
	if err != nil {
		return err
	}
	c.wrote, c.digest = &written, written.Digest()
	if p.source.Same(p.target) {
		return nil // that is seen to while the tags move: nothing is copied meanwhile
	}
	return c.book.Settle(ctx, written)
}

// settle sees, while the tags move, that no rival has taken the records from what is
// listed as attached to the images.
func (r *run) settle(ctx context.Context) (settled func() error) {
	ctx, cancel := queue.Outlive(ctx, listTime)
	g, ctx := group(ctx)
	for _, p := range r.promotions {
		if p.ledger.wrote != nil && p.source.Same(p.target) {
			g.Go(func() error { return p.ledger.book.Settle(ctx, *p.ledger.wrote) })
		}
	}
	return func() error {
		defer cancel()
		return g.Wait()
	}
}

// prepareRecords asks what the records need to know, while the images are inspected.
func (r *run) prepareRecords(ctx context.Context) {
	if !r.keepsRecords() {
		return
	}
	for _, p := range r.promotions {
		if p.ledger.book == nil || !p.moves() || p.ledger.early != nil {
			continue
		}
		p.ledger.listing = p.source.Same(p.target) && r.request.Attachments
		done := make(chan struct{})
		p.ledger.prepared = done
		r.ahead.Go(func() {
			defer close(done)
			_ = p.ledger.book.Prepare(ctx, r.request.Job, r.recordMode())
		})
		r.ahead.Go(func() { _, _ = p.ledger.finder.HasAPI(ctx, p.root.Digest) }) // how the record is to be listed
	}
}

// readAttached reads what is attached to an image that stays in its repository, where
// that is not walked: as far as it can be told without a request of its own.
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
