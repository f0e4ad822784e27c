package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// attempt is one request that is about to be sent: with its slot, its token if it
// needs one, and nothing left to wait for but the answer.
type attempt struct {
	slot      // none where the caller holds one for the whole transfer
	session   *session
	host      *host // of the URL
	need      need
	url       *url.URL
	header    http.Header
	challenge *transport.Challenge // that it answers; nil on another host
	used      grant
}

// prepare waits for all that a small request needs. The token comes before the slot,
// which nobody holds while waiting for one; a token that expired until there was a
// slot is replaced.
func (s *session) prepare(ctx context.Context, n need, u *url.URL) (*attempt, error) {
	for {
		a, err := s.authorized(ctx, n, u)
		if err != nil {
			return nil, err
		}
		if a.slot, err = a.host.enter(ctx, small); err != nil {
			return nil, err
		}
		if a.used.token == "" || s.usable(n, a.used) {
			return a, nil
		}
		a.leave()
	}
}

// prepareTransfer waits for all that a request with a streamed body needs, but for
// the slot of its transfer, which the caller holds.
func (s *session) prepareTransfer(ctx context.Context, n need, u *url.URL, held slot) (*attempt, error) {
	if err := s.hosts.of(u.Host).rest(ctx); err != nil {
		return nil, err
	}
	a, err := s.authorized(ctx, n, u)
	if err != nil {
		return nil, err
	}
	a.slot = held
	return a, nil
}

// authorized makes an attempt with the token that it needs.
func (s *session) authorized(ctx context.Context, n need, u *url.URL) (*attempt, error) {
	a := &attempt{session: s, host: s.hosts.of(u.Host), need: n, url: u, header: http.Header{}}
	if s.agent != "" {
		a.header["User-Agent"] = []string{s.agent}
	}
	return a, a.authorize(ctx)
}

// authorize sets the header, on the session's own host alone.
func (a *attempt) authorize(ctx context.Context) error {
	c, err := a.session.challenged(ctx)
	if err != nil || !sameHost(a.session.base(c), a.url) {
		return err
	}
	a.challenge = c
	if !isBearer(c) {
		a.session.setBasic(a.header, c)
		return nil
	}
	if a.used, err = a.session.grant(ctx, a.need); err == nil {
		a.header["Authorization"] = []string{"Bearer " + a.used.token}
	}
	return err
}

// setBasic sets the header as the challenge asks for it.
func (s *session) setBasic(header http.Header, c *transport.Challenge) {
	auth := s.cred.Auth
	switch {
	case !strings.EqualFold(c.Scheme, "basic"):
	case auth.Username != "" || auth.Password != "":
		req := http.Request{Header: header}
		req.SetBasicAuth(auth.Username, auth.Password)
	case auth.Auth != "":
		header.Set("Authorization", "Basic "+auth.Auth)
	}
}

// send sends the request. The slot stays taken until leave.
func (a *attempt) send(ctx context.Context, method string, body io.ReadCloser, size int64, again func() (io.ReadCloser, error)) (*http.Response, error) {
	req := (&http.Request{
		Method: method, URL: a.url, Host: a.url.Host, Header: a.header,
		Body: body, ContentLength: size, GetBody: again,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	resp, err := a.transport().RoundTrip(req)
	if err != nil {
		return nil, a.failed(ctx, cause(ctx, err))
	}
	a.host.heard(resp)
	a.heard(resp)
	if resp.StatusCode < http.StatusBadRequest && a.challenge != nil {
		a.session.worked(method)
	}
	return resp, nil
}

// failed names the host where it is another than the one that was asked first: the
// reader of the message would look for the fault there.
func (a *attempt) failed(ctx context.Context, err error) error {
	if a.challenge != nil || ctx.Err() != nil {
		return err
	}
	return awayError{a.host, err}
}

// awayError is that of a request to where a registry pointed.
type awayError struct {
	host  *host
	error error
}

func (e awayError) Error() string {
	return fmt.Sprintf("at %q, where the registry points: %v", Cut(e.host.name, 100), e.error)
}

func (e awayError) Unwrap() error { return e.error }

// isDead tells a host that the registry points to and that takes no connections.
func (e awayError) isDead() bool {
	return errors.Is(e.error, syscall.ECONNREFUSED) && !e.host.answered.Load()
}

// transport is the one that suits the request.
func (a *attempt) transport() http.RoundTripper {
	return [...]http.RoundTripper{small: a.session.inner.small, down: a.session.inner.down, up: a.session.inner.up}[a.class]
}

// renew takes a 401 and reports whether the same request may now do better: the
// host told for the first time how it wants to be asked; or there is a fresh
// token to be had; or, where that was refused too, one for this request's
// repositories alone.
func (a *attempt) renew(status int, header http.Header, nth int) bool {
	s := a.session
	switch {
	case status != http.StatusUnauthorized || a.challenge == nil:
		return false
	case a.used.token == "":
		return nth == 0 && s.learn(a.challenge, status, header)
	case nth == 0:
		if s.drop(a.used.token) { // another request renewed it in vain
			s.narrow(a.need, a.used.scopes)
		}
		return true
	default:
		return nth == 1 && s.narrow(a.need, a.used.scopes)
	}
}

// refusedOddly makes of a final refusal of authority one to try again after: where
// the same session was let do that kind of thing before; or, less often, where a
// token was refused that the service gives. A password is not tried again and
// again, which locks accounts; nor is a mount, which can be done without.
func (a *attempt) refusedOddly(got *answer, method string) error {
	worked := a.session.hasWorked(method)
	if got.status != http.StatusUnauthorized || a.challenge == nil || a.need.from != "" || !worked && a.used.token == "" {
		return nil
	}
	a.session.drop(a.used.token)
	odd := errAgain{error: fmt.Errorf("the registry answered %s", got), answer: got, reason: wasDenied}
	if worked {
		odd.reason = wasForgotten
	}
	return odd
}

// loggedIn reports whether the credential itself was accepted, whatever the answer to
// the request was: the service gave a token for it, the registry says that only the right
// is missing, or it has let the credential do something before.
func (a *attempt) loggedIn(got *answer) bool {
	s := a.session
	switch {
	case a.challenge == nil || s.cred.Anonymous():
		return false
	case lacksScope(got.header):
		return true
	case a.used.token != "":
		return s.cred.Auth.RegistryToken == ""
	}
	return strings.EqualFold(a.challenge.Scheme, "basic") && (s.reads.Load() || s.writes.Load())
}

// cause prefers the reason for which the run or the attempt was ended to the
// context's bare word for it, and puts net/http's bare words into plainer ones.
func cause(ctx context.Context, err error) error {
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == io.EOF: //nolint:errorlint // one deeper down is somebody else's
		return errHungUp
	case errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/":
		return http.ErrSchemeMismatch
	default:
		return err
	}
}

var errHungUp = errors.New("the connection was closed without an answer")
