package transfer_test

import (
	"context"
	"flag"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
)

// TestMain lets many tests wait at once: what they wait for is time, not the processor.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "32")
	debug.SetGCPercent(400) // a fifth of the processor time goes to collecting otherwise
	os.Exit(m.Run())
}

const (
	sourceRepo = "acme/app"
	targetRepo = "prod/app"
)

// run is one run of the program.
type run struct {
	t      *testing.T
	client *registry.Client
	*transfer.Engine
}

func newRun(t *testing.T, level transfer.Level, transfers int) run {
	return run{t, registry.New(registry.Options{Transfers: transfers}), transfer.New(level)}
}

// newRunAt makes a run that reaches registries as they are reached, in a bubble too.
func newRunAt(t *testing.T, level transfer.Level, at *regtest.Registry) run {
	client := registry.New(registry.Options{Dial: at.Dial()})
	t.Cleanup(client.Close)
	return run{t, client, transfer.New(level)}
}

// inBubble runs a test where time passes as soon as everybody waits, and gives it a network within the process.
func inBubble(t *testing.T, test func(t *testing.T, m *regtest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := regtest.NewMemory()
		defer m.Close() // before the registries, which wait for their connections
		test(t, m)
	})
}

func (r run) open(side credential.Side, at *regtest.Registry, repo string) *registry.Repository {
	r.t.Helper()
	n, err := name.NewRepository(at.Host() + "/" + repo)
	if err != nil {
		r.t.Fatal(err)
	}
	opened, err := r.client.Open(r.t.Context(), side, n, registry.Push)
	if err != nil {
		r.t.Fatal(err)
	}
	return opened
}

func (r run) source(at *regtest.Registry) *registry.Repository {
	return r.open(credential.Source, at, sourceRepo)
}

func (r run) target(at *regtest.Registry) *registry.Repository {
	return r.open(credential.Target, at, targetRepo)
}

func (r run) walk(source *registry.Repository, tag string) *graph.Graph {
	r.t.Helper()
	root, err := source.GetManifest(r.t.Context(), tag)
	if err != nil {
		r.t.Fatal(err)
	}
	w := graph.NewWalker(source, true)
	if err := w.Walk(r.t.Context(), root); err != nil {
		r.t.Fatal(err)
	}
	return w.Graph(root.Digest)
}

// copyAndVerify is everything but the tags.
func (r run) copyAndVerify(from, to *regtest.Registry, tag string) (document.Copied, transfer.Proof, error) {
	r.t.Helper()
	source, target := r.source(from), r.target(to)
	g := r.walk(source, tag)
	copied, err := r.Copy(r.t.Context(), g, source, target, nil)
	if err != nil {
		return copied, transfer.Proof{}, err
	}
	proof, err := r.Verify(r.t.Context(), g, source, target)
	return copied, proof, err
}

// proof copies and verifies what the tag names.
func (r run) proof(from, to *regtest.Registry, tag string) transfer.Proof {
	r.t.Helper()
	_, proof, err := r.copyAndVerify(from, to, tag)
	if err != nil {
		r.t.Fatal(err)
	}
	return proof
}

func push(t *testing.T, i *regtest.Image, to *regtest.Registry, repo string, tags ...string) {
	t.Helper()
	if err := i.Push(t.Context(), to.Access("", ""), repo, tags...); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, r *regtest.Registry, tag string) string {
	t.Helper()
	digest, _, err := regtest.TagDigest(t.Context(), r.Access("", ""), targetRepo, tag)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// ours are the requests that the tests did not make themselves.
func ours(r *regtest.Registry) (all []regtest.Request) {
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent {
			all = append(all, q)
		}
	}
	return all
}

func writes(r *regtest.Registry) (all []string) {
	for _, q := range ours(r) {
		if q.Method != http.MethodGet && q.Method != http.MethodHead {
			all = append(all, q.Method+" "+q.Path)
		}
	}
	return all
}

// onTag wraps what the program asks about one tag of the target.
func onTag(tag string, handle func(next http.Handler, w http.ResponseWriter, q *http.Request)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() != regtest.Agent && strings.HasSuffix(q.URL.Path, "/manifests/"+tag) {
				handle(next, w, q)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

// aside does something as somebody else.
func aside(t *testing.T, f func(context.Context) error) {
	t.Helper()
	if err := f(t.Context()); err != nil {
		t.Error(err)
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
