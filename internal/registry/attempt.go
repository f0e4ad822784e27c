package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// attempt is one request that is ready to be sent: it has its slot, and its token if it
// needs one.
type attempt struct {
	wire.Slot // taken for this attempt, or by the caller for a whole transfer
	session   *session
	host      *wire.Host // of the URL
	need      auth.Need
	url       *url.URL
	header    http.Header
	grant     auth.Grant
}

// prepare waits for a token and then for a slot, in this order: a request that waits for a
// token must not occupy a slot. If the token expired before a slot was free, it starts over.
func (s *session) prepare(ctx context.Context, n auth.Need, u *url.URL) (*attempt, error) {
	for {
		a, err := s.authorize(ctx, n, u)
		if err != nil {
			return nil, err
		}
		if a.Slot, err = a.host.Acquire(ctx, wire.Small); err != nil {
			return nil, err
		}
		if s.auth.IsFresh(n, a.grant) {
			return a, nil
		}
		a.Release()
	}
}

// prepareTransfer waits for a token for a request with a streamed body. The caller has
// taken the slot of the transfer.
func (s *session) prepareTransfer(ctx context.Context, n auth.Need, u *url.URL, held wire.Slot) (*attempt, error) {
	if err := s.hosts.Of(u.Host).AwaitThrottle(ctx); err != nil {
		return nil, err
	}
	a, err := s.authorize(ctx, n, u)
	if err != nil {
		return nil, err
	}
	a.Slot = held
	return a, nil
}

// authorize makes an attempt, with a token if the URL needs one.
func (s *session) authorize(ctx context.Context, n auth.Need, u *url.URL) (*attempt, error) {
	a := &attempt{session: s, host: s.hosts.Of(u.Host), need: n, url: u, header: http.Header{}}
	if s.userAgent != "" {
		a.header["User-Agent"] = []string{s.userAgent}
	}
	var err error
	a.grant, err = s.auth.Authorize(ctx, n, u, a.header)
	return a, err
}

// send sends the request. The slot stays taken until Release. rewind returns the body from
// its start, for net/http to resend it on a new connection; nil: the body is a stream.
func (a *attempt) send(ctx context.Context, method string, body io.ReadCloser, size int64, rewind func() (io.ReadCloser, error)) (*http.Response, error) {
	req := (&http.Request{
		Method: method, URL: a.url, Host: a.url.Host, Header: a.header,
		Body: body, ContentLength: size, GetBody: rewind,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	resp, err := a.session.transports.Of(a.Class).RoundTrip(req)
	if err != nil {
		return nil, a.failed(ctx, wire.Cause(ctx, err))
	}
	a.host.Observe(resp)
	a.Observe(resp)
	if resp.StatusCode < http.StatusBadRequest && a.grant.IsOwnHost() {
		a.session.auth.Allow(method)
	}
	return resp, nil
}

// failed adds the host to an error if the registry redirected to it: otherwise a user would
// look for the fault at the registry.
func (a *attempt) failed(ctx context.Context, err error) error {
	if a.grant.IsOwnHost() || ctx.Err() != nil {
		return err
	}
	return wire.RedirectError{Host: a.host, Err: err}
}

// answeredBy names the host if the registry redirected to it; empty: the registry's own.
func (a *attempt) answeredBy() string {
	if a.grant.IsOwnHost() {
		return ""
	}
	return strconv.Quote(wire.Cut(a.host.Name, 100))
}

// renew is auth.Session.Renew for this attempt.
func (a *attempt) renew(status int, header http.Header, nth int) bool {
	return a.session.auth.Renew(a.need, a.grant, status, header, nth)
}

// retryDenied is auth.Session.RetryDenied for this attempt.
func (a *attempt) retryDenied(got *wire.Answer, method string) error {
	return a.session.auth.RetryDenied(a.need, a.grant, method, got)
}

// accepts is auth.Session.Accepts for this attempt.
func (a *attempt) accepts(got *wire.Answer) bool { return a.session.auth.Accepts(a.grant, got) }
