package registry

import (
	"sync"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/semaphore"
)

// session is one registry as seen with one credential, with all that a run has learned
// of it.
type session struct {
	auth       *auth.Session
	transports wire.Transports
	userAgent  string // empty: net/http's
	hosts      *wire.Hosts
	host       *wire.Host // of the registry

	supports *capabilities       // of the host
	cache    *cache              // of the run
	memory   *semaphore.Weighted // of the run

	mu            sync.Mutex
	refusedMounts map[auth.Need]bool
	referrers     map[string]*referrersSupport // by repository
	creations     map[string]*creation         // by repository
}

func (c *Client) newSession(registry name.Registry, cred credential.Credential) *session {
	ping := wire.UserAgent{Inner: c.transports.Small, Name: c.options.UserAgent}
	s := &session{
		auth:       auth.New(registry, cred, ping, c.hosts),
		transports: c.transports, userAgent: c.options.UserAgent,
		hosts: c.hosts, host: c.hosts.Of(registry.RegistryStr()),
		cache: c.cache, memory: c.memory,
		refusedMounts: map[auth.Need]bool{}, referrers: map[string]*referrersSupport{}, creations: map[string]*creation{},
	}
	s.supports = c.supports(s.host)
	return s
}

// noteRefusedMount notes that a mount was refused, so that it is not tried for each blob.
func (s *session) noteRefusedMount(n auth.Need) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refusedMounts[n] = true
}

func (s *session) mayMount(n auth.Need) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.refusedMounts[n]
}
