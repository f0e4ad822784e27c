package credential

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// TestOrder takes the places away one after the other; what remains first wins.
func TestOrder(t *testing.T) {
	env := dockerConfig(t, `{"auths": {"ghcr.io": {"username": "d", "password": "docker"}}}`)
	full := func() *Chain {
		return &Chain{
			Source:      Login{"s", "source"},
			Target:      Login{"t", "target"},
			Entries:     []Entry{{"ghcr.io", "e", "entry"}},
			GitHubToken: "token",
			GitHubActor: "octocat",
			Getenv:      env.get,
		}
	}
	inputs := func(c *Chain) { c.Source, c.Target = Login{}, Login{} }
	entries := func(c *Chain) { c.Entries = nil }
	docker := func(c *Chain) { c.Getenv = nil }
	actor := func(c *Chain) { c.GitHubActor = "" }
	token := func(c *Chain) { c.GitHubToken = "" }
	for _, test := range []struct {
		name           string
		without        []func(*Chain)
		side           Side
		user, password string
		origin         string
	}{
		{"source input", nil, Source, "s", "source", "the source-username and source-password inputs"},
		{"target input", nil, Target, "t", "target", "the target-username and target-password inputs"},
		{"entry", []func(*Chain){inputs}, Source, "e", "entry", "registry-auth entry ghcr.io"},
		{"docker", []func(*Chain){inputs, entries}, Target, "d", "docker", "docker config " + env["DOCKER_CONFIG"] + "/config.json"},
		{"token", []func(*Chain){inputs, entries, docker}, Target, "octocat", "token", "the github-token input"},
		{"token, no actor", []func(*Chain){inputs, entries, docker, actor}, Source, "x-access-token", "token", "the github-token input"},
		{"anonymous", []func(*Chain){inputs, entries, docker, token}, Target, "", "", "none (anonymous)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			chain := full()
			for _, without := range test.without {
				without(chain)
			}
			got := find(t, chain, test.side, "ghcr.io/acme/app")
			want := authn.AuthConfig{Username: test.user, Password: test.password}
			if got.Auth != want || got.Origin != test.origin || got.Notice != "" {
				t.Errorf("found %q %+v (notice %q), want %q %+v", got.Origin, got.Auth, got.Notice, test.origin, want)
			}
		})
	}
}

func TestOneSideOnly(t *testing.T) {
	chain := &Chain{Target: Login{"t", "target"}}
	if got := find(t, chain, Source, "registry.example/acme/app"); !got.Anonymous() {
		t.Errorf("the source got the target's login: %s", got)
	}
	if got := find(t, chain, Target, "registry.example/acme/app"); got.Auth.Password != "target" {
		t.Errorf("the target got %s", got)
	}
}

func TestLongestEntryWins(t *testing.T) {
	chain := &Chain{Entries: []Entry{
		{"ghcr.io/acme/app", "u", "app"},
		{"ghcr.io", "u", "host"},
		{"https://ghcr.io/acme/", "u", "organisation"},
		{"https://index.docker.io/v1/", "u", "hub"},
		{"docker.io/acme", "u", "hub acme"},
	}}
	for repo, want := range map[string]string{
		"ghcr.io/acme/app":           "app",
		"ghcr.io/acme/app/sub":       "app",
		"ghcr.io/acme/application":   "organisation",
		"ghcr.io/acme-labs/app":      "host",
		"ghcr.io/other/app":          "host",
		"nginx":                      "hub",
		"registry-1.docker.io/x/app": "hub",
		"docker.io/acme/app":         "hub acme",
		"registry.example/acme/app":  "",
	} {
		if got := find(t, chain, Source, repo).Auth.Password; got != want {
			t.Errorf("%s: %q, want %q", repo, got, want)
		}
	}
	if got, want := find(t, chain, Source, "ghcr.io/acme/worker").Origin, "registry-auth entry ghcr.io/acme"; got != want {
		t.Errorf("origin %q, want %q", got, want)
	}
}

func TestTokenGoesToGHCROnly(t *testing.T) {
	chain := &Chain{GitHubToken: "token"}
	for _, repo := range []string{"acme/app", "registry.example/ghcr.io/app", "ghcr.io.example/app", "localhost:5000/app"} {
		if got := find(t, chain, Target, repo); !got.Anonymous() {
			t.Errorf("%s got the token", repo)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		name  string
		chain *Chain
		want  []string // parts of the error; none: no error
	}{
		{"nothing", &Chain{}, nil},
		{"complete", &Chain{Source: Login{"u", "p"}, Entries: []Entry{{"ghcr.io", "u", "p"}, {"ghcr.io/acme", "u", "p"}}}, nil},
		{"no password", &Chain{Target: Login{Username: "hunter2"}}, []string{"target-username is given without target-password"}},
		{"no user name", &Chain{Source: Login{Password: "hunter2"}}, []string{"source-password is given without source-username"}},
		{"entry", &Chain{Entries: []Entry{{"ghcr.io", "u", "p"}, {"hunter2", "", " "}}}, []string{"registry-auth entry 2 has no username and no password"}},
		{"no registry", &Chain{Entries: []Entry{{"", "hunter2", "hunter2"}}}, []string{"registry-auth entry 1 has no registry"}},
		{"twice", &Chain{Entries: []Entry{{"docker.io", "u", "p"}, {"ghcr.io", "u", "p"}, {"https://index.docker.io/v1/", "u", "hunter2"}}}, []string{"entries 1 and 3 are for the same registry"}},
		{"several", &Chain{Source: Login{Password: "hunter2"}, Target: Login{Username: "hunter2"}, Entries: []Entry{{}}}, []string{"source-username", "target-password", "entry 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := test.chain.Validate()
			if len(test.want) == 0 {
				if err != nil {
					t.Fatalf("Validate: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("Validate took it")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows a value: %v", err)
			}
			_, again := test.chain.Find(t.Context(), Source, repository(t, "registry.example/app"))
			if again == nil || !strings.Contains(err.Error(), again.Error()) || strings.Contains(again.Error(), "\n") {
				t.Errorf("Find: %v, want Validate's error, and of the side's own inputs alone", again)
			}
		})
	}
}

func TestZeroChainIsAnonymous(t *testing.T) {
	if got := find(t, &Chain{}, Target, "ghcr.io/acme/app"); !got.Anonymous() || got.Notice != "" {
		t.Errorf("found %s, notice %q", got, got.Notice)
	}
}

// TestFindEndsWithContext holds Find to the context's cause wherever it waits.
func TestFindEndsWithContext(t *testing.T) {
	cause := errors.New("the run was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	key := environment{"GOOGLE_APPLICATION_CREDENTIALS": serviceAccount(t)}
	helper := fakeHelper(t, "slow", "exec sleep 60").with(dockerConfig(t, `{"credsStore": "slow"}`))
	for name, env := range map[string]environment{"cloud": key, "helper": helper} {
		chain := &Chain{Getenv: env.get, transport: hosts{}}
		if _, err := chain.Find(ctx, Source, repository(t, "gcr.io/acme/app")); !errors.Is(err, cause) {
			t.Errorf("%s: error %v, want the context's cause", name, err)
		}
	}
}
