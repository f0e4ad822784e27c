package auth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// challenged returns the challenge of the host. The first call requests it.
func (s *Session) challenged(ctx context.Context) (*transport.Challenge, error) {
	if c := s.known(); c != nil {
		return c, nil
	}
	if err := s.turn.Take(ctx); err != nil {
		return nil, s.interruptedPing(err)
	}
	defer s.turn.Give()
	if c := s.known(); c != nil {
		return c, nil
	}
	c, err := s.ping(ctx)
	if err != nil {
		return nil, pingError(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge = c
	s.host.MarkRegistry()
	return c, nil
}

// interruptedPing returns why the context ended of a request that waited for the ping of another
// one, with the last failure of that ping.
func (s *Session) interruptedPing(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pingErr == nil {
		return why
	}
	return &PingError{Err: fmt.Errorf("%w; last attempt: %w", why, s.pingErr)}
}

func (s *Session) known() *transport.Challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.challenge
}

// plain reports whether plain http is allowed for a host name: on loopback, and, without a
// credential, for a name of one word, as a workflow's service containers have. ggcr would also
// use it for private addresses, with the credential.
func (s *Session) plain(hostname string) bool {
	return wire.IsLoopback(hostname) || (!strings.ContainsAny(hostname, ".:") && s.credential.Anonymous())
}

// PingError says that GET /v2/ got no answer that a registry gives. Its retries are over.
type PingError struct {
	Status int // of the last answer; 0: there was none
	Err    error
}

func (e *PingError) Error() string { return fmt.Sprintf("GET /v2/: %v", e.Err) }
func (e *PingError) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (*PingError) Final() {}

func pingError(err error) error {
	e := &PingError{Err: err}
	var answered *transport.Error
	if errors.As(err, &answered) {
		e.Status = answered.StatusCode
	}
	return e
}

// ping finds the scheme and the challenge.
func (s *Session) ping(ctx context.Context) (c *transport.Challenge, err error) {
	err = retry.Do(ctx, s.host, func(ctx context.Context) error {
		c, err = s.pingOnce(ctx)
		s.notePing(err)
		return err
	})
	return c, err
}

// notePing records the last failure of the ping, for requests that wait for it.
func (s *Session) notePing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pingErr = err
}

// pingOnce tries the allowed schemes. On loopback it tries plain http first.
func (s *Session) pingOnce(ctx context.Context) (*transport.Challenge, error) {
	hostname := (&url.URL{Host: s.registry.RegistryStr()}).Hostname()
	switch {
	case !s.plain(hostname):
		return s.pingOnly(ctx, "https")
	case wire.IsLoopback(hostname):
		return s.pingEither(ctx, "http", "https")
	default:
		return s.pingEither(ctx, "https", "http")
	}
}

func (s *Session) pingEither(ctx context.Context, first, second string) (*transport.Challenge, error) {
	c, firstErr := s.pingOnly(ctx, first)
	var refused wire.Refusal
	if firstErr == nil || retry.AnswerOf(firstErr) != nil || errors.As(firstErr, &refused) { // the host speaks the first scheme, and failed
		return c, firstErr
	}
	c, secondErr := s.pingOnly(ctx, second)
	if secondErr == nil {
		return c, nil
	}
	err := fmt.Errorf("%s: %w; %s: %w", first, firstErr, second, secondErr)
	_, retryFirst := retry.ReasonFor(firstErr, s.host)
	_, retrySecond := retry.ReasonFor(secondErr, s.host)
	if retryFirst || retrySecond {
		return nil, retry.Error{Err: err, Answer: retry.AnswerOf(secondErr)}
	}
	return nil, refusedBoth{err}
}

// refusedBoth says that both schemes failed, and that a retry does not help.
type refusedBoth struct{ error }

func (e refusedBoth) Unwrap() error { return e.error }
func (refusedBoth) Final()          {}

func (s *Session) pingOnly(ctx context.Context, scheme string) (*transport.Challenge, error) {
	var options []name.Option
	if scheme == "http" {
		options = append(options, name.Insecure)
	}
	reg, err := name.NewRegistry(s.registry.RegistryStr(), options...)
	if err != nil {
		return nil, err
	}
	g := &guarded{session: s, scheme: scheme}
	c, err := transport.Ping(ctx, reg, g)
	a, failure := g.outcome()
	var answered *transport.Error
	switch {
	case err == nil:
		c.Insecure = scheme == "http" // a redirect does not change the scheme
		return c, g.checkRealm(c)
	case errors.As(err, &answered):
		err = refusedPing{answerError{a, answered}}
		if wire.IsTemporary(answered.StatusCode) {
			err = retry.Error{Err: err, Answer: a}
		}
		return nil, err
	case failure != nil: // ggcr's error would name the other scheme too
		return nil, failure
	}
	return nil, refusedPing{err}
}

// refusedPing is a final failure of the ping, such as the answer of a host that is not a registry.
type refusedPing struct{ error }

func (e refusedPing) Unwrap() error { return e.error }
func (refusedPing) Final()          {}

// answerError is an answer that go-containerregistry does not accept. Its text leaves out
// the body, which may contain secrets.
type answerError struct {
	answer *wire.Answer
	parsed *transport.Error // alone: the error around it may be about another scheme too
}

func (e answerError) Error() string { return e.answer.Describe() }
func (e answerError) Unwrap() error { return e.parsed }

// guarded is the transport of ggcr's own requests (ping and token exchange). It does not retry,
// and sends plain http only if that is allowed.
type guarded struct {
	session *Session
	scheme  string
	token   bool // the request is for a token

	mu      sync.Mutex   // ggcr sends requests with both schemes at the same time
	answer  *wire.Answer // to the last request
	failure error        // of the last request
}

func (g *guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.check(req); err != nil {
		return nil, err
	}
	resp, a, err := g.send(req)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer, g.failure = a, err
	return resp, err
}

// outcome is the answer or the failure of the last request that was sent.
func (g *guarded) outcome() (*wire.Answer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answer, g.failure
}

// send sends a request and reads the whole answer, so that one that is cut off is retried.
func (g *guarded) send(req *http.Request) (*http.Response, *wire.Answer, error) {
	h := g.session.hosts.Of(req.URL.Host)
	if err := h.AwaitThrottle(req.Context()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), wire.AttemptTimeout, wire.ErrStalled)
	defer cancel()
	resp, err := g.session.transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, nil, wire.Cause(ctx, err)
	}
	h.Observe(resp)
	a, err := wire.ReadAnswer(resp, req.URL, wire.MaxErrorBody, nil)
	if err != nil {
		return nil, nil, wire.Cause(ctx, err)
	}
	if g.token {
		a.By = "the token service " + wire.Cut(req.URL.Host, 100)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		oneChallenge(resp.Header)
	}
	if resp.StatusCode == http.StatusOK && g.token {
		resp.Body = io.NopCloser(bytes.NewReader(wholeSeconds(a.Body)))
		return resp, a, nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.Body))
	return resp, a, nil
}

// checkRealm refuses a token service that is not allowed during the ping, which is retried: the
// next challenge may be another.
func (g *guarded) checkRealm(c *transport.Challenge) error {
	if !isBearer(c) || g.session.credential.Auth.RegistryToken != "" {
		return nil
	}
	if realm, err := url.Parse(c.Parameters["realm"]); err == nil && realm.Host != "" { // otherwise the token exchange fails
		if err := g.checkFirst(realm); err != nil {
			return fmt.Errorf("get token from %s: %w", wire.Cut(realm.Host, 100), err)
		}
	}
	return nil
}

// check decides whether ggcr's request may be sent. ggcr must not fall back to plain http at the
// registry, a token service or a redirect, and redirects must be allowed by CheckDestination.
func (g *guarded) check(req *http.Request) error {
	if req.Response == nil || req.Response.Request == nil {
		return g.checkFirst(req.URL)
	}
	return cmp.Or(g.checkScheme(req.URL), wire.CheckDestination(req.Response.Request.URL, req.URL))
}

// checkFirst is check for a request that was not redirected. ggcr detects private addresses only
// in their usual spelling.
func (g *guarded) checkFirst(u *url.URL) error {
	host := &url.URL{Scheme: g.scheme, Host: g.session.registry.RegistryStr()}
	return cmp.Or(g.checkScheme(u), wire.CheckDestination(host, u))
}

func (g *guarded) checkScheme(u *url.URL) error {
	host := &url.URL{Scheme: u.Scheme, Host: g.session.registry.RegistryStr()}
	if wire.SameHost(host, u) && u.Scheme != g.scheme ||
		u.Scheme != "https" && (g.scheme == "https" || !g.session.plain(u.Hostname())) {
		return wire.Refusal(fmt.Sprintf("plain http is not allowed for %s", wire.Cut(u.Host, 100)))
	}
	return nil
}

// learn takes the challenge from a refused request if GET /v2/ had none: such registries allow
// anonymous reads of some repositories. It reports whether the request should be sent again with
// another challenge.
func (s *Session) learn(asked *transport.Challenge, status int, header http.Header) bool {
	if asked.Scheme != "" {
		return false
	}
	if s.known() != asked { // another request was faster
		return true
	}
	refused := &http.Response{StatusCode: status, Header: header.Clone(), Body: http.NoBody}
	oneChallenge(refused.Header)
	c, err := transport.Ping(context.Background(), s.registry, canned{refused})
	if err != nil || c.Scheme == "" {
		return false
	}
	c.Insecure = asked.Insecure
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge = c
	return true
}

// canned returns a given response. ggcr exports no parser of challenges, so learn calls its Ping
// with this transport.
type canned struct{ resp *http.Response }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) { return c.resp, nil }
