package promote_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// noLedger matches the writing of a ledger.
func noLedger(q *http.Request) bool {
	return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-ledger")
}

// TestUnrecorded: the tags have moved and the line could not be written. A rerun writes it, and so does the next run.
func TestUnrecorded(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprint(status, " the first: ", first), func(t *testing.T) {
					t.Parallel()
					s := newWorks(t, o)
					var before []string
					if !first {
						s.promoted("z")
						before = []string{"z promoted"}
					}
					s.refuse(status, noLedger)
					r := s.bring("a", "production", dated)
					d := runWith(t, t.Context(), impatient(), r, &watcher{})
					if d.Result != document.Unrecorded || d.Result.ExitCode() != 1 || len(d.Faults) != 1 || !strings.Contains(d.Faults[0].Hint, "Run it again") {
						t.Errorf("result %s, %+v", d.Result, d.Faults)
					}
					if p := d.Promotions[0]; p.Record == "" || p.Recorded {
						t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
					}
					s.expectHolds("production", "a")
					s.expectHolds("release-20261122-"+r.Started.Format("150405"), "a")
					s.expectOutcomes(before...)
					s.refuse(0, nil)

					s.target.ResetRequests()
					d = run(t, again(r))
					expect(t, d, document.Unchanged)
					s.expectOutcomes(append(before, "a promoted")...)
					s.expectRecords(len(before) + 1)
					if got := reservedWrites(s.target); !slices.Equal(got, []string{"ledger"}) {
						t.Errorf("written %q", got)
					}
					if p := d.Promotions[0]; p.Record != s.rows()[len(before)].record || !p.Recorded {
						t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
					}
				})
			}
		}
		t.Run("the next promotion writes it", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuse(http.StatusForbidden, noLedger)
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			d := s.promoted("b")
			s.expectOutcomes("z promoted", "a promoted", "b promoted")
			if !told(d, "did not list every record") {
				t.Errorf("told %q", d.Notices)
			}
			p := s.papers()
			if p[2].says["previousRecord"] != p[1].digest || p[1].says["previousRecord"] != p[0].digest {
				t.Error("the chain is broken")
			}
		})
		t.Run("a rollback writes it", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuse(http.StatusForbidden, noLedger)
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			expect(t, run(t, s.back("")), document.RolledBack)
			s.expectHolds("production", "z")
			s.expectOutcomes("z promoted", "a promoted", "z rolled-back")
		})
		t.Run("of a rollback", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("y")
			s.promoted("z")
			s.promoted("a")
			s.refuse(http.StatusForbidden, noLedger)
			r := s.back("", "production", dated)
			expectUnrecorded(t, run(t, r))
			s.expectHolds("production", "z")
			s.refuse(0, nil)
			expect(t, run(t, again(r)), document.Unchanged)
			s.expectHolds("production", "z")
			s.expectOutcomes("y promoted", "z promoted", "a promoted", "z rolled-back")
			s.expectRecords(4)
		})
	})
}

func expectUnrecorded(t testing.TB, d document.Report) {
	t.Helper()
	if d.Result != document.Unrecorded || len(d.Faults) == 0 {
		t.Errorf("result %s, want unrecorded: %+v", d.Result, d.Faults)
	}
}

// TestLedgerThatCannotBeChanged: its tag can be written once, and all is recorded nevertheless.
func TestLedgerThatCannotBeChanged(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, frozen := range map[string][]string{
			"the ledger": {"promotion-ledger"},
			"all of it":  {"promotion-ledger", "promotion-record", "sha256-", "release-"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				o := o
				o.Immutable = func(_, tag string) bool {
					return slices.ContainsFunc(frozen, func(prefix string) bool { return strings.HasPrefix(tag, prefix) })
				}
				s := newWorks(t, o)
				var want []string
				for n, name := range []string{"a", "b", "c", "a", "e"} {
					d := s.promoted(name, "production", dated)
					want = append([]string{name + " promoted"}, want...)
					if got := told(d, "promotion-ledger*"); got != (n > 0) {
						t.Errorf("promotion %d: told %q", n, d.Notices)
					}
				}
				s.expectStory(want...)
				expect(t, run(t, s.back("", "production", dated)), document.RolledBack)
				s.expectHolds("production", "a")
				s.expectStory(append([]string{"a rolled-back"}, want...)...)
			})
		}
	})
}

// TestFailedAttempt that moved a tag stands in the ledger, and counts for nothing.
func TestFailedAttempt(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a", "production", "latest")
		s.promoted("b", "production", "latest")
		s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
		r := s.bring("c", "production", "latest")
		d := run(t, r)
		faulted(t, d, document.Failed, "latest")
		expectTag(t, d, ":production", document.TagPutBack, s.image("b").Root, s.image("b").Root)
		s.expectOutcomes("a promoted", "b promoted", "c failed")
		s.expectFiled(s.papers()[2], d, o.Referrers)
		s.expectStory("c failed", "b promoted", "a promoted")
		s.refuse(0, nil)
		expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
		s.expectHolds("production", "a")
		s.expectHolds("latest", "a")
		s.expectOutcomes("a promoted", "b promoted", "c failed", "a rolled-back")
	})
}

// TestRecordWithoutAMove: a run that ended between its record and its tags, however it did, counts for nothing.
func TestRecordWithoutAMove(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		s.promoted("b")
		recorded := false
		s.mu.Lock()
		s.strike = func(q *http.Request) int { // nothing answers once the record is written: as if the run were killed
			was := recorded
			recorded = recorded || q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-record-")
			if was && q.Method == http.MethodPut && !strings.Contains(q.URL.Path, "/manifests/sha256-") {
				return http.StatusForbidden
			}
			return 0
		}
		s.mu.Unlock()
		expect(t, run(t, s.bring("c")), document.Failed)
		s.refuse(0, nil)
		s.expectHolds("production", "b")
		s.expectOutcomes("a promoted", "b promoted")
		s.expectRecords(3)
		s.expectStory("b promoted", "a promoted")
		if h := s.historyOf(); h.LeftOut != 1 {
			t.Errorf("%d left out", h.LeftOut)
		}
		expect(t, run(t, s.back("")), document.RolledBack)
		s.expectHolds("production", "a")
		s.expectStory("a rolled-back", "b promoted", "a promoted")
		s.expectOutcomes("a promoted", "b promoted", "c unconfirmed", "a rolled-back")
		s.promoted("d")
		s.expectStory("d promoted", "a rolled-back", "b promoted", "a promoted")
	})
}

// TestLedgerThatCannotBeReadAgain: the run that took long reads it once more before the tags move. Where that fails,
// nothing moves, and what was read before says what became of the record.
func TestLedgerThatCannotBeReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var recorded, refuse atomic.Bool
		f := newFar(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-record-"):
					recorded.Store(true)
				case q.Method == http.MethodGet && recorded.Load() && !refuse.Load() && strings.Contains(q.URL.Path, "/acme/app/manifests/sha256:"):
					time.Sleep(5 * time.Second) // verification takes its time
					refuse.Store(true)
				case q.Method == http.MethodGet && refuse.Load() && strings.HasSuffix(q.URL.Path, "/manifests/promotion-ledger-production"):
					w.WriteHeader(http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, q)
			})
		})}, false)
		f.push(picture("a"), "acme/dev", "a")
		r := requestOf(item(t, f.at.Host()+"/acme/dev:a", f.at.Host()+"/acme/app:production"))
		r.TargetEnv = "production"
		faulted(t, runWith(t, t.Context(), f.client(), r, &watcher{}), document.Failed, "the record could not be written, so nothing has moved")
		if !refuse.Load() {
			t.Error("the ledger was not read again")
		}
		if held := holds(t, f.at, "acme/app", "production"); held != "" {
			t.Errorf("the tag holds %s", held)
		}
	})
}

// TestUnrecorded_SlowNextRun: a run that takes long reads the ledger again before the tags move, and looks again for
// records that no line names. What its first look found is said nevertheless.
func TestUnrecorded_SlowNextRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuse, slow atomic.Bool
		f := newFar(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case refuse.Load() && noLedger(q):
					w.WriteHeader(http.StatusForbidden)
					return
				case q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-record-") && slow.Load():
					time.Sleep(5 * time.Second) // longer than a ledger that was read is believed
				}
				next.ServeHTTP(w, q)
			})
		})}, false)
		promoted := func(n int, name string) document.Report {
			f.push(picture(name), "acme/dev", name)
			r := requestOf(item(t, f.at.Host()+"/acme/dev:"+name, f.at.Host()+"/acme/app:production"))
			r.TargetEnv, r.Started = "production", r.Started.Add(time.Duration(n)*time.Hour)
			r.Job = document.Job{RunID: fmt.Sprint(1000 + n), Attempt: "1"}
			return runWith(t, t.Context(), f.client(), r, &watcher{})
		}
		expect(t, promoted(1, "z"), document.Promoted)
		refuse.Store(true)
		expectUnrecorded(t, promoted(2, "a"))
		refuse.Store(false)
		slow.Store(true)
		d := promoted(3, "b")
		expect(t, d, document.Promoted)
		if !told(d, "did not list every record") {
			t.Errorf("told %q", d.Notices)
		}
	})
}
