package retry

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/hashicorp/go-retryablehttp"
)

// Do makes attempts until one succeeds or the policy of the host ends them. It then returns the
// last failure, or why the context ended. An attempt includes redirects, a fresh token, and
// reading and checking the whole answer.
//
// go-retryablehttp drives the attempts. Streams do not use it: the library reads a whole body
// into memory before it sends it, and can neither resume an upload session nor continue a
// download whose first part was used already.
func Do(ctx context.Context, h *wire.Host, attempt func(context.Context) error) error {
	l := &loop{policy: New(h), attempt: attempt}
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: h.Name}, Header: http.Header{}}
	_, err := l.client().Do(&retryablehttp.Request{Request: req.WithContext(ctx)}) //nolint:bodyclose // the response has no body
	switch {
	case err == nil:
		return nil
	case l.end == nil: // the context ended during a backoff
		return l.policy.Interrupted(ctx, l.policy.last)
	}
	return l.end
}

// loop is the transport that makes the attempts.
type loop struct {
	policy  Policy
	attempt func(context.Context) error
	delay   time.Duration // until the next attempt
	end     error         // why there is none; nil: there is one, or the context ended
}

// client makes attempts for as long as the policy allows. It does not log.
func (l *loop) client() *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: l},
		RetryMax:     math.MaxInt, // the policy counts
		CheckRetry:   l.check,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return l.delay },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// RoundTrip makes one attempt. It returns an empty response, because net/http would follow a
// Location.
func (l *loop) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := l.attempt(req.Context()); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// check decides after each attempt whether there is another.
func (l *loop) check(ctx context.Context, _ *http.Response, err error) (retry bool, end error) {
	if err == nil {
		return false, nil
	}
	var outer *url.Error // net/http wraps the failure of the attempt in it
	if errors.As(err, &outer) {
		err = outer.Err
	}
	l.delay, l.end = l.policy.NextDelay(ctx, err)
	return l.end == nil, l.end
}
