package promote_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// moments are how many of a release's six tags had moved when it was killed.
var moments = []int{0, 1, 3, 4, 5, 6}

// stateOf is what the ledger of an image says of a release that was killed when so many tags had moved, once another run has
// found it; whole says that this run has seen all of its members.
func stateOf(n, moved int, whole bool) string {
	switch {
	case moved == 2*ships && whole:
		return "promoted"
	case moved > n:
		return "interrupted"
	}
	return "failed"
}

// expectLeft expects the tags of an image as a release has left them that was killed.
func (f *fleet) expectLeft(t *testing.T, what string, n, moved int) {
	t.Helper()
	moving := f.old[n].Root
	if moved > n+ships {
		moving = f.new[n].Root
	}
	f.expectTag(t, what, n, "production", moving)
	f.expectFixed(t, what, n, moved)
}

func (f *fleet) expectFixed(t *testing.T, what string, n, moved int) {
	t.Helper()
	made := ""
	if moved > n {
		made = f.new[n].Root
	}
	f.expectTag(t, what, n, "v1", made)
}

// nothingDeleted expects that the program deleted no tag.
func (f *fleet) nothingDeleted(t *testing.T, what string) {
	t.Helper()
	for _, w := range writes(f.target) {
		if strings.HasPrefix(w, http.MethodDelete) {
			t.Errorf("%s: %s", what, w)
		}
	}
}

// TestFinish: a later attempt of the same run waits for nobody, finishes what was left undone, in whatever order its images
// are named, and writes no tag again that is in place.
func TestFinish(t *testing.T) {
	t.Parallel()
	long(t)
	for _, moved := range moments {
		inBubble(t, func(t *testing.T, _ *regtest.Memory) {
			f := newFleet(t, regtest.Options{Delete: true})
			r := f.request(t, "dev")
			r.Job, r.Lease = document.Job{Repository: "acme/app", RunID: "7", Attempt: "1", Name: "promote"}, time.Hour
			f.killedAs(t, r, moved)
			r = again(r)
			slices.Reverse(r.Items)
			d := run(t, r)
			what := fmt.Sprint("finished after ", moved)
			f.expect(t, what, f.new, f.new)
			if moved == 2*ships {
				expect(t, d, document.Unchanged)
				f.says(t, what, "promoted")
			} else {
				expect(t, d, document.Promoted)
				expectTag(t, d, "app0:production", document.TagMoved, f.old[0].Root, f.new[0].Root)
				for n := range ships {
					f.saysOf(t, what, n, stateOf(n, moved, true), "promoted")
				}
			}
			if told(d, "this run finishes it") != (moved > 0 && moved < 2*ships) {
				t.Errorf("after %d: told %q", moved, d.Notices)
			}
			wrote := slices.DeleteFunc(tagsWritten(f.target), isLedger)
			if len(wrote) != 2*ships-moved {
				t.Errorf("after %d: written %q", moved, wrote)
			}
			next := f.request(t, "next")
			next.Lease = time.Hour
			d = run(t, next)
			expect(t, d, document.Promoted)
			if len(d.Notices) > 0 {
				t.Errorf("told %q", d.Notices)
			}
			f.expect(t, "the next", f.next, f.new)
			f.nothingDeleted(t, what)
		})
	}
}

// TestFinishThatFails puts every moving tag back to what it held before the run that was killed, and deletes no tag but its
// own. A tag that is in place already is not written, so that it does not matter what the registry would answer.
func TestFinishThatFails(t *testing.T) {
	t.Parallel()
	long(t)
	for n := range ships {
		for _, name := range []string{"production", "v1"} {
			for at, moved := range moments {
				if (at+n)%2 == 1 && name == "v1" { // half of them, each moment for one image or another
					continue
				}
				inBubble(t, func(t *testing.T, _ *regtest.Memory) {
					f := newFleet(t, regtest.Options{Delete: true})
					f.killed(t, moved)
					f.finishFails(t, n, name, moved)
				})
			}
		}
	}
}

func (f *fleet) finishFails(t *testing.T, n int, name string, moved int) {
	t.Helper()
	there := holds(t, f.target, repoOf(n), name) == f.new[n].Root
	refused := false
	f.refuse(func(q *http.Request) bool { // once: it is put back, then
		hit := !refused && putOf(n, name)(q)
		refused = refused || hit
		return hit
	})
	d := run(t, f.request(t, "dev"))
	what := fmt.Sprintf("%s of app%d refused after %d", name, n, moved)
	if there {
		if d.Result.ExitCode() != 0 || refused {
			t.Errorf("%s: result %s, written again: %v", what, d.Result, refused)
		}
		f.expect(t, what, f.new, f.new)
		return
	}
	faulted(t, d, document.Failed, "403")
	for m := range ships {
		f.expectTag(t, what, m, "production", f.old[m].Root)
		f.expectFixed(t, what, m, moved)
		f.saysOf(t, what, m, stateOf(m, moved, true), stateOf(m, moved, true))
		f.expectTold(t, d, what, m)
	}
	expect(t, run(t, f.request(t, "dev")), document.Promoted)
	f.expect(t, what+", and again", f.new, f.new)
}

// expectTold expects that the report says what the tags of an image hold.
func (f *fleet) expectTold(t *testing.T, d document.Report, what string, n int) {
	t.Helper()
	for _, name := range []string{"production", "v1"} {
		got := tag(t, d, fmt.Sprintf("app%d:%s", n, name))
		now := holds(t, f.target, repoOf(n), name)
		wanted := got.State == document.TagPutBack || got.State == document.TagPending
		if name == "v1" && now != "" {
			wanted = got.State == document.TagLeft && got.Note != ""
		}
		if got.After != now || !wanted {
			t.Errorf("%s: %+v, and it holds %q", what, got, now)
		}
	}
}

// TestFinishThatFailsEarly, before it has moved a tag: what the killed run left stays, the report says so, and the next
// run goes on from there.
func TestFinishThatFailsEarly(t *testing.T) {
	t.Parallel()
	long(t)
	for name, refused := range map[string]func(*http.Request) bool{
		"its entry": func(q *http.Request) bool { return noLedger(q) && strings.Contains(q.URL.Path, repoOf(1)) },
		"a read":    on(http.MethodGet, "/app1/manifests/v1"),
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *regtest.Memory) {
				f := newFleet(t, regtest.Options{Delete: true})
				f.killed(t, 4)
				f.refuse(refused)
				r := f.request(t, "dev")
				slices.Reverse(r.Items)
				r.Job.RunID = "2"
				faulted(t, run(t, r), document.Failed, "403")
				for n := range ships {
					f.expectLeft(t, name, n, 4)
				}
				f.refuse(nil)
				expect(t, run(t, f.request(t, "next", 1)), document.Promoted)
				f.expectOne(t, "the next", 1, f.next[1], f.new[1])
				f.expectLeft(t, "the next", 0, 4)
				f.expectLeft(t, "the next", 2, 4)
				f.nothingDeleted(t, name)
			})
		})
	}
}

// TestAnotherOverAnInterruptedRelease moves the tags that it was asked to move, no other, and deletes none: also one that
// has to do with one of the images only, and can reach no other repository.
func TestAnotherOverAnInterruptedRelease(t *testing.T) {
	t.Parallel()
	long(t)
	for _, moved := range moments {
		inBubble(t, func(t *testing.T, _ *regtest.Memory) {
			f := newFleet(t, regtest.Options{Delete: true})
			f.killed(t, moved)
			d := run(t, f.request(t, "next"))
			expect(t, d, document.Promoted)
			what := fmt.Sprint("another release after ", moved)
			before := f.old[0].Root
			if moved == 2*ships {
				before = f.new[0].Root
			}
			expectTag(t, d, "app0:production", document.TagMoved, before, f.next[0].Root)
			for n := range ships {
				f.expectTag(t, what, n, "production", f.next[n].Root)
				f.expectFixed(t, what, n, moved)
				f.saysOf(t, what, n, stateOf(n, moved, true), "promoted")
			}
			f.nothingDeleted(t, what)
			for only := range ships {
				f := newFleet(t, regtest.Options{Delete: true})
				f.killed(t, moved)
				f.refuse(func(q *http.Request) bool { return !strings.Contains(q.URL.Path, repoOf(only)) && q.URL.Path != "/v2/" })
				expect(t, run(t, f.request(t, "next", only)), document.Promoted)
				for _, q := range ours(f.target) {
					if !strings.Contains(q.Path, repoOf(only)) && q.Path != "/v2/" {
						t.Errorf("asked: %s %s", q.Method, q.Path)
					}
				}
				what := fmt.Sprintf("app%d after %d", only, moved)
				for n := range ships {
					if n != only {
						f.expectLeft(t, what, n, moved)
						f.saysOf(t, what, n, "pending")
					}
				}
				f.expectTag(t, what, only, "production", f.next[only].Root)
				f.expectFixed(t, what, only, moved)
				f.saysOf(t, what, only, stateOf(only, moved, false), "promoted")
				f.nothingDeleted(t, what)
			}
		})
	}
}

// TestInterruptedReleaseThatOthersChanged: what somebody else has moved since is what a run finds there; what cannot be
// reverted, as it is no longer in the repository, is told.
func TestInterruptedReleaseThatOthersChanged(t *testing.T) {
	long(t)
	f := newFleet(t, regtest.Options{Delete: true})
	f.killed(t, 6)
	access := f.target.Access("", "")
	if err := regtest.PutTag(t.Context(), access, repoOf(1), "production", f.third[1].Root); err != nil {
		t.Fatal(err)
	}
	if err := regtest.DeleteManifest(t.Context(), access, repoOf(2), f.old[2].Root); err != nil {
		t.Fatal(err)
	}
	f.refuse(putOf(2, "production"))
	d := run(t, f.request(t, "next"))
	expect(t, d, document.Failed)
	f.expectTag(t, "failed", 0, "production", f.old[0].Root)
	f.expectTag(t, "failed", 1, "production", f.third[1].Root)
	f.expectTag(t, "failed", 2, "production", f.new[2].Root)
	if !told(d, "cannot be reverted to "+f.old[2].Root+", which is no longer") {
		t.Errorf("told %q", d.Notices)
	}
	f.refuse(nil)
	d = run(t, f.request(t, "next"))
	expect(t, d, document.Promoted)
	expectTag(t, d, "app1:production", document.TagMoved, f.third[1].Root, f.next[1].Root)
}

// TestPlanOverAnInterruptedRelease: a dry run and a plan wait for nobody, write nothing, and show what the tags held before
// the run that was interrupted. What was planned then is applied.
func TestPlanOverAnInterruptedRelease(t *testing.T) {
	long(t)
	t.Parallel()
	for _, only := range [][]int{{0, 1, 2}, {1}} {
		f := newFleet(t, regtest.Options{Delete: true})
		f.killed(t, 5)
		dry := f.request(t, "next", only...)
		dry.DryRun, dry.Lease, dry.Gates = true, time.Hour, &promote.Gates{}
		d := run(t, dry)
		expect(t, d, document.WouldPromote)
		expectShown(t, f, d, only)
		expectPlanned(t, f, only)
		plan := f.request(t, "next", only...)
		plan.Mode, plan.ValidFor, plan.Lease, plan.Gates = promote.Plan, time.Hour, time.Hour, dry.Gates
		d = run(t, plan)
		expect(t, d, document.Planned)
		untouched(t, f.target)
		for at, p := range d.Plan.Promotions {
			if p.Tags[0].Before != f.old[only[at]].Root {
				t.Errorf("the plan pins %+v", p.Tags)
			}
		}
		r := applying(t, *d.Plan)
		r.Lease = settle
		expect(t, run(t, r), document.Promoted)
		for n := range ships {
			if slices.Contains(only, n) {
				f.expectTag(t, "applied", n, "production", f.next[n].Root)
			} else {
				f.expectLeft(t, "applied", n, 5)
			}
		}
		f.nothingDeleted(t, "applied")
	}
}

// expectPlanned plans without gates, which reads no ledger, and expects that the plan can be applied.
func expectPlanned(t *testing.T, f *fleet, which []int) {
	t.Helper()
	plan := f.request(t, "next", which...)
	plan.Mode, plan.ValidFor, plan.Lease = promote.Plan, time.Hour, time.Hour
	d := run(t, plan)
	expect(t, d, document.Planned)
	r := applying(t, *d.Plan)
	r.DryRun = true
	expect(t, run(t, r), document.WouldPromote)
	r.DryRun, r.Gates = true, &promote.Gates{}
	expect(t, run(t, r), document.WouldPromote)
}

// expectShown expects that the report says what the tags were before, and what they are now.
func expectShown(t *testing.T, f *fleet, d document.Report, which []int) {
	t.Helper()
	for _, n := range which {
		expectTag(t, d, fmt.Sprintf("app%d:production", n), document.TagPending, f.old[n].Root, holds(t, f.target, repoOf(n), "production"))
	}
}

// TestTagsWrittenOnce: a run that finishes another one does not write again what is in place, as the registry may refuse to
// write it twice.
func TestTagsWrittenOnce(t *testing.T) {
	long(t)
	f := newFleet(t, regtest.Options{Delete: true, Immutable: func(_, tag string) bool { return strings.Contains(tag, "v1") }})
	r := requestOf(
		item(t, f.source.Host()+"/acme/app0:dev", f.target.Host()+"/prod/app0:production"),
		item(t, f.source.Host()+"/acme/app1:dev", fixed+f.target.Host()+"/prod/app1:v1-dev"),
	)
	r.Lease = settle
	f.refuse(killedAt(putOf(0, "production"))())
	expect(t, run(t, r), document.Failed)
	f.expectTag(t, "killed", 1, "v1-dev", f.new[1].Root)
	f.refuse(nil)
	expect(t, run(t, r), document.Promoted)
	f.expectTag(t, "finished", 0, "production", f.new[0].Root)
	f.expectTag(t, "finished", 1, "v1-dev", f.new[1].Root)
}

// begun publishes an open entry of another run, which moves production to an image.
func (f *fleet) begun(t *testing.T, n int, to *regtest.Image, renewed time.Time, members ...document.Member) {
	t.Helper()
	r := document.Record{
		Version: "v1.0.0", Repository: f.target.Host() + "/" + repoOf(n), Digest: to.Root, Mode: document.ModePromote, Ledger: "production",
		Entry: fmt.Sprint("OTHER", n), PreviousDigest: f.old[n].Root,
		Source:  document.Source{Reference: "ghcr.io/acme/app:dev", Repository: "ghcr.io/acme/app", Tag: "dev"},
		Started: renewed, Ended: renewed, Job: document.Job{RunID: "99", Attempt: "1", Name: "promote"},
		Tags: []document.RecordTag{{Name: "production", Before: f.old[n].Root, After: to.Root}},
	}
	if len(members) > 0 {
		r.Release, r.Members = digestOf("release"), members
	}
	raw, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := regtest.PutBlob(t.Context(), f.target.Access("", ""), repoOf(n), raw)
	if err != nil {
		t.Fatal(err)
	}
	line := document.LineOf(r, digest, int64(len(raw)), "")
	all := rows(t, f.target, repoOf(n), "production")
	e := entry{record: digest, size: int64(len(raw))}
	e.intent = entryIntent{
		ID: r.Entry, Number: len(all) + 1, Begun: renewed, Run: entryRun{ID: "99", Attempt: 1, Job: "promote"},
		Tags: []entryTag{{Name: "production", Found: f.old[n].Root, Back: f.old[n].Root, After: to.Root}},
		Line: entryLine{
			Time: line.Time, Mode: string(line.Mode), Repository: line.Repository, Digest: line.Digest, PreviousDigest: line.PreviousDigest,
			Tags: line.Tags, From: line.From, Entry: line.Entry, Record: digest, Size: int64(len(raw)), Release: line.Release,
		},
	}
	e.outcome = entryOutcome{Record: digest, State: "pending", Renewed: renewed}
	f.publish(t, n, append(all, e))
}

// TestReleaseMeanwhile: one that began while this one was copying, and was killed, is not overlooked.
func TestReleaseMeanwhile(t *testing.T) {
	t.Parallel()
	long(t)
	f := newFleet(t, regtest.Options{Delete: true})
	var once sync.Once
	meanwhile := func() {
		f.begun(t, 1, f.third[1], time.Now().UTC())
		_ = regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), "production", f.third[1].Root)
	}
	f.notice(func(q *http.Request) {
		if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/app2/manifests/sha256") { // the copy
			once.Do(meanwhile)
		}
	})
	r := f.request(t, "next")
	r.Lease = 2 * time.Second // the registry's clock has seconds
	d := run(t, r)
	expect(t, d, document.Promoted)
	f.expect(t, "the next", f.next, nil)
	f.saysOf(t, "the next", 1, "promoted", "promoted")
	if last := rows(t, f.target, repoOf(1), "production")[1].intent.Line; last.PreviousDigest != f.third[1].Root {
		t.Errorf("it says that it replaced %s", last.PreviousDigest)
	}
	if !told(d, "Another run is promoting "+f.third[1].Root) {
		t.Errorf("told %q", d.Notices)
	}
}

// TestForgedEntries: who may write to one repository moves nothing in another, and leads nobody to another registry.
func TestForgedEntries(t *testing.T) {
	long(t)
	member := func(host string, n int, after *regtest.Image) document.Member {
		return document.Member{
			Repository: host + "/" + repoOf(n), Ledger: "production", Digest: after.Root,
			Tags: []document.RecordTag{{Name: "production", After: after.Root}},
		}
	}
	for name, which := range map[string][]int{"of its own repository": {0}, "of all repositories": {0, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			f, other := newFleet(t, regtest.Options{Delete: true}), regtest.Serve(t, regtest.Options{})
			f.begun(t, 0, f.third[0], longAgo, member(f.target.Host(), 0, f.third[0]), member(f.target.Host(), 1, f.third[1]), member(other.Host(), 2, f.third[2]))
			if err := regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(0), "production", f.third[0].Root); err != nil {
				t.Fatal(err)
			}
			f.refuse(putOf(which[len(which)-1], "production"))
			f.target.ResetRequests()
			expect(t, run(t, f.request(t, "next", which...)), document.Failed)
			f.refuse(nil)
			f.expectTag(t, name, 1, "production", f.old[1].Root)
			f.expectTag(t, name, 2, "production", f.old[2].Root)
			expect(t, run(t, f.request(t, "next", which...)), document.Promoted)
			for n := range ships {
				want := f.old[n]
				if slices.Contains(which, n) {
					want = f.next[n]
				}
				f.expectTag(t, name, n, "production", want.Root)
			}
			if n := len(other.Requests()); n > 0 {
				t.Errorf("%d requests to the other registry", n)
			}
			f.nothingDeleted(t, name)
		})
	}
}

// TestInterruptedTagThatIsNotMoved: a run moves the tags that it was asked to move, and names those that an interrupted run
// has left and that it does not move.
func TestInterruptedTagThatIsNotMoved(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a", "canary", "production")
	s.killed(s.bring("b", "canary", "production"), "production")
	s.expectHolds("canary", "b")
	for range 2 {
		d := run(t, s.bring("c", "production"))
		if d.Result.ExitCode() != 0 || !told(d, "has left tag "+s.to("canary")+" at "+s.image("b").Root) || !told(d, "point it to "+s.image("a").Root) {
			t.Errorf("%s, told %q", d.Result, d.Notices)
		}
		s.expectHolds("production", "c")
		s.expectHolds("canary", "b")
	}
	d := run(t, s.bring("c", "canary", "production"))
	expect(t, d, document.Promoted)
	expectTag(t, d, ":canary", document.TagMoved, s.image("a").Root, s.image("c").Root)
	d = run(t, s.bring("d", "production"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
}

// TestFinishThatCopies something, and reads the tags again for it: they still count as what they held at first.
func TestFinishThatCopies(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.killed(t, 5)
	f.new[1].Sign(f.new[1].Root, ".sig", "later")
	push(t, f.new[1], f.source, "acme/app1")
	f.refuse(putOf(2, "production"))
	d := run(t, f.request(t, "dev"))
	faulted(t, d, document.Failed, "403")
	if d.Promotions[1].Copied.Manifests == 0 {
		t.Error("nothing was copied")
	}
	f.expect(t, "refused", f.old, f.new)
}
