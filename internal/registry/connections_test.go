package registry

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"golang.org/x/sync/errgroup"
)

// connections counts the connections of a server, by protocol.
type connections struct {
	mu     sync.Mutex
	opened int
	protos map[string]map[string]bool // remote addresses by "PROTO KIND"
}

func (c *connections) note(r *http.Request) {
	kind := "manifests"
	if strings.Contains(r.URL.Path, "/blobs/") && (r.Method == http.MethodGet || r.Method == http.MethodPut) {
		kind = "blobs"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := r.Proto + " " + kind
	if c.protos[key] == nil {
		c.protos[key] = map[string]bool{}
	}
	c.protos[key][r.RemoteAddr] = true
}

// busyRegistry serves one blob and one manifest over TLS, and counts connections.
func busyRegistry(t *testing.T, http2 bool, blob []byte) (*httptest.Server, *connections) {
	t.Helper()
	c := &connections{protos: map[string]map[string]bool{}}
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		c.note(r)
		_, _ = io.Copy(io.Discard, r.Body)
		switch {
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		case strings.Contains(r.URL.Path, "/blobs/"):
			_, _ = w.Write(blob)
		default:
			manifestAnswer(w)
		}
	})
	server := httptest.NewUnstartedServer(h)
	server.EnableHTTP2 = http2
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.opened++
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, c
}

// load makes many small requests and streams many blobs at the same time.
func load(t *testing.T, server *httptest.Server, blob []byte) {
	t.Helper()
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs //nolint:forcetypeassert // httptest's
	c := New(Options{Roots: roots, Transfers: 6})
	t.Cleanup(c.Close)
	r := repository(t, c, credential.Target, server.Listener.Addr().String()+"/acme/app", Push)
	var g errgroup.Group
	for n := range 60 {
		g.Go(func() error { _, err := r.HasManifest(t.Context(), digestOf([]byte{byte(n)})); return err })
		g.Go(func() error { _, err := r.PutBlob(t.Context(), upload(blob)); return err })
		g.Go(func() error { _, err := readBlob(t, r, descriptor(blob)); return err })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// Over HTTP/2 small requests share one connection; blobs have HTTP/1.1 connections of
// their own, no more each way than are streamed at once. Without HTTP/2 small requests
// have a bounded number of connections.
func TestConnections(t *testing.T) {
	long(t)
	t.Parallel()
	blob := content(1 << 20)
	for _, test := range []struct {
		http2 bool
		small string
		most  int // connections of small requests
	}{{true, "HTTP/2.0", 1}, {false, "HTTP/1.1", wire.SmallConnections}} {
		server, c := busyRegistry(t, test.http2, blob)
		load(t, server, blob)
		smalls, blobs := c.protos[test.small+" manifests"], c.protos["HTTP/1.1 blobs"]
		if len(smalls) == 0 || len(smalls) > test.most || len(blobs) == 0 || len(blobs) > 12 || c.opened > 1+test.most+12 {
			t.Errorf("HTTP/2 %v: %d connections of small requests, %d of blobs, %d opened; want at most %d, 12 and %d",
				test.http2, len(smalls), len(blobs), c.opened, test.most, 1+test.most+12) // one tries plain HTTP, as on every loopback host
		}
		for key := range c.protos {
			if key != test.small+" manifests" && key != "HTTP/1.1 blobs" {
				t.Errorf("HTTP/2 %v: requests by %s", test.http2, key)
			}
		}
	}
}

// A server that allows few streams gets further connections, not a queue, and no more are used than it takes.
func TestStreamLimit(t *testing.T) {
	t.Parallel()
	var most gauge
	var opened atomic.Int32
	used := &connections{protos: map[string]map[string]bool{}}
	all := make(chan struct{})
	server := httptest.NewUnstartedServer(open200(func(w http.ResponseWriter, r *http.Request) {
		used.note(r)
		most.enter()
		defer most.leave()
		if most.now.Load() == 30 {
			close(all)
		}
		<-all
		manifestAnswer(w)
	}))
	server.EnableHTTP2 = true
	server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: 10}
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs //nolint:forcetypeassert // httptest's
	c := New(Options{Roots: roots})
	t.Cleanup(c.Close)
	r := repository(t, c, credential.Target, server.Listener.Addr().String()+"/acme/app", Pull)
	var g errgroup.Group
	for n := range 30 {
		g.Go(func() error { _, err := r.HasManifest(t.Context(), digestOf([]byte{byte(n)})); return err })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	// net/http dials for each request that finds no free stream, and closes what it then does not need.
	if n, dialed := len(used.protos["HTTP/2.0 manifests"]), opened.Load(); n != 3 || dialed > 2+30 {
		t.Errorf("30 requests went by %d connections of %d that were opened, want 3 of at most 32", n, dialed)
	}
}
