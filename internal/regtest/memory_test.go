package regtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// bubble runs a test under a clock that jumps, with a network of its own.
func bubble(t *testing.T, test func(*testing.T, *regtest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := regtest.NewMemory()
		t.Cleanup(m.Close)
		test(t, m)
	})
}

// TestMemory: an image goes in and comes out, with tokens that end and with a distance, on the clock of a bubble.
func TestMemory(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		everything := []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}
		r := regtest.Serve(t, regtest.Options{
			Memory: m, Referrers: true, Network: &regtest.Network{RTT: 10 * time.Second, BytesPerSecond: 1 << 20},
			Auth: &regtest.Auth{Users: map[string]regtest.User{"u": {Password: "p", Grants: everything}}},
		})
		began := time.Now()
		i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 2, LayerSize: 300_000})
		i.Attach(i.Root, "application/vnd.example", "x")
		at := r.Access("u", "p")
		if err := i.Push(t.Context(), at, "acme/app", "dev"); err != nil {
			t.Fatal(err)
		}
		tree, err := regtest.Read(t.Context(), at, "acme/app", "dev")
		if err != nil || tree.Root != i.Root || len(tree.Nodes) != len(i.Manifests) || len(tree.Blobs) != len(i.Blobs) {
			t.Errorf("read %+v, error %v", tree, err)
		}
		if passed := time.Since(began); passed < time.Minute {
			t.Errorf("only %s passed on a network of 10 s", passed)
		}
	})
}

// TestMemoryReset: a reset is seen as one, and an end as an end.
func TestMemoryReset(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m, Wrap: regtest.Chain(
			regtest.ResetBefore(func(q *http.Request) bool { return q.Method == http.MethodPut }),
			regtest.CutBody(func(q *http.Request) bool { return q.Method == http.MethodGet }, 3),
		), Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "abcdef") })})
		client := &http.Client{Transport: m.Transport()}
		defer client.CloseIdleConnections()
		put, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+r.Host()+"/", strings.NewReader(strings.Repeat("x", 1<<20)))
		if resp, err := client.Do(put); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("answer %v, error %v", resp, err)
		}
		get, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Host()+"/", http.NoBody)
		resp, err := client.Do(get)
		if err != nil { // the reset may overtake what was answered
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			return
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err == nil || len(text) > 3 {
			t.Errorf("read %q, error %v", text, err)
		}
	})
}

// TestMemoryUnknown: nobody answers where nobody listens, and it is known who was asked for.
func TestMemoryUnknown(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		r, err := regtest.Start(regtest.Options{Memory: m})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{r.Host(), "elsewhere.example:80"} {
			if _, err := m.DialContext(t.Context(), "tcp", host); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("dial %s: %v", host, err)
			}
		}
		if got := m.Unknown(); len(got) != 1 || got[0] != "elsewhere.example:80" {
			t.Errorf("unknown %q", got)
		}
	})
}

// TestMemoryTLS_RoundTrips: a connection costs a round trip, TLS 1.3 another, and each request one. With HTTP/2 all
// requests share that connection, the first ones of a new client included; without it each that is under way needs one.
func TestMemoryTLS_RoundTrips(t *testing.T) {
	t.Parallel()
	const rtt, together = 40 * time.Millisecond, 20
	for _, test := range []struct {
		proto       string
		http1       bool
		connections int
	}{{"HTTP/2.0", false, 1}, {"HTTP/1.1", true, together}} {
		t.Run(test.proto, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, m *regtest.Memory) {
				r := regtest.Serve(t, regtest.Options{
					Memory: m, TLS: true, HTTP1: test.http1, Name: "registry.test", Network: &regtest.Network{RTT: rtt},
					Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answer") }),
				})
				client := &http.Client{Transport: m.Transport()}
				defer client.CloseIdleConnections()
				get := func() {
					if err := fetch(t, client, "https://"+r.Host()+"/"); err != nil {
						t.Error(err)
					}
				}
				trips := func(what string, want int, work func()) {
					t.Helper()
					began := time.Now()
					work()
					if took := time.Since(began); took != time.Duration(want)*rtt {
						t.Errorf("%s: %v, want %d round trips", what, took, want)
					}
				}
				trips("the first request", 3, get)
				trips("the second", 1, get)
				expectConnections(t, r, 1)
				trips("many at once", map[bool]int{false: 1, true: 3}[test.http1], func() {
					var all sync.WaitGroup
					for range together {
						all.Go(get)
					}
					all.Wait()
				})
				expectConnections(t, r, test.connections)
				for _, q := range r.Requests() {
					if q.Proto != test.proto {
						t.Errorf("a request by %s", q.Proto)
					}
				}
			})
		})
	}
}

// TestStreams: a registry serves as many requests on one connection as it says, and a client that has more opens another.
func TestStreams(t *testing.T) {
	t.Parallel()
	const streams, requests = 5, 12
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		var mu sync.Mutex
		running, most := map[string]int{}, 0
		enter := func(client string, change int) {
			mu.Lock()
			defer mu.Unlock()
			running[client] += change
			most = max(most, running[client])
		}
		r := regtest.Serve(t, regtest.Options{
			Memory: m, TLS: true, Streams: streams, Network: &regtest.Network{RTT: time.Second},
			Backend: http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
				enter(q.RemoteAddr, 1)
				defer enter(q.RemoteAddr, -1)
				time.Sleep(time.Minute)
			}),
		})
		client := &http.Client{Transport: m.Transport()}
		defer client.CloseIdleConnections()
		get := func() {
			if err := fetch(t, client, "https://"+r.Host()+"/"); err != nil {
				t.Error(err)
			}
		}
		get()
		var all sync.WaitGroup
		for range requests {
			all.Go(get)
		}
		all.Wait()
		if got := r.Connections().Accepted; most != streams || got < 2 {
			t.Errorf("%d requests on one connection at once, %d connections", most, got)
		}
	})
}

func fetch(t *testing.T, client *http.Client, url string) error {
	get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := client.Do(get)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

// expectConnections expects as many connections as there were handshakes. Requests came on no others; not on every one of
// them, where two connections were ready at the same time.
func expectConnections(t *testing.T, r *regtest.Registry, want int) {
	t.Helper()
	clients := map[string]bool{}
	for _, q := range r.Requests() {
		clients[q.Client] = true
	}
	if got := r.Connections(); got.Accepted != want || got.Handshakes != want || len(clients) > want {
		t.Errorf("%+v, and %d clients; want %d", got, len(clients), want)
	}
}

// TestMemoryTLS: images go in and come out of two registries of one network, over a slow line, with tokens. Whoever does
// not know the network's authority is not connected.
func TestMemoryTLS(t *testing.T) {
	long(t)
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		i := regtest.Build(regtest.Spec{LayerSize: 3 << 20})
		for _, name := range []string{"", "target.test"} {
			r := regtest.Serve(t, regtest.Options{
				Memory: m, TLS: true, Name: name, Auth: oneUser(), Referrers: true,
				Network: &regtest.Network{RTT: time.Second, BytesPerSecond: 1 << 20},
			})
			at := r.Access("ann", "secret")
			if err := i.Push(t.Context(), at, "acme/app", "dev"); err != nil {
				t.Fatal(err)
			}
			if tree, err := regtest.Read(t.Context(), at, "acme/app", "dev"); err != nil || len(tree.Blobs) != len(i.Blobs) {
				t.Errorf("%+v, error %v", tree, err)
			}
			stranger := &http.Client{Transport: &http.Transport{DialContext: m.DialContext}}
			if err := fetch(t, stranger, "https://"+r.Host()+"/v2/"); err == nil {
				t.Error("a client that trusts nobody was answered")
			}
			r.ResetRequests()
			if got := r.Connections(); got != (regtest.Connections{}) {
				t.Errorf("%+v after all was reset", got)
			}
		}
	})
}

// TestMemoryDeadline: whoever waits is woken by a deadline, also by one that was set while it waits.
func TestMemoryDeadline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m})
		conn, err := m.DialContext(t.Context(), "tcp", r.Host())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		time.AfterFunc(time.Second, func() { _ = conn.SetDeadline(time.Now().Add(time.Second)) })
		if n, err := conn.Read(make([]byte, 1)); n != 0 || !isTimeout(err) || time.Since(began) != 2*time.Second {
			t.Errorf("read %d after %s: %v", n, time.Since(began), err)
		}
		_ = conn.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = conn.Close() })
		if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("read of what was closed: %v", err)
		}
	})
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
