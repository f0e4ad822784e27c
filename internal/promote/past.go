package promote

import (
	"context"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
)

// past is what a rollback knows of an environment.
type past struct {
	lines   []document.Line // oldest first
	state   ledger.State
	midway  string           // digest that a run was bringing when it was ended; empty: none was
	before  string           // digest that the tag held then
	to      string           // digest that it goes back to
	brought *document.Line   // what brought that image there before; nil: no record tells
	record  *document.Record // of that; nil: it cannot be read
}

// enoughLines is how much of a history a rollback reads, unless it is asked for more.
const enoughLines = 100

// readPast reads what the environment's tags hold, and what its records say.
func (r *run) readPast(ctx context.Context) error {
	g, inner := group(ctx)
	g.Go(func() error { return r.readLedgers(inner) })
	g.Go(func() error { return r.observeNamed(inner) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := r.findMidway(ctx); err != nil {
		return err
	}
	least := enoughLines
	if r.request.To.Text != "" {
		least = 0
	}
	g, ctx = group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		if p.ledger.book != nil {
			g.Go(func() error { return p.readPast(ctx, least) })
		}
	}
	return g.Wait()
}

// findMidway finds what runs were bringing that were ended while their tags moved. It
// is put back or brought whole later on: that a tag holds it proves no record.
func (r *run) findMidway(ctx context.Context) error {
	for _, m := range r.moves() {
		if m.fixed || m.journal == nil || m.journal.Done {
			continue
		}
		at := slices.IndexFunc(m.journal.Moves, func(j ledger.Move) bool { return j.Tag == m.text })
		if at < 0 || m.past.midway != "" {
			continue
		}
		i, err := r.follow(ctx, m)
		if err != nil {
			return err
		}
		if i != nil {
			m.past.midway, m.past.before = m.journal.Moves[at].After, m.journal.Moves[at].Before
		}
	}
	return nil
}

func (p *promotion) readPast(ctx context.Context, least int) error {
	holds := p.holds()
	if p.past.midway != "" {
		holds = ""
	}
	if err := p.ledger.catchUp(ctx, holds); err != nil {
		return err
	}
	h, err := p.ledger.book.History(ctx, p.ledger.page, least)
	if err != nil && len(h.Lines) == 0 {
		return err
	}
	p.past.lines, p.past.state = h.Lines, ledger.Replay(h.Lines)
	return nil
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
			record, _, err := p.ledger.book.Record(ctx, *p.past.brought)
			if err == nil {
				p.past.record = &record
			}
			return context.Cause(ctx)
		})
	}
	return g.Wait()
}
