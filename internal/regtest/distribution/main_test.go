package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// As a program of its own this test binary is the command.
func TestMain(m *testing.M) {
	if os.Getenv("REGTEST_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func image() *regtest.Image {
	i := regtest.Build(regtest.Spec{
		Seed: "distribution", Platforms: []string{"linux/amd64", "linux/arm64"}, Nested: true,
		LayerSize: 3 << 20, Provenance: true, Foreign: 1,
	})
	i.Sign(i.Root, ".sig", "s")
	i.Attach(i.Attach(i.Root, "application/vnd.example.one", "a"), "application/vnd.example.two", "b")
	return i
}

func roundTrip(t *testing.T, at regtest.Access) {
	t.Helper()
	i := image()
	if err := i.Push(t.Context(), at, "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	tree, err := regtest.Read(t.Context(), at, "acme/app", "v1")
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Nodes) != len(i.Manifests) || tree.HasAPI {
		t.Errorf("%d manifests, want %d; referrers API %v, want none", len(tree.Nodes), len(i.Manifests), tree.HasAPI)
	}
	child := i.Children()[0]
	if err := regtest.DeleteManifest(t.Context(), at, "acme/app", child); err != nil {
		t.Fatal(err)
	}
	if _, err := regtest.Read(t.Context(), at, "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), child) {
		t.Errorf("after deleting %s: %v", child, err)
	}
}

// The registry is a program, and the layers are in this process.
func TestSpawned(t *testing.T) {
	t.Setenv("REGTEST_CHILD", "1")
	backend, stop, err := regtest.Spawn(t.Context(), os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := regtest.Start(regtest.Options{Backend: backend, TLS: true, Auth: account("ann", "secret")})
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, r.Access("ann", "secret"))
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// running is the command with its two ends.
type running struct {
	*testing.T
	host  string
	stdin io.WriteCloser
	lines *bufio.Reader
	ended chan error
}

func start(t *testing.T, args ...string) *running {
	t.Helper()
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	c := &running{T: t, stdin: stdin, lines: bufio.NewReader(stdout), ended: make(chan error, 1)}
	go func() { c.ended <- run(context.Background(), args, in, out) }()
	host, err := c.lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	c.host = strings.TrimSpace(host)
	return c
}

// ask reads the answer to a line.
func (c *running) ask(line string, answer any) {
	c.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		c.Fatal(err)
	}
	text, err := c.lines.ReadBytes('\n')
	if err != nil {
		c.Fatal(err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		c.Fatal(err)
	}
}

func (c *running) stop() {
	c.Helper()
	if err := c.stdin.Close(); err != nil {
		c.Fatal(err)
	}
	if err := <-c.ended; err != nil {
		c.Error(err)
	}
}

// The program has network and account itself.
func TestRunWithNetworkAndAccount(t *testing.T) {
	c := start(t, "-rtt", "10ms", "-bandwidth", "100000000", "-user", "ann", "-password", "secret")
	at := regtest.Access{Host: c.host, User: "ann", Password: "secret"}
	roundTrip(t, at)
	if _, _, err := regtest.GetManifest(t.Context(), regtest.Access{Host: at.Host}, "acme/app", "v1"); err == nil {
		t.Error("nobody may read")
	}
	var first, again []regtest.Request
	c.ask("requests", &first)
	c.ask("requests", &again)
	if len(first) < 20 || len(again) != 0 {
		t.Errorf("%d requests, and %d after the log was emptied", len(first), len(again))
	}
	roundTripsApart(t, first, 10*time.Millisecond)
	c.stop()
}

// roundTripsApart fails unless the next request on a connection comes a round trip after the answer to the one before.
func roundTripsApart(t *testing.T, requests []regtest.Request, rtt time.Duration) {
	t.Helper()
	answered, pairs := map[string]time.Time{}, 0
	for _, q := range requests {
		before, ok := answered[q.Client]
		answered[q.Client] = q.Ended
		if !ok {
			continue
		}
		if pairs++; q.Began.Sub(before) < rtt {
			t.Errorf("%s %s came %v after an answer, want at least %v", q.Method, q.Path, q.Began.Sub(before), rtt)
		}
	}
	if pairs < 10 {
		t.Errorf("only %d requests on a connection that was used before", pairs)
	}
}

// The program serves TLS and HTTP/2 by a name, says whom to trust for it, and counts connections.
func TestRunWithTLS(t *testing.T) {
	c := start(t, "-tls", "-name", "registry.test")
	name, port, err := net.SplitHostPort(c.host)
	if err != nil || name != "registry.test" {
		t.Errorf("listens on %s, error %v", c.host, err)
	}
	var authority string
	c.ask("authority", &authority)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authority))
	transport := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}
	defer transport.CloseIdleConnections()
	roundTrip(t, regtest.Access{Host: c.host, CAPEM: []byte(authority), Client: &http.Client{Transport: transport}})
	var connections regtest.Connections
	c.ask("connections", &connections)
	var requests []regtest.Request
	c.ask("requests", &requests)
	// Who wants several connections before the first tells of HTTP/2 opens them all.
	if n := connections.Accepted; n < 1 || n > len(requests)/2 || connections.Handshakes != n || requests[0].Proto != "HTTP/2.0" {
		t.Errorf("%+v, first request by %s", connections, requests[0].Proto)
	}
	c.stop()
}

func TestRunRefusesUnknownFlags(t *testing.T) {
	if err := run(t.Context(), []string{"-speed", "1"}, strings.NewReader(""), io.Discard); err == nil {
		t.Error("no error")
	}
}
