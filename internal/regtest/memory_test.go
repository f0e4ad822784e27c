package regtest_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
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

// TestMemory: an image goes in and comes out, with tokens that end and with a distance, in no time at all.
func TestMemory(t *testing.T) {
	t.Parallel()
	began := time.Now()
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
	if passed := time.Since(began); passed > time.Minute {
		t.Errorf("it took %s", passed)
	}
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
	if _, err := regtest.Start(regtest.Options{Memory: regtest.NewMemory(), TLS: true}); err == nil {
		t.Error("TLS in memory is not refused")
	}
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
