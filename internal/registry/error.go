package registry

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// What an Error can be, matched with errors.Is: by status and the protocol's
// error code, never by text.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("not allowed") // 401 or 403
	ErrTagImmutable = errors.New("tag cannot be changed")
	ErrPolicy       = errors.New("a policy of the registry forbids it") // such as to pull what is vulnerable
	ErrUnsupported  = errors.New("not supported by the registry")
	ErrTooLarge     = wire.ErrTooLarge
	ErrMismatch     = wire.ErrMismatch
	// ErrUnclear says that a registry answered neither that it has a blob nor that it
	// lacks it.
	ErrUnclear = errors.New("not known to be there")
)

// Error says which operation on which side and reference went wrong, what the
// registry said of it, and what to do.
type Error struct {
	Op     string // "read manifest"
	Side   credential.Side
	Ref    string // repository, with tag or digest where there is one
	Status int    // of the registry's answer; 0: there was none
	Code   string // the protocol's error code, if it gave one
	Detail string // the registry's own words, cut short: a stranger's text
	Hint   string // what to do; may have several lines
	Err    error  // the cause where there was no answer
	// Unanswered says that an attempt before the refusal had no answer: a write may still land.
	Unanswered bool

	immutable bool // the tag exists, and what was refused is to change it
	unclear   bool // ErrUnclear
	missing   bool // it was refused, and is taken for what does not exist yet (see creation)
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s at the %s %s", e.Op, e.Side, e.Ref)
	if e.Err != nil {
		return text + ": " + wire.Cut(e.Err.Error(), 1000) // net/http quotes a stranger's headers whole
	}
	if e.immutable {
		return text + ": the tag is immutable: the registry answered " + wire.Quote(e.Status, e.Code, e.Detail)
	}
	if e.Status != 0 {
		return text + ": the registry answered " + wire.Quote(e.Status, e.Code, e.Detail)
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Final marks it as one that is not retried.
func (*Error) Final() {}

// Is matches the sentinels of this package by status and code.
func (e *Error) Is(target error) bool {
	if e.immutable {
		return target == ErrTagImmutable
	}
	switch target {
	case ErrUnclear:
		return e.unclear
	case ErrNotFound:
		return e.Status == http.StatusNotFound || e.missing
	case ErrUnauthorized:
		return (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) && !e.missing
	case ErrTagImmutable:
		return saysImmutable(e)
	case ErrPolicy:
		return e.isPolicy()
	case ErrUnsupported:
		return e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented ||
			e.Code == string(transport.UnsupportedErrorCode)
	}
	return false
}

// isPolicy reports whether the registry forbids to pull an image that it holds
// (harbor#19408, #15885: 412, of a manifest too).
func (e *Error) isPolicy() bool {
	return e.Status == http.StatusPreconditionFailed && e.Op != opWriteManifest || e.Code == "PROJECTPOLICYVIOLATION"
}

// IsRefusal tells an answer that will stay from trouble that may pass.
func IsRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != 0 && !wire.IsTemporary(e.Status)
}

// fail makes an Error of a cause, or of an earlier Error that it would only repeat.
func (r *Repository) fail(op, ref string, err error) error {
	if err == nil || said(err) {
		return err
	}
	failure := &Error{Op: op, Side: r.side, Ref: r.ref(ref), Err: err}
	var denied *auth.Error
	if errors.As(err, &denied) && denied.IsUnauthorized() {
		failure.Hint = credential.Hint(r.side, r.name, r.credential, credential.Refusal{Status: denied.Status})
		failure.Status = denied.Status
	}
	return failure
}

// said reports whether an Error says it already. What was cut short may hold one of
// its last attempt alone.
func said(err error) bool {
	var e *Error
	var over retry.InterruptedError
	if errors.As(err, new(retry.SiblingError)) {
		return true
	}
	return errors.As(err, &e) && (!errors.As(err, &over) || errors.As(e.Err, &over))
}

// refuse makes an Error of an answer that is not what was asked for.
func (r *Repository) refuse(op, ref string, a *wire.Answer) error { return r.refusal(op, ref, a) }

func (r *Repository) refusal(op, ref string, a *wire.Answer) *Error {
	e := &Error{Op: op, Side: r.side, Ref: r.ref(ref), Status: a.Status, Unanswered: a.Unanswered}
	e.Code, e.Detail = a.Diagnosis()
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden ||
		(e.Status == http.StatusNotFound && e.Code == string(transport.NameUnknownErrorCode) && op != opWriteManifest) {
		e.Hint = credential.Hint(r.side, r.name, r.credential, credential.Refusal{Status: e.Status, LoggedIn: a.LoggedIn})
	}
	if wait := wire.RetryAfter(a.Status, a.Header); wire.IsTemporary(a.Status) && wait > r.session.host.MaxThrottle() {
		e.Hint = credential.LimitHint(r.side, r.name, r.credential, roughly(wait))
	}
	return e
}

func (r *Repository) ref(ref string) string {
	if ref == "" {
		return r.Name()
	}
	return r.Reference(ref)
}

// roughly is a duration of minutes or more in words that are read at a glance.
func roughly(d time.Duration) string {
	if d >= wire.MaxRetryAfter {
		return "a day or more"
	}
	d = d.Round(time.Minute)
	hours, minutes := int(d.Hours()), int(d.Minutes())%60
	switch {
	case hours == 0:
		return fmt.Sprintf("%d min", minutes)
	case minutes == 0:
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d h %d min", hours, minutes)
}

// Cut shortens untrusted text to at most n bytes of whole characters.
func Cut(text string, n int) string { return wire.Cut(text, n) }

// Original returns the failure that ended what err is of, where it was ended by something
// beside it; else err itself. It is for who asked for all of it: to any one of them that
// failure is no answer.
func Original(err error) error { return retry.Original(err) }
