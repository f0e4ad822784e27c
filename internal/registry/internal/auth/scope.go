package auth

import (
	"slices"
	"strings"
)

// Need is what one request needs a token for.
type Need struct {
	Repository string
	From       string // a second repository, to mount from; empty: none
	Access     Access // required beyond that of Want
	Alone      bool   // the token must be for the repositories of this request alone
}

// Access is what the caller does with a repository.
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

// group is a set of repositories that share a token.
type group struct {
	repositories []string
	joined       *scopes // of all repositories; nil: not computed yet
}

// MaxScopes is how many repositories share a token. The token contains the name of each, and with
// 100 names it has 11 KB. Servers and proxies accept headers of about 8 KB (nginx:
// large_client_header_buffers) and answer 400 or 431 to longer ones (regclient#797, oc#761).
const MaxScopes = 30

// scopes are requested for one token.
type scopes struct {
	list []string
	key  string
}

func newScopes(list []string) *scopes { return &scopes{list, strings.Join(list, " ")} }

// Want adds a repository to the tokens of the session.
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

// join adds a repository to the last group, or to a new one. Repositories that are opened one
// after the other, such as an image's source and target, then mostly share a token, which
// allows mounts.
func (s *Session) join(repo string) {
	if n := len(s.groups); n == 0 || len(s.groups[n-1].repositories) == MaxScopes {
		s.groups = append(s.groups, &group{})
	}
	last := s.groups[len(s.groups)-1]
	last.repositories = append(last.repositories, repo)
	s.groupOf[repo] = last
}

// scopes are the scopes of the token for a request. They are those of the whole group, so that a
// run needs few tokens. They are those of the request alone if the service grants only one
// scope, if the request needs a right that the run does not need otherwise, or if it mounts
// from a repository of another group.
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

// own are the scopes of a request alone. Its repository is the first, because some services read
// only one scope.
func (s *Session) own(n Need) []string {
	scopes := []string{scope(n.Repository, max(n.Access, s.access[n.Repository]))}
	if n.From != "" {
		scopes = append(scopes, scope(n.From, s.access[n.From]))
	}
	return scopes
}

func scope(repo string, access Access) string { return "repository:" + repo + ":" + access.actions() }
