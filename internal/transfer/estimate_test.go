package transfer_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// estimate counts as a plan does, in a run of its own.
func estimate(t *testing.T, from, to *regtest.Registry, tags ...string) (sum document.Missing) {
	t.Helper()
	r := newRun(t, transfer.Blobs, 0)
	to.ResetRequests()
	for _, tag := range tags {
		source := r.source(from)
		m, err := r.Estimate(t.Context(), r.walk(source, tag), source, r.target(to))
		if err != nil {
			t.Fatal(err)
		}
		sum.Manifests, sum.Blobs, sum.Bytes = sum.Manifests+m.Manifests, sum.Blobs+m.Blobs, sum.Bytes+m.Bytes
	}
	if w := writes(to); len(w) > 0 {
		t.Errorf("an estimate wrote %q", w)
	}
	return sum
}

// sent copies, in a run of its own, and counts what it sent.
func sent(t *testing.T, from, to *regtest.Registry, tags ...string) (sum document.Missing) {
	t.Helper()
	r := newRun(t, transfer.Blobs, 0)
	for _, tag := range tags {
		source, target := r.source(from), r.target(to)
		g := r.walk(source, tag)
		c, err := r.Copy(t.Context(), g, source, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		sum.Manifests, sum.Blobs, sum.Bytes = sum.Manifests+c.Manifests, sum.Blobs+c.Blobs, sum.Bytes+c.Bytes
	}
	return sum
}

// TestEstimate: what a plan says is what the copy then sends. A list of referrers that the copy has to write itself is
// not of the image, so that the registries here have the API.
func TestEstimate(t *testing.T) {
	long(t)
	based := func(seed string) *regtest.Image {
		return regtest.Build(regtest.Spec{Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 3, Base: "base", BaseLayers: 2})
	}
	dressed := func() *regtest.Image {
		i := based("one")
		i.Sign(i.Root, ".sig", "x")
		i.Attach(i.Attach(i.Children()[0], "application/vnd.example.sbom", "x"), "application/vnd.example.signature", "x")
		return i
	}
	for name, test := range map[string]struct {
		image  *regtest.Image
		others []*regtest.Image           // of the same source
		there  func(at *regtest.Registry) // fills the target
		zero   bool
	}{
		"into an empty repository": {image: dressed()},
		"of what is complete":      {image: dressed(), there: func(at *regtest.Registry) { push(t, dressed(), at, targetRepo, "production") }, zero: true},
		"beside another image":     {image: dressed(), there: func(at *regtest.Registry) { push(t, small(), at, targetRepo, "production") }},
		"beside one with its base": {image: dressed(), there: func(at *regtest.Registry) { push(t, based("two"), at, targetRepo, "production") }},
		"without its attachments":  {image: dressed(), there: func(at *regtest.Registry) { push(t, based("one"), at, targetRepo, "production") }},
		"of images with one base":  {image: based("one"), others: []*regtest.Image{based("two"), based("three")}},
		"of a single manifest":     {image: regtest.Build(regtest.Spec{})},
		"of an attested one":       {image: regtest.BuildAttested(regtest.Spec{Platforms: []string{"linux/amd64"}})},
		"of a large one in part": {image: regtest.Build(regtest.Spec{Layers: 2, LayerSize: 1 << 20}), there: func(at *regtest.Registry) {
			i := regtest.Build(regtest.Spec{Layers: 2, LayerSize: 1 << 20})
			for _, b := range i.Blobs[:2] { // of a run that was broken off: nothing has a tag yet
				body, err := io.ReadAll(b.Open())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := regtest.PutBlob(t.Context(), at.Access("", ""), targetRepo, body); err != nil {
					t.Fatal(err)
				}
			}
		}},
		"of what has no tag yet": {image: small(), there: func(at *regtest.Registry) { push(t, small(), at, targetRepo) }, zero: true},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := regtest.Serve(t, regtest.Options{Referrers: true}), regtest.Serve(t, regtest.Options{Referrers: true})
			tags := []string{"tag0"}
			push(t, test.image, from, sourceRepo, "tag0")
			for n, i := range test.others {
				tags = append(tags, fmt.Sprint("tag", n+1))
				push(t, i, from, sourceRepo, fmt.Sprint("tag", n+1))
			}
			if test.there != nil {
				test.there(to)
			}
			said := estimate(t, from, to, tags...)
			if did := sent(t, from, to, tags...); said != did {
				t.Errorf("%+v is missing, but %+v was sent", said, did)
			}
			if (said == document.Missing{}) != test.zero {
				t.Errorf("%+v is missing", said)
			}
			aside(t, func(ctx context.Context) error {
				return regtest.PutTag(ctx, to.Access("", ""), targetRepo, "production", test.image.Root)
			})
			if again := estimate(t, from, to, tags...); again != (document.Missing{}) {
				t.Errorf("%+v is missing after the copy", again)
			}
		})
	}
}

// TestEstimateOfOneRepository: nothing has to be brought, and nothing is asked.
func TestEstimateOfOneRepository(t *testing.T) {
	at := regtest.Serve(t, regtest.Options{})
	push(t, small(), at, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	source := r.source(at)
	g := r.walk(source, "dev")
	at.ResetRequests()
	for _, target := range []*registry.Repository{source, r.source(at)} {
		if m, err := r.Estimate(t.Context(), g, source, target); err != nil || m != (document.Missing{}) {
			t.Errorf("%+v is missing, error %v", m, err)
		}
	}
	if n := len(ours(at)); n > 0 {
		t.Errorf("%d requests", n)
	}
}

// TestEstimateOfTwoRepositories: what is missing in both is missing twice.
func TestEstimateOfTwoRepositories(t *testing.T) {
	from, to, other := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := small()
	push(t, i, from, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	source := r.source(from)
	g := r.walk(source, "dev")
	for _, at := range []*regtest.Registry{to, other} {
		m, err := r.Estimate(t.Context(), g, source, r.target(at))
		if err != nil || m.Manifests != len(g.Nodes) || m.Blobs != len(g.Blobs()) || m.Bytes != g.Bytes() {
			t.Errorf("%+v is missing of %d manifests and %d blobs, error %v", m, len(g.Nodes), len(g.Blobs()), err)
		}
	}
}

// TestEstimateOfABuildCache, an index whose children are blobs.
func TestEstimateOfABuildCache(t *testing.T) {
	from, to := regtest.Serve(t, regtest.Options{Referrers: true}), regtest.Serve(t, regtest.Options{Referrers: true})
	access, layer := from.Access("", ""), []byte("a layer")
	digest, err := regtest.PutBlob(t.Context(), access, sourceRepo, layer)
	if err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":%q,"size":%d}]}`, digest, len(layer))
	if err := regtest.PutManifest(t.Context(), access, sourceRepo, "cache", "application/vnd.oci.image.index.v1+json", []byte(index)); err != nil {
		t.Fatal(err)
	}
	said := estimate(t, from, to, "cache")
	if did := sent(t, from, to, "cache"); said != did || said.Blobs != 1 {
		t.Errorf("%+v is missing, but %+v was sent", said, did)
	}
}
