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
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// paused is an observer that holds its run up for a time, at the first text that has these words.
type paused struct {
	*watcher
	at    string
	takes time.Duration
	once  sync.Once
}

func (p *paused) hold(text string) {
	if strings.Contains(text, p.at) {
		p.once.Do(func() { time.Sleep(p.takes) })
	}
}

func (p *paused) Step(title string) { p.watcher.Step(title); p.hold(title) }
func (p *paused) Info(text string)  { p.watcher.Info(text); p.hold(text) }

// suspended is the User-Agent of runs that are held up.
const suspended = "suspended"

// duel is a stage at which two runs promote different images, in a bubble.
type duel struct {
	*stage
	*testing.T
	third *regtest.Image
}

func newDuel(t *testing.T, m *regtest.Memory, tags ...string) *duel {
	t.Helper()
	d := &duel{stage: newStage(t, regtest.Options{Memory: m, Delete: true}, tags...), T: t, third: plain("third")}
	push(t, d.third, d.source, "acme/app", "third")
	return d
}

// request promotes a tag of the source to all tags, as a run of this number.
func (d *duel) request(source, id string, tags ...string) promote.Request {
	var targets []string
	for _, tag := range tags {
		targets = append(targets, d.to(tag))
	}
	r := request(d.T, d.source.Host()+"/acme/app:"+source, targets...)
	r.Job = document.Job{Repository: "acme/app", RunID: id, Attempt: "1", Name: "promote"}
	return r
}

// suspend begins a run that is held up for ten minutes. What it returns waits for its end.
func (d *duel) suspend(r promote.Request, at string, takes time.Duration) func() document.Report {
	client := registry.New(registry.Options{Dial: d.target.Dial(), UserAgent: suspended})
	ended := make(chan document.Report, 1)
	go func() {
		defer client.Close()
		ended <- promote.Run(d.Context(), client, r, &paused{watcher: &watcher{}, at: at, takes: takes})
	}()
	return func() document.Report { return <-ended }
}

// tagWrites are the writes of the run that was held up that are not about the program's own tags.
func (d *duel) tagWrites() (all []string) {
	for _, q := range d.target.Requests() {
		tag := q.Path[strings.LastIndex(q.Path, "/")+1:]
		isTag := strings.Contains(q.Path, "/manifests/") && !strings.HasPrefix(tag, "sha256") && !strings.HasPrefix(tag, "promotion-")
		if q.Agent == suspended && isTag && q.Method != http.MethodGet && q.Method != http.MethodHead {
			all = append(all, q.Method+" "+q.Path)
		}
	}
	return all
}

// says is what the ledger says, which is called as the first of the tags.
func (d *duel) says() (all []string) {
	for _, e := range rows(d.T, d.target, "prod/app", "first") {
		all = append(all, e.intent.Run.ID+" "+e.outcome.State)
	}
	return all
}

// TestPausedRun that another one has taken over from, wherever it was held up: it writes no tag any more, neither forward
// nor back, exits with 1, and the ledger says of it what its tags told when it was taken over.
func TestPausedRun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		at    string
		wrote int // tags that it has written before
		says  string
	}{
		"before its first tag": {"Move tags", 0, "1 failed"},
		"after its first tag":  {"first: ", 1, "1 interrupted"},
		"after its last tag":   {"production: ", 3, "1 promoted"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				d := newDuel(t, m, "production", "second", "first")
				tags := []string{"first", "second", "production"}
				report := d.suspend(d.request("dev", "1", tags...), test.at, 10*time.Minute)
				time.Sleep(10 * time.Second)
				if wrote := d.tagWrites(); len(wrote) != test.wrote {
					t.Fatalf("written before: %q", wrote)
				}
				other := d.request("third", "2", tags...)
				expect(t, runWith(t, t.Context(), at(d.target), other, &watcher{}), document.Promoted)
				d.target.ResetRequests()
				late := report()
				faulted(t, late, document.Failed)
				if late.Result.ExitCode() != 1 {
					t.Errorf("exit %d", late.Result.ExitCode())
				}
				if wrote := d.tagWrites(); len(wrote) > 0 {
					t.Errorf("written once another run had taken over: %q", wrote)
				}
				for _, tag := range tags {
					if got := holds(t, d.target, "prod/app", tag); got != d.third.Root {
						t.Errorf("%s holds %s", tag, got)
					}
				}
				if got := d.says(); !slices.Equal(got, []string{test.says, "2 promoted"}) {
					t.Errorf("the ledger says %q", got)
				}
			})
		})
	}
}

// TestPausedRunThatWasNotTakenOver goes on with a new lease, and succeeds.
func TestPausedRunThatWasNotTakenOver(t *testing.T) {
	t.Parallel()
	for _, where := range []string{"Move tags", "first: "} {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			d := newDuel(t, m, "production", "first")
			report := d.suspend(d.request("dev", "1", "first", "production"), where, 10*time.Minute)()
			expect(t, report, document.Promoted)
			d.whole(t, "first")
			d.whole(t, "production")
			if got := d.says(); !slices.Equal(got, []string{"1 promoted"}) {
				t.Errorf("the ledger says %q", got)
			}
		})
	}
}

// TestLegsOfAMatrix have one run ID and one attempt: the second waits for the first, and none takes the other for dead.
func TestLegsOfAMatrix(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		d := newDuel(t, m, "production")
		first := d.suspend(d.request("dev", "7", "production"), "Move tags", 40*time.Second)
		time.Sleep(5 * time.Second)
		began := time.Now()
		second := runWith(t, t.Context(), at(d.target), d.request("third", "7", "production"), &watcher{})
		expect(t, first(), document.Promoted)
		expect(t, second, document.Promoted)
		if waited := time.Since(began); waited < 35*time.Second || waited > time.Minute {
			t.Errorf("it took %v", waited)
		}
		if !told(second, "this run waits for it") {
			t.Errorf("told %q", second.Notices)
		}
		if got := holds(t, d.target, "prod/app", "production"); got != d.third.Root {
			t.Errorf("production holds %s", got)
		}
		all := rows(t, d.target, "prod/app", "production")
		if len(all) != 2 || all[0].intent.Line.Digest != d.new.Root || all[1].intent.Line.PreviousDigest != d.new.Root || !all[0].good() || !all[1].good() {
			t.Errorf("the ledger says %+v", all)
		}
	})
}

// TestLaterAttempt of a run that was killed: it waits for nobody, and finishes what the first has begun.
func TestLaterAttempt(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, _ *regtest.Memory) {
		s := newWorks(t, regtest.Options{})
		s.promoted("a", "production", "latest")
		r := s.bring("b", "production", "latest", dated)
		r.Lease = 100 * time.Hour // the test would not end
		s.killed(r, "latest")
		d := run(t, again(r))
		expect(t, d, document.Promoted)
		s.expectDone(d, "b", datedAt(r))
		s.expectOutcomes("a promoted", "b interrupted", "b promoted")
		if told(d, "this run waits") {
			t.Errorf("told %q", d.Notices)
		}
	})
}

// plights are what a ledger can say when the next run comes, each with what leads there.
var plights = map[string]struct {
	make func(s *works)
	says []string
}{
	"open, nothing moved": {func(s *works) { s.struck("b", killedAfter(noLedger)()) }, []string{"a promoted", "b pending"}},
	"open, moved in part": {func(s *works) { s.struck("b", killedAt(on(http.MethodPut, "/manifests/production"))()) }, []string{"a promoted", "b pending"}},
	"open, all moved":     {func(s *works) { s.struck("b", onceTagsMove(noLedger)) }, []string{"a promoted", "b pending"}},
	"failed":              {func(s *works) { s.struck("b", on(http.MethodPut, "/manifests/production")) }, []string{"a promoted", "b failed"}},
	"promoted":            {func(s *works) { s.promoted("b", "latest", "production") }, []string{"a promoted", "b promoted"}},
	"interrupted, then failed": {func(s *works) {
		s.struck("b", killedAt(on(http.MethodPut, "/manifests/production"))())
		s.struck("c", isTagWrite)
	}, []string{"a promoted", "b interrupted", "c failed"}},
	"interrupted": {func(s *works) {
		s.delete("latest") // it would have to be deleted again, which is refused
		s.struck("b", func(q *http.Request) bool {
			return on(http.MethodPut, "/manifests/production")(q) || q.Method == http.MethodDelete
		})
	}, []string{"a promoted", "b interrupted"}},
}

// isTagWrite matches the writing of tags that are not the program's own.
func isTagWrite(q *http.Request) bool { return onceTagsMove(isWrite)(q) }

// struck promotes an image to latest and production while the registry refuses what matches.
func (s *works) struck(name string, match func(*http.Request) bool) {
	s.Helper()
	s.refuse(http.StatusForbidden, match)
	if d := run(s, s.bring(name, "latest", "production")); d.Result != document.Failed && d.Result != document.Unrecorded {
		s.Fatalf("result %s", d.Result)
	}
	s.refuse(0, nil)
}

// TestDeniedRunWritesNothing, whatever the ledger says, in every mode; and so does whoever only looks.
func TestDeniedRunWritesNothing(t *testing.T) {
	long(t)
	t.Parallel()
	for name, plight := range plights {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, regtest.Options{Referrers: len(name)%2 == 0})
			s.promoted("a", "latest", "production")
			plight.make(s)
			s.expectOutcomes(plight.says...)
			held := [2]string{s.holds("latest"), s.holds("production")}
			for what, r := range s.denied() {
				s.target.ResetRequests()
				d := run(t, r)
				if d.Result != document.Denied && d.Result != document.Findings && d.Result.ExitCode() != 0 {
					t.Errorf("%s: %s, %+v", what, d.Result, d.Faults)
				}
				if wrote := writes(s.target); len(wrote) > 0 {
					t.Errorf("%s: %s, written: %q", what, d.Result, wrote)
				}
			}
			s.expectOutcomes(plight.says...)
			if now := [2]string{s.holds("latest"), s.holds("production")}; now != held {
				t.Errorf("the tags hold %q, and held %q", now, held)
			}
		})
	}
}

// denied are runs that a gate denies, and runs that only look.
func (s *works) denied() map[string]promote.Request {
	all := map[string]promote.Request{}
	gates := &promote.Gates{}
	for _, name := range []string{"a", "b", "c", "d"} {
		gates.Policy.Deny = append(gates.Policy.Deny, gate.Denial{Digest: s.image(name).Root, Reason: "bad"})
	}
	add := func(what string, r promote.Request) {
		r.Gates = gates
		all[what] = r
	}
	add("a promotion", s.bring("d", "latest", "production"))
	add("a later attempt", again(s.bring("d", "latest", "production")))
	add("a rollback to a digest", s.back(s.image("d").Root, "latest", "production"))
	plan := s.bring("d", "latest", "production")
	plan.Mode, plan.ValidFor = promote.Plan, time.Hour
	add("a plan", plan)
	dry := s.bring("d", "latest", "production")
	dry.DryRun = true
	add("a dry run", dry)
	open := dry
	open.Gates = &promote.Gates{}
	all["a dry run that is not denied"] = open
	back := s.back(s.image("a").Root, "latest", "production")
	back.DryRun = true
	all["a dry run of a rollback"] = back
	repository, _ := split(s, s.target.Host()+"/"+s.repo)
	stage := promote.Stage{Environment: "production", Repository: repository, Ledger: "production", Tags: []string{"latest", "production"}, Asked: true}
	for _, mode := range []promote.Mode{promote.History, promote.Audit} {
		all[fmt.Sprint("mode ", mode)] = promote.Request{Mode: mode, Stages: []promote.Stage{stage}}
	}
	push(s, s.image("d"), s.target, s.repo)
	return all
}

// TestFirstPromotionWhereReadsLag: what a registry shows late of the ledger that was just created counts neither as no
// ledger, nor as another run's.
func TestFirstPromotionWhereReadsLag(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{500 * time.Millisecond, 5 * time.Second, 12 * time.Second} {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			s := newStage(t, regtest.Options{Memory: m, Traits: []regtest.Trait{regtest.TagsLate(lag)}}, "production")
			time.Sleep(lag)
			d := runWith(t, t.Context(), at(s.target), request(t, s.source.Host()+"/acme/app:dev", s.to("production")), &watcher{})
			expect(t, d, document.Promoted)
			heads := slices.DeleteFunc(tagsWritten(s.target), func(tag string) bool { return !isLedger(tag) })
			if len(heads) != 4 || heads[2] == heads[3] {
				t.Errorf("the ledger was written as %q: not both heads to create it, one for the entry and the other for the outcome", heads)
			}
			time.Sleep(lag)
			if got := states(t, s.target, "prod/app"); !slices.Equal(got, []string{"promoted"}) {
				t.Errorf("the ledger says %q", got)
			}
		})
	}
}
