package promote_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestRecord: where the ledger cannot be written, nothing moves if the record is required, and a notice says so if it is
// optional. Without a record no ledger is written at all.
func TestRecord(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		record promote.Recording
		want   document.Result
		says   string // in a fault or a notice
		holds  string
	}{
		{"", document.Failed, "cannot write the promotion record; no tag was moved", "a"},
		{promote.RecordRequired, document.Failed, "cannot write the promotion record; no tag was moved", "a"},
		{promote.RecordOptional, document.Promoted, "is not recorded", "b"},
		{promote.RecordNone, document.Promoted, "", "b"},
	} {
		for _, first := range []bool{true, false} {
			t.Run(string(test.record)+map[bool]string{true: ", the first", false: ", a later one"}[first], func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, regtest.Options{})
				if first {
					s.hand("production", "a")
				} else {
					s.promoted("a")
				}
				s.target.ResetRequests()
				s.refuse(http.StatusForbidden, noLedger)
				r := s.bring("b")
				r.Record = test.record
				d := run(t, r)
				expect(t, d, test.want)
				s.expectHolds("production", test.holds)
				if test.want == document.Failed {
					faulted(t, d, test.want, test.says)
				} else if test.says != "" && !told(d, test.says) {
					t.Errorf("notices %q", d.Notices)
				}
				if tried := strings.Contains(strings.Join(writes(s.target), "\n"), "promotion-ledger"); tried != (test.record != promote.RecordNone) {
					t.Errorf("the ledger was to be written: %v", tried)
				}
				if copied := s.holds(s.image("b").Root) != ""; first && copied != (test.want == document.Promoted) {
					t.Errorf("the image was copied: %v", copied)
				}
			})
		}
	}
}

// TestLedgerHeads: the report has the digests of the ledger's heads as the run left them, also of one that changed nothing,
// that failed, and that looked only.
func TestLedgerHeads(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	heads := func(what string, d document.Report) {
		t.Helper()
		want := ledgerTags("env", "production")
		got := strings.Join(d.Promotions[0].LedgerHeads, " ")
		if got == "" || got != s.holds(want[0])+" "+s.holds(want[1]) {
			t.Errorf("%s: heads %q, and the tags hold %s and %s", what, got, s.holds(want[0]), s.holds(want[1]))
		}
	}
	heads("the first", s.promoted("a"))
	heads("a second", s.promoted("b"))
	heads("nothing to do", run(t, s.bring("b")))
	back := s.back("")
	d := run(t, back)
	expect(t, d, document.RolledBack)
	heads("a rollback", d)
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/production"))
	d = run(t, s.bring("c"))
	expect(t, d, document.Failed)
	heads("a failure", d)
	none := s.bring("c", "other")
	none.Record, none.TargetEnv = promote.RecordNone, ""
	if d := run(t, none); len(d.Promotions[0].LedgerHeads) > 0 {
		t.Errorf("without a record: heads %q", d.Promotions[0].LedgerHeads)
	}
}
