package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// The error of an interrupted run names the interrupted operation, and the last attempt.
func TestEndNamesTheOperation(t *testing.T) {
	t.Parallel()
	reg := serve(t, nil)
	r := target(t, reg, "acme/app")
	inner := &Error{Op: "read blob", Side: "source", Ref: "there", Err: wire.ErrHungUp}
	for _, test := range []struct {
		err  error
		want string
	}{
		{retry.InterruptedError{Err: errTimeUp}, "write blob at the target " + r.Name() + ": " + errTimeUp.Error()},
		{retry.ExhaustedError{Err: retry.InterruptedError{Err: fmt.Errorf("%w; last attempt: %w", errTimeUp, inner)}},
			"write blob at the target " + r.Name() + ": " + errTimeUp.Error() + "; last attempt: read blob at the source there: " + wire.ErrHungUp.Error()},
		{sourceError{&Error{Op: "read blob", Side: "source", Ref: "there", Err: retry.ExhaustedError{Err: retry.InterruptedError{Err: errTimeUp}}}}, "read blob at the source there: " + errTimeUp.Error()},
		{inner, "read blob at the source there: " + wire.ErrHungUp.Error()},
	} {
		err := r.fail("write blob", "", test.err)
		if err.Error() != test.want {
			t.Errorf("it says %q, want %q", err, test.want)
		}
		if ended := errors.Is(err, errTimeUp); ended && HintOf(err) != "" {
			t.Errorf("hint %q for a run that was ended", HintOf(err))
		}
	}
}

// An operation that a sibling's failure canceled reports that failure and its hint, but the failure
// is not an answer to the operation.
func TestSiblingFailure(t *testing.T) {
	missing := &Error{Op: "read manifest", Side: "source", Ref: "there", Status: 404, Hint: "Look for it."}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(missing)
	p := retry.New(wire.NewHost("127.0.0.1:5000", 1, wire.DefaultRetryFor))
	err := p.Interrupted(ctx, context.Canceled)
	if errors.Is(err, ErrNotFound) {
		t.Error("another's answer passes for its own")
	}
	if err.Error() != missing.Error() || HintOf(err) != missing.Hint {
		t.Errorf("error %v, hint %q", err, HintOf(err))
	}
}

func TestOriginal(t *testing.T) {
	failure := &Error{Op: "read blob", Side: "source", Ref: "there", Status: http.StatusNotFound}
	plain := errors.New("plain")
	sibling := retry.SiblingError{Failure: failure}
	for name, test := range map[string]struct{ err, want error }{
		"nothing":                    {nil, nil},
		"no sibling":                 {plain, plain},
		"an Error":                   {failure, failure},
		"a sibling":                  {sibling, failure},
		"a sibling, wrapped":         {fmt.Errorf("verify: %w", sibling), failure},
		"a sibling of an operation":  {&Error{Op: "write blob", Err: sibling}, failure},
		"a sibling's sibling":        {retry.SiblingError{Failure: fmt.Errorf("verify: %w", sibling)}, failure},
		"a sibling without an Error": {retry.SiblingError{Failure: plain}, plain},
	} {
		if got := Original(test.err); got != test.want { //nolint:errorlint // the very same
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	if errors.Is(sibling, ErrNotFound) || !errors.Is(Original(sibling), ErrNotFound) {
		t.Error("only the original says what was not found")
	}
}
