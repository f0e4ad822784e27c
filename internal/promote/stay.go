package promote

import (
	"context"
	"time"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
)

// stay is what the records of the environment before say that it holds.
type stay struct {
	repo  *registry.Repository
	book  *ledger.Book
	page  *ledger.Page
	known bool // there are records
	err   error

	digest string    // that it holds; empty: nothing, or it is not known
	since  time.Time // without a break
}

// stayLines is how much of a history is read to find out since when an environment
// holds an image.
const stayLines = 50

// readStay reads the records of the environment before. What cannot be read is for the
// gate to tell.
func (r *run) readStay(ctx context.Context, i *image) error {
	repo, err := r.openFrom(ctx, i)
	if err != nil {
		return err
	}
	s := &i.from.records
	s.repo = repo
	s.book = ledger.Open(repo, referrer.NewFinder(repo), i.from.Environment)
	if s.page, err = s.book.Read(ctx); err == nil {
		err = s.replay(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.err = err
	return nil
}

func (s *stay) replay(ctx context.Context) error {
	h, err := s.book.History(ctx, s.page, stayLines)
	if err != nil {
		return err
	}
	state := ledger.Replay(h.Lines)
	current, known := state.Current()
	s.known, s.digest = known, current.Digest
	s.since, _ = state.Occupancy(current.Digest, time.Now())
	return nil
}

// settleFrom looks for records that no line names, where the ledger says something else
// than the tag: the run that moved the tag may not have come to write its line.
func (r *run) settleFrom(ctx context.Context, judged []*promotion) error {
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	seen := map[*image]bool{}
	for _, p := range judged {
		h := p.held()
		if h == nil || seen[p.image] || h.Digest == "" || h.Err != nil || h.LedgerErr != nil || h.Planned || h.Record == h.Digest {
			continue
		}
		seen[p.image] = true
		g.Go(func() error { return p.from.records.catchUp(ctx, h.Digest) })
	}
	return g.Wait()
}

func (s *stay) catchUp(ctx context.Context, holds string) error {
	tags, _, err := s.repo.Tags(ctx)
	if err == nil {
		s.page, _, err = s.book.CatchUp(ctx, s.page, ledger.Sources{Tags: tags, Holds: holds})
	}
	if err == nil {
		err = s.replay(ctx)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.err = err
	return nil
}
