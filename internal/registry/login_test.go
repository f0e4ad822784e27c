package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

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

// Some registries have no challenge at GET /v2/, but one at their repositories.
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

// A wrong password is sent once, because many of them can lock the account.
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

// The hint distinguishes a missing right from a rejected login, even if the registry answers 401 to
// both, or only its challenge says it.
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
			contains(t, HintOf(err), "The login may not push", "the right to push is missing", "check the name")
			lacks(t, HintOf(err), "mistyped", "docker/login-action")
		})
	}
}
