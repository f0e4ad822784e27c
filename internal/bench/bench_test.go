package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

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
		us:    {took(9, 1), took(1.1, 270), took(1, 270)},
		crane: {took(2.2, 149), took(2.1, 149), took(2.3, 149)},
	}}))
	expectLines(t, page,
		"| promote | 1.10 s, 270 | 20 MiB | everything, verified |",
		"| crane copy | 0.50 |",
		"| cross-registry: wall | 1.20 s | 1.10 s | yes |",
		"| cross-registry: wall to that of crane copy | 0.55 | 0.5 | yes |",
		"| cross-registry: requests | 289 | 270 | yes |",
	)
	if strings.Contains(page, "skopeo") || strings.Contains(page, "40 images") {
		t.Error("shows what was not measured")
	}
}

// A tool that fails once has no figure, however fast it was.
func TestPageSaysWhatFails(t *testing.T) {
	failed := took(0.1, 1)
	failed.failure = "exit status 1: no"
	page := pageOf(t, resultsOf(map[string]map[string][]figure{
		"cross": {us: {took(1, 300)}, crane: {took(2, 1), failed, took(2, 1)}},
		"retag": {us: {failed}, crane: {took(2, 1)}},
		"layer": {us: {failed}},
	}))
	expectLines(t, page,
		"| crane copy | fails | 2.00 s, 1 | 20 MiB | image only |",
		"| crane copy | — | — |",
		"| cross-registry: wall to that of crane copy | 0.55 | fails | **no** |",
		"| cross-registry: requests | 289 | 300 | **no** |",
		"| retag in one repository: wall | 0.35 s | fails | **no** |",
		"| one large layer: peak memory | 64 MiB | fails | **no** |",
		"| crane copy | cross-registry | exit status 1: no |",
	)
}

func TestPageNamesItsCommand(t *testing.T) {
	c, err := parse([]string{"-trace", "/elsewhere", "-runs", "2", "-cases", "cross,retag"})
	if err != nil {
		t.Fatal(err)
	}
	page := pageOf(t, &results{choice: c})
	if want := "`go run ./internal/bench -cases cross,retag -runs 2`"; !strings.Contains(page, want) {
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
		if err := weigh(t.Context(), []string{file, "sh", "-c", "exit " + c.code}); err != nil {
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
