package graph_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"unicode/utf8"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// allocates is how many bytes something takes from the heap, used or not.
func allocates(what func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	what()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestParseOfNothings: a list of nothings is refused at its first, before the rest is read.
func TestParseOfNothings(t *testing.T) {
	for _, list := range []string{`"layers":[`, `"blobs":[`, `"manifests":[`} {
		m := registry.NewManifest("application/x", []byte(`{`+list+strings.Repeat("{},", 90_000)+`{}]}`))
		took := allocates(func() {
			if _, err := graph.Parse(m); err == nil {
				t.Error(list, "no error")
			}
		})
		if took > 1<<20 {
			t.Errorf("%s: %d KiB for one of %d KiB", list, took>>10, len(m.Raw)>>10)
		}
	}
}

// TestParseOfMany: of an honest list no copies are made.
func TestParseOfMany(t *testing.T) {
	const many = 40_000
	var lines []string
	for n := range many {
		lines = append(lines, fmt.Sprintf(`{"digest":"sha256:%064x","size":1}`, n))
	}
	m := registry.NewManifest(string(types.OCIManifestSchema1), []byte(`{"layers":[`+strings.Join(lines, ",")+`]}`))
	var n *graph.Node
	took := allocates(func() { n, _ = graph.Parse(m) })
	if n == nil || len(n.Blobs) != many {
		t.Fatal("not read")
	}
	if took > 2000*many {
		t.Errorf("%d bytes a layer", took/many)
	}
}

// TestStrangersWords: what a stranger wrote is repeated as far as it helps, in whole characters.
func TestStrangersWords(t *testing.T) {
	long(t)
	long := strings.Repeat("ü", 1<<20)
	for name, m := range map[string]registry.Manifest{
		"type":           registry.NewManifest(long, []byte(`{`)),
		"type of none":   registry.NewManifest(long, []byte(`{}`)),
		"digest":         registry.NewManifest("", []byte(`{"layers":[{"digest":"`+long+`"}]}`)),
		"digest's kind":  registry.NewManifest("", []byte(`{"layers":[{"digest":"`+long+`:x"}]}`)),
		"config's kind":  registry.NewManifest("", []byte(`{"config":{"digest":"`+long+`:x"}}`)),
		"a number":       registry.NewManifest("", []byte(`{"artifactType":`+strings.Repeat("1", 1<<20)+`}`)),
		"subject's kind": registry.NewManifest("", []byte(`{"subject":{"digest":"`+long+`:x"}}`)),
	} {
		_, err := graph.Parse(m)
		if err == nil || len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: %.2000v", name, err)
		}
	}
}

// silent is a registry that says who it is and answers nothing else, until it is let.
type silent struct {
	asked atomic.Int32
	end   chan struct{}
}

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Proto: "HTTP/2.0", ProtoMajor: 2, Body: http.NoBody}
	if r.URL.Path == "/v2/" {
		return resp, nil
	}
	s.asked.Add(1)
	select {
	case <-s.end:
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	resp.StatusCode = http.StatusInternalServerError
	return resp, nil
}

func (s *silent) repository(t *testing.T) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository("silent.example/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := registry.New(registry.Options{Transport: s}).Open(t.Context(), credential.Source, n, registry.Pull)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// TestWalkOfASilentRegistry: what waits for an answer is not as much as an index names.
func TestWalkOfASilentRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &silent{end: make(chan struct{})}
		opened := s.repository(t)
		var lines []string
		for n := range graph.MaxManifests {
			lines = append(lines, fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%064x","size":3}`, types.OCIManifestSchema1, n))
		}
		root := registry.NewManifest(string(types.OCIImageIndex), []byte(`{"manifests":[`+strings.Join(lines, ",")+`]}`))
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- graph.NewWalker(opened, true).Walk(ctx, root) }()
		synctest.Wait()
		if more := runtime.NumGoroutine() - before; more > 1500 || s.asked.Load() < 40 {
			t.Errorf("%d goroutines, %d requests", more, s.asked.Load())
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("no error")
		}
	})
}

// TestReadsAreBoundByTheirSizes: large manifests are not all on their way at once.
func TestReadsAreBoundByTheirSizes(t *testing.T) {
	for size, want := range map[int]int32{3: 96, 2 << 20: 2, registry.MaxManifest: 1, 0: 1, 1 << 40: 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &silent{end: make(chan struct{})}
				opened := s.repository(t)
				var lines []string
				for n := range 200 {
					lines = append(lines, fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%064x","size":%d}`, types.OCIManifestSchema1, n, size))
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() {
					done <- graph.NewWalker(opened, false).Walk(ctx, registry.NewManifest(string(types.OCIImageIndex), []byte(`{"manifests":[`+strings.Join(lines, ",")+`]}`)))
				}()
				synctest.Wait()
				if got := s.asked.Load(); got != want {
					t.Errorf("%d reads at once, want %d", got, want)
				}
				cancel()
				<-done
			})
		})
	}
}
