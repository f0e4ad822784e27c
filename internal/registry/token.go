package registry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// token is a bearer token and when it should no longer be used; or the service's
// refusal.
type token struct {
	value   string
	expires time.Time
	err     error
}

// A token with less than this left is replaced before it is used.
const tokenMargin = 10 * time.Second

// defaultTokenLife is the token specification's value where a service does not
// say (https://distribution.github.io/distribution/spec/auth/token/).
const defaultTokenLife = 60 * time.Second

// tokenError is a token service's refusal, or, with status 0, that it could not
// be asked. Either is final: the retries are behind it.
type tokenError struct {
	status int
	err    error
}

func (e *tokenError) Unwrap() error { return e.err }

// Error quotes no body: an answer without a token may hold other secrets.
func (e *tokenError) Error() string {
	var answered *transport.Error
	if errors.As(e.err, &answered) {
		return "the token service answered " + told(answered)
	}
	line, _, _ := strings.Cut(e.err.Error(), "\n")
	return "get token: " + cut(line, 300)
}

// refused reports whether the service said no, rather than not now.
func (e *tokenError) refused() bool {
	return e.status >= 400 && e.status < 500 && !temporaryStatus(e.status)
}

// unauthorized reports whether it is the credential that was refused.
func (e *tokenError) unauthorized() bool {
	return e.status == http.StatusUnauthorized || e.status == http.StatusForbidden
}

// grant is a token and the scopes that it was asked for.
type grant struct{ token, scopes string }

// grant returns a token for a request. Where the service refuses the joined
// scopes, it is asked for the request's own.
func (s *session) grant(ctx context.Context, n need, stale string) (grant, error) {
	g, err := s.bearer(ctx, n, stale)
	var refused *tokenError
	if errors.As(err, &refused) && refused.refused() && s.narrow(n, g.scopes) {
		return s.bearer(ctx, n, stale)
	}
	return g, err
}

// bearer returns a token, from the service if there is none yet, or if the one
// there is stale. What the service refused it is not asked for again: many wrong
// passwords at once lock an account.
func (s *session) bearer(ctx context.Context, n need, stale string) (grant, error) {
	if g, ok, err := s.fresh(n, stale); ok {
		return g, err
	}
	if err := s.hold(ctx); err != nil {
		return grant{}, err
	}
	defer s.release()
	if g, ok, err := s.fresh(n, stale); ok {
		return g, err
	}
	scopes := s.scopes(n)
	t := s.exchange(ctx, scopes)
	g := grant{t.value, strings.Join(scopes, " ")}
	var refused *tokenError
	if t.err == nil || errors.As(t.err, &refused) && refused.unauthorized() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tokens[g.scopes] = t
	}
	return g, t.err
}

// fresh is what the service has said already.
func (s *session) fresh(n need, stale string) (g grant, ok bool, err error) {
	g.scopes = strings.Join(s.scopes(n), " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[g.scopes]
	g.token = t.value
	return g, ok && (t.err != nil || t.value != stale && time.Until(t.expires) > tokenMargin), t.err
}

func (s *session) exchange(ctx context.Context, scopes []string) token {
	if s.cred.Auth.RegistryToken != "" {
		return token{value: s.cred.Auth.RegistryToken, expires: time.Now().Add(24 * time.Hour)}
	}
	c := s.known()
	asked := time.Now()
	t, err := transport.Exchange(ctx, s.host, authn.FromConfig(s.cred.Auth), &guarded{session: s, scheme: scheme(c)}, scopes, c)
	if err != nil {
		return token{err: refusedToken(err)}
	}
	life := defaultTokenLife
	if t.ExpiresIn > 0 {
		life = time.Duration(min(t.ExpiresIn, 24*60*60)) * time.Second
	}
	// The margin must not eat a short-lived token whole.
	return token{value: cmp.Or(t.Token, t.AccessToken), expires: asked.Add(max(life, tokenMargin+time.Second))}
}

func refusedToken(err error) error {
	var e *transport.Error
	if errors.As(err, &e) {
		return &tokenError{status: e.StatusCode, err: err}
	}
	return &tokenError{err: err}
}

// narrow goes over to one token for each request's repositories. It reports
// whether that makes a difference to a request whose scopes were refused, also
// where another request was faster.
func (s *session) narrow(n need, refused string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.own(n), " ") == refused {
		return false
	}
	s.single = true
	return true
}

// drop forgets a refused token.
func (s *session) drop(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, t := range s.tokens {
		if t.err == nil && t.value == value {
			delete(s.tokens, key)
		}
	}
}
