package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
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

// fill pushes a manifest to the tag dev of each repository.
func fill(t *testing.T, reg *regtest.Registry, paths ...string) {
	t.Helper()
	for _, path := range paths {
		tagged(t, reg, reg.Access("ci", secret), path, "dev")
	}
}

// everywhere reads the tag dev in every repository, many times at the same time.
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

func TestErrorIsBounded(t *testing.T) {
	t.Parallel()
	e := &Error{Op: "read manifest", Side: credential.Source, Ref: "r", Err: errors.New(strings.Repeat("界", 100_000))}
	if n := len(e.Error()); n > 1100 {
		t.Errorf("%d bytes of error", n)
	}
}
