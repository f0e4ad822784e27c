package promote_test

import (
	"net/http"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestTimeBoundGates: a freeze that began while a run was interrupted keeps its later attempt from nothing. Another run is
// held to it, and so is a later attempt of a run that failed before it had moved anything.
func TestTimeBoundGates(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ended bool // the ledger says how the first attempt ended
		other bool // it is another run
		want  document.Result
	}{
		"the same run, interrupted":  {want: document.Promoted},
		"another run":                {other: true, want: document.Denied},
		"the same run, which failed": {ended: true, want: document.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, regtest.Options{})
			s.promoted("a", "production", "latest")
			r := s.bring("b", "production", "latest")
			freeze, err := gate.ParseWindow("sun 17:00", "mon 08:00", "UTC", "weekend") // half an hour after it
			if err != nil {
				t.Fatal(err)
			}
			r.Gates = &promote.Gates{Policy: gate.Policy{Freeze: []gate.Window{freeze}}}
			ledgers := 0
			s.refuse(http.StatusForbidden, func(q *http.Request) bool {
				if noLedger(q) {
					ledgers++
				}
				return on(http.MethodPut, "/manifests/latest")(q) || noLedger(q) && ledgers > 1 && !test.ended
			})
			expect(t, run(t, r), document.Failed)
			s.refuse(0, nil)
			next := again(r)
			if test.other {
				next = s.bring("b", "production", "latest")
				next.Gates = r.Gates
			}
			expect(t, run(t, next), test.want)
		})
	}
}
