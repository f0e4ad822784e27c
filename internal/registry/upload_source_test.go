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

// source is an upload from another repository.
func source(r *Repository, blob []byte) (Upload, *atomic.Int64) {
	u, moved, _ := counted(blob)
	d := u.Blob
	u.Open = func(ctx context.Context) io.ReadCloser { return r.OpenBlob(ctx, d) }
	return u, moved
}

func TestFlippedByteAtTheSource(t *testing.T) {
	t.Parallel()
	blob := content(1 << 18)
	for _, test := range []struct {
		name  string
		times int
		heals bool
	}{
		{"once", 1, true},
		{"twice", 2, true},
		{"always", always, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from := regtest.Serve(t, regtest.Options{Wrap: strikes(test.times, getBlob, changed(flip))})
			d := push(t, from, "acme/app", blob)
			to := regtest.Serve(t, regtest.Options{})
			u, moved := source(target(t, from, "acme/app"), blob)
			_, err := target(t, to, "acme/app").PutBlob(t.Context(), u)
			if test.heals && (err != nil || moved.Load() != d.Size) {
				t.Errorf("error %v, %d bytes said to have moved", err, moved.Load())
			}
			if !test.heals {
				if !errors.Is(err, ErrMismatch) || moved.Load() != 0 {
					t.Errorf("error %v, %d bytes said to have moved, want ErrMismatch", err, moved.Load())
				}
				wantRequests(t, from, getBlob, retry.MaxDamaged)
			}
			if got := stored(t, to, "acme/app", d); test.heals != bytes.Equal(got, blob) {
				t.Errorf("%d bytes stored", len(got))
			}
			for _, put := range matching(to, putBlob) {
				if put.Received == d.Size && put.Status != http.StatusCreated {
					t.Error("all of a wrong blob was sent")
				}
			}
		})
	}
}

func TestSourceThatFails(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	from := regtest.Serve(t, regtest.Options{})
	blob := content(100_000)
	u, moved := source(target(t, from, "acme/app"), blob)
	_, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
	if !errors.Is(err, ErrNotFound) || moved.Load() != 0 {
		t.Fatalf("error %v, %d bytes said to have moved", err, moved.Load())
	}
	contains(t, err.Error(), "read blob", from.Host())
	wantRequests(t, reg, postBlob, 1)

	more := upload(blob)
	more.Open = func(context.Context) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(append(blob[:100_000:100_000], 1)))
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), more); !errors.Is(err, ErrMismatch) {
		t.Errorf("more bytes than it says: error %v, want ErrMismatch", err)
	}
	if got := stored(t, reg, "acme/app", more.Blob); got != nil {
		t.Error("a blob of another length was stored")
	}
}

// blocking returns some bytes, and then waits for its context or for a signal.
type blocking struct {
	ctx   context.Context
	first []byte
	rest  []byte
	go_   chan struct{}
	mu    sync.Mutex
	shut  bool
}

func (b *blocking) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	select {
	case <-b.go_:
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *blocking) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return nil
}

// The target refuses the upload while it waits for the source. The source is canceled, and that is
// not reported as a failure of the source.
func TestTargetFailsWhileTheSourceIsWaitedFor(t *testing.T) {
	t.Parallel()
	blob := content(200_000)
	reg := regtest.Serve(t, regtest.Options{Wrap: strikes(1, putBlob, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		w.Header().Set("Connection", "close") // or net/http waits for the rest of the body
		w.WriteHeader(http.StatusServiceUnavailable)
	})})
	var opened []*blocking
	u, moved, _ := counted(blob)
	u.Open = func(ctx context.Context) io.ReadCloser {
		b := &blocking{ctx: ctx, first: blob[:100_000], rest: blob[100_000:], go_: make(chan struct{})}
		if len(opened) > 0 {
			close(b.go_)
		}
		opened = append(opened, b)
		return b
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if len(opened) != 2 || !opened[0].shut || !opened[1].shut || moved.Load() != u.Blob.Size {
		t.Errorf("opened %d times, %d bytes said to have moved", len(opened), moved.Load())
	}
}

type watcher struct {
	io.ReadCloser
	read, close func()
}

func (w watcher) Read(p []byte) (int, error) {
	w.read()
	defer w.read()
	return w.ReadCloser.Read(p)
}

func (w watcher) Close() error {
	w.close()
	return w.ReadCloser.Close()
}

// A slow source is not a stall of the target.
func TestSlowSource(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	var asked atomic.Int32
	h := uploads(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		u := upload(blob)
		u.Open = func(ctx context.Context) io.ReadCloser {
			b := &blocking{ctx: ctx, first: blob[:500], rest: blob[500:], go_: make(chan struct{})}
			time.AfterFunc(3*wire.StallTimeout, func() { close(b.go_) })
			return b
		}
		if _, err := r.PutBlob(t.Context(), u); err != nil || asked.Load() != 1 {
			t.Errorf("error %v, %d uploads", err, asked.Load())
		}
	})
}
