package githubtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limit is a rate limit of one kind, as GitHub tells of it.
type Limit int

// Limits.
const (
	Primary         Limit = iota // 403, nothing remains, and when it resets
	SecondaryHeader              // 403 with retry-after
	SecondaryWords               // 403 that only says so
	TooMany                      // 429 with retry-after
)

// trouble answers requests in place of the server.
type trouble struct {
	left   int
	answer func(w http.ResponseWriter)
}

// Deny takes a permission from the token: checks, statuses, actions or contents.
func (s *Server) Deny(permission string) { s.permit(permission, false) }

// Permit gives it back.
func (s *Server) Permit(permission string) { s.permit(permission, true) }

func (s *Server) permit(permission string, yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, _, _ := strings.Cut(permission, ":")
	s.denied[name] = !yes
}

// RateLimit answers the next requests with a limit that ends after a time, in
// whole seconds. Where it is only words, they do not say when.
func (s *Server) RateLimit(kind Limit, wait time.Duration, times int) {
	s.Answer(times, func(w http.ResponseWriter) { limit(w, kind, wait) })
}

// Fail answers the next requests with a status.
func (s *Server) Fail(status, times int) {
	s.Answer(times, func(w http.ResponseWriter) { refuse(w, status, "Server Error", "rest") })
}

// Answer answers the next requests as it is told.
func (s *Server) Answer(times int, answer func(w http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = append(s.troubles, trouble{times, answer})
}

// troubled is the answer to this request in place of the server's, if there is one.
func (s *Server) troubled() func(w http.ResponseWriter) {
	for len(s.troubles) > 0 {
		if t := &s.troubles[0]; t.left > 0 {
			t.left--
			return t.answer
		}
		s.troubles = s.troubles[1:]
	}
	return nil
}

func limit(w http.ResponseWriter, kind Limit, wait time.Duration) {
	seconds := strconv.Itoa(int(wait / time.Second))
	const secondary = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
	switch kind {
	case Primary:
		w.Header().Set("X-Ratelimit-Limit", "1000")
		w.Header().Set("X-Ratelimit-Remaining", "0")
		w.Header().Set("X-Ratelimit-Used", "1000")
		w.Header().Set("X-Ratelimit-Resource", "core")
		w.Header().Set("X-Ratelimit-Reset", strconv.FormatInt(time.Now().Add(wait).Unix(), 10))
		refuse(w, http.StatusForbidden, "API rate limit exceeded for installation ID 12345678.", "rest/overview/rate-limits-for-the-rest-api")
	case SecondaryHeader:
		w.Header().Set("Retry-After", seconds)
		refuse(w, http.StatusForbidden, secondary, "free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
	case SecondaryWords:
		refuse(w, http.StatusForbidden, secondary, "free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits")
	case TooMany:
		w.Header().Set("Retry-After", seconds)
		refuse(w, http.StatusTooManyRequests, secondary, "rest/overview/rate-limits-for-the-rest-api")
	}
}

// refuse answers an error in GitHub's shape.
func refuse(w http.ResponseWriter, status int, message, page string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"message":%q,"documentation_url":%q,"status":"%d"}`, message, "https://docs.github.com/"+page, status)
}
