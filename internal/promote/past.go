package promote

import (
	"context"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
)

// past is what a rollback knows of an environment.
type past struct {
	lines         []document.Line // oldest first
	state         ledger.State
	midway        string           // digest that a run was bringing when it was ended; empty: none was
	before        string           // digest that the tag held then
	midwayRelease string           // that it was a member of
	to            string           // digest that it goes back to
	brought       *document.Line   // what brought that image there before; nil: no record tells
	record        *document.Record // of that; nil: it cannot be read
}

// enoughLines is how much of a history a rollback reads, unless it is asked for more.
const enoughLines = 100

// readPast reads what the environment's tags hold, and what its ledger says.
func (r *run) readPast(ctx context.Context) error {
	g, inner := group(ctx)
	var waited bool
	g.Go(func() (err error) {
		waited, err = r.readLedgers(inner)
		return err
	})
	g.Go(func() error { return r.observeNamed(inner) })
	if err := g.Wait(); err != nil {
		return err
	}
	if waited {
		if err := r.observeNamed(ctx); err != nil {
			return err
		}
	}
	least := enoughLines
	if r.request.To.Text != "" {
		least = 0
	}
	g, ctx = group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		if p.ledger.ledger != nil {
			g.Go(func() error { return r.readPastOf(ctx, p, least) })
		}
	}
	return g.Wait()
}

func (r *run) readPastOf(ctx context.Context, p *promotion, least int) error {
	h, err := p.ledger.ledger.History(ctx, p.ledger.view, least)
	if err != nil && len(h.Entries) == 0 {
		return err
	}
	if lost := p.ledger.ledger.LostError(h); lost != nil {
		r.note(lost.Error())
	}
	r.countInPlace(ctx, p, h.Entries)
	p.past.lines = ledger.Lines(h.Entries)
	p.past.state = ledger.Replay(p.past.lines)
	t := p.firstMoving()
	if t == nil {
		return nil
	}
	if e, was, ok := interruptedMove(h.Entries, t.text, digestText(t.shown)); ok {
		p.past.midway, p.past.before, p.past.midwayRelease = e.Line.Digest, was.Back, e.Line.Release
	}
	return nil
}

// countInPlace has promotions count that have moved all their tags, and whose runs have died before
// they said so: this run says it. A rollback is not among them: who starts one again means the same.
func (r *run) countInPlace(ctx context.Context, p *promotion, entries []ledger.Entry) {
	for n, e := range entries {
		if e.IsOpen() && e.Line.Mode == document.ModePromote && r.isInPlace(ctx, p, e) {
			entries[n].Line.Outcome = document.OutcomePromoted
		}
	}
}

// goTo notes where an image goes back to, and when it was there.
func (p *promotion) goTo(digest string) {
	p.past.to, p.past.brought = digest, ledger.Brought(p.past.lines, digest)
}

// readBrought reads the records of what brought the images there before. Without
// one, what is attached now is all that is known.
func (r *run) readBrought(ctx context.Context) error {
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		if p.past.brought == nil {
			continue
		}
		g.Go(func() error {
			blob, ok := recordBlob(*p.past.brought)
			if !ok {
				return nil
			}
			record, _, err := readRecord(ctx, p.target, blob)
			if err == nil {
				p.past.record = &record
			}
			return context.Cause(ctx)
		})
	}
	return g.Wait()
}
