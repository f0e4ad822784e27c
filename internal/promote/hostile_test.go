package promote_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
)

// Bounds on what an attack may cost.
const (
	hostileMemory   = 128 << 20        // above what the process held before, registries included
	hostileBytes    = 96 << 20         // taken of what an attacker sends
	hostileTime     = 25 * time.Minute // on the bubble's clock
	hostileRequests = 3000
	hostileWords    = 8 << 10 // of all that is said about it
)

// hostile is one attack, and what the run must say of it.
type hostile struct {
	name   string
	side   string // the one that attacks: source or target; empty: each in turn
	attack func(*wild, http.Handler) http.Handler
	api    bool            // registries have the referrers API
	want   document.Result // failed by default
	says   []string
}

func hostiles() []hostile {
	far := func(page int) int { return page + 1 }
	digest := digestOf("nobody has it")
	deep, deepMore := nested(100)
	return []hostile{
		// Manifests.
		{name: "a manifest of 10 GB", says: []string{"read manifest", "answer too large", "more than 4194304 bytes"}, attack: when(rootTag, floods(200, " ", "Content-Length: 10737418240", indexType))},
		{name: "a manifest without an end", says: []string{"read manifest", "answer too large"}, attack: when(rootTag, floods(200, " ", indexType))},
		{name: "a manifest in gzip", says: []string{"answer too large"}, attack: when(rootTag, gzips)},
		{name: "a manifest of a million members", says: []string{"answer too large", "1000000 entries"}, side: "source", attack: when(rootTag, answers(200, `{"manifests":[`+strings.Repeat("{},", 1_000_000)+"{}]}", indexType))},
		{name: "a manifest of a million brackets", says: []string{"it is not a manifest"}, side: "source", attack: when(rootTag, answers(200, strings.Repeat("[", 1_000_000), indexType))},
		{name: "an index of 100 levels", says: []string{"16 levels", "not an image"}, side: "source", attack: when(get("/manifests/"), serves(deep, deepMore))},
		{name: "an index that names itself", says: []string{"content does not match its digest", "does not match its digest"}, side: "source", attack: when(get("/manifests/"), answers(200, indexOf(descriptorOf(digest, 100)), indexType))},
		{name: "an index of 40000 manifests", says: []string{"more than 20000 manifests"}, side: "source", attack: when(get("/manifests/"), serves(indexOf(many(24_000)...), nil))},
		{name: "64 manifests of a megabyte and other bytes", says: []string{"read manifest"}, side: "source", attack: func(w *wild, next http.Handler) http.Handler {
			return when(get("/manifests/sha256:"), floods(200, " ", "Content-Length: 1000000", indexType))(w,
				when(rootTag, answers(200, indexOf(many(64)...), indexType))(w, next))
		}},
		{name: "a type of 60000 letters", says: []string{"it is not a manifest"}, side: "source", attack: when(rootTag, answers(200, `{}`, "Content-Type: application/vnd.manifest"+strings.Repeat("x", 60_000)))},
		// Lists.
		{name: "referrers of 100000 pages", says: []string{"list referrers", "more than 200 pages"}, api: true, attack: when(get("/referrers/"), pages("", far))},
		{name: "a page of referrers that names itself", says: []string{"list referrers", "more than 200 pages"}, api: true, attack: when(get("/referrers/"), pages("", func(page int) int { return page }))},
		{name: "100000 pages of 20000 referrers", says: []string{"list referrers", "20000 referrers"}, api: true, attack: when(get("/referrers/"), pages(strings.Join(many(20_000), ","), far))},
		{name: "referrers without an end", says: []string{"list referrers", "answer too large"}, api: true, attack: when(get("/referrers/"), floods(200, " ", indexType))},
		{name: "a fallback tag of 20000 lines", says: []string{"content does not match"}, attack: when(fallback, answers(200, indexOf(many(20_000)...), indexType))},
		{name: "tags without an end", attack: when(get("/tags/list"), floods(200, `"x",`)), want: document.Promoted},
		// Drips.
		{name: "a manifest that drips", says: []string{"read manifest", "stalled"}, attack: when(rootTag, drips(200, " ", indexType))},
		{name: "a token that drips", says: []string{"get token", "stalled"}, attack: when(in("/token"), drips(200, " "))},
		{name: "a first answer that drips", says: []string{"GET /v2/", "stalled"}, attack: when(func(r *http.Request) bool { return r.URL.Path == "/v2/" }, drips(200, " "))},
		{name: "headers that drip", says: []string{"stalled"}, attack: when(rootTag, func(a assault) {
			a.raw(func(c net.Conn) { a.drip(c, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1_000_000)) })
		})},
		{name: "a blob that drips", says: []string{"read blob", "stalled"}, side: "source", attack: when(get("/blobs/"), drips(200, "x", "Content-Length: 60000"))},
		{name: "an upload's end that drips", says: []string{"write blob", "stalled"}, side: "target", attack: when(bodies, drips(201, "x"))},
		// Headers.
		{name: "a header without an end", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\nX: ", "x"))},
		{name: "headers without an end", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\n", "X: y\r\n"))},
		{name: "a status line without an end", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 ", "x"))},
		{name: "headers of a megabyte", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, answers(200, "{}", "X: "+strings.Repeat("x", 1<<20)))},
		{name: "100 Continue without an end", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, saysThenFloods("", "HTTP/1.1 100 Continue\r\n\r\n"))},
		{name: "103 Early Hints without an end", says: []string{"headers exceeded 65536 bytes"}, attack: when(rootTag, saysThenFloods("", "HTTP/1.1 103 x\r\nLink: </x>\r\n\r\n"))},
		{name: "100 Continue for an upload", says: []string{"write blob", "headers exceeded 65536 bytes"}, side: "target", attack: when(bodies, saysThenFloods("", "HTTP/1.1 100 Continue\r\n\r\n"))},
		{name: "a chunk's extension without an end", says: []string{"header line too long"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x"))},
		{name: "a trailer without an end", says: []string{"suspiciously long trailer"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", "X: y\r\n"))},
		{name: "a chunk of 2^64 bytes", says: []string{"answer too large"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "x"))},
		{name: "a negative length", says: []string{"bad Content-Length"}, attack: when(rootTag, says("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}"))},
		{name: "a length of 2^70", says: []string{"bad Content-Length"}, attack: when(rootTag, saysThenFloods("HTTP/1.1 200 OK\r\nContent-Length: 1180591620717411303424\r\n\r\n", "x"))},
		{name: "two lengths", says: []string{"multiple Content-Length"}, attack: when(rootTag, says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}"))},
		{name: "garbage", says: []string{"malformed HTTP response"}, attack: when(rootTag, saysThenFloods("\x00\xff\x1b[31m::error::x\r\n", "\xff"))},
		{name: "garbage after an answer", says: []string{"404"}, side: "source", attack: when(rootTag, saysThenFloods("HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", "garbage"))},
		{name: "HTTP/1.0", attack: when(anything, oldHTTP), want: document.Promoted},
		{name: "HTTP/9.9", says: []string{"it is not a manifest"}, attack: when(rootTag, says("HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\n{}"))},
		// Answers of the wrong kind.
		{name: "an error of gigabytes", says: []string{"403 Forbidden", "credential used was"}, attack: when(rootTag, floods(403, "\x1b[2J::error::pwned\n::set-output name=digest::x\n"))},
		{name: "trouble of gigabytes", says: []string{"500 Internal Server Error"}, attack: when(rootTag, floods(500, "\x1b[2J::error::pwned\n"))},
		{name: "a blob's error of gigabytes", says: []string{"read blob", "404 Not Found"}, side: "source", attack: when(get("/blobs/"), floods(404, "x"))},
		{name: "an upload's error of gigabytes", says: []string{"write blob", "403 Forbidden", "credential used was"}, side: "target", attack: when(bodies, floods(403, "x"))},
		{name: "an upload's answer of gigabytes", says: []string{"write blob", "answer too large"}, side: "target", attack: when(bodies, floods(201, "x"))},
		{name: "a start's answer of gigabytes", says: []string{"write blob", "answer too large"}, side: "target", attack: when(posts, floods(202, "x", "Location: /v2/x"))},
		{name: "a manifest write's answer of gigabytes", says: []string{"write manifest", "answer too large"}, side: "target", attack: when(puts("/manifests/"), floods(201, "x"))},
		{name: "Retry-After of a year", says: []string{"429 Too Many Requests"}, attack: when(rootTag, answers(429, `{}`, "Retry-After: 31536000"))},
		{name: "Retry-After in the year 9999", says: []string{"503 Service Unavailable"}, attack: when(rootTag, answers(503, `{}`, "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"))},
		{name: "Retry-After of a year at once", says: []string{"503 Service Unavailable"}, attack: when(anything, answers(503, `{}`, "Retry-After: 31536000"))},
		// Blobs.
		{name: "a blob without an end", says: []string{"read blob", "content does not match"}, side: "source", attack: when(get("/blobs/"), floods(200, "x"))},
		{name: "a blob one byte a connection", says: []string{"read blob"}, side: "source", attack: when(get("/blobs/"), crumbs)},
		{name: "a range that was not asked for", says: []string{"read blob", "206 Partial Content"}, side: "source", attack: when(get("/blobs/"), answers(206, strings.Repeat("x", 1000), "Content-Range: bytes 100-1099/60000"))},
		{name: "a range elsewhere", says: []string{"read blob"}, side: "source", attack: when(get("/blobs/"), ranges("bytes 7-1006/60000"))},
		{name: "a negative range", says: []string{"read blob"}, side: "source", attack: when(get("/blobs/"), ranges("bytes -100-60000/60000"))},
		{name: "a range of 2^70", says: []string{"read blob"}, side: "source", attack: when(get("/blobs/"), ranges("bytes 100-1180591620717411303424/*"))},
		{name: "a range of other bytes", says: []string{"read blob"}, side: "source", attack: when(get("/blobs/"), ranges("bytes 100-59999/60000"))},
		// Uploads.
		{name: "an upload that is always gone", says: []string{"write blob", "BLOB_UPLOAD_UNKNOWN"}, side: "target", attack: when(bodies, answers(404, `{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}`))},
		{name: "an upload nowhere", says: []string{"write blob", "no readable Location"}, side: "target", attack: when(posts, answers(202, ""))},
		{name: "a write of manifests that is a lie", says: []string{"MANIFEST_UNKNOWN"}, side: "target", attack: when(puts("/manifests/"), answers(201, ""))},
		{name: "a write of everything that is a lie", says: []string{"201 Created"}, side: "target", attack: when(func(r *http.Request) bool { return r.Method != http.MethodGet }, answers(201, "", "Location: /v2/x"))},
		// Authority.
		{name: "a token of gigabytes", says: []string{"get token", "answer too large"}, attack: when(in("/token"), floods(200, " "))},
		{name: "a token in HTML", says: []string{"get token"}, attack: when(in("/token"), answers(200, "<html>password</html>", "Content-Type: text/html"))},
		{name: "a token that is a number", says: []string{"get token"}, attack: when(in("/token"), answers(200, `{"token":7}`))},
		{name: "a token that is none", says: []string{"get token", "no token"}, attack: when(in("/token"), answers(200, `{}`))},
		{name: "a token that breaks the header", says: []string{"get token", "invalid characters"}, attack: when(in("/token"), answers(200, `{"token":"x\r\nX: y"}`))},
		{name: "a token of a megabyte", says: []string{"get token", "answer too large"}, attack: when(in("/token"), answers(200, `{"token":"`+strings.Repeat("x", 1<<20)+`"}`))},
		{name: "a token that nobody takes", says: []string{"401 Unauthorized", "credential used was"}, attack: when(in("/token"), answers(200, `{"token":"x","expires_in":-1}`))},
		{name: "a fresh challenge each time", says: []string{"401 Unauthorized", "credential used was"}, attack: challenges()},
		{name: "a challenge of 60000 letters", says: []string{"missing realm"}, attack: when(anything, answers(401, "", "WWW-Authenticate: Bearer realm=\""+strings.Repeat("x", 60_000)))},
		{name: "a challenge of 10000 parts", says: []string{"missing realm"}, attack: when(anything, answers(401, "", "WWW-Authenticate: Bearer "+strings.Repeat("a=b,", 10_000)))},
	}
}

func many(n int) (lines []string) {
	for n := range n {
		lines = append(lines, descriptorOf(fmt.Sprintf("sha256:%064x", n+1), 1))
	}
	return lines
}

func fallback(r *http.Request) bool {
	_, ref, _ := strings.Cut(r.URL.Path, "/manifests/sha256-")
	return r.Method == http.MethodGet && len(ref) == 64
}

func posts(r *http.Request) bool { return r.Method == http.MethodPost }

// bodies are the requests that carry a blob, or end its upload.
func bodies(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/") && (r.Method == http.MethodPut || r.Method == http.MethodPatch || posts(r) && r.URL.Query().Has("digest"))
}

func puts(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodPut && strings.Contains(r.URL.Path, part) }
}

// challenges asks for another authorization each time, and takes none.
func challenges() func(*wild, http.Handler) http.Handler {
	n := 0
	return when(anything, func(a assault) {
		a.mu.Lock()
		n++
		header := fmt.Sprintf(`WWW-Authenticate: Bearer realm="https://%s/token",service="service-%d",nonce="%d"`, a.r.Host, n, n)
		a.mu.Unlock()
		if a.r.URL.Path == "/token" {
			a.next.ServeHTTP(a.w, a.r)
			return
		}
		answers(401, "", header)(a)
	})
}

// TestHostile: whatever one of the registries does, the run ends in bounded time and memory, says clearly what is wrong and
// where, gives nobody a credential that is not meant for him, and leaves the tag as it was.
func TestHostile(t *testing.T) {
	long(t)
	for _, h := range hostiles() {
		sides := []string{"source", "target"}
		if h.side != "" {
			sides = []string{h.side}
		}
		for _, side := range sides {
			t.Run(side+"/"+h.name, func(t *testing.T) { h.try(t, side) })
		}
	}
}

func (h hostile) try(t *testing.T, side string) {
	t.Helper()
	m := startMeter()
	var cost string
	defer func() {
		memory, routines := m.end()
		t.Logf("cost: %s, %d MiB, %d goroutines", cost, memory>>20, routines)
		if memory > hostileMemory {
			t.Errorf("it took %d MiB", memory>>20)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w := newWild(t, side, h.api, h.attack)
		began := time.Now()
		d, told := w.promote(t)
		cost = fmt.Sprintf("%v, %d requests, %d KiB taken", time.Since(began).Round(time.Second), w.requests(), w.sent.Load()>>10)
		h.judge(t, side, w, d, told)
		if h.want != document.Promoted && len(d.Faults) > 0 && d.Faults[0].Hint == "" {
			t.Errorf("nobody says what to do: %s", d.Faults[0].Message)
		}
		if passed := time.Since(began); passed > hostileTime {
			t.Errorf("it lasted %v", passed)
		}
		w.close()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n, stacks := living(); n > 0 {
			t.Errorf("%d goroutines are left:\n%s", n, stacks)
		}
	})
}

// living are the goroutines of the bubble but for its own three: the test, and who waits for it inside and outside.
func living() (n int, stacks []byte) {
	stacks = make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return bytes.Count(stacks, []byte("synctest bubble")) - 3, stacks
}

// promote is a run as a user has it, with its timeout.
func (w *wild) promote(t *testing.T) (document.Report, string) {
	t.Helper()
	ctx, cancel := promote.WithTimeout(t.Context(), limitOfRun)
	defer cancel()
	transport := w.transport()
	defer transport.CloseIdleConnections()
	seen := &watcher{}
	d := promote.Run(ctx, w.client(transport), request(t, hostileSource+"/acme/app:dev", hostileTarget+"/prod/app:production"), seen)
	return d, strings.Join(seen.lines, "\n")
}

func (w *wild) requests() int64 {
	return w.hosts[hostileSource].requests.Load() + w.hosts[hostileTarget].requests.Load() + w.trap.requests.Load()
}

// judge holds what must be true after any attack.
func (h hostile) judge(t *testing.T, side string, w *wild, d document.Report, told string) {
	t.Helper()
	want := h.want
	if want == "" {
		want = document.Failed
	}
	said := fmt.Sprintf("%+v", d.Faults)
	t.Logf("%s: %.600s", d.Result, said)
	if d.Result != want {
		t.Errorf("result %s, want %s", d.Result, want)
	}
	where := "at the source " + hostileSource + "/acme/app"
	if side == "target" {
		where = "at the target " + hostileTarget + "/prod/app"
	}
	if want == document.Failed && d.Result == want {
		for _, s := range append(h.says, where) {
			if !strings.Contains(said, s) {
				t.Errorf("nobody says %q", s)
			}
		}
		if now := holds(t, w.hosts[hostileTarget].Registry, "prod/app", "production"); now != w.old {
			t.Errorf("the tag holds %s", now)
		}
	}
	if d.Result.ExitCode() == 0 {
		complete(t, w.hosts[hostileSource].Registry, "acme/app", "dev", w.hosts[hostileTarget].Registry, "prod/app", "production")
	}
	all := fmt.Sprintf("%+v\n%s", d, told)
	if len(all) > hostileWords {
		t.Errorf("%d KiB are said", len(all)>>10)
	}
	w.discreet(t, all)
	if len(w.trips) > 0 {
		t.Errorf("the program went to %q", w.trips)
	}
	if w.sent.Load() > hostileBytes {
		t.Errorf("%d MiB were taken", w.sent.Load()>>20)
	}
	if n := w.requests(); n > hostileRequests {
		t.Errorf("%d requests", n)
	}
}
