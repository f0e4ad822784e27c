package writeahead

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"golang.org/x/sync/errgroup"
)

// Start is what a run knows when it makes its entry.
type Start struct {
	ID       string // of the entry; the record has it, so that no two records have the same bytes
	View     View
	Found    map[string]string // digest by tag; empty: the tag does not exist
	Resolved []Entry           // entries of dead runs about these tags, with their outcomes
}

// Draft makes the entry of a run, whose record it stores. Run, Record, Line and Tags are to be set.
// It is called again if something changed before the entry was written.
type Draft func(context.Context, Start) (Entry, error)

// Session is a run's own entry while it is open. It is for one goroutine.
type Session struct {
	*Ledger
	id   string
	tags []string

	view      View            // the last that was read
	renewed   time.Time       // when the read began that the last sign of life rests on
	before    map[string]bool // IDs of the entries that are older than this one
	recovered time.Time       // when dead runs were resolved; zero: there were none
}

// ConflictError says that another run is at work on the same tags, or has moved them.
type ConflictError struct {
	Reference string // of the ledger
	Message   string
}

func (e *ConflictError) Error() string { return "ledger " + e.Reference + ": " + e.Message }

// errAtWork says that another run has begun since the last look.
var errAtWork = errors.New("another run is at work")

// Begin writes a run's entry as pending: it is the run's from then on to move the tags. It waits
// until no other run is at work on them, and resolves the entries of runs that are dead in the
// same write. On an error no tag may be moved.
func (l *Ledger) Begin(ctx context.Context, v View, tags []string, draft Draft, say func(string)) (*Session, error) {
	s := &Session{Ledger: l, id: rand.Text(), tags: tags}
	for {
		var err error
		if v, err = l.Await(ctx, v, tags, say); err != nil {
			return nil, err
		}
		v, err = l.write(ctx, v, func(v View, known head) (head, error) { return s.begin(ctx, v, known, draft) })
		switch {
		case errors.Is(err, errAtWork):
			continue
		case err != nil:
			return nil, s.abandon(ctx, err)
		}
		s.view = v
		if err := s.confirm(ctx, v); err != nil {
			return nil, s.abandon(ctx, err)
		}
		return s, nil
	}
}

// begin decides what the ledger says once the run has begun.
func (s *Session) begin(ctx context.Context, v View, known head, draft Draft) (head, error) {
	next := union(known, v.head)
	if v.find(s.id) >= 0 { // an attempt without an answer has written it
		return next, errNothing
	}
	rivals := v.rivals(s.id, s.tags)
	if _, _, found := s.atWork(v, rivals); found {
		return next, errAtWork
	}
	names := slices.Clone(s.tags)
	for _, e := range rivals {
		names = append(names, e.TagNames()...)
	}
	found, err := s.readTags(ctx, names)
	if err != nil {
		return next, err
	}
	start := Start{ID: s.id, View: v, Found: found}
	for _, e := range rivals {
		e = e.resolve(found, s.whole(ctx, e), v.now(), s.run.URL)
		start.Resolved = append(start.Resolved, e)
		next = next.with(e)
		s.recovered = time.Now()
	}
	e, err := draft(ctx, start)
	if err != nil {
		return next, err
	}
	e.ID, e.Run, e.Begun, e.Renewed, e.Number = s.id, s.run, v.now(), v.now(), next.highest()+1
	e.Line.Outcome = document.OutcomePending
	s.renewed, s.before = v.began, map[string]bool{}
	for _, other := range next.entries {
		s.before[other.ID] = true
	}
	return next.with(newEntry(e)), nil
}

// highest is the highest number of an entry.
func (h head) highest() (n int) {
	for _, e := range h.entries {
		n = max(n, e.Number)
	}
	return max(n, h.closed*segmentEntries)
}

// readTags reads tags side by side: digest by name.
func (l *Ledger) readTags(ctx context.Context, names []string) (map[string]string, error) {
	slices.Sort(names)
	names = slices.Compact(names)
	digests := make([]string, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for n, name := range names {
		g.Go(func() error {
			r, err := l.store.ReadTag(ctx, name)
			if err == nil && r.Exists {
				digests[n] = r.Manifest.Digest.String()
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	held := map[string]string{}
	for n, name := range names {
		held[name] = digests[n]
	}
	return held, nil
}

// confirm looks again before the first tag moves: at the heads, which the view is of, and at the
// tags.
func (s *Session) confirm(ctx context.Context, v View) error {
	at := v.find(s.id)
	if at < 0 || !v.entries[at].IsOpen() {
		return s.conflict("another run has overwritten the entry of this one")
	}
	if rivals := v.rivals(s.id, s.tags); len(rivals) > 0 {
		return s.conflict(fmt.Sprintf("another run has begun at the same time (%s)", rivals[0].describeRun()))
	}
	held, err := s.readTags(ctx, slices.Clone(s.tags))
	if err != nil {
		return err
	}
	for _, t := range v.entries[at].Tags {
		if held[t.Name] != t.Found {
			return s.conflict(fmt.Sprintf("tag %s has moved to %s since this run read it", t.Name, orNothing(held[t.Name])))
		}
	}
	return nil
}

func orNothing(digest string) string {
	if digest == "" {
		return "nothing: it was deleted"
	}
	return digest
}

func (s *Session) conflict(message string) error {
	return &ConflictError{Reference: s.Reference(), Message: message}
}

// abandon writes that a run which could not begin has failed, if its entry may be in the ledger.
func (s *Session) abandon(ctx context.Context, cause error) error {
	if s.known.find(s.id) < 0 {
		return cause
	}
	held, err := s.readTags(ctx, slices.Clone(s.tags))
	if err == nil {
		err = s.finish(ctx, document.OutcomeFailed, held)
	}
	if err != nil {
		return fmt.Errorf("%w; the ledger could not be told: %w", cause, err)
	}
	return cause
}

// ErrTakenOver says that a run's entry is no longer open: another run has resolved or overwritten
// it. The run must not write any tag any more.
var ErrTakenOver = errors.New("another run has taken over")

// Check looks at the run's own entry, before a wave of tags is written or reverted, and renews its
// lease where it has grown old. After an error the run must not write any tag.
func (s *Session) Check(ctx context.Context) error {
	young := elapsed(s.renewed) < renewAfter
	if s.view.isFresh() && young {
		return nil
	}
	v, err := s.Read(ctx)
	if err != nil {
		return err
	}
	if s.view = v; !s.isOpen(v) {
		return s.takenOver(v)
	}
	if young {
		return nil
	}
	if v, err = s.write(ctx, v, s.renew); err != nil {
		return err
	}
	if s.view = v; !s.isOpen(v) {
		return s.takenOver(v)
	}
	return nil
}

// renew gives the run's entry a sign of life.
func (s *Session) renew(v View, known head) (head, error) {
	next := union(known, v.head)
	at := next.find(s.id)
	if at < 0 || !next.entries[at].IsOpen() || !s.isOpen(v) {
		return next, s.takenOver(v)
	}
	e := next.entries[at]
	e.Renewed, s.renewed = v.now(), v.began
	return next.with(e.withOutcome()), nil
}

func (s *Session) isOpen(v View) bool {
	at := v.find(s.id)
	return at >= 0 && v.entries[at].IsOpen()
}

func (s *Session) takenOver(v View) error {
	text := "its entry is gone from the ledger"
	if at := v.find(s.id); at >= 0 {
		text = fmt.Sprintf("it has resolved the entry of this run as %s", v.entries[at].State())
		if by := v.entries[at].By; by != "" {
			text += " (" + by + ")"
		}
	}
	return fmt.Errorf("ledger %s: %w: %s", s.Reference(), ErrTakenOver, text)
}

// MayWrite reports whether the run may begin to write a tag now: its lease is young enough that
// the write ends before another run can take over.
func (s *Session) MayWrite() bool { return elapsed(s.renewed) < writable }

// elapsed is the time since t by the clock that went further: the monotonic one stands still
// while a machine is suspended.
func elapsed(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}

// Finish writes how the run has ended, with the digests that its tags point to now. It returns a
// [ConflictError] if another run has moved the same tags meanwhile.
func (s *Session) Finish(ctx context.Context, state document.Outcome, held map[string]string) error {
	if err := s.finish(ctx, state, held); err != nil {
		return err
	}
	if !state.Good() {
		return nil
	}
	if err := s.lookForRivals(ctx); err != nil {
		return err
	}
	return s.lookForLateWrites(ctx)
}

// finish writes the outcome until the ledger shows it, and with it everything that this run has
// ever seen.
func (s *Session) finish(ctx context.Context, state document.Outcome, held map[string]string) error {
	v := s.view
	for range tries {
		var err error
		v, err = s.write(ctx, v, func(v View, known head) (head, error) { return s.end(v, known, state, held) })
		if err != nil {
			return err
		}
		s.view = v
		if at := v.find(s.id); at >= 0 && !v.entries[at].IsOpen() && !v.lacks(s.known) {
			if v.entries[at].State() != state {
				return s.takenOver(v)
			}
			return nil
		}
		v = View{}
	}
	return &Error{Reference: s.Reference(), Err: errors.New("other runs kept overwriting it"), Hint: "Run the promotion again."}
}

// end decides what the ledger says once the run has ended.
func (s *Session) end(v View, known head, state document.Outcome, held map[string]string) (head, error) {
	next := union(known, v.head)
	at := next.find(s.id)
	if at < 0 {
		return next, s.takenOver(v) // its segment is closed: it was resolved long ago
	}
	if e := next.entries[at]; e.IsOpen() {
		next = next.with(e.end(state, held, v.now(), ""))
	} else if e.State() != state {
		return next, s.takenOver(v)
	}
	if shown := v.find(s.id); shown >= 0 && !v.entries[shown].IsOpen() && !v.lacks(next) {
		return next, errNothing
	}
	return next, nil
}

// lookForRivals looks for runs that came meanwhile. One that has moved the same tags is a
// conflict; where one is at work, the tags are read once more.
func (s *Session) lookForRivals(ctx context.Context) error {
	for _, e := range s.view.entries {
		if e.ID == s.id || s.before[e.ID] || !e.Moves(s.tags) || e.Fault != "" || e.State() == document.OutcomeFailed {
			continue
		}
		if !e.IsOpen() {
			return s.conflict(fmt.Sprintf("another run has moved the same tags at the same time (%s): they were %s to %s", e.describeRun(), e.State(), e.Line.Digest))
		}
		if err := s.confirmTags(ctx); err != nil {
			return err
		}
	}
	return nil
}

// confirmTags fails unless the run's tags point to what it moved them to.
func (s *Session) confirmTags(ctx context.Context) error {
	held, err := s.readTags(ctx, slices.Clone(s.tags))
	if err != nil {
		return err
	}
	at := s.known.find(s.id)
	if at < 0 {
		return nil
	}
	for _, t := range s.known.entries[at].Tags {
		if held[t.Name] != t.After {
			return s.conflict(fmt.Sprintf("tag %s points to %s: another run has moved it", t.Name, orNothing(held[t.Name])))
		}
	}
	return nil
}

// lookForLateWrites looks at the tags once more, where the run has taken over from a dead one: a
// write of that one may have been on its way.
func (s *Session) lookForLateWrites(ctx context.Context) error {
	if s.recovered.IsZero() {
		return nil
	}
	timer := time.NewTimer(time.Until(s.recovered.Add(lag)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	return s.confirmTags(ctx)
}

// Entry is the run's own entry as it is known now.
func (s *Session) Entry() Entry { return s.known.entries[s.known.find(s.id)] }
