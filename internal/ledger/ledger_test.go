package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
)

// bubble runs a test in virtual time, on a store.
func bubble(t *testing.T, test func(t *testing.T, s *memoryStore)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { test(t, newStore()) })
}

func wantStates(t *testing.T, s Store, want ...string) {
	t.Helper()
	_, v := readLedger(t, s)
	if got := statesOf(v.Entries()); !slices.Equal(got, want) {
		t.Errorf("the ledger says %q, want %q", got, want)
	}
}

func TestRead_NoLedger(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		began := time.Now()
		_, v := readLedger(t, s)
		if v.Exists() || time.Since(began) > 2*roundTrip {
			t.Errorf("exists %v, took %v: no ledger is believed at once", v.Exists(), time.Since(began))
		}
	})
}

// Where a segment or a kept tag says that there was a ledger, or one head does, the missing heads
// are looked for until no registry's reads lag.
func TestRead_HeadsAreMissing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		missing []string
		there   string
		exists  bool
	}{
		"a":              {[]string{key.head(0)}, "", true},
		"b":              {[]string{key.head(1)}, "", true},
		"both, segment":  {[]string{key.head(0), key.head(1)}, key.segment(1), false},
		"both, kept tag": {[]string{key.head(0), key.head(1)}, key.Kept(1), false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				promotionOf(1).mustDo(t, s)
				promotionOf(2).mustDo(t, s)
				if test.there != "" {
					s.set(test.there, image("there"))
				}
				back := map[string]registry.Manifest{}
				for _, tag := range test.missing {
					back[tag] = *s.held(tag)
				}
				s.remove(test.missing...)
				began := time.Now()
				_, v := readLedger(t, s)
				if took := time.Since(began); v.Exists() != test.exists || took < lag || took > lag+3*time.Second {
					t.Errorf("exists %v, took %v", v.Exists(), took)
				}
				if test.exists && len(v.Entries()) != 2 {
					t.Errorf("the other head has %d entries, want 2", len(v.Entries()))
				}
				go func() { // a passing 404
					time.Sleep(5 * time.Second)
					for tag, m := range back {
						s.set(tag, m)
					}
				}()
				began = time.Now()
				if _, v = readLedger(t, s); len(v.Entries()) != 2 || time.Since(began) > 8*time.Second {
					t.Errorf("%d entries after %v", len(v.Entries()), time.Since(began))
				}
			})
		})
	}
}

// The next run writes the head that is missing, and nothing is lost.
func TestRead_OneHeadIsRestored(t *testing.T) {
	t.Parallel()
	for n := range 2 {
		t.Run(key.head(n), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				for n := range 3 {
					promotionOf(n).mustDo(t, s)
				}
				s.remove(key.head(n))
				promotionOf(3).mustDo(t, s)
				if s.held(key.head(n)) == nil {
					t.Error("the head is still missing")
				}
				wantStates(t, s, "0 promoted", "1 promoted", "2 promoted", "3 promoted")
			})
		})
	}
}

func TestCreate_BothHeads(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		l, v := readLedger(t, s)
		v, err := l.Create(t.Context(), v)
		if err != nil || !v.Exists() || s.held(key.head(0)) == nil || s.held(key.head(1)) == nil || len(s.blobs) != 2 {
			t.Fatalf("exists %v, %d blobs, error %v", v.Exists(), len(s.blobs), err)
		}
		s.resetRequests()
		if _, err = l.Create(t.Context(), v); err != nil || len(s.asked()) > 0 {
			t.Errorf("a ledger that exists: requests %q, error %v", s.asked(), err)
		}
	})
}

func TestCreate_Refused(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		s.before = func(write bool, tag string) error {
			if write && tag != "" {
				return refusal(http.StatusBadRequest, "MANIFEST_INVALID")
			}
			return nil
		}
		l, v := readLedger(t, s)
		began := time.Now()
		if _, err := l.Create(t.Context(), v); !registry.IsRefusal(err) || time.Since(began) > time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// A registry that has lost a blob of a head refuses the head, until the blob is stored again: of a new ledger, and of an
// entry, whose record the run stores again because it learns of the failure.
func TestWrite_BlobIsMissing(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		first := promotionOf(1)
		missing, refused := true, 0
		s.before = func(write bool, tag string) error {
			switch {
			case write && tag == "":
				missing = missing && refused == 0
			case write && strings.HasPrefix(tag, ledgerPrefix) && missing:
				refused++
				return refusal(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			}
			return nil
		}
		first.mustDo(t, s)
		missing, refused = true, 0
		second := promotionOf(2)
		second.mustDo(t, s)
		if refused != 1 || len(second.starts) != 2 || second.starts[1].Failed == nil {
			t.Errorf("%d heads were refused, and the run made its entry as %+v", refused, second.starts)
		}
		wantStates(t, s, "1 promoted", "2 promoted")
	})
}

func TestCreate_OneAnswerIsLost(t *testing.T) {
	t.Parallel()
	for _, takesEffect := range []bool{true, false} {
		t.Run(fmt.Sprint(takesEffect), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				lost := false
				lose := func(write bool, tag string) error {
					if write && tag == key.head(0) && !lost {
						lost = true
						return errNoAnswer
					}
					return nil
				}
				if takesEffect {
					s.after = lose
				} else {
					s.before = lose
				}
				l, v := readLedger(t, s)
				if v, err := l.Create(t.Context(), v); err != nil || v.heads[0] == nil || v.heads[1] == nil {
					t.Errorf("heads %v, error %v", v.heads, err)
				}
			})
		})
	}
}

// Two runs that create a ledger at once write the same bytes, and one of them begins.
func TestCreate_Twice(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		errs := make(chan error, 2)
		for n := range 2 {
			go func() {
				p := promotionOf(n)
				p.tags = []string{fmt.Sprint("tag", n)}
				_, err := p.do(t, s)
				errs <- err
			}()
		}
		failed := 0
		for range 2 {
			var conflict *ConflictError
			if err := <-errs; errors.As(err, &conflict) {
				failed++
			} else if err != nil {
				t.Error(err)
			}
		}
		if _, v := readLedger(t, s); len(v.Entries()) < 2-failed {
			t.Errorf("%d entries, %d runs failed", len(v.Entries()), failed)
		}
	})
}

// Where all reads lag by as much as was ever seen, runs that come one after the other lose nothing.
func TestBegin_ReadsLag(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		s.lag = lag - time.Second
		var want []string
		for n := range 5 {
			promotionOf(n).mustDo(t, s)
			want = append(want, fmt.Sprint(n, " promoted"))
		}
		time.Sleep(s.lag)
		wantStates(t, s, want...)
	})
}

// A registry without a clock, or with a wrong one, changes nothing for runs that come one after the
// other, and a live run is still waited for.
func TestLease_Clocks(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*memoryStore){
		"no Date":         func(s *memoryStore) { s.noClock = true },
		"an hour ahead":   func(s *memoryStore) { s.ahead = time.Hour },
		"an hour behind":  func(s *memoryStore) { s.ahead = -time.Hour },
		"as it should be": func(*memoryStore) {},
		"lost after a time": func(s *memoryStore) {
			time.AfterFunc(30*time.Second, func() { s.mu.Lock(); s.noClock = true; s.mu.Unlock() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				set(s)
				promotionOf(1).mustDo(t, s)
				dead := promotionOf(2)
				dead.dies = func(int) bool { return true }
				dead.mustDo(t, s)
				began := time.Now()
				promotionOf(3).mustDo(t, s)
				// With lag: the run looks for late writes of the dead one.
				if took := time.Since(began); took < lease-time.Second || took > lease+lag+leaseEvery+3*time.Second {
					t.Errorf("the dead run was waited for for %v", took)
				}
				wantStates(t, s, "1 promoted", "2 failed", "3 promoted")
			})
		})
	}
}

// A run that is at work is waited for, and said.
func TestLease_LiveRun(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		live := promotionOf(1)
		live.tags = []string{"production", "latest"}
		live.dies = func(moved int) bool {
			if moved == 1 {
				time.Sleep(50 * time.Second)
			}
			return false
		}
		done := make(chan error)
		go func() {
			_, err := live.do(t, s)
			done <- err
		}()
		time.Sleep(10 * time.Second)
		second := promotionOf(2)
		second.mustDo(t, s)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(second.said) != 1 || !strings.Contains(second.said[0], "run/1") || !strings.Contains(second.said[0], live.image.Digest.String()) {
			t.Errorf("it said %q", second.said)
		}
		wantStates(t, s, "1 promoted", "2 promoted")
	})
}

// A run's earlier attempt has ended; the other jobs of a matrix, and other repositories' runs of
// that ID, may be at work.
func TestLease_WhoIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*Run)
		waits  bool
	}{
		"later attempt":                       {func(r *Run) { r.Attempt = 2 }, false},
		"other job of a matrix":               {func(r *Run) { r.Job = "b" }, true},
		"later attempt of another repository": {func(r *Run) { r.Attempt, r.Repository = 2, "acme/other" }, true},
		"earlier attempt":                     {func(r *Run) { r.Attempt = 0 }, true},
		"not of a workflow":                   {func(r *Run) { *r = Run{Attempt: 2} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				dead := promotionOf(1)
				dead.dies = func(moved int) bool { return moved == 1 }
				dead.mustDo(t, s)
				next := promotionOf(1)
				test.change(&next.run)
				began := time.Now()
				next.mustDo(t, s)
				if waited := time.Since(began) > lag+time.Minute; waited != test.waits || len(next.said) > 0 != test.waits {
					t.Errorf("took %v, said %q", time.Since(began), next.said)
				}
			})
		})
	}
}

// A run's other tags, and other ledgers' runs, are nobody's concern.
func TestLease_OtherTags(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		dead := promotionOf(1)
		dead.tags, dead.dies = []string{"canary"}, func(int) bool { return true }
		dead.mustDo(t, s)
		began := time.Now()
		promotionOf(2).mustDo(t, s)
		if time.Since(began) > 5*time.Second {
			t.Errorf("took %v", time.Since(began))
		}
		wantStates(t, s, "1 pending", "2 promoted")
	})
}

// What a dead run has left tells how it ended.
func TestResolve(t *testing.T) {
	t.Parallel()
	whole := func(is bool) Members { return func(context.Context, Entry) bool { return is } }
	for name, test := range map[string]struct {
		moved   int
		mode    document.Mode
		release string
		members Members
		hand    bool
		want    document.Outcome
	}{
		"none moved":                     {0, document.ModePromote, "", nil, false, document.OutcomeFailed},
		"one of two":                     {1, document.ModePromote, "", nil, false, document.OutcomeInterrupted},
		"all":                            {2, document.ModePromote, "", nil, false, document.OutcomePromoted},
		"all, a rollback":                {2, document.ModeRollback, "", nil, false, document.OutcomeRolledBack},
		"all, then moved by hand":        {2, document.ModePromote, "", nil, true, document.OutcomeInterrupted},
		"none, then moved by hand":       {0, document.ModePromote, "", nil, true, document.OutcomeInterrupted},
		"all of a release, whole":        {2, document.ModePromote, digestOf([]byte("r")).String(), whole(true), false, document.OutcomePromoted},
		"all of a release, not whole":    {2, document.ModePromote, digestOf([]byte("r")).String(), whole(false), false, document.OutcomeInterrupted},
		"all of a release, not known":    {2, document.ModePromote, digestOf([]byte("r")).String(), nil, false, document.OutcomeInterrupted},
		"none of a release, not known":   {0, document.ModePromote, digestOf([]byte("r")).String(), nil, false, document.OutcomeFailed},
		"all of a rollback of a release": {2, document.ModeRollback, digestOf([]byte("r")).String(), whole(true), false, document.OutcomeRolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				dead := promotionOf(1)
				dead.tags, dead.mode, dead.release = []string{"production", "latest"}, test.mode, test.release
				dead.dies = func(moved int) bool { return moved == test.moved }
				dead.mustDo(t, s)
				if test.hand {
					s.set("latest", image("hand"))
				}
				next := promotionOf(2)
				next.members = test.members
				next.mustDo(t, s)
				_, v := readLedger(t, s)
				e := v.Entries()[0]
				if e.State() != test.want || e.By != "run/2" || e.Sequence == 0 || e.Resolved.IsZero() {
					t.Errorf("it is %s by %q, written in head %d at %v, want %s", e.State(), e.By, e.Sequence, e.Resolved, test.want)
				}
				for n, tag := range e.Tags {
					want := ""
					if n < test.moved {
						want = dead.image.Digest.String()
					}
					if test.hand && tag.Name == "latest" {
						want = image("hand").Digest.String()
					}
					if tag.Held != want {
						t.Errorf("tag %s held %q, want %q", tag.Name, tag.Held, want)
					}
				}
			})
		})
	}
}

// A run that was paused for an hour does no harm: its entry was resolved, and it says so.
func TestCheck_TakenOver(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		paused := promotionOf(1)
		paused.tags = []string{"production", "latest"}
		paused.dies = func(moved int) bool {
			if moved == 1 {
				time.Sleep(time.Hour)
			}
			return false
		}
		done := make(chan error)
		go func() {
			_, err := paused.do(t, s)
			done <- err
		}()
		time.Sleep(time.Minute)
		next := promotionOf(2)
		next.tags = paused.tags
		next.mustDo(t, s)
		if err := <-done; !errors.Is(err, ErrTakenOver) || !strings.Contains(err.Error(), "run/2") {
			t.Errorf("error %v", err)
		}
		wantStates(t, s, "1 interrupted", "2 promoted")
		if m := s.held("latest"); m.Digest != next.image.Digest {
			t.Error("the paused run has moved a tag")
		}
	})
}

// A run that was paused for so long that its resolved entry is in a segment does no harm either.
func TestCheck_TakenOverLongAgo(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		paused := promotionOf(1000)
		paused.dies = func(moved int) bool {
			if moved == 1 {
				time.Sleep(time.Hour)
			}
			return false
		}
		done := make(chan error)
		go func() {
			_, err := paused.do(t, s)
			done <- err
		}()
		time.Sleep(5 * time.Minute)
		promotionOf(0).mustDo(t, s)
		fill(t, s, 1, 200, nil)
		if err := <-done; !errors.Is(err, ErrTakenOver) {
			t.Errorf("error %v", err)
		}
		l, v := readLedger(t, s)
		if h, err := l.History(t.Context(), v, 0); err != nil || len(h.Entries) != 201 {
			t.Errorf("%d entries, error %v", len(h.Entries), err)
		}
	})
}

// An entry that was overwritten before a tag moved is written again, and nobody is waited for.
func TestBegin_Dropped(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		promotionOf(1).mustDo(t, s)
		s.after = func(_ bool, tag string) error {
			s.after = nil
			all := s.tags[tag]
			m := *all[len(all)-2].m
			h, _ := parseHead(m, key)
			h.sequence = 100
			m = h.encode(key)
			s.tags[tag] = append(all, writing{time.Now(), &m})
			return nil
		}
		second, began := promotionOf(2), time.Now()
		second.mustDo(t, s)
		if len(second.said) > 0 || time.Since(began) > 5*time.Second {
			t.Errorf("took %v, said %q", time.Since(began), second.said)
		}
		wantStates(t, s, "1 promoted", "2 promoted")
		for _, start := range second.starts { // its own older record is in no ledger: the next must not follow it
			if len(second.starts) != 2 || len(start.Entries) != 1 {
				t.Errorf("of %d times, it was shown %d entries, want the other run's", len(second.starts), len(start.Entries))
			}
		}
	})
}

// A large release renews its lease, and is not taken for dead.
func TestCheck_Renews(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		long := promotionOf(1)
		for n := range 20 {
			long.tags = append(long.tags, fmt.Sprint("tag", n))
		}
		long.dies = func(int) bool {
			time.Sleep(WriteTime)
			return false
		}
		done := make(chan error)
		go func() {
			_, err := long.do(t, s)
			done <- err
		}()
		time.Sleep(time.Minute)
		promotionOf(2).mustDo(t, s)
		if err := <-done; err != nil {
			t.Error(err)
		}
		wantStates(t, s, "1 promoted", "2 promoted")
	})
}

// The lease ends by the clock that goes on while a machine is suspended.
func TestMayWrite(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		live := promotionOf(1)
		live.dies = func(int) bool { return true }
		session := live.mustDo(t, s)
		if !session.MayWrite() {
			t.Error("it may not write although it has just begun")
		}
		time.Sleep(writable)
		if session.MayWrite() {
			t.Error("it may write although its lease is old")
		}
		if err := session.Check(t.Context()); err != nil || !session.MayWrite() {
			t.Errorf("it may not write although its lease was renewed: %v", err)
		}
	})
}

// A tag that moved between the reading and the writing of the entry is seen before anything moves.
func TestBegin_TagMovedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		s.set("production", image("old"))
		promotionOf(1).mustDo(t, s)
		s.after = func(write bool, tag string) error {
			if tag == key.head(0) || tag == key.head(1) {
				s.after = nil
				m := image("hand")
				s.tags["production"] = append(s.tags["production"], writing{time.Now(), &m})
			}
			return nil
		}
		_, err := promotionOf(2).do(t, s)
		var conflict *ConflictError
		if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "production has moved to "+image("hand").Digest.String()) {
			t.Errorf("error %v", err)
		}
		wantStates(t, s, "1 promoted", "2 failed")
	})
}

// Another run that has begun at the same time shows when the entry is read back: this one fails
// before it moves a tag.
func TestBegin_Rival(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		promotionOf(1).mustDo(t, s)
		rival := promotionOf(7)
		e, _ := rival.draft(t.Context(), Start{ID: "rival"})
		e.ID, e.Run, e.Begun, e.Renewed, e.Number, e.Line.Outcome = "rival", rival.run, time.Now(), time.Now(), 2, document.OutcomePending
		s.after = func(_ bool, tag string) error {
			s.after = nil
			other := key.head(0)
			if tag == other {
				other = key.head(1)
			}
			m := head{sequence: 5, entries: []Entry{newEntry(e)}}.encode(key)
			s.tags[other] = append(s.tags[other], writing{time.Now(), &m})
			return nil
		}
		_, err := promotionOf(2).do(t, s)
		var conflict *ConflictError
		if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "begun at the same time (run/7)") {
			t.Errorf("error %v", err)
		}
		if s.held("production").Digest != promotionOf(1).image.Digest {
			t.Error("a tag was moved")
		}
	})
}

// A write that is answered with 503 has perhaps taken effect: the run reads, and decides again.
func TestWrite_NoAnswer(t *testing.T) {
	t.Parallel()
	for _, takesEffect := range []bool{true, false} {
		t.Run(fmt.Sprint(takesEffect), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				promotionOf(1).mustDo(t, s)
				n := 0
				fail := func(write bool, tag string) error {
					if n++; write && Reserved(tag) && n%2 == 1 {
						return errNoAnswer
					}
					return nil
				}
				if takesEffect {
					s.after = fail
				} else {
					s.before = fail
				}
				for n := range 3 {
					promotionOf(n+2).mustDo(t, s)
				}
				wantStates(t, s, "1 promoted", "2 promoted", "3 promoted", "4 promoted")
			})
		})
	}
}

// A registry that takes no entry any more ends the run before a tag moves.
func TestBegin_Refused(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		promotionOf(1).mustDo(t, s)
		s.before = func(write bool, _ string) error {
			if write {
				return refusal(http.StatusForbidden, "DENIED")
			}
			return nil
		}
		began := time.Now()
		if _, err := promotionOf(2).do(t, s); !registry.IsRefusal(err) || time.Since(began) > time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// Where heads are immutable the ledger goes on in versions, and is found without a list of tags.
func TestVersions(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T, s *memoryStore) {
		s.immutable = true
		var want []string
		for n := range 20 {
			promotionOf(n).mustDo(t, s)
			want = append(want, fmt.Sprint(n, " promoted"))
		}
		s.resetRequests()
		began := time.Now()
		_, v := readLedger(t, s)
		if got := statesOf(v.Entries()); !slices.Equal(got, want) || v.version != 40 {
			t.Errorf("version %d says %q", v.version, got)
		}
		if trips := time.Since(began) / roundTrip; trips > 4 || len(s.asked()) > 60 {
			t.Errorf("%d requests in %d round trips", len(s.asked()), trips)
		}
	})
}

// Any number of versions is found.
func TestVersions_Found(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 3, 4, 5, 16, 17, 18, 31, 32, 33, 100, 1000, 1023, 1024, 4097} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				for at := range 2 {
					s.set(key.head(at), head{sequence: at + 1}.encode(key))
				}
				for at := 1; at <= n; at++ {
					s.set(key.version(at), head{sequence: at + 2}.encode(key))
				}
				if _, v := readLedger(t, s); v.version != n || v.sequence != n+2 {
					t.Errorf("version %d, sequence %d", v.version, v.sequence)
				}
			})
		})
	}
}

// Two runs cannot write the same version: one is refused, reads, and goes on after it.
func TestVersions_Rivals(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		s.immutable = true
		promotionOf(0).mustDo(t, s)
		errs := make(chan error)
		for n := range 5 {
			go func() {
				p := promotionOf(n + 1)
				p.tags = []string{fmt.Sprint("tag", n)}
				_, err := p.do(t, s)
				errs <- err
			}()
		}
		for range 5 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if _, v := readLedger(t, s); len(v.Entries()) != 6 {
			t.Errorf("%d entries", len(v.Entries()))
		}
	})
}

// fill writes entries as so many runs would have, ten at a time.
func fill(t testing.TB, s Store, from, to int, change func(*promotion)) {
	t.Helper()
	l, v := readLedger(t, s)
	v, err := l.Create(t.Context(), v)
	for ; from < to && err == nil; from += 10 {
		v, err = l.write(t.Context(), v, func(v View, known head) (head, error) {
			next := union(known, v.head)
			for n := from; n < min(from+10, to); n++ {
				p := promotionOf(n)
				if change != nil {
					change(p)
				}
				e, _ := p.draft(t.Context(), Start{ID: fmt.Sprint("entry", n)})
				e.ID, e.Run, e.Begun, e.Renewed, e.Number, e.Line.Outcome = fmt.Sprint("entry", n), p.run, v.now(), v.now(), next.highest("")+1, document.OutcomePending
				if e = newEntry(e); p.dies == nil {
					e = e.end(document.OutcomePromoted, map[string]string{"production": p.image.Digest.String()}, v.now(), "")
				}
				next = next.with(e)
			}
			return next, nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestSegments(t *testing.T) {
	long(t)
	bubble(t, func(t *testing.T, s *memoryStore) {
		const entries = 300
		fill(t, s, 0, entries, nil)
		for tag, all := range s.tags {
			if !strings.HasPrefix(tag, ledgerPrefix) {
				continue
			}
			for _, w := range all {
				if h, err := parseHead(*w.m, key); err != nil || len(h.entries) > maxEntries || len(w.m.Raw) > maxHead {
					t.Errorf("%s has %d layers and %d bytes: %v", tag, len(h.entries), len(w.m.Raw), err)
				}
			}
		}
		l, v := readLedger(t, s)
		s.resetRequests()
		began := time.Now()
		h, err := l.History(t.Context(), v, 0)
		if err != nil || len(h.Entries) != entries || !h.Whole || len(h.Lost) > 0 {
			t.Fatalf("%d entries, whole %v, lost %v, error %v", len(h.Entries), h.Whole, h.Lost, err)
		}
		for n, e := range h.Entries {
			if e.Run.ID != fmt.Sprint(n) || e.Number != n+1 || e.State() != document.OutcomePromoted {
				t.Fatalf("entry %d is of run %s, number %d, %s", n, e.Run.ID, e.Number, e.State())
			}
		}
		if got := len(s.asked()); got != v.Segments() || v.Segments() != 4 || time.Since(began) > roundTrip {
			t.Errorf("%d requests for %d segments in %v", got, v.Segments(), time.Since(began))
		}
		if some, err := l.History(t.Context(), v, len(v.Entries())+1); err != nil || some.Whole || len(some.Entries) != len(v.Entries())+segmentEntries {
			t.Errorf("%d entries, whole %v, error %v", len(some.Entries), some.Whole, err)
		}
		if len(l.Tags(v)) != 6 {
			t.Errorf("tags %q", l.Tags(v))
		}
	})
}

// A segment that is missing, or is not the one that the ledger names, is said to be lost.
func TestSegments_Lost(t *testing.T) {
	long(t)
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(s *memoryStore, first, second registry.Manifest)
		want  []int
	}{
		"first is missing":  {func(s *memoryStore, _, _ registry.Manifest) { s.remove(key.segment(1)) }, []int{1}},
		"second is missing": {func(s *memoryStore, _, _ registry.Manifest) { s.remove(key.segment(2)) }, []int{2}},
		"an entry less": {func(s *memoryStore, first, _ registry.Manifest) {
			h, _ := parseHead(first, key)
			h.entries = h.entries[1:]
			s.set(key.segment(1), h.encode(key))
		}, []int{1}},
		"the other one":  {func(s *memoryStore, first, _ registry.Manifest) { s.set(key.segment(2), first) }, []int{2}},
		"something else": {func(s *memoryStore, _, _ registry.Manifest) { s.set(key.segment(2), image("else")) }, []int{2}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				fill(t, s, 0, 160, nil)
				test.spoil(s, *s.held(key.segment(1)), *s.held(key.segment(2)))
				l, v := readLedger(t, s)
				h, err := l.History(t.Context(), v, 0)
				lost := l.LostError(h)
				if err != nil || !slices.Equal(h.Lost, test.want) || lost == nil || !strings.Contains(lost.Error(), key.segment(test.want[0])) {
					t.Errorf("lost %v, %v, error %v", h.Lost, lost, err)
				}
				if len(h.Entries) != 160-segmentEntries {
					t.Errorf("%d entries", len(h.Entries))
				}
				promotionOf(160).mustDo(t, s) // it is in nobody's way
			})
		})
	}
}

// Two runs that close the same segment write the same bytes.
func TestSegments_ClosedTwice(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		fill(t, s, 0, fullEntries, nil)
		errs := make(chan error)
		for n := range 2 {
			go func() {
				p := promotionOf(1000 + n)
				p.tags = []string{fmt.Sprint("tag", n)}
				time.Sleep(time.Duration(n) * roundTrip / 4)
				_, err := p.do(t, s)
				errs <- err
			}()
		}
		failed := 0
		for range 2 {
			if err := <-errs; err != nil {
				failed++
			}
		}
		written := s.tags[key.segment(1)]
		for _, w := range written {
			if !bytes.Equal(w.m.Raw, written[0].m.Raw) {
				t.Error("the segment was written with other bytes")
			}
		}
		l, v := readLedger(t, s)
		if h, err := l.History(t.Context(), v, 0); err != nil || len(h.Lost) > 0 || len(h.Entries) < fullEntries+2-failed {
			t.Errorf("%d entries, %d runs failed, lost %v, error %v", len(h.Entries), failed, h.Lost, err)
		}
	})
}

// Long entries fill a head by their bytes.
func TestSegments_LongEntries(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		const entries = 40
		fill(t, s, 0, entries, func(p *promotion) { p.reason = strings.Repeat("x", maxAnnotation-2000) })
		for tag, all := range s.tags {
			for _, w := range all {
				if len(w.m.Raw) > maxHead {
					t.Errorf("%s has %d bytes", tag, len(w.m.Raw))
				}
			}
		}
		l, v := readLedger(t, s)
		if h, err := l.History(t.Context(), v, 0); err != nil || len(h.Entries) != entries || len(h.Lost) > 0 || v.Segments() < 3 {
			t.Errorf("%d entries, %d segments, lost %v, error %v", len(h.Entries), v.Segments(), h.Lost, err)
		}
	})
}

// An entry that no later run could read, now or with its outcome, is refused before it is written.
func TestBegin_EntryTooLong(t *testing.T) {
	t.Parallel()
	for name, lengthen := range map[string]func(*promotion){
		"reason": func(p *promotion) { p.reason = strings.Repeat("x", maxAnnotation) },
		"outcome": func(p *promotion) {
			for n := range maxTags - 10 {
				p.tags = append(p.tags, fmt.Sprint(strings.Repeat("x", 120), n))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				p := promotionOf(1)
				lengthen(p)
				var e *Error
				if _, err := p.do(t, s); !errors.As(err, &e) || e.Hint == "" {
					t.Errorf("error %v", err)
				}
				wantStates(t, s)
			})
		})
	}
}

// A head that is full of open entries takes no more, and says what to do.
func TestSegments_AllOpen(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		fill(t, s, 0, maxEntries, func(p *promotion) {
			p.tags, p.dies = []string{"tag" + p.run.ID}, func(int) bool { return true }
		})
		_, err := promotionOf(maxEntries).do(t, s)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), "101 open") || e.Hint == "" {
			t.Errorf("error %v", err)
		}
	})
}
