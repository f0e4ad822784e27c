package promote_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// assault is one request that an attack answers.
type assault struct {
	*wild
	w    http.ResponseWriter
	r    *http.Request
	next http.Handler // what the registry itself would do
}

// when makes an attack of an answer to those requests that match; all others pass.
func when(match func(*http.Request) bool, answer func(assault)) func(*wild, http.Handler) http.Handler {
	return func(world *wild, next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) {
				answer(assault{world, w, r, next})
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func in(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.Path, part) }
}

func get(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) }
}

func anything(*http.Request) bool { return true }

// rootTag is a read of a moving tag, which comes first at either side.
func rootTag(r *http.Request) bool {
	return r.Method == http.MethodGet && (strings.HasSuffix(r.URL.Path, "/manifests/dev") || strings.HasSuffix(r.URL.Path, "/manifests/production"))
}

// floodEnd is where even what is endless ends, so that a program that reads all of it fails its test in the end.
const floodEnd = 512 << 20

// flood writes the same bytes until nobody takes them any more.
func (a assault) flood(w io.Writer, piece string) {
	chunk := bytes.Repeat([]byte(piece), max(1, (32<<10)/len(piece)))
	for range floodEnd / len(chunk) {
		n, err := w.Write(chunk)
		a.sent.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// drip writes one byte a second, for a day if somebody takes them.
func (a assault) drip(w io.Writer, piece string) {
	for n := range 24 * 60 * 60 {
		if _, err := w.Write([]byte{piece[n%len(piece)]}); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		a.sent.Add(1)
		select {
		case <-time.After(time.Second):
		case <-a.r.Context().Done():
			return
		}
	}
}

// raw takes the connection from net/http, for answers that it would not write.
func (a assault) raw(answer func(net.Conn)) {
	conn, _, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	answer(conn)
}

// says is a raw answer's text.
func says(text string) func(assault) {
	return func(a assault) {
		a.raw(func(c net.Conn) { _, _ = io.WriteString(c, text) })
	}
}

// saysThenFloods is a raw answer's beginning and what follows without end.
func saysThenFloods(begin, piece string) func(assault) {
	return func(a assault) {
		a.raw(func(c net.Conn) {
			_, _ = io.WriteString(c, begin)
			a.flood(c, piece)
		})
	}
}

// answers is a whole answer with headers, "Name: value" each.
func answers(status int, body string, headers ...string) func(assault) {
	return func(a assault) {
		a.head(status, headers...)
		_, _ = io.WriteString(a.w, body)
	}
}

func (a assault) head(status int, headers ...string) {
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		a.w.Header().Set(name, value)
	}
	a.w.WriteHeader(status)
}

// floods is an answer whose body does not end.
func floods(status int, piece string, headers ...string) func(assault) {
	return func(a assault) {
		a.head(status, headers...)
		a.flood(a.w, piece)
	}
}

// drips is an answer whose body comes a byte a second.
func drips(status int, piece string, headers ...string) func(assault) {
	return func(a assault) {
		a.head(status, headers...)
		a.drip(a.w, piece)
	}
}

const indexType = "Content-Type: application/vnd.oci.image.index.v1+json"

// descriptorOf is a line of an index.
func descriptorOf(digest string, size int) string {
	return fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.index.v1+json","digest":%q,"size":%d}`, digest, size)
}

func indexOf(lines ...string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(lines, ",") + `]}`
}

// serves answers every read of a manifest with what hangs on the root, by digest; cosign's tags and all else are not there.
func serves(root string, more map[string]string) func(assault) {
	return func(a assault) {
		ref := a.r.URL.Path[strings.LastIndex(a.r.URL.Path, "/")+1:]
		body, ok := more[ref]
		if ref == "dev" || ref == "production" || ref == digestOf(root) {
			body, ok = root, true
		}
		if !ok {
			a.w.WriteHeader(http.StatusNotFound)
			return
		}
		a.w.Header().Set("Content-Type", strings.TrimPrefix(indexType, "Content-Type: "))
		_, _ = io.WriteString(a.w, body)
	}
}

// nested is an index in an index, and so on.
func nested(levels int) (root string, more map[string]string) {
	more = map[string]string{}
	root = indexOf()
	for range levels {
		more[digestOf(root)] = root
		root = indexOf(descriptorOf(digestOf(root), len(root)))
	}
	return root, more
}

// bomb is a little that gzip makes much of.
var bomb = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	for range 64 {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_ = w.Close()
	return b.Bytes()
})

func gzips(a assault) {
	a.head(http.StatusOK, "Content-Encoding: gzip", indexType)
	_, _ = a.w.Write(bomb())
}

// oldHTTP answers truthfully, as HTTP/1.0 does: without a length, and then the connection ends.
func oldHTTP(a assault) {
	k := httptest.NewRecorder()
	a.next.ServeHTTP(k, a.r)
	_, _ = io.Copy(io.Discard, a.r.Body)
	a.raw(func(c net.Conn) {
		_, _ = fmt.Fprintf(c, "HTTP/1.0 %d x\r\n", k.Code)
		if a.r.Method != http.MethodHead {
			k.Header().Del("Content-Length")
		}
		_ = k.Header().Write(c)
		_, _ = io.WriteString(c, "\r\n")
		if a.r.Method != http.MethodHead {
			_, _ = c.Write(k.Body.Bytes())
		}
	})
}

// crumbs answers a read with one byte of what was asked for, and hangs up.
func crumbs(a assault) {
	k := httptest.NewRecorder()
	a.next.ServeHTTP(k, a.r)
	body := k.Body.Bytes()
	a.raw(func(c net.Conn) {
		if k.Code == http.StatusPartialContent {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 206 x\r\nContent-Range: %s\r\n", k.Header().Get("Content-Range"))
		} else {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %d x\r\n", k.Code)
		}
		_, _ = fmt.Fprintf(c, "Content-Length: %d\r\n\r\n", len(body))
		_, _ = c.Write(body[:min(1, len(body))])
		a.sent.Add(1)
	})
}

// ranges cuts what is asked for, and lies about where the rest begins.
func ranges(contentRange string) func(assault) {
	return func(a assault) {
		if a.r.Header.Get("Range") != "" {
			answers(http.StatusPartialContent, strings.Repeat("x", 1000), "Content-Range: "+contentRange)(a)
			return
		}
		a.head(http.StatusOK, "Content-Length: 60000")
		_, _ = io.WriteString(a.w, strings.Repeat("x", 100))
		panic(http.ErrAbortHandler)
	}
}

// pages is a list without an end: each page names the next, or itself.
func pages(line string, next func(page int) int) func(assault) {
	return func(a assault) {
		page, _ := strconv.Atoi(a.r.URL.Query().Get("page"))
		a.head(http.StatusOK, indexType, fmt.Sprintf(`Link: <%s?page=%d>; rel="next"`, a.r.URL.Path, next(page)))
		n, _ := io.WriteString(a.w, indexOf(strings.ReplaceAll(line, "PAGE", fmt.Sprint(page))))
		a.sent.Add(int64(n))
	}
}
