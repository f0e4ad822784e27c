package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/hashicorp/go-retryablehttp"
)

// challenged returns how the host wants to be asked, and asks it the first time.
func (s *session) challenged(ctx context.Context) (*transport.Challenge, error) {
	if c := s.known(); c != nil {
		return c, nil
	}
	if err := s.hold(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	if c := s.known(); c != nil {
		return c, nil
	}
	c, err := s.ping(ctx)
	if err != nil {
		if ctx.Err() == nil || !errors.Is(err, context.Cause(ctx)) {
			err = cause(ctx, err)
		}
		return nil, fmt.Errorf("reach registry %s: %w", s.host, err)
	}
	s.mu.Lock()
	s.challenge = c
	s.mu.Unlock()
	return c, nil
}

func (s *session) known() *transport.Challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.challenge
}

// plain reports whether plain http may be spoken to a host name: on loopback;
// and, only without a credential, to a name of one word, which is how a
// workflow's service containers are called. ggcr would also fall back to it for
// private addresses, with the credential.
func (s *session) plain(hostname string) bool {
	return isLoopback(hostname) || (!strings.ContainsAny(hostname, ".:") && s.cred.Anonymous())
}

// ping finds the scheme and the challenge. On loopback plain http comes first.
func (s *session) ping(ctx context.Context) (*transport.Challenge, error) {
	hostname := s.base(&transport.Challenge{}).Hostname()
	switch {
	case !s.plain(hostname):
		return s.pingOnly(ctx, "https")
	case isLoopback(hostname):
		return s.pingEither(ctx, "http", "https")
	default:
		return s.pingEither(ctx, "https", "http")
	}
}

func (s *session) pingEither(ctx context.Context, first, second string) (*transport.Challenge, error) {
	c, firstErr := s.pingOnly(ctx, first)
	if firstErr == nil {
		return c, nil
	}
	c, secondErr := s.pingOnly(ctx, second)
	if secondErr == nil {
		return c, nil
	}
	return nil, fmt.Errorf("by %s: %w; by %s: %w", first, firstErr, second, secondErr)
}

func (s *session) pingOnly(ctx context.Context, scheme string) (*transport.Challenge, error) {
	var options []name.Option
	if scheme == "http" {
		options = append(options, name.Insecure)
	}
	reg, err := name.NewRegistry(s.host.RegistryStr(), options...)
	if err != nil {
		return nil, err
	}
	g := &guarded{session: s, scheme: scheme}
	c, err := transport.Ping(ctx, reg, g)
	var answered *transport.Error
	switch {
	case err == nil:
		c.Insecure = scheme == "http" // whatever it was redirected to
		return c, nil
	case errors.As(err, &answered):
		return nil, fmt.Errorf("it answered %s to %s://%s/v2/", told(answered), scheme, s.host)
	case g.failure != nil: // ggcr's own names the scheme too that was not tried
		return nil, g.failure
	}
	return nil, err
}

// told is what an answer to ggcr says, without its body.
func told(e *transport.Error) string {
	if len(e.Errors) == 0 {
		return quote(e.StatusCode)
	}
	return quote(e.StatusCode, cut(string(e.Errors[0].Code), 60), cut(e.Errors[0].Message, 300))
}

// guarded sends ggcr's own requests (ping and token exchange): with retries,
// and by plain http only where that is meant.
type guarded struct {
	session *session
	scheme  string
	failure error // of the last request that was sent
}

func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.check(req); err != nil {
		return nil, err
	}
	ctx := withMemory(req.Context())
	wrapped, err := retryablehttp.FromRequest(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	// The body is read inside the retries, so that a cut one is asked for again.
	a := &answer{url: req.URL}
	wrapped.SetResponseHandler(func(resp *http.Response) error {
		return a.take(resp, call{limit: maxErrorBody})
	})
	resp, err := newRetryClient(g.session.inner).Do(wrapped)
	if err != nil && (resp == nil || answerOf(err) == nil) {
		if ctx.Err() != nil {
			err = ended(ctx, nil)
		}
		g.failure = err
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, nil
}

// check decides whether ggcr's request may be sent: nothing falls back to plain
// http of its own accord, neither the registry's host nor a token service or a
// redirect on another; and redirects stay within what ours may follow.
func (g *guarded) check(req *http.Request) error {
	host := (&url.URL{Scheme: req.URL.Scheme, Host: g.session.host.RegistryStr()})
	switch {
	case sameHost(host, req.URL) && req.URL.Scheme != g.scheme,
		req.URL.Scheme != "https" && (g.scheme == "https" || !g.session.plain(req.URL.Hostname())):
		return refusal(fmt.Sprintf("%s is not tried for %s", req.URL.Scheme, req.URL.Host))
	case req.Response != nil && req.Response.Request != nil:
		return checkElsewhere(req.Response.Request.URL, req.URL)
	}
	return nil
}

// learn takes the challenge from a refused request where /v2/ asked for none, as
// registries do that let anyone look but not at everything. It reports whether
// the host wants to be asked otherwise than the request did.
func (s *session) learn(asked *transport.Challenge, req *http.Request, resp *http.Response) bool {
	if asked.Scheme != "" || !sameHost(s.base(asked), req.URL) {
		return false
	}
	if s.known() != asked { // another request was faster
		return true
	}
	refused := &http.Response{StatusCode: resp.StatusCode, Header: resp.Header, Body: http.NoBody}
	c, err := transport.Ping(req.Context(), s.host, canned{refused})
	if err != nil || c.Scheme == "" {
		return false
	}
	c.Insecure = asked.Insecure
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge = c
	return true
}

// canned answers with a response that is there already, for ggcr's parser of
// challenges, which has no other door.
type canned struct{ resp *http.Response }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) { return c.resp, nil }
