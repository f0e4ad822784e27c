package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// call is a request whose body and answer are small: they are held in memory,
// and the whole of it is tried again until it succeeds or is refused.
type call struct {
	method string
	path   string // on the session's host
	query  string
	url    *url.URL // whole, in place of both; nil: none
	header http.Header
	body   []byte
	need   auth.Need
	limit  int64 // bytes of the answer's body
	raw    bool  // the body is left in the encoding that it came in
	peek   bool  // no more than limit is read of the body, whatever there is

	// extract keeps of a body below 300 what is wanted, while it comes; nil: all of it.
	extract wire.Extract
	// blob is what the answer is to be, where it is one.
	blob *v1.Descriptor

	// whole reports whether a body that broke off had all come; nil: it had not.
	whole func(body []byte) bool
	// check is asked about every answer below 300; an error has it asked for again.
	check func(a *wire.Answer) error
	// judge is asked about every other that is not temporary; nil: it is final.
	judge func(a *wire.Answer) error
}

// assess decides what an answer is worth.
func (c *call) assess(a *wire.Answer) error {
	switch {
	case wire.IsTemporary(a.Status) && !c.refusedContent(a):
		return retry.Error{Err: fmt.Errorf("the registry answered %s", a), Answer: a}
	case a.Status < 300 && c.check != nil:
		return c.check(a)
	case a.Status >= 300 && c.judge != nil:
		return c.judge(a)
	}
	return nil
}

// refusedContent reports whether an answer of a host in trouble says that what was
// written is not right. Nothing mends that (distribution#2795: 500 for foreign layers).
func (c *call) refusedContent(a *wire.Answer) bool {
	if c.method != http.MethodPut || c.judge == nil || a.Status < 500 {
		return false
	}
	code, _ := a.Diagnosis()
	return wire.IsContentCode(code)
}

// send sends a call, again until it succeeds, is refused, or is not retried any more. It
// returns an answer of any status; an error says that there was none.
func (s *session) send(ctx context.Context, c call) (got *wire.Answer, err error) {
	unanswered := false
	err = retry.Do(ctx, s.host, func(ctx context.Context) error {
		a, err := s.follow(ctx, c)
		unanswered = unanswered || err != nil
		if err == nil {
			err = c.assess(a)
		}
		if err == nil {
			got = a
		}
		return err
	})
	if a := retry.AnswerOf(err); a != nil && ctx.Err() == nil { // it asks to come back later, to the end
		got, err = a, nil
	}
	if err != nil {
		return nil, retry.ExhaustedError{Err: err}
	}
	got.Unanswered = unanswered
	return got, nil
}

// follow sends a call one time, and again where a read is redirected: always from
// the registry's own URL, for what it redirects to expires. One that has expired
// is asked for again; but a URL that is signed for GET refuses every HEAD.
func (s *session) follow(ctx context.Context, c call) (*wire.Answer, error) {
	for renewed := 0; ; renewed++ {
		a, hops, err := s.followOnce(ctx, c)
		if err != nil || hops == 0 || renewed == maxRenewals || c.method != http.MethodGet || !mayHaveExpired(a.Status) {
			return a, err
		}
	}
}

func (s *session) followOnce(ctx context.Context, c call) (a *wire.Answer, hops int, err error) {
	u, err := s.target(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	for hops := range wire.MaxRedirects + 1 {
		a, err := s.exchange(ctx, c, u)
		if err != nil {
			return nil, hops, err
		}
		next, err := a.Redirect(c.method)
		if next == nil || err != nil {
			return a, hops, err
		}
		u = next
	}
	return nil, 0, wire.ErrTooManyRedirects
}

// maxRenewals is how often a URL that a registry redirects to is asked for again,
// after the host that it leads to has refused it.
const maxRenewals = 2

// mayHaveExpired reports whether storage answers so to a URL whose time is over: S3
// and Azure with 403, Google with 400 (ExpiredToken).
func mayHaveExpired(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// target is the call's URL.
func (s *session) target(ctx context.Context, c call) (*url.URL, error) {
	if c.url != nil {
		return c.url, nil
	}
	u, err := s.auth.BaseURL(ctx)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawQuery = c.path, c.query
	return u, nil
}

// exchange sends a call to one URL. Where the token may be what is too long, it sends it
// once more with one for this request alone.
func (s *session) exchange(ctx context.Context, c call, u *url.URL) (*wire.Answer, error) {
	a, used, err := s.exchangeRenewed(ctx, c, u)
	if err != nil || !s.auth.MayBeTooLong(c.need, used, c.method, a) {
		return a, err
	}
	c.need.Alone = true
	shorter, _, err := s.exchangeRenewed(ctx, c, u)
	if err == nil {
		s.auth.JudgeLength(a, shorter)
	}
	return shorter, err
}

// exchangeRenewed sends a call to one URL, with a fresh token if the first is refused.
func (s *session) exchangeRenewed(ctx context.Context, c call, u *url.URL) (*wire.Answer, auth.Grant, error) {
	for nth := 0; ; nth++ {
		try, err := s.prepare(ctx, c.need, u)
		if err != nil {
			return nil, auth.Grant{}, err
		}
		a, err := try.exchange(ctx, c)
		if err != nil {
			return nil, auth.Grant{}, err
		}
		if try.renew(a.Status, a.Header, nth) {
			continue
		}
		return a, try.grant, try.retryDenied(a, c.method)
	}
}

// exchange makes the attempt and reads its answer, all within one time limit.
func (a *attempt) exchange(ctx context.Context, c call) (*wire.Answer, error) {
	defer a.Release()
	ctx, cancel := context.WithTimeoutCause(ctx, wire.AttemptTimeout, wire.ErrStalled)
	defer cancel()
	for key, values := range c.header {
		a.header[key] = values
	}
	var body io.ReadCloser
	var again func() (io.ReadCloser, error)
	if c.body != nil {
		again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.body)), nil }
		body, _ = again()
	}
	resp, err := a.send(ctx, c.method, body, int64(len(c.body)), again)
	if err != nil {
		return nil, err
	}
	if c.blob != nil {
		if err := wire.CheckSize(resp, c.blob.Size); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	switch {
	case c.peek:
		wire.LimitBody(resp, c.limit)
	case !c.raw || resp.StatusCode >= 300:
		if err := wire.Decode(resp, max(c.limit, wire.MaxErrorBody)); err != nil {
			return nil, wire.Cause(ctx, err)
		}
	}
	got, err := wire.ReadAnswer(resp, a.url, c.limit, c.extract)
	if err != nil && (c.whole == nil || !c.whole(got.Body)) {
		return nil, wire.Cause(ctx, err)
	}
	got.LoggedIn = a.accepts(got)
	return got, nil
}
