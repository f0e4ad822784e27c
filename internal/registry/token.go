package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
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

func (*tokenError) final() {}

// Error quotes no body: an answer without a token may hold other secrets.
func (e *tokenError) Error() string {
	var answered *transport.Error
	if errors.As(e.err, &answered) {
		return "the token service answered " + told(answered)
	}
	line, _, _ := strings.Cut(e.err.Error(), "\n")
	return "get token: " + Cut(line, 300)
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
type grant struct {
	token, scopes string
	expires       time.Time
}

// usable reports whether a token got before a slot was waited for may still be
// used: it is still the session's, and does not run out.
func (s *session) usable(n need, g grant) bool {
	now, ok, err := s.fresh(n)
	return err == nil && (ok && now.token == g.token || time.Until(g.expires) > tokenMargin/2)
}

// grant returns a token for a request. Where the service refuses the joined
// scopes, it is asked for the request's own.
func (s *session) grant(ctx context.Context, n need) (grant, error) {
	g, err := s.bearer(ctx, n)
	var refused *tokenError
	if errors.As(err, &refused) && refused.refused() && s.narrow(n, g.scopes) {
		return s.bearer(ctx, n)
	}
	return g, err
}

// ready waits until a request can be authorized, so that a slot is taken only then.
func (s *session) ready(ctx context.Context, n need) error {
	c, err := s.challenged(ctx)
	if err != nil || !isBearer(c) {
		return err
	}
	_, err = s.grant(ctx, n)
	return err
}

// bearer returns a token, from the service if there is none that is fresh. What
// the service refused it is not asked for again: many wrong passwords at once
// lock an account.
func (s *session) bearer(ctx context.Context, n need) (grant, error) {
	if g, ok, err := s.fresh(n); ok {
		return g, err
	}
	if err := s.gate.Take(ctx); err != nil {
		return grant{}, err
	}
	defer s.gate.Give()
	if g, ok, err := s.fresh(n); ok {
		return g, err
	}
	scopes := s.scopes(n)
	t := s.askForToken(ctx, scopes.list)
	var refused *tokenError
	if t.err == nil || errors.As(t.err, &refused) && refused.unauthorized() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tokens[scopes.key] = t
	}
	return grant{t.value, scopes.key, t.expires}, t.err
}

// fresh is what the service has said already.
func (s *session) fresh(n need) (g grant, ok bool, err error) {
	key := s.scopes(n).key
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[key]
	return grant{t.value, key, t.expires}, ok && (t.err != nil || time.Until(t.expires) > tokenMargin), t.err
}

// askForToken asks the service until it gives a token or refuses one.
func (s *session) askForToken(ctx context.Context, scopes []string) token {
	if s.cred.Auth.RegistryToken != "" {
		return token{value: s.cred.Auth.RegistryToken, expires: time.Now().Add(24 * time.Hour)}
	}
	p := patience{host: s.tokenHost()}
	for {
		t, err := s.askOnce(ctx, scopes)
		if err == nil {
			return t
		}
		if end := p.after(ctx, err); end != nil {
			if ctx.Err() != nil {
				return token{err: end}
			}
			return token{err: refusedToken(end)}
		}
	}
}

func (s *session) tokenHost() *host {
	if u, err := url.Parse(s.known().Parameters["realm"]); err == nil && u.Host != "" {
		return s.hosts.of(u.Host)
	}
	return s.at
}

func (s *session) askOnce(ctx context.Context, scopes []string) (token, error) {
	c := s.known()
	g := &guarded{session: s, scheme: scheme(c), token: true}
	began := time.Now()
	t, err := transport.Exchange(ctx, s.host, authn.FromConfig(s.cred.Auth), g, scopes, c)
	if err != nil {
		return token{}, g.judge(err)
	}
	value := cmp.Or(t.Token, t.AccessToken)
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return token{}, damaged(errors.New("the token has characters that no token has"))
	}
	life := defaultTokenLife
	if t.ExpiresIn > 0 {
		life = time.Duration(min(t.ExpiresIn, 24*60*60)) * time.Second
	}
	// The margin must not eat a short-lived token whole.
	return token{value: value, expires: began.Add(max(life, tokenMargin+time.Second))}, nil
}

// wholeSeconds makes whole seconds of an `expires_in` that is a text or a fraction, as
// some token services send it (the specification's examples have an integer, its text
// no type). go-containerregistry reads an int, and nothing else: the whole answer would
// be lost. It reads no `issued_at`; a token's life is counted from when it was asked for.
func wholeSeconds(answer []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) != nil || members["expires_in"] == nil {
		return answer
	}
	text := strings.Trim(string(members["expires_in"]), `" `)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 1 && seconds < 1<<31 {
		members["expires_in"] = json.RawMessage(strconv.Itoa(int(seconds)))
	} else {
		delete(members, "expires_in") // as if it did not say
	}
	if whole, err := json.Marshal(members); err == nil {
		return whole
	}
	return answer
}

// judge decides what a failed exchange is worth: an answer of success without a
// token in it is a damaged one.
func (g *guarded) judge(err error) error {
	switch a, failure := g.outcome(); {
	case failure != nil:
		return failure
	case a != nil && temporaryStatus(a.status):
		return errAgain{error: err, answer: a}
	case a != nil && a.status < 300:
		return damaged(err)
	default:
		return refusedToken(err)
	}
}

func refusedToken(err error) error {
	var e *transport.Error
	var already *tokenError
	if errors.As(err, &already) {
		return already
	}
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

// mayBeTooLong tells the refusal of a proxy or a server that may be for the length of
// the token: without an error code, to a request whose token was for more than its own
// repositories. The answer to HEAD has no code anyway.
func (s *session) mayBeTooLong(c call, a *answer, used grant) bool {
	switch a.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
	default:
		return false
	}
	code, _ := diagnose(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.method != http.MethodHead && code == "" && used.token != "" && !s.fits[a.status] && strings.Join(s.own(c.need), " ") != used.scopes
}

// judgeLength goes over to short tokens where one did better, and else remembers that
// such a refusal is for another reason.
func (s *session) judgeLength(long, short *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if short.status == long.status {
		s.fits[long.status] = true
		return
	}
	s.single = true
}

// drop forgets a refused token. It reports whether one of the same scopes was
// refused before it.
func (s *session) drop(value string) (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, t := range s.tokens {
		if t.err == nil && t.value == value {
			delete(s.tokens, key)
			again = again || s.refused[key]
			s.refused[key] = true
		}
	}
	return again
}
