package registry

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/sync/semaphore"
)

// session is one host as seen with one credential: its scheme, its challenge,
// and its tokens.
type session struct {
	host  name.Registry
	cred  credential.Credential
	inner http.RoundTripper
	retry *retryablehttp.Client // for requests that can be sent again as they are
	once  *http.Client          // for bodies that cannot
	small *semaphore.Weighted

	gate      chan struct{} // held while the challenge or a token is fetched
	mu        sync.Mutex
	challenge *transport.Challenge
	access    map[string]Access // by repository
	tokens    map[string]token  // by the scopes asked for
	single    bool              // the token service honours one scope only (harbor#2411)
	apart     map[need]bool     // mounts that were refused
}

// need is what one request needs a token for.
type need struct {
	repository string
	from       string // a second repository, to mount from
	access     Access // beyond what the session wants for the repository
}

func newSession(host name.Registry, cred credential.Credential, inner http.RoundTripper, small *semaphore.Weighted) *session {
	s := &session{
		host: host, cred: cred, inner: inner, small: small,
		gate:   make(chan struct{}, 1),
		access: map[string]Access{},
		tokens: map[string]token{},
		apart:  map[need]bool{},
	}
	s.retry = newRetryClient(&authorizer{s})
	s.once = &http.Client{Transport: &authorizer{s}, CheckRedirect: noRedirect}
	return s
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// want adds a repository to what the session's token is asked for.
func (s *session) want(repo string, access Access) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.access[repo]; !ok || access > have {
		s.access[repo] = access
	}
}

// scopes are those of one request: all that the session wants, joined, so that
// one token serves the run; or only its own, where the service honours no more,
// or the right is one that the rest of the run does without.
func (s *session) scopes(n need) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.single || n.access > s.access[n.repository] {
		return s.own(n)
	}
	var scopes []string
	for repo, access := range s.access {
		scopes = append(scopes, scope(repo, access))
	}
	slices.Sort(scopes)
	return scopes
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

// ready returns the session's URL once the host can be asked: with its challenge
// known and a token at hand, so that the wait for either is not taken for the
// request's own.
func (s *session) ready(ctx context.Context, n need) (*url.URL, error) {
	c, err := s.challenged(ctx)
	if err != nil {
		return nil, err
	}
	if isBearer(c) {
		if _, err := s.grant(ctx, n, ""); err != nil {
			return nil, cause(ctx, err)
		}
	}
	return s.base(c), nil
}

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

// hold takes the gate, so that one goroutine asks and the others then find.
func (s *session) hold(ctx context.Context) error {
	select {
	case s.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) release() { <-s.gate }

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

// needKey carries what a request needs a token for.
type needKey struct{}

func withNeed(ctx context.Context, n need) context.Context {
	return context.WithValue(ctx, needKey{}, n)
}

func needOf(ctx context.Context) need {
	n, _ := ctx.Value(needKey{}).(need)
	return n
}
