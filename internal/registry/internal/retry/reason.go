package retry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// Reason is why another attempt may succeed.
type Reason int

// The reasons. Each has its own limit.
const (
	Unavailable Reason = iota // the connection or the host failed
	Damaged                   // the answer was damaged in transit
	Refused                   // a refusal that a healthy host would not give
	TokenLost                 // the registry refuses a token or a login that it accepted before
	Denied                    // the registry refuses a right that it never granted
	Invalid                   // no healthy host sends such an answer
	Lagging                   // the host does not find yet what was written to it
	Unreachable               // nothing listens at the host of a redirect
	WrongSize                 // the blob has another size than its manifest states
	reasons
)

// Error is a failure after which another attempt may succeed.
type Error struct {
	Err    error
	Answer *wire.Answer // the answer that failed; nil: there was none
	Reason Reason
}

func (e Error) Error() string { return e.Err.Error() }
func (e Error) Unwrap() error { return e.Err }

// AfterDamage marks the error of an answer that was damaged in transit.
func AfterDamage(err error) error { return Error{Err: err, Reason: Damaged} }

// AnswerOf returns the answer of a retryable error; nil: there was none.
func AnswerOf(err error) *wire.Answer {
	var e Error
	if errors.As(err, &e) {
		return e.Answer
	}
	return nil
}

// ReasonFor reports whether another attempt at the host may succeed, and why. Only the type of
// the outermost error counts: an inner one was retried by the operation that wrapped it.
func ReasonFor(err error, h *wire.Host) (reason Reason, retryable bool) {
	var (
		done      Final
		exhausted ExhaustedError
		redirect  wire.RedirectError
	)
	if errors.As(err, &exhausted) {
		return 0, false
	}
	switch marked := err.(type) { //nolint:errorlint // only the outermost error counts
	case Error:
		return marked.Reason, true
	case wire.SizeError:
		return WrongSize, true
	case wire.InvalidError:
		return Invalid, true
	}
	switch {
	case errors.As(err, new(wire.SizeError)):
		return 0, false
	case errors.Is(err, wire.ErrMismatch):
		return Damaged, true
	case errors.As(err, &done):
		return 0, false
	case isProtocolViolation(err, h):
		return Invalid, true
	case errors.As(err, &redirect) && redirect.IsUnreachable():
		return Unreachable, true
	}
	return Unavailable, IsTemporary(err) || h.HasAnswered() && isUnknownHost(err)
}

// isProtocolViolation reports whether a host points to an address that is not allowed, or to
// itself with a protocol that it does not speak. The next answer may be another: each one is
// checked again. A chain of too many redirects is not retried.
func isProtocolViolation(err error, h *wire.Host) bool {
	var refused wire.Refusal
	var record tls.RecordHeaderError
	return errors.As(err, &refused) && refused != wire.ErrTooManyRedirects ||
		h.IsRegistry() && (errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch))
}

// IsTemporary reports whether a request without a usable answer may succeed later. It may not if
// the certificate, the host name, or an address that is not allowed was at fault.
func IsTemporary(err error) bool {
	var (
		done     Final
		refused  wire.Refusal
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		dns      *net.DNSError
	)
	switch {
	case errors.As(err, &done), errors.As(err, &refused), errors.As(err, &unknown), errors.As(err, &hostname),
		errors.As(err, &invalid), errors.As(err, &verify), errors.As(err, &record):
		return false
	case errors.As(err, &dns) && dns.IsNotFound:
		return false
	case errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, wire.ErrTooLarge), errors.Is(err, context.Canceled):
		return false
	}
	return true
}

// isUnknownHost reports whether a name did not resolve. That is retried for a host that has
// answered before.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}
