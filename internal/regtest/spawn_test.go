package regtest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// As a program of its own this test binary is what Spawn starts.
func TestMain(m *testing.M) {
	switch os.Getenv("REGTEST_CHILD") {
	case "registry":
		os.Exit(childRegistry())
	case "mute":
		os.Exit(3)
	}
	debug.SetGCPercent(400) // a fifth of the processor time goes to collecting otherwise
	os.Exit(m.Run())
}

func childRegistry() int {
	r, err := regtest.Start(regtest.Options{})
	if err != nil {
		return 1
	}
	fmt.Println(r.Host())
	_, _ = io.Copy(io.Discard, os.Stdin)
	if r.Close() != nil {
		return 1
	}
	return 0
}

func TestSpawn(t *testing.T) {
	long(t)
	t.Setenv("REGTEST_CHILD", "registry")
	backend, stop, err := regtest.Spawn(t.Context(), os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	r := regtest.Serve(t, regtest.Options{Backend: backend, Auth: oneUser(), TLS: true})
	at := r.Access("ann", "secret")
	i := attached(regtest.Spec{Seed: "spawned", Platforms: []string{"linux/amd64"}, LayerSize: 3 << 20})
	push(t, i, at, "acme/app", "v1")
	checkTree(t, "spawned", i, read(t, at, "acme/app", "v1"))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := regtest.Read(t.Context(), at, "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("after the end: %v", err)
	}
}

func TestSpawnEndsWithItsContext(t *testing.T) {
	t.Setenv("REGTEST_CHILD", "registry")
	ctx, cancel := context.WithCancel(t.Context())
	_, stop, err := regtest.Spawn(ctx, os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("a killed program ended well")
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the program runs on")
	}
}

func TestSpawnOfNoRegistry(t *testing.T) {
	t.Setenv("REGTEST_CHILD", "mute")
	if _, _, err := regtest.Spawn(t.Context(), os.Args[0]); err == nil || !strings.Contains(err.Error(), "read address") {
		t.Errorf("%v", err)
	}
	if _, _, err := regtest.Spawn(t.Context(), "/nonexistent"); err == nil {
		t.Error("no error")
	}
}

// Answers stream through the proxy, and the registry behind it sees the host that the client asked for.
func TestProxyStreamsAndKeepsHost(t *testing.T) {
	release := make(chan struct{})
	inner := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintln(w, r.Host)
		_ = http.NewResponseController(w).Flush()
		<-release
	})})
	outer := regtest.Serve(t, regtest.Options{Backend: regtest.Proxy(inner.Host())})
	conn, err := net.Dial("tcp", outer.Host())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: registry.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(answer.Body).ReadString('\n')
	if err != nil || line != "registry.example\n" {
		t.Errorf("%q, %v", line, err)
	}
	close(release)
}
