package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// observe reads what every tag holds, and refuses a fixed tag that holds
// something else, and any that no longer holds what a plan says.
func (r *run) observe(ctx context.Context) error {
	if err := r.read(ctx, r.moves()); err != nil {
		return err
	}
	return errors.Join(r.refuseTaken(), r.refuseDrift())
}

// observeNamed reads the tags whose names are known.
func (r *run) observeNamed(ctx context.Context) error {
	return r.read(ctx, slices.DeleteFunc(r.moves(), func(m move) bool { return m.text == "" }))
}

// observeNew reads the tags that were not read yet.
func (r *run) observeNew(ctx context.Context) error {
	return r.read(ctx, slices.DeleteFunc(r.moves(), func(m move) bool { return m.observed }))
}

func (r *run) read(ctx context.Context, moves []move) error {
	g, ctx := asking(ctx)
	for _, m := range moves {
		g.Go(func() error {
			began := time.Now()
			before, err := transfer.Observe(ctx, m.target, m.text)
			if err == nil {
				m.saw(before, began)
			}
			return err
		})
	}
	return g.Wait()
}

// saw notes what the tag points to.
func (m move) saw(now transfer.Observation, began time.Time) {
	m.observed, m.observedAt = true, began
	if m.recalled && now.Digest() == m.shown.Digest() {
		m.shown = now
		return
	}
	m.shown, m.before, m.recalled = now, now, false
}

// refuseTaken refuses fixed tags that hold something else.
func (r *run) refuseTaken() error {
	var taken []error
	for _, m := range r.moves() {
		if m.fixed && m.shown.Digest().Hex != "" && !m.isInPlace() {
			taken = append(taken, r.taken(m, m.shown.Digest()))
		}
	}
	return errors.Join(taken...)
}

// leaveTaken leaves out fixed tags that hold something else where a rollback would
// write them anew.
func (r *run) leaveTaken() {
	if r.request.Mode != Rollback {
		return
	}
	for _, p := range r.promotions {
		p.tags = slices.DeleteFunc(p.tags, func(t *tag) bool {
			taken := t.fixed && t.shown.Digest().Hex != "" && t.shown.Digest() != p.root.Digest
			if taken {
				r.note(fmt.Sprintf("The fixed tag %s exists and holds %s: it is let alone.", t.shown.Reference(), t.shown.Digest()))
			}
			return taken
		})
	}
}

func (r *run) taken(m move, holds v1.Hash) error {
	e := &deniedError{message: fmt.Sprintf("the fixed tag %s exists and holds %s, not %s", m.shown.Reference(), holds, m.root.Digest)}
	moving := "name it in target if it is meant to move"
	if r.request.Gates != nil {
		moving = "list it under tags in the config if it is meant to move"
	}
	e.hint = "A fixed tag never changes once it is written. Choose another name, for example with {{date 'YYYYMMDD-HHmmss'}}, or " + moving + "."
	if m.pinned {
		e.hint = "It is not what it was when the plan was made, and a fixed tag never changes. Make a plan anew (mode: plan), with another name, and have it approved."
	}
	return e
}

// move is one tag of one promotion.
type move struct {
	*promotion
	*tag
}

func (m move) unchanged() bool { return m.rests(m.root.Digest) }

// isInPlace reports whether the tag pointed to the image already when it was read. If a run has
// moved it there that was interrupted, it may have to be reverted all the same.
func (m move) isInPlace() bool { return m.shown.Digest() == m.root.Digest }

// moves are all tags in the order in which they move: fixed ones first, for one
// that cannot be written then moves nothing.
func (r *run) moves() []move {
	var all []move
	for _, fixed := range []bool{true, false} {
		for _, p := range r.promotions {
			for _, t := range p.tags {
				if t.fixed == fixed {
					all = append(all, move{p, t})
				}
			}
		}
	}
	return all
}

// moveTags moves every tag in quick succession, then reads each again. If one fails, those already
// moved are reverted. Then the ledgers are told.
func (r *run) moveTags(ctx context.Context) error {
	r.Step("Move tags")
	if err := r.observeLate(ctx); err != nil {
		r.finishFailed(ctx, err)
		return err
	}
	begun, err := r.write(ctx)
	if err == nil {
		err = r.confirm(ctx, begun)
	}
	if err != nil {
		err = errors.Join(err, r.putBack(ctx, begun))
	}
	if err != nil {
		r.finishFailed(ctx, err)
		return err
	}
	finishErr := r.finishAll(ctx, nil)
	var conflict *ledger.ConflictError
	switch {
	case errors.As(finishErr, &conflict):
		return conflictError(conflict)
	case finishErr != nil:
		return &unrecordedError{finishErr}
	}
	return nil
}

// conflictError says what to do where another run has moved the same tags.
func conflictError(e *ledger.ConflictError) error {
	return &brokenError{err: e, message: e.Error(), hint: conflictHint}
}

const conflictHint = "Look at what the tags point to now, and run the promotion again that is to win. `concurrency: {group: promote-production}` in the workflow lets such runs wait for each other."

// observeLate reads the tags again that were read long ago. The records say what they
// held then.
func (r *run) observeLate(ctx context.Context) error {
	if !r.stale() {
		return nil
	}
	held := map[*tag]v1.Hash{}
	for _, m := range r.moves() {
		held[m.tag] = m.before.Digest()
	}
	if err := r.observe(ctx); err != nil {
		return err
	}
	for _, m := range r.moves() {
		if m.before.Digest() != held[m.tag] && !m.unchanged() {
			return &deniedError{
				message: fmt.Sprintf("somebody else has moved the tag %s meanwhile: it %s", m.target.Reference(m.text), holding("holds", "does not exist now", m.before.Digest())),
				hint:    "Find out who promotes there, and run it again. `concurrency: {group: promote-production}` in the workflow lets such runs wait for each other.",
			}
		}
	}
	return nil
}

func (r *run) wrote() bool {
	for _, p := range r.promotions {
		if p.copied.Manifests+p.copied.Blobs+p.copied.Mounted > 0 {
			return true
		}
	}
	return false
}

// fresh is how long ago a tag may have been read when it moves. Somebody may have
// moved it since, and a large image is verified for minutes.
const fresh = 2 * time.Second

func (r *run) stale() bool {
	return slices.ContainsFunc(r.moves(), func(m move) bool { return m.ledger.session == nil && time.Since(m.observedAt) > fresh })
}

// movesAtOnce is how many tags are written at the same time: the quicker they
// move, the shorter an observer sees some old and some new. They share a connection, and
// a host that takes fewer says so.
const movesAtOnce = 64

// write points the tags to their digests, fixed ones before moving ones, and
// returns those that it has begun to write, with or without success. The first
// goes alone: where no tag can be written, none then moves.
func (r *run) write(ctx context.Context) (begun []move, err error) {
	for _, wave := range waves(r.moves()) {
		some, err := r.writeWave(ctx, wave)
		begun = append(begun, some...)
		if err != nil {
			return begun, err
		}
	}
	return begun, nil
}

// renewals is how often the leases of a wave are renewed before it is given up: where a registry
// stalls, looking at all ledgers of a release takes longer than one of their leases.
const renewals = 5

// writeWave looks at the run's entries and writes some tags. What a lease was over for before it was
// begun is written once that lease is renewed.
func (r *run) writeWave(ctx context.Context, wave []move) (begun []move, err error) {
	for range renewals {
		if err := r.check(ctx); err != nil {
			return begun, err
		}
		var some []move
		some, err = r.writeEach(ctx, wave)
		begun = append(begun, some...)
		failed := func(m move) bool { return m.begun && !m.acknowledged }
		if !errors.Is(err, errLeaseOver) || slices.ContainsFunc(wave, failed) {
			return begun, err
		}
		wave = slices.DeleteFunc(slices.Clone(wave), func(m move) bool { return m.acknowledged })
	}
	return begun, err
}

// waves are moves of which each lot is written before the next.
func waves(moves []move) [][]move {
	if len(moves) == 0 {
		return nil
	}
	first, rest := moves[:1], moves[1:]
	moving := slices.IndexFunc(rest, func(m move) bool { return !m.fixed })
	if moving < 0 {
		moving = len(rest)
	}
	return [][]move{first, rest[:moving], rest[moving:]}
}

// writeEach begins no more tags once one has failed, and lets those end that
// have begun: cut off, nobody would know what they hold.
func (r *run) writeEach(ctx context.Context, moves []move) (begun []move, err error) {
	var g errgroup.Group
	g.SetLimit(movesAtOnce)
	var failed atomic.Bool
	for _, m := range moves {
		if m.unchanged() {
			m.state, m.after = document.TagUnchanged, m.root.Digest.String()
			continue
		}
		if m.isInPlace() { // some registries refuse to write again what a tag points to
			m.begun = true
			continue
		}
		g.Go(func() error {
			if failed.Load() || ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if s := m.ledger.session; s != nil && !s.MayWrite() {
				failed.Store(true)
				return errLeaseOver
			}
			m.begun = true
			err := transfer.Move(ctx, m.proof, m.before)
			m.acknowledged, m.refused, m.unanswered = err == nil, answered(err), unanswered(err)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	err = g.Wait()
	for _, m := range moves {
		if m.acknowledged {
			r.Info(fmt.Sprintf("%s: %s → %s", m.before.Reference(), orNone(m.before.Digest().String(), m.before.Digest().Hex), m.root.Digest))
		}
	}
	return slices.DeleteFunc(slices.Clone(moves), func(m move) bool { return !m.begun }), err
}

// errLeaseOver says that a run was held up for so long that another one may take over.
var errLeaseOver = errors.New("this run was held up for over a minute before it could write the tag; run it again")

// answered reports whether the registry said no to every attempt, so that the tag cannot move yet. One that was not
// answered may land late.
func answered(err error) bool {
	var e *registry.Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500 && !e.Unanswered
}

// unanswered reports whether the registry refused a write of which an earlier attempt had no answer: the refusal does
// not say what became of that one.
func unanswered(err error) bool {
	var e *registry.Error
	return errors.As(err, &e) && e.Unanswered
}

func orNone(digest, hex string) string {
	if hex == "" {
		return "(new)"
	}
	return digest
}

// confirm reads the moved tags again.
func (r *run) confirm(ctx context.Context, begun []move) error {
	g, _ := asking(ctx) // one tag's failure does not end the others' reads
	for _, m := range begun {
		g.Go(func() error {
			err := transfer.Confirm(ctx, m.proof, m.before)
			if err == nil {
				m.state, m.after = document.TagMoved, m.root.Digest.String()
			}
			return err
		})
	}
	return g.Wait()
}

// Time for putting tags back: all of it, and what is left of it once a signal has
// ended the run, which its runner kills ten seconds after. Nobody kills a run that
// its own timeout has ended, unless a signal follows.
const (
	putBackTime   = time.Minute
	lastOrderTime = 2500 * time.Millisecond
)

var errNoTime = errors.New("there was no time left to put the tag back")

// putBack makes every tag that was begun what it was, and says of each what it is now. A run that
// another one has taken over from writes no tag.
func (r *run) putBack(ctx context.Context, begun []move) error {
	back, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), putBackTime, errNoTime)
	defer cancel()
	back, end := context.WithCancelCause(back)
	defer end(nil)
	stop := context.AfterFunc(signalOf(ctx), func() {
		timer := time.AfterFunc(lastOrderTime, func() { end(errNoTime) })
		context.AfterFunc(back, func() { timer.Stop() })
	})
	defer stop()
	if len(begun) == 0 {
		return nil
	}
	if err := r.check(back); errors.Is(err, ledger.ErrTakenOver) {
		for _, m := range begun {
			m.state, m.after, m.note = document.TagUnknown, "", "another run has taken over, so it was not reverted; read it before anything else relies on it"
		}
		return err
	}
	g, _ := group(back) // one tag's failure does not end the others'
	for _, m := range begun {
		g.Go(func() error { return m.restore(back) })
	}
	return g.Wait()
}

// restore makes the tag what it was, now and as long as a write of it may land late.
func (m move) restore(ctx context.Context) error {
	err := m.restoreNow(ctx)
	if err != nil || !m.unanswered {
		return err
	}
	return m.revertLateWrite(ctx)
}

func (m move) restoreNow(ctx context.Context) error {
	if m.isInPlace() && m.before.Digest().Hex == "" { // it would have to be deleted
		m.state, m.after, m.note = document.TagLeft, m.root.Digest.String(), "an interrupted run made it, and only its own run deletes a tag"
		return nil
	}
	restored, err := transfer.PutBack(ctx, m.proof, m.before, m.acknowledged)
	var taken *transfer.TakenError
	switch {
	case restored == transfer.Back:
		m.state, m.after, m.note = document.TagPutBack, digestText(m.before), ""
	case restored == transfer.Unmoved && (!m.begun || m.state == document.TagPutBack):
	case restored == transfer.Unmoved:
		m.note = "the write failed, and the tag shows what it held before; read it again in a minute"
		if m.refused {
			m.note = "the registry refused the write"
		}
	case errors.As(err, &taken):
		m.state, m.note = document.TagTaken, "it was let alone"
		m.after = ""
		if taken.Holds.Hex != "" {
			m.after = taken.Holds.String()
		}
		return nil // it is why the run fails, not a failure of putting back
	case restored == transfer.Left:
		m.state, m.after = document.TagLeft, m.root.Digest.String()
		m.note = fmt.Sprintf("%v; move or delete it by hand", err)
	default:
		m.state, m.after = document.TagUnknown, ""
		m.note = fmt.Sprintf("%v; read it before anything else relies on it", err)
	}
	return err
}

// lateWriteGrace is how long a write that had no answer is looked for once a later attempt at it was refused. An attempt
// may have taken effect although its answer was lost (RFC 9110, section 9.2.2). What is on its way then is what the
// proxy had handed over: nginx ends its request to the registry with the client's connection
// (proxy_ignore_client_abort is off). So the registry has begun with it, and shows it at the latest when it shows any
// other write: 15 s later have been seen.
const (
	lateWriteGrace = 15 * time.Second
	lateWriteEvery = time.Second // the longer, the longer the tag holds what was refused
)

// revertLateWrite looks for a write that had no answer until its time is over, and reverts it as often as it lands:
// more than one attempt may have had no answer.
func (m move) revertLateWrite(ctx context.Context) error {
	for waited := time.Duration(0); waited < lateWriteGrace; waited += lateWriteEvery {
		if !pause(ctx, lateWriteEvery) {
			break
		}
		if err := m.restoreNow(ctx); err != nil {
			return err
		}
		if m.state == document.TagTaken {
			return nil
		}
	}
	if m.state == document.TagPutBack && ctx.Err() == nil {
		return nil
	}
	m.note = "a write of it had no answer and may still land; read it again in a few minutes"
	return m.lateWriteError()
}

// pause waits, and says whether it did so to the end.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (m move) lateWriteError() error {
	revert := "delete the tag"
	if was := digestText(m.before); was != "" {
		revert = "point it to " + was + " again"
	}
	return &brokenError{
		message: fmt.Sprintf("tag %s may still move: an attempt to write it had no answer", m.before.Reference()),
		hint: fmt.Sprintf("The registry refused the next attempt, which does not say what became of the first. Read the tag again in a few minutes.\n"+
			"If it holds %s then, promote again to keep that, or %s.", m.root.Digest, revert),
	}
}

func digestText(o transfer.Observation) string {
	if o.Digest().Hex == "" {
		return ""
	}
	return o.Digest().String()
}
