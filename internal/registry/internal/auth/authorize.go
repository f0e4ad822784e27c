package auth

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// BaseURL returns the scheme and host by which the registry wants to be asked.
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

// Authorize sets the header of a request, where it goes to the registry itself: no other
// host gets the credential or a token.
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

// setBasic sets the header as the challenge asks for it.
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

// Renew takes the nth answer to a request, counted from 0, and reports whether the same
// request may now do better: the registry said for the first time how it wants to be
// asked; or a fresh token can be had; or, where that was refused too, one for this
// request's repositories alone.
func (s *Session) Renew(n Need, g Grant, status int, header http.Header, nth int) bool {
	switch {
	case status != http.StatusUnauthorized || !g.IsOwnHost():
		return false
	case !g.HasToken():
		return nth == 0 && s.learn(g.challenge, status, header)
	case nth == 0:
		if s.drop(g.token) { // another request renewed it in vain
			s.narrow(n, g.scopes)
		}
		return true
	}
	return nth == 1 && s.narrow(n, g.scopes)
}

// RetryDenied makes of a final refusal of authority an error to retry: where the session
// was allowed that kind of request before; or, less often, where a token was refused that
// the service gave. It returns nil where the refusal is final: a password is not tried
// again and again, which locks accounts; nor is a mount, which can be done without.
func (s *Session) RetryDenied(n Need, g Grant, method string, a *wire.Answer) error {
	allowed := s.WasAllowed(method)
	if a.Status != http.StatusUnauthorized || !g.IsOwnHost() || n.From != "" || !allowed && !g.HasToken() {
		return nil
	}
	s.drop(g.token)
	again := retry.Error{Err: fmt.Errorf("the registry answered %s", a), Answer: a, Reason: retry.Denied}
	if allowed {
		again.Reason = retry.TokenLost
	}
	return again
}

// Accepts reports whether the credential itself was accepted, whatever the answer to the
// request is: the service gave a token for it, the registry says that only the right is
// missing, or the credential was allowed something before.
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

// Allow notes that the registry allowed a request of a method: a later refusal of such a
// request is odd, and not a right that was never there.
func (s *Session) Allow(method string) { s.allowed(method).Store(true) }

// WasAllowed reports whether a request of that kind, reading or writing, was allowed before.
func (s *Session) WasAllowed(method string) bool { return s.allowed(method).Load() }

func (s *Session) allowed(method string) *atomic.Bool {
	if method == http.MethodGet || method == http.MethodHead {
		return &s.allowedReads
	}
	return &s.allowedWrites
}
