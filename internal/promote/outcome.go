package promote

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
)

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

// list adds what became of each record to its ledger.
func (r *run) list(ctx context.Context, moved error, begun []move) error {
	ctx, cancel := queue.Outlive(ctx, listTime)
	defer cancel()
	g, inner := group(ctx)
	g.SetLimit(movesAtOnce)
	for _, p := range r.promotions {
		if p.ledger.wrote == nil {
			continue
		}
		outcome := r.outcome(p, moved, begun)
		g.Go(func() error { return p.ledger.append(inner, outcome) })
	}
	err := g.Wait()
	for _, p := range r.promotions {
		r.tellNotices(p)
	}
	return err
}

// undone reports whether tags of the promotion had begun to move, and no moving one of
// them can hold now what it was to bring.
func (p *promotion) undone(begun []move) bool {
	own := slices.DeleteFunc(slices.Clone(begun), func(m move) bool { return m.promotion != p })
	return len(own) > 0 && !slices.ContainsFunc(own, func(m move) bool { return !m.fixed && (m.state == document.TagMoved || m.isOpen()) })
}

// outcome is what became of a promotion. Where none of its tags had begun to move, its
// record counts for nothing; where one may still hold the image, the next run finds out
// whether it does.
func (r *run) outcome(p *promotion, moved error, begun []move) document.Outcome {
	switch {
	case moved == nil && r.request.Mode == Rollback:
		return document.OutcomeRolledBack
	case moved == nil:
		return document.OutcomePromoted
	case p.undone(begun):
		return document.OutcomeFailed
	default:
		return document.OutcomeUnconfirmed
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
