package transfer_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// mute is two registries without manifests or tags, which answer nothing when asked for a blob.
type mute struct{ asked atomic.Int32 }

func (m *mute) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Request: r, Proto: "HTTP/2.0", ProtoMajor: 2, Body: http.NoBody}
	switch {
	case r.URL.Path == "/v2/":
		resp.StatusCode = http.StatusOK
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		resp.StatusCode = http.StatusOK
		resp.Body = io.NopCloser(strings.NewReader(`{"name":"` + targetRepo + `","tags":["x"]}`))
	case strings.Contains(r.URL.Path, "/blobs/"):
		m.asked.Add(1)
		<-r.Context().Done()
		return nil, context.Cause(r.Context())
	}
	return resp, nil
}

func (m *mute) open(t *testing.T, c *registry.Client, side credential.Side, repo string) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository(repo)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.Open(t.Context(), side, n, registry.Push)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// TestManyBlobs: what waits for a registry is not as much as an image has.
func TestManyBlobs(t *testing.T) {
	long(t)
	const many = 40_000
	var lines []string
	for n := range many {
		lines = append(lines, fmt.Sprintf(`{"digest":"sha256:%064x","size":1}`, n))
	}
	root := registry.NewManifest(string(types.OCIManifestSchema1), []byte(`{"layers":[`+strings.Join(lines, ",")+`]}`))
	for name, work := range map[string]func(context.Context, *transfer.Engine, *graph.Graph, *registry.Repository, *registry.Repository) error{
		"copy": func(ctx context.Context, e *transfer.Engine, g *graph.Graph, from, to *registry.Repository) error {
			_, err := e.Copy(ctx, g, from, to, nil)
			return err
		},
		"verify": func(ctx context.Context, e *transfer.Engine, g *graph.Graph, from, to *registry.Repository) error {
			_, err := e.Verify(ctx, g, from, to)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mute{}
				client := registry.New(registry.Options{Transport: m})
				from, to := m.open(t, client, credential.Source, "source.example/"+sourceRepo), m.open(t, client, credential.Target, "target.example/"+targetRepo)
				w := graph.NewWalker(from, false)
				if err := w.Walk(t.Context(), root); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				before, done := runtime.NumGoroutine(), make(chan error)
				go func() { done <- work(ctx, transfer.New(transfer.Blobs), w.Graph(root.Digest), from, to) }()
				synctest.Wait()
				if more := runtime.NumGoroutine() - before; more > 1000 || m.asked.Load() < 40 {
					t.Errorf("%d goroutines, %d requests for blobs", more, m.asked.Load())
				}
				cancel()
				if err := <-done; err == nil {
					t.Error("no error")
				}
			})
		})
	}
}
