package auth

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

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
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

// Error is a token service's refusal, or, with Status 0, that it could not be asked. The
// retries are over.
type Error struct {
	Status int // of its answer
	Err    error
}

func (e *Error) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (*Error) Final() {}

// Error quotes no body: an answer without a token may hold other secrets.
func (e *Error) Error() string {
	var answered *transport.Error
	if errors.As(e.Err, &answered) {
		return "the token service answered " + told(answered)
	}
	line, _, _ := strings.Cut(e.Err.Error(), "\n")
	return "get token: " + wire.Cut(line, 300)
}

// Refused reports whether the service said no, rather than not now.
func (e *Error) Refused() bool {
	return e.Status >= 400 && e.Status < 500 && !wire.IsTemporary(e.Status)
}

// IsUnauthorized reports whether it is the credential that was refused.
func (e *Error) IsUnauthorized() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// Grant is what a request was authorized with.
type Grant struct {
	challenge     *transport.Challenge // nil: none was answered, as the request goes to another host
	token, scopes string               // empty: it needs no token
	expires       time.Time
}

// IsOwnHost reports whether the request goes to the registry itself, and not to where it
// redirects.
func (g Grant) IsOwnHost() bool { return g.challenge != nil }

// HasToken reports whether the request is authorized by a token.
func (g Grant) HasToken() bool { return g.token != "" }

// IsFresh reports whether what a request was authorized with may still be used, after a
// slot was waited for: the token is still the session's, or does not run out.
func (s *Session) IsFresh(n Need, g Grant) bool {
	if !g.HasToken() {
		return true
	}
	now, ok, err := s.fresh(n)
	return err == nil && (ok && now.token == g.token || time.Until(g.expires) > tokenMargin/2)
}

// grant returns a token for a request. Where the service refuses the joined
// scopes, it is asked for the request's own.
func (s *Session) grant(ctx context.Context, n Need) (Grant, error) {
	g, err := s.bearer(ctx, n)
	var refused *Error
	if errors.As(err, &refused) && refused.Refused() && s.narrow(n, g.scopes) {
		return s.bearer(ctx, n)
	}
	return g, err
}

// Ready waits until a request can be authorized, so that a slot is taken only then.
func (s *Session) Ready(ctx context.Context, n Need) error {
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
func (s *Session) bearer(ctx context.Context, n Need) (Grant, error) {
	if g, ok, err := s.fresh(n); ok {
		return g, err
	}
	if err := s.turn.Take(ctx); err != nil {
		return Grant{}, err
	}
	defer s.turn.Give()
	if g, ok, err := s.fresh(n); ok {
		return g, err
	}
	scopes := s.scopes(n)
	t := s.askForToken(ctx, scopes.list)
	var refused *Error
	if t.err == nil || errors.As(t.err, &refused) && refused.IsUnauthorized() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tokens[scopes.key] = t
	}
	return Grant{token: t.value, scopes: scopes.key, expires: t.expires}, t.err
}

// fresh is what the service has said already.
func (s *Session) fresh(n Need) (g Grant, ok bool, err error) {
	key := s.scopes(n).key
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[key]
	return Grant{token: t.value, scopes: key, expires: t.expires}, ok && (t.err != nil || time.Until(t.expires) > tokenMargin), t.err
}

// askForToken asks the service until it gives a token or refuses one.
func (s *Session) askForToken(ctx context.Context, scopes []string) (t token) {
	if s.credential.Auth.RegistryToken != "" {
		return token{value: s.credential.Auth.RegistryToken, expires: time.Now().Add(24 * time.Hour)}
	}
	end := retry.Do(ctx, s.tokenHost(), func(ctx context.Context) (err error) {
		t, err = s.askOnce(ctx, scopes)
		return err
	})
	switch {
	case end == nil:
		return t
	case ctx.Err() != nil:
		return token{err: end}
	}
	return token{err: refusedToken(end)}
}

func (s *Session) tokenHost() *wire.Host {
	if u, err := url.Parse(s.known().Parameters["realm"]); err == nil && u.Host != "" {
		return s.hosts.Of(u.Host)
	}
	return s.host
}

func (s *Session) askOnce(ctx context.Context, scopes []string) (token, error) {
	c := s.known()
	g := &guarded{session: s, scheme: scheme(c), token: true}
	began := time.Now()
	t, err := transport.Exchange(ctx, s.registry, authn.FromConfig(s.credential.Auth), g, scopes, c)
	if err != nil {
		return token{}, g.judge(err)
	}
	value := cmp.Or(t.Token, t.AccessToken)
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return token{}, retry.AfterDamage(errors.New("the token has characters that no token has"))
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
	case a != nil && wire.IsTemporary(a.Status):
		return retry.Error{Err: err, Answer: a}
	case a != nil && a.Status < 300:
		return retry.AfterDamage(err)
	default:
		return refusedToken(err)
	}
}

func refusedToken(err error) error {
	var e *transport.Error
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	if errors.As(err, &e) {
		return &Error{Status: e.StatusCode, Err: err}
	}
	return &Error{Err: err}
}

// narrow goes over to one token for each request's repositories. It reports
// whether that makes a difference to a request whose scopes were refused, also
// where another request was faster.
func (s *Session) narrow(n Need, refused string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.own(n), " ") == refused {
		return false
	}
	s.single = true
	return true
}

// MayBeTooLong tells the refusal of a proxy or a server that may be for the length of
// the token: without an error code, to a request whose token was for more than its own
// repositories. The answer to HEAD has no code anyway.
func (s *Session) MayBeTooLong(n Need, used Grant, method string, a *wire.Answer) bool {
	switch a.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
	default:
		return false
	}
	code, _ := a.Diagnosis()
	s.mu.Lock()
	defer s.mu.Unlock()
	return method != http.MethodHead && code == "" && used.token != "" && !s.fits[a.Status] && strings.Join(s.own(n), " ") != used.scopes
}

// JudgeLength goes over to short tokens where one did better, and else remembers that
// such a refusal is for another reason.
func (s *Session) JudgeLength(long, short *wire.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if short.Status == long.Status {
		s.fits[long.Status] = true
		return
	}
	s.single = true
}

// drop forgets a refused token. It reports whether one of the same scopes was
// refused before it.
func (s *Session) drop(value string) (again bool) {
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
