package wire

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// MaxThrottleWait bounds one wait: a longer Retry-After becomes several waits.
const MaxThrottleWait = time.Minute

// ThrottleWait is the Retry-After of an answer (RFC 9110 §10.2.3), at most MaxThrottleWait.
func ThrottleWait(status int, header http.Header) time.Duration {
	return min(RetryAfter(status, header), MaxThrottleWait)
}

// RetryAfter is the Retry-After of an answer, at most MaxRetryAfter. GHCR sends no header, but a
// number of microseconds in the message of its body, which is ignored: the backoff is longer.
func RetryAfter(status int, header http.Header) time.Duration {
	if status < 400 || header == nil {
		return 0
	}
	now := time.Now()
	if date, err := http.ParseTime(header.Get("Date")); err == nil && date.Before(now.Add(MaxRetryAfter)) && date.After(now.Add(-MaxRetryAfter)) {
		now = date // the clock of the registry may differ from ours
	}
	return parseRetryAfter(header.Get("Retry-After"), now)
}

// Limits of the values that parseRetryAfter accepts.
const (
	MaxRetryAfter = 24 * time.Hour // a longer one is shortened to this
	leastEpoch    = 500_000_000    // larger numbers are seconds since 1970: this is 1985, or a wait of 16 years
	mostEpoch     = 100_000_000_000
)

// parseRetryAfter reads the header's value: seconds, a date, or seconds since 1970, which
// Docker Hub sends (docker/hub-feedback#2459); 0 for anything else.
func parseRetryAfter(value string, now time.Time) time.Duration {
	seconds, err := strconv.ParseUint(value, 10, 64)
	if err == nil && seconds >= leastEpoch && seconds < mostEpoch {
		return clamp(time.Unix(int64(seconds), 0).Sub(now))
	}
	if err == nil {
		return time.Duration(min(seconds, uint64(MaxRetryAfter/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return clamp(date.Sub(now))
	}
	return 0
}

func clamp(d time.Duration) time.Duration { return min(max(0, d), MaxRetryAfter) }

// Sleep waits. If the context ends first, it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// isOverloaded reports whether a host answers that it gets too many requests, rather than that
// it failed.
func isOverloaded(status int, header http.Header) bool {
	return status == http.StatusTooManyRequests ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
}
