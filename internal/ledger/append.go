package ledger

import (
	"context"
	"errors"
	"fmt"
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
	s := settling{Book: b, want: p, has: p.version()}
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
	want  *Page   // everything that this call knows of
	has   version // the newest that it has all lines of
	tag   string  // that it was written under last
	looks int     // how often nothing was lacking since it was written
}

// errTaken says that a rival has written the version that was to be written.
var errTaken = errors.New("another run has written this version")

// first writes and looks. It returns what is there if nobody else has written.
func (s *settling) first(ctx context.Context) (*Page, error) {
	wrote, err := s.write(ctx)
	if errors.Is(err, errTaken) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now, err := s.read(ctx, s.tag)
	if err != nil || now.digest == wrote {
		return now, err
	}
	return nil, s.take(ctx, now)
}

// again looks, and writes what is lacking at once: between the two is a rival's
// chance. It returns what is there when two looks have found nothing lacking; one
// where it is a version, which nobody changes.
func (s *settling) again(ctx context.Context, nth int) (*Page, error) {
	if err := referrer.Pause(ctx, min(nth, 5)); err != nil {
		return nil, err
	}
	now, err := s.newest(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.take(ctx, now); err != nil {
		return nil, err
	}
	switch {
	case s.want.changed && s.fixed:
		return s.first(ctx)
	case s.want.changed:
		s.looks = 0
		_, err = s.write(ctx)
		if errors.Is(err, errTaken) {
			err = nil
		}
		return nil, err
	}
	if s.looks++; s.looks < 2 && !s.fixed {
		return nil, nil
	}
	return now, nil
}

// newest is what the ledger is now.
func (s *settling) newest(ctx context.Context) (*Page, error) {
	now, err := s.Read(ctx)
	if err != nil || !s.fixed {
		return now, err
	}
	tags, _, err := s.repo.Tags(ctx)
	if err != nil {
		return nil, err
	}
	return s.resume(ctx, now, tags)
}

// take joins what is there with what is wanted, which says then whether it is more.
func (s *settling) take(ctx context.Context, now *Page) (err error) {
	if !now.Exists() {
		gone := *s.want
		gone.changed, s.want = true, &gone
		return nil
	}
	if s.has.before(now.version()) {
		s.has = now.version()
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
		if wrote, err = s.place(ctx, tag, p); err != nil {
			return wrote, err
		}
		if i < len(pages)-1 {
			pages[i+1].older = wrote.String()
		}
	}
	s.want = pages[len(pages)-1]
	return wrote, nil
}

// place writes a part under its tag, or, where that cannot be changed, under the next
// version's. Two who write the same version at once are told apart by the registry:
// the second is refused. The tag is tried by every run, so that once it can be changed
// it is.
func (s *settling) place(ctx context.Context, tag string, p *Page) (v1.Hash, error) {
	if newest := tag == ledgerTag(s.key); !newest || !s.fixed {
		wrote, err := s.putPage(ctx, tag, p)
		if !errors.Is(err, registry.ErrTagImmutable) {
			return wrote, err
		}
		if newest {
			s.fixed = true
			s.notice(fmt.Sprintf("Tags of %s cannot be changed: the ledger is kept under tags of its own, one for each promotion. Exclude promotion-ledger*, promotion-journal-* and sha256-* from immutability.", s.repo.Name()))
		}
	}
	next := *p
	last, ok := s.serial(tag, p)
	if !ok {
		return v1.Hash{}, errTaken
	}
	if next.serial = last + 1; next.serial > maxSerial {
		return v1.Hash{}, s.fail("write ledger", tag, fmt.Errorf("part %d has %d versions, the most that it can have", p.number(), maxSerial),
			"Exclude promotion-ledger* from the immutability of this repository's tags.")
	}
	wrote, err := s.putPage(ctx, versionTag(s.key, next.version()), &next)
	switch {
	case errors.Is(err, registry.ErrTagImmutable):
		return wrote, errTaken
	case err == nil:
		s.know(next.version())
	}
	return wrote, err
}

// serial is the version's that comes before the one to be written. The newest part
// must have all lines of it. A full part is read by its digest: its number is only to be
// free.
func (s *settling) serial(tag string, p *Page) (serial int, ok bool) {
	if tag != ledgerTag(s.key) {
		return max(p.serial, s.serials[p.number()]), true
	}
	has := p.version()
	if has.before(s.has) {
		has = s.has
	}
	return has.serial, !has.before(s.known) && has.part == p.number()
}

func (s *settling) putPage(ctx context.Context, tag string, p *Page) (v1.Hash, error) {
	m := p.manifest(s.key)
	if len(m.Raw) > registry.MaxManifest {
		return m.Digest, s.fail("write ledger", tag, errors.New("one of its lines is too long"), "")
	}
	s.tag = tag
	_, err := s.repo.PutManifest(ctx, tag, m)
	return m.Digest, err
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
	if there.number() == more.number() {
		all.serial = max(there.serial, more.serial)
	}
	all.changed = there.changed || all.rebuilt != there.rebuilt
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
