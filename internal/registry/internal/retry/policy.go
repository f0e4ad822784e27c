package retry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// The limits of one operation. In the worst case half of all attempts fail, and a run makes
// hundreds of requests. A count would have to be large, and on a fast network it would be
// reached within moments. So most limits are times, as fractions or multiples of the host's
// RetryFor. The durations in the comments are for the default of a minute.
const (
	MinAttempts = 8  // attempts, however long they take
	maxElapsed  = 20 // RetryFor*20, 20 min, in all, however short the backoff was

	firstContact   = 6   // RetryFor/6, 10 s, for a host that has never answered
	maxFirstStalls = 3   // stalled attempts at such a host
	lagTime        = 4   // RetryFor/4, 15 s, for a host that does not find what was just written
	firstDelay     = 600 // RetryFor/600, 100 ms: the first backoff
	maxDelay       = 15  // RetryFor/15, 4 s: the longest backoff
	MaxDamaged     = 8   // damaged answers; also reads of a damaged source
	MaxRefused     = 6   // refusals that would be final from a healthy host
	MaxTokenLoss   = 10  // refused tokens: a host that loses one token loses them all
	MaxInvalid     = 6   // answers that no healthy host sends
	MaxWrongSize   = 2   // the same wrong size, which then is final
	MaxDenied      = 3   // refusals of a right that the credential never had
)

// Policy decides about the retries of one operation at one host. Make one with [New] for
// each operation; it is not for concurrent use.
type Policy struct {
	host         *wire.Host
	firstFailure time.Time // since the last progress; zero: none
	lagSince     time.Time // when the host first did not find what was written
	failures     [reasons]int
	delays       int           // since the last progress
	waited       time.Duration // the sum of the delays
	stalls       int           // stalled attempts among the failures
	progress     int64         // bytes since the first failure

	wrongSize wire.SizeError // of the last answer
	last      error          // the last failure that was retried
}

// New returns the policy of an operation at a host.
func New(h *wire.Host) Policy { return Policy{host: h} }

// Wait counts a failure. If it allows another attempt, it waits and returns nil. Otherwise it
// returns the final error.
func (p *Policy) Wait(ctx context.Context, err error) error {
	delay, end := p.NextDelay(ctx, err)
	if end == nil && wire.Sleep(ctx, delay) != nil {
		return p.Interrupted(ctx, err)
	}
	return end
}

// NextDelay counts a failure, and returns the backoff before the next attempt or the final
// error.
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

// sameSize reports whether the registry sent the same wrong size as before. A proxy that cuts off
// answers, and corrects their length, sends another size each time.
func (p *Policy) sameSize(err error) bool {
	var now wire.SizeError
	errors.As(err, &now)
	before := p.wrongSize
	p.wrongSize = now
	return before == wire.SizeError{} || before == now
}

// allows counts a failure and reports whether it is retried.
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
	// The backoff counts, not the duration of the attempts: an attempt may include inner
	// retries, and a stalled one takes half a minute.
	return p.failures[reason] < MinAttempts ||
		p.stalls < MinAttempts && p.waited < retryFor && elapsed < maxElapsed*retryFor
}

// Progress counts bytes after a failure. Any progress resets the backoff. After
// wire.MinProgress bytes the policy starts over.
func (p *Policy) Progress(bytes int64) {
	if p.firstFailure.IsZero() {
		return
	}
	p.delays = 0
	if p.progress += bytes; p.progress >= wire.MinProgress {
		*p = New(p.host)
	}
}

// Interrupted returns why the context ended, with the last attempt, which says what the
// operation was waiting for.
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
		return err // an inner operation has added its last attempt
	}
	last := p.last
	if isAbout(err, why) {
		last = err
	}
	switch a := AnswerOf(last); {
	case last == nil:
		return why
	case a != nil:
		return fmt.Errorf("%w; last attempt: %s", why, a.Describe())
	default:
		return fmt.Errorf("%w; last attempt: %w", why, last)
	}
}

// isAbout reports whether a failure says more than that the context ended.
func isAbout(err, why error) bool {
	return AnswerOf(err) != nil ||
		!errors.Is(err, why) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// backoff doubles with each delay. It is random between half and all of that, so that clients do
// not retry at the same moment.
func backoff(retryFor time.Duration, delays int) time.Duration {
	d := min(retryFor/firstDelay<<min(delays, 10), retryFor/maxDelay)
	return d/2 + rand.N(d/2+1)
}
