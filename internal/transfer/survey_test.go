package transfer_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// surveyed walks the source beside a survey of the target, then copies and verifies.
func (r run) surveyed(from, to *regtest.Registry) error {
	r.t.Helper()
	source, target := r.source(from), r.target(to)
	root, err := source.GetManifest(r.t.Context(), "dev")
	if err != nil {
		r.t.Fatal(err)
	}
	observed, err := transfer.Observe(r.t.Context(), target, "production")
	if err != nil {
		r.t.Fatal(err)
	}
	var ahead sync.WaitGroup
	s := r.Survey(r.t.Context(), &ahead, root.Digest, source, target, observed)
	w := graph.NewWalker(source, true)
	w.Found = func(_ v1.Hash, n *graph.Node, tag string) { s.Found(n, tag) }
	w.Near = func(ctx context.Context, _, digest v1.Hash) (registry.Manifest, bool) { return s.Near(ctx, digest) }
	if err := w.Walk(r.t.Context(), root); err != nil {
		r.t.Fatal(err)
	}
	ahead.Wait()
	g := w.Graph(root.Digest)
	if _, err := r.Copy(r.t.Context(), g, source, target, nil); err != nil {
		return err
	}
	_, err = r.Verify(r.t.Context(), g, source, target)
	return err
}

// reads counts the requests for a kind of path.
func reads(r *regtest.Registry, method, part string) (n int) {
	for _, q := range ours(r) {
		if q.Method == method && strings.Contains(q.Path, part) {
			n++
		}
	}
	return n
}

// TestSurveyReadsEachDigestOnce: what the target holds is read there, and not at
// the source as well; and nothing is asked for twice.
func TestSurveyReadsEachDigestOnce(t *testing.T) {
	for _, api := range []bool{false, true} {
		source, target := regtest.Serve(t, regtest.Options{Referrers: api}), regtest.Serve(t, regtest.Options{Referrers: api})
		i := small()
		push(t, i, source, sourceRepo, "dev")
		push(t, i, target, targetRepo, "production")
		source.ResetRequests()
		target.ResetRequests()
		if err := newRun(t, transfer.Blobs, 0).surveyed(source, target); err != nil {
			t.Fatal(err)
		}
		if w := writes(target); len(w) > 0 {
			t.Errorf("API %v: written: %q", api, w)
		}
		if n := reads(source, http.MethodGet, "/manifests/sha256:"); n > 0 {
			t.Errorf("API %v: %d manifests were read by digest at the source", api, n)
		}
		again := 0
		for _, r := range []*regtest.Registry{source, target} {
			times := map[string]int{}
			for _, q := range ours(r) {
				if times[q.Method+q.Path]++; times[q.Method+q.Path] > 1 && !strings.HasSuffix(q.Path, "/tags/list") {
					again++
					if !strings.Contains(q.Path, "/referrers/") {
						t.Errorf("API %v: asked again: %s %s", api, q.Method, q.Path)
					}
				}
			}
		}
		if again > 2 { // whether a registry has the API is found out by a first question, and asked twice if not
			t.Errorf("API %v: %d questions were asked again", api, again)
		}
		if n := reads(target, http.MethodHead, "/blobs/"); n != len(i.Blobs) {
			t.Errorf("API %v: %d blobs were looked for, want %d", api, n, len(i.Blobs))
		}
	}
}

// TestSurveyFails: who asks ahead asks only ahead.
func TestSurveyFails(t *testing.T) {
	source := regtest.Serve(t, regtest.Options{})
	i := small()
	push(t, i, source, sourceRepo, "dev")
	target := regtest.Serve(t, regtest.Options{})
	push(t, i, target, targetRepo, "production")
	r := newRun(t, transfer.Blobs, 0)
	from, to := r.source(source), r.target(target)
	g := r.walk(from, "dev")
	ended, end := context.WithCancel(t.Context())
	end()
	var ahead sync.WaitGroup
	s := r.Survey(ended, &ahead, g.Root, from, to)
	for _, n := range g.Nodes {
		s.Found(n, "")
	}
	ahead.Wait()
	if copied, err := r.Copy(t.Context(), g, from, to, nil); err != nil || copied.Present != len(i.Blobs) {
		t.Errorf("copied %+v, error %v", copied, err)
	}
}

// TestRunBrokenOff: in a repository without a tag, what is large is not sent
// again, and what is small is not asked for.
func TestRunBrokenOff(t *testing.T) {
	i := regtest.Build(regtest.Spec{Layers: 2, LayerSize: 1 << 20})
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, i, source, sourceRepo, "dev")
	push(t, i, target, targetRepo)
	target.ResetRequests()
	if err := newRun(t, transfer.Blobs, 0).surveyed(source, target); err != nil {
		t.Fatal(err)
	}
	if n := reads(target, http.MethodHead, "/blobs/"); n == 0 || n > len(i.Blobs) {
		t.Errorf("%d of %d blobs were looked for", n, len(i.Blobs))
	}
	for _, q := range ours(target) {
		if q.Received >= 1<<20 {
			t.Errorf("%s %s sent %d bytes again", q.Method, q.Path, q.Received)
		}
	}
}

// TestTwoSourcesAttachDifferently: the second is refused before it takes the place of the first.
func TestTwoSourcesAttachDifferently(t *testing.T) {
	target := regtest.Serve(t, regtest.Options{})
	r := newRun(t, transfer.Blobs, 0)
	for n, payload := range []string{"one", "two"} {
		i := regtest.Build(regtest.Spec{})
		i.Sign(i.Root, ".sig", payload)
		source := regtest.Serve(t, regtest.Options{})
		push(t, i, source, sourceRepo, "dev")
		_, _, err := r.copyAndVerify(source, target, "dev")
		if n == 0 && err != nil {
			t.Fatal(err)
		}
		if n == 1 && (err == nil || !strings.Contains(err.Error(), "two sources") || !strings.Contains(registry.HintOf(err), "one after the other")) {
			t.Errorf("error %v", err)
		}
	}
}
