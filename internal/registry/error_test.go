package registry

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// A run that is ended says which operation it ended, whatever the last attempt said.
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
		{retry.ExhaustedError{Err: retry.InterruptedError{Err: fmt.Errorf("%w; the last attempt failed: %w", errTimeUp, inner)}},
			"write blob at the target " + r.Name() + ": " + errTimeUp.Error() + "; the last attempt failed: read blob at the source there: " + wire.ErrHungUp.Error()},
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

// TestBeside: who is cut short by another's failure tells that, with what to do
// about it, and does not take it for an answer of its own.
func TestBeside(t *testing.T) {
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
