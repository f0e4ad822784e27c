package promote

import (
	"errors"
	"slices"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

// The first fault of a run that ended early has the cause and the interrupted operation, and
// its hint. Faults that only repeat the cause are left out.
func TestEnded(t *testing.T) {
	t.Parallel()
	const again = "Run the promotion again: blobs that were copied are not sent again."
	reading := document.Fault{Message: "read manifest at the source x: the run was canceled; last attempt: the registry answered 503"}
	writing := document.Fault{Message: "write blob at the target x: the run was canceled"}
	other := document.Fault{Message: "the tag cannot be read", Hint: "Check it."}
	for name, test := range map[string]struct{ faults, want []document.Fault }{
		"no fault names an operation": {
			[]document.Fault{{Message: "the run was canceled"}}, []document.Fault{{Message: "the run was canceled", Hint: again}},
		},
		"no fault": {nil, []document.Fault{{Message: "the run was canceled", Hint: again}}},
		"a fault with the last attempt": {
			[]document.Fault{other, reading, writing}, []document.Fault{{Message: reading.Message, Hint: again}, other},
		},
		"a fault with a hint of its own": {
			[]document.Fault{{Message: writing.Message, Hint: "Delete it."}}, []document.Fault{{Message: writing.Message, Hint: "Delete it."}},
		},
		"another fault alone": {[]document.Fault{other}, []document.Fault{{Message: "the run was canceled", Hint: again}, other}},
	} {
		if got := ended(test.faults, errors.New("the run was canceled")); !slices.Equal(got, test.want) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
}
