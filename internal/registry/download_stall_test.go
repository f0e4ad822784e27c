package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

func TestStalledDownload(t *testing.T) {
	t.Parallel()
	blob := content(400_000)
	for name, before := range map[string]int{"before the answer": -1, "before the first byte": 0, "half way": 200_000} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			h := open200(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
					return
				}
				if before >= 0 {
					w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
					_, _ = w.Write(blob[:before])
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				got, err := readBlob(t, r, descriptor(blob))
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("%d bytes, error %v", len(got), err)
				}
				took(t, began, wire.StallTimeout, wire.StallTimeout+time.Second)
			})
		})
	}
}

func TestDownloadThatStallsEveryTime(t *testing.T) {
	t.Parallel()
	bubble(t, open200(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func(t *testing.T, r *Repository) {
		_, err := readBlob(t, r, descriptor(content(100_000)))
		if !errors.Is(err, wire.ErrStalled) {
			t.Errorf("error %v, want that of a stall", err)
		}
	})
}

// A slow download is not a stalled one, neither during a read, nor while it skips to its offset.
func TestSlowDownload(t *testing.T) {
	t.Parallel()
	const piece = wire.MinProgress
	blob := content(10 * piece)
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		first := asked.Add(1) == 1
		for i := 0; i < len(blob); i += piece {
			if first && i == 8*piece {
				hangup(w, r, nil)
				return
			}
			_, _ = w.Write(blob[i : i+piece])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(wire.StallTimeout - time.Second)
		}
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		got, err := readBlob(t, r, descriptor(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	})
	if asked.Load() != 2 {
		t.Errorf("asked %d times, want 2", asked.Load())
	}
}

// A slow reader is not a stall of the registry.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	blob := content(300_000)
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(blob)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		body := r.OpenBlob(t.Context(), descriptor(blob))
		defer body.Close()
		var got []byte
		for buffer := make([]byte, 100_000); ; time.Sleep(2 * wire.StallTimeout) {
			n, err := body.Read(buffer)
			got = append(got, buffer[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, blob) || asked.Load() != 1 {
			t.Errorf("%d bytes by %d requests", len(got), asked.Load())
		}
	})
}

func TestClosedDownload(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	d := push(t, reg, "acme/app", content(1<<20))
	body := target(t, reg, "acme/app").OpenBlob(t.Context(), d)
	if n, err := body.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
	if n, err := body.Read(make([]byte, 10)); n == 0 || err != nil {
		t.Errorf("%d bytes, error %v", n, err)
	}
	for range 2 {
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := body.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("after Close: %d bytes, error %v", n, err)
	}
}

func TestDownloadThatIsEnded(t *testing.T) {
	t.Parallel()
	blob := content(100_000)
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:50_000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(errTimeUp) })
		began := time.Now()
		got, err := io.ReadAll(r.OpenBlob(ctx, descriptor(blob)))
		took(t, began, 3*time.Second, 3*time.Second)
		if len(got) != 50_000 || !errors.Is(err, errTimeUp) || errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes, error %v, want the context's cause", len(got), err)
		}
	})
}
