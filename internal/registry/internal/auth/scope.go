package auth

import (
	"slices"
	"strings"
)

// Need is what one request needs a token for.
type Need struct {
	Repository string
	From       string // a second repository, to mount from; empty: none
	Access     Access // beyond what was wanted for the repository
	Alone      bool   // the token must be for this request alone
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

// group are repositories that share a token.
type group struct {
	repositories []string
	joined       *scopes // of all of them; nil: to be put together anew
}

// MaxScopes is how many repositories one token is asked for. A token names each, and 100
// of them make 11 KB; servers and proxies take headers of some 8 KB (nginx's
// large_client_header_buffers) and answer 400 or 431 to more (regclient#797, oc#761).
const MaxScopes = 30

// scopes are asked for together.
type scopes struct {
	list []string
	key  string
}

func newScopes(list []string) *scopes { return &scopes{list, strings.Join(list, " ")} }

// Want adds a repository to those that the session's tokens are asked for.
func (s *Session) Want(repo string, access Access) {
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
func (s *Session) join(repo string) {
	if n := len(s.groups); n == 0 || len(s.groups[n-1].repositories) == MaxScopes {
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
func (s *Session) scopes(n Need) *scopes {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groupOf[n.Repository]
	if s.single || n.Alone || g == nil || n.Access > s.access[n.Repository] || n.From != "" && s.groupOf[n.From] != g {
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
func (s *Session) own(n Need) []string {
	scopes := []string{scope(n.Repository, max(n.Access, s.access[n.Repository]))}
	if n.From != "" {
		scopes = append(scopes, scope(n.From, s.access[n.From]))
	}
	return scopes
}

func scope(repo string, access Access) string { return "repository:" + repo + ":" + access.actions() }
