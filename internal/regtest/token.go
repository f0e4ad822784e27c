package regtest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const defaultTokenTTL = 5 * time.Minute

// token is what the token service remembers of one that it gave out: the text itself says nothing.
type token struct {
	user    string
	rights  map[right]bool
	refresh bool
	expires time.Time
}

func (t token) covers(rights []right) bool {
	for _, r := range rights {
		if !t.rights[r] {
			return false
		}
	}
	return true
}

type tokens struct {
	ttl    time.Duration
	mu     sync.Mutex
	issued map[string]token
}

func newTokens(ttl time.Duration) *tokens {
	if ttl <= 0 {
		ttl = defaultTokenTTL
	}
	return &tokens{ttl: ttl, issued: map[string]token{}}
}

// issue gives a token out; it is so many bytes longer than it has to be.
func (t *tokens) issue(k token, longer int) string {
	value := rand.Text() + strings.Repeat("x", longer)
	k.expires = time.Now().Add(t.ttl)
	if k.refresh {
		k.expires = time.Now().Add(24 * time.Hour)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issued[value] = k
	return value
}

func (t *tokens) find(value string) (token, bool) {
	k, ok := t.lookup(value)
	return k, ok && !k.refresh
}

func (t *tokens) lookup(value string) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.issued[value]
	return k, ok && time.Now().Before(k.expires)
}

// revoke drops what opens the registry; a refresh token, which is a kind of password, stays.
func (t *tokens) revoke() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for value, k := range t.issued {
		if !k.refresh {
			delete(t.issued, value)
		}
	}
}

// ask is a request for a token, in either of its two forms.
type ask struct {
	user    string
	known   bool
	scopes  []string
	offline bool
}

func (g *guard) serveToken(w http.ResponseWriter, r *http.Request) {
	var a ask
	switch r.Method {
	case http.MethodGet:
		a = g.askByGet(r)
	case http.MethodPost:
		a = g.askByForm(w, r)
	default:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "use GET or POST")
		return
	}
	if !a.known {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "incorrect username or password")
		return
	}
	logUser(r, a.user)
	g.answerToken(w, r.Method, a)
}

func (g *guard) askByGet(r *http.Request) ask {
	query := r.URL.Query()
	user, known := g.login(r.BasicAuth())
	return ask{user, known, splitScopes(query["scope"]), query.Get("offline_token") == "true"}
}

// askByForm reads https://distribution.github.io/distribution/spec/auth/oauth/.
func (g *guard) askByForm(w http.ResponseWriter, r *http.Request) ask {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		return ask{}
	}
	form := r.PostForm
	a := ask{scopes: splitScopes(form["scope"]), offline: form.Get("access_type") == "offline"}
	switch form.Get("grant_type") {
	case "password":
		a.user, a.known = g.login(form.Get("username"), form.Get("password"), true)
	case "refresh_token":
		k, ok := g.tokens.lookup(form.Get("refresh_token"))
		a.user, a.known = k.user, ok && k.refresh
	}
	return a
}

// splitScopes takes one scope a parameter, or several in one with blanks between: clients send both.
func splitScopes(parameters []string) []string {
	return strings.Fields(strings.Join(parameters, " "))
}

func (g *guard) granted(a ask) map[right]bool {
	if g.auth.OneScope && len(a.scopes) > 1 {
		a.scopes = a.scopes[:1]
	}
	rights := map[right]bool{}
	for _, scope := range a.scopes {
		for _, r := range parseScope(scope) {
			if g.may(a.user, r) {
				rights[r] = true
			}
		}
	}
	return rights
}

func (g *guard) answerToken(w http.ResponseWriter, method string, a ask) {
	value := g.tokens.issue(token{user: a.user, rights: g.granted(a)}, g.auth.TokenBytes*len(a.scopes))
	answer := map[string]any{
		"access_token": value,
		"expires_in":   max(1, int(g.tokens.ttl.Seconds())),
		"issued_at":    time.Now().UTC().Format(time.RFC3339),
	}
	if method == http.MethodGet {
		answer["token"] = value
	}
	if a.offline && a.user != "" {
		answer["refresh_token"] = g.tokens.issue(token{user: a.user, refresh: true}, 0)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
