package registry

import (
	"bytes"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// allocated is how many bytes a function allocates, released or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// An endless manifest takes no more memory than the largest valid one.
func TestEndlessManifest(t *testing.T) {
	var sent atomic.Int64
	reg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		b := bytes.Repeat([]byte(" "), 1<<16)
		for {
			n, err := w.Write(b)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	r := target(t, reg, "acme/app")
	var err error
	used := allocated(func() { _, err = r.GetManifest(t.Context(), "dev") })
	if !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if used > retry.MaxInvalid*48<<20 { // in all: a read that was refused is garbage before the next
		t.Errorf("%d MiB allocated", used>>20)
	}
	if sent.Load() > 64<<20 {
		t.Errorf("%d MiB sent before the connection was closed", sent.Load()>>20)
	}
	wantRequests(t, reg, "manifests/dev", retry.MaxInvalid)
}

// A manifest of empty objects takes bounded memory.
func TestManifestOfEmptyObjects(t *testing.T) {
	body := []byte(`{"manifests":[0` + strings.Repeat(",0", (MaxManifest-20)/2) + "]}")
	a := &wire.Answer{Header: http.Header{}, Body: body}
	if used := allocated(func() { mediaType(a) }); used > 16<<20 {
		t.Errorf("%d MiB allocated to find the type of a manifest of 4 MiB", used>>20)
	}
}

func TestLargestManifest(t *testing.T) {
	long(t)
	t.Parallel()
	for _, size := range []int{MaxManifest, MaxManifest + 1} {
		body := []byte(emptyIndex + strings.Repeat(" ", size-len(emptyIndex)))
		reg := regtest.Serve(t, regtest.Options{Backend: manifestOf(body, "")})
		m, err := target(t, reg, "acme/app").GetManifest(t.Context(), "dev")
		if size == MaxManifest && (err != nil || len(m.Raw) != size) {
			t.Errorf("%d bytes, error %v", len(m.Raw), err)
		}
		if size > MaxManifest && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes, error %v, want ErrTooLarge", len(m.Raw), err)
		}
	}
}

// A manifest with too many entries is refused before it is parsed: each entry would take a hundred
// times its bytes.
func TestManifestWithTooManyEntries(t *testing.T) {
	for _, nothing := range []string{"{},", "null,", "0,"} {
		body := `{"schemaVersion":2,"layers":[` + strings.Repeat(nothing, maxEntries+1) + `0]}`
		if len(body) > MaxManifest {
			t.Fatalf("%d bytes would be refused for their size", len(body))
		}
		_, err := readManifest(&wire.Answer{Body: []byte(body)}, "latest")
		if !errors.Is(err, ErrTooLarge) || retry.IsTemporary(err) {
			t.Errorf("%s: error %v", nothing, err)
		}
	}
	large := `{"schemaVersion":2,"manifests":[` + strings.Repeat(`{"mediaType":"m","digest":"d","size":1,"platform":{"os":"linux","architecture":"amd64"}},`, 10_000) + `{}]}`
	if _, err := readManifest(&wire.Answer{Body: []byte(large)}, "latest"); err != nil {
		t.Errorf("an index of ten thousand children: %v", err)
	}
}
