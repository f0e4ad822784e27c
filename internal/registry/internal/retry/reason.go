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

// The reasons, each with a limit of its own (see limits).
const (
	Unavailable Reason = iota // the connection or the host failed
	Damaged                   // the answer cannot be what the registry sent
	Refused                   // a refusal that a healthy host would not give
	TokenLost                 // the registry forgot a token or a login that it accepted before
	Denied                    // a refusal of authority by a host that never granted it
	Invalid                   // no healthy host sends such an answer
	Lagging                   // the host does not see yet what was written to it
	Unreachable               // nothing listens at the host that the registry redirects to
	WrongSize                 // the blob has another size than its manifest states
	reasons
)

// Error is a failure after which another attempt may succeed.
type Error struct {
	Err    error
	Answer *wire.Answer // that says so; nil: there was none
	Reason Reason
}

func (e Error) Error() string { return e.Err.Error() }
func (e Error) Unwrap() error { return e.Err }

// AfterDamage is the error of an answer that cannot be what the registry meant to send.
func AfterDamage(err error) error { return Error{Err: err, Reason: Damaged} }

// AnswerOf returns the answer that a retryable error is about, nil if it is about none.
func AnswerOf(err error) *wire.Answer {
	var e Error
	if errors.As(err, &e) {
		return e.Answer
	}
	return nil
}

// ReasonFor tells whether another attempt at the host may succeed, and why. A mark counts
// only at the outermost error: one further inside was retried by whoever wrapped it.
func ReasonFor(err error, h *wire.Host) (reason Reason, retryable bool) {
	var (
		done      Final
		exhausted ExhaustedError
		redirect  wire.RedirectError
	)
	if errors.As(err, &exhausted) {
		return 0, false
	}
	switch marked := err.(type) { //nolint:errorlint // the outermost alone
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

// isProtocolViolation tells a host that points to a destination which is never
// contacted, or to itself by a protocol that it does not speak: the next answer may be
// another. Each time the destination is refused again; a chain of redirects is followed
// once.
func isProtocolViolation(err error, h *wire.Host) bool {
	var refused wire.Refusal
	var record tls.RecordHeaderError
	return errors.As(err, &refused) && refused != wire.ErrTooManyRedirects ||
		h.IsRegistry() && (errors.As(err, &record) || errors.Is(err, http.ErrSchemeMismatch))
}

// IsTemporary reports whether a request that got no usable answer may succeed later: not
// where the certificate, the name, or a refusal of ours is at fault.
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

// isUnknownHost tells a name that did not resolve: that of a host which has answered
// before resolves again.
func isUnknownHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}
