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
	groups    []*group          // of the repositories, in the order that they were wanted
	groupOf   map[string]*group // by repository
	tokens    map[string]token  // by the scopes asked for
	refused   map[string]bool   // scopes of which a token was refused
	single    bool              // the token service honours one scope only (harbor#2411), or a longer token is refused
	fits      map[int]bool      // refusals by status that were not for the token's length
	apart     map[need]bool     // mounts that were refused
	lists     map[string]*lists // of referrers, by repository
	creations map[string]*creation
}

// need is what one request needs a token for.
type need struct {
	repository string
	from       string // a second repository, to mount from
	access     Access // beyond what the session wants for the repository
	alone      bool   // the token must be for this request alone
}

// group are repositories that share a token.
type group struct {
	repositories []string
	joined       *scopes // of all of them; nil: to be put together anew
}

// maxGroup is how many repositories one token is asked for. A token names each, and 100
// of them make 11 KB; servers and proxies take headers of some 8 KB (nginx's
// large_client_header_buffers) and answer 400 or 431 to more (regclient#797, oc#761).
const maxGroup = 30

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
		access: map[string]Access{}, groupOf: map[string]*group{}, fits: map[int]bool{},
		tokens: map[string]token{}, refused: map[string]bool{},
		apart: map[need]bool{},
		lists: map[string]*lists{}, creations: map[string]*creation{},
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

// want adds a repository to those that the session's tokens are asked for.
func (s *session) want(repo string, access Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.access[repo]
	if ok && access <= have {
		return
	}
	s.access[repo] = access
	if !ok {
		s.join(repo)
	}
	s.groupOf[repo].joined = nil
}

// join puts a repository into the last group, or a new one: what is wanted together,
// as an image's source and target are, mostly shares a token and can be mounted.
func (s *session) join(repo string) {
	if n := len(s.groups); n == 0 || len(s.groups[n-1].repositories) == maxGroup {
		s.groups = append(s.groups, &group{})
	}
	last := s.groups[len(s.groups)-1]
	last.repositories = append(last.repositories, repo)
	s.groupOf[repo] = last
}

// scopes are those of one request: all of its repository's group, joined, so that few
// tokens serve the run; or only its own, where the service honours no more, or the
// right is one that the rest of the run does without, or the group lacks what it is to
// be mounted from.
func (s *session) scopes(n need) *scopes {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groupOf[n.repository]
	if s.single || n.alone || g == nil || n.access > s.access[n.repository] || n.from != "" && s.groupOf[n.from] != g {
		return newScopes(s.own(n))
	}
	if g.joined == nil {
		var list []string
		for _, repo := range g.repositories {
			list = append(list, scope(repo, s.access[repo]))
		}
		slices.Sort(list)
		g.joined = newScopes(list)
	}
	return g.joined
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
