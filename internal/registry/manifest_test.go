package registry

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const putTag = "^PUT /v2/acme/app/manifests/"

func TestManifestRoundTrip(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Delete: true})
	r := target(t, reg, "acme/app")
	want := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	if _, err := r.GetManifest(t.Context(), "dev"); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized) {
		t.Errorf("error %v, want that of a missing manifest", err)
	}
	if there, err := r.HasManifest(t.Context(), want.Digest); err != nil || there {
		t.Errorf("there %v, error %v before it was written", there, err)
	}
	if _, err := r.PutManifest(t.Context(), "dev", want); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"dev", want.Digest.String()} {
		got, err := r.GetManifest(t.Context(), ref)
		if err != nil || got.Digest != want.Digest || got.MediaType != want.MediaType || !bytes.Equal(got.Raw, want.Raw) {
			t.Errorf("%s is %+v, error %v", ref, got, err)
		}
	}
	if there, err := r.HasManifest(t.Context(), want.Digest); err != nil || !there {
		t.Errorf("there %v, error %v after it was written", there, err)
	}
	if err := r.DeleteTag(t.Context(), "dev"); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteTag(t.Context(), "dev"); err != nil {
		t.Errorf("deleting a tag that is gone: %v", err)
	}
	if _, err := r.GetManifest(t.Context(), "dev"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want that of a missing manifest", err)
	}
}

func TestLookThatIsRefused(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, "^(HEAD|GET) /v2/acme/app/", status(http.StatusForbidden))})
	r := target(t, reg, "acme/app")
	for _, look := range []func() (bool, error){
		func() (bool, error) { return r.HasManifest(t.Context(), digestOf(nil)) },
		func() (bool, error) { return r.HasBlob(t.Context(), digestOf(nil)) },
	} {
		if there, err := look(); there || !errors.Is(err, ErrUnauthorized) {
			t.Errorf("there %v, error %v", there, err)
		}
	}
}

func TestLookThatGetsNoAnswer(t *testing.T) {
	t.Parallel()
	r := repository(t, (&world{}).client(t, nil, nil), credential.Source, "registry.example/acme/app", Pull)
	if there, err := r.HasBlob(t.Context(), digestOf(nil)); there || err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("there %v, error %v", there, err)
	}
}

func TestFlippedByteInManifest(t *testing.T) {
	t.Parallel()
	digest := digestOf([]byte(emptyIndex)).String()
	for _, ref := range []string{"dev", digest} {
		reg := regtest.Serve(t, regtest.Options{Wrap: strikes(1, "^GET /v2/acme/app/manifests/", changed(flip))})
		tagged(t, reg, regtest.Access{}, "acme/app", "dev")
		m, err := target(t, reg, "acme/app").GetManifest(t.Context(), ref)
		if err != nil || string(m.Raw) != emptyIndex {
			t.Errorf("%s: %q, error %v", ref, m.Raw, err)
		}
		wantRequests(t, reg, "^GET /v2/acme/app/manifests/", 2)
	}
}

// manifestOf answers every manifest GET with a body and a digest header.
func manifestOf(body []byte, header string) http.HandlerFunc {
	return open200(func(w http.ResponseWriter, _ *http.Request) {
		if header != "" {
			w.Header().Set("Docker-Content-Digest", header)
		}
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = w.Write(body)
	})
}

func TestManifestAndItsDigests(t *testing.T) {
	t.Parallel()
	body := []byte(emptyIndex)
	sum := sha512.Sum512(body)
	right, other, long := sha(body), sha(flip(body)), "sha512:"+hex.EncodeToString(sum[:])
	for _, test := range []struct {
		name, ref, header string
		want              string // the manifest's digest; empty: ErrMismatch
	}{
		{"by tag", "dev", right, right},
		{"by tag, no header", "dev", "", right},
		{"by tag, wrong header", "dev", other, ""},
		{"by tag, header in another algorithm", "dev", long, right},
		{"by tag, header cut short", "dev", "sha256:12", ""},
		{"by digest", right, right, right},
		{"by digest, no header", right, "", right},
		{"by digest, wrong header", right, other, right},
		{"by another digest", other, other, ""},
		{"by sha512", long, "", long},
		{"by another sha512", "sha512:" + strings.Repeat("0", 128), long, ""},
		{"by a digest of an unknown algorithm", "md5:00", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, manifestOf(body, test.header), func(t *testing.T, r *Repository) {
				m, err := r.GetManifest(t.Context(), test.ref)
				if test.want != "" && (err != nil || m.Digest.String() != test.want) {
					t.Errorf("%s, error %v, want %s", m.Digest, err, test.want)
				}
				if test.want == "" && (err == nil || m.Raw != nil) {
					t.Errorf("%s, error %v, want none and ErrMismatch", m.Digest, err)
				}
				if test.want == "" && !strings.HasPrefix(test.ref, "md5") && !errors.Is(err, ErrMismatch) {
					t.Errorf("error %v, want ErrMismatch", err)
				}
			})
		})
	}
}

// The digest of a schema 1 manifest leaves out its signatures. A read by tag returns it, so that
// the caller can report the type.
func TestSchema1(t *testing.T) {
	t.Parallel()
	body := []byte(`{"schemaVersion":1,"fsLayers":[],"signatures":[{}]}`)
	h := open200(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", string(types.DockerManifestSchema1Signed))
		w.Header().Set("Docker-Content-Digest", sha([]byte("payload")))
		_, _ = w.Write(body)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		m, err := r.GetManifest(t.Context(), "dev")
		if err != nil || m.MediaType != string(types.DockerManifestSchema1Signed) {
			t.Errorf("%q, error %v", m.MediaType, err)
		}
		if m, err = r.GetManifest(t.Context(), sha([]byte("payload"))); !errors.Is(err, ErrMismatch) || m.Raw != nil {
			t.Errorf("by digest: %q, error %v: nothing proves these bytes", m.Raw, err)
		}
	})
}

func TestMediaType(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ body, sent, want string }{
		{`{"mediaType":"stated/type"}`, "sent/manifest", "stated/type"},
		{`{}`, string(types.DockerManifestSchema2) + "; charset=utf-8", string(types.DockerManifestSchema2)},
		{`{"manifests":[]}`, "application/json", string(types.OCIImageIndex)},
		{`{"manifests":[]}`, "", string(types.OCIImageIndex)},
		{`{"manifests":null,"config":{}}`, "", string(types.OCIManifestSchema1)},
		{`{"manifests":{}}`, "", string(types.OCIManifestSchema1)},
		{`{"schemaVersion":1}`, "text/plain", string(types.DockerManifestSchema1)},
		{`{"mediaType":7,"manifests":[]}`, "", string(types.OCIImageIndex)},
		{`not JSON`, "text/html", string(types.OCIManifestSchema1)},
	} {
		a := &wire.Answer{Header: http.Header{"Content-Type": {test.sent}}, Body: []byte(test.body)}
		if got := mediaType(a); got != test.want {
			t.Errorf("%s sent as %q is %s, want %s", test.body, test.sent, got, test.want)
		}
	}
}

func TestWriteManifestAgain(t *testing.T) {
	t.Parallel()
	other := sha([]byte("other"))
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		want error
	}{
		{"500", regtest.FailOnce(request(putTag), 500), nil},
		{"reset before", regtest.ResetBefore(request(putTag)), nil},
		{"lost answer", regtest.ResetAfter(request(putTag)), nil},
		{"wrong digest once", strikes(1, putTag, status(http.StatusCreated, "Docker-Content-Digest", other)), nil},
		{"no digest", strikes(1, putTag, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			c := &recorded{header: http.Header{}}
			next.ServeHTTP(c, r)
			w.WriteHeader(c.status)
		}), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
			if _, err := target(t, reg, "acme/app").PutManifest(t.Context(), "dev", m); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if got, _, err := regtest.TagDigest(t.Context(), reg.Access("", ""), "acme/app", "dev"); err != nil || got != m.Digest.String() {
				t.Errorf("the tag holds %q, error %v", got, err)
			}
		})
	}
}

// A registry that encodes the manifest again has not stored it.
func TestRegistryThatStoresSomethingElse(t *testing.T) {
	t.Parallel()
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		status(http.StatusCreated, "Docker-Content-Digest", sha([]byte("other")))(w, r, nil)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		_, err := r.PutManifest(t.Context(), "dev", NewManifest(string(types.OCIImageIndex), []byte(emptyIndex)))
		if !errors.Is(err, ErrMismatch) {
			t.Errorf("error %v, want ErrMismatch", err)
		}
	})
}

func TestIndexedSubject(t *testing.T) {
	t.Parallel()
	for _, api := range []bool{true, false} {
		reg := regtest.Serve(t, regtest.Options{Referrers: api})
		subject := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
		body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"artifactType":"a/b","subject":{"mediaType":"` +
			subject.MediaType + `","digest":"` + subject.Digest.String() + `","size":1}}`
		m := NewManifest(string(types.OCIImageIndex), []byte(body))
		indexed, err := target(t, reg, "acme/app").PutManifest(t.Context(), m.Digest.String(), m)
		if err != nil || indexed != api {
			t.Errorf("API %v: indexed %v, error %v", api, indexed, err)
		}
	}
}
