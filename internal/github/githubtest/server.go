package githubtest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is GitHub. It is safe for concurrent use.
type Server struct {
	token    string
	server   *http.Server
	listener net.Listener

	mu           sync.Mutex
	repositories map[string]*repository
	renamed      map[string]string
	denied       map[string]bool
	troubles     []trouble
	requests     []Request
	made         int // ids given
}

// Request is one that was made.
type Request struct {
	Method     string
	Path       string // with the query
	Authorized bool   // it had the token
}

// New starts a server that asks for the token; empty: that wants none. Close ends
// it.
func New(token string) *Server {
	s := Unstarted(token)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic("listen: " + err.Error())
	}
	s.listener = l
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }()
	return s
}

// Unstarted is a server that is only a handler.
func Unstarted(token string) *Server {
	return &Server{token: token, repositories: map[string]*repository{}, renamed: map[string]string{}, denied: map[string]bool{}}
}

// URL is the API's.
func (s *Server) URL() string { return "http://" + s.listener.Addr().String() }

// Close ends the server and its connections.
func (s *Server) Close() { _ = s.server.Close() }

// Requests are those made so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}
