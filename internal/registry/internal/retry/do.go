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

// Do makes attempts until one succeeds, or the policy of the host ends them: it then
// returns the last failure, or why the context ended. One attempt is all that it takes to
// an answer that was read whole and judged, redirects and a fresh token included.
//
// go-retryablehttp drives it. Bodies that are streams never pass through it: the library
// reads one whole into memory before it sends it, and knows neither that a broken upload
// goes on in its session nor that half of an answer's body may have been used already.
func Do(ctx context.Context, h *wire.Host, attempt func(context.Context) error) error {
	l := &loop{policy: New(h), attempt: attempt}
	req := &http.Request{Method: http.MethodGet, URL: &url.URL{Scheme: "https", Host: h.Name}, Header: http.Header{}}
	_, err := l.client().Do(&retryablehttp.Request{Request: req.WithContext(ctx)}) //nolint:bodyclose // it has none
	switch {
	case err == nil:
		return nil
	case l.end == nil: // a wait was ended
		return l.policy.Interrupted(ctx, l.policy.last)
	}
	return l.end
}

// loop is the transport of its own retries.
type loop struct {
	policy  Policy
	attempt func(context.Context) error
	delay   time.Duration // until the next attempt
	end     error         // why there is none; nil also where a wait was ended
}

// client makes attempts for as long as the policy allows. It logs nothing of its own.
func (l *loop) client() *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: l},
		RetryMax:     math.MaxInt, // the policy counts
		CheckRetry:   l.check,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return l.delay },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// RoundTrip makes one attempt. The answer that net/http sees is empty: it would follow a
// Location by itself.
func (l *loop) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := l.attempt(req.Context()); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// check is asked after each attempt whether there is another.
func (l *loop) check(ctx context.Context, _ *http.Response, err error) (again bool, end error) {
	if err == nil {
		return false, nil
	}
	var outer *url.Error // net/http's, around the failure of the attempt
	if errors.As(err, &outer) {
		err = outer.Err
	}
	l.delay, l.end = l.policy.NextDelay(ctx, err)
	return l.end == nil, l.end
}
