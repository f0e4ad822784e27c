package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
)

// A head is full with so many entries or bytes. While a run is at work it may grow nearly to the limit:
// a segment is closed when the last outcome is written, and not in the way of tags.
const (
	fullEntries = 80
	fullHead    = 120 << 10 // bytes
	spare       = 4         // entries, of at most maxAnnotation bytes

	segmentEntries = 64
)

// close moves the oldest final entries of a full head into a segment. Two runs that close the same
// segment write the same bytes; a segment that is there already counts as it is.
func (l *Ledger) close(ctx context.Context, next head) (head, error) {
	entries, bytes := fullEntries, fullHead
	if slices.ContainsFunc(next.entries, Entry.IsOpen) {
		entries, bytes = maxEntries-spare, maxHead-2*maxAnnotation
	}
	if len(next.entries) <= entries && size(next.entries) <= bytes {
		return next, nil
	}
	s := head{closed: next.closed + 1, previous: next.previous, entries: oldest(next.entries)}
	if len(s.entries) == 0 {
		return next, nil // all are open: put says so
	}
	tag := l.key.segment(s.closed)
	reading, err := l.store.ReadTag(ctx, tag)
	if err != nil {
		return next, err
	}
	m := s.encode(l.key)
	if reading.Exists {
		m = reading.Manifest
		there, err := l.parse(tag, m)
		if err != nil {
			return next, err
		}
		s.entries = there.entries
	} else if err := l.store.WriteTag(ctx, tag, m, reading.Began.Add(fresh)); err != nil {
		return next, err
	}
	return next.closedBy(s, m.Digest.String()), nil
}

// oldest are the oldest final entries, as many as a segment has.
func oldest(entries []Entry) (final []Entry) {
	bytes := 0
	for _, e := range entries {
		if e.IsOpen() {
			continue
		}
		if bytes += size([]Entry{e}); len(final) == segmentEntries || bytes > maxHead-4<<10 {
			break
		}
		final = append(final, e)
	}
	return final
}

// closedBy is the head without the entries of a new segment.
func (h head) closedBy(s head, digest string) head {
	var ids []string
	for _, e := range s.entries {
		ids = append(ids, e.ID)
	}
	h.entries = slices.DeleteFunc(slices.Clone(h.entries), func(e Entry) bool { return slices.Contains(ids, e.ID) })
	h.moved = append(slices.Clone(h.moved[max(0, len(h.moved)-segmentEntries):]), ids...)
	h.closed, h.previous = s.closed, digest
	return h
}

// History is what a ledger says from some entry on.
type History struct {
	Entries []Entry // oldest first
	Whole   bool    // it begins with the first entry; else there are older ones that were not read
	Lost    []int   // numbers of segments that cannot be read as they were written
}

// segmentsAtOnce is how many segments are read side by side: a thousand entries have 15.
const segmentsAtOnce = 32

// History reads segments until it has at least so many entries, or all; 0 means all. A segment
// that is missing, or has other bytes than the ledger says, is among Lost.
func (l *Ledger) History(ctx context.Context, v View, least int) (History, error) {
	h := History{Whole: true}
	need := v.closed
	if least > 0 {
		need = min(need, (max(0, least-len(v.entries))+segmentEntries-1)/segmentEntries)
	}
	h.Whole = need == v.closed
	segments := make([]segment, need)
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(segmentsAtOnce)
	for n := range segments {
		g.Go(func() (err error) {
			segments[n], err = l.readSegment(inner, v.closed-n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return History{Entries: v.entries}, err
	}
	h.join(v, segments)
	return h, nil
}

// segment is a part of the ledger as it was read.
type segment struct {
	number int
	head   *head // nil: it is missing, or not a segment of this ledger
}

func (l *Ledger) readSegment(ctx context.Context, n int) (segment, error) {
	tag := l.key.segment(n)
	r, err := l.store.ReadTag(ctx, tag)
	if err != nil {
		return segment{}, err
	}
	if !r.Exists {
		return segment{number: n}, nil
	}
	h, err := l.parse(tag, r.Manifest)
	if err != nil {
		return segment{number: n}, nil //nolint:nilerr // it counts as lost
	}
	return segment{n, h}, nil
}

// join puts segments, the newest first, before the entries of the heads.
func (h *History) join(v View, segments []segment) {
	h.Entries = slices.Clone(v.entries)
	expected := v.previous // empty: not known, as a newer segment is lost
	for _, s := range segments {
		if s.head == nil || s.head.closed != s.number || expected != "" && s.head.digest.String() != expected {
			h.Lost, expected = append(h.Lost, s.number), ""
			continue
		}
		expected = s.head.previous
		h.Entries = append(s.head.entries, h.Entries...)
	}
}

// LostError says that segments of a ledger cannot be read as they were written.
func (l *Ledger) LostError(h History) error {
	if len(h.Lost) == 0 {
		return nil
	}
	return &Error{
		Reference: l.store.Reference(l.key.segment(h.Lost[0])),
		Err:       fmt.Errorf("%w: %d of its segments", errLost, len(h.Lost)),
		Hint:      "A clean-up may have deleted it, or somebody has written the tag. Exclude promotion-ledger.* from clean-ups. The newer entries are complete.",
	}
}

var errLost = errors.New("entries are missing, or are not those that the ledger names")

// Tags are the tags of a ledger: both heads and all segments. Versions of heads are not
// among them.
func (l *Ledger) Tags(v View) []string {
	tags := []string{l.key.head(0), l.key.head(1)}
	for n := range v.closed {
		tags = append(tags, l.key.segment(n+1))
	}
	return tags
}
