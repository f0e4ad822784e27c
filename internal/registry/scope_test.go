package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/regtest"
)

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

// manyRepositories opens n repositories, each with a tag, on a registry with a trait.
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

// A token for 100 repositories would be longer than proxies accept.
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

// If even a token for 30 repositories is too long, each repository gets its own.
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

// A 400 for another reason does not cause a token for each repository.
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

// A token service may refuse several scopes in place of granting the first.
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
