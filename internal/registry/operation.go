package registry

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// operation is a call with the patience that is had with it. It is the transport
// of its own retries: one attempt is all that it takes to an answer that was read
// whole and judged, redirects and a fresh token included.
//
// Bodies that are streams never pass through it. The library reads a plain one
// whole into memory before it sends it; it does not know that an upload which broke
// off goes on in a session of its own, nor that half of an answer's body may have
// been used already. Upload and download have loops of their own for that.
type operation struct {
	call
	session  *session
	patience patience
	wait     time.Duration // until the next attempt
	answer   *answer       // to the last one
	end      error         // why there is no next one; nil also where a wait was cut short
	lost     bool          // an attempt had no answer
}

// send sends a call. It returns an answer of any status that is not worth
// trying again; an error says that there was none. An answer that asked to come
// back later is one like any other once patience has run out.
func (s *session) send(ctx context.Context, c call) (*answer, error) {
	o := &operation{call: c, session: s, patience: patience{host: s.at}}
	_, err := o.client().Do(o.request(ctx)) //nolint:bodyclose // the answer was read whole
	if err == nil {
		o.answer.lost = o.lost
		return o.answer, nil
	}
	if o.end == nil {
		o.end = o.patience.ended(ctx, o.patience.last)
	}
	if a := answerOf(o.end); a != nil && ctx.Err() == nil {
		a.lost = o.lost
		return a, nil
	}
	return nil, spent{o.end}
}

// client makes attempts for as long as patience lasts. It says nothing of its own.
func (o *operation) client() *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: o},
		RetryMax:     math.MaxInt, // patience counts
		CheckRetry:   o.bear,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return o.wait },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// request stands for the call: how the host wants to be asked is for an attempt to
// find out.
func (o *operation) request(ctx context.Context) *retryablehttp.Request {
	u := o.url
	if u == nil {
		u = &url.URL{Scheme: "https", Host: o.session.host.RegistryStr(), Path: o.path}
	}
	req := &http.Request{Method: o.method, URL: u, Header: http.Header{}}
	return &retryablehttp.Request{Request: req.WithContext(ctx)}
}

// RoundTrip makes one attempt. What net/http gets to see of the answer is its
// status: it would follow a Location.
func (o *operation) RoundTrip(req *http.Request) (*http.Response, error) {
	a, err := o.session.follow(req.Context(), o.call)
	o.lost = o.lost || err != nil
	if err == nil {
		err = o.assess(a)
	}
	if err != nil {
		return nil, err
	}
	o.answer = a
	return &http.Response{StatusCode: a.status, Body: http.NoBody, Request: req}, nil
}

// bear is asked after each attempt whether there is another.
func (o *operation) bear(ctx context.Context, _ *http.Response, err error) (again bool, end error) {
	if err == nil {
		return false, nil
	}
	var outer *url.Error // net/http's, around what the attempt said
	if errors.As(err, &outer) {
		err = outer.Err
	}
	o.wait, o.end = o.patience.bear(ctx, err)
	return o.end == nil, o.end
}
