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
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// moments are how many of a release's six tags had moved when it was killed.
var moments = []int{0, 1, 3, 4, 5, 6}

// TestFinish: the same release, run again, finishes what was left undone, in whatever order its images are named.
func TestFinish(t *testing.T) {
	long(t)
	for _, moved := range moments {
		f := newFleet(t, regtest.Options{Delete: true})
		f.killed(t, moved)
		r := f.request(t, "dev")
		slices.Reverse(r.Items)
		r.Settling = time.Hour // nobody waits for himself
		d := run(t, r)
		expect(t, d, document.Promoted)
		f.expect(t, fmt.Sprint("finished after ", moved), f.new, f.new)
		expectTag(t, d, "app0:production", document.TagMoved, f.old[0].Root, f.new[0].Root)
		if !told(d, "this run finishes it") || f.open(t) {
			t.Errorf("after %d: told %q, open %v", moved, d.Notices, f.open(t))
		}
		for n := range ships {
			j := journalAt(t, f.target, repoOf(n), "production")
			if j.Head.Repository != f.target.Host()+"/"+repoOf(0) {
				t.Errorf("the head moved to %s", j.Head)
			}
		}
		d = run(t, f.request(t, "next"))
		expect(t, d, document.Promoted)
		if len(d.Notices) > 0 {
			t.Errorf("told %q", d.Notices)
		}
		f.expect(t, "the next", f.next, f.new)
	}
}

// TestFinishThatFails puts everything back to what it was before the run that was killed. A tag that holds the new digest
// already is in place, whatever the registry answers to writing it again.
func TestFinishThatFails(t *testing.T) {
	long(t)
	for n := range ships {
		for _, name := range []string{"production", "v1"} {
			for _, moved := range moments {
				f := newFleet(t, regtest.Options{Delete: true})
				f.killed(t, moved)
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
					expect(t, d, document.Promoted)
					f.expect(t, what, f.new, f.new)
					continue
				}
				faulted(t, d, document.Failed, "403")
				f.expect(t, what, f.old, nil)
				if f.open(t) {
					t.Errorf("%s: the journal is open", what)
				}
				for _, p := range d.Promotions {
					for _, tag := range p.Tags {
						if tag.After != tag.Before || tag.State != document.TagPutBack && tag.State != document.TagPending {
							t.Errorf("%s: %+v", what, tag)
						}
					}
				}
			}
		}
	}
}

// TestFinishThatFailsEarly, before it has moved a tag: what the killed run left stays, the report says so, and the next
// run makes it good.
func TestFinishThatFailsEarly(t *testing.T) {
	long(t)
	for name, refused := range map[string]func(*http.Request) bool{
		"its journal": putOf(1, ledger.TagFor("production")),
		"its head":    putOf(0, ledger.TagFor("production")),
		"a read":      func(q *http.Request) bool { return on(http.MethodGet, "/app1/manifests/v1")(q) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, regtest.Options{Delete: true})
			f.killed(t, 4)
			if name == "its journal" { // has to be written again, as something has changed since
				if err := regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), "production", f.third[1].Root); err != nil {
					t.Fatal(err)
				}
			}
			f.refuse(refused)
			r := f.request(t, "dev")
			slices.Reverse(r.Items)
			r.Job.RunID = "2"
			d := run(t, r)
			faulted(t, d, document.Failed, "403")
			for n := range ships {
				for _, tag := range []string{"production", "v1"} {
					got := tagOf(d, fmt.Sprintf("app%d:%s", n, tag))
					if now := holds(t, f.target, repoOf(n), tag); got.State != document.TagPending && got.State != document.TagUnchanged || got.After != now && got.Before != "" {
						t.Errorf("%+v, and it holds %q", got, now)
					}
				}
			}
			if !f.open(t) {
				t.Error("the journal is closed")
			}
			f.refuse(nil)
			expect(t, run(t, f.request(t, "next", 1)), document.Promoted)
			f.expectOne(t, "the next", 1, f.next[1], nil)
			f.expectOne(t, "the next", 0, f.old[0], nil)
			f.expectTag(t, "the next", 0, "v1", "")
		})
	}
}

func tagOf(d document.Report, end string) document.Tag {
	for _, p := range d.Promotions {
		for _, tag := range p.Tags {
			if strings.HasSuffix(tag.Reference, end) {
				return tag
			}
		}
	}
	return document.Tag{}
}

// TestPutBackFirst: any other release puts back what one that was killed has moved, its fixed tags too; also one that
// has to do with one of its images only.
func TestPutBackFirst(t *testing.T) {
	long(t)
	for _, moved := range moments {
		f := newFleet(t, regtest.Options{Delete: true})
		f.killed(t, moved)
		d := run(t, f.request(t, "next"))
		expect(t, d, document.Promoted)
		f.expect(t, fmt.Sprint("another release after ", moved), f.next, nil)
		expectTag(t, d, "app0:production", document.TagMoved, f.old[0].Root, f.next[0].Root)
		if !told(d, "are put back first") || told(d, "Removed the tag "+f.target.Host()+"/"+repoOf(0)+":v1 again") != (moved > 0) {
			t.Errorf("after %d: told %q", moved, d.Notices)
		}

		for only := range ships {
			f := newFleet(t, regtest.Options{Delete: true})
			f.killed(t, moved)
			expect(t, run(t, f.request(t, "next", only)), document.Promoted)
			want := slices.Clone(f.old)
			want[only] = f.next[only]
			f.expect(t, fmt.Sprintf("one image after %d", moved), want, nil)
			if f.open(t) {
				t.Error("the journal is open")
			}
		}
	}
}

// TestPutBackFirstLetsOthersAlone: what somebody else has moved since stays, and that is said; so does what cannot be put
// back, as nothing can ever change that.
func TestPutBackFirstLetsOthersAlone(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.killed(t, 6)
	access := f.target.Access("", "")
	if err := regtest.PutTag(t.Context(), access, repoOf(1), "production", f.third[1].Root); err != nil {
		t.Fatal(err)
	}
	if err := regtest.DeleteManifest(t.Context(), access, repoOf(2), f.old[2].Root); err != nil {
		t.Fatal(err)
	}
	d := run(t, f.request(t, "next", 0))
	expect(t, d, document.Promoted)
	f.expect(t, "the next", []*regtest.Image{f.next[0], f.third[1], f.new[2]}, nil)
	if !told(d, "Let "+f.target.Host()+"/"+repoOf(1)+":production alone: it holds "+f.third[1].Root) || !told(d, f.old[2].Root+", which it held, is no longer") {
		t.Errorf("told %q", d.Notices)
	}
	if f.open(t) {
		t.Error("the journal is open")
	}
}

// TestPutBackFirstWhereNothingCanBeDeleted says which new tags stay.
func TestPutBackFirstWhereNothingCanBeDeleted(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.killed(t, 6)
	f.refuse(func(q *http.Request) bool { return q.Method == http.MethodDelete })
	d := run(t, f.request(t, "next"))
	expect(t, d, document.Promoted)
	f.expect(t, "the next", f.next, f.new)
	if !told(d, "could not be removed") {
		t.Errorf("told %q", d.Notices)
	}
	if d = run(t, f.request(t, "next")); d.Result != document.Unchanged || len(d.Notices) > 0 {
		t.Errorf("%s, told %q", d.Result, d.Notices)
	}
}

// TestPutBackFirstThatFails: then nothing of this run's is written, and the next tries again.
func TestPutBackFirstThatFails(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.killed(t, 6)
	f.refuse(putOf(2, "production"))
	d := run(t, f.request(t, "next", 0))
	faulted(t, d, document.Failed, "put back what an interrupted release moved", "403")
	for _, tag := range tagsWritten(f.target) {
		if tag == repoOf(0)+":"+ledger.TagFor("production") {
			t.Errorf("written: %s", tag)
		}
	}
	if !f.open(t) {
		t.Error("the journal is closed")
	}
	f.refuse(nil)
	expect(t, run(t, f.request(t, "next", 0)), document.Promoted)
	f.expect(t, "the next", []*regtest.Image{f.next[0], f.old[1], f.old[2]}, nil)
}

// TestGatedOffNothingIsPutBack: a dry run and a plan write nothing, and show what the tags will hold after the put-back.
func TestPutBackIsPlanned(t *testing.T) {
	long(t)
	for _, only := range [][]int{{0, 1, 2}, {1}} {
		f := newFleet(t, regtest.Options{Delete: true})
		f.killed(t, 5)
		dry := f.request(t, "next", only...)
		dry.DryRun = true
		d := run(t, dry)
		expect(t, d, document.WouldPromote)
		expectShown(t, f, d, only)
		plan := f.request(t, "next", only...)
		plan.Mode, plan.ValidFor = promote.Plan, time.Hour
		d = run(t, plan)
		expect(t, d, document.Planned)
		expectShown(t, f, d, only)
		untouched(t, f.target)
		for at, p := range d.Plan.Promotions {
			if p.Tags[0].Before != f.old[only[at]].Root {
				t.Errorf("the plan pins %+v", p.Tags)
			}
		}
		d = run(t, applying(t, *d.Plan))
		expect(t, d, document.Promoted)
		want := slices.Clone(f.old)
		for _, n := range only {
			want[n] = f.next[n]
		}
		f.expect(t, "applied", want, nil)
	}
}

// expectShown expects that the report says what the tags were before, and what they are now.
func expectShown(t *testing.T, f *fleet, d document.Report, which []int) {
	t.Helper()
	for _, n := range which {
		expectTag(t, d, fmt.Sprintf("app%d:production", n), document.TagPending, f.old[n].Root, holds(t, f.target, repoOf(n), "production"))
	}
}

// TestTagsWrittenOnce: a run that finishes another does not write again what stands, as its name may be one that is
// written once: that of a fixed tag's journal.
func TestTagsWrittenOnce(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true, Immutable: func(_, tag string) bool { return strings.Contains(tag, "v1") }})
	r := func(tag string) promote.Request {
		r := requestOf(
			item(t, f.source.Host()+"/acme/app0:"+tag, f.target.Host()+"/prod/app0:production"),
			item(t, f.source.Host()+"/acme/app1:"+tag, fixed+f.target.Host()+"/prod/app1:v1-"+tag),
		)
		r.Settling = settle
		return r
	}
	first := true
	f.refuse(func(q *http.Request) bool {
		hit := putOf(0, ledger.TagFor("production"))(q)
		was := first
		first = first && !hit
		return hit && !was
	})
	faulted(t, run(t, r("dev")), document.Failed, "every tag has moved")
	f.refuse(nil)
	expect(t, run(t, r("dev")), document.Promoted)
	f.expectTag(t, "finished", 1, "v1-dev", f.new[1].Root)
}

// TestStalePages: what an earlier release has left in a repository is not put back when the same release is killed anew,
// before it came to write there.
func TestStalePages(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	expect(t, run(t, f.request(t, "dev")), document.Promoted)
	// Two of the images are rolled back, one by one; their fixed tags stay.
	for n := range 2 {
		r := requestOf(item(t, fmt.Sprintf("%s/acme/app%d:next", f.source.Host(), n), f.target.Host()+"/"+repoOf(n)+":production"))
		expect(t, run(t, r), document.Promoted)
	}
	// The same release again comes as far as its head.
	f.refuse(func(q *http.Request) bool {
		return putOf(1, ledger.TagFor("production"))(q) || putOf(0, ledger.TagFor("production"))(q) && !journalAt(t, f.target, repoOf(0), "production").Done
	})
	expect(t, run(t, f.request(t, "dev")), document.Failed)
	f.refuse(nil)
	if !f.open(t) {
		t.Fatal("the journal is closed")
	}
	expect(t, run(t, f.request(t, "next", 0)), document.Unchanged)
	expect(t, run(t, f.request(t, "next")), document.Promoted)
	f.expect(t, "the next", f.next, f.new)
}

// TestReleaseMeanwhile: one that began while this one was copying, and was killed, is not overlooked.
func TestReleaseMeanwhile(t *testing.T) {
	long(t)
	f := newFleet(t, regtest.Options{Delete: true})
	var once sync.Once
	meanwhile := func() {
		time.Sleep(2200 * time.Millisecond) // longer than what was read is believed
		j := ledger.Journal{
			Release: digestOf("other"), Begun: time.Now(), Written: time.Now(),
			Head:  ledger.Place{Repository: f.target.Host() + "/" + repoOf(1), Tag: "production"},
			Moves: []ledger.Move{{Tag: "production", Before: f.old[1].Root, After: f.third[1].Root}},
		}
		j.Places = []ledger.Place{j.Head}
		if err := ledger.WriteJournal(t.Context(), opened(t, f.target, repoOf(1)), "production", j); err != nil {
			t.Error(err)
		}
		_ = regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), "production", f.third[1].Root)
	}
	f.notice(func(q *http.Request) {
		if q.Method == http.MethodPost && strings.Contains(q.URL.Path, "/app2/") {
			once.Do(meanwhile)
		}
	})
	d := run(t, f.request(t, "next"))
	faulted(t, d, document.Denied, "another release has begun", "concurrency")
	f.expect(t, "refused", []*regtest.Image{f.old[0], f.third[1], f.old[2]}, nil)
	expect(t, run(t, f.request(t, "next")), document.Promoted)
	f.expect(t, "the next", f.next, nil)
}

var longAgo = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)

// forge writes a journal for the tag production of a repository, as its owner may.
func (f *fleet) forge(t *testing.T, n int, change func(*ledger.Journal)) {
	t.Helper()
	j := ledger.Journal{
		Release: digestOf("forged"), Begun: longAgo, Written: longAgo,
		Head:  ledger.Place{Repository: f.target.Host() + "/" + repoOf(n), Tag: "production"},
		Moves: []ledger.Move{{Tag: "production", Before: f.third[n].Root, After: f.old[n].Root}},
	}
	j.Places = []ledger.Place{j.Head}
	change(&j)
	if err := ledger.WriteJournal(t.Context(), opened(t, f.target, repoOf(n)), "production", j); err != nil {
		t.Fatal(err)
	}
}

// TestForgedJournals: who may write to one repository moves nothing in another.
func TestForgedJournals(t *testing.T) {
	long(t)
	place := func(f *fleet, n int) ledger.Place {
		return ledger.Place{Repository: f.target.Host() + "/" + repoOf(n), Tag: "production"}
	}
	for name, forge := range map[string]func(t *testing.T, f *fleet){
		"of another repository's tags": func(t *testing.T, f *fleet) {
			f.forge(t, 0, func(j *ledger.Journal) {
				j.Moves[0].Before, j.Moves[0].After = f.third[1].Root, f.old[1].Root // names no repository, as none can be named
				j.Places = append(j.Places, place(f, 1))
			})
		},
		"that makes another release's part its own": func(t *testing.T, f *fleet) {
			// app1 has the journal of a release whose head is elsewhere, and which is over.
			f.forge(t, 1, func(j *ledger.Journal) { j.Head, j.Places = place(f, 2), nil })
			f.forge(t, 0, func(j *ledger.Journal) { j.Moves, j.Places = nil, []ledger.Place{place(f, 0), place(f, 1)} })
		},
		"of another release": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Release, j.Head, j.Places = digestOf("another"), place(f, 0), nil })
			f.forge(t, 0, func(j *ledger.Journal) { j.Moves, j.Places = nil, []ledger.Place{place(f, 0), place(f, 1)} })
		},
		"of a release at another time": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Head, j.Places, j.Begun = place(f, 0), nil, j.Begun.Add(-time.Hour) })
			f.forge(t, 0, func(j *ledger.Journal) { j.Moves, j.Places = nil, []ledger.Place{place(f, 0), place(f, 1)} })
		},
		"with a head that is not there": func(t *testing.T, f *fleet) {
			f.forge(t, 0, func(j *ledger.Journal) { j.Head = place(f, 1) })
		},
		"with the head of another release that is under way": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Release = digestOf("another") })
			f.forge(t, 0, func(j *ledger.Journal) { j.Head = place(f, 1) })
		},
		"with a head that calls another the head": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Head = place(f, 2) })
			f.forge(t, 0, func(j *ledger.Journal) { j.Head = place(f, 1) })
		},
		"with a head of another release": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Release = digestOf("another"); j.Done = true })
			f.forge(t, 0, func(j *ledger.Journal) { j.Head = place(f, 1) })
		},
		"with a head that is done": func(t *testing.T, f *fleet) {
			f.forge(t, 1, func(j *ledger.Journal) { j.Done = true })
			f.forge(t, 0, func(j *ledger.Journal) { j.Head = place(f, 1) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, regtest.Options{Delete: true})
			forge(t, f)
			r := requestOf(item(t, f.source.Host()+"/acme/app0:next", f.target.Host()+"/"+repoOf(0)+":canary"), item(t, f.source.Host()+"/acme/app0:next", f.target.Host()+"/"+repoOf(0)+":production"))
			r.Items = r.Items[1:]
			r.Settling = settle
			expect(t, run(t, r), document.Promoted)
			f.expect(t, name, []*regtest.Image{f.next[0], f.old[1], f.old[2]}, nil)
		})
	}
}

// TestJournalThatLeadsElsewhere: to a registry that the run does not write to, nobody goes.
func TestJournalThatLeadsElsewhere(t *testing.T) {
	for name, where := range map[string]func(j *ledger.Journal, to ledger.Place){
		"its head":   func(j *ledger.Journal, to ledger.Place) { j.Head = to },
		"its places": func(j *ledger.Journal, to ledger.Place) { j.Places = append(j.Places, to) },
	} {
		t.Run(name, func(t *testing.T) {
			f, other := newFleet(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			f.forge(t, 0, func(j *ledger.Journal) {
				where(j, ledger.Place{Repository: other.Host() + "/prod/x", Tag: "production"})
			})
			f.target.ResetRequests()
			d := run(t, f.request(t, "next"))
			faulted(t, d, document.Denied, other.Host()+"/prod/x", "does not write to", "Run that release again", f.target.Host()+"/"+repoOf(0)+":"+ledger.TagFor("production")+": delete that tag")
			untouched(t, f.target)
			if n := len(other.Requests()); n > 0 {
				t.Errorf("%d requests to the other registry", n)
			}
		})
	}
	f := newFleet(t, regtest.Options{})
	f.forge(t, 0, func(j *ledger.Journal) { j.Head.Repository = "https://not a repository\n" + strings.Repeat("x", 5000) })
	d := run(t, f.request(t, "next"))
	faulted(t, d, document.Denied, "which is no repository", "delete that tag")
	if len(d.Faults[0].Message) > 1000 {
		t.Errorf("a message of %d bytes", len(d.Faults[0].Message))
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
	f.expect(t, "refused", f.old, nil)
}
