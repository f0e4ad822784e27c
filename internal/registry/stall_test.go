package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// nowhere is a network that fails after a number of requests.
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

// A host that never answered is retried for less time than one that did, also where two schemes are
// tried.
func TestRetryTime_NeverAnswered(t *testing.T) {
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

// A single stall at the first contact is retried.
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

// A host that only stalls gets a few attempts.
func TestHostThatOnlyStalls(t *testing.T) {
	t.Parallel()
	bubble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.GetManifest(t.Context(), "dev")
		if !errors.Is(err, wire.ErrStalled) {
			t.Errorf("error %v", err)
		}
		took(t, began, 3*wire.StallTimeout, 3*wire.StallTimeout+5*time.Second)
	})
}

// With a shorter RetryFor the retries are the same, but faster.
func TestRetryForOption(t *testing.T) {
	t.Parallel()
	for _, limit := range []time.Duration{time.Second, 10 * time.Second} {
		realm(t, open200(func(w http.ResponseWriter, r *http.Request) { status(http.StatusBadGateway)(w, r, nil) }),
			Options{RetryFor: limit}, func(t *testing.T, open func(string) *Repository) {
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

// drip sends a byte now and then until the client closes the connection.
func drip(w http.ResponseWriter, b []byte) {
	for i := range b {
		_, err := w.Write(b[i : i+1])
		if flushed := http.NewResponseController(w).Flush(); err != nil || flushed != nil {
			return
		}
		time.Sleep(10 * time.Second)
	}
}

// A byte now and then is not progress, neither within one answer nor over many.
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
		}, 15 * time.Minute, wire.ErrTooSlow},
		"over many": {func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(&cutting{ResponseWriter: w, left: 10}, r, "", time.Time{}, bytes.NewReader(blob))
		}, 2 * 20 * time.Minute, nil},
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

// A download that is too slow is resumed, and may succeed.
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
		took(t, began, time.Minute, time.Minute+20*time.Second)
	})
}

// A small answer that is too slow ends with AttemptTimeout.
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
		took(t, began, wire.AttemptTimeout, wire.AttemptTimeout+time.Second)
	})
}

// withoutWindow serves a registry over TLS and HTTP/2 that lets one byte of a body through until a handler reads it.
func withoutWindow(t *testing.T, h http.HandlerFunc) *Repository {
	t.Helper()
	network := regtest.NewPipes()
	server := httptest.NewUnstartedServer(h)
	_ = server.Listener.Close()
	server.Listener = network
	server.EnableHTTP2 = true
	server.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 1}
	server.StartTLS()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs //nolint:forcetypeassert // httptest's
	c := New(Options{Roots: roots, Dial: network.DialContext})
	t.Cleanup(func() {
		c.Close()
		server.Close()
		time.Sleep(30 * time.Second) // longer than net/http lingers on a connection
	})
	return repository(t, c, credential.Target, "example.com/acme/app", Push)
}

// A small body over HTTP/2 that the server's flow control does not let through is a stall: it is sent again.
func TestFlowControlThatStalls(t *testing.T) {
	t.Parallel()
	manifest := NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex))
	for _, test := range []struct {
		name   string
		stalls int32
	}{{"once", 1}, {"always", always}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var puts atomic.Int32
				r := withoutWindow(t, open200(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPut {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					if r.ProtoMajor != 2 {
						t.Errorf("a manifest is sent by %s", r.Proto)
					}
					if puts.Add(1) <= test.stalls {
						<-r.Context().Done()
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusCreated)
				}))
				began := time.Now()
				_, err := r.PutManifest(t.Context(), "production", manifest)
				if test.stalls == 1 {
					if err != nil || puts.Load() != 2 {
						t.Errorf("%d attempts, error %v", puts.Load(), err)
					}
					took(t, began, wire.AttemptTimeout, wire.AttemptTimeout+time.Second)
					return
				}
				if !errors.Is(err, wire.ErrStalled) || puts.Load() != retry.MinAttempts {
					t.Errorf("%d attempts, error %v, want %d and a stall", puts.Load(), err, retry.MinAttempts)
				}
			})
		})
	}
}
