package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// As a program of its own this test binary is the command.
func TestMain(m *testing.M) {
	if os.Getenv("BENCH_CHILD") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func resultsOf(figures map[string]map[string][]figure) *results {
	return &results{choice: choice{runs: 3, layer: 4 << 30}, figures: figures}
}

func took(seconds float64, requests int) figure {
	return figure{wall: time.Duration(seconds * float64(time.Second)), cpu: time.Second, memory: 20 << 20, requests: make([]seen, requests)}
}

func pageOf(t *testing.T, r *results) string {
	t.Helper()
	var out strings.Builder
	if err := r.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func expectLines(t *testing.T, page string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(page, line+"\n") {
			t.Errorf("no line %q in\n%s", line, page)
		}
	}
}

func TestPageShowsMediansAndRatios(t *testing.T) {
	page := pageOf(t, resultsOf(map[string]map[string][]figure{"cross": {
		us:    {took(9, 1), took(0.99, 270), took(0.9, 270)},
		crane: {took(2.2, 149), took(2.1, 149), took(3, 149)},
	}}))
	expectLines(t, page,
		"| promote | 0.99 s, 270 | 20 MiB | everything, verified |",
		"| crane copy | 0.45 |",
		"| cross-registry: wall to that of crane copy | 0.4 | 0.45 | **no** |",
		"| peak memory in every case | 64 MiB | 20 MiB: cross-registry | yes |",
	)
	if strings.Contains(page, "skopeo") || strings.Contains(page, "40 images") {
		t.Error("shows what was not measured")
	}
}

// The run with the most connections counts, and the registry with the most of two; what is over plain HTTP stands apart.
func TestPageShowsConnections(t *testing.T) {
	with := func(source, target, unused int) figure {
		f := took(1, 10)
		f.connections = map[string]regtest.Connections{
			"S": {Accepted: source, Handshakes: source - unused}, "T": {Accepted: target, Handshakes: target},
		}
		return f
	}
	fat := with(99, 0, 99)
	fat.memory = 80 << 20
	page := pageOf(t, resultsOf(map[string]map[string][]figure{
		"cross":       {us: {with(1, 20, 0), with(2, 25, 1), with(2, 24, 0)}},
		"retag":       {us: {with(4, 0, 0)}, crane: {with(1, 0, 0)}},
		"plain-retag": {us: {fat}},
	}))
	expectLines(t, page,
		"| promote | 2/1 + 25/25 | 4/4 |",
		"| crane copy | — | 1/1 |",
		"| cross-registry: connections to one registry | 26 | 25 | yes |",
		"| retag in one repository: connections to one registry | 3 | 4 | **no** |",
		"| peak memory in every case | 64 MiB | 20 MiB: cross-registry | yes |",
		"## One image, over plain HTTP",
	)
	if strings.Contains(page, "99/") {
		t.Error("the connections of plain HTTP are among those of TLS")
	}
}

// A tool that fails once has no figure, however fast it was.
func TestPageSaysWhatFails(t *testing.T) {
	failed := took(0.1, 1)
	failed.failure = "exit status 1: no"
	page := pageOf(t, resultsOf(map[string]map[string][]figure{
		"cross": {us: {took(1, 300)}, crane: {took(2, 1), failed, took(2, 1)}},
		"retag": {us: {failed}, crane: {took(2, 1)}},
		"layer": {us: {failed}, crane: {took(2, 1)}},
	}))
	expectLines(t, page,
		"| crane copy | fails | 2.00 s, 1 | 20 MiB | image only |",
		"| crane copy | — | — |",
		"| cross-registry: wall to that of crane copy | 0.4 | fails | **no** |",
		"| retag in one repository: connections to one registry | 3 | fails | **no** |",
		"| peak memory in every case | 64 MiB | retag in one repository fails | **no** |",
		"| one large layer | fails | — |",
		"| crane copy | cross-registry | exit status 1: no |",
	)
}

// What is run without the limit of memory shows what the limit costs, and is not held to it.
func TestPageShowsWhatTheLimitCosts(t *testing.T) {
	free := took(1, 10)
	free.memory, free.cpu = 90<<20, 2*time.Second
	page := pageOf(t, resultsOf(map[string]map[string][]figure{"crowd": {us: {took(1, 10)}}, "crowd-free": {us: {free}}}))
	expectLines(t, page,
		"| 200 images, without the limit of memory | 90 MiB | 2.00 s |",
		"| peak memory in every case | 64 MiB | 20 MiB: 200 images | yes |",
	)
}

func TestPageNamesItsCommand(t *testing.T) {
	c, err := parse([]string{"-trace", "/elsewhere", "-runs", "2", "-cases", "cross,retag"})
	if err != nil {
		t.Fatal(err)
	}
	page := pageOf(t, &results{choice: c})
	if want := "`go -C internal/bench run . -cases cross,retag -runs 2`"; !strings.Contains(page, want) {
		t.Errorf("no %s in\n%s", want, page)
	}
}

func TestMovedCountsBlobs(t *testing.T) {
	upload := func(method, query string, status int, received int64) seen {
		return seen{"T", regtest.Request{Method: method, Path: "/v2/a/blobs/uploads/1", Query: query, Status: status, Received: received}}
	}
	bytes, uploads, mounts := moved([]seen{
		upload("POST", "", 202, 0), upload("PUT", "digest=x", 201, 10), upload("POST", "mount=y&from=b", 201, 0),
		upload("POST", "mount=z&from=b", 202, 0), upload("PATCH", "", 202, 7), upload("PUT", "digest=z", 201, 0),
		{"T", regtest.Request{Method: "PUT", Path: "/v2/a/manifests/x", Status: 201, Received: 99}},
	})
	if bytes != 17 || uploads != 2 || mounts != 1 {
		t.Errorf("%d bytes, %d uploads, %d mounts; want 17, 2, 1", bytes, uploads, mounts)
	}
}

func TestTraceIsInOrderOfTime(t *testing.T) {
	began := time.Now()
	at := func(from, to int, client, path string) seen {
		return seen{"S", regtest.Request{
			Method: "GET", Path: path, Status: 200, Client: client,
			Began: began.Add(time.Duration(from) * time.Millisecond), Ended: began.Add(time.Duration(to) * time.Millisecond),
		}}
	}
	var out strings.Builder
	err := writeTrace(&out, "title", began, time.Second, []seen{at(50, 60, "a", "/3"), at(20, 45, "b", "/2"), at(10, 30, "a", "/1")})
	want := "10.0\t30.0\t20.0\tS1\tGET /1\t200\t0\t0\n20.0\t45.0\t25.0\tS2\tGET /2\t200\t0\t0\n50.0\t60.0\t10.0\tS1\tGET /3\t200\t0\t0\n"
	if err != nil || !strings.HasSuffix(strings.TrimSpace(out.String())+"\n", want) {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestWeighSaysHowItEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weight")
	for _, c := range []struct{ code, status string }{{"0", ""}, {"3", "exit status 3"}} {
		if err := weighProgram(t.Context(), file, []string{"sh", "-c", "exit " + c.code}); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w weight
		if err := json.Unmarshal(text, &w); err != nil || w.Status != c.status || w.Wall <= 0 || w.Memory <= 0 {
			t.Errorf("%v, %+v", err, w)
		}
	}
}

// A program that is weighed sees the registries' names among the hosts, and nobody else does. Where that is not allowed,
// it is said what to do.
func TestWeighNamesTheRegistries(t *testing.T) {
	t.Setenv("BENCH_CHILD", "1")
	bench, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{bench: bench, folder: t.TempDir()}
	if err := w.writeHosts(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(systemHosts)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := w.weighed(t.Context(), "grep", []string{"-q", `^127\.0\.0\.1 .*\bsource\.test\b`, systemHosts}, nil)
	if errors.Is(err, syscall.EPERM) || err != nil && strings.Contains(err.Error(), "run the bench as root") {
		t.Log(err)
	} else if err != nil || seen.Status != "" {
		t.Errorf("%+v, error %v", seen, err)
	}
	if after, err := os.ReadFile(systemHosts); err != nil || string(after) != string(before) {
		t.Errorf("the machine's hosts are\n%s, error %v", after, err)
	}
}

// A registry with a name has TLS, and one without has none.
func TestDistributionArguments(t *testing.T) {
	w := &world{choice: choice{network: network{time.Millisecond, 1000}}, folder: "/f"}
	secure, open := w.distribution("source", farSource), w.distribution("source", "")
	if !slices.Contains(secure, "-tls") || !slices.Contains(secure, farSource) || slices.Contains(open, "-tls") {
		t.Errorf("%q, %q", secure, open)
	}
}

// The large layer's registry is one as the others are: with an account, and its
// requests are told.
func TestHollowServerServes(t *testing.T) {
	in, stdin := io.Pipe()
	stdout, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serveHollow([]string{"-layer", "5000"}, in, out) }()
	host := make([]byte, 64)
	n, err := stdout.Read(host)
	if err != nil {
		t.Fatal(err)
	}
	at := regtest.Access{Host: strings.TrimSpace(string(host[:n])), User: user, Password: password}
	if _, err := regtest.Read(t.Context(), at, "acme/large", "dev"); err != nil {
		t.Error(err)
	}
	if _, err := regtest.Read(t.Context(), regtest.Access{Host: at.Host}, "acme/large", "dev"); err == nil {
		t.Error("nobody may read")
	}
	_ = stdin.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestOursTakesLinesForSeveral(t *testing.T) {
	if got := ours([]pair{{"s", "t"}}); got[0] != "--source=s" || got[1] != "--target=t" {
		t.Errorf("%q", got)
	}
	if got := ours([]pair{{"s", "t"}, {"u", "v"}}); got[0] != "--target=s => t\nu => v" {
		t.Errorf("%q", got)
	}
}
