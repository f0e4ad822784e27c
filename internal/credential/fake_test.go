package credential

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

func repository(t *testing.T, text string) name.Repository {
	t.Helper()
	repo, err := name.NewRepository(text)
	if err != nil {
		t.Fatalf("parse repository: %v", err)
	}
	return repo
}

// environment is a Getenv over literal variables.
type environment map[string]string

func (e environment) get(key string) string { return e[key] }

func (e environment) with(more environment) environment {
	merged := maps.Clone(e)
	maps.Copy(merged, more)
	return merged
}

// writeFile puts a file into a new directory and returns its path.
func writeFile(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
	return path
}

// dockerConfig writes a docker config and returns the environment that names it.
func dockerConfig(t *testing.T, content string) environment {
	t.Helper()
	return environment{"DOCKER_CONFIG": filepath.Dir(writeFile(t, "config.json", content, 0o600))}
}

// find fails the test on an error.
func find(t *testing.T, c *Chain, side Side, repo string) Credential {
	t.Helper()
	found, err := c.Find(t.Context(), side, repository(t, repo))
	if err != nil {
		t.Fatalf("find the credential for %s: %v", repo, err)
	}
	return found
}

// hosts is a transport that hands each host's requests to its handler, and an
// error to a host that has none.
type hosts map[string]http.HandlerFunc

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	handler := h[r.URL.Host]
	if handler == nil {
		return nil, http.ErrServerClosed
	}
	answer := httptest.NewRecorder()
	handler(answer, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}
