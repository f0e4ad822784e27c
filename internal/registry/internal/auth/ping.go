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

// challenged returns how the host wants to be asked. Only the first call asks it.
func (s *Session) challenged(ctx context.Context) (*transport.Challenge, error) {
	if c := s.known(); c != nil {
		return c, nil
	}
	if err := s.turn.Take(ctx); err != nil {
		return nil, s.waitedInVain(err)
	}
	defer s.turn.Give()
	if c := s.known(); c != nil {
		return c, nil
	}
	c, err := s.ping(ctx)
	if err != nil {
		return nil, &UnreachedError{s.registry.RegistryStr(), err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge = c
	s.host.MarkRegistry()
	return c, nil
}

// waitedInVain returns why somebody ended who waited for another to reach the host.
func (s *Session) waitedInVain(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pingErr == nil {
		return why
	}
	return &UnreachedError{s.registry.RegistryStr(), fmt.Errorf("%w; the last attempt failed: %w", why, s.pingErr)}
}

func (s *Session) known() *transport.Challenge {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.challenge
}

// plain reports whether plain http may be spoken to a host name: on loopback;
// and, only without a credential, to a name of one word, which is how a
// workflow's service containers are called. ggcr would also fall back to it for
// private addresses, with the credential.
func (s *Session) plain(hostname string) bool {
	return wire.IsLoopback(hostname) || (!strings.ContainsAny(hostname, ".:") && s.credential.Anonymous())
}

// UnreachedError says that a host could not be asked how it wants to be asked. The
// retries are behind it.
type UnreachedError struct {
	host string
	err  error
}

func (e *UnreachedError) Error() string { return fmt.Sprintf("reach registry %s: %v", e.host, e.err) }
func (e *UnreachedError) Unwrap() error { return e.err }
func (*UnreachedError) Final()          {}

// ping finds the scheme and the challenge.
func (s *Session) ping(ctx context.Context) (c *transport.Challenge, err error) {
	err = retry.Do(ctx, s.host, func(ctx context.Context) error {
		c, err = s.pingOnce(ctx)
		s.notePing(err)
		return err
	})
	return c, err
}

// notePing keeps why the host was not reached, for those who wait for it.
func (s *Session) notePing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pingErr = err
}

// pingOnce tries the schemes that may be spoken. On loopback plain http comes first.
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
	if firstErr == nil || retry.AnswerOf(firstErr) != nil || errors.As(firstErr, &refused) { // it speaks that, only not now
		return c, firstErr
	}
	c, secondErr := s.pingOnly(ctx, second)
	if secondErr == nil {
		return c, nil
	}
	err := fmt.Errorf("by %s: %w; by %s: %w", first, firstErr, second, secondErr)
	_, onceMore := retry.ReasonFor(firstErr, s.host)
	_, orThen := retry.ReasonFor(secondErr, s.host)
	if onceMore || orThen {
		return nil, retry.Error{Err: err, Answer: retry.AnswerOf(secondErr)}
	}
	return nil, refusedBoth{err}
}

// refusedBoth is of two schemes neither of which will do better.
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
		c.Insecure = scheme == "http" // whatever it was redirected to
		return c, g.checkRealm(c)
	case errors.As(err, &answered):
		err = refusedPing{fmt.Errorf("it answered %s to %s://%s/v2/", told(answered), scheme, s.registry)}
		if wire.IsTemporary(answered.StatusCode) {
			err = retry.Error{Err: err, Answer: a}
		}
		return nil, err
	case failure != nil: // ggcr's own names the scheme too that was not tried
		return nil, failure
	}
	return nil, refusedPing{err}
}

// refusedPing is the answer of a host that is no registry, or of none.
type refusedPing struct{ error }

func (e refusedPing) Unwrap() error { return e.error }
func (refusedPing) Final()          {}

// told is what an answer to ggcr says, without its body.
func told(e *transport.Error) string {
	if len(e.Errors) == 0 {
		return wire.Quote(e.StatusCode)
	}
	return wire.Quote(e.StatusCode, wire.Cut(string(e.Errors[0].Code), 60), wire.Cut(e.Errors[0].Message, 300))
}

// guarded sends ggcr's own requests (ping and token exchange) one time, and by
// plain http only where that is meant.
type guarded struct {
	session *Session
	scheme  string
	token   bool // it asks for one

	mu      sync.Mutex   // ggcr asks by both schemes at once
	answer  *wire.Answer // to the last request that was sent
	failure error        // of it
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

// outcome is that of the last request that was sent.
func (g *guarded) outcome() (*wire.Answer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answer, g.failure
}

// send reads the body too, so that a cut one is asked for again.
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

// checkRealm refuses a token service that would not be asked, while the host can
// be asked once more who it is.
func (g *guarded) checkRealm(c *transport.Challenge) error {
	if !isBearer(c) || g.session.credential.Auth.RegistryToken != "" {
		return nil
	}
	if realm, err := url.Parse(c.Parameters["realm"]); err == nil && realm.Host != "" { // else whoever asks for a token says so
		if err := g.checkFirst(realm); err != nil {
			return fmt.Errorf("get token: %w", err)
		}
	}
	return nil
}

// check decides whether ggcr's request may be sent: nothing falls back to plain
// http of its own accord, neither the registry's host nor a token service or a
// redirect on another; and redirects stay within what ours may follow.
func (g *guarded) check(req *http.Request) error {
	if req.Response == nil || req.Response.Request == nil {
		return g.checkFirst(req.URL)
	}
	return cmp.Or(g.checkScheme(req.URL), wire.CheckDestination(req.Response.Request.URL, req.URL))
}

// checkFirst is check where there was no redirect. ggcr knows private addresses by
// their usual spelling alone.
func (g *guarded) checkFirst(u *url.URL) error {
	host := &url.URL{Scheme: g.scheme, Host: g.session.registry.RegistryStr()}
	return cmp.Or(g.checkScheme(u), wire.CheckDestination(host, u))
}

func (g *guarded) checkScheme(u *url.URL) error {
	host := &url.URL{Scheme: u.Scheme, Host: g.session.registry.RegistryStr()}
	if wire.SameHost(host, u) && u.Scheme != g.scheme ||
		u.Scheme != "https" && (g.scheme == "https" || !g.session.plain(u.Hostname())) {
		return wire.Refusal(fmt.Sprintf("%s is not tried for %s", u.Scheme, u.Host))
	}
	return nil
}

// learn takes the challenge from a refused request where /v2/ asked for none, as
// registries do that let anyone look but not at everything. It reports whether
// the host wants to be asked otherwise than the request did.
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

// canned answers with a response that is there already, for ggcr's parser of
// challenges, which has no other door.
type canned struct{ resp *http.Response }

func (c canned) RoundTrip(*http.Request) (*http.Response, error) { return c.resp, nil }
