package auth

import (
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// Session is one registry as seen with one credential: its scheme, its challenge, and its
// tokens. It is safe for concurrent use.
type Session struct {
	registry   name.Registry
	credential credential.Credential
	transport  http.RoundTripper // for pings and tokens
	hosts      *wire.Hosts
	host       *wire.Host // of the registry

	turn          queue.Turn // held while the challenge or a token is fetched
	allowedReads  atomic.Bool
	allowedWrites atomic.Bool
	mu            sync.Mutex
	challenge     *transport.Challenge
	pingErr       error             // of the last attempt to reach the host; nil once it was reached
	access        map[string]Access // by repository
	groups        []*group          // of the repositories, in the order of Want
	groupOf       map[string]*group // by repository
	tokens        map[string]token  // by the scopes asked for
	refused       map[string]bool   // scopes of which a token was refused
	single        bool              // the token service honours one scope only (harbor#2411), or a longer token is refused
	fits          map[int]bool      // refusals by status that were not for the token's length
}

// New returns a session of a registry that was not asked yet. The transport sends the
// pings and the questions for tokens.
func New(registry name.Registry, c credential.Credential, transport http.RoundTripper, hosts *wire.Hosts) *Session {
	return &Session{
		registry: registry, credential: c, transport: transport,
		hosts: hosts, host: hosts.Of(registry.RegistryStr()),
		turn:   queue.NewTurn(),
		access: map[string]Access{}, groupOf: map[string]*group{}, fits: map[int]bool{},
		tokens: map[string]token{}, refused: map[string]bool{},
	}
}

// Host is the registry's host.
func (s *Session) Host() *wire.Host { return s.host }
