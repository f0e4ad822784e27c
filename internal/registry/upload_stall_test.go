package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// A registry may say that it has the blob before it has read all of it.
func TestAnswerBeforeTheEndOfTheBody(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	h := uploads(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<19)
		w.Header().Set("Connection", "close") // or net/http waits for the rest of the body
		w.WriteHeader(http.StatusCreated)
	})
	reg := regtest.Serve(t, regtest.Options{Backend: h})
	u := upload(blob)
	u.Open = func(ctx context.Context) io.ReadCloser {
		var mu sync.Mutex
		reading, closed := false, false
		b := &blocking{ctx: ctx, first: blob[:1<<19], go_: make(chan struct{})}
		return watcher{b, func() {
			mu.Lock()
			defer mu.Unlock()
			reading = !reading
			if closed {
				t.Error("read after it was closed")
			}
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			if closed = true; reading {
				t.Error("closed while it was read")
			}
		}}
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, putBlob, 1)
}

func TestStalledUpload(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	for name, read := range map[string]int64{"at once": 0, "half way": 1 << 19} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					_, _ = io.CopyN(io.Discard, r.Body, read)
					<-r.Context().Done()
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				u, moved, _ := counted(blob)
				if _, err := r.PutBlob(t.Context(), u); err != nil || moved.Load() != u.Blob.Size {
					t.Errorf("error %v, %d bytes said to have moved", err, moved.Load())
				}
				took(t, began, wire.StallTimeout, wire.StallTimeout+time.Second)
			})
		})
	}
}

// A registry takes its time to check and store a large blob, after one PUT, and after PATCH and PUT.
func TestRegistryThatTakesItsTimeToStore(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // bytes that are expected to be stored in a second
	blob := make([]byte, size)
	if wire.CommitTime(size) != wire.StallTimeout+time.Second {
		t.Fatalf("commit time %v", wire.CommitTime(size))
	}
	for _, test := range []struct {
		name    string
		chunked bool
		after   time.Duration
		want    int32 // requests with which an upload ends
	}{
		{"one PUT", false, wire.StallTimeout + time.Second/2, 1},
		{"one PUT, too long", false, wire.StallTimeout + 2*time.Second, 2},
		{"PATCH and PUT", true, wire.StallTimeout + time.Second/2, 1},
		{"PATCH and PUT, too long", true, wire.StallTimeout + 2*time.Second, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ends atomic.Int32
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				if test.chunked && r.Method == http.MethodPut && r.ContentLength > 0 {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Method == http.MethodPatch {
					w.Header().Set("Location", r.URL.String())
					w.WriteHeader(http.StatusAccepted)
					return
				}
				if ends.Add(1) == 1 {
					select {
					case <-time.After(test.after):
					case <-r.Context().Done():
					}
				}
				w.WriteHeader(http.StatusCreated)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				u := upload(nil)
				u.Blob = descriptor(blob)
				u.Open = func(context.Context) io.ReadCloser { return io.NopCloser(bytes.NewReader(blob)) }
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Error(err)
				}
			})
			if ends.Load() != test.want {
				t.Errorf("%d uploads ended, want %d", ends.Load(), test.want)
			}
		})
	}
}

func TestUploadThatIsEnded(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	h := uploads(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	bubble(t, h, func(t *testing.T, r *Repository) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(errTimeUp) })
		began := time.Now()
		var b *blocking
		u, moved, _ := counted(blob)
		u.Open = func(ctx context.Context) io.ReadCloser {
			b = &blocking{ctx: ctx, first: blob[:500], go_: make(chan struct{})}
			return b
		}
		_, err := r.PutBlob(ctx, u)
		took(t, began, 3*time.Second, 3*time.Second)
		if !errors.Is(err, errTimeUp) || errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's cause", err)
		}
		if !b.shut || moved.Load() != 0 {
			t.Errorf("closed %v, %d bytes said to have moved", b.shut, moved.Load())
		}
	})
}

// An upload does not retry a request whose own retries are over: a slow answer would take eight
// times as long.
func TestAttemptsOfAnUploadDoNotMultiply(t *testing.T) {
	t.Parallel()
	var starts atomic.Int32
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			starts.Add(1)
			<-r.Context().Done()
			return
		}
		open200(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })(w, r)
	}, func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.PutBlob(t.Context(), upload(content(100_000)))
		if !errors.Is(err, wire.ErrStalled) {
			t.Errorf("error %v, want a stall", err)
		}
		contains(t, err.Error(), "write blob at the source "+r.Name())
		if n := starts.Load(); n != retry.MinAttempts {
			t.Errorf("%d starts, want %d", n, retry.MinAttempts)
		}
		took(t, began, retry.MinAttempts*wire.StallTimeout, 2*retry.MinAttempts*wire.StallTimeout)
	})
}
