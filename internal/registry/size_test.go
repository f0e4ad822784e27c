package registry

import (
	"bytes"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// A manifest that is wrong about a blob's size is told from damage, at once.
func TestWrongSizeInManifest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ says, has int }{
		"a small blob that is larger":  {31, 3106},
		"a small blob that is smaller": {3106, 31},
		"a large blob that is larger":  {1 << 20, 1<<20 + 1},
		"a large blob that is smaller": {1 << 20, 31},
		"a large blob said to be tiny": {31, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			d := push(t, from, "acme/app", content(test.has))
			d.Size = int64(test.says)
			c := client(t, nil)
			source := repository(t, c, credential.Source, from.Host()+"/acme/app", Pull)
			_, err := repository(t, c, credential.Target, to.Host()+"/acme/app", Push).PutBlob(t.Context(), Upload{Blob: d, From: source})
			if !errors.Is(err, ErrMismatch) {
				t.Fatalf("error %v", err)
			}
			contains(t, err.Error(), "read blob at the source", "the manifest says "+wire.Grouped(d.Size)+" bytes, the blob has "+wire.Grouped(int64(test.has)))
			contains(t, HintOf(err), "manifest is wrong about the size")
			wantRequests(t, from, getBlob, retry.MaxWrongSize)
		})
	}
	if got := wire.Grouped(1_234_567) + " " + wire.Grouped(999); got != "1,234,567 999" {
		t.Error(got)
	}
}

// What is answered once by somebody else is no blob of another size.
func TestWrongSizeOnce(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 100_000} {
		var asked atomic.Int32
		blob := content(size)
		reg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				_, _ = w.Write([]byte("come back later"))
				return
			}
			http.ServeContent(w, &http.Request{Method: http.MethodGet}, "", time.Time{}, bytes.NewReader(blob))
		})
		if got, err := readBlob(t, target(t, reg, "acme/app"), descriptor(blob)); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	}
}

// TestWrongSizeThatVaries: answers that are cut off on their way, each with a length that fits, are no blob of another size.
func TestWrongSizeThatVaries(t *testing.T) {
	t.Parallel()
	for _, size := range []int{100, 100_000} {
		var asked atomic.Int32
		blob := content(size)
		reg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			n := size
			if nth := int(asked.Add(1)); nth <= 3 {
				n = size - 10*nth
			}
			http.ServeContent(w, &http.Request{Method: http.MethodGet}, "", time.Time{}, bytes.NewReader(blob[:n]))
		})
		if got, err := readBlob(t, target(t, reg, "acme/app"), descriptor(blob)); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	}
}
