package wire

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// MaxThrottleWait bounds one wait for a host: a longer Retry-After is waited for in parts.
const MaxThrottleWait = time.Minute

// ThrottleWait is how long an answer asks to be left alone, bounded (RFC 9110 §10.2.3).
func ThrottleWait(status int, header http.Header) time.Duration {
	return min(RetryAfter(status, header), MaxThrottleWait)
}

// RetryAfter is asked without its bound. GHCR has a number of microseconds in the message of
// its body and no header: the usual wait is longer.
func RetryAfter(status int, header http.Header) time.Duration {
	if status < 400 || header == nil {
		return 0
	}
	now := time.Now()
	if date, err := http.ParseTime(header.Get("Date")); err == nil && date.Before(now.Add(MaxRetryAfter)) && date.After(now.Add(-MaxRetryAfter)) {
		now = date // by the registry's clock, whatever ours says
	}
	return parseRetryAfter(header.Get("Retry-After"), now)
}

const (
	MaxRetryAfter = 24 * time.Hour // more is not told apart
	leastEpoch    = 500_000_000    // from here on, a number of seconds is a time: 1985, or in 16 years
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

// Sleep waits, or until the context ends.
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

// isOverloaded tells the answer of a host that is asked too much from that of one
// that is in trouble.
func isOverloaded(status int, header http.Header) bool {
	return status == http.StatusTooManyRequests ||
		status == http.StatusServiceUnavailable && header.Get("Retry-After") != ""
}
