package github

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"github.com/artifact-promotion/promote/internal/proxy"
)

// temporary reports whether a request that got no answer may get one later: not
// where the certificate, the name, a refusal of ours or the proxy's login is at fault.
func temporary(err error) bool {
	var (
		refused  refusal
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		login    *proxy.LoginError
	)
	switch {
	case errors.As(err, &refused), errors.As(err, &unknown), errors.As(err, &hostname),
		errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record), errors.As(err, &login):
		return false
	case errors.As(err, &dns) && dns.IsNotFound:
		return false
	}
	return !errors.Is(err, http.ErrSchemeMismatch) && !errors.Is(err, context.Canceled)
}
