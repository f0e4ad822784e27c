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
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Options are a client's settings. The zero value is usable: system roots,
// anonymous.
type Options struct {
	Credentials *credential.Chain // nil: anonymous
	Roots       *x509.CertPool    // nil: the system's
	UserAgent   string
	Secret      func(string)      // is told every password and token found, before it is used; nil: nobody
	Transport   http.RoundTripper // nil: one made for registries; Roots and Dial are then unused
	Dial        dialing           // makes connections; nil: over TCP, and to no link-local address

	// Transfers is how many blobs are streamed at once to and from a host, each by a
	// connection of its own; 0: 24. Fewer are where the host asks for less.
	Transfers int
	// Patience is how long one operation is tried again after its first failure,
	// and at least 8 times; 0: a minute. The waits grow in proportion to it.
	Patience time.Duration
}

// Client reaches registries for one run.
type Client struct {
	options    Options
	transports transports
	closeIdle  func() // nil: the transport is not the client's own
	hosts      *hosts

	mu       sync.Mutex
	sessions map[sessionKey]*session
}

// New returns a client with no connections yet.
func New(o Options) *Client {
	c := &Client{options: o, hosts: newHosts(o), sessions: map[sessionKey]*session{}}
	if o.Transport != nil {
		c.transports = transports{o.Transport, o.Transport, o.Transport}
	} else {
		c.transports, c.closeIdle = newTransports(o.Roots, o.Dial, c.hosts.transfers)
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
type Access int

// Accesses, each including the one before it.
const (
	Pull   Access = iota
	Push          // pull and push
	Delete        // pull, push and delete
)

func (a Access) actions() string {
	return [...]string{"pull", "pull,push", "pull,push,delete"}[a]
}

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
	s.want(repo.RepositoryStr(), access)
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
		s = newSession(host, cred, c.transports, c.options.UserAgent, c.hosts)
		c.sessions[key] = s
	}
	return s
}
