package auth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// BaseURL returns the scheme and host of the registry.
func (s *Session) BaseURL(ctx context.Context) (*url.URL, error) {
	c, err := s.challenged(ctx)
	if err != nil {
		return nil, err
	}
	return s.base(c), nil
}

func (s *Session) base(c *transport.Challenge) *url.URL {
	return &url.URL{Scheme: scheme(c), Host: s.registry.RegistryStr()}
}

func scheme(c *transport.Challenge) string {
	if c.Insecure {
		return "http"
	}
	return "https"
}

func isBearer(c *transport.Challenge) bool { return strings.EqualFold(c.Scheme, "bearer") }

// Authorize sets the header of a request to the registry itself. No other host gets the
// credential or a token.
func (s *Session) Authorize(ctx context.Context, n Need, u *url.URL, header http.Header) (Grant, error) {
	c, err := s.challenged(ctx)
	if err != nil || !wire.SameHost(s.base(c), u) {
		return Grant{}, err
	}
	if !isBearer(c) {
		s.setBasic(header, c)
		return Grant{challenge: c}, nil
	}
	g, err := s.grant(ctx, n)
	g.challenge = c
	if err == nil {
		header["Authorization"] = []string{"Bearer " + g.token}
	}
	return g, err
}

// setBasic sets the header for a Basic challenge.
func (s *Session) setBasic(header http.Header, c *transport.Challenge) {
	auth := s.credential.Auth
	switch {
	case !strings.EqualFold(c.Scheme, "basic"):
	case auth.Username != "" || auth.Password != "":
		req := http.Request{Header: header}
		req.SetBasicAuth(auth.Username, auth.Password)
	case auth.Auth != "":
		header.Set("Authorization", "Basic "+auth.Auth)
	}
}

// Renew takes the nth answer to a request, counted from 0, and reports whether to send the
// request again. It does so after the first challenge of the registry, then with a fresh token,
// and if that was refused too, with a token for the repositories of this request alone.
func (s *Session) Renew(n Need, g Grant, status int, header http.Header, nth int) bool {
	switch {
	case status != http.StatusUnauthorized || !g.IsOwnHost():
		return false
	case !g.HasToken():
		return nth == 0 && s.learn(g.challenge, status, header)
	case nth == 0:
		if s.drop(g.token) { // another request got a fresh token, which was refused too
			s.narrow(n, g.scopes)
		}
		return true
	}
	return nth == 1 && s.narrow(n, g.scopes)
}

// RetryDenied makes an error to retry of a 401, if the session was allowed a request of this kind
// before, or if the registry refuses a new token. It returns nil if the 401 is final: a rejected
// password is not retried, because that can lock the account, and neither is a mount, because
// an upload takes its place.
func (s *Session) RetryDenied(n Need, g Grant, method string, a *wire.Answer) error {
	allowed := s.WasAllowed(method)
	if a.Status != http.StatusUnauthorized || !g.IsOwnHost() || n.From != "" || !allowed && !g.HasToken() {
		return nil
	}
	s.drop(g.token)
	failure := retry.Error{Err: errors.New(a.Describe()), Answer: a, Reason: retry.Denied}
	if allowed {
		failure.Reason = retry.TokenLost
	}
	return failure
}

// Accepts reports whether the credential itself was accepted, whatever the answer to the request
// is: the service gave a token for it, the registry answered that only the scope is missing, or
// the credential was allowed another request before.
func (s *Session) Accepts(g Grant, a *wire.Answer) bool {
	switch {
	case !g.IsOwnHost() || s.credential.Anonymous():
		return false
	case lacksScope(a.Header):
		return true
	case g.HasToken():
		return s.credential.Auth.RegistryToken == ""
	}
	return strings.EqualFold(g.challenge.Scheme, "basic") && (s.allowedReads.Load() || s.allowedWrites.Load())
}

// Allow records that the registry allowed a request with a method. A later refusal of such a
// request is then not a missing right, and is retried.
func (s *Session) Allow(method string) { s.allowed(method).Store(true) }

// WasAllowed reports whether a request of the same kind, read or write, was allowed before.
func (s *Session) WasAllowed(method string) bool { return s.allowed(method).Load() }

func (s *Session) allowed(method string) *atomic.Bool {
	if method == http.MethodGet || method == http.MethodHead {
		return &s.allowedReads
	}
	return &s.allowedWrites
}
