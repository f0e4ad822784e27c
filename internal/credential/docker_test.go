package credential

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// basic is the auth of a login of the user named user.
func basic(password string) string {
	return base64.StdEncoding.EncodeToString([]byte("user:" + password))
}

func TestDockerConfigForms(t *testing.T) {
	up := authn.AuthConfig{Username: "user", Password: "pass"}
	for _, test := range []struct {
		name, config, repo string
		want               authn.AuthConfig
	}{
		{"auth", `{"auths": {"ghcr.io": {"auth": "` + basic("pass") + `"}}}`, "ghcr.io/acme/app", up},
		{"auth without padding", `{"auths": {"ghcr.io": {"auth": "` + strings.TrimRight(basic("pass"), "=") + `"}}}`, "ghcr.io/acme/app", up},
		{"auth with NUL", `{"auths": {"ghcr.io": {"auth": "` + basic("pass\x00") + `"}}}`, "ghcr.io/acme/app", up},
		{"password with a colon", `{"auths": {"ghcr.io": {"auth": "` + basic("a:b") + `"}}}`, "ghcr.io/acme/app", authn.AuthConfig{Username: "user", Password: "a:b"}},
		{"user name and password", `{"auths": {"ghcr.io": {"username": "user", "password": "pass"}}}`, "ghcr.io/acme/app", up},
		{"auth before user name", `{"auths": {"ghcr.io": {"auth": "` + basic("pass") + `", "username": "x", "password": "y"}}}`, "ghcr.io/acme/app", up},
		{"identity token", `{"auths": {"acme.azurecr.io": {"auth": "` + basic("") + `", "identitytoken": "id"}}}`, "acme.azurecr.io/app", authn.AuthConfig{Username: "user", IdentityToken: "id"}},
		{"registry token", `{"auths": {"r.example": {"registrytoken": "bearer"}}}`, "r.example/app", authn.AuthConfig{RegistryToken: "bearer"}},
		{"scheme and version", `{"auths": {"https://r.example/v1/": {"username": "user", "password": "pass"}}}`, "r.example/app", up},
		{"port", `{"auths": {"localhost:5000": {"username": "user", "password": "pass"}}}`, "localhost:5000/app", up},
		{"other port", `{"auths": {"localhost:5001": {"username": "user", "password": "pass"}}}`, "localhost:5000/app", authn.AuthConfig{}},
		{"Docker Hub", `{"auths": {"https://index.docker.io/v1/": {"username": "user", "password": "pass"}}}`, "acme/app", up},
		{"Docker Hub by alias", `{"auths": {"docker.io": {"username": "user", "password": "pass"}}}`, "acme/app", up},
		{"docker's own spelling first", `{"auths": {"docker.io": {"username": "x", "password": "y"}, "https://index.docker.io/v1/": {"username": "user", "password": "pass"}}}`, "acme/app", up},
		{"path", `{"auths": {"ghcr.io": {"username": "x", "password": "y"}, "ghcr.io/acme": {"username": "user", "password": "pass"}}}`, "ghcr.io/acme/app", up},
		{"another's path", `{"auths": {"ghcr.io/acme": {"username": "x", "password": "y"}}}`, "ghcr.io/acme-labs/app", authn.AuthConfig{}},
		{"empty beside full", `{"auths": {"ghcr.io/acme": {}, "ghcr.io": {"username": "user", "password": "pass"}}}`, "ghcr.io/acme/app", up},
		{"empty login", `{"auths": {"ghcr.io": {}}}`, "ghcr.io/acme/app", authn.AuthConfig{}},
		{"no password", `{"auths": {"ghcr.io": {"auth": "` + basic("") + `"}}}`, "ghcr.io/acme/app", authn.AuthConfig{}},
		{"other host", `{"auths": {"ghcr.io": {"username": "user", "password": "pass"}}}`, "quay.io/acme/app", authn.AuthConfig{}},
		{"unknown keys", `{"HttpHeaders": {"a": "b"}, "proxies": 1, "auths": {"ghcr.io": {"username": "user", "password": "pass", "email": "e"}}}`, "ghcr.io/acme/app", up},
		{"broken login of another host", `{"auths": {"quay.io": {"auth": "%"}, "ghcr.io": {"username": "user", "password": "pass"}}}`, "ghcr.io/acme/app", up},
		{"empty file", " \n", "ghcr.io/acme/app", authn.AuthConfig{}},
		{"empty object", "{}", "ghcr.io/acme/app", authn.AuthConfig{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := dockerConfig(t, test.config)
			got := find(t, &Chain{Getenv: env.get}, Source, test.repo)
			if got.Auth != test.want {
				t.Errorf("found %+v, want %+v", got.Auth, test.want)
			}
			want := "docker config " + filepath.Join(env["DOCKER_CONFIG"], "config.json")
			if !got.Anonymous() && got.Origin != want {
				t.Errorf("origin %q, want %q", got.Origin, want)
			}
		})
	}
}

func TestDockerConfigInHome(t *testing.T) {
	home := t.TempDir()
	path := filepath.Join(home, ".docker", "config.json")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"auths": {"ghcr.io": {"username": "u", "password": "home"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got := find(t, &Chain{Getenv: environment{"HOME": home}.get}, Source, "ghcr.io/acme/app")
	if got.Auth.Password != "home" || got.Origin != "docker config "+path {
		t.Errorf("found %s", got)
	}

	elsewhere := environment{"HOME": home, "DOCKER_CONFIG": t.TempDir()}
	got = find(t, &Chain{Getenv: elsewhere.get}, Source, "ghcr.io/acme/app")
	if !got.Anonymous() {
		t.Errorf("found %s beside DOCKER_CONFIG", got)
	}
	if want := filepath.Join(elsewhere["DOCKER_CONFIG"], "config.json") + " does not exist"; !strings.Contains(got.Notice, want) {
		t.Errorf("notice %q does not say %q", got.Notice, want)
	}

	if got := find(t, &Chain{Getenv: environment{"HOME": t.TempDir()}.get}, Source, "ghcr.io/acme/app"); got.Notice != "" {
		t.Errorf("a home without docker is worth no notice: %q", got.Notice)
	}
}

func TestBrokenDockerConfig(t *testing.T) {
	for name, config := range map[string]string{
		"not JSON":         `auths: hunter2`,
		"cut":              `{"auths": {"ghcr.io": {"password": "hunter2`,
		"wrong type":       `{"auths": {"ghcr.io": "hunter2"}}`,
		"not base64":       `{"auths": {"ghcr.io": {"auth": "hunter2%%"}}}`,
		"no colon":         `{"auths": {"ghcr.io": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("hunter2")) + `"}}}`,
		"larger than 1MiB": `{"auths": {}, "x": "hunter2` + strings.Repeat("x", maxDockerFile) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			env := dockerConfig(t, config)
			_, err := (&Chain{Getenv: env.get}).Find(t.Context(), Source, repository(t, "ghcr.io/acme/app"))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), filepath.Join(env["DOCKER_CONFIG"], "config.json")) {
				t.Errorf("error does not name the path: %v", err)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the content: %v", err)
			}
		})
	}
}

func TestUnreadableDockerConfig(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := (&Chain{Getenv: environment{"DOCKER_CONFIG": dir}.get}).Find(t.Context(), Source, repository(t, "ghcr.io/acme/app"))
	if err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v, want one that names %s", err, path)
	}
}

// TestEndlessDockerConfig reads a file that never ends.
func TestEndlessDockerConfig(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/dev/zero", filepath.Join(dir, "config.json")); err != nil {
		t.Fatal(err)
	}
	_, err := (&Chain{Getenv: environment{"DOCKER_CONFIG": dir}.get}).Find(t.Context(), Source, repository(t, "ghcr.io/acme/app"))
	if err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("error %v", err)
	}
}

// TestInputsSpareDockerConfig: a broken config harms nobody who does not need it.
func TestInputsSpareDockerConfig(t *testing.T) {
	chain := &Chain{Target: Login{"u", "p"}, Getenv: dockerConfig(t, "broken").get}
	if got := find(t, chain, Target, "ghcr.io/acme/app"); got.Auth.Password != "p" {
		t.Errorf("found %s", got)
	}
}

func FuzzDockerAuth(f *testing.F) {
	f.Add(basic("pass"), "", "")
	f.Add("", "user", "pass")
	f.Add("bm9jb2xvbg", "user", "pass")
	f.Fuzz(func(t *testing.T, auth, user, password string) {
		got, err := dockerAuth{Auth: auth, Username: user, Password: password}.decode()
		switch {
		case err != nil && !errors.Is(err, errNotBasic):
			t.Errorf("error says more than it may: %v", err)
		case err != nil:
		case auth == "" && password != "" && got != authn.AuthConfig{Username: user, Password: password}:
			t.Errorf("decoded %+v", got)
		case got.Password == "" && got != authn.AuthConfig{}:
			t.Errorf("a login without a secret: %+v", got)
		}
	})
}
