package promote_test

import (
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// gated is a promotion of the image of that name to an environment of a config that sets no gates.
func (s *works) gated(name string, overrides ...string) promote.Request {
	r := s.bring(name)
	r.Gates = &promote.Gates{Overridable: []string{gate.RolledBack}, Overrides: overrides}
	if len(overrides) > 0 {
		r.Reason = "INC-2"
	}
	return r
}

// onHold expects that an image is denied because the environment was rolled back from it, and that the run writes nothing.
func (s *works) onHold(name string) {
	s.Helper()
	s.target.ResetRequests()
	d := run(s, s.gated(name))
	expect(s, d, document.Denied)
	for _, v := range d.Promotions[0].Gates {
		if v.Gate != gate.RolledBack || v.Status != document.Fail || !strings.Contains(v.Message, `by "jane": "INC-1"`) {
			s.Errorf("verdict %+v", v)
		}
	}
	if len(d.Promotions[0].Gates) != 1 {
		s.Errorf("verdicts %+v", d.Promotions[0].Gates)
	}
	untouched(s, s.target)
}

// TestRolledBack: what an environment was rolled back from is denied there until somebody overrides that, whatever else was
// promoted since. Other images are not.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	for _, name := range []string{"a", "b"} {
		expect(t, run(t, s.gated(name)), document.Promoted)
	}
	back := s.back("")
	back.Gates = &promote.Gates{}
	expect(t, run(t, back), document.RolledBack)
	s.onHold("b")
	planned := s.gated("b")
	planned.Mode, planned.ValidFor = promote.Plan, time.Hour
	d := run(t, planned)
	faulted(t, d, document.Denied, "rolled back from this image")
	if v := verdict(t, d, gate.RolledBack); v.Status != document.Fail {
		t.Errorf("a plan says %+v", v)
	}
	planned.Gates.Overrides, planned.Reason = []string{gate.RolledBack}, "INC-2"
	d = run(t, planned)
	expect(t, d, document.Planned)
	if v := verdict(t, d, gate.RolledBack); !v.Overridden || d.Plan.Promotions[0].Gates[0].Gate != gate.RolledBack {
		t.Errorf("a plan that overrides it says %+v", v)
	}
	expect(t, run(t, s.gated("c")), document.Promoted)
	s.onHold("b")
	s.expectHolds("production", "c")

	forth := s.back(s.image("b").Root)
	forth.Gates, forth.DryRun = &promote.Gates{}, true
	if d := run(t, forth); len(d.Promotions) != 1 || len(d.Promotions[0].Gates) > 0 {
		t.Errorf("a rollback is held to the gate: %+v", d.Promotions)
	}
	d = run(t, s.gated("b", gate.RolledBack))
	expect(t, d, document.Promoted)
	if len(d.Overrides) != 1 || !d.Promotions[0].Gates[0].Overridden {
		t.Errorf("overrides %q, verdicts %+v", d.Overrides, d.Promotions[0].Gates)
	}
	expect(t, run(t, s.gated("c")), document.Promoted)
	expect(t, run(t, s.gated("b")), document.Promoted) // it has been there since
}

// TestRolledBack_InASegment: the gate asks the ledger's segments too.
func TestRolledBack_InASegment(t *testing.T) {
	t.Parallel()
	long(t)
	s := newWorks(t, regtest.Options{})
	s.promoted("a")
	s.promoted("b")
	expect(t, run(t, s.back("")), document.RolledBack)
	for n := range 85 {
		s.promoted([]string{"c", "d"}[n%2])
	}
	if s.holds("promotion-ledger.env.production.1") == "" || len(s.rows()) > 80 {
		t.Fatal("the rollback is in no segment")
	}
	s.onHold("b")
}
