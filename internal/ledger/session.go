package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"golang.org/x/sync/errgroup"
)

// Start is what a run knows when it makes its entry.
type Start struct {
	ID       string            // of the entry; the record has it, so that no two records have the same bytes
	Entries  []Entry           // of the ledger that are in no segment, but for the run's own
	Found    map[string]string // digest by tag; empty: the tag does not exist
	Resolved []Entry           // entries of dead runs about these tags, with their outcomes
	Failed   error             // why the last attempt to write the entry failed; nil: there was none
}

// Draft makes the entry of a run, whose record it stores. Run, Record, Line and Tags are to be set.
// It is called again if something changed before the entry was written.
type Draft func(context.Context, Start) (Entry, error)

// Session is a run's own entry while it is open. It is for one goroutine.
type Session struct {
	*Ledger
	id     string
	tags   []string
	number int // of the entry; 0: it was not made yet

	TagsReadAt time.Time // when the last read of the tags began that found them as the entry says

	view      View            // the last that was read
	renewed   time.Time       // when the read began that the last sign of life rests on
	before    map[string]bool // IDs of the entries that are older than this one
	restoring bool            // its entry is gone, and nobody has resolved it
	recovered time.Time       // when dead runs were resolved; zero: there were none
}

// ConflictError says that another run is at work on the same tags, or has moved them.
type ConflictError struct {
	Reference string // of the ledger
	Message   string
}

func (e *ConflictError) Error() string { return "ledger " + e.Reference + ": " + e.Message }

// errDropped says that another run has overwritten a run's entry before any tag moved. The run
// begins once more.
var errDropped = errors.New("other runs kept overwriting the entry of this one")

// errAtWork says that another run has begun since the last look.
var errAtWork = errors.New("another run is at work")

// NewID makes the ID of an entry.
func NewID() string { return rand.Text() }

// Begin writes a run's entry as pending: it is the run's from then on to move the tags. It waits
// until no other run is at work on them, and resolves the entries of runs that are dead in the
// same write. On an error no tag may be moved.
func (l *Ledger) Begin(ctx context.Context, v View, id string, tags []string, draft Draft, say func(string)) (*Session, error) {
	s := &Session{Ledger: l, id: id, tags: tags}
	l.watched = tags
	defer func() { l.watched = nil }()
	for dropped := 0; ; {
		var err error
		if v, err = l.await(ctx, v, s.id, tags, say); err != nil {
			return nil, s.abandon(ctx, err)
		}
		v, err = l.write(ctx, v, func(v View, known head) (head, error) { return s.begin(ctx, v, known, draft) })
		switch {
		case errors.Is(err, errAtWork):
			if v, err = l.Read(ctx); err != nil {
				return nil, s.abandon(ctx, err)
			}
			continue
		case err != nil:
			return nil, s.abandon(ctx, err)
		}
		s.view = v
		err = s.confirm(v)
		if dropped++; errors.Is(err, errDropped) && dropped < tries {
			if err = sleep(ctx, l.backoff(dropped)); err == nil {
				v, err = l.Read(ctx)
			}
			if err == nil {
				continue
			}
		}
		if err != nil {
			return nil, s.abandon(ctx, err)
		}
		return s, nil
	}
}

// backoff is how long a run waits whose entry was overwritten: other runs write at the same time,
// and all of them wait for another time.
func (l *Ledger) backoff(nth int) time.Duration {
	return time.Duration(l.random() * float64(min(200*time.Millisecond<<min(nth, 5), 4*time.Second)))
}

// begin decides what the ledger says once the run has begun.
func (s *Session) begin(ctx context.Context, v View, known head, draft Draft) (head, error) {
	next := union(known, v.head)
	rivals := next.rivals(s.id, s.tags)                                           // a stale view may show one as open that has ended
	if v.find(s.id) >= 0 && len(rivals) == 0 && elapsed(s.renewed) < renewAfter { // an attempt without an answer has written it
		return next, errNothing
	}
	if _, _, found := s.atWork(v, rivals); found {
		return next, errAtWork
	}
	found, err := s.readMore(ctx, v, rivals)
	if err != nil {
		return next, err
	}
	if len(rivals) > 0 {
		// Another run may have resolved them since, and moved the tags that were read.
		now, err := s.readOnce(ctx)
		if err != nil {
			return next, err
		}
		if !now.equals(v) {
			return next, errAtWork
		}
	}
	start := Start{ID: s.id, Found: found, Failed: v.failed}
	next, start.Resolved = s.resolveAll(ctx, v, next, rivals, found)
	if len(rivals) > 0 {
		s.recovered = time.Now()
	}
	start.Entries = slices.DeleteFunc(slices.Clone(next.entries), func(e Entry) bool { return e.ID == s.id }) // an attempt whose entry was overwritten
	e, err := draft(ctx, start)
	if err != nil {
		return next, err
	}
	isTaken := slices.ContainsFunc(next.entries, func(e Entry) bool { return e.Number == s.number && e.ID != s.id })
	if s.number == 0 || isTaken { // else another run may have counted on from it since
		s.number = next.highest(s.id) + 1
	}
	e.ID, e.Run, e.Begun, e.Renewed, e.Number, e.Seen = s.id, s.run, v.now(), v.now(), s.number, next.newest(s.id)
	e.Line.Outcome = document.OutcomePending
	s.renewed, s.before = v.began, map[string]bool{}
	for _, other := range next.entries {
		s.before[other.ID] = true
	}
	if e = newEntry(e); e.isTooLong() {
		return next, &Error{Reference: s.Reference(), Err: fmt.Errorf("the entry of %d tags is longer than the %d bytes that are read of one", len(e.Tags), maxAnnotation),
			Hint: "Promote fewer tags at once, or with a shorter reason."}
	}
	return next.with(e), nil
}

// readMore adds the tags of other runs to those that were read with the heads.
func (l *Ledger) readMore(ctx context.Context, v View, of []Entry) (map[string]string, error) {
	var names []string
	for _, e := range of {
		for _, name := range e.TagNames() {
			if _, known := v.found[name]; !known {
				names = append(names, name)
			}
		}
	}
	if len(names) == 0 {
		return v.found, nil
	}
	more, err := l.readTags(ctx, names)
	if err == nil {
		maps.Copy(more, v.found)
	}
	return more, err
}

// highest is the highest number of an entry but one.
func (h head) highest(but string) (n int) {
	for _, e := range h.entries {
		if e.ID != but {
			n = max(n, e.Number)
		}
	}
	return max(n, h.closed*segmentEntries)
}

// newest are the IDs of the newest entries but one.
func (h head) newest(but string) (ids []string) {
	for _, e := range slices.Backward(h.entries) {
		if e.ID != but && e.Fault == "" && len(ids) < maxSeen {
			ids = append(ids, e.ID)
		}
	}
	return ids
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
func (s *Session) confirm(v View) error {
	at := v.find(s.id)
	if at < 0 {
		return fmt.Errorf("ledger %s: %w", s.Reference(), errDropped)
	}
	if !v.entries[at].IsOpen() {
		return s.takenOver(v)
	}
	if rivals := v.rivals(s.id, s.tags); len(rivals) > 0 {
		return s.conflict(fmt.Sprintf("another run has begun at the same time (%s)", rivals[0].describeRun()))
	}
	s.TagsReadAt = v.began
	for _, t := range v.entries[at].Tags {
		if v.found[t.Name] != t.Found {
			return s.conflict(fmt.Sprintf("tag %s has moved to %s since this run read it", t.Name, orNothing(v.found[t.Name])))
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

// lastWords is how long a run that was ended may still take to say so in the ledger.
const lastWords = 2 * time.Second

// abandon writes that a run which could not begin has failed, if its entry may be in the ledger, also
// where the run was ended meanwhile.
func (s *Session) abandon(ctx context.Context, cause error) error {
	if s.writes == 0 {
		return cause
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
	}
	if s.known.find(s.id) < 0 { // the answer to its write may be lost
		if v, err := s.Read(ctx); err != nil || v.find(s.id) < 0 {
			return cause
		}
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
	young, overdue := elapsed(s.renewed) < renewAfter, !s.MayWrite()
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
	if overdue {
		// The run was paused. Another one may have read that the lease was over, and writes that it takes over.
		if err := sleep(ctx, fresh); err != nil {
			return err
		}
		if v, err = s.Read(ctx); err != nil {
			return err
		}
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
	if err := s.outliveRivals(ctx, state, held); err != nil {
		return err
	}
	if err := s.lookForRivals(ctx); err != nil {
		return err
	}
	return s.lookForLateWrites(ctx, state, held)
}

// openRival is another run that is at work on the same tags, and has not seen this one when it
// began, nor has this one seen it. One that began when this run had moved the tags is the last.
func (s *Session) openRival() (rival Entry, found bool) {
	own := s.Entry()
	for _, e := range s.view.rivals(s.id, s.tags) {
		if !s.before[e.ID] && (!found || !e.follows(own)) {
			rival, found = e, true
		}
	}
	return rival, found
}

// outliveRivals waits for rivals to end, for as long as their leases last: they are about to notice
// this run. Meanwhile it sees to it that its outcome stays in the ledger.
func (s *Session) outliveRivals(ctx context.Context, state document.Outcome, held map[string]string) error {
	for {
		rival, found := s.openRival()
		if !found || rival.follows(s.Entry()) {
			return nil
		}
		if err := s.confirmTags(ctx); err != nil {
			return err
		}
		if s.leaseLeft(rival, s.view) <= 0 {
			return s.conflict(fmt.Sprintf("another run has begun at the same time, and has not ended (%s)", rival.describeRun()))
		}
		if err := sleep(ctx, fresh); err != nil {
			return err
		}
		s.view = View{}
		if err := s.writeAndLook(ctx, state, held); err != nil {
			return err
		}
	}
}

// finish writes the outcome. A run that was paused for long looks first whether its entry is still
// open.
func (s *Session) finish(ctx context.Context, state document.Outcome, held map[string]string) error {
	for {
		if !s.MayWrite() {
			if err := s.Check(ctx); err != nil {
				return s.restore(ctx, err)
			}
		}
		if err := s.writeAndLook(ctx, state, held); !errors.Is(err, errOverdue) {
			return err
		}
	}
}

// errOverdue says that a run was paused while it was about to write its outcome.
var errOverdue = errors.New("the lease is over")

// writeAndLook writes the outcome. Where others have written meanwhile, or are at work, it looks
// again: a write of theirs that rests on a read of before the outcome has begun within the time that
// such a read counts as fresh.
func (s *Session) writeAndLook(ctx context.Context, state document.Outcome, held map[string]string) error {
	for range tries {
		written := s.writes
		if err := s.writeOutcome(ctx, state, held); err != nil {
			return err
		}
		if s.writes == written || !s.hasOthers() {
			return nil
		}
		if err := sleep(ctx, fresh+slowWrite); err != nil {
			return err
		}
		s.view = View{}
	}
	return nil // it is in the ledger, as far as can be seen
}

// slowWrite is how long a write of another run may take that is waited for.
const slowWrite = 2 * time.Second

// hasOthers reports whether other runs have begun since this one, or are at work.
func (s *Session) hasOthers() bool {
	return slices.ContainsFunc(s.view.entries, func(e Entry) bool {
		return e.ID != s.id && (!s.before[e.ID] || e.IsOpen() && s.leaseLeft(e, s.view) > 0)
	})
}

// restore writes the entry of a run that was paused for long, if it was overwritten meanwhile, with
// what its tags point to now.
func (s *Session) restore(ctx context.Context, cause error) error {
	if !errors.Is(cause, ErrTakenOver) || s.view.find(s.id) >= 0 || s.known.find(s.id) < 0 {
		return cause // it was resolved, and may be in a segment since
	}
	held, err := s.readTags(ctx, slices.Clone(s.tags))
	if err == nil {
		own := s.Entry()
		s.restoring = true
		err = s.writeAndLook(ctx, own.resolve(held, s.whole(ctx, own), time.Time{}, "").State(), held)
	}
	if err != nil {
		return fmt.Errorf("%w; the ledger could not be told: %w", cause, err)
	}
	return cause
}

// writeOutcome writes the outcome until the ledger shows it, and with it everything that this run
// has ever seen.
func (s *Session) writeOutcome(ctx context.Context, state document.Outcome, held map[string]string) error {
	v := s.view
	if !state.Good() {
		v = View{} // the run has time, and may have a rival
	}
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
	e := next.entries[at]
	if e.IsOpen() && !s.MayWrite() && !s.restoring {
		return next, errOverdue
	}
	if e.IsOpen() {
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
// conflict; where one has failed, and may have reverted them, the tags are read once more.
func (s *Session) lookForRivals(ctx context.Context) error {
	own := s.Entry()
	for _, e := range s.view.entries {
		if e.ID == s.id || s.before[e.ID] || !e.Moves(s.tags) || e.Fault != "" || e.IsOpen() || e.follows(own) {
			continue
		}
		if e.State() != document.OutcomeFailed {
			return s.conflict(fmt.Sprintf("another run has moved the same tags at the same time (%s): they were %s to %s", e.describeRun(), e.State(), e.Line.Digest))
		}
		if err := s.confirmTags(ctx); err != nil {
			return err
		}
	}
	return nil
}

// follows reports whether an entry was begun when another one had moved every tag that both have.
func (e Entry) follows(o Entry) bool {
	for _, t := range e.Tags {
		at := slices.IndexFunc(o.Tags, func(other Tag) bool { return other.Name == t.Name })
		if at >= 0 && t.Found != o.Tags[at].After {
			return false
		}
	}
	return true
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

// lookForLateWrites looks at the ledger and the tags once more, where the run has taken over from a
// dead one: a write of that one may have been on its way.
func (s *Session) lookForLateWrites(ctx context.Context, state document.Outcome, held map[string]string) error {
	if s.recovered.IsZero() {
		return nil
	}
	if err := sleep(ctx, time.Until(s.recovered.Add(min(lag, s.lease)))); err != nil {
		return err
	}
	s.view = View{}
	if err := s.writeOutcome(ctx, state, held); err != nil {
		return err
	}
	return s.confirmTags(ctx)
}

// Held reads what the session's tags point to: digest by name.
func (s *Session) Held(ctx context.Context) (map[string]string, error) {
	return s.readTags(ctx, slices.Clone(s.tags))
}

// Heads are the digests of the ledger's heads as they were read last.
func (s *Session) Heads() []string { return s.view.Heads() }

// Entry is the run's own entry as it is known now; zero if it is in a segment.
func (s *Session) Entry() Entry {
	if at := s.known.find(s.id); at >= 0 {
		return s.known.entries[at]
	}
	return Entry{}
}
