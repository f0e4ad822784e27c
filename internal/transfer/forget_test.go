package transfer_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// TestForget: of a repository that is done with, a run still knows that blobs can be mounted from it, and asks for all
// else again.
func TestForget(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}, LayerSize: 100})
	i.Attach(i.Root, "application/x", "x")
	push(t, i, source, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	from := r.source(source)
	g := r.walk(from, "dev")
	for n, repo := range []string{"prod/a", "prod/b", "prod/c"} {
		to := r.open(credential.Target, target, repo)
		source.ResetRequests()
		copied, err := r.Copy(t.Context(), g, from, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && (copied.Blobs != 0 || copied.Mounted != len(i.Blobs) || len(reads(source, "/blobs/")) > 0) {
			t.Errorf("%s: %d blobs sent, %d mounted of %d, %v read", repo, copied.Blobs, copied.Mounted, len(i.Blobs), reads(source, "/blobs/"))
		}
		r.Forget(to, g.Root)
		target.ResetRequests()
		if _, err := r.Verify(t.Context(), g, from, to); err != nil {
			t.Error(repo, err)
		}
		if len(asked(target, "/blobs/")) != len(i.Blobs) {
			t.Errorf("%s: %v asked for, of %d blobs", repo, asked(target, "/blobs/"), len(i.Blobs))
		}
		complete(t, source, "dev", target, repo, i.Root)
	}
	r.Forget(r.open(credential.Target, target, "prod/unknown"))
}

func reads(r *regtest.Registry, part string) []string { return requests(r, http.MethodGet, part) }
func asked(r *regtest.Registry, part string) []string { return requests(r, http.MethodHead, part) }

func requests(r *regtest.Registry, method, part string) (paths []string) {
	for _, q := range ours(r) {
		if q.Method == method && strings.Contains(q.Path, part) {
			paths = append(paths, q.Path)
		}
	}
	return paths
}

// TestOutlineIsRefused: a graph without its content is not taken for one that has none.
func TestOutlineIsRefused(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, small(), source, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	from, to := r.source(source), r.target(target)
	g := r.walk(from, "dev").Outline()
	target.ResetRequests()
	_, copyErr := r.Copy(t.Context(), g, from, to, nil)
	_, verifyErr := r.Verify(t.Context(), g, from, from)
	_, estimateErr := r.Estimate(t.Context(), g, from, to)
	_, lackingErr := r.Lacking(t.Context(), g, to)
	for what, err := range map[string]error{"copy": copyErr, "verify": verifyErr, "estimate": estimateErr, "lacking": lackingErr} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if n := len(ours(target)); n > 0 {
		t.Errorf("%d requests", n)
	}
}
