package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// How long one operation is tried again. At worst half of all attempts fail, and
// a run makes hundreds of requests: a count alone would have to be large, and
// would be over in no time on a fast network.
const (
	defaultPatience = time.Minute // waited in all since the first failure
	attempts        = 8           // at least
	mostPatience    = 20          // times the patience is the end, however little of it was waiting
	firstContact    = 6           // part of the patience with a host that never answered
	firstStalls     = 3           // of those, this many may be that it said nothing
	lagging         = 4           // part of the patience with a host that does not see yet what it was given

	waitFirst = 600 // part of the patience that is waited at first: 100 ms
	waitMost  = 15  // part of it that is waited at most: 4 s

	damages       = 8  // answers that cannot be right; also how often a blob is read anew
	refusals      = 6  // answers that would be final had they come first from a healthy host
	forgets       = 10 // of authority that it gave: it forgets all tokens when it forgets one
	oddities      = 6  // answers that are not believed: no healthy host sends them
	misstatements = 2  // of a blob's size, until they are believed
	denials       = 3  // of authority to do what the session was never let do

	retryAfterMax = time.Minute // a longer Retry-After is not waited for
	putOffs       = 9           // times the patience, a host is waited for that asks for nothing but to come back later
)

// reason is why another attempt may succeed.
type reason int

const (
	inTrouble    reason = iota // the connection or the host failed
	wasDamaged                 // the answer cannot be what was sent
	wasRefused                 // as it should not have been
	wasForgotten               // who was let do such a thing before
	wasDenied                  // as it may have to be
	wasOdd                     // the answer is not what registries send
	isLagging                  // it does not see yet what it was given
	isDead                     // nothing listens where it points to
	isMisstated                // the blob has another size than its manifest says
	reasons
)

// errAgain marks a failure after which another attempt may succeed, with the
// answer that says so where there is one.
type errAgain struct {
	error
	answer *answer
	reason reason
}

func (e errAgain) Unwrap() error { return e.error }

// answerOf is the answer that asked to come back later, nil if none did.
func answerOf(err error) *answer {
	var again errAgain
	if errors.As(err, &again) {
		return again.answer
	}
	return nil
}

// damaged marks an answer that cannot be what the registry meant to send.
func damaged(err error) error { return errAgain{error: err, reason: wasDamaged} }

// patience is that of one operation.
type patience struct {
	host   *host
	since  time.Time // of the first failure since something worth the name came
	lags   time.Time // since when it does not see what it was given
	counts [reasons]int
	step   int           // of the waits
	waited time.Duration // in all of them
	stalls int           // of the failures
	gained int64         // bytes since

	misstated sizeError // of the last answer of another size than the manifest says
	last      error
}

// after takes a failure. It waits and returns nil where another attempt may be
// made, and else the error to end with.
func (p *patience) after(ctx context.Context, err error) error {
	wait, end := p.bear(ctx, err)
	if end == nil && sleep(ctx, wait) != nil {
		return p.ended(ctx, err)
	}
	return end
}

// bear takes a failure and returns how long to wait for another attempt, or the
// error to end with.
func (p *patience) bear(ctx context.Context, err error) (wait time.Duration, end error) {
	if ctx.Err() != nil {
		return 0, p.ended(ctx, err)
	}
	if errors.Is(err, errStalled) || errors.Is(err, errDrips) {
		p.stalls++
	}
	why, again := reasonOf(err, p.host)
	if why == isMisstated && !p.misstates(err) {
		why = wasDamaged
	}
	if !again || !p.bears(why) {
		return 0, err
	}
	if a := answerOf(err); a != nil && asks(a.status, a.header) > p.host.longestRest() {
		return 0, err
	}
	p.last = err
	d := backoff(p.host.patience, p.step)
	p.step++
	p.waited += d
	if a := answerOf(err); a != nil {
		d = max(d, asked(a.status, a.header))
	}
	return d, nil
}

// misstates reports whether a size may be the registry's word: answers that are cut off
// on their way, as some proxies do with a length that fits, have another each time.
func (p *patience) misstates(err error) bool {
	var now sizeError
	errors.As(err, &now)
	before := p.misstated
	p.misstated = now
	return before == sizeError{} || before == now
}

// reasonOf is why another attempt may succeed, if one may.
func reasonOf(err error, h *host) (reason, bool) {
	var done final
	var over spent
	var away awayError
	var size sizeError
	again, marked := err.(errAgain) //nolint:errorlint // one deeper down was borne already
	switch {
	case errors.As(err, &over):
		return 0, false
	case marked:
		return again.reason, true
	case errors.As(err, &size): // which was asked for twice
		return 0, false
	case errors.Is(err, ErrMismatch):
		return wasDamaged, true
	case errors.As(err, &done):
		return 0, false
	case isOdd(err, h):
		return wasOdd, true
	case errors.As(err, &away) && away.isDead():
		return isDead, true
	default:
		return inTrouble, temporary(err) || h.answered.Load() && isUnknownHost(err)
	}
}

// isOdd tells where a host points to places that are not gone to, or to itself by
// a protocol that it does not speak: it may do better the next time. Each time the
// place is refused anew; a chain of redirects was long enough already.
func isOdd(err error, h *host) bool {
	var refused refusal
	var record tls.RecordHeaderError
	return errors.As(err, &refused) && refused != tooManyRedirects ||
		h.well.Load() && (errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch))
}

// spent is an error that patience was had with already: an operation around it
// has none left, or attempts would multiply.
type spent struct{ error }

func (e spent) Unwrap() error { return e.error }
func (spent) final()          {}

// final is an error behind which there were retries, or for which there are none.
type final interface{ final() }

// sourceError is that of what an upload reads.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }
func (sourceError) final()          {}

// bears counts a failure and reports whether there is patience left for it.
func (p *patience) bears(why reason) bool {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	p.counts[why]++
	gone := time.Since(p.since)
	switch {
	case !p.host.relents():
		return false
	case why == wasDamaged:
		return p.counts[why] < damages
	case why == isMisstated:
		return p.counts[why] < misstatements
	case why == wasOdd:
		return p.counts[why] < oddities
	case why == wasRefused:
		return p.counts[why] < refusals
	case why == wasForgotten:
		return p.counts[why] < forgets
	case why == wasDenied:
		return p.counts[why] < denials
	case why == isLagging:
		if p.lags.IsZero() {
			p.lags = time.Now()
		}
		return time.Since(p.lags) < p.host.patience/lagging
	case why == isDead:
		return gone < p.host.patience/firstContact
	case !p.host.answered.Load():
		return p.stalls < firstStalls && gone-time.Duration(p.stalls)*stallTimeout < p.host.patience/firstContact
	}
	// What was waited counts, not what the attempts took: each may hold others that
	// were tried again in their turn, and one that stalls takes half a minute.
	return p.counts[why] < attempts ||
		p.stalls < attempts && p.waited < p.host.patience && gone < mostPatience*p.host.patience
}

// advance counts bytes that came after a failure. A drip only shortens the waits;
// as much as is expected in that time makes a new start.
func (p *patience) advance(bytes int64) {
	if p.since.IsZero() {
		return
	}
	p.step = 0
	if p.gained += bytes; p.gained >= leastBytes {
		*p = patience{host: p.host}
	}
}

// ended is why the context ended, with what the time went for: the registry's
// answer if that was to come back later, else the last failure.
func (p *patience) ended(ctx context.Context, err error) error {
	if sibling := failed(ctx); sibling != nil {
		return sibling
	}
	return cutShort{p.inVain(context.Cause(ctx), err)}
}

// failed is the failure of something beside this that ended the context: what was
// cut short for its sake has nothing to add. It is nil where the run itself was
// ended.
func failed(ctx context.Context) error {
	var e *Error
	if cause := context.Cause(ctx); errors.As(cause, &e) {
		return beside{cause}
	}
	return nil
}

// beside says what another failure says, and is not that failure: nobody may take
// it for an answer to its own question, such as that something is not there.
type beside struct{ failure error }

func (b beside) Error() string { return b.failure.Error() }

// Original is the failure that ended what the error is of, where that was cut short for
// the sake of something beside it; else the error itself. It is for who asked for all of
// it: to any one of them the failure is no answer.
func Original(err error) error {
	var other beside
	for errors.As(err, &other) {
		err = other.failure
	}
	return err
}

// endedBy is why the context ended before there was anything to wait for.
func endedBy(ctx context.Context) error {
	if sibling := failed(ctx); sibling != nil {
		return sibling
	}
	return cutShort{context.Cause(ctx)}
}

// cutShort is an error of what was ended from outside.
type cutShort struct{ error }

func (e cutShort) Unwrap() error { return e.error }

// inVain is why, with the last failure before it.
func (p *patience) inVain(why, err error) error {
	var done final
	if errors.As(err, &done) && errors.Is(err, why) {
		return err // whoever waited below has said it
	}
	last := p.last
	if a := answerOf(err); a != nil || !errors.Is(err, why) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		last = err
	}
	switch a := answerOf(last); {
	case last == nil:
		return why
	case a != nil:
		return fmt.Errorf("%w; the registry's last answer was %s", why, a)
	default:
		return fmt.Errorf("%w; the last attempt failed: %w", why, last)
	}
}

// backoff doubles with each step, and takes between half and all of it.
func backoff(patience time.Duration, step int) time.Duration {
	d := min(patience/waitFirst<<min(step, 10), patience/waitMost)
	return d/2 + rand.N(d/2+1)
}

// asked is how long an answer asks to be left alone, bounded (RFC 9110 §10.2.3).
func asked(status int, header http.Header) time.Duration {
	return min(asks(status, header), retryAfterMax)
}

// asks is asked without its bound. GHCR has a number of microseconds in the message of
// its body and no header: the usual wait is longer.
func asks(status int, header http.Header) time.Duration {
	if status < 400 || header == nil {
		return 0
	}
	now := time.Now()
	if date, err := http.ParseTime(header.Get("Date")); err == nil && date.Before(now.Add(maxRetryAfter)) && date.After(now.Add(-maxRetryAfter)) {
		now = date // by the registry's clock, whatever ours says
	}
	return retryAfter(header.Get("Retry-After"), now)
}

const (
	maxRetryAfter = 24 * time.Hour // more is not told apart
	leastEpoch    = 500_000_000    // from here on, a number of seconds is a time: 1985, or in 16 years
	mostEpoch     = 100_000_000_000
)

// retryAfter reads the header's value: seconds, a date, or seconds since 1970, which
// Docker Hub sends (docker/hub-feedback#2459); 0 for anything else.
func retryAfter(value string, now time.Time) time.Duration {
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil && seconds >= leastEpoch && seconds < mostEpoch {
		return clamp(time.Unix(int64(seconds), 0).Sub(now))
	}
	if err == nil {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return clamp(date.Sub(now))
	}
	return 0
}

func clamp(d time.Duration) time.Duration { return min(max(0, d), maxRetryAfter) }

// sleep waits, or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
