package github

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

// A limit that ends within patience is waited for, and no longer.
func TestLimitIsWaitedFor(t *testing.T) {
	for _, test := range []struct {
		name        string
		kind        githubtest.Limit
		wait        time.Duration
		times       int
		least, most time.Duration
	}{
		{"primary", githubtest.Primary, 40 * time.Second, 1, 40 * time.Second, 42 * time.Second},
		{"primary twice", githubtest.Primary, 20 * time.Second, 2, 40 * time.Second, 44 * time.Second},
		{"primary that ends now", githubtest.Primary, 0, 1, time.Second, time.Second},
		{"primary that has ended", githubtest.Primary, -time.Hour, 1, time.Second, time.Second},
		{"secondary", githubtest.SecondaryHeader, 25 * time.Second, 2, 50 * time.Second, 50 * time.Second},
		{"secondary of a minute", githubtest.SecondaryHeader, 60 * time.Second, 1, 60 * time.Second, 60 * time.Second},
		{"secondary in words", githubtest.SecondaryWords, 0, 1, 60 * time.Second, 60 * time.Second},
		{"at once", githubtest.TooMany, 0, 3, 3 * time.Second, 3 * time.Second},
		{"429", githubtest.TooMany, 7 * time.Second, 3, 21 * time.Second, 21 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := world()
			s.RateLimit(test.kind, test.wait, test.times)
			bubble(t, s, func(t *testing.T, c *Client) {
				began := time.Now()
				if err := ask["Compare"](t.Context(), c); err != nil {
					t.Error(err)
				}
				took(t, began, test.least, test.most)
			})
			wantRequests(t, s, test.times+1)
		})
	}
}

// One that does not is an error at once, which says when it ends.
func TestLimitThatIsTooLong(t *testing.T) {
	for _, test := range []struct {
		name   string
		kind   githubtest.Limit
		wait   time.Duration
		resets string // a bubble begins at midnight
	}{
		{"primary", githubtest.Primary, 59 * time.Minute, "2000-01-01 00:59:01 UTC"},
		{"primary by a second", githubtest.Primary, time.Minute, "2000-01-01 00:01:01 UTC"},
		{"primary that never ends", githubtest.Primary, 100000 * time.Hour, "2000-01-02 00:00:00 UTC"},
		{"secondary", githubtest.SecondaryHeader, 61 * time.Second, "2000-01-01 00:01:01 UTC"},
		{"429", githubtest.TooMany, 2 * time.Minute, "2000-01-01 00:02:00 UTC"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := world()
			s.RateLimit(test.kind, test.wait, 1)
			bubble(t, s, func(t *testing.T, c *Client) {
				began := time.Now()
				err := ask["Compare"](t.Context(), c)
				wantError(t, err, "rate limit resets at "+test.resets, "run the job again")
				if !errors.Is(err, ErrRateLimited) || errors.Is(err, ErrNotAllowed) {
					t.Errorf("error %v", err)
				}
				took(t, began, 0, 0)
			})
			wantRequests(t, s, 1)
		})
	}
}

// Limit after limit ends with patience, or before the context does.
func TestLimitsThatGoOn(t *testing.T) {
	for _, test := range []struct {
		patience, timeout time.Duration
		requests          int
		took              time.Duration
	}{
		{0, time.Hour, 3, 50 * time.Second},
		{5 * time.Minute, time.Hour, 13, 300 * time.Second},
		{time.Second, time.Hour, 1, 0},
		{0, 30 * time.Second, 2, 25 * time.Second},
		{0, 25 * time.Second, 1, 0},
	} {
		s := world()
		s.RateLimit(githubtest.TooMany, 25*time.Second, 1000)
		bubbleAs(t, Options{Token: secret, Patience: test.patience}, s, func(t *testing.T, c *Client) {
			ctx, cancel := context.WithTimeout(t.Context(), test.timeout)
			defer cancel()
			began := time.Now()
			wantError(t, ask["Compare"](ctx, c), "429 Too Many Requests", "resets at")
			took(t, began, test.took, test.took)
		})
		wantRequests(t, s, test.requests)
	}
}

// A missing permission is none of them, though nothing remains.
func TestPermissionIsNoLimit(t *testing.T) {
	asked := 0
	h := func(w http.ResponseWriter, r *http.Request) {
		asked++
		answers(403, jsonType, `{"message":"Resource not accessible by integration"}`, "X-Ratelimit-Remaining", "0", "X-Ratelimit-Reset", "946684810")(w, r)
	}
	bubble(t, http.HandlerFunc(h), func(t *testing.T, c *Client) {
		wantError(t, ask["Compare"](t.Context(), c), "contents: read")
	})
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

func TestWhichAnswersAreLimits(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	const words = `{"message":"You have exceeded a secondary rate limit"}`
	for _, test := range []struct {
		status  int
		body    string
		headers string
		want    time.Duration // 0: none
	}{
		{403, words, "", time.Minute},
		{429, words, "", time.Minute},
		{403, `{"message":"You have triggered an abuse detection mechanism."}`, "", time.Minute},
		{403, words, "Retry-After: 5", 5 * time.Second},
		{403, words, "Retry-After: Sun, 22 Nov 2026 14:00:09 GMT", 9 * time.Second},
		{403, words, "Retry-After: 99999999999999999", maxLimit},
		{403, words, "Retry-After: 99999999999999999999999", time.Minute},
		{403, words, "Retry-After: -5", time.Minute},
		{403, words, "Retry-After: soon", time.Minute},
		{403, `{}`, "X-RateLimit-Remaining: 0", time.Minute},
		{403, `{}`, "X-RateLimit-Remaining: 0|X-RateLimit-Reset: 1795356010", 11 * time.Second},
		{403, `{}`, "X-RateLimit-Remaining: 0|X-RateLimit-Reset: -1", time.Minute},
		{403, `{}`, "X-RateLimit-Remaining: 0|X-RateLimit-Reset: 0", time.Second},
		{403, `{}`, "X-RateLimit-Remaining: 0|X-RateLimit-Reset: 1000000000000", maxLimit},
		{403, `{}`, "X-RateLimit-Remaining: 0|X-RateLimit-Reset: 99999999999999999999", time.Minute},
		{403, `{}`, "X-RateLimit-Remaining: 1|X-RateLimit-Reset: 1795356010", 0},
		{403, `<html>`, "", 0},
		{403, `{"message":"Must have admin rights to Repository."}`, "", 0},
		{403, `{"message":"Resource not accessible by personal access token"}`, "Retry-After: 5", 0},
		{429, `{}`, "", 0},
		{404, words, "Retry-After: 5", 0},
		{500, words, "Retry-After: 5", 0},
		{200, words, "X-RateLimit-Remaining: 0", 0},
	} {
		h := http.Header{}
		for field := range strings.SplitSeq(test.headers, "|") {
			name, value, _ := strings.Cut(field, ": ")
			h.Set(name, value)
		}
		reset, ok := limited(&answer{test.status, h, []byte(test.body)}, now)
		if got := reset.Sub(now); ok != (test.want > 0) || ok && got != test.want {
			t.Errorf("%d %s %s: %v, %t; want %v", test.status, test.body, test.headers, got, ok, test.want)
		}
	}
	if now.Unix() != 1795356000 {
		t.Errorf("it is %d", now.Unix())
	}
}

// Nothing that a server says makes a wait that is negative or without end.
func FuzzLimited(f *testing.F) {
	f.Add(403, "5", "0", "1795356010", "")
	f.Add(429, "", "0", "", "rate limit")
	f.Add(403, "Sun, 22 Nov 2026 14:00:09 GMT", "", "", "")
	f.Fuzz(func(t *testing.T, status int, after, remaining, reset, message string) {
		now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
		h := http.Header{"Retry-After": {after}, "X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}}
		until, ok := limited(&answer{status, h, []byte(`{"message":` + strconv.Quote(message) + `}`)}, now)
		if ok && (status != 403 && status != 429) {
			t.Errorf("status %d is a limit", status)
		}
		if d := until.Sub(now); ok && (d < 0 || d > maxLimit) {
			t.Errorf("the wait is %v", d)
		}
	})
}
