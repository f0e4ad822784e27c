package credential

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// fakeHelper puts a shell script on the PATH as a credential helper. The script
// finds the server's name in $server.
func fakeHelper(t *testing.T, name, script string) environment {
	t.Helper()
	path := writeFile(t, helperPrefix+name, "#!/bin/sh\nPATH=$PATH:/usr/bin:/bin\n[ \"$1\" = get ] || exit 9\nread -r server\n"+script+"\n", 0o700)
	t.Setenv("PATH", filepath.Dir(path)+string(os.PathListSeparator)+os.Getenv("PATH"))
	return environment{}
}

func TestHelper(t *testing.T) {
	const answer = `printf '{"ServerURL": "%s", "Username": "u", "Secret": "%s"}' "$server" "$server"`
	for _, test := range []struct {
		name, config, script, repo string
		want                       authn.AuthConfig
		notice                     string // part of it; empty: none
	}{
		{"store", `{"credsStore": "fake"}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "u", Password: "ghcr.io"}, ""},
		{"helper of the host", `{"credHelpers": {"ghcr.io": "fake"}}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "u", Password: "ghcr.io"}, ""},
		{"helper before store", `{"credsStore": "absent", "credHelpers": {"ghcr.io": "fake"}}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "u", Password: "ghcr.io"}, ""},
		{"helper before auths", `{"credHelpers": {"ghcr.io": "fake"}, "auths": {"ghcr.io": {"username": "x", "password": "y"}}}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "u", Password: "ghcr.io"}, ""},
		{"store for the others", `{"credsStore": "fake", "credHelpers": {"ghcr.io": "absent"}}`, answer, "quay.io/acme/app", authn.AuthConfig{Username: "u", Password: "quay.io"}, ""},
		{"switched off for the host", `{"credsStore": "absent", "credHelpers": {"ghcr.io": ""}, "auths": {"ghcr.io": {"username": "x", "password": "y"}}}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "x", Password: "y"}, ""},
		{"Docker Hub", `{"credsStore": "fake"}`, answer, "acme/app", authn.AuthConfig{Username: "u", Password: "https://index.docker.io/v1/"}, ""},
		{"Docker Hub's helper by alias", `{"credHelpers": {"docker.io": "fake"}}`, answer, "acme/app", authn.AuthConfig{Username: "u", Password: "https://index.docker.io/v1/"}, ""},
		{"identity token", `{"credsStore": "fake"}`, `echo '{"Username": "<token>", "Secret": "id"}'`, "ghcr.io/acme/app", authn.AuthConfig{IdentityToken: "id"}, ""},
		{"nothing stored", `{"credsStore": "fake"}`, `echo credentials not found in native keychain; exit 1`, "ghcr.io/acme/app", authn.AuthConfig{}, ""},
		{"empty answer", `{"credsStore": "fake"}`, `echo '{"Username": "", "Secret": ""}'`, "ghcr.io/acme/app", authn.AuthConfig{}, ""},
		{"nothing stored, but in auths", `{"credsStore": "fake", "auths": {"ghcr.io": {"username": "x", "password": "y"}}}`, `echo credentials not found in native keychain; exit 1`, "ghcr.io/acme/app", authn.AuthConfig{Username: "x", Password: "y"}, ""},
		{"fails", `{"credsStore": "fake"}`, `echo hunter2; echo hunter2 >&2; exit 3`, "ghcr.io/acme/app", authn.AuthConfig{}, "docker-credential-fake has no answer for ghcr.io: exit status 3"},
		{"not JSON", `{"credsStore": "fake"}`, `echo hunter2`, "ghcr.io/acme/app", authn.AuthConfig{}, "not the JSON of the helper protocol"},
		{"prints without end", `{"credsStore": "fake"}`, `while echo hunter2hunter2hunter2hunter2; do :; done`, "ghcr.io/acme/app", authn.AuthConfig{}, "has no answer for ghcr.io: it prints too much"},
		{"user name alone", `{"credsStore": "fake"}`, `echo '{"Username": "u"}'`, "ghcr.io/acme/app", authn.AuthConfig{}, ""},
		{"missing", `{"credsStore": "absent"}`, answer, "ghcr.io/acme/app", authn.AuthConfig{}, "the program docker-credential-absent is not here"},
		{"missing, but in auths", `{"credsStore": "absent", "auths": {"ghcr.io": {"username": "x", "password": "y"}}}`, answer, "ghcr.io/acme/app", authn.AuthConfig{Username: "x", Password: "y"}, "docker-credential-absent is not here"},
		{"a path", `{"credsStore": "../fake"}`, answer, "ghcr.io/acme/app", authn.AuthConfig{}, "that is a path"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakeHelper(t, "fake", test.script)
			got := find(t, &Chain{Getenv: dockerConfig(t, test.config).get}, Source, test.repo)
			if got.Auth != test.want {
				t.Errorf("found %+v, want %+v", got.Auth, test.want)
			}
			if !strings.Contains(got.Notice, test.notice) || (test.notice == "") != (got.Notice == "") {
				t.Errorf("notice %q, want %q", got.Notice, test.notice)
			}
			if strings.Contains(got.Notice, "hunter2") {
				t.Errorf("notice shows what the helper printed: %s", got.Notice)
			}
		})
	}
}

func TestHelperIsNamedInOrigin(t *testing.T) {
	fakeHelper(t, "fake", `echo '{"Username": "u", "Secret": "s"}'`)
	got := find(t, &Chain{Getenv: dockerConfig(t, `{"credsStore": "fake"}`).get}, Source, "ghcr.io/acme/app")
	if !strings.HasSuffix(got.Origin, "/config.json (credential helper docker-credential-fake)") {
		t.Errorf("origin %q", got.Origin)
	}
}

// TestMissingHelperGoesOn: the notice travels with what a later place had.
func TestMissingHelperGoesOn(t *testing.T) {
	chain := &Chain{GitHubToken: "token", Getenv: dockerConfig(t, `{"credHelpers": {"ghcr.io": "absent"}}`).get}
	got := find(t, chain, Target, "ghcr.io/acme/app")
	if got.Origin != gitHubToken || !strings.Contains(got.Notice, "docker-credential-absent") {
		t.Errorf("found %s, notice %q", got, got.Notice)
	}
}

func TestHelperRunsOnceForHost(t *testing.T) {
	count := writeFile(t, "count", "", 0o600)
	fakeHelper(t, "fake", `echo x >> '`+count+`'; echo '{"Username": "u", "Secret": "s"}'`)
	chain := &Chain{Getenv: dockerConfig(t, `{"credsStore": "fake"}`).get}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got, err := chain.Find(t.Context(), Source, repository(t, "ghcr.io/acme/app"))
			if err != nil || got.Auth.Password != "s" {
				t.Errorf("found %s, error %v", got, err)
			}
		})
	}
	group.Wait()
	runs, err := os.ReadFile(count)
	if err != nil || string(runs) != "x\n" {
		t.Errorf("the helper ran %d times (%v)", len(runs)/2, err)
	}
}

// TestHelperEndsWithContext: also when a grandchild keeps the pipe.
func TestHelperEndsWithContext(t *testing.T) {
	if testing.Short() {
		t.Skip("long: it waits for a second")
	}
	fakeHelper(t, "fake", "sleep 100 & sleep 100")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	defer time.AfterFunc(80*time.Second, func() { panic("the pipe is waited for") }).Stop()
	_, err := (&Chain{Getenv: dockerConfig(t, `{"credsStore": "fake"}`).get}).Find(ctx, Source, repository(t, "ghcr.io/acme/app"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the deadline's", err)
	}
}

func FuzzHelperAnswer(f *testing.F) {
	f.Add(`{"ServerURL": "ghcr.io", "Username": "u", "Secret": "s"}`)
	f.Add(`{"Username": "<token>", "Secret": "s"}`)
	f.Add(`[`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseHelper([]byte(text))
		if err != nil && got != (authn.AuthConfig{}) {
			t.Errorf("an error and a login: %+v", got)
		}
		if got != (authn.AuthConfig{}) && got.Password == "" && got.IdentityToken == "" {
			t.Errorf("a login without a secret: %+v", got)
		}
	})
}
