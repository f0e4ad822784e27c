package regtest_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func push(t *testing.T, i *regtest.Image, to regtest.Access, repository string, tags ...string) {
	t.Helper()
	if err := i.Push(t.Context(), to, repository, tags...); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, from regtest.Access, repository, reference string) *regtest.Tree {
	t.Helper()
	tree, err := regtest.Read(t.Context(), from, repository, reference)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// The workload is what design and measurements speak of: it must not drift.
func TestReferenceImageCounts(t *testing.T) {
	i := regtest.ReferenceImage()
	if len(i.Manifests) != 20 || len(i.Blobs) != 47 {
		t.Errorf("%d manifests and %d blobs, want 20 and 47", len(i.Manifests), len(i.Blobs))
	}
	if mb := (i.Size() + 500_000) / 1_000_000; mb != 84 {
		t.Errorf("%d MB, want 84", mb)
	}
	tags, referrers := 0, 0
	for _, m := range i.Manifests {
		if m.Tag != "" {
			tags++
		}
		if m.Subject != "" {
			referrers++
		}
	}
	if tags != 5 || referrers != 10 {
		t.Errorf("%d cosign tags and %d referrers, want 5 and 10", tags, referrers)
	}
}

var specs = map[string]regtest.Spec{
	"zero":        {},
	"single":      {Seed: "single", Layers: 3, Annotations: map[string]string{"a": "b"}},
	"index":       {Seed: "index", Platforms: []string{"linux/amd64", "linux/arm/v7"}, Labels: map[string]string{"l": "x"}},
	"shared":      {Seed: "shared", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 3, Shared: true},
	"docker":      {Seed: "docker", Platforms: []string{"linux/amd64", "linux/arm64"}, Docker: true},
	"nested":      {Seed: "nested", Platforms: []string{"linux/amd64", "linux/arm64"}, Nested: true},
	"attested":    {Seed: "attested", Platforms: []string{"linux/amd64", "linux/arm64"}, Provenance: true, SBOM: true},
	"foreign":     {Seed: "foreign", Foreign: 2},
	"helm":        {Seed: "helm", Artifact: regtest.Helm},
	"artifact":    {Seed: "artifact", Artifact: "application/vnd.example.thing", Layers: 2},
	"no layers":   {Seed: "no layers", Layers: -1},
	"large layer": {Seed: "large", LayerSize: 3 << 20},
}

func TestBuildIsDeterministicAndTrue(t *testing.T) {
	seen := map[string]string{}
	for name, spec := range specs {
		a, b := regtest.Build(spec), regtest.Build(spec)
		if a.Root != b.Root {
			t.Errorf("%s: built twice, two digests", name)
		}
		if other, ok := seen[a.Root]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[a.Root] = name
		for _, blob := range a.Blobs {
			checkBlob(t, name, blob)
		}
	}
}

func checkBlob(t *testing.T, name string, b *regtest.Blob) {
	t.Helper()
	for range 2 {
		text, err := io.ReadAll(b.Open())
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		if int64(len(text)) != b.Size || "sha256:"+hex.EncodeToString(sum[:]) != b.Digest {
			t.Errorf("%s: blob %s has %d bytes, sha256:%x", name, b.Digest, len(text), sum)
		}
	}
}

func TestPushAndRead(t *testing.T) {
	long(t)
	for _, api := range []bool{true, false} {
		r := regtest.Serve(t, regtest.Options{Referrers: api})
		to := r.Access("", "")
		for name, spec := range specs {
			i := attached(spec)
			if err := i.PushForeign(t.Context(), to, "acme/app"); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			push(t, i, to, "acme/app", "v1", "latest")
			tree := read(t, to, "acme/app", "v1")
			checkTree(t, name, i, tree)
			if tree.HasAPI != api || (len(tree.Listed[i.Root]) > 0) != api || (len(tree.Fallback[i.Root]) > 0) == api {
				t.Errorf("%s: HasAPI %v, %d listed there, %d by the fallback tag",
					name, tree.HasAPI, len(tree.Listed[i.Root]), len(tree.Fallback[i.Root]))
			}
		}
	}
}

func attached(spec regtest.Spec) *regtest.Image {
	i := regtest.Build(spec)
	for _, digest := range append([]string{i.Root}, i.Children()...) {
		i.Sign(digest, ".sig", "s")
		i.Sign(digest, ".att", "s")
		i.Sign(digest, ".sbom", "s")
		one := i.Attach(digest, "application/vnd.example.one", "a")
		i.Attach(digest, "application/vnd.example.one", "b")
		i.Attach(one, "application/vnd.example.two", "c")
		i.AttachIndex(one, "application/vnd.example.three", "d")
		i.Sign(one, ".sig", "e")
	}
	return i
}

func checkTree(t *testing.T, name string, i *regtest.Image, tree *regtest.Tree) {
	t.Helper()
	if tree.Root != i.Root || len(tree.Nodes) != len(i.Manifests) {
		t.Errorf("%s: root %s with %d manifests, want %s with %d", name, tree.Root, len(tree.Nodes), i.Root, len(i.Manifests))
	}
	blobs := 0
	for _, b := range i.Blobs {
		if b.Foreign {
			continue
		}
		blobs++
		if tree.Blobs[b.Digest] != b.Size {
			t.Errorf("%s: blob %s: %d bytes, want %d", name, b.Digest, tree.Blobs[b.Digest], b.Size)
		}
	}
	if blobs != len(tree.Blobs) {
		t.Errorf("%s: %d blobs, want %d", name, len(tree.Blobs), blobs)
	}
	for _, m := range i.Manifests {
		if m.Tag != "" && tree.DigestTags[m.Tag] != m.Digest {
			t.Errorf("%s: tag %s is %q", name, m.Tag, tree.DigestTags[m.Tag])
		}
		if m.Subject != "" && tree.Nodes[m.Digest].Subject != m.Subject {
			t.Errorf("%s: referrer %s has subject %q", name, m.Digest, tree.Nodes[m.Digest].Subject)
		}
	}
}

func TestAttestationManifestsNameTheirPlatform(t *testing.T) {
	i := regtest.Build(specs["attested"])
	var index struct{ Manifests []regtest.Descriptor }
	if err := json.Unmarshal(i.Manifest(i.Root).Bytes, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 4 {
		t.Fatalf("%d children, want 4", len(index.Manifests))
	}
	for n, d := range index.Manifests[2:] {
		if d.Platform == nil || d.Platform.OS != "unknown" || d.Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
			t.Errorf("child %d is no attestation: %+v", n+2, d)
		}
		if got := d.Annotations["vnd.docker.reference.digest"]; got != index.Manifests[n].Digest {
			t.Errorf("attestation %d is about %s, want %s", n, got, index.Manifests[n].Digest)
		}
	}
}

func TestImagesOfOneBaseShareItsLayers(t *testing.T) {
	spec := regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 5, Base: "base", BaseLayers: 4}
	seen := map[string]int{}
	for _, spec.Seed = range []string{"one", "two"} {
		for _, b := range regtest.Build(spec).Blobs {
			if b.Size == 1000 {
				seen[b.Digest]++
			}
		}
	}
	shared := 0
	for _, n := range seen {
		shared += n - 1
	}
	if len(seen) != 4+2*2 || shared != 4 {
		t.Errorf("%d layers, %d of them in both; want 8 and 4", len(seen), shared)
	}
}
