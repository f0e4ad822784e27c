package credential

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// serviceAccount writes a new service account's key file. Its token service is
// token.example.
func serviceAccount(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type":         "service_account",
		"client_email": "promote@acme.iam.gserviceaccount.com",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"token_uri":    "https://token.example",
	})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "key.json", string(file), 0o600)
}

// federation writes what google-github-actions/auth writes for a workload
// identity provider.
func federation(t *testing.T) string {
	t.Helper()
	return writeFile(t, "gha-creds.json", `{
  "type": "external_account",
  "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/g",
  "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
  "token_url": "https://sts.example/v1/token",
  "credential_source": {
    "url": "https://runner.example/id?audience=x",
    "headers": {"Authorization": "Bearer hunter2"},
    "format": {"type": "json", "subject_token_field_name": "value"}
  }
}`, 0o600)
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}
}

const googleRepository = "europe-west1-docker.pkg.dev/acme/team/app"

func TestGoogle(t *testing.T) {
	var calls atomic.Int32
	services := hosts{
		"token.example": func(w http.ResponseWriter, r *http.Request) {
			// The first answer is a passing fault.
			if calls.Add(1) == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if r.FormValue("assertion") == "" {
				t.Error("no assertion")
			}
			answer(200, `{"access_token": "from-key", "expires_in": 3600}`)(w, r)
		},
		"runner.example": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer hunter2" {
				t.Error("no authorization")
			}
			answer(200, `{"value": "id-token"}`)(w, r)
		},
		"sts.example": func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("subject_token") != "id-token" {
				t.Errorf("subject token %q", r.FormValue("subject_token"))
			}
			answer(200, `{"access_token": "federated", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": 3600}`)(w, r)
		},
		"metadata.example": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
				t.Errorf("asked %s %v", r.URL, r.Header)
			}
			answer(200, `{"access_token": "from-metadata"}`)(w, r)
		},
	}
	key := serviceAccount(t)
	for _, test := range []struct {
		name, want, origin string
		env                environment
	}{
		{"key", "from-key", "GOOGLE_APPLICATION_CREDENTIALS", environment{"GOOGLE_APPLICATION_CREDENTIALS": key}},
		{"federation", "federated", "GOOGLE_GHA_CREDS_PATH", environment{"GOOGLE_GHA_CREDS_PATH": federation(t), "CLOUDSDK_AUTH_ACCESS_TOKEN": "x"}},
		{"access token", "given", "CLOUDSDK_AUTH_ACCESS_TOKEN", environment{"CLOUDSDK_AUTH_ACCESS_TOKEN": "given", "GCE_METADATA_HOST": "metadata.example"}},
		{"metadata", "from-metadata", "GCE_METADATA_HOST", environment{"GCE_METADATA_HOST": "metadata.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := find(t, &Chain{Getenv: test.env.get, transport: services}, Target, googleRepository)
			want := authn.AuthConfig{Username: "oauth2accesstoken", Password: test.want}
			if got.Auth != want || got.Origin != "Google Cloud ("+test.origin+")" {
				t.Errorf("found %s %+v, want %+v", got, got.Auth, want)
			}
		})
	}
}

func TestGoogleNeedsVariables(t *testing.T) {
	if got := find(t, &Chain{transport: hosts{}}, Target, googleRepository); !got.Anonymous() || got.Notice != "" {
		t.Errorf("found %s, notice %q", got, got.Notice)
	}
	env := environment{"CLOUDSDK_AUTH_ACCESS_TOKEN": "given"}
	if got := find(t, &Chain{Getenv: env.get}, Target, "pkg.dev.example/app"); !got.Anonymous() {
		t.Errorf("a stranger's host got %s", got)
	}
}

func TestGoogleRefuses(t *testing.T) {
	key := serviceAccount(t)
	for _, test := range []struct {
		name, path, want string
		handler          http.HandlerFunc
	}{
		{"refused", key, `400 Bad Request: invalid_grant: Invalid JWT`, answer(400, `{"error": "invalid_grant", "error_description": "Invalid JWT"}`)},
		{"refused without words", key, `403 Forbidden; check GOOGLE_APPLICATION_CREDENTIALS`, answer(403, `<html>hunter2`)},
		{"redirected", key, "307 Temporary Redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://elsewhere.example", http.StatusTemporaryRedirect)
		}},
		{"missing", "/nowhere/key.json", "/nowhere/key.json", nil},
		{"not JSON", writeFile(t, "a.json", "hunter2", 0o600), "is no credentials file", nil},
		{"unknown type", writeFile(t, "b.json", `{"type": "hunter2"}`, 0o600), "is no credentials file", nil},
		{"no key", writeFile(t, "c.json", `{"type": "service_account", "private_key": "hunter2", "token_uri": "https://token.example"}`, 0o600), "private key", nil},
		{"too large", writeFile(t, "d.json", strings.Repeat(" ", maxGoogleFile+1), 0o600), "larger than", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			services := hosts{"token.example": test.handler, "elsewhere.example": func(http.ResponseWriter, *http.Request) {
				t.Error("the secret went elsewhere")
			}}
			env := environment{"GOOGLE_APPLICATION_CREDENTIALS": test.path}
			got := find(t, &Chain{Getenv: env.get, transport: services}, Source, googleRepository)
			if !got.Anonymous() || !strings.Contains(got.Notice, test.want) {
				t.Errorf("found %s, notice %q, want %q", got, got.Notice, test.want)
			}
			if strings.Contains(got.Notice, "hunter2") {
				t.Errorf("notice shows a secret: %s", got.Notice)
			}
			_, err := (&Chain{Getenv: env.get, transport: services}).Find(t.Context(), Target, repository(t, googleRepository))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("target: error %v, want %q", err, test.want)
			}
		})
	}
}

func TestMetadataWithoutToken(t *testing.T) {
	env := environment{"GCE_METADATA_HOST": "metadata.example"}
	services := hosts{"metadata.example": answer(200, `{}`)}
	got := find(t, &Chain{Getenv: env.get, transport: services}, Source, googleRepository)
	if !got.Anonymous() || !strings.Contains(got.Notice, "holds no token") {
		t.Errorf("found %s, notice %q", got, got.Notice)
	}
}

// TestGoogleEndsWithContext: oauth2 sends a key's assertion without a context.
func TestGoogleEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the run was cancelled")
	services := hosts{"token.example": func(_ http.ResponseWriter, r *http.Request) {
		cancel(cause)
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
			t.Error("the request outlived its context")
		}
	}}
	env := environment{"GOOGLE_APPLICATION_CREDENTIALS": serviceAccount(t)}
	_, err := (&Chain{Getenv: env.get, transport: services}).Find(ctx, Source, repository(t, googleRepository))
	if !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
}
