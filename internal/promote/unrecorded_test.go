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

// refuseOutcome answers the writing of the ledger with the status, from when a tag has moved until the next call of refuse.
func (s *works) refuseOutcome(status int, tag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	moved := false
	s.strike = func(q *http.Request) int {
		moved = moved || on(http.MethodPut, "/manifests/"+tag)(q)
		if moved && noLedger(q) {
			return status
		}
		return 0
	}
}

// TestUnrecorded: the tags have moved and the outcome could not be written. A rerun writes it.
func TestUnrecorded(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprint("the first: ", first), func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, o)
				var before []string
				if !first {
					s.promoted("z")
					before = []string{"z promoted"}
				}
				s.refuseOutcome(http.StatusForbidden, "production")
				r := s.bring("a", "production", dated)
				d := run(t, r)
				expectUnrecorded(t, d)
				if d.Result.ExitCode() != 1 || len(d.Faults) != 1 || !strings.Contains(d.Faults[0].Hint, "Run it again") {
					t.Errorf("faults %+v", d.Faults)
				}
				if p := d.Promotions[0]; p.Record == "" || p.Recorded {
					t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
				}
				s.expectHolds("production", "a")
				s.expectHolds("release-20261122-"+r.Started.Format("150405"), "a")
				s.expectOutcomes(append(before, "a pending")...)
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
				if !told(d, "did not say how a promotion of "+s.image("a").Root+" had ended; it says now: promoted") {
					t.Errorf("told %q", d.Notices)
				}
			})
		}
		t.Run("a later run of the same", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.refuseOutcome(http.StatusForbidden, "production")
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			d := run(t, s.bring("a"))
			expect(t, d, document.Unchanged)
			s.expectOutcomes("a promoted")
			if e := s.rows()[0]; e.outcome.By != "https://github.com/acme/app/actions/runs/1002" || d.Promotions[0].Record != e.record || !d.Promotions[0].Recorded {
				t.Errorf("the entry says %+v, the report %q", e.outcome, d.Promotions[0].Record)
			}
		})
		t.Run("the next promotion writes it", func(t *testing.T) {
			long(t)
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuseOutcome(http.StatusForbidden, "production")
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			d := s.promoted("b")
			s.expectOutcomes("z promoted", "a promoted", "b promoted")
			if !told(d, "did not say how a promotion of "+s.image("a").Root+" had ended; it says now: promoted") {
				t.Errorf("told %q", d.Notices)
			}
			p := s.papers()
			if p[2].says["previousRecord"] != p[1].digest || p[1].says["previousRecord"] != p[0].digest {
				t.Error("the chain is broken")
			}
		})
		t.Run("a rollback writes it", func(t *testing.T) {
			long(t)
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuseOutcome(http.StatusForbidden, "production")
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
			s.refuseOutcome(http.StatusForbidden, "production")
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

// TestUnrecorded_Broken: a registry that fails in answer to every write of the outcome is asked again for a while, and what
// it then holds is written by the next run.
func TestUnrecorded_Broken(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		var moved, mended atomic.Bool
		target := regtest.Serve(t, regtest.Options{Memory: m, Wrap: forUs(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if moved.Store(moved.Load() || on(http.MethodPut, "/manifests/production")(q)); moved.Load() && !mended.Load() && noLedger(q) {
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				next.ServeHTTP(w, q)
			})
		})})
		push(t, plain("a"), target, "acme/app", "dev")
		r := request(t, target.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
		r.TargetEnv = "production"
		expectUnrecorded(t, runWith(t, t.Context(), at(target), r, &watcher{}))
		mended.Store(true)
		d := runWith(t, t.Context(), at(target), r, &watcher{})
		expect(t, d, document.Unchanged)
		if all := rows(t, target, "prod/app", "production"); len(all) != 1 || all[0].outcome.State != "promoted" || !told(d, "Another run is promoting") {
			t.Errorf("entries %v, told %q", all, d.Notices)
		}
	})
}

// TestLedgerThatCannotBeChanged: its tag can be written once, and all is recorded nevertheless.
func TestLedgerThatCannotBeChanged(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, frozen := range map[string][]string{
			"the ledger": {"promotion-ledger"},
			"all of it":  {"promotion-ledger", "promotion-keep", "sha256-", "release-"},
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
					if p := d.Promotions[0]; p.Record == "" || !p.Recorded {
						t.Errorf("promotion %d: record %q, recorded %v", n, p.Record, p.Recorded)
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
		p := s.papers()[2]
		if got := d.Promotions[0]; got.Record != p.digest || got.Recorded || p.subject != s.image("c").Root {
			t.Errorf("the report names the record %q, recorded %v; want %s of %s", got.Record, got.Recorded, p.digest, p.subject)
		}
		if held := p.entry.outcome.Held; held["production"] != s.image("b").Root || held["latest"] != s.image("b").Root {
			t.Errorf("the entry says that the tags held %v", held)
		}
		s.expectStory("c failed", "b promoted", "a promoted")
		s.refuse(0, nil)
		expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
		s.expectHolds("production", "a")
		s.expectHolds("latest", "a")
		s.expectOutcomes("a promoted", "b promoted", "c failed", "a rolled-back")
	})
}

// TestRecordWithoutAMove: a run that ended between its entry and its tags, however it did, counts for nothing.
func TestRecordWithoutAMove(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		s.promoted("b")
		recorded := false
		s.mu.Lock()
		s.strike = func(q *http.Request) int { // nothing is written once the entry is: as if the run were killed
			was := recorded
			recorded = recorded || noLedger(q)
			if was && q.Method == http.MethodPut {
				return http.StatusForbidden
			}
			return 0
		}
		s.mu.Unlock()
		expect(t, run(t, s.bring("c")), document.Failed)
		s.refuse(0, nil)
		s.expectHolds("production", "b")
		s.expectOutcomes("a promoted", "b promoted", "c pending")
		s.expectRecords(3)
		s.expectStory("c pending", "b promoted", "a promoted")
		d := run(t, s.back(""))
		expect(t, d, document.RolledBack)
		if !told(d, "it says now: failed") {
			t.Errorf("told %q", d.Notices)
		}
		s.expectHolds("production", "a")
		s.expectStory("a rolled-back", "c failed", "b promoted", "a promoted")
		s.promoted("d")
		s.expectStory("d promoted", "a rolled-back", "c failed", "b promoted", "a promoted")
	})
}

// TestLedgerThatCannotBeReadAgain: the run that took long reads it once more before the tags move. Where that fails,
// nothing moves.
func TestLedgerThatCannotBeReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuse atomic.Bool
		f := newFar(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/acme/app/manifests/sha256:"):
					time.Sleep(5 * time.Second) // the copy takes its time
					refuse.Store(true)
				case q.Method == http.MethodGet && refuse.Load() && strings.HasSuffix(q.URL.Path, "/manifests/promotion-ledger.env.production.a"):
					w.WriteHeader(http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, q)
			})
		})}, false)
		f.push(picture("a"), "acme/dev", "a")
		r := requestOf(item(t, f.at.Host()+"/acme/dev:a", f.at.Host()+"/acme/app:production"))
		r.TargetEnv = "production"
		faulted(t, runWith(t, t.Context(), f.client(), r, &watcher{}), document.Failed, "promotion-ledger.env.production.a", "403")
		if !refuse.Load() {
			t.Error("the ledger was not read again")
		}
		if held := holds(t, f.at, "acme/app", "production"); held != "" {
			t.Errorf("the tag holds %s", held)
		}
	})
}

// TestUnrecorded_SlowNextRun: a run that takes long reads the ledger again before the tags move. It waits until the run
// before it is over, and says how that ended.
func TestUnrecorded_SlowNextRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var refuse, moved, slow atomic.Bool
		f := newFar(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case refuse.Load() && moved.Load() && noLedger(q):
					w.WriteHeader(http.StatusForbidden)
					return
				case on(http.MethodPut, "/manifests/production")(q):
					moved.Store(true)
				case q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/acme/app/manifests/sha256:") && slow.Load():
					time.Sleep(5 * time.Second) // longer than a ledger that was read is believed
				}
				next.ServeHTTP(w, q)
			})
		})}, false)
		promoted := func(n int, name string) document.Report {
			moved.Store(false)
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
		if !told(d, "Another run is promoting") || !told(d, "it says now: promoted") {
			t.Errorf("told %q", d.Notices)
		}
	})
}
