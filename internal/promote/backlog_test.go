package promote

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
)

// TestBacklog: an image's content and what is known of a repository are let go with the last promotion that needs them.
func TestBacklog(t *testing.T) {
	client := registry.New(registry.Options{})
	defer client.Close()
	open := func(text string) *registry.Repository {
		n, err := name.NewRepository(text)
		if err != nil {
			t.Fatal(err)
		}
		r, err := client.Open(t.Context(), sideTarget, n, registry.Push)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	one, two := &image{graph: &graph.Graph{}}, &image{graph: &graph.Graph{}}
	one.root, two.root = registry.NewManifest("", []byte("one")), registry.NewManifest("", []byte("two"))
	r := &run{engine: transfer.New(transfer.Blobs)}
	for _, p := range []promotion{{image: one, target: open("a.example/x")}, {image: one, target: open("b.example/x")}, {image: two, target: open("b.example/x")}} {
		r.promotions = append(r.promotions, &p)
	}
	left := newBacklog(r.promotions)
	for n, last := range []bool{false, false, true} {
		if left.copied() != last {
			t.Errorf("copied %d: not %v", n, last)
		}
	}
	for n, test := range []struct {
		image    *image
		target   string
		roots    int
		outlines [2]bool
	}{
		{nil, "a.example/x", 1, [2]bool{false, false}},
		{one, "", 0, [2]bool{true, false}},
		{two, "b.example/x", 2, [2]bool{true, true}},
	} {
		over := left.verified(r.promotions[n])
		r.letGo(over)
		target := ""
		if over.target != nil {
			target = over.target.Name()
		}
		if over.image != test.image || target != test.target || len(over.roots) != test.roots {
			t.Errorf("verified %d: %+v", n, over)
		}
		if got := [2]bool{one.graph.IsOutline(), two.graph.IsOutline()}; got != test.outlines {
			t.Errorf("verified %d: outlines %v", n, got)
		}
	}
}
