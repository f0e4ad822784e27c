package regtest

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// once is what most faults below are: one strikes the first request that matches, and the others pass. match is
// called for one request at a time.
func once(match func(*http.Request) bool, fault func(http.Handler) http.HandlerFunc) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		var mu sync.Mutex
		over, strike := false, fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			hit := !over && match(r)
			over = over || hit
			mu.Unlock()
			if hit {
				strike(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// FailOnce answers the first request that matches with an error of that status.
func FailOnce(match func(*http.Request) bool, status int) func(http.Handler) http.Handler {
	return once(match, func(http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			refuse(w, status, "UNKNOWN", http.StatusText(status))
		}
	})
}

// ResetBefore resets the connection of the first request that matches, before anything has been done for it.
func ResetBefore(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return once(match, func(http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { reset(w) }
	})
}

// ResetAfter does what the first request that matches asks for, and resets the connection instead of answering.
func ResetAfter(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return once(match, func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&discarded{header: http.Header{}}, r)
			reset(w)
		}
	})
}

// CutBody answers the first request that matches, and resets the connection after that many bytes of the body.
func CutBody(match func(*http.Request) bool, after int64) func(http.Handler) http.Handler {
	return once(match, func(next http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&cutWriter{ResponseWriter: w, left: after}, r)
		}
	})
}

// Answer answers every request that matches with those bytes: what no registry would take can still be served.
func Answer(match func(*http.Request) bool, status int, mediaType string, body []byte) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !match(r) {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("Content-Type", mediaType)
			if status == http.StatusOK && strings.Contains(r.URL.Path, "/manifests/") {
				w.Header().Set("Docker-Content-Digest", digestOf(body))
			}
			w.WriteHeader(status)
			if r.Method != http.MethodHead {
				_, _ = w.Write(body)
			}
		})
	}
}

// Chain puts several layers on each other, the outermost first.
func Chain(wraps ...func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		for n := len(wraps) - 1; n >= 0; n-- {
			next = wraps[n](next)
		}
		return next
	}
}

// cutWriter sends some bytes and then cuts.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	reset(c.ResponseWriter)
	return 0, net.ErrClosed
}

// lose ends the handler, and resets the connection of its request with all that is under way there.
func lose(r *http.Request) {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	if lingering, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = lingering.SetLinger(0)
	}
	if far, ok := conn.(*farConn); ok {
		far.cut()
	} else if conn != nil {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// reset ends the handler and the connection: with a TCP reset where the connection can be had, else (HTTP/2) as
// net/http aborts an answer.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = secure.NetConn()
		}
		if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// WebPageOnce answers the first request that matches with a page to log in on, as a proxy does.
func WebPageOnce(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return once(match, func(http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { webPage(w) }
	})
}

func webPage(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to go on.</body></html>\n")
}

// LoseOnce acknowledges the first write of a manifest or a blob that matches, and does nothing of it.
func LoseOnce(match func(*http.Request) bool) func(http.Handler) http.Handler {
	return once(match, func(http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			digest := r.URL.Query().Get("digest")
			if body := requestBody(r); digest == "" {
				digest = digestOf(body)
			}
			w.Header().Set("Docker-Content-Digest", digest)
			w.WriteHeader(http.StatusCreated)
		}
	})
}
