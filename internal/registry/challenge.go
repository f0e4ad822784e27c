package registry

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

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// challenged returns how the host wants to be asked, and asks it the first time.
func (s *session) challenged(ctx context.Context) (*transport.Challenge, error) {
	if c := s.known(); c != nil {
		return c, nil
	}
	if err := s.gate.Take(ctx); err != nil {
		return nil, s.inVain(err)
	}
	defer s.gate.Give()
	if c := s.known(); c != nil {
		return c, nil
	}
	c, err := s.ping(ctx)
	if err != nil {
		return nil, &unreached{s.host.RegistryStr(), err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenge, s.trouble = c, nil
	s.at.well.Store(true)
	return c, nil
}

// inVain is why somebody waited in vain for another to reach the host.
func (s *session) inVain(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		return why
	}
	return &unreached{s.host.RegistryStr(), fmt.Errorf("%w; the last attempt failed: %w", why, s.trouble)}
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

// unreached says that a host could not be asked how it wants to be asked. The
// retries are behind it.
type unreached struct {
	host string
	err  error
}

func (e *unreached) Error() string { return fmt.Sprintf("reach registry %s: %v", e.host, e.err) }
func (e *unreached) Unwrap() error { return e.err }
func (*unreached) final()          {}

// ping finds the scheme and the challenge.
func (s *session) ping(ctx context.Context) (*transport.Challenge, error) {
	p := patience{host: s.at}
	for {
		c, err := s.pingOnce(ctx)
		if err == nil {
			return c, nil
		}
		s.mu.Lock()
		s.trouble = err
		s.mu.Unlock()
		if err := p.after(ctx, err); err != nil {
			return nil, err
		}
	}
}

// pingOnce tries the schemes that may be spoken. On loopback plain http comes first.
func (s *session) pingOnce(ctx context.Context) (*transport.Challenge, error) {
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
	var refused refusal
	if firstErr == nil || answerOf(firstErr) != nil || errors.As(firstErr, &refused) { // it speaks that, only not now
		return c, firstErr
	}
	c, secondErr := s.pingOnly(ctx, second)
	if secondErr == nil {
		return c, nil
	}
	err := fmt.Errorf("by %s: %w; by %s: %w", first, firstErr, second, secondErr)
	_, onceMore := reasonOf(firstErr, s.at)
	_, orThen := reasonOf(secondErr, s.at)
	if onceMore || orThen {
		return nil, errAgain{error: err, answer: answerOf(secondErr)}
	}
	return nil, refusedBoth{err}
}

// refusedBoth is of two schemes neither of which will do better.
type refusedBoth struct{ error }

func (e refusedBoth) Unwrap() error { return e.error }
func (refusedBoth) final()          {}

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
	a, failure := g.outcome()
	var answered *transport.Error
	switch {
	case err == nil:
		c.Insecure = scheme == "http" // whatever it was redirected to
		return c, g.checkRealm(c)
	case errors.As(err, &answered):
		err = refusedPing{fmt.Errorf("it answered %s to %s://%s/v2/", told(answered), scheme, s.host)}
		if temporaryStatus(answered.StatusCode) {
			err = errAgain{error: err, answer: a}
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
func (refusedPing) final()          {}

// told is what an answer to ggcr says, without its body.
func told(e *transport.Error) string {
	if len(e.Errors) == 0 {
		return quote(e.StatusCode)
	}
	return quote(e.StatusCode, Cut(string(e.Errors[0].Code), 60), Cut(e.Errors[0].Message, 300))
}

// guarded sends ggcr's own requests (ping and token exchange) one time, and by
// plain http only where that is meant.
type guarded struct {
	session *session
	scheme  string
	token   bool // it asks for one

	mu      sync.Mutex // ggcr asks by both schemes at once
	answer  *answer    // to the last request that was sent
	failure error      // of it
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
func (g *guarded) outcome() (*answer, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.answer, g.failure
}

// send reads the body too, so that a cut one is asked for again.
func (g *guarded) send(req *http.Request) (*http.Response, *answer, error) {
	h := g.session.hosts.of(req.URL.Host)
	if err := h.rest(req.Context()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(req.Context(), attemptTimeout, errStalled)
	defer cancel()
	inner := agent{g.session.inner.small, g.session.agent}
	resp, err := inner.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, nil, cause(ctx, err)
	}
	h.heard(resp)
	a := &answer{url: req.URL}
	if err := a.read(resp, maxErrorBody); err != nil {
		return nil, nil, cause(ctx, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		oneChallenge(resp.Header)
	}
	if resp.StatusCode == http.StatusOK && g.token {
		resp.Body = io.NopCloser(bytes.NewReader(wholeSeconds(a.body)))
		return resp, a, nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(a.body))
	return resp, a, nil
}

// checkRealm refuses a token service that would not be asked, while the host can
// be asked once more who it is.
func (g *guarded) checkRealm(c *transport.Challenge) error {
	if !isBearer(c) || g.session.cred.Auth.RegistryToken != "" {
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
	return cmp.Or(g.checkScheme(req.URL), checkElsewhere(req.Response.Request.URL, req.URL))
}

// checkFirst is check where there was no redirect. ggcr knows private addresses by
// their usual spelling alone.
func (g *guarded) checkFirst(u *url.URL) error {
	host := &url.URL{Scheme: g.scheme, Host: g.session.host.RegistryStr()}
	return cmp.Or(g.checkScheme(u), checkElsewhere(host, u))
}

func (g *guarded) checkScheme(u *url.URL) error {
	host := &url.URL{Scheme: u.Scheme, Host: g.session.host.RegistryStr()}
	if sameHost(host, u) && u.Scheme != g.scheme ||
		u.Scheme != "https" && (g.scheme == "https" || !g.session.plain(u.Hostname())) {
		return refusal(fmt.Sprintf("%s is not tried for %s", u.Scheme, u.Host))
	}
	return nil
}

// learn takes the challenge from a refused request where /v2/ asked for none, as
// registries do that let anyone look but not at everything. It reports whether
// the host wants to be asked otherwise than the request did.
func (s *session) learn(asked *transport.Challenge, status int, header http.Header) bool {
	if asked.Scheme != "" {
		return false
	}
	if s.known() != asked { // another request was faster
		return true
	}
	refused := &http.Response{StatusCode: status, Header: header.Clone(), Body: http.NoBody}
	oneChallenge(refused.Header)
	c, err := transport.Ping(context.Background(), s.host, canned{refused})
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
