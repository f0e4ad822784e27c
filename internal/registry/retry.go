package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
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
