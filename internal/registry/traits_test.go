package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func digestOf(text string) string { return registry.NewManifest("", []byte(text)).Digest.String() }

// openTarget opens the target acme/app on a registry.
func openTarget(t *testing.T, r *regtest.Registry) *registry.Repository {
	t.Helper()
	return openWith(t, r, nil)
}

func openWith(t *testing.T, r *regtest.Registry, chain *credential.Chain) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository(r.Host() + "/acme/app")
	if err != nil {
		t.Fatal(err)
	}
	c := registry.New(registry.Options{Dial: r.Dial(), Credentials: chain})
	t.Cleanup(c.Close)
	opened, err := c.Open(t.Context(), credential.Target, n, registry.Push)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// inMemory runs a test where time passes as soon as everybody waits, with a network within the process.
func inMemory(t *testing.T, test func(t *testing.T, m *regtest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := regtest.NewMemory()
		defer m.Close() // before the registries, which wait for their connections
		test(t, m)
	})
}

// TestSeveralErrorsOfOneAnswer: the second error tells why. Its detail is shown, whether it is a text or an object, and
// it is waited for as for a blob that is not seen yet, not for as long as for a host in trouble.
func TestSeveralErrorsOfOneAnswer(t *testing.T) {
	t.Parallel()
	foreign := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},`+
		`"layers":[{"mediaType":%q,"digest":%q,"size":5,"urls":["https://example.test/layer"]}]}`,
		manifestType, digestOf("{}"), "application/vnd.oci.image.layer.nondistributable.v1.tar", digestOf("layer"))
	for _, detail := range []any{"unknown layer sha256:feed", map[string]string{"Digest": "sha256:feed"}} {
		inMemory(t, func(t *testing.T, m *regtest.Memory) {
			reg := regtest.Serve(t, regtest.Options{Memory: m, Traits: []regtest.Trait{regtest.SeveralErrors(detail)}})
			began := time.Now()
			_, err := openTarget(t, reg).PutManifest(t.Context(), "dev", registry.NewManifest(manifestType, []byte(foreign)))
			var e *registry.Error
			if !errors.As(err, &e) || e.Code != "MANIFEST_BLOB_UNKNOWN" || !strings.Contains(e.Detail, "sha256:feed") {
				t.Errorf("%v: error %v", detail, err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%v: it took %v", detail, took)
			}
		})
	}
}

// TestPageOfTagsWithoutWhatIsNext: what the registry lists is taken; that this is all of it nobody has said.
func TestPageOfTagsWithoutWhatIsNext(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.FullPageWithoutLink(registry.TagPage)}})
	image := regtest.Build(regtest.Spec{})
	var tags []string
	for n := range registry.TagPage + 5 {
		tags = append(tags, fmt.Sprintf("v%04d", n))
	}
	if err := image.Push(t.Context(), reg.Access("", ""), "acme/app", tags...); err != nil {
		t.Fatal(err)
	}
	got, all, err := openTarget(t, reg).Tags(t.Context())
	if err != nil || all || !slices.Equal(got, tags[:registry.TagPage]) {
		t.Errorf("%d tags, all %v, error %v", len(got), all, err)
	}
}

// TestBlobThatIsTooLargeInOnePiece is sent in chunks.
func TestBlobThatIsTooLargeInOnePiece(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.MonolithicLimit(1 << 20)}})
	blob := strings.Repeat("x", 3<<20)
	digest := registry.NewManifest("", []byte(blob)).Digest
	target := openTarget(t, reg)
	_, err := target.PutBlob(t.Context(), registry.Upload{
		Blob: v1.Descriptor{Digest: digest, Size: int64(len(blob))},
		Open: func(context.Context) io.ReadCloser { return io.NopCloser(strings.NewReader(blob)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if there, err := target.HasBlob(t.Context(), digest); err != nil || !there {
		t.Errorf("there %v, error %v", there, err)
	}
	refused, chunks := 0, 0
	for _, q := range reg.Requests() {
		switch {
		case q.Method == http.MethodPut && q.Status == http.StatusBadRequest:
			refused++
		case q.Method == http.MethodPatch:
			chunks++
		}
	}
	if refused == 0 || chunks == 0 {
		t.Errorf("%d refusals, %d chunks", refused, chunks)
	}
}

// TestTokenOfTheRegistryWithoutTheRight: a credential that is a token itself is good for reading. The registry answers
// 401 with insufficient_scope to a write: the login is not what is wrong.
func TestTokenOfTheRegistryWithoutTheRight(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Unauthorized: true, Users: map[string]regtest.User{
		"reader": {Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}},
	}}})
	config := fmt.Sprintf(`{"auths":{%q:{"registrytoken":%q}}}`, reg.Host(), tokenFor(t, reg, "repository:acme/app:pull"))
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	chain := &credential.Chain{Getenv: func(key string) string { return map[string]string{"DOCKER_CONFIG": folder}[key] }}
	_, err := openWith(t, reg, chain).PutManifest(t.Context(), "dev", registry.NewManifest(manifestType, []byte(`{"schemaVersion":2}`)))
	if !errors.Is(err, registry.ErrUnauthorized) || !strings.Contains(registry.HintOf(err), "The login was accepted, the right to push is missing") {
		t.Errorf("error %v, hint %s", err, registry.HintOf(err))
	}
}

// tokenFor asks the token service as the reader.
func tokenFor(t *testing.T, r *regtest.Registry, scope string) string {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Host()+"/token?scope="+scope, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	q.SetBasicAuth("reader", "secret")
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	var token struct{ Token string }
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil || token.Token == "" {
		t.Fatalf("token %+v, error %v", token, err)
	}
	return token.Token
}
