package regtest

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Request is one request as the registry saw it.
type Request struct {
	Method, Path, Query string
	// Proto is the protocol's version: "HTTP/1.1", "HTTP/2.0".
	Proto string
	// Status is what was answered; 0 while there is no answer, and when the connection was cut instead.
	Status int
	// User is whose credentials were accepted.
	User string
	// Agent is the User-Agent header. Push and Read call themselves Agent.
	Agent string
	// Received and Sent count the bytes of the two bodies.
	Received, Sent int64
	// Client is the address of the connection: requests with the same one shared a connection.
	Client string
	// Began is when the request's header had arrived at the registry; Ended is when the last byte of the answer had
	// left it, over a Network too. Ended is zero while the request is served.
	Began, Ended time.Time
}

// Connections are counts of how clients reached a registry.
type Connections struct {
	// Accepted counts connections; Handshakes those of TLS on them, of which Resumed brought a ticket of an earlier one.
	Accepted, Handshakes, Resumed int
}

type entry struct {
	mu sync.Mutex
	Request
}

func (e *entry) change(f func(*Request)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.Request)
}

type requestLog struct {
	next        http.Handler
	mu          sync.Mutex
	entries     []*entry
	connections Connections
	running     int
	ended       bool
	arriving    chan struct{} // closed when the next request arrives; nil: nobody waits for it
}

// connect is for http.Server.ConnState.
func (l *requestLog) connect(_ net.Conn, state http.ConnState) {
	if state != http.StateNew {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections.Accepted++
}

// shakeHands is for tls.Config.VerifyConnection, which every handshake calls.
func (l *requestLog) shakeHands(s tls.ConnectionState) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections.Handshakes++
	if s.DidResume {
		l.connections.Resumed++
	}
	return nil
}

func (l *requestLog) counted() Connections {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connections
}

func (l *requestLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e := l.add(r)
	if e == nil {
		panic(http.ErrAbortHandler) // the store may be closed already
	}
	defer l.leave()
	if r.Body != nil {
		r.Body = &countedBody{ReadCloser: r.Body, entry: e}
	}
	r = r.WithContext(context.WithValue(r.Context(), entryKey{}, e))
	l.next.ServeHTTP(&loggedWriter{ResponseWriter: w, entry: e}, r)
	e.change(func(q *Request) {
		q.Ended = departed(r.Context())
		if q.Status == 0 {
			q.Status = http.StatusOK // net/http answers so when a handler writes nothing
		}
	})
}

type connKey struct{}

// departed is when what has been written to the request's connection will have left.
func departed(ctx context.Context) time.Time {
	now := time.Now()
	if far, ok := ctx.Value(connKey{}).(*farConn); ok {
		if left := far.out.left(); left.After(now) {
			return left
		}
	}
	return now
}

// noteConn lets a request's log entry find the connection.
func noteConn(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func (l *requestLog) add(r *http.Request) *entry {
	e := &entry{Request: Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Proto: r.Proto, Agent: r.UserAgent(), Client: r.RemoteAddr, Began: time.Now()}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil
	}
	l.entries = append(l.entries, e)
	l.running++
	if l.arriving != nil {
		close(l.arriving)
		l.arriving = nil
	}
	return e
}

// arrival returns a channel that is closed when the next request arrives.
func (l *requestLog) arrival() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.arriving == nil {
		l.arriving = make(chan struct{})
	}
	return l.arriving
}

func (l *requestLog) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

func (l *requestLog) list() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Request, len(l.entries))
	for i, e := range l.entries {
		e.change(func(q *Request) { list[i] = *q })
	}
	return list
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.connections = nil, Connections{}
}

// wait lets no handler begin any more. It returns when none runs, or the time is over: the store must not be closed under one.
func (l *requestLog) wait(limit time.Duration) {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); time.Now().Before(end); <-tick.C {
		l.mu.Lock()
		running := l.running
		l.mu.Unlock()
		if running == 0 {
			return
		}
	}
}

type entryKey struct{}

// logUser notes in the log whose credentials a request carries.
func logUser(r *http.Request, user string) {
	if e, ok := r.Context().Value(entryKey{}).(*entry); ok {
		e.change(func(q *Request) { q.User = user })
	}
}

type countedBody struct {
	io.ReadCloser
	entry *entry
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.entry.change(func(q *Request) { q.Received += int64(n) })
	return n, err
}

// loggedWriter notes the status before the client can have seen it.
type loggedWriter struct {
	http.ResponseWriter
	entry *entry
}

func (w *loggedWriter) WriteHeader(status int) {
	w.entry.change(func(q *Request) {
		if q.Status == 0 && status >= http.StatusOK {
			q.Status = status
		}
	})
	w.ResponseWriter.WriteHeader(status)
}

func (w *loggedWriter) Write(p []byte) (int, error) {
	w.entry.change(func(q *Request) {
		if q.Status == 0 {
			q.Status = http.StatusOK
		}
	})
	n, err := w.ResponseWriter.Write(p)
	w.entry.change(func(q *Request) { q.Sent += int64(n) })
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *loggedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
