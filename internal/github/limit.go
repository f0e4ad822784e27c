package github

import (
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// unsaid is how long to wait for a limit that does not say when it ends.
// https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
const unsaid = time.Minute

// maxLimit bounds what is believed of a wait.
const maxLimit = 24 * time.Hour

// A secondary limit may say so in words alone; older servers speak of abuse.
var limitPattern = regexp.MustCompile(`(?i)\b(rate limit|abuse detection)`)

// limited reports whether an answer is a rate limit, and when that ends: as GitHub
// asks, by retry-after, else by x-ratelimit-reset where nothing remains, else in a
// minute. A missing permission is none, though it may use up what remained.
func limited(a *answer, now time.Time) (reset time.Time, ok bool) {
	if a.status != http.StatusForbidden && a.status != http.StatusTooManyRequests || isUnpermitted(a) {
		return time.Time{}, false
	}
	if wait, ok := retryAfter(a.header, now); ok {
		return now.Add(max(wait, time.Second)), true
	}
	if a.header.Get("X-Ratelimit-Remaining") == "0" {
		return resetOf(a.header, now), true
	}
	if limitPattern.MatchString(messageOf(a)) {
		return now.Add(unsaid), true
	}
	return time.Time{}, false
}

// resetOf is when the primary limit ends, never before now. A second is added,
// since GitHub counts in whole ones.
func resetOf(h http.Header, now time.Time) time.Time {
	seconds, err := strconv.ParseUint(h.Get("X-Ratelimit-Reset"), 10, 40)
	if err != nil {
		return now.Add(unsaid)
	}
	reset := time.Unix(int64(seconds), 0).Add(time.Second)
	return now.Add(min(max(reset.Sub(now), time.Second), maxLimit))
}

// retryAfter is the header of that name: seconds, or a date (RFC 9110, section
// 10.2.3).
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(maxLimit/time.Second))) * time.Second, true
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return min(max(date.Sub(now), 0), maxLimit), true
}
