package registry

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/semaphore"
)

// Options are a client's settings. The zero value is usable: system roots,
// anonymous.
type Options struct {
	Credentials *credential.Chain // nil: anonymous
	Roots       *x509.CertPool    // nil: the system's
	UserAgent   string
	Secret      func(string)      // is told every password and token found, before it is used; nil: nobody
	Transport   http.RoundTripper // nil: one made for registries; Roots and Dial are then unused
	Dial        wire.Dial         // makes connections; nil: over TCP, and to no link-local address

	// Transfers is how many blobs are streamed at once to and from a host, each by a
	// connection of its own; 0: 24. Fewer are where the host asks for less.
	Transfers int
	// RetryFor is how long one operation is retried after its first failure, and at least
	// 8 times; 0: a minute. The waits grow in proportion to it.
	RetryFor time.Duration
}

// Client reaches registries for one run.
type Client struct {
	options    Options
	transports wire.Transports
	closeIdle  func() // nil: the transport is not the client's own
	hosts      *wire.Hosts
	cache      *cache
	memory     *semaphore.Weighted // bytes of small blobs that are held

	mu           sync.Mutex
	sessions     map[sessionKey]*session
	capabilities map[*wire.Host]*capabilities
}

// smallMemory bounds the small blobs that are on their way at once, in bytes.
const smallMemory = 8 << 20

// New returns a client with no connections yet.
func New(o Options) *Client {
	c := &Client{
		options: o, hosts: wire.NewHosts(o.Transfers, o.RetryFor), cache: newCache(), memory: semaphore.NewWeighted(smallMemory),
		sessions: map[sessionKey]*session{}, capabilities: map[*wire.Host]*capabilities{},
	}
	if o.Transport != nil {
		c.transports = wire.Transports{Small: o.Transport, Download: o.Transport, Upload: o.Transport}
	} else {
		c.transports, c.closeIdle = wire.NewTransports(o.Roots, o.Dial, c.hosts.Transfers)
	}
	return c
}

// Close closes the connections that nobody uses any more. The client can be used on.
func (c *Client) Close() {
	if c.closeIdle != nil {
		c.closeIdle()
	}
}

// Access is what a repository is opened for.
type Access = auth.Access

// Accesses, each including the one before it.
const (
	Pull   = auth.Pull
	Push   = auth.Push   // pull and push
	Delete = auth.Delete // pull, push and delete
)

// Open finds the side's credential for a repository and returns the repository.
// No registry is contacted yet; a cloud's login service may be. All
// repositories of a run are best opened before the first request, so that one
// token serves them all.
func (c *Client) Open(ctx context.Context, side credential.Side, repo name.Repository, access Access) (*Repository, error) {
	cred, err := c.find(ctx, side, repo)
	if err != nil {
		return nil, &Error{Op: "find a credential", Side: side, Ref: repo.Name(), Err: err}
	}
	if c.options.Secret != nil {
		for _, secret := range cred.Secrets() {
			c.options.Secret(secret)
		}
	}
	s := c.session(repo.Registry, cred)
	s.auth.Want(repo.RepositoryStr(), access)
	return &Repository{name: repo, side: side, session: s, credential: cred}, nil
}

// Format prints no value: the client holds credentials.
func (c *Client) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "(registry client)") }

func (c *Client) find(ctx context.Context, side credential.Side, repo name.Repository) (credential.Credential, error) {
	if c.options.Credentials == nil {
		return credential.Credential{Origin: "none (anonymous)"}, nil
	}
	return c.options.Credentials.Find(ctx, side, repo)
}

type sessionKey struct {
	host string
	auth authn.AuthConfig
}

// session returns the session of a host and credential. Two sides that use one
// credential on one host share it; that is also what allows mounts between them.
func (c *Client) session(host name.Registry, cred credential.Credential) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := sessionKey{host.RegistryStr(), cred.Auth}
	s := c.sessions[key]
	if s == nil {
		s = c.newSession(host, cred)
		c.sessions[key] = s
	}
	return s
}

// supports returns what a host has shown that it supports. The caller holds the lock.
func (c *Client) supports(h *wire.Host) *capabilities {
	known := c.capabilities[h]
	if known == nil {
		known = &capabilities{}
		c.capabilities[h] = known
	}
	return known
}
