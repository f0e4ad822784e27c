package wire

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// What a registry asks to wait for is never negative, and of no effect beyond its cap.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "0", "20", "-5", "+5", "5.5", " 5", "9223372036854775807", "99999999999999999999", "soon", "Fri, 31 Dec 1999 23:59:59 GMT",
		"Sun Nov  6 08:49:37 1994", "Sunday, 06-Nov-94 08:49:37 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 2027 23:59:59 GMT", "1795000000", "499999999", "500000000", "99999999999"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		d := parseRetryAfter(value, now)
		if d < 0 {
			t.Errorf("%q is %v", value, d)
		}
		if n, err := strconv.ParseUint(value, 10, 16); err == nil && d != time.Duration(n)*time.Second {
			t.Errorf("%q is %v", value, d)
		}
		if d := ThrottleWait(http.StatusTooManyRequests, http.Header{"Retry-After": {value}}); d < 0 || d > MaxThrottleWait {
			t.Errorf("%q is waited for %v", value, d)
		}
	})
}

// A date is one of the registry's clock.
func TestRetryAfterByTheClockOfTheRegistry(t *testing.T) {
	t.Parallel()
	theirs := time.Now().Add(-time.Hour).Truncate(time.Second)
	header := http.Header{"Date": {theirs.UTC().Format(http.TimeFormat)}, "Retry-After": {theirs.Add(10 * time.Second).UTC().Format(http.TimeFormat)}}
	if got := RetryAfter(http.StatusTooManyRequests, header); got != 10*time.Second {
		t.Errorf("%v, want 10s", got)
	}
}
