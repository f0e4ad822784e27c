package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
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

// The program has network and account itself.
func TestRunWithNetworkAndAccount(t *testing.T) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		args := []string{"-rtt", "10ms", "-bandwidth", "100000000", "-user", "ann", "-password", "secret"}
		ended <- run(context.Background(), args, in, out)
	}()
	lines := bufio.NewReader(stdout)
	host, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	at := regtest.Access{Host: strings.TrimSpace(host), User: "ann", Password: "secret"}
	begin := time.Now()
	roundTrip(t, at)
	if took := time.Since(begin); took < 300*time.Millisecond {
		t.Errorf("%v for dozens of round trips of 10 ms", took)
	}
	if _, _, err := regtest.GetManifest(t.Context(), regtest.Access{Host: at.Host}, "acme/app", "v1"); err == nil {
		t.Error("nobody may read")
	}
	if first := requests(t, stdin, lines); len(first) < 20 {
		t.Errorf("%d requests", len(first))
	}
	if again := requests(t, stdin, lines); len(again) != 0 {
		t.Errorf("%d requests after the log was emptied", len(again))
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func requests(t *testing.T, stdin io.Writer, lines *bufio.Reader) []regtest.Request {
	t.Helper()
	if _, err := io.WriteString(stdin, "requests\n"); err != nil {
		t.Fatal(err)
	}
	line, err := lines.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var list []regtest.Request
	if err := json.Unmarshal(line, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRunRefusesUnknownFlags(t *testing.T) {
	if err := run(t.Context(), []string{"-speed", "1"}, strings.NewReader(""), io.Discard); err == nil {
		t.Error("no error")
	}
}
