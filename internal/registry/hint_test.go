package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// TestAdvice is short on its first line, which is all that a chat shows, and says what to
// do after it. Where another run does not help it does not send anybody to make one.
func TestAdvice(t *testing.T) {
	t.Parallel()
	const at = "registry.europe.example:5000/acme/app"
	of := func(status int, code, op string) *Error {
		return &Error{Op: op, Ref: at + ":v1", Status: status, Code: code}
	}
	failed := func(err error) *Error { return &Error{Op: "read manifest", Ref: at, Err: err} }
	immutable := of(412, "PRECONDITION", opWriteManifest)
	immutable.immutable = true
	for _, test := range []struct {
		err     *Error
		says    string
		passing bool // another run may help
	}{
		{immutable, "Exclude v1 from the rule", false},
		{of(400, "TAG_INVALID", opWriteManifest), "immutable", false},
		{of(412, "PROJECTPOLICYVIOLATION", "read manifest"), "policy", true},
		{of(412, "", "read manifest"), "policy", true},
		{of(429, "TOOMANYREQUESTS", "read manifest"), "lower the input concurrency", true},
		{of(400, "MANIFEST_BLOB_UNKNOWN", opWriteManifest), "clean-up", false},
		{of(500, "MANIFEST_BLOB_UNKNOWN", opWriteManifest), "foreign layers", false},
		{of(400, "MANIFEST_INVALID", opWriteManifest), "attachments: none", false},
		{of(500, "UNKNOWN", opWriteManifest), "in trouble", true},
		{of(404, "NOT_FOUND", opWriteManifest), "replicas", true},
		{of(404, "BLOB_UNKNOWN", "read blob"), "", false},
		{of(404, "MANIFEST_UNKNOWN", "read manifest"), "spelling", false},
		{of(302, "", "read manifest"), "login page", false},
		{of(418, "", "read manifest"), "reason of its own", false},
		{failed(fmt.Errorf("%w: x", wire.ErrPage)), "login page", false},
		{failed(wire.Refusal("x")), "external address", false},
		{failed(&auth.Error{}), "token service", true},
		{failed(ErrTooLarge), "another service", false},
		{failed(ErrMismatch), "push the image there again", false},
		{failed(x509.UnknownAuthorityError{}), "ca-certificates", false},
		{failed(&net.DNSError{}), "spelling", false},
		{failed(tls.RecordHeaderError{}), "https", false},
		{failed(http.ErrSchemeMismatch), "https", false},
		{failed(syscall.ECONNREFUSED), "runs", false},
		{failed(wire.ErrStalled), "overloaded", true},
		{failed(errors.New("x")), "cannot be used", true},
	} {
		hint := HintOf(test.err)
		first, rest, more := strings.Cut(hint, "\n")
		if len(first) > 119 || !more || rest == "" {
			t.Errorf("%v: the first line has %d characters, the rest is %q: %s", test.err, len(first), rest, first)
		}
		if !strings.Contains(hint, test.says) {
			t.Errorf("%v: %q does not say %q", test.err, hint, test.says)
		}
		if again := strings.Contains(hint, "run the promotion again"); again != test.passing {
			t.Errorf("%v: another run %v: %s", test.err, again, hint)
		}
		if test.err.Op == opWriteManifest && strings.Contains(hint, "spelling") {
			t.Errorf("%v: what was just written is no typo", test.err)
		}
	}
	if hint := HintOf(failed(context.Canceled)); hint != "" {
		t.Errorf("advice on what was ended: %s", hint)
	}
}
