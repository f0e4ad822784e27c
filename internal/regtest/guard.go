package regtest

import (
	"net/http"
	"slices"
	"strings"
)

// tokenPath is where the token service answers.
const tokenPath = "/token"

const tokenService = "registry.test"

// guard lets a request through when its credentials allow it.
type guard struct {
	auth   Auth
	secure bool
	tokens *tokens
	next   http.Handler
}

func newGuard(auth Auth, secure bool, next http.Handler) *guard {
	return &guard{auth: auth, secure: secure, tokens: newTokens(auth.TokenTTL), next: next}
}

func (g *guard) revoke() { g.tokens.revoke() }

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.auth.Basic:
		g.serveBasic(w, r)
	case r.URL.Path == tokenPath:
		g.serveToken(w, r)
	case g.auth.BasicToo && hasBasic(r):
		g.serveBasic(w, r)
	default:
		g.serveBearer(w, r)
	}
}

func hasBasic(r *http.Request) bool {
	_, _, given := r.BasicAuth()
	return given
}

func (g *guard) serveBasic(w http.ResponseWriter, r *http.Request) {
	user, ok := g.login(r.BasicAuth())
	rights := needed(r)
	switch {
	case ok && g.mayAll(user, rights):
		logUser(r, user)
		g.next.ServeHTTP(w, r)
	case ok && user != "" && !g.auth.Unauthorized:
		logUser(r, user)
		refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
	default:
		w.Header().Set("WWW-Authenticate", `Basic realm="`+tokenService+`"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
	}
}

// login returns whose name and password these are: "" for nobody's, and false where nobody is let in or the
// password is wrong.
func (g *guard) login(name, password string, given bool) (string, bool) {
	if !given {
		return "", len(g.auth.Anonymous) > 0
	}
	user, known := g.auth.Users[name]
	if !known || user.Password != password {
		return "", false
	}
	return name, true
}

func (g *guard) may(user string, r right) bool {
	return allowed(g.auth.Anonymous, r) || user != "" && allowed(g.auth.Users[user].Grants, r)
}

func (g *guard) mayAll(user string, rights []right) bool {
	return !slices.ContainsFunc(rights, func(r right) bool { return !g.may(user, r) })
}

func (g *guard) serveBearer(w http.ResponseWriter, r *http.Request) {
	rights := needed(r)
	value, given := bearer(r)
	token, ok := g.tokens.find(value)
	if ok {
		logUser(r, token.user)
	}
	switch {
	case !given:
		g.challenge(w, r, rights, "")
	case !ok:
		g.challenge(w, r, rights, "invalid_token")
	case token.covers(rights):
		g.next.ServeHTTP(w, r)
	case token.user != "" && !g.auth.Unauthorized && !g.mayAll(token.user, rights):
		refuse(w, http.StatusForbidden, "DENIED", "requested access to the resource is denied")
	default:
		g.challenge(w, r, rights, "insufficient_scope")
	}
}

func bearer(r *http.Request) (string, bool) {
	scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return value, ok && strings.EqualFold(scheme, "Bearer")
}

func (g *guard) challenge(w http.ResponseWriter, r *http.Request, rights []right, reason string) {
	scheme := "http://"
	if g.secure {
		scheme = "https://"
	}
	text := `Bearer realm="` + scheme + r.Host + tokenPath + `",service="` + tokenService + `"`
	if len(rights) > 0 {
		text += `,scope="` + scopes(rights) + `"`
	}
	if reason != "" {
		text += `,error="` + reason + `"`
	}
	w.Header().Set("WWW-Authenticate", text)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}
