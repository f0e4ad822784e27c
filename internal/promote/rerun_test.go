package promote_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// releases are the dated tags that there are.
func (s *works) releases() []string {
	s.Helper()
	tags, err := regtest.Tags(s.Context(), s.target.Access("", ""), s.repo)
	if err != nil {
		s.Fatal(err)
	}
	return slices.DeleteFunc(tags, func(tag string) bool { return !strings.HasPrefix(tag, "release-") })
}

// datedAt is the dated tag of a request.
func datedAt(r promote.Request) string { return "release-" + r.Started.Format("20060102-150405") }

func (s *works) expectReleases(want ...string) {
	s.Helper()
	slices.Sort(want)
	if got := s.releases(); !slices.Equal(got, want) {
		s.Errorf("dated tags %q, want %q", got, want)
	}
}

// stop is where an attempt is stopped: at requests that match, after which it ends so, and what the ledger says of it
// once another one has followed; empty: it has no entry.
type stop struct {
	match func() func(*http.Request) bool
	want  document.Result
	says  string
}

// stops are the places where a first attempt ends.
var stops = map[string]stop{
	"before the record":             {always(func(q *http.Request) bool { return q.Method == http.MethodPost }), document.Failed, ""},
	"at its entry":                  {always(noLedger), document.Failed, ""},
	"killed after its entry":        {killedAfter(noLedger), document.Failed, "failed"},
	"at the first tag":              {always(onRelease), document.Failed, "failed"},
	"killed after the first tag":    {killedAfter(onRelease), document.Failed, "interrupted"},
	"after the first tag":           {always(on(http.MethodPut, "/manifests/production")), document.Failed, "failed"},
	"after the second tag":          {always(on(http.MethodPut, "/manifests/latest")), document.Failed, "failed"},
	"killed at the last tag":        {killedAt(on(http.MethodPut, "/manifests/latest")), document.Failed, "interrupted"},
	"after all, before its outcome": {func() func(*http.Request) bool { return onceTagsMove(noLedger) }, document.Unrecorded, "done"},
	"at no place":                   {always(nil), document.Promoted, "done"},
}

func onRelease(q *http.Request) bool {
	return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/release-")
}

func always(match func(*http.Request) bool) func() func(*http.Request) bool {
	return func() func(*http.Request) bool { return match }
}

// isWrite matches what changes a registry.
func isWrite(q *http.Request) bool { return q.Method != http.MethodGet && q.Method != http.MethodHead }

// killedAfter matches every write that follows the first request that matches: nothing arrives any more, as if the run had
// been killed.
func killedAfter(match func(*http.Request) bool) func() func(*http.Request) bool {
	return func() func(*http.Request) bool {
		ended := false
		return func(q *http.Request) bool {
			was := ended
			ended = ended || match(q)
			return was && isWrite(q)
		}
	}
}

// killedAt matches every write from the first request on that matches.
func killedAt(match func(*http.Request) bool) func() func(*http.Request) bool {
	return func() func(*http.Request) bool {
		ended := false
		return func(q *http.Request) bool {
			ended = ended || match(q)
			return ended && isWrite(q)
		}
	}
}

// onceTagsMove matches what matches once a tag has been written that is not of the program's own.
func onceTagsMove(match func(*http.Request) bool) func(*http.Request) bool {
	moved := false
	return func(q *http.Request) bool {
		_, tag, found := strings.Cut(q.URL.Path, "/manifests/")
		moved = moved || q.Method == http.MethodPut && found && !strings.HasPrefix(tag, "promotion-") && !strings.HasPrefix(tag, "sha256")
		return moved && match(q)
	}
}

// TestRerun of a promotion: a later attempt, an hour later, is the same promotion.
func TestRerun(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, stop := range stops {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, o)
				s.promoted("a", "production", "latest")
				s.refuse(http.StatusForbidden, stop.match())
				r := s.bring("b", "production", "latest", dated)
				if d := run(t, r); d.Result != stop.want {
					t.Fatalf("result %s, want %s: %+v", d.Result, stop.want, d.Faults)
				}
				d, tag, r2 := s.goesOn(stop, r, document.Promoted)
				told := append([]string{"a promoted"}, stop.tells("b", "promoted")...)
				s.expectOutcomes(told...)
				// And once more, when all is done.
				expect(t, run(t, again(r2)), document.Unchanged)
				s.expectDone(d, "b", tag)
				s.expectOutcomes(told...)
				// Another run is another promotion.
				other := s.bring("b", "production", "latest", dated)
				expect(t, run(t, other), document.Promoted)
				s.expectReleases(tag, datedAt(other))
				s.expectOutcomes(append(told, "b promoted")...)
			})
		}
	})
}

// tells is what the ledger says of the attempt that was stopped, and of the one after it.
func (at stop) tells(name, good string) []string {
	switch at.says {
	case "", "done":
		return []string{name + " " + good}
	}
	return []string{name + " " + at.says, name + " " + good}
}

// expectDone expects an image under both moving tags and one dated one, and its record in the report.
func (s *works) expectDone(d document.Report, name string, release string) {
	s.Helper()
	for _, tag := range []string{"production", "latest", release} {
		s.expectHolds(tag, name)
	}
	s.expectReleases(release)
	if all := s.rows(); d.Promotions[0].Record != all[len(all)-1].record || !d.Promotions[0].Recorded {
		s.Errorf("the report names the record %q, recorded %v", d.Promotions[0].Record, d.Promotions[0].Recorded)
	}
}

// TestRerunWhereTagsCannotBeDeleted: what the first attempt wrote stays, and is what the second would write.
func TestRerunWhereTagsCannotBeDeleted(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{Wrap: forUs(regtest.Answer(func(q *http.Request) bool { return q.Method == http.MethodDelete }, http.StatusMethodNotAllowed, "application/json", []byte(`{"errors":[{"code":"UNSUPPORTED"}]}`)))})
	s.promoted("a", "production", "latest")
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
	r := s.bring("b", "production", "latest", dated)
	d := run(t, r)
	expect(t, d, document.Failed)
	s.expectReleases(datedAt(r))
	s.expectOutcomes("a promoted", "b interrupted")
	s.refuse(0, nil)
	d = run(t, again(r))
	expect(t, d, document.Promoted)
	s.expectDone(d, "b", datedAt(r))
	s.expectOutcomes("a promoted", "b interrupted", "b promoted")
}

// TestRerunOfASourceThatMoved brings another image: that is another promotion, with a record and a date of its own.
func TestRerunOfASourceThatMoved(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("z")
		push(t, s.image("a"), s.source, "acme/app", "dev")
		s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/production"))
		r := s.nth(request(t, s.source.Host()+"/acme/app:dev", s.to("production"), s.to(dated)))
		expect(t, run(t, r), document.Failed)
		s.refuse(0, nil)
		push(t, s.image("b"), s.source, "acme/app", "dev")
		r2 := again(r)
		expect(t, run(t, r2), document.Promoted)
		s.expectHolds("production", "b")
		s.expectReleases(datedAt(r2))
		s.expectOutcomes("z promoted", "a failed", "b promoted")
		s.expectRecords(3)

		// Once more, it is the second attempt's promotion.
		expect(t, run(t, again(r2)), document.Unchanged)
		s.expectReleases(datedAt(r2))
		s.expectRecords(3)
	})
}

// TestRerunAfterAnother: what another run has brought meanwhile is replaced, and that is not the first promotion.
func TestRerunAfterAnother(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	r := s.bring("a", "production", dated)
	expect(t, run(t, r), document.Promoted)
	s.promoted("b")
	r2 := again(r)
	expect(t, run(t, r2), document.Promoted)
	s.expectHolds("production", "a")
	s.expectOutcomes("a promoted", "b promoted", "a promoted")
	s.expectRecords(3)
}

// TestRerunOfOtherKinds: another job, another environment and another mode of one run are other promotions.
func TestRerunOfOtherKinds(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a")
	r := s.bring("b", "production", dated)
	expect(t, run(t, r), document.Promoted)
	back := s.back("", "production", dated)
	back.Job = again(r).Job
	expect(t, run(t, back), document.RolledBack)
	s.expectHolds("production", "a")
	s.expectReleases(datedAt(r), datedAt(back))
	job := again(r)
	job.Job.Name, job.Started = "another", job.Started.Add(2*time.Hour)
	expect(t, run(t, job), document.Promoted)
	s.expectOutcomes("a promoted", "b promoted", "a rolled-back", "b promoted")
	s.expectReleases(datedAt(r), datedAt(back), datedAt(job))
	s.expectRecords(4)
	env := again(r)
	env.TargetEnv = "canary"
	env.Items = []promote.Item{item(t, s.source.Host()+"/acme/app:b", s.to("canary"))}
	expect(t, run(t, env), document.Promoted)
	s.expectRecords(4)
	if n := len(papers(t, s.target, s.repo, "canary")); n != 1 {
		t.Errorf("%d records", n)
	}
}

// TestRerunOfDatesAlone: no environment, and the only tags have a date in them.
func TestRerunOfDatesAlone(t *testing.T) {
	long(t)
	t.Parallel()
	for name, stop := range map[string]struct {
		match func(*http.Request) bool
		want  document.Result
		then  document.Result
	}{
		"done":       {nil, document.Promoted, document.Unchanged},
		"unrecorded": {onceTagsMove(noLedger), document.Unrecorded, document.Unchanged},
	} {
		t.Run(name, func(t *testing.T) {
			s := newWorks(t, regtest.Options{})
			s.refuse(http.StatusForbidden, stop.match)
			r := s.bring("a", dated)
			r.TargetEnv = ""
			if d := run(t, r); d.Result != stop.want {
				t.Errorf("result %s: %+v", d.Result, d.Faults)
			}
			s.refuse(0, nil)
			r = again(r)
			expect(t, run(t, r), stop.then)
			s.expectReleases(datedAt(promote.Request{Started: r.Started.Add(-61 * time.Minute)}))
		})
	}
}

// TestRerunOfAPlainTarget keeps its dates too.
func TestRerunOfAPlainTarget(t *testing.T) {
	t.Parallel()
	for _, target := range []string{"stable", "v-{{digest}}"} {
		t.Run(target, func(t *testing.T) {
			s := newWorks(t, regtest.Options{})
			r := s.bring("a", target, dated)
			r.TargetEnv = ""
			expect(t, run(t, r), document.Promoted)
			expect(t, run(t, again(r)), document.Unchanged)
			s.expectReleases(datedAt(r))
		})
	}
}

// TestRerunOfARelease of three: every image keeps its record and its date, wherever the first attempt ended.
func TestRerunOfARelease(t *testing.T) {
	long(t)
	t.Parallel()
	ledgerOf := func(n int) func(*http.Request) bool {
		return func(q *http.Request) bool { return noLedger(q) && strings.Contains(q.URL.Path, repoOf(n)) }
	}
	for name, test := range map[string]struct {
		match func(*http.Request) bool
		says  string // what the ledgers say of the first attempt, as far as it had entries
	}{
		"at the second ledger":     {ledgerOf(1), "failed"},
		"at the second entry":      {fromNth(3, ledgerOf(1)), "failed"},
		"at the second tag":        {putOf(1, "production"), "failed"},
		"killed at the second tag": {killedAfter(putOf(0, "production"))(), "interrupted"},
		"at the second outcome":    {onceTagsMove(ledgerOf(1)), "promoted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, regtest.Options{Delete: true})
			r := f.request(t, "next")
			for n := range r.Items {
				r.Items[n].Targets = add(r.Items[n].Targets, r.Items[n].Targets[0].Repository, item(t, "x.example/y:z", fixed+f.target.Host()+"/"+repoOf(n)+":release-{{date 'YYYYMMDD-HHmmss'}}").Targets[0].Tags[0])
			}
			r.TargetEnv, r.Job = "production", document.Job{RunID: "1", Attempt: "1", Name: "promote"}
			f.refuse(test.match)
			if d := run(t, r); d.Result != document.Failed && d.Result != document.Unrecorded {
				t.Fatalf("result %s", d.Result)
			}
			f.refuse(nil)
			r2 := again(r)
			d := run(t, r2)
			if d.Result.ExitCode() != 0 {
				t.Fatalf("result %s: %+v", d.Result, d.Faults)
			}
			names := map[string]bool{}
			for n := range ships {
				f.expectTag(t, name, n, "production", f.next[n].Root)
				l := states(t, f.target, repoOf(n))
				if first := l[:len(l)-1]; l[len(l)-1] != "promoted" || len(first) > 1 || len(first) == 1 && first[0] != test.says {
					t.Errorf("image %d: %q", n, l)
				}
				tags, err := regtest.Tags(t.Context(), f.target.Access("", ""), repoOf(n))
				if err != nil {
					t.Fatal(err)
				}
				count := 0
				for _, tag := range tags {
					if strings.HasPrefix(tag, "release-") {
						count++
						names[tag] = true
						f.expectTag(t, name, n, tag, f.next[n].Root)
					}
				}
				if count != 1 {
					t.Errorf("image %d has %d dated tags", n, count)
				}
			}
			if len(names) != 1 {
				t.Errorf("the release has the dates %v", names)
			}
		})
	}
}

// fromNth matches from the n-th that matches on.
func fromNth(n int, match func(*http.Request) bool) func(*http.Request) bool {
	return func(q *http.Request) bool {
		if match(q) {
			n--
			return n <= 0
		}
		return false
	}
}

// states are what the ledger of production says in a repository, oldest first.
func states(t testing.TB, at *regtest.Registry, repo string) (all []string) {
	t.Helper()
	for _, e := range rows(t, at, repo, "production") {
		all = append(all, e.outcome.State)
	}
	return all
}

// goesOn runs it again after an attempt that was stopped, to the image b: under the names of the first attempt if that
// had written its record, else of its own.
func (s *works) goesOn(at stop, r promote.Request, want document.Result) (d document.Report, tag string, next promote.Request) {
	s.Helper()
	s.refuse(0, nil)
	next = again(r)
	d, tag = run(s, next), datedAt(r)
	if at.want != document.Failed {
		want = document.Unchanged
	}
	if at.says == "" {
		tag = datedAt(next)
	}
	expect(s, d, want)
	s.expectDone(d, "b", tag)
	return d, tag, next
}

// TestRerunOfARollback goes where the first attempt went, and not further.
func TestRerunOfARollback(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, stop := range stops {
			if name == "before the record" {
				continue // nothing is uploaded then but the record
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, o)
				var before []string
				for _, name := range []string{"a", "b", "c"} {
					s.promoted(name, "production", "latest")
					before = append(before, name+" promoted")
				}
				s.refuse(http.StatusForbidden, stop.match())
				r := s.back("", "production", "latest", dated)
				first := run(t, r)
				if stop.want == document.Promoted {
					expect(t, first, document.RolledBack)
				} else if first.Result != stop.want {
					t.Fatalf("result %s, want %s: %+v", first.Result, stop.want, first.Faults)
				}
				s.goesOn(stop, r, document.RolledBack)
				s.expectOutcomes(append(before, stop.tells("b", "rolled-back")...)...)
				// Another run goes further back.
				expect(t, run(t, s.back("", "production", "latest", dated)), document.RolledBack)
				s.expectHolds("production", "a")
			})
		}
	})
}

// TestRunAgainByHand of a rollback that was ended midway, as another run: what it did not finish does not count, so that
// it goes to the same image, and not further.
func TestRunAgainByHand(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		for _, name := range []string{"a", "b", "c"} {
			s.promoted(name, "production", "latest")
		}
		s.killed(s.back("", "production", "latest"), "latest")
		s.expectHolds("production", "b")
		s.expectHolds("latest", "c")
		d := run(t, s.back("", "production", "latest"))
		expect(t, d, document.RolledBack)
		if !told(d, "A rollback of "+s.to("production")+" to "+s.image("b").Root+" was interrupted; this run finishes it.") {
			t.Errorf("notices %q", d.Notices)
		}
		s.expectHolds("production", "b")
		s.expectHolds("latest", "b")
		s.expectStory("b rolled-back", "b interrupted", "c promoted", "b promoted", "a promoted")
		expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
		s.expectHolds("production", "a")
	})
}

// killed runs something that is ended without warning as it writes a tag.
func (s *works) killed(r promote.Request, tag string) {
	s.Helper()
	ended := false
	s.mu.Lock()
	s.strike = func(q *http.Request) int { // from then on nothing of it arrives
		ended = ended || on(http.MethodPut, "/manifests/"+tag)(q)
		if ended && q.Method != http.MethodGet && q.Method != http.MethodHead {
			return http.StatusForbidden
		}
		return 0
	}
	s.mu.Unlock()
	if d := run(s, r); d.Result != document.Failed {
		s.Fatalf("result %s", d.Result)
	}
	s.refuse(0, nil)
}

// TestRollbackOfARunThatWasKilled midway: its tags are put back, so that it never was there.
func TestRollbackOfARunThatWasKilled(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		for _, name := range []string{"a", "b"} {
			s.promoted(name, "production", "latest")
		}
		s.killed(s.bring("c", "production", "latest"), "latest")
		s.expectHolds("production", "c")
		d := run(t, s.back("", "production", "latest"))
		if d.Result.ExitCode() != 0 {
			t.Fatalf("result %s", d.Result)
		}
		tag := s.named(s.holds("production"))
		s.expectHolds("latest", tag)
		all := s.story()
		// What the history says last of all that succeeded is what there is.
		for _, l := range all {
			name, outcome, _ := strings.Cut(l, " ")
			if outcome != "failed" {
				if name != tag {
					t.Errorf("the history is %q, and production holds %s", all, tag)
				}
				break
			}
		}
		if tag == "c" {
			t.Error("a rollback leaves the image there that was half there")
		}
		expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
		if got := s.named(s.holds("production")); got != "a" {
			t.Errorf("a second rollback goes to %s", got)
		}
	})
}

// TestFinishedAndFailed: a release that was killed, whose successor fails and puts all back, was never there.
func TestFinishedAndFailed(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	for _, name := range []string{"a", "b"} {
		s.promoted(name, "production", "latest")
	}
	s.killed(s.bring("c", "production", "latest"), "latest")
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
	expect(t, run(t, s.bring("c", "production", "latest")), document.Failed)
	s.refuse(0, nil)
	s.expectHolds("production", "b")
	s.expectHolds("latest", "b")
	for _, l := range s.outcomes() {
		if l == "c promoted" {
			t.Errorf("the ledger says %q", s.outcomes())
		}
	}
	expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
	s.expectHolds("production", "a")
}

// TestRerunWhoseTagShowsNothing: the first tag held the image before, so that only the run itself can tell that the
// other has moved.
func TestRerunWhoseTagShowsNothing(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a", "production", "latest")
	s.hand("latest", "b")
	s.refuse(http.StatusForbidden, onceTagsMove(noLedger))
	r := s.bring("a", "production", "latest")
	expectUnrecorded(t, run(t, r))
	s.refuse(0, nil)
	expect(t, run(t, again(r)), document.Unchanged)
	s.expectOutcomes("a promoted", "a promoted")
	s.expectRecords(2)
}

// TestRerunOfWhatFailedAndWasNotListed: the first attempt's line says that it failed, and the second could not change it.
func TestRerunOfWhatFailedAndWasNotListed(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a", "production", "latest")
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
	r := s.bring("b", "production", "latest")
	expect(t, run(t, r), document.Failed)
	s.refuse(http.StatusForbidden, onceTagsMove(noLedger))
	expectUnrecorded(t, run(t, again(r)))
	s.expectOutcomes("a promoted", "b failed", "b pending")
	s.refuse(0, nil)
	d := run(t, again(again(r)))
	expect(t, d, document.Unchanged)
	s.expectOutcomes("a promoted", "b failed", "b promoted")
}
