package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// The limits of one operation. At worst half of all attempts fail, and a run makes
// hundreds of requests: a count alone would have to be large, and would be reached in no
// time on a fast network. So most limits are times. They are parts or multiples of the
// host's RetryFor, which is a minute by default; the durations below are for that.
const (
	MinAttempts = 8  // are made, whatever time they take
	maxElapsed  = 20 // times RetryFor is the end, however little of it was waiting

	firstContact   = 6 // RetryFor/6, 10 s, for a host that has never answered
	maxFirstStalls = 3 // of those attempts may end without a byte
	lagTime        = 4 // RetryFor/4, 15 s, for a host that does not see yet what was written
	firstDelay     = 600
	maxDelay       = 15 // waits grow from RetryFor/600, 100 ms, to RetryFor/15, 4 s
	MaxDamaged     = 8  // answers that cannot be right; also how often a blob is read again
	MaxRefused     = 6  // refusals that would be final from a healthy host
	MaxTokenLoss   = 10 // a host that forgets one token forgets them all
	MaxInvalid     = 6  // answers that no healthy host sends
	MaxWrongSize   = 2  // then the size is believed
	MaxDenied      = 3  // of what the credential was never allowed
)

// Policy decides about the retries of one operation at one host. Make one with [New] for
// each operation; it is not for concurrent use.
type Policy struct {
	host         *wire.Host
	firstFailure time.Time // since something worth the name came; zero: none
	lagSince     time.Time // the host does not see what was written
	failures     [reasons]int
	delays       int           // waited since the last progress
	waited       time.Duration // in all of them
	stalls       int           // among the failures
	progress     int64         // bytes since the first failure

	wrongSize wire.SizeError // of the last answer
	last      error          // that was retried
}

// New returns the policy of an operation at a host.
func New(h *wire.Host) Policy { return Policy{host: h} }

// Wait takes a failure. It waits and returns nil where another attempt may be made, and
// else returns the error to end with.
func (p *Policy) Wait(ctx context.Context, err error) error {
	delay, end := p.NextDelay(ctx, err)
	if end == nil && wire.Sleep(ctx, delay) != nil {
		return p.Interrupted(ctx, err)
	}
	return end
}

// NextDelay takes a failure and returns how long to wait for another attempt, or the
// error to end with.
func (p *Policy) NextDelay(ctx context.Context, err error) (delay time.Duration, end error) {
	if ctx.Err() != nil {
		return 0, p.Interrupted(ctx, err)
	}
	if errors.Is(err, wire.ErrStalled) || errors.Is(err, wire.ErrTooSlow) {
		p.stalls++
	}
	reason, retryable := ReasonFor(err, p.host)
	if reason == WrongSize && !p.sameSize(err) {
		reason = Damaged
	}
	if !retryable || !p.allows(reason) {
		return 0, err
	}
	answer := AnswerOf(err)
	if answer != nil && wire.RetryAfter(answer.Status, answer.Header) > p.host.MaxThrottle() {
		return 0, err
	}
	p.last = err
	delay = backoff(p.host.RetryFor, p.delays)
	p.delays++
	p.waited += delay
	if answer != nil {
		delay = max(delay, wire.ThrottleWait(answer.Status, answer.Header))
	}
	return delay, nil
}

// sameSize reports whether a size may be the registry's word: answers that a proxy cuts
// off, with a length that fits, have another each time.
func (p *Policy) sameSize(err error) bool {
	var now wire.SizeError
	errors.As(err, &now)
	before := p.wrongSize
	p.wrongSize = now
	return before == wire.SizeError{} || before == now
}

// allows counts a failure and reports whether it may be retried.
func (p *Policy) allows(reason Reason) bool {
	if p.firstFailure.IsZero() {
		p.firstFailure = time.Now()
	}
	p.failures[reason]++
	if p.host.StillThrottled() {
		return false
	}
	if most := [reasons]int{Damaged: MaxDamaged, WrongSize: MaxWrongSize, Invalid: MaxInvalid,
		Refused: MaxRefused, TokenLost: MaxTokenLoss, Denied: MaxDenied}[reason]; most > 0 {
		return p.failures[reason] < most
	}
	elapsed, retryFor := time.Since(p.firstFailure), p.host.RetryFor
	switch {
	case reason == Lagging:
		if p.lagSince.IsZero() {
			p.lagSince = time.Now()
		}
		return time.Since(p.lagSince) < retryFor/lagTime
	case reason == Unreachable:
		return elapsed < retryFor/firstContact
	case !p.host.HasAnswered():
		return p.stalls < maxFirstStalls && elapsed-time.Duration(p.stalls)*wire.StallTimeout < retryFor/firstContact
	}
	// What was waited counts, not what the attempts took: each may hold others that
	// were retried in their turn, and one that stalls takes half a minute.
	return p.failures[reason] < MinAttempts ||
		p.stalls < MinAttempts && p.waited < retryFor && elapsed < maxElapsed*retryFor
}

// Progress counts bytes that came after a failure. A few of them only shorten the waits;
// as many as are expected in that time have everything forgotten.
func (p *Policy) Progress(bytes int64) {
	if p.firstFailure.IsZero() {
		return
	}
	p.delays = 0
	if p.progress += bytes; p.progress >= wire.MinProgress {
		*p = New(p.host)
	}
}

// Interrupted returns why the context ended, with what the time went for: the registry's
// answer if that was to come back later, else the last failure.
func (p *Policy) Interrupted(ctx context.Context, err error) error {
	if sibling := siblingFailure(ctx); sibling != nil {
		return sibling
	}
	return InterruptedError{p.withLast(context.Cause(ctx), err)}
}

// withLast returns why the context ended, with the last failure before it.
func (p *Policy) withLast(why, err error) error {
	var done Final
	if errors.As(err, &done) && errors.Is(err, why) {
		return err // whoever waited inside has said it
	}
	last := p.last
	if isAbout(err, why) {
		last = err
	}
	switch a := AnswerOf(last); {
	case last == nil:
		return why
	case a != nil:
		return fmt.Errorf("%w; the registry's last answer was %s", why, a)
	default:
		return fmt.Errorf("%w; the last attempt failed: %w", why, last)
	}
}

// isAbout reports whether a failure tells more than that the context ended.
func isAbout(err, why error) bool {
	return AnswerOf(err) != nil ||
		!errors.Is(err, why) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// backoff doubles with each delay, and takes between half and all of it.
func backoff(retryFor time.Duration, delays int) time.Duration {
	d := min(retryFor/firstDelay<<min(delays, 10), retryFor/maxDelay)
	return d/2 + rand.N(d/2+1)
}
