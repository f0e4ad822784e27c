package regtest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Auth says who may do what. By default a token service on the same host, at /token, issues bearer tokens, as
// https://distribution.github.io/distribution/spec/auth/token/ has it.
type Auth struct {
	// Users are the accounts by name.
	Users map[string]User
	// Anonymous is what may be done without an account. With none, whoever has no account gets no token.
	Anonymous []Grant
	// Basic asks for name and password with every request, and there are no tokens.
	Basic bool
	// BasicToo takes name and password in place of a token.
	BasicToo bool
	// Unauthorized answers 401, not 403, to who has logged in and lacks a right.
	Unauthorized bool
	// TokenBytes is how much longer a token gets with each repository that it is for.
	TokenBytes int
	// OneScope makes the token service honour only the first scope that is asked for
	// (https://github.com/goharbor/harbor/issues/2411).
	OneScope bool
	// TokenTTL is how long a token lasts: five minutes by default.
	TokenTTL time.Duration
}

// User is one account.
type User struct {
	Password string
	Grants   []Grant
}

// Grant allows actions ("pull", "push", "delete", or "*") on the repositories that a pattern names: an exact name,
// a prefix that ends in "*", or "*" for all.
type Grant struct {
	Repository string
	Actions    []string
}

func (g Grant) covers(r right) bool {
	prefix, wild := strings.CutSuffix(g.Repository, "*")
	if r.repository != g.Repository && (!wild || !strings.HasPrefix(r.repository, prefix)) {
		return false
	}
	return slices.Contains(g.Actions, r.action) || slices.Contains(g.Actions, "*")
}

// right is one action on one repository.
type right struct{ repository, action string }

func allowed(grants []Grant, r right) bool {
	return slices.ContainsFunc(grants, func(g Grant) bool { return g.covers(r) })
}

// needed lists what a request takes. As in distribution (registry/handlers/app.go, appendAccessRecords), a write
// takes pull too, and a mount takes pull on the repository that it takes the blob from.
func needed(r *http.Request) []right {
	t, ok := parsePath(r.URL.Path)
	if !ok {
		return nil
	}
	rights := []right{{t.repository, "pull"}}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		rights = append(rights, right{t.repository, "push"})
	case http.MethodDelete:
		rights = []right{{t.repository, "delete"}}
	}
	if from := r.URL.Query().Get("from"); from != "" && r.Method == http.MethodPost {
		rights = append(rights, right{from, "pull"})
	}
	return rights
}

// scopes writes rights as a challenge does: "repository:a:pull,push repository:b:pull".
func scopes(rights []right) string {
	var repositories []string
	actions := map[string][]string{}
	for _, r := range rights {
		if actions[r.repository] == nil {
			repositories = append(repositories, r.repository)
		}
		actions[r.repository] = append(actions[r.repository], r.action)
	}
	for i, name := range repositories {
		repositories[i] = "repository:" + name + ":" + strings.Join(actions[name], ",")
	}
	return strings.Join(repositories, " ")
}

// parseScope reads one scope; other kinds than repositories grant nothing.
func parseScope(scope string) []right {
	kind, rest, _ := strings.Cut(scope, ":")
	end := strings.LastIndex(rest, ":")
	if kind != "repository" || end < 0 {
		return nil
	}
	var rights []right
	for action := range strings.SplitSeq(rest[end+1:], ",") {
		rights = append(rights, right{rest[:end], action})
	}
	return rights
}
