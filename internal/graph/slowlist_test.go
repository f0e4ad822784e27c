package graph_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
)

// A list of tags that never comes is done without: signatures are found, and a notice
// says why it took long.
func TestListOfTagsThatTimesOut(t *testing.T) {
	t.Parallel()
	r := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ListTimesOut(1 << 20)}})
	image := regtest.Build(regtest.Spec{})
	image.Sign(image.Root, ".sig", "x")
	push(t, image, r, "dev")
	n, err := name.NewRepository(r.Host() + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := registry.New(registry.Options{RetryFor: time.Second}).Open(t.Context(), credential.Source, n, registry.Pull)
	if err != nil {
		t.Fatal(err)
	}
	root, err := opened.GetManifest(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	w := graph.NewWalker(opened, true)
	if err := w.Walk(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	g := w.Graph(root.Digest)
	if len(g.Attachments) != 1 {
		t.Errorf("%d attachments, want the signature", len(g.Attachments))
	}
	if !slices.ContainsFunc(g.Notices, func(n string) bool {
		return strings.Contains(n, "could not be listed in time") && strings.Contains(n, "504")
	}) {
		t.Errorf("notices %q", g.Notices)
	}
}
