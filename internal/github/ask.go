package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	apiVersion = "2022-11-28"
	acceptJSON = "application/vnd.github+json"
	acceptRaw  = "application/vnd.github.raw+json"

	maxJSON = 8 << 20 // bytes of an answer
	maxFile = 1 << 20

	firstWait = 600 // a part of patience: 100 ms of a minute
	mostWait  = 15  // 4 s of a minute
)

// question is one GET, and how to speak of it.
type question struct {
	op          string // "read the check runs"
	repository  string
	path        string // below the repository, escaped
	query       url.Values
	accept      string
	most        int      // bytes of the answer's body
	permissions []string // that a job needs for it
	absent      string   // what a 404 may mean, a sentence
}

// answer is one that was read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// attempts is one question with the patience that is had with it. The library
// makes the attempts and the waits; whether there is another is judged here, by
// what the answer's body says too.
type attempts struct {
	question question
	patience time.Duration
	until    time.Time // when patience ends; zero: nothing has failed yet
	made     int
	wait     time.Duration // until the next attempt
	answer   *answer       // to the last one
	err      error         // why it has no answer
}

// ask returns an answer of status 200.
func (c *Client) ask(ctx context.Context, q question) (*answer, error) {
	req, err := c.request(ctx, q)
	if err != nil {
		return nil, c.fail(q, err)
	}
	a := &attempts{question: q, patience: c.patience}
	_, err = a.client(c.http).Do(&retryablehttp.Request{Request: req})
	switch {
	case a.answer != nil && a.answer.status == http.StatusOK:
		return a.answer, nil
	case ctx.Err() != nil:
		return nil, c.fail(q, a.ended(ctx))
	case a.err != nil:
		return nil, c.fail(q, a.err)
	case a.answer != nil:
		return nil, c.refuse(q, a.answer, time.Now())
	}
	return nil, c.fail(q, err)
}

func (c *Client) request(ctx context.Context, q question) (*http.Request, error) {
	target := c.base.String() + "/repos/" + q.repository + q.path
	if len(q.query) > 0 {
		target += "?" + q.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", q.accept)
	req.Header.Set("User-Agent", c.userAgent)
	req.Header.Set("X-Github-Api-Version", apiVersion)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	return req, nil
}

func (a *attempts) client(c *http.Client) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   c,
		RetryMax:     math.MaxInt, // patience counts
		CheckRetry:   a.judge,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return a.wait },
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// judge reads an answer, and says whether there is another attempt: not where the
// wait for it would outlast patience or the context.
func (a *attempts) judge(ctx context.Context, resp *http.Response, err error) (again bool, _ error) {
	a.answer, a.err = read(resp, err, a.question.most)
	if ctx.Err() != nil || !a.passing() {
		return false, nil //nolint:nilerr // ask says why
	}
	now := time.Now()
	if a.until.IsZero() {
		a.until = now.Add(a.patience)
	}
	a.wait = a.pause(now)
	a.made++
	next := now.Add(a.wait)
	deadline, ends := ctx.Deadline()
	return !next.After(a.until) && (!ends || next.Before(deadline)), nil
}

// passing reports whether the same question may be answered later.
func (a *attempts) passing() bool {
	if a.err != nil {
		return temporary(a.err)
	}
	if _, ok := limited(a.answer, time.Now()); ok {
		return true
	}
	s := a.answer.status
	return s == http.StatusRequestTimeout || s == http.StatusTooManyRequests || s >= 500 && s != http.StatusNotImplemented
}

// pause is how long to wait: as the answer asks, else twice as long each time, and
// spread, so that many jobs do not come back all at once.
func (a *attempts) pause(now time.Time) time.Duration {
	if a.answer != nil {
		if reset, ok := limited(a.answer, now); ok {
			return reset.Sub(now)
		}
		if wait, ok := retryAfter(a.answer.header, now); ok && wait > 0 {
			return wait
		}
	}
	full := max(min(a.patience/firstWait<<min(a.made, 10), a.patience/mostWait), time.Millisecond)
	return full/2 + rand.N(full/2+1)
}

// ended says why the context ended the attempts, and what the time went for.
func (a *attempts) ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	switch {
	case a.answer != nil:
		return fmt.Errorf("%w; last attempt: %s", cause, described(a.answer.status))
	case a.err != nil && !errors.Is(a.err, ctx.Err()):
		return fmt.Errorf("%w; last attempt: %w", cause, a.err)
	}
	return cause
}

// read reads an answer of at most that many bytes whole.
func read(resp *http.Response, err error, most int) (*answer, error) {
	if err != nil {
		return nil, inner(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return nil, fmt.Errorf("read GitHub's answer: %w", inner(err))
	}
	if len(body) > most {
		return nil, refusal(fmt.Sprintf("GitHub's answer is longer than %d MiB", most>>20))
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// inner drops the URL that net/http puts before its errors: a redirect's may be
// anything.
func inner(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no whole answer within %v: %w", attemptTimeout, err)
	}
	return err
}

// isKind reports whether an answer's body is said to be of that media type.
func (a *answer) isKind(kind string) bool {
	given, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && given == kind
}
