package regtest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
)

// Options says how a registry behaves. The zero value is an open registry in memory that has no referrers API and
// deletes nothing.
type Options struct {
	// Referrers turns the referrers API of OCI 1.1 on. ReferrersPage is the largest answer in bytes: a small one
	// makes clients follow the Link header. One entry must fit.
	Referrers     bool
	ReferrersPage int64
	// Delete allows DELETE of manifests, tags and blobs.
	Delete bool
	// Auth asks for credentials.
	Auth *Auth
	// Immutable names the tags that cannot be written again, as in an immutable ECR repository: not even with the
	// digest that they have.
	Immutable func(repository, tag string) bool
	// Traits are the ways of a vendor (see Vendors). Each is in front of the guard that Auth is, or over the store.
	Traits []Trait
	// Wrap is the outermost layer below the log: a fault here is in the log and comes before authentication.
	Wrap func(http.Handler) http.Handler
	// Backend stands in for olareg. Referrers and Delete are then its own matter.
	Backend http.Handler
	// Network puts a distance between the clients and the registry.
	Network *Network
	// TLS serves https, with HTTP/2 offered, with a certificate of an authority of its own (see CAPEM); on a Memory the
	// authority is that network's. HTTP1 does not offer HTTP/2.
	TLS, HTTP1 bool
	// Streams is how many requests may be under way on one connection of HTTP/2; 0 is 250. Window is how many bytes a
	// client may send on one, and on one stream of it, before somebody reads them: at least 64 KiB, 0 is 1 MiB. nginx has
	// 128 streams (http2_max_concurrent_streams) and 64 KiB (http2_body_preread_size).
	Streams, Window int
	// Name is the host name that clients know the registry by, in place of 127.0.0.1: clients speak plain HTTP to
	// loopback of their own accord, but TLS to a name. The certificate is for both. Outside of a Memory somebody must
	// see to it that the name leads to 127.0.0.1.
	Name string
	// Memory has the registry listen on a network within the process instead of on loopback.
	Memory *Memory
}

// Registry is a running registry.
type Registry struct {
	server   *http.Server
	listener net.Listener
	name     string
	memory   *Memory
	network  *wan
	backend  io.Closer
	open     http.Handler // without authentication
	guard    *guard
	log      *requestLog
	trust    *authority
	secret   *tls.Config // nil without TLS
	beside   io.Closer   // a second host that belongs to this one
	cancel   context.CancelFunc
	done     chan struct{}
	closed   func() error
	tests    func() *http.Client // of Push, Read and the like, on loopback
}

// Start serves a registry on a free port of 127.0.0.1 until Close.
func Start(options Options) (*Registry, error) {
	options = options.withTraits()
	listener, err := options.listen()
	if err != nil {
		return nil, err
	}
	r := &Registry{listener: listener, name: options.Name, memory: options.Memory, log: &requestLog{}, done: make(chan struct{})}
	r.closed, r.tests = sync.OnceValue(r.end), sync.OnceValue(r.ownClient)
	if options.TLS {
		if err := r.certify(options); err != nil {
			return nil, fmt.Errorf("make certificate: %w", closing(listener, err))
		}
	}
	r.serve(options)
	return r, nil
}

func (o Options) listen() (net.Listener, error) {
	if o.Memory != nil {
		return o.Memory.listen(o.Name), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on loopback: %w", err)
	}
	return l, nil
}

// certify gets a certificate for the registry's name.
func (r *Registry) certify(o Options) (err error) {
	if r.memory != nil {
		r.trust, err = r.memory.authority()
	} else {
		r.trust, err = newAuthority()
	}
	if err != nil {
		return err
	}
	leaf, err := r.trust.issue(o.Name)
	if err != nil {
		return err
	}
	r.secret = &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12, VerifyConnection: r.log.shakeHands}
	return nil
}

func (r *Registry) serve(options Options) {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.server = &http.Server{
		Handler:           r.handler(options),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       noteConn,
		ConnState:         r.log.connect,
		TLSConfig:         r.secret,
		Protocols:         new(http.Protocols),
	}
	r.server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: options.Streams, MaxReceiveBufferPerConnection: options.Window, MaxReceiveBufferPerStream: options.Window,
	}
	r.server.Protocols.SetHTTP1(true)
	r.server.Protocols.SetHTTP2(!options.HTTP1)
	listener := r.listener
	if options.Network != nil {
		r.network = newWAN(listener, *options.Network)
		listener = r.network
	}
	go func() {
		defer close(r.done)
		if r.secret != nil {
			_ = r.server.ServeTLS(listener, "", "")
			return
		}
		_ = r.server.Serve(listener)
	}()
}

// handler stacks the layers, the innermost first.
func (r *Registry) handler(options Options) http.Handler {
	h := options.Backend
	if h == nil {
		server := newOlareg(options)
		r.backend = server
		h = server
	}
	if options.Immutable != nil {
		h = &immutable{is: options.Immutable, next: h}
	}
	front, store := options.traits()
	h = store(h)
	r.open = h
	if options.Auth != nil {
		r.guard = newGuard(*options.Auth, options.TLS, h)
		h = r.guard
	}
	h = front(h)
	if options.Wrap != nil {
		h = options.Wrap(h)
	}
	r.log.next = h
	return r.log
}

func newOlareg(options Options) *olareg.Server {
	return olareg.New(config.Config{
		// Nothing is cleaned up, however long a test is or its clock says.
		Storage: config.ConfigStorage{StoreType: config.StoreMem, GC: config.ConfigGC{Frequency: -1}},
		API: config.ConfigAPI{
			DeleteEnabled: &options.Delete,
			Blob:          config.ConfigAPIBlob{DeleteEnabled: &options.Delete},
			Referrer:      config.ConfigAPIReferrer{Enabled: &options.Referrers, Limit: options.ReferrersPage},
		},
	})
}

// Close ends the registry and every connection, and forgets what it held. Once is enough.
func (r *Registry) Close() error { return r.closed() }

func (r *Registry) end() error {
	r.cancel()
	r.tests().CloseIdleConnections()
	err := r.server.Close()
	<-r.done
	if r.network != nil {
		r.network.abort()
	}
	r.log.wait(5 * time.Second)
	if r.backend != nil {
		err = closing(r.backend, err)
	}
	if r.beside != nil {
		err = closing(r.beside, err)
	}
	return err
}

// Host is where the registry listens, as it stands in a reference: "127.0.0.1:41234", or with its name.
func (r *Registry) Host() string {
	address := r.listener.Addr().String()
	if _, port, err := net.SplitHostPort(address); err == nil && r.name != "" {
		return net.JoinHostPort(r.name, port)
	}
	return address
}

// CAPEM is the certificate of the authority that a client has to trust, or nil without Options.TLS.
func (r *Registry) CAPEM() []byte {
	if r.trust == nil {
		return nil
	}
	return r.trust.pem
}

// Access is how Push and Read reach this registry with that account. Both texts are empty for nobody.
func (r *Registry) Access(user, password string) Access {
	a := Access{Host: r.Host(), User: user, Password: password, CAPEM: r.CAPEM()}
	if r.memory != nil {
		a.Client = r.memory.client
	} else {
		a.Client = r.tests()
	}
	return a
}

// ownClient keeps its connections from one small function to the next.
func (r *Registry) ownClient() *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	if r.trust != nil {
		transport.TLSClientConfig = r.trust.clientConfig()
	}
	return &http.Client{Transport: transport}
}

// Dial is how clients reach the registry; nil: over TCP, as it is on no Memory.
func (r *Registry) Dial() func(ctx context.Context, network, address string) (net.Conn, error) {
	if r.memory == nil {
		return nil
	}
	return r.memory.DialContext
}

// Requests lists everything that clients sent, in order of arrival, requests for tokens included.
func (r *Registry) Requests() []Request { return r.log.list() }

// Arrival returns a channel that is closed when the next request is in the log.
func (r *Registry) Arrival() <-chan struct{} { return r.log.arrival() }

// Connections counts how clients reached the registry, since the beginning or ResetRequests.
func (r *Registry) Connections() Connections { return r.log.counted() }

// ResetRequests empties the log, and begins to count connections anew.
func (r *Registry) ResetRequests() { r.log.reset() }

// RevokeTokens makes every token that was issued so far worthless, as if its time were over.
func (r *Registry) RevokeTokens() {
	if r.guard != nil {
		r.guard.revoke()
	}
}

func closing(c io.Closer, err error) error {
	if closeErr := c.Close(); err == nil {
		return closeErr
	}
	return err
}
