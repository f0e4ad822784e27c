package regtest

import (
	"context"
	"errors"
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
	// TLS serves https with a certificate of an authority of its own (see CAPEM).
	TLS bool
	// Memory has the registry listen on a network within the process instead of on loopback. It goes with everything
	// but TLS.
	Memory *Memory
}

// Registry is a running registry.
type Registry struct {
	server   *http.Server
	listener net.Listener
	memory   *Memory
	network  *wan
	backend  io.Closer
	open     http.Handler // without authentication
	guard    *guard
	log      *requestLog
	trust    *authority
	beside   io.Closer // a second host that belongs to this one
	cancel   context.CancelFunc
	done     chan struct{}
	closed   func() error
}

// Start serves a registry on a free port of 127.0.0.1 until Close.
func Start(options Options) (*Registry, error) {
	options = options.withTraits()
	listener, err := options.listen()
	if err != nil {
		return nil, err
	}
	r := &Registry{listener: listener, memory: options.Memory, log: &requestLog{}, done: make(chan struct{})}
	r.closed = sync.OnceValue(r.end)
	if options.TLS {
		if r.trust, err = newAuthority(); err != nil {
			return nil, fmt.Errorf("make certificate: %w", closing(listener, err))
		}
	}
	r.serve(options)
	return r, nil
}

func (o Options) listen() (net.Listener, error) {
	switch {
	case o.Memory == nil:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen on loopback: %w", err)
		}
		return l, nil
	case o.TLS:
		return nil, errors.New("listen in memory: no TLS there")
	default:
		return o.Memory.listen(), nil
	}
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
	}
	listener := r.listener
	if options.Network != nil {
		r.network = newWAN(listener, *options.Network)
		listener = r.network
	}
	go func() {
		defer close(r.done)
		if r.trust != nil {
			r.server.TLSConfig = r.trust.serverConfig()
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

// Host is where the registry listens, as it stands in a reference: "127.0.0.1:41234".
func (r *Registry) Host() string { return r.listener.Addr().String() }

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
	}
	return a
}

// Requests lists everything that clients sent, in order of arrival, requests for tokens included.
func (r *Registry) Requests() []Request { return r.log.list() }

// ResetRequests empties the log.
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
