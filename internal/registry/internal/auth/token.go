package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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

// token is a bearer token with its expiry, or the refusal of the service.
type token struct {
	value   string
	expires time.Time
	err     error
}

// A token with less than this left is replaced before it is used.
const tokenMargin = 10 * time.Second

// defaultTokenLife is the life of a token without expires_in
// (https://distribution.github.io/distribution/spec/auth/token/).
const defaultTokenLife = 60 * time.Second

// Error says that a token service gave no token. Its retries are over.
type Error struct {
	Host   string // of the token service
	Status int    // of its answer; 0: there was none, or one without a usable token
	Err    error
}

func (e *Error) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (*Error) Final() {}

// Error names the token service. It quotes no body: an answer without a token may contain
// other secrets.
func (e *Error) Error() string {
	var answered answerError
	if errors.As(e.Err, &answered) {
		return answered.Error()
	}
	line, _, _ := strings.Cut(e.Err.Error(), "\n")
	return fmt.Sprintf("get token from %s: %s", wire.Cut(e.Host, 100), strings.TrimSuffix(wire.Cut(line, 300), ":"))
}

// Refused reports whether the service refused the token for good.
func (e *Error) Refused() bool {
	return e.Status >= 400 && e.Status < 500 && !wire.IsTemporary(e.Status)
}

// IsUnauthorized reports whether the service refused the credential.
func (e *Error) IsUnauthorized() bool {
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
}

// Grant is the authorization of a request.
type Grant struct {
	challenge     *transport.Challenge // nil: the request goes to another host
	token, scopes string               // empty: the challenge is not Bearer
	expires       time.Time
}

// IsOwnHost reports whether the request goes to the registry itself, and not to the host of a
// redirect.
func (g Grant) IsOwnHost() bool { return g.challenge != nil }

// HasToken reports whether the request is authorized by a token.
func (g Grant) HasToken() bool { return g.token != "" }

// IsFresh reports whether a grant is still valid after the wait for a slot: its token is still that
// of the session, or does not expire yet.
func (s *Session) IsFresh(n Need, g Grant) bool {
	if !g.HasToken() {
		return true
	}
	current, ok, err := s.cachedGrant(n)
	return err == nil && (ok && current.token == g.token || time.Until(g.expires) > tokenMargin/2)
}

// grant returns a token for a request. If the service refuses the scopes of the group, it requests
// those of the request alone.
func (s *Session) grant(ctx context.Context, n Need) (Grant, error) {
	g, err := s.bearer(ctx, n)
	var refused *Error
	if errors.As(err, &refused) && refused.Refused() && s.narrow(n, g.scopes) {
		return s.bearer(ctx, n)
	}
	return g, err
}

// Ready waits until a request can be authorized. Callers take a slot after that.
func (s *Session) Ready(ctx context.Context, n Need) error {
	c, err := s.challenged(ctx)
	if err != nil || !isBearer(c) {
		return err
	}
	_, err = s.grant(ctx, n)
	return err
}

// bearer returns a cached token, or requests one. It does not repeat a request that the service
// refused, because many wrong passwords can lock an account.
func (s *Session) bearer(ctx context.Context, n Need) (Grant, error) {
	if g, ok, err := s.cachedGrant(n); ok {
		return g, err
	}
	if err := s.turn.Take(ctx); err != nil {
		return Grant{}, err
	}
	defer s.turn.Give()
	if g, ok, err := s.cachedGrant(n); ok {
		return g, err
	}
	scopes := s.scopes(n)
	t := s.requestToken(ctx, scopes.list)
	var refused *Error
	if t.err == nil || errors.As(t.err, &refused) && refused.IsUnauthorized() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tokens[scopes.key] = t
	}
	return Grant{token: t.value, scopes: scopes.key, expires: t.expires}, t.err
}

// cachedGrant returns the token or the refusal that the service gave before.
func (s *Session) cachedGrant(n Need) (g Grant, ok bool, err error) {
	key := s.scopes(n).key
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[key]
	return Grant{token: t.value, scopes: key, expires: t.expires}, ok && (t.err != nil || time.Until(t.expires) > tokenMargin), t.err
}

// requestToken requests a token, with retries.
func (s *Session) requestToken(ctx context.Context, scopes []string) (t token) {
	if s.credential.Auth.RegistryToken != "" {
		return token{value: s.credential.Auth.RegistryToken, expires: time.Now().Add(24 * time.Hour)}
	}
	end := retry.Do(ctx, s.tokenHost(), func(ctx context.Context) (err error) {
		t, err = s.requestTokenOnce(ctx, scopes)
		return err
	})
	if end != nil {
		return token{err: s.tokenError(end)}
	}
	return t
}

func (s *Session) tokenHost() *wire.Host {
	if u, err := url.Parse(s.known().Parameters["realm"]); err == nil && u.Host != "" {
		return s.hosts.Of(u.Host)
	}
	return s.host
}

func (s *Session) requestTokenOnce(ctx context.Context, scopes []string) (token, error) {
	c := s.known()
	g := &guarded{session: s, scheme: scheme(c), token: true}
	began := time.Now()
	t, err := transport.Exchange(ctx, s.registry, authn.FromConfig(s.credential.Auth), g, scopes, c)
	if err != nil {
		return token{}, g.judge(err)
	}
	value := cmp.Or(t.Token, t.AccessToken)
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return token{}, retry.AfterDamage(errors.New("the token contains invalid characters"))
	}
	life := defaultTokenLife
	if t.ExpiresIn > 0 {
		life = time.Duration(min(t.ExpiresIn, 24*60*60)) * time.Second
	}
	// A short-lived token must outlive the margin.
	return token{value: value, expires: began.Add(max(life, tokenMargin+time.Second))}, nil
}

// wholeSeconds converts an expires_in that is a string or a fraction to whole seconds. Some token
// services send such values: the specification states no type, only examples with an integer.
// go-containerregistry rejects the whole answer otherwise. The life of a token begins with the
// request, because go-containerregistry ignores issued_at.
func wholeSeconds(answer []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) != nil || members["expires_in"] == nil {
		return answer
	}
	text := strings.Trim(string(members["expires_in"]), `" `)
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 1 && seconds < 1<<31 {
		members["expires_in"] = json.RawMessage(strconv.Itoa(int(seconds)))
	} else {
		delete(members, "expires_in") // defaultTokenLife applies
	}
	if whole, err := json.Marshal(members); err == nil {
		return whole
	}
	return answer
}

// judge makes an error of a failed exchange, to retry or final. A success without a token counts
// as damaged.
func (g *guarded) judge(err error) error {
	a, failure := g.outcome()
	if failure != nil {
		return failure
	}
	var answered *transport.Error
	if a != nil && errors.As(err, &answered) {
		err = answerError{a, answered}
	}
	switch {
	case a != nil && wire.IsTemporary(a.Status):
		return retry.Error{Err: err, Answer: a}
	case a != nil && a.Status < 300 && a.IsPage():
		return retry.AfterDamage(fmt.Errorf("%w: it is %s", wire.ErrPage, a.DescribePage()))
	case a != nil && a.Status < 300:
		return retry.AfterDamage(err)
	}
	return g.session.tokenError(err)
}

// tokenError makes the final error of a token exchange.
func (s *Session) tokenError(err error) error {
	var answered *transport.Error
	var already *Error
	if errors.As(err, &already) {
		return already
	}
	e := &Error{Host: s.tokenHost().Name, Err: err}
	if errors.As(err, &answered) {
		e.Status = answered.StatusCode
	}
	return e
}

// narrow switches the session to tokens for the repositories of one request. It reports whether
// these scopes differ from the refused ones; another request may have switched before.
func (s *Session) narrow(n Need, refused string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Join(s.own(n), " ") == refused {
		return false
	}
	s.single = true
	return true
}

// MayBeTooLong reports whether a request may have been refused for the length of its token: the
// answer has no error code, and the token was for more repositories than those of the request.
// It is false for HEAD, whose answer never has a code.
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

// JudgeLength switches the session to short tokens if a request with one was not refused. Otherwise
// it records that this status has another reason.
func (s *Session) JudgeLength(long, short *wire.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if short.Status == long.Status {
		s.fits[long.Status] = true
		return
	}
	s.single = true
}

// drop drops a refused token. It reports whether another token with the same scopes was refused
// before.
func (s *Session) drop(value string) (repeated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, t := range s.tokens {
		if t.err == nil && t.value == value {
			delete(s.tokens, key)
			repeated = repeated || s.refused[key]
			s.refused[key] = true
		}
	}
	return repeated
}
