package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	attempts       = 9 // of one request; with the waits below about half a minute
	waitMin        = 100 * time.Millisecond
	waitMax        = 8 * time.Second
	retryAfterMax  = time.Minute  // a longer Retry-After is not waited for
	attemptTimeout = stallTimeout // of one attempt with a small answer
)

// errAgain marks a failure after which another attempt may succeed, with the
// answer that says so where there is one.
type errAgain struct {
	error
	answer *answer
}

func (e errAgain) Unwrap() error { return e.error }

// answerOf is the answer that asked to come back later, nil if none did.
func answerOf(err error) *answer {
	var again errAgain
	if errors.As(err, &again) {
		return again.answer
	}
	return nil
}

// newRetryClient is retryablehttp with what its defaults lack: the last answer
// is kept, redirects are ours, nothing is logged, Retry-After has a cap, and
// waits have jitter.
func newRetryClient(rt http.RoundTripper) *retryablehttp.Client {
	return &retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: rt, CheckRedirect: noRedirect, Timeout: attemptTimeout},
		RetryMax:     attempts - 1,
		RetryWaitMin: waitMin,
		RetryWaitMax: waitMax,
		CheckRetry:   checkRetry,
		Backoff:      backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
}

// checkRetry is asked before the answer's handler, which turns an answer to come
// back later into an error, and again after it.
func checkRetry(ctx context.Context, _ *http.Response, err error) (bool, error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	remember(ctx, err)
	return err != nil && temporary(err), nil
}

// memoryKey carries where a request's last failure without an answer is kept: a
// run that is ended while it waits to try again must still say why it waited.
type memoryKey struct{}

func withMemory(ctx context.Context) context.Context {
	return context.WithValue(ctx, memoryKey{}, new(error))
}

func remember(ctx context.Context, err error) {
	if last, ok := ctx.Value(memoryKey{}).(*error); ok && err != nil && answerOf(err) == nil {
		*last = cause(ctx, err)
	}
}

// lastFailure is what remember kept, nil if nothing.
func lastFailure(ctx context.Context) error {
	if last, ok := ctx.Value(memoryKey{}).(*error); ok {
		return *last
	}
	return nil
}

// backoff doubles from least to most, takes between half and all of it, and
// waits longer where Retry-After asks for it, up to a cap.
func backoff(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
	wait := retryablehttp.DefaultBackoff(least, most, attempt, nil)
	wait = wait/2 + rand.N(wait/2+1)
	if resp == nil {
		return wait
	}
	// Without bounds of its own it only reads Retry-After, which it knows for 429 and 503.
	asked := retryablehttp.DefaultBackoff(0, 0, 0, &http.Response{StatusCode: http.StatusServiceUnavailable, Header: resp.Header})
	return max(wait, min(asked, retryAfterMax))
}

// temporaryStatus reports whether the same request may succeed later. Proxies
// before a registry have statuses of their own above 504.
func temporaryStatus(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		(status >= 500 && status != http.StatusNotImplemented)
}

// temporary reports whether a request that got no usable answer may succeed
// later: not where the certificate, the name or a refusal of ours is at fault.
func temporary(err error) bool {
	var (
		token    *tokenError
		refused  refusal
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
	)
	switch {
	case errors.As(err, &token), errors.As(err, &refused), errors.As(err, &unknown), errors.As(err, &hostname),
		errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record):
		return false
	case errors.As(err, &dns) && dns.IsNotFound:
		return false
	case errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, ErrTooLarge), errors.Is(err, errNoList), errors.Is(err, context.Canceled):
		return false
	}
	return true
}

// networkHint says what to do where a registry could not be reached at all.
func networkHint(host string, err error) string {
	var (
		unknown x509.UnknownAuthorityError
		dns     *net.DNSError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &unknown):
		return "The certificate of " + host + " is signed by an authority that is not known here: give its PEM in the input ca-certificates."
	case errors.As(err, &dns):
		return "The name " + host + " was not found: check its spelling, and that the runner can reach it."
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return host + " does not speak https. Plain http is used on loopback, and for a host name of one word without a credential."
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "Nothing answers at " + host + ": check that the registry runs, and that the runner can reach it."
	case errors.Is(err, ErrMismatch):
		return "The registry serves other bytes than the digest names. Nothing was promoted on them. If another run says the same, what " + host + " stores is damaged: push the image there again."
	}
	return ""
}

// wait sleeps for one step of the backoff after a failure, or until the context
// ends.
func wait(ctx context.Context, attempt int, failure error) error {
	last := answerOf(failure)
	var resp *http.Response
	if last != nil {
		resp = &http.Response{StatusCode: last.status, Header: last.header}
	}
	timer := time.NewTimer(backoff(waitMin, waitMax, attempt, resp))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx, last)
	case <-timer.C:
		return nil
	}
}

// ended is why the context ended, with what the registry said last if that was
// to come back later: it is what the time went for.
func ended(ctx context.Context, last *answer) error {
	if last == nil || !temporaryStatus(last.status) {
		if failure := lastFailure(ctx); failure != nil {
			return fmt.Errorf("%w; the last attempt failed: %w", context.Cause(ctx), failure)
		}
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; the registry's last answer was %s", context.Cause(ctx), last)
}

// drain empties a small body and closes it, so that its connection is used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
