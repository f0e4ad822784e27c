package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// call is a request whose body and answer are small: both are in memory, and the whole
// request is retried until it succeeds or the registry refuses it.
type call struct {
	method string
	path   string // on the session's host
	query  string
	url    *url.URL // used in place of path and query; nil: use these
	header http.Header
	body   []byte
	need   auth.Need
	limit  int64 // most bytes of the answer's body; more is an error
	raw    bool  // do not decompress the body
	// notAfter is the latest time at which the request may be sent; zero: at any time.
	notAfter time.Time
	peek     bool // read only the first limit bytes of the body, without an error for more

	// extract reads the body of a status below 300 and returns the part to keep; nil: keep
	// the whole body.
	extract wire.Extract
	// blob is the expected content of the answer; nil: the answer is not a blob.
	blob *v1.Descriptor

	// complete reports whether a body is complete although its connection broke; nil: never.
	complete func(body []byte) bool
	// check decides whether an answer with a status below 300 is valid: after an error the
	// request is retried as the error says.
	check func(a *wire.Answer) error
	// judge decides whether any other answer that is not temporary is retried; nil: it is
	// final.
	judge func(a *wire.Answer) error
}

// assess returns nil for a final answer, or an error to retry.
func (c *call) assess(a *wire.Answer) error {
	switch {
	case wire.IsTemporary(a.Status) && !c.refusedContent(a):
		return retry.Error{Err: errors.New(a.Describe()), Answer: a}
	case a.Status == http.StatusOK && c.writes() && a.IsPage():
		return wire.InvalidError{Err: fmt.Errorf("%w: it is %s", wire.ErrPage, a.DescribePage())}
	case a.Status < 300 && c.check != nil:
		return c.check(a)
	case a.Status >= 300 && c.judge != nil:
		return c.judge(a)
	}
	return nil
}

// writes reports whether the call changes anything. A page of a proxy with the status 200
// does not acknowledge that.
func (c *call) writes() bool { return c.method != http.MethodGet && c.method != http.MethodHead }

// refusedContent reports whether a server error rejects the written content. A retry does
// not help then (distribution#2795: 500 for foreign layers).
func (c *call) refusedContent(a *wire.Answer) bool {
	if c.method != http.MethodPut || c.judge == nil || a.Status < 500 {
		return false
	}
	code, _ := a.Diagnosis()
	return wire.IsContentCode(code)
}

// send sends a call and retries it. It returns the final answer, of any status, or an error
// if there was no usable answer.
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
	if a := retry.AnswerOf(err); a != nil && ctx.Err() == nil { // the last retry was throttled or unavailable too
		got, err = a, nil
	}
	if err != nil {
		return nil, retry.ExhaustedError{Err: err}
	}
	got.Unanswered = unanswered
	return got, nil
}

// sendOnce sends a call without retries. Its errors are those that send would retry.
func (s *session) sendOnce(ctx context.Context, c call) (*wire.Answer, error) {
	a, err := s.follow(ctx, c)
	if err == nil {
		err = c.assess(a)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// follow sends a call once and follows redirects of reads. A redirect leads to a signed URL
// that expires, so after a refusal it starts from the registry's own URL again. It does so
// only for GET: a URL that is signed for GET refuses every HEAD.
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

// maxRenewals is how often the registry is asked for a new signed URL after the storage
// refused the last one.
const maxRenewals = 2

// mayHaveExpired reports whether a storage answers an expired URL with this status: S3 and
// Azure answer 403, Google answers 400 (ExpiredToken).
func mayHaveExpired(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// target is the URL of the call.
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

// exchange sends a call to one URL. If the token may be too long for the server, it sends
// the call once more with a token for this repository alone.
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

// exchangeRenewed sends a call to one URL, and once more with a fresh token if the first one
// is refused.
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

// exchange sends the request and reads the answer within wire.AttemptTimeout.
func (a *attempt) exchange(ctx context.Context, c call) (*wire.Answer, error) {
	defer a.Release()
	ctx, cancel := context.WithTimeoutCause(ctx, wire.AttemptTimeout, wire.ErrStalled)
	defer cancel()
	for key, values := range c.header {
		a.header[key] = values
	}
	if !c.notAfter.IsZero() && time.Now().After(c.notAfter) {
		return nil, ErrOutdated
	}
	var body io.ReadCloser
	var rewind func() (io.ReadCloser, error)
	if c.body != nil {
		rewind = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.body)), nil }
		body, _ = rewind()
	}
	resp, err := a.send(ctx, c.method, body, int64(len(c.body)), rewind)
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
	if err != nil && (c.complete == nil || !c.complete(got.Body)) {
		return nil, wire.Cause(ctx, err)
	}
	got.LoggedIn, got.By = a.accepts(got), a.answeredBy()
	return got, nil
}
