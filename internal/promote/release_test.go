package promote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// killed makes a release by the tag dev that is ended before its outcome is written, and undoes by hand what it would not
// have moved yet: moved is how many of its tags are moved, in their order: v1 of each, then production of each.
func (f *fleet) killed(t *testing.T, moved int) {
	t.Helper()
	f.killedAs(t, f.request(t, "dev"), moved)
}

func (f *fleet) killedAs(t *testing.T, r promote.Request, moved int) {
	t.Helper()
	f.refuse(onceTagsMove(noLedger))
	expectUnrecorded(t, run(t, r))
	f.expect(t, "killed at the end", f.new, f.new)
	f.refuse(nil)
	access := f.target.Access("", "")
	for n := range ships {
		if n >= moved {
			if err := regtest.DeleteManifest(t.Context(), access, repoOf(n), "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if n+ships >= moved {
			if err := regtest.PutTag(t.Context(), access, repoOf(n), "production", f.old[n].Root); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.says(t, "killed", "pending")
	f.target.ResetRequests()
}

// says expects what the ledgers say, oldest first: of all repositories the same.
func (f *fleet) says(t *testing.T, what string, want ...string) {
	t.Helper()
	for n := range ships {
		f.saysOf(t, what, n, want...)
	}
}

func (f *fleet) saysOf(t *testing.T, what string, n int, want ...string) {
	t.Helper()
	if got := states(t, f.target, repoOf(n)); !slices.Equal(got, want) {
		t.Errorf("%s: the ledger of %s says %q, want %q", what, repoOf(n), got, want)
	}
}

// open reports whether a ledger says that tags are moving.
func (f *fleet) open(t *testing.T) bool {
	t.Helper()
	for n := range ships {
		if slices.Contains(states(t, f.target, repoOf(n)), "pending") {
			return true
		}
	}
	return false
}

// tagsWritten are the tags that were written, in their order, with those of ledgers.
func tagsWritten(at *regtest.Registry) (all []string) {
	for _, w := range writes(at) {
		if path, tag, ok := strings.Cut(w, "/manifests/"); ok && !strings.HasPrefix(tag, "sha256") {
			all = append(all, strings.TrimPrefix(path, "PUT /v2/")+":"+tag)
		}
	}
	return all
}

func isLedger(reference string) bool { return strings.Contains(reference, ":promotion-ledger.") }

// TestRelease: every ledger says what is to come before the first tag moves, and what has come once the last has.
func TestRelease(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	r := f.request(t, "dev")
	r.Job.URL, r.Job.RunID = "https://github.com/acme/app/actions/runs/7", "7"
	d := run(t, r)
	expect(t, d, document.Promoted)
	f.expect(t, "a release", f.new, f.new)
	for n := range ships {
		expectTag(t, d, fmt.Sprint("app", n, ":production"), document.TagMoved, f.old[n].Root, f.new[n].Root)
		expectTag(t, d, fmt.Sprint("app", n, ":v1"), document.TagMoved, "", f.new[n].Root)
	}
	order := tagsWritten(f.target)
	const before, moves, after = 3 * ships, 2 * ships, ships // two empty heads and an entry; the tags; an outcome
	if len(order) != before+moves+after || order[before] != repoOf(0)+":v1" {
		t.Fatalf("written in the order %q", order)
	}
	for at, tag := range order {
		if isLedger(tag) != (at < before || at >= before+moves) {
			t.Errorf("written in the order %q: %s", order, tag)
		}
	}
	f.expectOneRelease(t, r)
	f.target.ResetRequests()
	expect(t, run(t, f.request(t, "dev")), document.Unchanged)
	untouched(t, f.target)
	d = run(t, f.request(t, "next"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
	f.expect(t, "the next release", f.next, f.new)
	f.says(t, "the next release", "promoted", "promoted")
}

// expectOneRelease expects that each ledger has one entry, and each record names all members of the release.
func (f *fleet) expectOneRelease(t *testing.T, r promote.Request) {
	t.Helper()
	releases := map[string]bool{}
	for n := range ships {
		all := papers(t, f.target, repoOf(n), "production")
		if len(all) != 1 {
			t.Fatalf("%d records", len(all))
		}
		e := all[0].entry
		releases[e.intent.Line.Release] = true
		if e.outcome.State != "promoted" || e.intent.Run.ID != "7" || e.intent.Run.URL != r.Job.URL {
			t.Errorf("the entry of %s is %+v", repoOf(n), e)
		}
		var members []string
		for _, m := range all[0].says["members"].([]any) {
			members = append(members, fmt.Sprint(m.(map[string]any)["repository"], " ", m.(map[string]any)["digest"]))
		}
		for m := range ships {
			if want := f.target.Host() + "/" + repoOf(m) + " " + f.new[m].Root; !slices.Contains(members, want) || len(members) != ships {
				t.Errorf("the record of %s names %q, not %s", repoOf(n), members, want)
			}
		}
	}
	if len(releases) != 1 || releases[""] {
		t.Errorf("the entries are of the releases %v", releases)
	}
}

// TestReleaseThatIsRefused at one tag: all is put back, the ledgers say that it failed, and the report says what each tag is.
func TestReleaseThatIsRefused(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.refuse(putOf(1, "production"))
	d := run(t, f.request(t, "dev"))
	faulted(t, d, document.Failed, "app1:production", "403")
	f.expect(t, "refused", f.old, nil)
	for n := range ships {
		expectTag(t, d, fmt.Sprint("app", n, ":v1"), document.TagPutBack, "", "")
		got := tag(t, d, fmt.Sprint("app", n, ":production"))
		if got.After != f.old[n].Root || got.Before != f.old[n].Root || got.State != document.TagPutBack && got.State != document.TagPending {
			t.Errorf("%+v", got)
		}
	}
	if got := tag(t, d, "app1:production"); got.State != document.TagPending || got.Note != "the registry refused the write" {
		t.Errorf("%+v", got)
	}
	f.says(t, "refused", "failed")
	f.refuse(nil)
	d = run(t, f.request(t, "dev"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
	f.expect(t, "at last", f.new, f.new)
	f.says(t, "at last", "failed", "promoted")
}

// TestReleaseThatCannotBePutBack: the ledger says of the one tag that it was left, the next run of another image moves
// nothing there, and the next run of that image goes on from it.
func TestReleaseThatCannotBePutBack(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	seen := 0
	f.refuse(func(q *http.Request) bool {
		if putOf(0, "production")(q) {
			seen++
			return seen > 1
		}
		return putOf(1, "production")(q)
	})
	// The second tag is refused once the first has moved.
	moved := make(chan struct{})
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) {
			<-moved
		}
	})
	f.served = func(q *http.Request) {
		if putOf(0, "production")(q) {
			close(moved)
		}
	}
	d := run(t, f.request(t, "dev"))
	expect(t, d, document.Failed)
	expectTag(t, d, "app0:production", document.TagLeft, f.old[0].Root, f.new[0].Root)
	f.saysOf(t, "left", 0, "interrupted")
	f.saysOf(t, "left", 1, "failed")
	f.saysOf(t, "left", 2, "failed")
	f.refuse(nil)
	f.notice(nil)
	f.served = nil
	d = run(t, f.request(t, "next", 2))
	expect(t, d, document.Promoted)
	f.expectOne(t, "after the next", 0, f.new[0], nil)
	f.expectOne(t, "after the next", 1, f.old[1], nil)
	f.expectOne(t, "after the next", 2, f.next[2], nil)
	f.saysOf(t, "after the next", 0, "interrupted")

	// One that fails goes back to what was there before the interrupted run.
	f.refuse(func(q *http.Request) bool { return putOf(1, "production")(q) })
	d = run(t, f.request(t, "next", 0, 1))
	expect(t, d, document.Failed)
	f.expectOne(t, "failed", 1, f.old[1], nil)
	if got := holds(t, f.target, repoOf(0), "production"); got == f.next[0].Root {
		t.Errorf("app0:production holds %s", got)
	}
	f.refuse(nil)
	d = run(t, f.request(t, "next"))
	expect(t, d, document.Promoted)
	f.expect(t, "at last", f.next, nil)
}

// TestReleaseOfWhichOneIsTaken: somebody else's tag stays, and that is said.
func TestReleaseOfWhichOneIsTaken(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.refuse(putOf(1, "production"))
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) { // app0's v1 has moved by then
			_ = regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(0), "v1", f.third[0].Root)
		}
	})
	d := run(t, f.request(t, "dev"))
	expect(t, d, document.Failed)
	expectTag(t, d, "app0:v1", document.TagTaken, "", f.third[0].Root)
	f.expectTag(t, "taken", 0, "v1", f.third[0].Root)
	for n := range ships {
		f.expectTag(t, "taken", n, "production", f.old[n].Root)
		if n > 0 {
			f.expectTag(t, "taken", n, "v1", "")
		}
	}
	f.says(t, "taken", "failed")
}

// TestReleaseOfWhichOneCannotBeCopied: no tag has moved, and no entry is written.
func TestReleaseOfWhichOneCannotBeCopied(t *testing.T) {
	for name, refused := range map[string]func(*http.Request) bool{
		"nothing can be written": func(q *http.Request) bool { return isWrite(q) && strings.Contains(q.URL.Path, "/app2/") },
		"no manifest can be": func(q *http.Request) bool {
			return isWrite(q) && strings.Contains(q.URL.Path, "/app2/manifests/sha256")
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, regtest.Options{})
			f.refuse(refused)
			d := run(t, f.request(t, "dev"))
			faulted(t, d, document.Failed, "app2", "403")
			f.expect(t, "not copied", f.old, nil)
			for _, tag := range tagsWritten(f.target) {
				if !isLedger(tag) && !strings.HasPrefix(tag, repoOf(2)) {
					t.Errorf("written: %s", tag)
				}
			}
			f.says(t, "not copied")
			for n := range ships {
				expectTag(t, d, fmt.Sprint("app", n, ":production"), document.TagPending, f.old[n].Root, f.old[n].Root)
			}
		})
	}
}

// TestReleaseInOneRepository: each image has a ledger of its own there, and a run over one of them changes that one alone.
func TestReleaseInOneRepository(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	to := func(n int, tag string) promote.Item {
		return item(t, fmt.Sprintf("%s/acme/app%d:%s", f.source.Host(), n, tag), fmt.Sprintf("%s/prod/all:app%d", f.target.Host(), n))
	}
	says := func(what string, n int, want ...string) {
		t.Helper()
		var got []string
		for _, e := range rows(t, f.target, "prod/all", fmt.Sprint("app", n)) {
			got = append(got, e.outcome.State)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the ledger of app%d says %q, want %q", what, n, got, want)
		}
	}
	var items []promote.Item
	for n := range ships {
		items = append(items, to(n, "dev"))
	}
	f.refuse(onceTagsMove(noLedger))
	expectUnrecorded(t, run(t, requestOf(items...)))
	f.refuse(nil)
	for n := range ships {
		if got := holds(t, f.target, "prod/all", fmt.Sprint("app", n)); got != f.new[n].Root {
			t.Fatalf("app%d holds %q", n, got)
		}
	}
	r := requestOf(to(1, "next"))
	r.Lease = settle
	expect(t, run(t, r), document.Promoted)
	for n, want := range []string{f.new[0].Root, f.next[1].Root, f.new[2].Root} {
		if got := holds(t, f.target, "prod/all", fmt.Sprint("app", n)); got != want {
			t.Errorf("app%d holds %q, want %q", n, got, want)
		}
	}
	says("the next", 0, "pending")
	says("the next", 1, "promoted", "promoted") // all members are in this repository, and were in place
	says("the next", 2, "pending")
	r = requestOf(to(0, "dev"))
	r.Lease = settle
	expect(t, run(t, r), document.Promoted)
	says("at last", 0, "interrupted", "promoted") // app1 has gone on since, so that this run cannot tell what the first has come to
}

// TestReleaseToTwoRegistries: each has a ledger of its own, and a run over both can tell that all was in place.
func TestReleaseToTwoRegistries(t *testing.T) {
	long(t)
	f, g := newFleet(t, regtest.Options{Delete: true}), newFleet(t, regtest.Options{Delete: true})
	both := func(tag string) promote.Request {
		r := requestOf(
			item(t, f.source.Host()+"/acme/app0:"+tag, f.target.Host()+"/prod/app0:production"),
			item(t, f.source.Host()+"/acme/app1:"+tag, g.target.Host()+"/prod/app1:production"),
		)
		r.Lease = settle
		return r
	}
	f.refuse(onceTagsMove(noLedger))
	g.refuse(onceTagsMove(noLedger))
	expectUnrecorded(t, run(t, both("dev")))
	f.refuse(nil)
	g.refuse(nil)
	f.saysOf(t, "unrecorded", 0, "pending")
	g.saysOf(t, "unrecorded", 1, "pending")
	expect(t, run(t, both("next")), document.Promoted)
	f.expectOne(t, "the next", 0, f.next[0], nil)
	g.expectOne(t, "the next", 1, f.next[1], nil)
	f.saysOf(t, "the next", 0, "promoted", "promoted")
	g.saysOf(t, "the next", 1, "promoted", "promoted")
}

// TestWriteThatLandsLate: nobody has answered it, and the tag shows what it held. It may still land, and that is said.
// The next run replaces it.
func TestWriteThatLandsLate(t *testing.T) {
	long(t)
	t.Parallel()
	f := newFleet(t, regtest.Options{Delete: true})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) {
			cancel(errors.New("enough"))
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}
	})
	d := runWith(t, ctx, anonymous(), f.request(t, "dev"), &watcher{})
	faulted(t, d, document.Failed, "enough")
	if got := tag(t, d, "app1:production"); got.State != document.TagPending || !strings.Contains(got.Note, "read it again") {
		t.Errorf("%+v", got)
	}
	f.expect(t, "ended", f.old, nil)
	f.notice(nil)
	push(t, f.new[1], f.target, repoOf(1), "production") // it lands
	expect(t, run(t, f.request(t, "next", 0)), document.Promoted)
	f.expect(t, "the next", []*regtest.Image{f.next[0], f.new[1], f.old[2]}, nil)
	expect(t, run(t, f.request(t, "next")), document.Promoted)
	f.expect(t, "at last", f.next, nil)
}

// TestReopenedEntry: who may write to one repository can say there that a release is under way again. Its own tags tell
// what became of it, and no other repository is touched.
func TestReopenedEntry(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	expect(t, run(t, f.request(t, "dev")), document.Promoted)
	f.tamper(t, 0, func(e *entry) {
		e.outcome = entryOutcome{Record: e.record, State: "pending", Renewed: longAgo}
	})
	f.saysOf(t, "reopened", 0, "pending")
	f.target.ResetRequests()
	expect(t, run(t, f.request(t, "next", 0)), document.Promoted)
	f.expectOne(t, "another repository", 1, f.new[1], f.new[1])
	f.expectOne(t, "another repository", 2, f.new[2], f.new[2])
	f.saysOf(t, "reopened", 0, "interrupted", "promoted") // whether the others were in place, this run cannot tell
	for _, w := range writes(f.target) {
		if !strings.Contains(w, repoOf(0)) {
			t.Errorf("written: %s", w)
		}
	}
}

var longAgo = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)

// tamper changes the newest entry of a ledger, in both heads, as the repository's owner may.
func (f *fleet) tamper(t *testing.T, n int, change func(*entry)) {
	t.Helper()
	all := rows(t, f.target, repoOf(n), "production")
	change(&all[len(all)-1])
	f.publish(t, n, all)
}

// publish writes both heads of the ledger of the tag production.
func (f *fleet) publish(t *testing.T, n int, all []entry) {
	t.Helper()
	access := f.target.Access("", "")
	if _, err := regtest.PutBlob(t.Context(), access, repoOf(n), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	for at, tag := range ledgerTags("tag", "production") {
		text := headWith(t, "tag", "production", 100+at, all)
		if err := regtest.PutManifest(t.Context(), access, repoOf(n), tag, manifestOCI, text); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReleaseWithoutALedger: where one cannot be written, no tag moves.
func TestReleaseWithoutALedger(t *testing.T) {
	long(t)
	for n := range ships {
		for name, from := range map[string]int{"none can be created": 1, "no entry can be written": 3} {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				inBubble(t, func(t *testing.T, _ *regtest.Memory) {
					f := newFleet(t, regtest.Options{})
					f.refuse(fromNth(from, func(q *http.Request) bool { return noLedger(q) && strings.Contains(q.URL.Path, repoOf(n)) }))
					d := run(t, f.request(t, "dev"))
					faulted(t, d, document.Failed, "cannot write the promotion record; no tag was moved", repoOf(n)+":promotion-ledger.", "403")
					f.expect(t, "no ledger", f.old, nil)
					if f.open(t) {
						t.Error("a ledger says that tags are moving")
					}
					f.refuse(nil)
					expect(t, run(t, f.request(t, "next")), document.Promoted)
					f.expect(t, "the next", f.next, nil)
				})
			})
		}
	}
}
