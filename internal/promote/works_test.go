package promote_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// works builds images at a source and promotes them to the environment production, whose records the tests read by
// hand: without anything of the program but the registry's own answers.
type works struct {
	testing.TB
	source, target *regtest.Registry
	repo           string
	started        time.Time
	runs           int
	built          map[string]*regtest.Image

	mu     sync.Mutex
	strike func(*http.Request) int // the status to answer in the registry's place; 0: none
}

func newWorks(t testing.TB, o regtest.Options) *works {
	t.Helper()
	s := &works{TB: t, repo: "prod/app", started: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC), built: map[string]*regtest.Image{}}
	o.Delete, o.Memory = true, network(t)
	s.source = regtest.Serve(t, regtest.Options{Delete: true, Memory: o.Memory})
	wrap := forUs(s.answer)
	if o.Wrap != nil {
		wrap = regtest.Chain(wrap, o.Wrap)
	}
	o.Wrap = wrap
	s.target = regtest.Serve(t, o)
	return s
}

func (s *works) answer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		status := 0
		if s.strike != nil {
			status = s.strike(q)
		}
		s.mu.Unlock()
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED"}]}`)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// refuse answers what matches with the status, until the next call.
func (s *works) refuse(status int, match func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strike = nil
	if match != nil {
		s.strike = func(q *http.Request) int {
			if match(q) {
				return status
			}
			return 0
		}
	}
}

// image is the one of that name, which is at the source under a tag of that name.
func (s *works) image(name string) *regtest.Image {
	s.Helper()
	if s.built[name] == nil {
		i := regtest.Build(regtest.Spec{Seed: name, LayerSize: 64})
		push(s, i, s.source, "acme/app", name)
		s.built[name] = i
	}
	return s.built[name]
}

// nth is what a run asks for, as the n-th workflow run: an hour after the one before.
func (s *works) nth(r promote.Request) promote.Request {
	s.runs++
	r.Started = s.started.Add(time.Duration(s.runs) * time.Hour)
	r.TargetEnv, r.Version, r.Lease = "production", "v1.2.3", settle
	r.Job = document.Job{
		Repository: "acme/app", RunID: fmt.Sprint(1000 + s.runs), Attempt: "1", Name: "promote",
		URL:   fmt.Sprint("https://github.com/acme/app/actions/runs/", 1000+s.runs),
		Actor: "jane", Workflow: "acme/app/.github/workflows/promote.yml@refs/heads/main", Commit: strings.Repeat("c", 40),
	}
	return r
}

const dated = fixed + "release-{{date 'YYYYMMDD-HHmmss'}}"

func (s *works) to(tag string) string {
	tag, isFixed := strings.CutPrefix(tag, fixed)
	to := s.target.Host() + "/" + s.repo + ":" + tag
	if isFixed {
		return fixed + to
	}
	return to
}

// bring promotes the image of that name; without tags to production.
func (s *works) bring(name string, tags ...string) promote.Request {
	s.Helper()
	s.image(name)
	if len(tags) == 0 {
		tags = []string{"production"}
	}
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	return s.nth(request(s, s.source.Host()+"/acme/app:"+name, targets...))
}

// back rolls back.
func (s *works) back(to string, tags ...string) promote.Request {
	s.Helper()
	if len(tags) == 0 {
		tags = []string{"production"}
	}
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	r := s.nth(request(s, s.target.Host()+"/"+s.repo, targets...))
	return backTo(s, r, to)
}

// backTo makes a request that of a rollback.
func backTo(t testing.TB, r promote.Request, to string) promote.Request {
	t.Helper()
	r.Mode, r.Reason, r.To = promote.Rollback, "INC-1", promote.To{Text: to}
	if strings.HasPrefix(to, "sha256:") {
		r.To.Digest = digestHash(t, to)
	} else {
		r.To.Tag = to
	}
	return r
}

// promoted promotes and expects that it succeeds.
func (s *works) promoted(name string, tags ...string) document.Report {
	s.Helper()
	d := run(s, s.bring(name, tags...))
	expect(s, d, document.Promoted)
	return d
}

// again is a later attempt of a run, about an hour after.
func again(r promote.Request) promote.Request {
	var n int
	_, _ = fmt.Sscan(r.Job.Attempt, &n)
	r.Job.Attempt = fmt.Sprint(n + 1)
	r.Started = r.Started.Add(61 * time.Minute)
	return r
}

func (s *works) holds(tag string) string { return holds(s, s.target, s.repo, tag) }

// expectHolds expects the image of a name under a tag, none if the name is empty.
func (s *works) expectHolds(tag, name string) {
	s.Helper()
	want := ""
	if name != "" {
		want = s.image(name).Root
	}
	if got := s.holds(tag); got != want {
		s.Errorf("%s holds %q, want %q (%s)", tag, got, want, name)
	}
}

// hand points a tag at an image that is there, as anybody can.
func (s *works) hand(tag, name string) {
	s.Helper()
	push(s, s.image(name), s.target, s.repo, tag)
}

func (s *works) delete(reference string) {
	s.Helper()
	if err := regtest.DeleteManifest(s.Context(), s.target.Access("", ""), s.repo, reference); err != nil {
		s.Fatal(err)
	}
}

// outcomes are what the ledger says of its records, oldest first: "a promoted", where a is the name of the image.
func (s *works) outcomes() (all []string) {
	s.Helper()
	for _, r := range s.rows() {
		all = append(all, s.named(r.intent.Line.Digest)+" "+r.outcome.State)
	}
	return all
}

func (s *works) named(digest string) string {
	for name, i := range s.built {
		if i.Root == digest {
			return name
		}
	}
	return digest
}

func (s *works) expectOutcomes(want ...string) {
	s.Helper()
	if got := s.outcomes(); !slices.Equal(got, want) {
		s.Errorf("the ledger says %q, want %q", got, want)
	}
}

func (s *works) expectRecords(n int) {
	s.Helper()
	if got := s.papers(); len(got) != n {
		s.Errorf("%d records, want %d", len(got), n)
	}
}

// historyOf is what mode history lists, newest first.
func (s *works) historyOf() document.History {
	s.Helper()
	repository, _ := split(s, s.target.Host()+"/"+s.repo)
	r := promote.Request{Mode: promote.History, Stages: []promote.Stage{{Environment: "production", Repository: repository, Ledger: "production", Tags: []string{"production"}, Asked: true}}}
	d := run(s, r)
	expect(s, d, document.Listed)
	if len(d.Histories) != 1 {
		s.Fatalf("%d histories", len(d.Histories))
	}
	return d.Histories[0]
}

// story is the history in short, newest first: "a promoted".
func (s *works) story() (all []string) {
	s.Helper()
	for _, l := range s.historyOf().Lines {
		all = append(all, s.named(l.Digest)+" "+string(l.Outcome))
	}
	return all
}

func (s *works) expectStory(want ...string) {
	s.Helper()
	if got := s.story(); !slices.Equal(got, want) {
		s.Errorf("the history is %q, want %q", got, want)
	}
}

// impatient is a client that does not try again for long.
func impatient(t testing.TB) *registry.Client {
	o := registry.Options{RetryFor: 100 * time.Millisecond}
	if m := network(t); m != nil {
		o.Dial = m.DialContext
	}
	return registry.New(o)
}
