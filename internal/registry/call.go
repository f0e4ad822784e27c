package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	maxErrorBody = 64 << 10
	maxRedirects = 5

	tooManyRedirects = refusal("registry points elsewhere again and again: more than 5 redirects")
)

// call is a request whose body and answer are small: they are held in memory,
// and the whole of it is tried again until it succeeds or is refused.
type call struct {
	method string
	url    *url.URL // relative to the host, or whole
	header http.Header
	body   []byte
	need   need
	limit  int64                 // bytes of the answer's body
	check  func(a *answer) error // an error has it tried again
}

// answer is what came back, its body read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL // that was asked, after redirects
}

// String is the status with what the registry says of it.
func (a *answer) String() string {
	code, detail := diagnose(a)
	return quote(a.status, code, detail)
}

// send sends a call. It returns an answer of any status that is not worth
// trying again; an error says that there was none.
func (s *session) send(ctx context.Context, c call) (*answer, error) {
	base, err := s.ready(ctx, c.need)
	if err != nil {
		return nil, err
	}
	if err := s.small.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	defer s.small.Release(1)
	ctx = withNeed(ctx, c.need)
	u := base.ResolveReference(c.url)
	for range maxRedirects + 1 {
		a, err := s.try(ctx, c, u)
		if err != nil {
			return nil, err
		}
		next, err := a.redirect(c.method)
		if next == nil || err != nil {
			return a, err
		}
		u = next
	}
	return nil, tooManyRedirects
}

// try sends a call to one URL. After the last attempt an answer that asked to
// come back later is an answer like any other.
func (s *session) try(ctx context.Context, c call, u *url.URL) (*answer, error) {
	var body any
	if c.body != nil {
		body = c.body
	}
	ctx = withMemory(ctx)
	req, err := retryablehttp.NewRequestWithContext(ctx, c.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for key, values := range c.header {
		req.Header[key] = values
	}
	a := &answer{url: u}
	req.SetResponseHandler(func(resp *http.Response) error { return a.take(resp, c) })
	_, err = s.retry.Do(req)
	switch {
	case err == nil, ctx.Err() == nil && answerOf(err) != nil:
		return a, nil
	case ctx.Err() != nil:
		return nil, ended(ctx, a)
	}
	return nil, cause(ctx, err)
}

// cause prefers the reason for which the run was ended, such as its timeout, to
// the context's bare word for it; and it drops the URL that net/http puts in
// front, which may be a presigned one.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	u, ok := err.(*url.Error) //nolint:errorlint // one deeper down has words of ours around it
	switch {
	case !ok:
		return err
	case u.Err == io.EOF: //nolint:errorlint // net/http's bare word for it
		return errHungUp
	default:
		return u.Err
	}
}

var errHungUp = errors.New("the connection was closed without an answer")

// take reads the answer to one attempt: an error has it tried again.
func (a *answer) take(resp *http.Response, c call) error {
	if err := a.read(resp, c); err != nil {
		return err
	}
	if temporaryStatus(a.status) {
		return errAgain{fmt.Errorf("the registry answered %s", a), a}
	}
	return nil
}

// read reads the body, bounded, and checks it.
func (a *answer) read(resp *http.Response, c call) error {
	defer resp.Body.Close() //nolint:errcheck // nothing of it is needed any more
	a.status, a.header, a.body = resp.StatusCode, resp.Header, nil
	limit := c.limit
	if resp.StatusCode >= 300 {
		limit = maxErrorBody
	}
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if n > limit && resp.StatusCode < 300 {
		return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	a.body = b.Bytes()
	if c.check != nil && resp.StatusCode < 300 {
		return c.check(a)
	}
	return nil
}

// redirect is where the answer points to, nil if it does not. Only reads follow.
func (a *answer) redirect(method string) (*url.URL, error) {
	switch a.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if method != http.MethodGet && method != http.MethodHead {
		return nil, nil
	}
	return elsewhere(a.url, a.header.Get("Location"))
}

// elsewhere resolves a Location and decides whether it may be used.
func elsewhere(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, refusal("registry points elsewhere without a Location that can be read")
	}
	to := from.ResolveReference(ref)
	return to, checkElsewhere(from, to)
}
