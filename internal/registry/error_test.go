package registry

import (
	"errors"
	"fmt"
	"testing"
)

// A run that is ended says which operation it ended, whatever the last attempt said.
func TestEndNamesTheOperation(t *testing.T) {
	t.Parallel()
	reg := serve(t, nil)
	r := target(t, reg, "acme/app")
	inner := &Error{Op: "read blob", Side: "source", Ref: "there", Err: errHungUp}
	for _, test := range []struct {
		err  error
		want string
	}{
		{cutShort{errTimeUp}, "write blob at the target " + r.Name() + ": " + errTimeUp.Error()},
		{spent{cutShort{fmt.Errorf("%w; the last attempt failed: %w", errTimeUp, inner)}},
			"write blob at the target " + r.Name() + ": " + errTimeUp.Error() + "; the last attempt failed: read blob at the source there: " + errHungUp.Error()},
		{sourceError{&Error{Op: "read blob", Side: "source", Ref: "there", Err: spent{cutShort{errTimeUp}}}}, "read blob at the source there: " + errTimeUp.Error()},
		{inner, "read blob at the source there: " + errHungUp.Error()},
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
