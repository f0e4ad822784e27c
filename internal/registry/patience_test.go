package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
)

// nowhere is a network on which nothing answers, from some moment on.
type nowhere struct {
	inner http.RoundTripper
	after atomic.Int32 // requests that still get through
	err   error
}

func (n *nowhere) RoundTrip(r *http.Request) (*http.Response, error) {
	if n.after.Add(-1) >= 0 {
		return n.inner.RoundTrip(r)
	}
	return nil, n.err
}

var refusedDial = &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}

// Who never answered gets less patience than who did, also where two schemes are
// tried.
func TestPatienceWithAHost(t *testing.T) {
	t.Parallel()
	unknownHost := &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "registry.example", IsNotFound: true}}
	for _, test := range []struct {
		name        string
		host        string
		err         error
		after       int32
		least, most time.Duration
	}{
		{"never there", "registry.example", refusedDial, 0, 10 * time.Second, 15 * time.Second},
		{"never there, on loopback", "127.0.0.1:5000", refusedDial, 0, 10 * time.Second, 15 * time.Second},
		{"no such name", "registry.example", unknownHost, 0, 0, 0},
		{"gone", "127.0.0.1:5000", refusedDial, 1, time.Minute, 65 * time.Second},
		{"its name is gone", "127.0.0.1:5000", unknownHost, 1, time.Minute, 65 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &nowhere{inner: direct{http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}, err: test.err}
				network.after.Store(test.after)
				r := repository(t, New(Options{Transport: network}), credential.Source, test.host+"/acme/app", Pull)
				began := time.Now()
				_, err := r.GetManifest(t.Context(), "dev")
				took(t, began, test.least, test.most)
				if !errors.Is(err, test.err) {
					t.Errorf("error %v", err)
				}
				if HintOf(err) == "" {
					t.Error("no hint")
				}
			})
		})
	}
}

// A host that takes the connection and says nothing the first time is no host
// that is not there.
func TestFirstContactThatStalls(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		manifestAnswer(w)
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
	})
}

// One that never says anything is given up after a few.
func TestHostThatOnlyStalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.GetManifest(t.Context(), "dev")
		if !errors.Is(err, errStalled) {
			t.Errorf("error %v", err)
		}
		took(t, began, firstStalls*stallTimeout, firstStalls*stallTimeout+5*time.Second)
	})
}

func TestPatienceIsBounded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err         error
		takes       time.Duration // each attempt
		times       int
		least, most time.Duration
	}{
		"damaged":                 {damaged(io.EOF), 0, damages, 0, 20 * time.Second},
		"mismatch":                {ErrMismatch, 0, damages, 0, 20 * time.Second},
		"refused":                 {errAgain{error: io.EOF, reason: wasRefused}, 0, refusals, 0, 5 * time.Second},
		"lagging":                 {errAgain{error: io.EOF, reason: isLagging}, 0, 0, 15 * time.Second, 19 * time.Second},
		"stalled":                 {errStalled, stallTimeout, attempts, 0, 5 * time.Minute},
		"in trouble":              {errHungUp, 0, 0, time.Minute, 64 * time.Second},
		"in trouble for long":     {errHungUp, 5 * time.Minute, attempts, 0, time.Hour},
		"in trouble, some longer": {errHungUp, time.Minute, 0, mostPatience * time.Minute, (mostPatience + 3) * time.Minute},
		"odd":                     {refusal("no"), 0, oddities, 0, 4 * time.Second},
		"too large":               {errAgain{error: ErrTooLarge, reason: wasOdd}, 0, oddities, 0, 4 * time.Second},
		"forgotten":               {errAgain{error: io.EOF, reason: wasForgotten}, 0, forgets, 0, 20 * time.Second},
		"denied":                  {errAgain{error: io.EOF, reason: wasDenied}, 0, denials, 0, time.Second},
		"final":                   {tooManyRedirects, 0, 1, 0, 0},
		"an operation within":     {spent{errAgain{error: ErrMismatch, reason: wasDamaged}}, 0, 1, 0, 0},
		"another's, of trouble":   {&Error{Err: errHungUp}, 0, 1, 0, 0},
		"another's, of damage":    {&Error{Err: ErrMismatch}, 0, damages, 0, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost("127.0.0.1:5000", 1, defaultPatience)
				h.answered.Store(true)
				p := patience{host: h}
				began, times := time.Now(), 1
				for p.after(t.Context(), test.err) == nil {
					time.Sleep(test.takes)
					times++
				}
				took(t, began, test.least, test.most)
				if test.times != 0 && times != test.times {
					t.Errorf("%d attempts, want %d", times, test.times)
				}
			})
		})
	}
}

// A host that lags gets its time also after other trouble.
func TestLagAfterTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHost("127.0.0.1:5000", 1, defaultPatience)
		h.answered.Store(true)
		p := patience{host: h}
		if err := p.after(t.Context(), errStalled); err != nil {
			t.Fatal(err)
		}
		time.Sleep(stallTimeout)
		if err := p.after(t.Context(), errAgain{error: io.EOF, reason: isLagging}); err != nil {
			t.Error(err)
		}
	})
}

// Shorter patience is the same, faster.
func TestPatienceOption(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{time.Second, 10 * time.Second} {
		realm(t, open200(func(w http.ResponseWriter, r *http.Request) { status(http.StatusBadGateway)(w, r, nil) }),
			Options{Patience: limit}, func(t *testing.T, open func(string) *Repository) {
				r := open("127.0.0.1:5000/acme/app")
				began := time.Now()
				var e *Error
				if _, err := r.GetManifest(t.Context(), "dev"); !errors.As(err, &e) || e.Status != http.StatusBadGateway {
					t.Errorf("error %v", err)
				}
				took(t, began, limit, limit+limit/10)
			})
	}
}

// drip sends a byte now and then until nobody takes them any more.
func drip(w http.ResponseWriter, b []byte) {
	for i := range b {
		_, err := w.Write(b[i : i+1])
		if flushed := http.NewResponseController(w).Flush(); err != nil || flushed != nil {
			return
		}
		time.Sleep(10 * time.Second)
	}
}

// A byte now and then is no progress: neither within one answer nor over many.
func TestDrip(t *testing.T) {
	t.Parallel()
	blob := content(200_000)
	for name, test := range map[string]struct {
		h    http.HandlerFunc
		most time.Duration
		want error
	}{
		"within one answer": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
			drip(w, blob)
		}, 15 * time.Minute, errDrips},
		"over many": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(&cutting{ResponseWriter: w, left: 10}, r, "", time.Time{}, bytes.NewReader(blob))
		}, 2 * mostPatience * time.Minute, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, open200(test.h), func(t *testing.T, r *Repository) {
				began := time.Now()
				got, err := readBlob(t, r, descriptor(blob))
				if err == nil || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("%d bytes, error %v", len(got), err)
				}
				took(t, began, 0, test.most)
			})
		})
	}
}

// One that drips is asked for the rest anew, which may come.
func TestDripThatHeals(t *testing.T) {
	t.Parallel()
	blob := content(200_000)
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		drip(w, blob)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		got, err := readBlob(t, r, descriptor(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		took(t, began, window, window+20*time.Second)
	})
}

// A small answer that drips is over after the time of one attempt.
func TestSmallAnswerThatDrips(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			manifestAnswer(w)
			return
		}
		drip(w, bytes.Repeat([]byte(" "), 1000))
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
		took(t, began, attemptTimeout, attemptTimeout+time.Second)
	})
}

// A wait for a slot, or while a host rests, ends with the context as any other.
func TestWaitsForAHostEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, prepare := range map[string]func(h *host){
			"rest": func(h *host) { h.heard(&http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"30"}}}) },
			"slot": func(h *host) { _, _ = h.enter(context.Background(), up) },
		} {
			h := newHost("127.0.0.1:5000", 1, defaultPatience)
			prepare(h)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errTimeUp)
			began := time.Now()
			if _, err := h.enter(ctx, up); !errors.Is(err, errTimeUp) {
				t.Errorf("%s: error %v, want the context's cause", name, err)
			}
			took(t, began, 3*time.Second, 3*time.Second)
			cancel()
		}
	})
}
