package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"
)

// realm is a bubble in which the handler answers for every host.
func realm(t *testing.T, h http.HandlerFunc, o Options, test func(t *testing.T, open func(repository string) *Repository)) {
	t.Helper()
	bubble(t, h, func(t *testing.T, r *Repository) {
		o.Transport = r.session.transports.Small
		c := New(o)
		test(t, func(full string) *Repository { return repository(t, c, credential.Target, full, Push) })
	})
}

func manifestAnswer(w http.ResponseWriter) {
	w.Header().Set("Docker-Content-Digest", sha([]byte(emptyIndex)))
	_, _ = io.WriteString(w, emptyIndex)
}

// A Retry-After applies to all requests to that host, and to no other host.
func TestRetryAfterIsHostWide(t *testing.T) {
	t.Parallel()
	var told atomic.Bool
	var mu sync.Mutex
	began := time.Time{}
	seen := map[string]time.Duration{}
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.Host, "127.0.0.1:5000") && told.CompareAndSwap(false, true) {
			status(http.StatusTooManyRequests, "Retry-After", "20")(w, r, nil)
			return
		}
		mu.Lock()
		seen[r.Host+r.URL.Path] = time.Since(began).Round(time.Second)
		mu.Unlock()
		manifestAnswer(w)
	})
	realm(t, h, Options{}, func(t *testing.T, open func(string) *Repository) {
		began = time.Now()
		here, other := open("127.0.0.1:5000/acme/app"), open("127.0.0.1:6000/acme/app")
		var g errgroup.Group
		for i, r := range []*Repository{here, here, other, here} {
			time.Sleep(time.Duration(min(i, 1)) * time.Second)
			g.Go(func() error {
				_, err := r.GetManifest(t.Context(), fmt.Sprint("t", i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	for path, want := range map[string]time.Duration{"127.0.0.1:5000/v2/acme/app/manifests/t0": 20 * time.Second,
		"127.0.0.1:5000/v2/acme/app/manifests/t1": 20 * time.Second, "127.0.0.1:6000/v2/acme/app/manifests/t2": 2 * time.Second,
		"127.0.0.1:5000/v2/acme/app/manifests/t3": 20 * time.Second} {
		if seen[path] != want {
			t.Errorf("%s was asked after %v, want %v", path, seen[path], want)
		}
	}
}

// A request does not occupy a slot during a backoff, or while it waits for a token.
func TestNoSlotIsHeldWhileWaiting(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	answer := bearer(300, &tokens)
	blob := content(smallBlob + 1)
	for name, wait := range map[string]http.HandlerFunc{
		"to try again": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" || r.Header.Get("Authorization") == "" {
				answer(w, r)
				return
			}
			if r.Method == http.MethodPost {
				w.Header().Set("Location", r.URL.Path+"1")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			status(http.StatusBadGateway)(w, r, nil)
		},
		"for a token": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				select {
				case <-time.After(20 * time.Second):
				case <-r.Context().Done():
				}
			}
			answer(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			realm(t, wait, Options{}, func(t *testing.T, open func(string) *Repository) {
				r := open("127.0.0.1:5000/acme/app")
				r.session.host.ShareSlots() // as it does once blobs flow both ways
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				var g sync.WaitGroup
				g.Go(func() { _, _ = r.GetManifest(ctx, "dev") })
				g.Go(func() { _, _ = r.PutBlob(ctx, upload(blob)) })
				g.Go(func() { _, _ = io.Copy(io.Discard, r.OpenBlob(ctx, descriptor(blob))) })
				for range 14 {
					time.Sleep(990 * time.Millisecond)
					synctest.Wait()
					wantFreeSlots(t, r.session.host, wire.Download, wire.DefaultTransfers/2)
					wantFreeSlots(t, r.session.host, wire.Upload, wire.DefaultTransfers/2)
					wantFreeSlots(t, r.session.host, wire.Small, wire.SmallConnections)
				}
				g.Wait()
			})
		})
	}
}

// wantFreeSlots takes a number of slots, all of which must be free.
func wantFreeSlots(t *testing.T, h *wire.Host, c wire.Class, n int) {
	t.Helper()
	at, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for i := range n {
		s, err := h.Acquire(at, c)
		if err != nil {
			t.Errorf("%d of %d slots of class %d are free", i, n, c)
			return
		}
		defer s.Release()
	}
}

// A token that expires during the wait for a slot is replaced before the body is sent.
func TestTokenRunsOutWhileASlotIsWaitedFor(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	var mu sync.Mutex
	var used []string
	answer := bearer(300, &tokens)
	h := func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			used = append(used, r.Header.Get("Authorization"))
			mu.Unlock()
			w.WriteHeader(http.StatusCreated)
		default:
			answer(w, r)
		}
	}
	realm(t, h, Options{Transfers: 1}, func(t *testing.T, open func(string) *Repository) {
		r := open("127.0.0.1:5000/acme/app")
		held, err := r.session.host.Acquire(t.Context(), wire.Upload)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(298*time.Second, held.Release)
		if _, err := r.PutBlob(t.Context(), upload(content(smallBlob+1))); err != nil {
			t.Error(err)
		}
	})
	if fmt.Sprint(used) != "[Bearer t2]" {
		t.Errorf("the body went with %q, want the second token", used)
	}
}

// Two hosts copy to each other, with room for one blob each way, and one host
// copies small blobs to itself with a single slot: there is no deadlock.
func TestNoDeadlock(t *testing.T) {
	t.Parallel()
	blobs := [][]byte{}
	for i := range 8 {
		blobs = append(blobs, content(smallBlob+1+i), content(100+i))
	}
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodPut:
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		case http.MethodGet:
			for _, b := range blobs {
				if strings.HasSuffix(r.URL.Path, digestOf(b).String()) {
					_, _ = w.Write(b)
				}
			}
		}
	})
	realm(t, h, Options{Transfers: 1}, func(t *testing.T, open func(string) *Repository) {
		one, two := open("127.0.0.1:5000/acme/app"), open("127.0.0.1:6000/acme/app")
		for _, r := range []*Repository{one, two} { // leave one small slot
			if _, err := r.HasBlob(t.Context(), digestOf(blobs[0])); err != nil {
				t.Fatal(err)
			}
			for range wire.SmallConnections - 1 {
				if _, err := r.session.host.Acquire(t.Context(), wire.Small); err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		g, ctx := errgroup.WithContext(ctx)
		for _, b := range blobs {
			for _, way := range [][2]*Repository{{one, two}, {two, one}, {one, one}} {
				d := descriptor(b)
				g.Go(func() error {
					_, err := way[1].PutBlob(ctx, Upload{Blob: d, Open: func(ctx context.Context) io.ReadCloser { return way[0].OpenBlob(ctx, d) }})
					return err
				})
			}
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// gauge counts how many requests of a kind run at the same time.
type gauge struct{ now, most atomic.Int32 }

func (g *gauge) enter() {
	n := g.now.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
}

func (g *gauge) leave() { g.now.Add(-1) }

// Uploads, downloads and small requests each have a limit of their own.
func TestCeilings(t *testing.T) {
	long(t)
	t.Parallel()
	for _, test := range []struct {
		transfers int
		want      int32 // each way
	}{{0, wire.DefaultTransfers}, {5, 5}} {
		var ups, downs, smalls gauge
		big, little := content(smallBlob+1), content(10)
		h := open200(func(w http.ResponseWriter, r *http.Request) {
			kind := &smalls
			switch {
			case r.Method == http.MethodPut && r.ContentLength > smallBlob:
				kind = &ups
			case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, digestOf(big).String()):
				kind = &downs
			}
			kind.enter()
			defer kind.leave()
			_, _ = io.Copy(io.Discard, r.Body)
			if time.Sleep(100 * time.Millisecond); kind != &smalls {
				time.Sleep(3 * time.Second)
			}
			switch {
			case r.Method == http.MethodPost:
				w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
			case r.Method == http.MethodPut:
				w.WriteHeader(http.StatusCreated)
			case kind == &downs:
				_, _ = w.Write(big)
			default:
				_, _ = w.Write(little)
			}
		})
		realm(t, h, Options{Transfers: test.transfers}, func(t *testing.T, open func(string) *Repository) {
			r := open("127.0.0.1:5000/acme/app")
			var g errgroup.Group
			for range 100 {
				g.Go(func() error { _, err := r.PutBlob(t.Context(), upload(big)); return err })
				g.Go(func() error { _, err := r.PutBlob(t.Context(), upload(little)); return err })
				g.Go(func() error { _, err := readBlob(t, r, descriptor(big)); return err })
				g.Go(func() error { _, err := readBlob(t, r, descriptor(little)); return err })
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
		if ups.most.Load() > test.want || downs.most.Load() > test.want || max(ups.most.Load(), downs.most.Load()) != test.want || smalls.most.Load() != wire.SmallConnections {
			t.Errorf("transfers %d: %d blobs up and %d down at once, and %d small requests, want at most %d each and %d",
				test.transfers, ups.most.Load(), downs.most.Load(), smalls.most.Load(), test.want, wire.SmallConnections)
		}
	}
}

// If blobs are copied within one host, each direction takes half of its connections.
func TestCeilingWithinAHost(t *testing.T) {
	t.Parallel()
	var blobs gauge
	big := content(smallBlob + 1)
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
			w.WriteHeader(http.StatusAccepted)
			return
		}
		blobs.enter()
		defer blobs.leave()
		time.Sleep(time.Second)
		if r.Method == http.MethodPut {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
			return
		}
		_, _ = w.Write(big)
	})
	realm(t, h, Options{Transfers: 6}, func(t *testing.T, open func(string) *Repository) {
		from, to := open("127.0.0.1:5000/acme/dev"), open("127.0.0.1:5000/acme/app")
		var g errgroup.Group
		for range 40 {
			g.Go(func() error { _, err := to.PutBlob(t.Context(), Upload{Blob: descriptor(big), From: from}); return err })
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	if n := blobs.most.Load(); n > 6 || n < 4 {
		t.Errorf("%d blobs flow at once, want at most 6", n)
	}
}

// An overloaded registry gets fewer requests at the same time, and all of them succeed in the end.
func TestBusyRegistryIsAskedLess(t *testing.T) {
	t.Parallel()
	var running gauge
	var refused atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		running.enter()
		defer running.leave()
		if running.now.Load() > 8 {
			refused.Add(1)
			status(http.StatusTooManyRequests)(w, r, nil)
			return
		}
		time.Sleep(40 * time.Millisecond)
		manifestAnswer(w)
	})
	realm(t, h, Options{}, func(t *testing.T, open func(string) *Repository) {
		r := open("127.0.0.1:5000/acme/app")
		var g errgroup.Group
		for range 400 {
			g.Go(func() error { _, err := r.GetManifest(t.Context(), "dev"); return err })
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	if n := refused.Load(); n > 400 {
		t.Errorf("%d of 400 requests were refused: it was not asked less", n)
	}
}

// Sessions of one host, with different credentials, share its limits.
func TestSessionsShareTheirHost(t *testing.T) {
	t.Parallel()
	c := client(t, &credential.Chain{Source: credential.Login{Username: "a", Password: "a"}, Target: credential.Login{Username: "b", Password: "b"}})
	n, err := name.NewRepository("Registry.example/acme/app")
	if err != nil {
		t.Fatal(err)
	}
	var sessions []*session
	for _, side := range []credential.Side{credential.Source, credential.Target} {
		r, err := c.Open(t.Context(), side, n, Pull)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, r.session)
	}
	if sessions[0] == sessions[1] || sessions[0].host != sessions[1].host || sessions[0].host != c.hosts.Of("registry.EXAMPLE") {
		t.Error("two sessions of one host, or one host of two")
	}
}
