package graph_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestOutline says of an image what the whole graph says, and has none of its content.
func TestOutline(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := everything()
	if err := i.Push(t.Context(), r.Access("", ""), repo, "dev"); err != nil {
		t.Fatal(err)
	}
	g := mustWalk(t, r, "dev", true)
	o := g.Outline()
	if g.IsOutline() || !o.IsOutline() || o.Outline() != o {
		t.Errorf("outlines: the graph %v, its outline %v", g.IsOutline(), o.IsOutline())
	}
	if o.Root != g.Root || o.BlobCount() != len(i.Blobs) || o.Bytes() != i.Size() || len(g.Platforms()) == 0 ||
		!reflect.DeepEqual(o.Platforms(), g.Platforms()) || !reflect.DeepEqual(o.Attachments, g.Attachments) || len(o.Nodes) != len(g.Nodes) {
		t.Errorf("the outline %+v is not that of the graph", o)
	}
	for at, n := range g.Nodes {
		bare := o.Node(n.Digest)
		if bare == nil || bare != o.Nodes[at] || bare.MediaType != n.MediaType || bare.ArtifactType != n.ArtifactType || bare.Subject != n.Subject {
			t.Fatalf("%s: %+v", n.Digest, bare)
		}
		if bare.Raw != nil || bare.Children != nil || bare.Blobs != nil || bare.Foreign != nil {
			t.Errorf("%s has content: %+v", n.Digest, bare)
		}
	}
}

// TestNodesHoldLittle: beside its bytes a manifest holds what a copy needs. A run of 200 images holds thousands.
func TestNodesHoldLittle(t *testing.T) {
	const many, most = 1000, 1100 // bytes of each: two descriptors, three digests
	var annotations []string
	for n := range 20 {
		annotations = append(annotations, fmt.Sprintf(`"org.example.annotation.%d":%q`, n, strings.Repeat("x", 100)))
	}
	manifests := make([]registry.Manifest, many)
	for n := range manifests {
		manifests[n] = registry.NewManifest(string(types.OCIManifestSchema1), fmt.Appendf(nil,
			`{"artifactType":"application/vnd.example","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},`+
				`"layers":[{"mediaType":"application/vnd.example.layer","digest":%q,"size":1,"annotations":{%s}}],"subject":{"digest":%[2]q,"size":1},"annotations":{%[3]s}}`,
			fmt.Sprintf("sha256:%064x", n), fmt.Sprintf("sha256:%064x", many+n), strings.Join(annotations, ",")))
	}
	nodes := make([]*graph.Node, many)
	before := live()
	for n := range nodes {
		var err error
		if nodes[n], err = graph.Parse(manifests[n]); err != nil {
			t.Fatal(err)
		}
	}
	if each := (live() - before) / many; each > most {
		t.Errorf("a manifest of %d bytes holds %d more", len(manifests[0].Raw), each)
	}
	for _, n := range nodes {
		if len(n.Annotations()) != 20 || n.Config() == nil || len(n.Blobs) != 2 {
			t.Fatalf("%+v", n)
		}
	}
	runtime.KeepAlive(manifests)
}

// live is how many bytes the heap holds.
func live() int64 {
	runtime.GC()
	runtime.GC() // what the first has only marked to be swept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
