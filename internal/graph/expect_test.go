package graph_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestExpect: what is expected is read once, told of at once, and part of the graph only where the walk finds it. What
// is not there is no error.
func TestExpect(t *testing.T) {
	for name, referrers := range map[string]bool{"referrers API": true, "fallback tag": false} {
		t.Run(name, func(t *testing.T) {
			i, stranger := everything(), regtest.Build(regtest.Spec{Seed: "stranger"})
			r := regtest.Serve(t, regtest.Options{Referrers: referrers})
			push(t, i, r, "dev")
			push(t, stranger, r, "other")
			opened := open(t, r)
			root, err := opened.GetManifest(t.Context(), "dev")
			if err != nil {
				t.Fatal(err)
			}
			expected := []v1.Hash{digest(t, stranger.Root), digest(t, "sha256:"+strings.Repeat("0", 64))}
			for _, m := range i.Manifests {
				if m.Subject != "" {
					expected = append(expected, digest(t, m.Digest), digest(t, m.Digest))
				}
			}
			r.ResetRequests()
			var told sync.Map
			var work sync.WaitGroup
			w := graph.NewWalker(opened, true)
			w.Expect(t.Context(), &work, expected, func(n *graph.Node) { told.Store(n.Digest, true) })
			if err := w.Walk(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			work.Wait()
			if g := w.Graph(root.Digest); len(g.Nodes) != len(i.Manifests) || g.Node(expected[0]) != nil {
				t.Errorf("%d nodes, want %d", len(g.Nodes), len(i.Manifests))
			}
			for n, d := range expected {
				if _, ok := told.Load(d); ok != (n != 1) {
					t.Errorf("%s was told of: %v", d, ok)
				}
			}
			times := map[string]int{}
			for _, q := range r.Requests() {
				if q.Method == http.MethodGet && strings.Contains(q.Path, "/manifests/sha256:") {
					times[q.Path]++
				}
			}
			for path, n := range times {
				if n > 1 {
					t.Errorf("%s was read %d times", path, n)
				}
			}
		})
	}
}

// TestExpectFew: a record cannot have the walk read without end.
func TestExpectFew(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Referrers: true})
	i := everything()
	push(t, i, r, "dev")
	var many []v1.Hash
	for n := range 1000 {
		many = append(many, digest(t, fmt.Sprintf("sha256:%064x", n)))
	}
	opened := open(t, r)
	r.ResetRequests()
	var work sync.WaitGroup
	graph.NewWalker(opened, true).Expect(t.Context(), &work, many, func(*graph.Node) { t.Error("told of what is not there") })
	work.Wait()
	n := 0
	for _, q := range r.Requests() {
		if strings.Contains(q.Path, "/manifests/") {
			n++
		}
	}
	if n != 64 {
		t.Errorf("%d were asked for", n)
	}
}

func digest(t *testing.T, text string) v1.Hash {
	t.Helper()
	d, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
