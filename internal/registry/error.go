package registry

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Kinds of an [Error] for errors.Is, which compares the status and the protocol's error code,
// never text.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("access denied") // 401 or 403
	ErrTagImmutable = errors.New("tag cannot be changed")
	ErrPolicy       = errors.New("forbidden by a policy of the registry") // such as pulling an image with vulnerabilities
	ErrUnsupported  = errors.New("not supported by the registry")
	ErrTooLarge     = wire.ErrTooLarge
	ErrMismatch     = wire.ErrMismatch
	// ErrUnclear says that a registry answered neither that it has a blob nor that it
	// lacks it.
	ErrUnclear = errors.New("the registry does not say whether it has the blob")
)

// Error says which operation failed at which side and reference, what the registry answered,
// and what to do.
type Error struct {
	Op     string // "read manifest"
	Side   credential.Side
	Ref    string // repository, with tag or digest where there is one
	Status int    // of the registry's answer; 0: there was none
	Code   string // the protocol's error code, if it gave one
	Detail string // the registry's message, cut short; untrusted
	Hint   string // what to do; may have several lines
	Err    error  // the cause, if there was no answer
	// Unanswered says that an earlier attempt got no answer: its write may still take effect.
	Unanswered bool

	by        string // who answered in the registry's place; empty: the registry itself
	immutable bool   // the tag exists, and the registry refused to change it
	unclear   bool   // ErrUnclear
	throttled bool   // for longer than a run waits
	missing   bool   // a refusal that is assumed to mean "not found" (see creation)
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s at the %s %s", e.Op, e.Side, e.Ref)
	if e.Err != nil {
		return text + ": " + wire.Cut(strings.ReplaceAll(e.Err.Error(), "\n", "; "), 1000) // net/http quotes untrusted headers in full
	}
	if e.immutable {
		return text + ": the tag is immutable: the registry answered " + wire.Quote(e.Status, e.Code, e.Detail)
	}
	if e.Status != 0 {
		return text + ": " + cmp.Or(e.by, "the registry") + " answered " + wire.Quote(e.Status, e.Code, e.Detail)
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

// isPolicy reports whether a policy of the registry forbids the operation, which is pulling an
// image in most cases (harbor#19408, harbor#15885: 412, for manifests too).
func (e *Error) isPolicy() bool {
	return e.Status == http.StatusPreconditionFailed && e.Op != opWriteManifest || e.Code == "PROJECTPOLICYVIOLATION"
}

// IsRefusal reports whether the registry gave an answer that a retry does not change.
func IsRefusal(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status != 0 && (e.throttled || !wire.IsTemporary(e.Status))
}

// IsMissingContent reports whether a manifest was refused because the registry lacks content that it
// names. That may pass where replicas lag behind, and does where the content is stored again.
func IsMissingContent(err error) bool {
	var refused *Error
	if errors.As(err, &refused) && isMissingContent(refused.Code) {
		return true
	}
	a := retry.AnswerOf(err)
	if a == nil {
		return false
	}
	code, _ := a.Diagnosis()
	return isMissingContent(code)
}

// fail makes an Error of a cause. It returns err itself if that names an operation already.
func (r *Repository) fail(op, ref string, err error) error {
	if err == nil || namesOperation(err) {
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

// namesOperation reports whether an error contains an Error for the operation that failed. In
// an interrupted operation, the only Error may be that of its last attempt.
func namesOperation(err error) bool {
	var e *Error
	var interrupted retry.InterruptedError
	if errors.As(err, new(retry.SiblingError)) {
		return true
	}
	return errors.As(err, &e) && (!errors.As(err, &interrupted) || errors.As(e.Err, &interrupted))
}

// refuse makes an Error of an answer.
func (r *Repository) refuse(op, ref string, a *wire.Answer) error { return r.refusal(op, ref, a) }

func (r *Repository) refusal(op, ref string, a *wire.Answer) *Error {
	e := &Error{Op: op, Side: r.side, Ref: r.ref(ref), Status: a.Status, Unanswered: a.Unanswered, by: a.By}
	e.Code, e.Detail = a.Diagnosis()
	denied := e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden ||
		(e.Status == http.StatusNotFound && e.Code == string(transport.NameUnknownErrorCode) && op != opWriteManifest)
	if denied && e.by == "" { // no other host gets the credential
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

// roughly rounds a duration of minutes or more for a message.
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

// Original returns the failure of the sibling that interrupted an operation, or err itself if
// no sibling did. Only the caller that started all siblings should use it: for a single
// operation, the failure of another one is not an answer.
func Original(err error) error { return retry.Original(err) }
