package ledger

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tries is how often a ledger is written before giving up on it.
const tries = 12

// Append writes the line of a record that [Book.Attach] wrote: what became of it. It
// takes two round trips where nobody else writes. The page should have been read as
// late as can be, such as while the tags moved, and lines that [Book.CatchUp] added
// are written with it. It returns the ledger as it is then.
//
// No registry compares before it swaps. The ledger is written, read again, and joined
// with what is there until nothing is lacking; where that shows a rival, it is read
// once more after a moment. A writer that read before and comes after that last look
// can still take lines away: the next promotion finds those by their records' tags.
func (b *Book) Append(ctx context.Context, p *Page, w Written, outcome document.Outcome) (*Page, error) {
	line := w.Line(outcome)
	if outcome.Good() { // which may be long after the record was written, by an earlier attempt
		line.Moved = time.Now().UTC()
	}
	e, err := newEntry(line, nil)
	if err != nil {
		return nil, err
	}
	return b.Write(ctx, p.with(e))
}

// Write writes what [Book.CatchUp] has added to a page, and nothing if that is nothing.
func (b *Book) Write(ctx context.Context, p *Page) (*Page, error) {
	if !p.changed || len(p.entries) == 0 {
		return p, nil
	}
	s := settling{Book: b, want: p}
	now, err := s.first(ctx)
	for nth := 1; now == nil && err == nil && nth < tries; nth++ {
		now, err = s.again(ctx, nth)
	}
	if now != nil || err != nil {
		return now, err
	}
	return nil, b.fail("write ledger", ledgerTag(b.key), errors.New("others kept overwriting it"),
		"Promote to one environment one at a time: give the workflow a concurrency group. Run the promotion again, or the next one adds what is missing.")
}

// settling is one call's work on a ledger.
type settling struct {
	*Book
	want  *Page // everything that this call knows of
	looks int   // how often nothing was lacking since it was written
}

// first writes and looks. It returns what is there if nobody else has written.
func (s *settling) first(ctx context.Context) (*Page, error) {
	wrote, err := s.write(ctx)
	if err != nil {
		return nil, err
	}
	now, err := s.Read(ctx)
	if err != nil || now.digest == wrote {
		return now, err
	}
	return nil, s.take(ctx, now)
}

// again looks, and writes what is lacking at once: between the two is a rival's
// chance. It returns what is there when two looks have found nothing lacking.
func (s *settling) again(ctx context.Context, nth int) (*Page, error) {
	if err := referrer.Pause(ctx, min(nth, 5)); err != nil {
		return nil, err
	}
	now, err := s.Read(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.take(ctx, now); err != nil {
		return nil, err
	}
	if s.want.changed {
		s.looks = 0
		_, err = s.write(ctx)
		return nil, err
	}
	if s.looks++; s.looks < 2 {
		return nil, nil
	}
	return now, nil
}

// take joins what is there with what is wanted, which says then whether it is more.
func (s *settling) take(ctx context.Context, now *Page) (err error) {
	if !now.Exists() {
		gone := *s.want
		gone.changed, s.want = true, &gone
		return nil
	}
	s.want, err = s.join(ctx, now, s.want)
	return err
}

// write writes full parts under tags of their own, and then the newest.
func (s *settling) write(ctx context.Context) (wrote v1.Hash, err error) {
	pages := s.want.split()
	for i, p := range pages {
		tag := ledgerTag(s.key)
		if i < len(pages)-1 {
			tag = partTag(s.key, p.number())
		}
		m := p.manifest(s.key)
		if len(m.Raw) > registry.MaxManifest {
			return wrote, s.fail("write ledger", tag, errors.New("one of its lines is too long"), "")
		}
		if _, err := s.repo.PutManifest(ctx, tag, m); err != nil {
			return wrote, immutable(err)
		}
		if i < len(pages)-1 {
			pages[i+1].older = m.Digest.String()
		}
		wrote = m.Digest
	}
	s.want = pages[len(pages)-1]
	return wrote, nil
}

func immutable(err error) error {
	var refused *registry.Error
	if errors.Is(err, registry.ErrTagImmutable) && errors.As(err, &refused) {
		refused.Hint = "Every promotion is added to the ledger under that tag. Exclude " + ledgerPrefix + "* from the immutability of this repository's tags."
	}
	return err
}

// maxJoin is how many parts two writers can be apart.
const maxJoin = 20

// join is everything that two versions of a ledger have, and says whether that is
// more than what is there, which keeps its annotations and its order.
func (b *Book) join(ctx context.Context, there, more *Page) (*Page, error) {
	var err error
	for n := 0; there.older != more.older; n++ {
		switch {
		case n == maxJoin:
			return nil, b.fail("write ledger", ledgerTag(b.key), errors.New("it has been replaced by another"), "See what mode audit says of it.")
		case there.number() >= more.number() && there.older != "":
			there, err = b.extend(ctx, there)
		default:
			more, err = b.extend(ctx, more)
		}
		if err != nil {
			return nil, err
		}
	}
	return union(there, more), nil
}

// extend is the page with the part before it.
func (b *Book) extend(ctx context.Context, p *Page) (*Page, error) {
	older, err := b.before(ctx, p)
	if err != nil {
		return nil, err
	}
	older.entries = append(older.entries, p.entries...)
	return older, nil
}

// union has every line of two pages that follow the same part.
func union(there, more *Page) *Page {
	all := *there
	all.rebuilt = there.rebuilt || more.rebuilt
	all.changed = all.rebuilt != there.rebuilt
	all.entries = nil
	at := map[string]int{}
	for _, e := range there.entries {
		if _, twice := at[e.Record]; !twice {
			at[e.Record] = len(all.entries)
			all.entries = append(all.entries, e)
		}
	}
	var lacking []entry
	for _, e := range more.entries {
		i, known := at[e.Record]
		switch {
		case !known:
			at[e.Record] = -1
			lacking = append(lacking, e)
		case i >= 0 && rank(e.Line) > rank(all.entries[i].Line):
			all.entries[i], all.changed = better(all.entries[i], e), true
		}
	}
	slices.SortFunc(lacking, byTime)
	next := &all
	for _, e := range lacking {
		next = next.insert(e)
	}
	return next
}
