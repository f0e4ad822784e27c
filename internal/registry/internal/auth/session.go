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

// Session is a registry with a credential: its scheme, its challenge, and its tokens. It is safe
// for concurrent use.
type Session struct {
	registry   name.Registry
	credential credential.Credential
	transport  http.RoundTripper // for pings and tokens
	hosts      *wire.Hosts
	host       *wire.Host // of the registry

	turn          queue.Turn // taken while the challenge or a token is requested
	allowedReads  atomic.Bool
	allowedWrites atomic.Bool
	mu            sync.Mutex
	challenge     *transport.Challenge
	pingErr       error             // of the last ping; nil after a success
	access        map[string]Access // by repository
	groups        []*group          // of the repositories, in the order of Want
	groupOf       map[string]*group // by repository
	tokens        map[string]token  // by scopes
	refused       map[string]bool   // scopes with a token that the registry refused
	single        bool              // the token service grants one scope only (harbor#2411), or longer tokens are refused
	fits          map[int]bool      // statuses that were not due to the length of the token
}

// New returns a session of a registry that was not contacted yet. The transport sends the pings
// and the requests for tokens.
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
