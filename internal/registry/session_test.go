package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

const secret = "s3cr3t-of-ci"

var all = []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}

// users has one account that may do everything.
func users() map[string]regtest.User {
	return map[string]regtest.User{"ci": {Password: secret, Grants: all}}
}

func guardedRegistry(t *testing.T, auth regtest.Auth, o regtest.Options) *regtest.Registry {
	t.Helper()
	if auth.Users == nil {
		auth.Users = users()
	}
	o.Auth = &auth
	return regtest.Serve(t, o)
}

// fill puts a manifest under the tag dev into each repository.
func fill(t *testing.T, reg *regtest.Registry, paths ...string) {
	t.Helper()
	for _, path := range paths {
		tagged(t, reg, reg.Access("ci", secret), path, "dev")
	}
}

// everywhere reads dev in every repository, many times at once.
func everywhere(t *testing.T, repos []*Repository) {
	t.Helper()
	g, ctx := errgroup.WithContext(t.Context())
	for range 8 {
		for _, r := range repos {
			g.Go(func() error {
				_, err := r.GetManifest(ctx, "dev")
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestOneChallengeAndOneTokenServeARun(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{})
	paths := []string{"acme/app", "acme/worker", "prod/app"}
	fill(t, reg, paths...)
	c := client(t, logins("ci", secret))
	var repos []*Repository
	for i, path := range paths {
		side, access := credential.Source, Pull
		if i == 2 {
			side, access = credential.Target, Push
		}
		repos = append(repos, repository(t, c, side, reg.Host()+"/"+path, access))
	}
	everywhere(t, repos)
	blob := content(1 << 16)
	if _, err := repos[2].PutBlob(t.Context(), upload(blob)); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, reg, "^GET /v2/$", 1)
	wantRequests(t, reg, "/token$", 1)
	if q := matching(reg, "/token$")[0].Query; strings.Count(q, "scope=") != 3 {
		t.Errorf("the token was asked for with %s, want the scopes of 3 repositories", q)
	}
	for _, r := range matching(reg, ".") {
		if r.Status == http.StatusUnauthorized && r.Path != "/v2/" {
			t.Errorf("%s %s was refused", r.Method, r.Path)
		}
	}
}

func TestSidesWithTheirOwnCredentials(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{Users: map[string]regtest.User{
		"reader": {Password: "r", Grants: []regtest.Grant{{Repository: "dev/app", Actions: []string{"pull"}}}},
		"writer": {Password: "w", Grants: []regtest.Grant{{Repository: "prod/app", Actions: []string{"pull", "push"}}}},
		"ci":     {Password: secret, Grants: all},
	}}, regtest.Options{})
	fill(t, reg, "dev/app", "prod/app")
	c := client(t, &credential.Chain{
		Source: credential.Login{Username: "reader", Password: "r"},
		Target: credential.Login{Username: "writer", Password: "w"},
	})
	source := repository(t, c, credential.Source, reg.Host()+"/dev/app", Pull)
	target := repository(t, c, credential.Target, reg.Host()+"/prod/app", Push)
	everywhere(t, []*Repository{source, target})
	for _, r := range matching(reg, "GET /v2/.*/manifests/dev") {
		want := map[string]string{"/v2/dev/app/manifests/dev": "reader", "/v2/prod/app/manifests/dev": "writer"}[r.Path]
		if r.User != want {
			t.Errorf("%s was read by %q, want %q", r.Path, r.User, want)
		}
	}
	if target.CanMountFrom(source) {
		t.Error("a mount would name a repository that the token does not cover")
	}
}

func TestServiceThatHonoursOneScopeIsNoticedOnce(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{OneScope: true}, regtest.Options{})
	paths := []string{"a/app", "b/app", "c/app"}
	fill(t, reg, paths...)
	c := client(t, logins("ci", secret))
	var repos []*Repository
	for _, path := range paths {
		repos = append(repos, repository(t, c, credential.Target, reg.Host()+"/"+path, Push))
	}
	everywhere(t, repos)
	everywhere(t, repos) // the first repository did with the joined token until now
	if n := len(matching(reg, "/token$")); n > 5 {
		t.Errorf("%d tokens, want one joined, once more, and one for each of 3 repositories", n)
	}
	reg.ResetRequests()
	everywhere(t, repos)
	wantRequests(t, reg, "/token$", 0)
	for _, r := range matching(reg, ".") {
		if r.Status != http.StatusOK {
			t.Errorf("%s %s: %d after it was noticed", r.Method, r.Path, r.Status)
		}
	}
}

// manyRepositories opens as many, each with a tag, on a registry that has a trait.
func manyRepositories(t *testing.T, n int, trait regtest.Trait) (*regtest.Registry, []*Repository) {
	t.Helper()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Traits: []regtest.Trait{trait}})
	c := client(t, logins("ci", secret))
	var repos []*Repository
	for i := range n {
		path := fmt.Sprintf("acme/app%03d", i)
		fill(t, reg, path)
		repos = append(repos, repository(t, c, credential.Target, reg.Host()+"/"+path, Push))
	}
	return reg, repos
}

// A token for 100 repositories would be longer than a proxy takes.
func TestTokensForManyRepositories(t *testing.T) {
	t.Parallel()
	reg, repos := manyRepositories(t, 100, regtest.HeaderLimit(8<<10, http.StatusBadRequest))
	everywhere(t, repos)
	wantRequests(t, reg, "/token$", 4)
	for _, r := range matching(reg, ".") {
		if n := strings.Count(r.Query, "scope="); n > auth.MaxScopes {
			t.Errorf("a token for %d repositories", n)
		}
		if r.Status == http.StatusBadRequest {
			t.Errorf("%s %s was refused", r.Method, r.Path)
		}
	}
	blob := content(100)
	if _, err := regtest.PutBlob(t.Context(), reg.Access("ci", secret), "acme/app000", blob); err != nil {
		t.Fatal(err)
	}
	mounted, err := repos[99].PutBlob(t.Context(), Upload{Blob: descriptor(blob), MountFrom: repos[0]})
	if err != nil || !mounted {
		t.Errorf("mounted %v from a repository of another group, error %v", mounted, err)
	}
}

// Where even that is too long, each repository has a token of its own.
func TestTokenThatIsTooLong(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			reg, repos := manyRepositories(t, 20, regtest.HeaderLimit(1<<10, code))
			if _, err := repos[0].GetManifest(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			everywhere(t, repos)
			wantRequests(t, reg, "/token$", 1+len(repos))
			refused := 0
			for _, r := range matching(reg, ".") {
				if r.Status == code {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("%d retry.MaxRefused, want one", refused)
			}
		})
	}
}

// A 400 for another reason is not asked again with every repository's own token.
func TestRefusalThatIsNotForTheToken(t *testing.T) {
	t.Parallel()
	bare := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusBadRequest) }
	auth := regtest.Auth{}
	reg := guardedRegistry(t, auth, regtest.Options{Wrap: strikes(always, "^GET /v2/acme/.*/manifests/", bare)})
	c := client(t, logins("ci", secret))
	for i := range 3 {
		r := repository(t, c, credential.Source, fmt.Sprintf("%s/acme/app%d", reg.Host(), i), Pull)
		if _, err := r.GetManifest(t.Context(), "dev"); err == nil {
			t.Error("no error")
		}
	}
	wantRequests(t, reg, "/manifests/", 1+2+1)
}

func TestMountWithoutTheRightToIsTriedOnce(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{OneScope: true}, regtest.Options{})
	fill(t, reg, "a/app", "b/app")
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	if !b.CanMountFrom(a) || a.CanMountFrom(a) {
		t.Fatal("want a mount between two repositories of one registry and credential, and none within one")
	}
	blob := content(1000)
	u := upload(blob)
	u.MountFrom = a
	if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
		t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
	}
	if b.CanMountFrom(a) {
		t.Error("the mount was refused, and would be tried for every blob")
	}
	if there, err := b.HasBlob(t.Context(), u.Blob.Digest); err != nil || !there {
		t.Errorf("there %v, error %v", there, err)
	}
}

// A challenge that names a token service which is not asked is not kept: the host
// is asked again, and then does better, or is refused soon.
func TestRealmThatIsOddAtFirst(t *testing.T) {
	t.Parallel()
	for _, realm := range []string{"http://tokens.example/token", "ftp://tokens.example/token", "https://169.254.169.254/token"} {
		for _, times := range []int{1, always} {
			odd := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="registry.test"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(times, "^GET /v2/$", odd)})
			fill(t, reg, "acme/app")
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			reg.ResetRequests()
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != (times == 1) {
				t.Errorf("%s, %d times: error %v", realm, times, err)
			}
			if err != nil {
				contains(t, HintOf(err), "its token service")
				wantRequests(t, reg, ".", retry.MaxInvalid)
			}
		}
	}
}

// A refused mount is remembered also by uploads that were to try one already, and
// is no odd refusal to try again after, though the session was let write before.
func TestRefusedMountIsRemembered(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{OneScope: true}, regtest.Options{})
	fill(t, reg, "a/app", "b/app")
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	if _, err := b.PutBlob(t.Context(), upload(content(1000))); err != nil {
		t.Fatal(err)
	}
	reg.ResetRequests()
	for n := range 20 {
		u := upload(content(2000 + n))
		u.MountFrom = a
		if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
			t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
		}
	}
	mounts := 0
	for _, r := range matching(reg, "^POST ") {
		if strings.Contains(r.Query, "mount=") {
			mounts++
		}
	}
	if tokens := len(matching(reg, "/token$")); mounts == 0 || mounts > 3 || tokens > 4 {
		t.Errorf("%d mounts were tried, with %d tokens: want one, with each kind of token", mounts, tokens)
	}
}

// A token service may refuse joined scopes in place of granting the first.
func TestServiceThatRefusesJoinedScopes(t *testing.T) {
	t.Parallel()
	wrap := strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if len(r.URL.Query()["scope"]) > 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
	fill(t, reg, "a/app", "b/app")
	c := client(t, logins("ci", secret))
	everywhere(t, []*Repository{
		repository(t, c, credential.Source, reg.Host()+"/a/app", Pull),
		repository(t, c, credential.Target, reg.Host()+"/b/app", Push),
	})
	if n := len(matching(reg, "/token$")); n > 4 {
		t.Errorf("%d requests for tokens, want at most 4", n)
	}
}

// There a mount gets no token at all, which must not fail the upload.
func TestMountThatGetsNoToken(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if len(r.URL.Query()["scope"]) > 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})})
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	u := upload(content(1000))
	u.MountFrom = a
	if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
		t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
	}
	if b.CanMountFrom(a) {
		t.Error("the mount was refused, and would be tried for every blob")
	}
}

func TestTokenServiceWithTroubleIsNotTakenForARefusal(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	var broken atomic.Bool
	broken.Store(true)
	answer := strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if broken.Load() {
			status(http.StatusServiceUnavailable)(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})(bearer(300, &tokens))
	h := func(w http.ResponseWriter, r *http.Request) {
		if n := len(r.URL.Query()["scope"]); r.URL.Path == "/token" && n != 2 {
			t.Errorf("token asked for with %d scopes: they were taken apart for nothing", n)
		}
		answer.ServeHTTP(w, r)
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		r.session.auth.Want("other/app", Pull)
		if _, err := r.GetManifest(t.Context(), "dev"); err == nil || errors.Is(err, ErrUnauthorized) {
			t.Errorf("error %v, want that of the service", err)
		}
		broken.Store(false)
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedTokenIsReplaced(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
	everywhere(t, []*Repository{r})
	reg.RevokeTokens()
	reg.ResetRequests()
	everywhere(t, []*Repository{r})
	if _, err := r.PutManifest(t.Context(), "next", NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex))); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, "^GET /v2/$", 0)
	wantRequests(t, reg, "/token$", 1)
}

// The body of an upload cannot be sent again as it is: the token is fetched
// before the upload starts over, not with the second body half way out.
func TestTokenRevokedBeforeABodyIsStreamed(t *testing.T) {
	t.Parallel()
	var reg *regtest.Registry
	wrap := strikes(1, "^PUT /v2/acme/app/blobs/uploads/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		reg.RevokeTokens()
		next.ServeHTTP(w, r)
	})
	reg = guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
	r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
	blob := content(4 << 20)
	if _, err := r.PutBlob(t.Context(), upload(blob)); err != nil {
		t.Fatal(err)
	}
	puts := matching(reg, "^PUT ")
	if len(puts) != 2 || puts[1].Status != http.StatusCreated || puts[1].Received != int64(len(blob)) {
		t.Errorf("uploads %+v, want one that is refused and one that is taken", puts)
	}
	wantRequests(t, reg, "/token$", 2)
	for _, q := range matching(reg, "^(HEAD|POST) ") {
		if q.Status == http.StatusUnauthorized {
			t.Errorf("%s %s with the token that was refused", q.Method, q.Path)
		}
	}
	last := ""
	for _, q := range matching(reg, "(^PUT |/token$)") {
		if last = q.Path; strings.HasSuffix(q.Path, "/token") {
			last = "token"
		}
	}
	if last == "token" {
		t.Error("the fresh token came after the body")
	}
}

// bearer is a registry with a token service that counts and says how long its
// tokens last; they are all worth the same.
func bearer(life int, tokens *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("t", tokens.Add(1)), "expires_in": life})
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = io.WriteString(w, emptyIndex)
		}
	}
}

func TestTokenIsReplacedBeforeItExpires(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		life  int
		after time.Duration
		want  int32
	}{
		{"long", 300, 280 * time.Second, 1},
		{"nearly over", 300, 291 * time.Second, 2},
		{"short", 5, 0, 1},
		{"unstated", 0, 40 * time.Second, 1},
		{"unstated, over", 0, 55 * time.Second, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tokens atomic.Int32
			bubble(t, bearer(test.life, &tokens), func(t *testing.T, r *Repository) {
				for range 2 {
					if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(test.after)
				}
			})
			if got := tokens.Load(); got != test.want {
				t.Errorf("%d tokens, want %d", got, test.want)
			}
		})
	}
}

// A wait that the token service asks for is not a stall of the request.
func TestTokenServiceThatAsksToWait(t *testing.T) {
	t.Parallel()
	var tokens atomic.Int32
	blob := content(100)
	answer := bearer(300, &tokens)
	busy := strikes(1, "^GET /token$", status(http.StatusTooManyRequests, "Retry-After", "45"))
	h := busy(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") && r.Header.Get("Authorization") != "" {
			_, _ = w.Write(blob)
			return
		}
		answer(w, r)
	}))
	bubble(t, h.ServeHTTP, func(t *testing.T, r *Repository) {
		began := time.Now()
		got, err := io.ReadAll(r.OpenBlob(t.Context(), descriptor(blob)))
		if err != nil || len(got) != len(blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		took(t, began, 45*time.Second, 46*time.Second)
	})
	if got := tokens.Load(); got != 1 {
		t.Errorf("%d tokens, want 1", got)
	}
}

func TestWaysToLogIn(t *testing.T) {
	t.Parallel()
	docker := func(t *testing.T, host, login string) *credential.Chain {
		dir := t.TempDir()
		text := fmt.Sprintf(`{"auths":{%q:%s}}`, host, login)
		if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return &credential.Chain{Getenv: func(key string) string {
			return map[string]string{"DOCKER_CONFIG": dir}[key]
		}}
	}
	token := func(t *testing.T, reg *regtest.Registry, query string) map[string]string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+reg.Host()+"/token?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("ci", secret)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer resp.Body.Close()
		got := map[string]any{}
		if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		text := map[string]string{}
		for key, value := range got {
			text[key] = fmt.Sprint(value)
		}
		return text
	}
	for _, test := range []struct {
		name  string
		auth  regtest.Auth
		chain func(*testing.T, *regtest.Registry) *credential.Chain
		user  string
		token string // how the service was asked
	}{
		{"basic", regtest.Auth{Basic: true}, func(*testing.T, *regtest.Registry) *credential.Chain {
			return logins("ci", secret)
		}, "ci", ""},
		{"anonymous", regtest.Auth{Anonymous: all}, func(*testing.T, *regtest.Registry) *credential.Chain { return nil }, "", "GET"},
		{"password", regtest.Auth{}, func(*testing.T, *regtest.Registry) *credential.Chain { return logins("ci", secret) }, "ci", "GET"},
		{"identity token", regtest.Auth{}, func(t *testing.T, reg *regtest.Registry) *credential.Chain {
			refresh := token(t, reg, "offline_token=true")["refresh_token"]
			return docker(t, reg.Host(), fmt.Sprintf(`{"identitytoken":%q}`, refresh))
		}, "ci", "POST"},
		{"registry token", regtest.Auth{}, func(t *testing.T, reg *regtest.Registry) *credential.Chain {
			value := token(t, reg, "scope=repository:acme/app:pull")["access_token"]
			return docker(t, reg.Host(), fmt.Sprintf(`{"registrytoken":%q}`, value))
		}, "ci", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := guardedRegistry(t, test.auth, regtest.Options{})
			fill(t, reg, "acme/app")
			chain := test.chain(t, reg)
			reg.ResetRequests()
			r := repository(t, client(t, chain), credential.Source, reg.Host()+"/acme/app", Pull)
			if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
			got := matching(reg, "GET /v2/acme/app/")
			if len(got) != 1 || got[0].User != test.user {
				t.Errorf("read with %+v, want once by %q", got, test.user)
			}
			asked := ""
			for _, q := range matching(reg, "/token$") {
				asked += q.Method
			}
			if asked != test.token {
				t.Errorf("the token service was asked by %q, want %q", asked, test.token)
			}
		})
	}
}

// Some registries ask nobody at /v2/, and everybody at their repositories.
func TestChallengeThatOnlyRepositoriesGive(t *testing.T) {
	t.Parallel()
	for _, basic := range []bool{false, true} {
		t.Run(fmt.Sprintf("basic %v", basic), func(t *testing.T) {
			t.Parallel()
			open := regtest.Answer(func(r *http.Request) bool { return r.URL.Path == "/v2/" }, http.StatusOK, "text/plain", nil)
			reg := guardedRegistry(t, regtest.Auth{Basic: basic}, regtest.Options{Wrap: open})
			fill(t, reg, "a/app", "b/app")
			c := client(t, logins("ci", secret))
			repos := []*Repository{
				repository(t, c, credential.Source, reg.Host()+"/a/app", Pull),
				repository(t, c, credential.Target, reg.Host()+"/b/app", Push),
			}
			everywhere(t, repos)
			wantRequests(t, reg, "^GET /v2/$", 1)
			reg.ResetRequests()
			if _, err := repos[1].PutBlob(t.Context(), upload(content(1000))); err != nil {
				t.Error(err)
			}
			for _, r := range matching(reg, ".") {
				if r.Status == http.StatusUnauthorized {
					t.Errorf("%s %s was refused after the challenge was learned", r.Method, r.Path)
				}
			}
		})
	}
}

func TestWrongPassword(t *testing.T) {
	t.Parallel()
	for _, basic := range []bool{false, true} {
		t.Run(fmt.Sprintf("basic %v", basic), func(t *testing.T) {
			t.Parallel()
			reg := guardedRegistry(t, regtest.Auth{Basic: basic}, regtest.Options{})
			fill(t, reg, "acme/app")
			r := repository(t, client(t, logins("ci", "not-"+secret)), credential.Target, reg.Host()+"/acme/app", Push)
			_, err := r.GetManifest(t.Context(), "dev")
			if !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrNotFound) {
				t.Fatalf("error %v, want that of a refused login", err)
			}
			contains(t, err.Error(), "read manifest at the target", reg.Host()+"/acme/app:dev", "401 Unauthorized", "UNAUTHORIZED")
			contains(t, HintOf(err), reg.Host(), "target repository", "acme/app", "the target-username and target-password inputs")
			lacks(t, err.Error()+HintOf(err), secret)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				lacks(t, fmt.Sprintf(verb, r)+fmt.Sprintf(verb, err), secret)
			}
			if n := len(matching(reg, ".")); n > 3 {
				t.Errorf("%d requests with a wrong password: %+v", n, matching(reg, "."))
			}
		})
	}
}

// A login that is withdrawn in the middle of a run is final at once.
func TestTokenThatIsNotReplaced(t *testing.T) {
	t.Parallel()
	var withdrawn atomic.Bool
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if withdrawn.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	withdrawn.Store(true)
	reg.RevokeTokens()
	reg.ResetRequests()
	if _, err := r.Uncached().GetManifest(t.Context(), "dev"); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v, want that of a refused login", err)
	}
	wantRequests(t, reg, "manifests/dev$", 1)
	wantRequests(t, reg, "/token$", 1)
}

// Many wrong passwords at once lock an account.
func TestWrongPasswordIsTriedOnce(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{})
	r := repository(t, client(t, logins("ci", "wrong")), credential.Target, reg.Host()+"/acme/app", Push)
	var g errgroup.Group
	for range 16 {
		g.Go(func() error {
			if _, err := r.GetManifest(t.Context(), "dev"); !errors.Is(err, ErrUnauthorized) {
				return fmt.Errorf("error %w, want that of a refused login", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, "/token$", 1)
}

func TestClientPrintsNoSecret(t *testing.T) {
	t.Parallel()
	c := client(t, logins("ci", secret))
	repository(t, c, credential.Target, "registry.example/acme/app", Push)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		lacks(t, fmt.Sprintf(verb, c), secret)
	}
}

func TestRepositoryTellsWhatItIs(t *testing.T) {
	t.Parallel()
	c := client(t, logins("ci", secret))
	r := repository(t, c, credential.Target, "registry.example/acme/app", Push)
	if r.Side() != credential.Target || r.Name() != "registry.example/acme/app" || fmt.Sprint(r) != r.Name() || r.CredentialNotice() != "" {
		t.Errorf("%s on side %s, notice %q", r, r.Side(), r.CredentialNotice())
	}
	contains(t, r.Credential(), "target-username")
	if got := r.Reference("dev"); got != "registry.example/acme/app:dev" {
		t.Error(got)
	}
	if got := r.Reference("sha256:00"); got != "registry.example/acme/app@sha256:00" {
		t.Error(got)
	}
	if other := repository(t, c, credential.Source, "registry.example/acme/app", Pull); !r.Same(other) || r.CanMountFrom(other) {
		t.Error("one repository, opened twice, is another")
	}
}

func TestLoginWithoutTheRight(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{Users: map[string]regtest.User{
		"ci":     {Password: secret, Grants: all},
		"reader": {Password: "r", Grants: []regtest.Grant{{Repository: "acme/app", Actions: []string{"pull"}}}},
	}}, regtest.Options{})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("reader", "r")), credential.Target, reg.Host()+"/acme/app", Push)
	m, err := r.GetManifest(t.Context(), "dev")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.PutManifest(t.Context(), "production", m)
	if !errors.Is(err, ErrUnauthorized) {
		t.Fatalf("error %v, want that of a missing right", err)
	}
	contains(t, err.Error(), "write manifest at the target", "403 Forbidden", "DENIED", "requested access")
	contains(t, HintOf(err), "403", "the right to push is missing")
	if _, err := r.PutBlob(t.Context(), upload(content(100_000))); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v, want that of a missing right", err)
	}
	wantRequests(t, reg, "^POST ", 1)
}

// A token service's answers are a stranger's, and may hold secrets of the login.
// A missing right is told from a login that was not taken, also where the registry
// answers 401 to both, or says so in its challenge.
func TestMissingRightThatIsAnswered401(t *testing.T) {
	t.Parallel()
	reader := map[string]regtest.User{
		"ci":     {Password: secret, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}},
		"writer": {Password: "w", Grants: all},
	}
	for name, basic := range map[string]bool{"token": false, "Basic": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := guardedRegistry(t, regtest.Auth{Users: reader, Basic: basic}, regtest.Options{Traits: []regtest.Trait{regtest.MissingRightIs401()}})
			tagged(t, reg, reg.Access("writer", "w"), "acme/app", "dev")
			r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
			m, err := r.GetManifest(t.Context(), "dev")
			if err != nil {
				t.Fatal(err)
			}
			_, err = r.PutManifest(t.Context(), "dev", m)
			if !errors.Is(err, ErrUnauthorized) {
				t.Fatalf("error %v", err)
			}
			if status := err.(*Error).Status; status != http.StatusUnauthorized { //nolint:errorlint // it is one
				t.Errorf("status %d", status)
			}
			contains(t, HintOf(err), "The login was accepted, the right to push is missing", "check the name")
			lacks(t, HintOf(err), "mistyped", "docker/login-action")
		})
	}
}

func TestTokenServiceWithoutAToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
		times  int
	}{
		{"no token", http.StatusOK, `{"refresh_token":"` + secret + `"}`, "no token in bearer response", retry.MaxDamaged},
		{"no JSON", http.StatusOK, "<html>" + strings.Repeat(secret, 1000), "get token", retry.MaxDamaged},
		{"a page", http.StatusNotFound, "<html>\n" + strings.Repeat(secret, 1000), "the token service answered 404 Not Found", 1},
		{"endless", http.StatusOK, strings.Repeat(" ", 1<<20), "answer too large", retry.MaxInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			wrap := regtest.Answer(request("^GET /token$"), test.status, "application/json", []byte(test.body))
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: wrap})
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized) {
				t.Fatalf("error %v, want that of the token service", err)
			}
			contains(t, err.Error(), test.want)
			lacks(t, err.Error(), secret, "\n")
			if len(err.Error()) > 600 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
			wantRequests(t, reg, "/token$", test.times)
		})
	}
}

func TestErrorIsBounded(t *testing.T) {
	t.Parallel()
	e := &Error{Op: "read manifest", Side: credential.Source, Ref: "r", Err: errors.New(strings.Repeat("界", 100_000))}
	if n := len(e.Error()); n > 1100 {
		t.Errorf("%d bytes of error", n)
	}
}

func TestHostThatIsNoRegistry(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, strings.Repeat("<html>\n", 1000))
	})})
	r := repository(t, client(t, nil), credential.Source, reg.Host()+"/acme/app", Pull)
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Fatalf("error %v: the host has no registry, which is not a missing manifest", err)
	}
	contains(t, err.Error(), "reach registry "+reg.Host(), "404 Not Found", "/v2/")
	lacks(t, err.Error(), "<html>", "\n")
}

// world is what names resolve to in a test: host:port to a server's address.
// Everything else is refused and noted.
type world struct {
	hosts  map[string]string
	refuse []string
}

func (w *world) client(t *testing.T, chain *credential.Chain, roots *x509.CertPool) *Client {
	t.Helper()
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"} // which the certificates of regtest are for
	transport := wire.NewTransport(config, func(ctx context.Context, network, address string) (net.Conn, error) {
		to, ok := w.hosts[address]
		if !ok {
			w.refuse = append(w.refuse, address)
			return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
		}
		var d net.Dialer
		return d.DialContext(ctx, network, to)
	}, 0)
	t.Cleanup(transport.CloseIdleConnections)
	return New(Options{Credentials: chain, Transport: transport, RetryFor: 2 * time.Second})
}

func TestPlainHTTP(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, host string
		login      bool
		want       bool
	}{
		{"loopback", "127.0.0.1:5000", false, true},
		{"loopback with a login", "127.0.0.1:5000", true, true},
		{"localhost with a login", "localhost:5000", true, true},
		{"a name below localhost", "registry.localhost:5000", true, true},
		{"one word", "registry:5000", false, true},
		{"one word with a login", "registry:5000", true, false},
		{"a name", "registry.example:5000", false, false},
		{"a name with a login", "registry.example:5000", true, false},
		{"a private address", "10.0.0.1:5000", false, false},
		{"a private address with a login", "192.168.1.1:5000", true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{})
			tagged(t, reg, regtest.Access{}, "acme/app", "dev")
			w := &world{hosts: map[string]string{test.host: reg.Host()}}
			var chain *credential.Chain
			if test.login {
				chain = logins("ci", secret)
			}
			r := repository(t, w.client(t, chain, nil), credential.Source, test.host+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != test.want {
				t.Fatalf("error %v, want success %v", err, test.want)
			}
			if !test.want {
				wantRequests(t, reg, ".", 0)
				contains(t, HintOf(err), test.host+" does not speak https")
			}
		})
	}
}

// pool is the registry's authority.
func pool(t *testing.T, reg *regtest.Registry) *x509.CertPool {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(reg.CAPEM()) {
		t.Fatal("no certificate")
	}
	return roots
}

func TestOverTLS(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{TLS: true})
	fill(t, reg, "acme/app")
	known := wire.NewTransport(&tls.Config{RootCAs: pool(t, reg)}, nil, 0)
	t.Cleanup(known.CloseIdleConnections)
	r := repository(t, New(Options{Credentials: logins("ci", secret), Transport: known}), credential.Source, reg.Host()+"/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Error(err)
	}
	r = repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil {
		t.Fatal("a certificate of nobody's authority was taken")
	}
	contains(t, err.Error(), "certificate signed by unknown authority")
	contains(t, HintOf(err), "ca-certificates")
}

// A registry that names a token service in the open gets no credential there.
func TestRealmThatMustNotGetTheCredential(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, host string
		tls        bool
		realm      string // of the token service
	}{
		{"http from https, same host", "registry.example:443", true, "http://registry.example:443/token"},
		{"http from https", "registry.example:443", true, "http://tokens.example/token"},
		{"http from https, loopback", "registry.example:443", true, "http://127.0.0.1:7777/token"},
		{"http on the network from loopback", "127.0.0.1:5000", false, "http://tokens.example/token"},
		{"private address", "registry.example:443", true, "https://10.0.0.1/token"},
		{"private address, short", "registry.example:443", true, "https://10.1/token"},
		{"loopback by name", "registry.example:443", true, "https://localhost/token"},
		{"metadata", "registry.example:443", true, "https://169.254.169.254/token"},
		{"another protocol", "registry.example:443", true, "ftp://tokens.example/token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var thief atomic.Int32
			there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				thief.Add(1)
				_, _ = io.WriteString(w, `{"token":"t"}`)
			}))
			t.Cleanup(there.Close)
			reg := regtest.Serve(t, regtest.Options{TLS: test.tls, Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+test.realm+`",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			})})
			address := there.Listener.Addr().String()
			w := &world{hosts: map[string]string{test.host: reg.Host(), "tokens.example:80": address, "tokens.example:443": address,
				"127.0.0.1:7777": address, "10.0.0.1:443": address, "10.1:443": address, "localhost:443": address, "169.254.169.254:443": address}}
			if test.tls {
				w.hosts["registry.example:443"] = reg.Host()
			}
			c := w.client(t, logins("ci", secret), trustAny(t, reg))
			r := repository(t, c, credential.Source, test.host+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), "get token")
			if thief.Load() != 0 {
				t.Errorf("the realm got %d requests", thief.Load())
			}
			wantRequests(t, reg, "/token", 0)
		})
	}
}

// A registry that redirects /v2/ does not take later requests with it, least of
// all to plain http.
func TestChallengeThatIsRedirected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, to string
		want     bool
	}{
		{"https, another path", "https://registry.example/v2/x/", true},
		{"http, same host", "http://registry.example/v2/", false},
		{"http, another host", "http://other.example/v2/", false},
		{"private address", "https://10.0.0.1/v2/", false},
		{"metadata", "https://169.254.169.254/v2/", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/":
					http.Redirect(w, r, test.to, http.StatusFound)
				case "/v2/x/":
				default:
					_, _ = io.WriteString(w, emptyIndex)
				}
			})})
			w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
			r := repository(t, w.client(t, logins("ci", secret), pool(t, reg)), credential.Source, "registry.example/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != test.want || len(w.refuse) != 0 {
				t.Errorf("error %v, dialled %s", err, w.refuse)
			}
		})
	}
}

// Nor does one on loopback that redirects to https, where it does not listen.
func TestChallengeThatIsRedirectedToHTTPS(t *testing.T) {
	t.Parallel()
	elsewhere := regtest.Serve(t, regtest.Options{TLS: true, Backend: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	reg := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			http.Redirect(w, r, "https://other.example/v2/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, emptyIndex)
	})})
	w := &world{hosts: map[string]string{"127.0.0.1:5000": reg.Host(), "other.example:443": elsewhere.Host()}}
	r := repository(t, w.client(t, nil, pool(t, elsewhere)), credential.Source, "127.0.0.1:5000/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Error(err)
	}
	wantRequests(t, elsewhere, ".", 1)
}

// trustAny is the registry's authority, if it has one.
func trustAny(t *testing.T, reg *regtest.Registry) *x509.CertPool {
	t.Helper()
	if reg.CAPEM() == nil {
		return nil
	}
	return pool(t, reg)
}
