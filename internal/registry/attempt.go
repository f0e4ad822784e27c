package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// attempt is one request that is about to be sent: with its slot, its token if it
// needs one, and nothing left to wait for but the answer.
type attempt struct {
	wire.Slot // none where the caller holds one for the whole transfer
	session   *session
	host      *wire.Host // of the URL
	need      auth.Need
	url       *url.URL
	header    http.Header
	grant     auth.Grant
}

// prepare waits for all that a small request needs. The token comes before the slot,
// which nobody holds while waiting for one; a token that expired until there was a
// slot is replaced.
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

// prepareTransfer waits for all that a request with a streamed body needs, but for
// the slot of its transfer, which the caller holds.
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

// authorize makes an attempt with the token that it needs.
func (s *session) authorize(ctx context.Context, n auth.Need, u *url.URL) (*attempt, error) {
	a := &attempt{session: s, host: s.hosts.Of(u.Host), need: n, url: u, header: http.Header{}}
	if s.userAgent != "" {
		a.header["User-Agent"] = []string{s.userAgent}
	}
	var err error
	a.grant, err = s.auth.Authorize(ctx, n, u, a.header)
	return a, err
}

// send sends the request. The slot stays taken until Release.
func (a *attempt) send(ctx context.Context, method string, body io.ReadCloser, size int64, again func() (io.ReadCloser, error)) (*http.Response, error) {
	req := (&http.Request{
		Method: method, URL: a.url, Host: a.url.Host, Header: a.header,
		Body: body, ContentLength: size, GetBody: again,
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

// failed names the host where it is another than the registry's: the reader of the
// message would look for the fault there.
func (a *attempt) failed(ctx context.Context, err error) error {
	if a.grant.IsOwnHost() || ctx.Err() != nil {
		return err
	}
	return wire.RedirectError{Host: a.host, Err: err}
}

// renew takes the nth answer and reports whether the same request may now do better.
func (a *attempt) renew(status int, header http.Header, nth int) bool {
	return a.session.auth.Renew(a.need, a.grant, status, header, nth)
}

// retryDenied is auth.Session.RetryDenied for this attempt.
func (a *attempt) retryDenied(got *wire.Answer, method string) error {
	return a.session.auth.RetryDenied(a.need, a.grant, method, got)
}

// accepts is auth.Session.Accepts for this attempt.
func (a *attempt) accepts(got *wire.Answer) bool { return a.session.auth.Accepts(a.grant, got) }
