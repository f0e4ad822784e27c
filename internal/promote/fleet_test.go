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

// fleet is three images, each on its way to a repository of its own, to a moving tag there that holds an old image and
// to a fixed one that is new.
type fleet struct {
	source, target        *regtest.Registry
	old, new, next, third []*regtest.Image

	mu      sync.Mutex
	refused func(*http.Request) bool // what is answered with 403
	noticed func(*http.Request)      // is told of every request
	served  func(*http.Request)      // is told of every request that was let through, when its answer is written
}

const ships = 3

// settle is how long a release is believed to be under way where no test is about that.
const settle = 10 * time.Millisecond

func repoOf(n int) string { return fmt.Sprint("prod/app", n) }

func newFleet(t *testing.T, o regtest.Options) *fleet {
	t.Helper()
	o.Memory = network(t)
	f := &fleet{source: regtest.Serve(t, regtest.Options{Delete: true, Memory: o.Memory})}
	o.Wrap = forUs(f.wrap)
	f.target = regtest.Serve(t, o)
	tiny := func(seed string, n int) *regtest.Image {
		return regtest.Build(regtest.Spec{Seed: fmt.Sprint(seed, n), LayerSize: 10})
	}
	for n := range ships {
		f.old, f.new = append(f.old, tiny("old", n)), append(f.new, tiny("new", n))
		f.next, f.third = append(f.next, tiny("next", n)), append(f.third, tiny("third", n))
		push(t, f.new[n], f.source, fmt.Sprint("acme/app", n), "dev")
		push(t, f.next[n], f.source, fmt.Sprint("acme/app", n), "next")
		push(t, f.old[n], f.target, repoOf(n), "production")
		push(t, f.third[n], f.target, repoOf(n))
	}
	f.target.ResetRequests()
	return f
}

func (f *fleet) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		f.mu.Lock()
		noticed, served := f.noticed, f.served
		f.mu.Unlock()
		if noticed != nil {
			noticed(q)
		}
		if f.refuses(q) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED"}]}`))
			return
		}
		next.ServeHTTP(w, q)
		if served != nil {
			served(q)
		}
	})
}

// refuses asks one at a time.
func (f *fleet) refuses(q *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused != nil && f.refused(q)
}

// refuse has the target answer 403 to what matches, and to nothing else.
func (f *fleet) refuse(match func(*http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = match
}

func (f *fleet) notice(tell func(*http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noticed = tell
}

// putOf matches the writing of one of the fleet's tags.
func putOf(n int, tag string) func(*http.Request) bool {
	return on(http.MethodPut, fmt.Sprintf("/%s/manifests/%s", repoOf(n), tag))
}

// request is a release of some of the images, by the tag at the source. One by the tag dev has fixed tags.
func (f *fleet) request(t *testing.T, tag string, which ...int) promote.Request {
	t.Helper()
	if len(which) == 0 {
		which = []int{0, 1, 2}
	}
	var items []promote.Item
	for _, n := range which {
		to := f.target.Host() + "/" + repoOf(n)
		targets := []string{to + ":production"}
		if tag == "dev" {
			targets = append(targets, fixed+to+":v1")
		}
		items = append(items, item(t, fmt.Sprintf("%s/acme/app%d:%s", f.source.Host(), n, tag), targets...))
	}
	r := requestOf(items...)
	r.Lease = settle
	return r
}

// expect expects what the tags hold: for each repository the moving tag, then the fixed one.
func (f *fleet) expect(t *testing.T, what string, images []*regtest.Image, fixedOnes []*regtest.Image) {
	t.Helper()
	for n := range ships {
		f.expectOne(t, what, n, images[n], nil)
		if fixedOnes == nil {
			f.expectTag(t, what, n, "v1", "")
		} else {
			f.expectTag(t, what, n, "v1", fixedOnes[n].Root)
		}
	}
}

func (f *fleet) expectOne(t *testing.T, what string, n int, moving, fixedOne *regtest.Image) {
	t.Helper()
	f.expectTag(t, what, n, "production", moving.Root)
	if fixedOne != nil {
		f.expectTag(t, what, n, "v1", fixedOne.Root)
	}
}

func (f *fleet) expectTag(t *testing.T, what string, n int, tag, want string) {
	t.Helper()
	if got := holds(t, f.target, repoOf(n), tag); got != want {
		t.Errorf("%s: %s:%s holds %q, want %q", what, repoOf(n), tag, got, want)
	}
}

func told(d document.Report, part string) bool {
	return slices.ContainsFunc(d.Notices, func(n string) bool { return strings.Contains(n, part) })
}
