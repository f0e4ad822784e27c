package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
)

// attemptTimeout is that of one attempt with a small answer.
const attemptTimeout = stallTimeout

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

// isUnknownHost tells a name that did not resolve: of a host that was reached
// before, that is trouble like any other.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

// drain empties a small body and closes it, so that its connection is used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}
