package promote_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

var sweepAll = flag.Bool("sweep", false, "cut the promotion at every request in every way, not only at a sample of them")

// sweepSample is how many cuts there are to one that a plain test run makes.
const sweepSample = 23

// TestSweep cuts a promotion at each of its requests. A request fails once, in
// three ways: then the promotion succeeds all the same. Or nothing is answered
// any more from it on, in two ways, and the run is ended: then every tag holds
// the old digest or the new one with everything below it, and the next run
// completes it. Without -sweep a sample is made, always the same.
func TestSweep(t *testing.T) {
	for _, s := range []*sweep{
		{name: "across registries", across: true},
		{name: "across registries with the referrers API", across: true, api: true},
		{name: "other repository of one registry"},
		{name: "retag", retag: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

// sweep is one scenario. Its registries serve all cuts; each cut has a target
// repository of its own.
type sweep struct {
	name               string
	across, api, retag bool
	source, target     *regtest.Registry
	image, old         *regtest.Image
	whole              *regtest.Tree
	plans              sync.Map // by User-Agent
}

func (s *sweep) run(t *testing.T) {
	s.source = start(t, regtest.Options{Referrers: s.api, Wrap: s.wrap("source")})
	s.target = s.source
	if s.across {
		s.target = start(t, regtest.Options{Referrers: s.api, Wrap: s.wrap("target")})
	}
	s.image = regtest.Build(regtest.Spec{Seed: "sweep", Platforms: []string{"linux/amd64", "linux/arm64"}, LayerSize: 100})
	s.image.Attach(s.image.Attach(s.image.Children()[0], "application/vnd.example", "x"), "application/vnd.example", "y")
	s.image.Sign(s.image.Root, ".sig", "x")
	s.old = regtest.Build(regtest.Spec{Seed: "old", LayerSize: 100})
	push(t, s.image, s.source, "acme/app", "dev")
	s.whole = read(t, s.source, "acme/app", "dev")

	requests := s.record(t)
	cuts := s.cuts(requests)
	t.Logf("%d requests, %d cuts", len(requests), len(cuts))
	var g errgroup.Group
	g.SetLimit(8)
	var notMade atomic.Int32
	for _, c := range cuts {
		g.Go(func() error {
			switch err := s.cut(c); {
			case errors.Is(err, errNotMade):
				notMade.Add(1)
			case err != nil:
				t.Errorf("%s: %v", c, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	if n := int(notMade.Load()); n > 2+len(cuts)/20 {
		t.Errorf("%d of %d cuts met no request", n, len(cuts))
	}
}

// errNotMade says that a run did without the request: two questions can cross,
// and the answer to the one then spares another.
var errNotMade = errors.New("the request was never made")

// way is how a request fails.
type way int

const (
	resetBefore way = iota
	resetAfter
	trouble
	endBefore // and with it everything after
	endAfter
	ways
)

func (w way) String() string {
	return [...]string{"reset before", "reset after", "500", "nothing from here", "nothing after"}[w]
}

// cut is one fault at one request.
type cut struct {
	number  int
	way     way
	request string // its method and path, and how many of the kind came before it
}

func (c cut) String() string { return fmt.Sprintf("cut %d, %s at %s", c.number, c.way, c.request) }

// record makes a promotion without faults and returns its requests.
func (s *sweep) record(t *testing.T) []string {
	t.Helper()
	p := &plan{}
	repo := s.prepare(t, "record")
	d := s.promote(t.Context(), "record", repo, p)
	expect(t, d, document.Promoted)
	if err := s.complete(repo); err != nil {
		t.Fatal(err)
	}
	return p.order
}

func (s *sweep) cuts(requests []string) (all []cut) {
	number := 0
	for _, r := range requests {
		for w := range ways {
			if number++; *sweepAll || number%sweepSample == 0 {
				all = append(all, cut{number, w, r})
			}
		}
	}
	return all
}

// prepare makes a target repository whose tag holds the old image.
func (s *sweep) prepare(t testing.TB, name string) (repo string) {
	repo = "prod/" + name
	push(t, s.old, s.target, repo, "production")
	if s.retag {
		push(t, s.image, s.target, repo, "dev")
	}
	return repo
}

// promote promotes to a moving and a fixed tag, with every request told to the plan.
func (s *sweep) promote(ctx context.Context, agent, repo string, p *plan) document.Report {
	if p != nil {
		p.repo = repo
		s.plans.Store(agent, p)
		defer s.plans.Delete(agent)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	client := registry.New(registry.Options{UserAgent: agent, Transport: transport})
	from := s.source.Host() + "/acme/app:dev"
	if s.retag {
		from = s.source.Host() + "/" + repo + ":dev"
	}
	to := s.target.Host() + "/" + repo
	return promote.Run(ctx, client, request(failing{}, from, to+":production", fixed+to+":v1"), &watcher{})
}

// failing is for helpers that cannot fail here.
type failing struct{ testing.TB }

func (failing) Helper()                  {}
func (failing) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (failing) Context() context.Context { return context.Background() }

// cut makes one promotion with one fault, and one without.
func (s *sweep) cut(c cut) error {
	name := fmt.Sprintf("cut-%d", c.number)
	repo := s.prepare(failing{}, name)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	p := &plan{cut: c, end: func() { time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the sweep ends the run")) }) }}
	d := s.promote(ctx, name, repo, p)
	p.mu.Lock()
	struck := p.struck
	p.mu.Unlock()
	if !struck && d.Result == document.Promoted {
		return errNotMade
	}
	if (!struck || c.way < endBefore) && d.Result != document.Promoted {
		return fmt.Errorf("one fault ends the promotion as %s: %+v", d.Result, d.Faults)
	}
	if err := s.invariants(repo, d); err != nil {
		return fmt.Errorf("%w; result %s, faults %+v, tags %+v", err, d.Result, d.Faults, d.Promotions)
	}
	d = s.promote(context.Background(), "again-"+name, repo, nil)
	if d.Result != document.Promoted && d.Result != document.Unchanged {
		return fmt.Errorf("the next run ends as %s: %+v", d.Result, d.Faults)
	}
	if err := s.complete(repo); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	return nil
}

// invariants are those of the design: a tag is its old digest or the new,
// complete one; success is said only of what is all there; and the report tells
// the truth about each tag.
func (s *sweep) invariants(repo string, d document.Report) error {
	moved := false
	for _, tag := range []struct{ name, old string }{{"production", s.old.Root}, {"v1", ""}} {
		now, err := s.holds(repo, tag.name)
		switch {
		case err != nil:
			return err
		case now == s.image.Root:
			moved = true
		case now != tag.old:
			return fmt.Errorf("tag %s holds %q", tag.name, now)
		case d.Result == document.Promoted:
			return fmt.Errorf("promoted, and tag %s holds %q", tag.name, now)
		}
		if err := truthful(d, tag.name, now); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	return s.all(repo)
}

// truthful compares what a report says of a tag with what it holds. Of a tag that
// was not read the report says nothing.
func truthful(d document.Report, tag, now string) error {
	for _, said := range d.Promotions[0].Tags {
		unread := said.State == document.TagPending && said.Before == ""
		if strings.HasSuffix(said.Reference, ":"+tag) && said.State != document.TagUnknown && !unread && said.After != now {
			return fmt.Errorf("tag %s is said to hold %q (%s) and holds %q", tag, said.After, said.State, now)
		}
	}
	return nil
}

// complete expects both tags moved, with everything below them.
func (s *sweep) complete(repo string) error {
	for _, tag := range []string{"production", "v1"} {
		if now, err := s.holds(repo, tag); err != nil || now != s.image.Root {
			return fmt.Errorf("tag %s holds %q: %w", tag, now, err)
		}
	}
	return s.all(repo)
}

func (s *sweep) holds(repo, tag string) (string, error) {
	digest, _, err := regtest.TagDigest(context.Background(), s.target.Access("", ""), repo, tag)
	return digest, err
}

// all reads everything that belongs to the image with the independent reader.
func (s *sweep) all(repo string) error {
	tree, err := regtest.Read(context.Background(), s.target.Access("", ""), repo, s.image.Root)
	if err != nil {
		return err
	}
	if diff := regtest.Diff(s.whole, tree); len(diff) > 0 {
		return errors.New(strings.Join(diff, "; "))
	}
	return nil
}

// plan is what becomes of one promotion's requests.
type plan struct {
	cut  cut
	end  func() // the run, some time after the cut
	repo string

	mu     sync.Mutex
	order  []string
	times  map[string]int
	struck bool
}

// byChance are the parts of a path that are not the same in every run: upload
// sessions, and which subject it is that a registry is asked first about.
var byChance = regexp.MustCompile(`/(uploads|referrers)/[^/]+$`)

// request is a name for a request that is the same in every run.
func (p *plan) request(side string, q *http.Request) string {
	path := byChance.ReplaceAllString(strings.Replace(q.URL.Path, "/"+p.repo+"/", "/target/", 1), "/$1/…")
	keep := url.Values{}
	for _, key := range []string{"digest", "mount"} {
		if v := q.URL.Query().Get(key); v != "" {
			keep.Set(key, v)
		}
	}
	name := strings.TrimSuffix(side+" "+q.Method+" "+path+"?"+keep.Encode(), "?")
	if p.times == nil {
		p.times = map[string]int{}
	}
	p.times[name]++
	return fmt.Sprintf("%s #%d", name, p.times[name])
}

// decide takes a request in and says how it fails; ok if it does not.
func (p *plan) decide(side string, q *http.Request) (w way, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := p.request(side, q)
	p.order = append(p.order, name)
	switch {
	case p.struck && p.cut.way >= endBefore:
		return trouble, false
	case p.struck || p.end == nil || name != p.cut.request:
		return 0, true
	}
	p.struck = true
	if p.cut.way >= endBefore {
		p.end()
	}
	switch p.cut.way {
	case endBefore:
		return resetBefore, false
	case endAfter:
		return resetAfter, false
	default:
		return p.cut.way, false
	}
}

func (s *sweep) wrap(side string) func(http.Handler) http.Handler {
	always := func(*http.Request) bool { return true }
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			found, ok := s.plans.Load(q.UserAgent())
			if !ok {
				next.ServeHTTP(w, q)
				return
			}
			way, ok := found.(*plan).decide(side, q)
			switch {
			case ok:
				next.ServeHTTP(w, q)
			case way == resetBefore:
				regtest.ResetBefore(always)(next).ServeHTTP(w, q)
			case way == resetAfter:
				regtest.ResetAfter(always)(next).ServeHTTP(w, q)
			default:
				regtest.FailOnce(always, http.StatusInternalServerError)(next).ServeHTTP(w, q)
			}
		})
	}
}
