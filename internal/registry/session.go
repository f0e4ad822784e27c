package registry

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// session is one host as seen with one credential: its scheme, its challenge,
// and its tokens.
type session struct {
	host  name.Registry
	cred  credential.Credential
	inner transports
	agent string // User-Agent; empty: net/http's
	hosts *hosts
	at    *host

	gate      queue.Turn  // held while the challenge or a token is fetched
	reads     atomic.Bool // it was let read
	writes    atomic.Bool
	mu        sync.Mutex
	challenge *transport.Challenge
	trouble   error             // of the last attempt to reach the host, while it was not reached
	access    map[string]Access // by repository
	joined    *scopes           // of all of them; nil: to be put together anew
	tokens    map[string]token  // by the scopes asked for
	refused   map[string]bool   // scopes of which a token was refused
	single    bool              // the token service honours one scope only (harbor#2411)
	apart     map[need]bool     // mounts that were refused
	lists     map[string]*lists // of referrers, by repository
}

// need is what one request needs a token for.
type need struct {
	repository string
	from       string // a second repository, to mount from
	access     Access // beyond what the session wants for the repository
}

// scopes are asked for together.
type scopes struct {
	list []string
	key  string
}

func newScopes(list []string) *scopes { return &scopes{list, strings.Join(list, " ")} }

func newSession(registry name.Registry, cred credential.Credential, inner transports, agent string, hosts *hosts) *session {
	return &session{
		host: registry, cred: cred, inner: inner, agent: agent,
		hosts: hosts, at: hosts.of(registry.RegistryStr()),
		gate:   queue.NewTurn(),
		access: map[string]Access{},
		tokens: map[string]token{}, refused: map[string]bool{},
		apart: map[need]bool{},
		lists: map[string]*lists{},
	}
}

// worked notes that the session was let do such a thing, which tells an odd
// refusal later from a right that was never there.
func (s *session) worked(method string) { s.kind(method).Store(true) }

func (s *session) hasWorked(method string) bool { return s.kind(method).Load() }

func (s *session) kind(method string) *atomic.Bool {
	if method == http.MethodGet || method == http.MethodHead {
		return &s.reads
	}
	return &s.writes
}

// want adds a repository to what the session's token is asked for.
func (s *session) want(repo string, access Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.access[repo]; !ok || access > have {
		s.access[repo] = access
		s.joined = nil
	}
}

// scopes are those of one request: all that the session wants, joined, so that
// one token serves the run; or only its own, where the service honours no more,
// or the right is one that the rest of the run does without.
func (s *session) scopes(n need) *scopes {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.single || n.access > s.access[n.repository] {
		return newScopes(s.own(n))
	}
	if s.joined == nil {
		var list []string
		for repo, access := range s.access {
			list = append(list, scope(repo, access))
		}
		slices.Sort(list)
		s.joined = newScopes(list)
	}
	return s.joined
}

// own are the scopes of one request alone, its repository's first: a service
// that reads one scope reads that.
func (s *session) own(n need) []string {
	scopes := []string{scope(n.repository, max(n.access, s.access[n.repository]))}
	if n.from != "" {
		scopes = append(scopes, scope(n.from, s.access[n.from]))
	}
	return scopes
}

func scope(repo string, access Access) string { return "repository:" + repo + ":" + access.actions() }

func isBearer(c *transport.Challenge) bool { return strings.EqualFold(c.Scheme, "bearer") }

func (s *session) base(c *transport.Challenge) *url.URL {
	return &url.URL{Scheme: scheme(c), Host: s.host.RegistryStr()}
}

func scheme(c *transport.Challenge) string {
	if c.Insecure {
		return "http"
	}
	return "https"
}

// refuseMount notes that a mount was refused, so that it is not tried for each
// blob.
func (s *session) refuseMount(n need) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apart[n] = true
}

func (s *session) mayMount(n need) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.apart[n]
}
