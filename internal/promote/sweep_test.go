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
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

var sweepAll = flag.Bool("sweep", false, "cut the promotion at every request in every way, not only at a sample of them")

// sweepSample is how many cuts there are to one that is made without -sweep.
var sweepSample = flag.Int("sweep-sample", 271, "of how many cuts one is made without -sweep")

// sweeps are the settings that a promotion is cut in, with images as small as can be.
func sweeps() []setting {
	all := []setting{
		{name: "across registries"},
		{name: "across registries with the referrers API", sourceAPI: true, targetAPI: true},
		{name: "other repository of one registry", inside: true},
		{name: "retag", inside: true, retag: true},
		{name: "tokens that expire", auth: true, rtt: time.Second, tokenTTL: 15 * time.Second},
		{name: "tokens of one scope, other repository", inside: true, auth: true, oneScope: true},
		{name: "several images", images: 2, targetAPI: true},
		{name: "merge", merge: true},
		{name: "merge from the API with tokens", merge: true, sourceAPI: true, auth: true},
		{name: "rollback", inside: true, retag: true, rollback: true},
		{name: "rollback across", rollback: true, sourceAPI: true},
		{name: "content", verify: transfer.Content},
		{name: "large blobs by PATCH", patch: true, layerSize: 2 * mostInPut, verify: transfer.Content},
	}
	for n := range all {
		s := &all[n]
		s.images, s.layers, s.lean = max(1, s.images), 1, true
		if s.layerSize == 0 {
			s.layerSize = 100
		}
		if s.verify == "" {
			s.verify = transfer.Blobs
		}
	}
	return all
}

// TestSweep cuts a promotion to a moving and a fixed tag at each of its
// requests. A request fails once, in three ways, or is answered by a lie, in three
// others: then the promotion succeeds all the same. Or nothing is answered any more from it on, in two ways, and the run
// is ended: then it ends within the time that a runner leaves it, every tag holds
// the old digest or the new one with everything below it, and the next run
// completes it. Without -sweep a sample is made, always the same.
func TestSweep(t *testing.T) {
	long(t)
	for _, s := range atVendors(sweeps(), vendorsInBubble) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sweep(t, s)
		})
	}
}

func sweep(t *testing.T, s setting) {
	t.Helper()
	var requests []string
	t.Run("whole", func(t *testing.T) { requests = record(t, s) })
	all := cuts(requests)
	var notMade atomic.Int32
	t.Run("cuts", func(t *testing.T) {
		for _, c := range all {
			t.Run(fmt.Sprint(c.number), func(t *testing.T) {
				t.Parallel()
				if !cutOne(t, s, c) && !strings.Contains(c.request, " /token ") { // how many tokens it takes is a matter of chance
					notMade.Add(1)
				}
			})
		}
	})
	t.Logf("%d requests, %d cuts, of which %d met no request", len(requests), len(all), notMade.Load())
	if n := int(notMade.Load()); n > 2+len(all)/20 {
		t.Errorf("%d of %d cuts met no request", n, len(all))
	}
}

// way is how a request fails.
type way int

const (
	resetBefore way = iota
	resetAfter
	trouble
	endBefore // and with it everything after
	endAfter
	pathBefore // and with it everything that goes to the same path; in the sweep of records alone
	pathAfter
	waysAndPaths
	ways = pathBefore
)

// The ways in which a request is answered by a lie, once; in TestSweep alone.
const (
	webPage   = waysAndPaths + iota // a proxy's page of HTML, with 200
	lostWrite                       // a manifest or a blob is acknowledged, and not stored
	unlisted                        // a manifest with a subject is stored, and not listed until it is written again
	waysAndLies
)

// isOneFault reports whether the way ends with the request: nothing after it fails.
func (w way) isOneFault() bool { return w < endBefore || w >= webPage }

// fits reports whether a request can fail so.
func (w way) fits(request string) bool {
	put := strings.Contains(request, " PUT ")
	switch w {
	case pathBefore, pathAfter:
		return false
	case lostWrite:
		return put && (strings.Contains(request, "/manifests/") || strings.Contains(request, "digest="))
	case unlisted:
		return put && strings.Contains(request, "/manifests/sha256:")
	default:
		return true
	}
}

func (w way) String() string {
	return [...]string{"reset before", "reset after", "500", "nothing from here", "nothing after", "nothing there from here", "nothing there after",
		"a web page", "acknowledged and lost", "acknowledged and not listed"}[w]
}

// cut is one fault at one request.
type cut struct {
	number  int
	way     way
	request string // its method and path, and how many of the kind came before it
}

func (c cut) String() string { return fmt.Sprintf("cut %d, %s at %s", c.number, c.way, c.request) }

func cuts(requests []string) (all []cut) {
	number := 0
	for _, r := range requests {
		for w := range waysAndLies {
			if !w.fits(r) {
				continue
			}
			if number++; *sweepAll || number%*sweepSample == 0 {
				all = append(all, cut{number, w, r})
			}
		}
	}
	return all
}

// record makes a promotion without faults and returns its requests.
func record(t *testing.T, s setting) (requests []string) {
	t.Helper()
	cutting(t, s, &plan{}, func(t *testing.T, w *swept) {
		expect(t, w.promote(t.Context(), w.plan), document.Promoted)
		if err := w.done(t.Context()); err != nil {
			t.Error(err)
		}
		requests = w.plan.order
	})
	return requests
}

// swept is a world whose requests a plan cuts.
type swept struct {
	*world
	memory *regtest.Memory
	plan   *plan
}

func cutting(t *testing.T, s setting, p *plan, run func(*testing.T, *swept)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &swept{memory: regtest.NewMemory(), plan: p}
		defer w.memory.Close()
		var err error
		w.world, err = newWorld(t.Context(), s, s.name, func(side string, o regtest.Options) (*regtest.Registry, error) {
			o.Memory, o.Wrap = w.memory, regtest.Chain(p.wrap(side), patchOnly(s))
			return regtest.Serve(t, o), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.fixed = "v1"
		for _, parcel := range w.parcels {
			p.know(parcel.image)
		}
		run(t, w)
	})
}

// mostInPut is the largest body that a registry takes in a PUT where it wants PATCH for more.
const mostInPut = 64 << 10

// patchOnly is a registry that takes no large blob in one PUT.
func patchOnly(s setting) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if s.patch && q.Method == http.MethodPut && q.ContentLength > mostInPut && q.UserAgent() != regtest.Agent {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// promote makes a run whose requests are told to the plan; with none they are not.
func (w *swept) promote(ctx context.Context, p *plan) document.Report {
	return w.promoteRequest(ctx, p, w.request())
}

func (w *swept) promoteRequest(ctx context.Context, p *plan, r promote.Request) document.Report {
	ctx, cancel := promote.WithTimeout(ctx, limitOfRun)
	defer cancel()
	transport := w.memory.Transport()
	defer transport.CloseIdleConnections()
	agent := ""
	if p != nil {
		agent = planned
	}
	return promote.Run(ctx, w.client(transport, agent), r, &watcher{})
}

// failing is for helpers that cannot fail here.
type failing struct{ testing.TB }

func (failing) Helper()                  {}
func (failing) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (failing) Context() context.Context { return context.Background() }

// lastOrders is how long a run may take to end once it is told to: its runner
// kills it ten seconds after.
const lastOrders = 8 * time.Second

// cutOne makes one promotion with one fault, and one without. It is false when
// the request was not made: two questions can cross, and the answer to the one
// then spares another.
func cutOne(t *testing.T, s setting, c cut) (made bool) {
	t.Helper()
	cutting(t, s, &plan{cut: c}, func(t *testing.T, w *swept) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var ended time.Time
		w.plan.end = func() {
			time.AfterFunc(50*time.Millisecond, func() {
				ended = time.Now()
				cancel(errors.New("the sweep ends the run"))
			})
		}
		d := w.promote(ctx, w.plan)
		if took := time.Since(ended); !ended.IsZero() && took > lastOrders {
			t.Errorf("%s: the run took %s to end", c, took)
		}
		if made = w.plan.didStrike(); !made {
			expect(t, d, document.Promoted)
			return
		}
		if err := w.after(t.Context(), c, d); err != nil {
			t.Errorf("%s: %v; result %s, faults %+v, tags %+v", c, err, d.Result, d.Faults, d.Promotions)
		}
	})
	return made
}

// after is what holds after a cut: the invariants of the design, and that the next run completes everything.
func (w *swept) after(ctx context.Context, c cut, d document.Report) error {
	if c.way.isOneFault() && d.Result != document.Promoted {
		return errors.New("one fault ends the promotion")
	}
	if err := w.honest(ctx, d); err != nil {
		return err
	}
	again := w.promote(ctx, nil)
	switch {
	case again.Result.ExitCode() != 0:
		return fmt.Errorf("the next run ends as %s: %+v", again.Result, again.Faults)
	case d.Result.ExitCode() == 0 && again.Result != document.Unchanged:
		return errors.New("the next run had something left to do")
	}
	if err := w.done(ctx); err != nil {
		return fmt.Errorf("after the next run: %w", err)
	}
	return nil
}

// planned is the User-Agent of runs whose requests are cut.
const planned = "planned"

// plan is what becomes of one promotion's requests.
type plan struct {
	cut cut
	end func() // the run, some time after the cut

	mu     sync.Mutex
	known  map[string]bool // digests of images, without their algorithm
	order  []string
	times  map[string]int
	struck bool
	path   string // that was struck
	wrote  []tagged
}

func (p *plan) didStrike() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.struck
}

// byChance are the parts of a path that are not the same in every run: upload
// sessions, and which subject it is that a registry is asked first about.
var byChance = regexp.MustCompile(`/(uploads|referrers)/[^/]+$`)

// unsettled are digests, and names that are made of one: a record's are other ones in every run.
var unsettled = regexp.MustCompile(`sha256[:-][0-9a-f]{64}|-[0-9a-f]{32}$`)

// settle leaves out of a name what is no digest of an image.
func (p *plan) settle(name string) string {
	return unsettled.ReplaceAllStringFunc(name, func(text string) string {
		if len(text) > len("sha256:") && p.known[text[len("sha256:"):]] {
			return text
		}
		return "…"
	})
}

// know has the plan take the digests of images for names.
func (p *plan) know(images ...*regtest.Image) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == nil {
		p.known = map[string]bool{}
	}
	for _, i := range images {
		for _, m := range i.Manifests {
			p.known[strings.TrimPrefix(m.Digest, "sha256:")] = true
		}
		for _, b := range i.Blobs {
			p.known[strings.TrimPrefix(b.Digest, "sha256:")] = true
		}
	}
}

// request is a name for a request that is the same in every run.
func (p *plan) request(side string, q *http.Request) string {
	path := byChance.ReplaceAllString(q.URL.Path, "/$1/…")
	keep := url.Values{}
	for _, key := range []string{"digest", "mount"} {
		if v := q.URL.Query().Get(key); v != "" {
			keep.Set(key, p.settle(v))
		}
	}
	name := strings.TrimSuffix(side+" "+q.Method+" "+p.settle(path)+"?"+keep.Encode(), "?")
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
	case p.struck && p.cut.way.isOneFault():
		return 0, true
	case p.struck && p.cut.way >= pathBefore:
		return trouble, side+q.URL.Path != p.path
	case p.struck:
		return trouble, false
	case p.end == nil || name != p.cut.request:
		return 0, true
	}
	p.struck, p.path = true, side+q.URL.Path
	if !p.cut.way.isOneFault() {
		p.end()
	}
	switch p.cut.way {
	case endBefore, pathBefore:
		return resetBefore, false
	case endAfter, pathAfter:
		return resetAfter, false
	default:
		return p.cut.way, false
	}
}

func (p *plan) wrap(side string) func(http.Handler) http.Handler {
	always := func(*http.Request) bool { return true }
	omission := regtest.NewOmission()
	return func(next http.Handler) http.Handler {
		next = omission.Wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() != planned {
				if q.UserAgent() != regtest.Agent {
					defer p.note(q)()
				}
				next.ServeHTTP(w, q)
				return
			}
			way, ok := p.decide(side, q)
			if ok || way == resetAfter || way == unlisted {
				defer p.note(q)()
			}
			switch {
			case ok:
				next.ServeHTTP(w, q)
			case way == resetBefore:
				regtest.ResetBefore(always)(next).ServeHTTP(w, q)
			case way == resetAfter:
				regtest.ResetAfter(always)(next).ServeHTTP(w, q)
			case way == webPage:
				regtest.WebPageOnce(always)(next).ServeHTTP(w, q)
			case way == lostWrite:
				regtest.LoseOnce(always)(next).ServeHTTP(w, q)
			case way == unlisted:
				omission.Take(next, w, q)
			default:
				regtest.FailOnce(always, http.StatusInternalServerError)(next).ServeHTTP(w, q)
			}
		})
	}
}
