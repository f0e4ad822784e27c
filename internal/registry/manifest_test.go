package registry

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
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

// Registries name a schema 1 manifest by the digest of it without its signatures.
// By tag it is handed over, so that its reader can say what is wrong with it.
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

// allocated is how much memory a function takes, released or not.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A manifest that does not end costs what a large one does, once.
func TestEndlessManifest(t *testing.T) {
	var sent atomic.Int64
	reg := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		b := bytes.Repeat([]byte(" "), 1<<16)
		for {
			n, err := w.Write(b)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	r := target(t, reg, "acme/app")
	var err error
	used := allocated(func() { _, err = r.GetManifest(t.Context(), "dev") })
	if !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMismatch) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if used > retry.MaxInvalid*48<<20 { // in all: a read that was refused is garbage before the next
		t.Errorf("%d MiB allocated", used>>20)
	}
	if sent.Load() > 64<<20 {
		t.Errorf("%d MiB sent before the connection was closed", sent.Load()>>20)
	}
	wantRequests(t, reg, "manifests/dev", retry.MaxInvalid)
}

// Nor does a manifest of nothings, of which each takes more room than it says.
func TestManifestOfNothings(t *testing.T) {
	body := []byte(`{"manifests":[0` + strings.Repeat(",0", (MaxManifest-20)/2) + "]}")
	a := &wire.Answer{Header: http.Header{}, Body: body}
	if used := allocated(func() { mediaType(a) }); used > 16<<20 {
		t.Errorf("%d MiB allocated to find the type of a manifest of 4 MiB", used>>20)
	}
}

func TestLargestManifest(t *testing.T) {
	t.Parallel()
	for _, size := range []int{MaxManifest, MaxManifest + 1} {
		body := []byte(emptyIndex + strings.Repeat(" ", size-len(emptyIndex)))
		reg := regtest.Serve(t, regtest.Options{Backend: manifestOf(body, "")})
		m, err := target(t, reg, "acme/app").GetManifest(t.Context(), "dev")
		if size == MaxManifest && (err != nil || len(m.Raw) != size) {
			t.Errorf("%d bytes, error %v", len(m.Raw), err)
		}
		if size > MaxManifest && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes, error %v, want ErrTooLarge", len(m.Raw), err)
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

// A registry that stores a rendering of its own has not stored the manifest.
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

func TestImmutableTag(t *testing.T) {
	t.Parallel()
	everyTag := func(string, string) bool { return true }
	first := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))

	reg := regtest.Serve(t, regtest.Options{Immutable: everyTag})
	r := target(t, reg, "acme/app")
	if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
		t.Errorf("the tag holds that digest already: %v", err)
	}
	_, err := r.PutManifest(t.Context(), "v1", second)
	if !errors.Is(err, ErrTagImmutable) {
		t.Errorf("error %v, want ErrTagImmutable", err)
	}

	// The first attempt wrote the tag, its answer was lost, and the second is refused.
	lost := regtest.Serve(t, regtest.Options{Immutable: everyTag, Wrap: regtest.ResetAfter(request(putTag))})
	if _, err := target(t, lost, "acme/app").PutManifest(t.Context(), "v1", first); err != nil {
		t.Errorf("the write whose answer was lost: %v", err)
	}
	wantRequests(t, lost, putTag, 2)
}

// The right to delete is asked for only when something is deleted, and for that
// request alone: a service that refuses it must not spoil what comes after.
func TestDeleteAsksForItsOwnRight(t *testing.T) {
	t.Parallel()
	refuse := strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.RawQuery, "delete") {
			status(http.StatusForbidden)(w, r, nil)
			return
		}
		next.ServeHTTP(w, r)
	})
	for _, refused := range []bool{false, true} {
		o := regtest.Options{Delete: true}
		if refused {
			o.Wrap = refuse
		}
		reg := guardedRegistry(t, regtest.Auth{}, o)
		fill(t, reg, "acme/app", "acme/other")
		c := client(t, logins("ci", secret))
		r := repository(t, c, credential.Target, reg.Host()+"/acme/app", Push)
		repository(t, c, credential.Target, reg.Host()+"/acme/other", Push)
		if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
			t.Fatal(err)
		}
		for _, q := range matching(reg, "/token$") {
			lacks(t, q.Query, "delete")
		}
		reg.ResetRequests()
		err := r.DeleteTag(t.Context(), "dev")
		if refused != errors.Is(err, ErrUnauthorized) || !refused && err != nil {
			t.Errorf("refused %v: error %v", refused, err)
		}
		tokens := matching(reg, "/token$")
		if len(tokens) != 1 || !strings.Contains(tokens[0].Query, "delete") || strings.Contains(tokens[0].Query, "other") {
			t.Errorf("tokens %+v, want one to delete in this repository", tokens)
		}
		reg.ResetRequests()
		if _, _, err := r.Tags(t.Context()); err != nil {
			t.Errorf("refused %v: after it: %v", refused, err)
		}
		wantRequests(t, reg, "/token$", 0)
	}
}

func TestDeleteThatIsNotSupported(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	if err := target(t, reg, "acme/app").DeleteTag(t.Context(), "dev"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error %v, want ErrUnsupported", err)
	}
}

func TestManifestThatRedirects(t *testing.T) {
	t.Parallel()
	there := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the other host got the authorization")
		}
		_, _ = io.WriteString(w, emptyIndex)
	})
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(1, getDev, status(http.StatusTemporaryRedirect, "Location", "http://"+there.Host()+"/x"))})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	m, err := r.GetManifest(t.Context(), "dev")
	if err != nil || string(m.Raw) != emptyIndex {
		t.Errorf("%q, error %v", m.Raw, err)
	}
	wantRequests(t, there, "^GET /x$", 1)
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	reg := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	r := target(t, reg, "acme/app")
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "more than 5 redirects")
	wantRequests(t, reg, "manifests/dev", 6)
	_, err = io.ReadAll(r.OpenBlob(t.Context(), v1.Descriptor{Digest: digestOf(nil), Size: 1}))
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "more than 5 redirects")
	wantRequests(t, reg, "blobs/", 6)
}

// zipped answers what the handler does, compressed.
func zipped(of func(path string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &recorded{header: w.Header()}
		next.ServeHTTP(c, r)
		if r.Method != http.MethodGet || !of(r.URL.Path) {
			w.WriteHeader(c.status)
			_, _ = w.Write(c.body.Bytes())
			return
		}
		w.Header().Del("Content-Length")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(c.status)
		z := gzip.NewWriter(w)
		_, _ = z.Write(c.body.Bytes())
		_ = z.Close()
	})
}

// TestUnaskedEncoding of manifests, lists and errors is undone; of a blob only where the
// digest is not of what was sent.
func TestUnaskedEncoding(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("text "), 200)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(text)
	_ = z.Close()
	layer := b.Bytes()
	reg := regtest.Serve(t, regtest.Options{Referrers: true, Wrap: func(next http.Handler) http.Handler {
		asSent := strings.TrimPrefix(sha(layer), "sha256:")
		marked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, asSent) && r.Method == http.MethodGet {
				w.Header().Set("Content-Encoding", "gzip") // as object storage does
			}
			next.ServeHTTP(w, r)
		})
		return zipped(func(path string) bool {
			return path != "/v2/" && !strings.HasSuffix(path, asSent) && !strings.HasSuffix(path, "/token")
		}, marked)
	}})
	whole := repository(t, client(t, nil), credential.Target, reg.Host()+"/acme/app", Push)
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	if _, err := whole.PutManifest(t.Context(), "dev", m); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"dev", m.Digest.String()} {
		if got, err := whole.GetManifest(t.Context(), ref); err != nil || got.Digest != m.Digest {
			t.Errorf("%s is %s, error %v", ref, got.Digest, err)
		}
	}
	if list, err := whole.Referrers(t.Context(), m.Digest); err != nil || len(list) != 0 {
		t.Errorf("%d referrers, error %v", len(list), err)
	}
	if tags, _, err := whole.Tags(t.Context()); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, error %v", tags, err)
	}
	for _, blob := range [][]byte{text, layer} {
		d := descriptor(blob)
		if _, err := whole.PutBlob(t.Context(), upload(blob)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(whole.OpenBlob(t.Context(), d)); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes of %d, error %v", len(got), len(blob), err)
		}
	}
}

// TestEncodingWithoutEnd is bounded, and one that nobody knows is refused.
func TestEncodingWithoutEnd(t *testing.T) {
	t.Parallel()
	for encoding, want := range map[string]error{"gzip": ErrTooLarge, "br": nil} {
		h := open200(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, 4*MaxManifest))
			_ = z.Close()
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			if _, err := r.GetManifest(t.Context(), "dev"); err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: error %v", encoding, err)
			}
		})
	}
}

const loginPage = "<!DOCTYPE html>\n<html><head><title>Sign in\nto continue</title></head><body></body></html>"

// TestPageForAManifest is never taken for content, whether or not its digest is named and
// although what is asked for by that digest is answered with it.
func TestPageForAManifest(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct{ kind, body string }{
		"a page":            {"text/html; charset=utf-8", loginPage},
		"a page as a list":  {string(types.OCIImageIndex), loginPage},
		"a page of text":    {"text/html", "please sign in"},
		"an object of JSON": {"application/json", `{"error":"login_required"}`},
		"a list of JSON":    {"application/json", `[]`},
	} {
		for _, header := range []string{"", sha([]byte(answer.body)), sha(nil)} {
			h := open200(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", answer.kind)
				if header != "" {
					w.Header().Set("Docker-Content-Digest", header)
				}
				_, _ = io.WriteString(w, answer.body)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				_, err := r.GetManifest(t.Context(), "dev")
				if header == sha(nil) && errors.Is(err, ErrMismatch) {
					return // also well
				}
				if !errors.Is(err, wire.ErrPage) {
					t.Errorf("%s: error %v", name, err)
				}
				contains(t, HintOf(err), "proxy", "login page")
				lacks(t, HintOf(err), "elete", "spelling")
				if strings.HasPrefix(answer.body, "<") {
					contains(t, err.Error(), `"Sign in to continue"`)
				}
			})
		}
	}
	bubble(t, open200(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, loginPage) }), func(t *testing.T, r *Repository) {
		if _, err := r.GetManifest(t.Context(), sha(nil)); !errors.Is(err, wire.ErrPage) {
			t.Errorf("by digest: %v", err)
		}
	})
}

// TestImmutableTagByBehaviour: whatever a registry answers to the write of a tag that
// exists, the tag is immutable where the same manifest is taken by its digest.
func TestImmutableTagByBehaviour(t *testing.T) {
	t.Parallel()
	first := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))
	every := func(string, string) bool { return true }
	for _, how := range []regtest.Immutability{
		regtest.ECRImmutable, regtest.HarborImmutable, regtest.ACRImmutable, regtest.NexusImmutable,
		regtest.ArtifactoryImmutable, regtest.ArtifactoryImmutable400, regtest.HubImmutable,
		{Status: 409, Code: "CONFLICT"}, {Status: 422},
	} {
		t.Run(fmt.Sprint(how.Status, how.Code), func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ImmutableTags(how, every)}})
			r := target(t, reg, "acme/app")
			for range 2 { // equal digest is success
				if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
					t.Fatal(err)
				}
			}
			_, err := r.PutManifest(t.Context(), "v1", second)
			if !errors.Is(err, ErrTagImmutable) || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrUnsupported) {
				t.Fatalf("error %v", err)
			}
			contains(t, err.Error(), "immutable", how.Code)
			contains(t, HintOf(err), "immutab")
			lacks(t, HintOf(err), "login-action")
		})
	}
}

// TestRefusalThatIsNotOfTheTag stays what it is, though the tag exists.
func TestRefusalThatIsNotOfTheTag(t *testing.T) {
	t.Parallel()
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))
	for _, test := range []struct {
		status int
		code   string
	}{{403, "DENIED"}, {401, "UNAUTHORIZED"}, {400, "MANIFEST_INVALID"}, {413, ""}, {400, "MANIFEST_BLOB_UNKNOWN"}} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel()
			// Every write is refused, by digest as well.
			reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, putTag, refusing(test.status, test.code))})
			tagged(t, reg, regtest.Access{}, "acme/app", "v1")
			var e *Error
			_, err := target(t, reg, "acme/app").PutManifest(t.Context(), "v1", second)
			if !errors.As(err, &e) || e.Status != test.status || errors.Is(err, ErrTagImmutable) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestRefusalAfterALostAnswer: the attempt whose answer was lost has written the manifest.
func TestRefusalAfterALostAnswer(t *testing.T) {
	t.Parallel()
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	for _, ref := range []string{"v1", m.Digest.String()} {
		var puts atomic.Int32
		reg := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case q.Method != http.MethodPut || q.UserAgent() == regtest.Agent:
					next.ServeHTTP(w, q)
				case puts.Add(1) == 1:
					next.ServeHTTP(&recorded{header: http.Header{}}, q)
					hangup(w, q, next)
				default:
					refusing(409, "CONFLICT")(w, q, next)
				}
			})
		}})
		if _, err := target(t, reg, "acme/app").PutManifest(t.Context(), ref, m); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestFreshImageIsScanned: for seconds its digest may not be pulled. What a target's tag
// holds is not waited for.
func TestFreshImageIsScanned(t *testing.T) {
	t.Parallel()
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	scanned := func(times int) http.HandlerFunc {
		return open200(strikes(times, "^GET /v2/acme/app/manifests/", refusing(412, "PROJECTPOLICYVIOLATION"))(manifestOf(m.Raw, m.Digest.String())).ServeHTTP)
	}
	for ref, side := range map[string]credential.Side{m.Digest.String(): credential.Target, "dev": credential.Source} {
		bubble(t, scanned(5), func(t *testing.T, r *Repository) {
			r.side = side
			if got, err := r.GetManifest(t.Context(), ref); err != nil || got.Digest != m.Digest {
				t.Errorf("%s at the %s: error %v", ref, side, err)
			}
		})
		bubble(t, scanned(always), func(t *testing.T, r *Repository) {
			r.side = side
			began := time.Now()
			if _, err := r.GetManifest(t.Context(), ref); !errors.Is(err, ErrPolicy) {
				t.Errorf("%s at the %s: error %v", ref, side, err)
			}
			took(t, began, 15*time.Second, 19*time.Second)
		})
	}
	bubble(t, scanned(always), func(t *testing.T, r *Repository) {
		r.side = credential.Target
		began := time.Now()
		if _, err := r.GetManifest(t.Context(), "production"); !errors.Is(err, ErrPolicy) {
			t.Errorf("error %v", err)
		}
		took(t, began, 0, time.Second)
	})
}

// TestManifestThatIsAPage: a proxy's page is no manifest, though it has a digest of its own, and the next answer may be one.
func TestManifestThatIsAPage(t *testing.T) {
	t.Parallel()
	for pages, heals := range map[int]bool{2: true, always: false} {
		page := strikes(pages, getDev, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>Sign in</html>")
		})
		reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: page})
		fill(t, reg, "acme/app")
		r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
		m, err := r.GetManifest(t.Context(), "dev")
		switch {
		case heals && (err != nil || string(m.Raw) != emptyIndex):
			t.Errorf("%q, error %v", m.Raw, err)
		case !heals && (err == nil || !strings.Contains(err.Error(), "a web page")):
			t.Errorf("%q, error %v", m.Raw, err)
		}
	}
}

// TestRefusalThatSaysNothingOfTheFirst: the refusal of a later attempt does not say what the first one did.
func TestRefusalThatSaysNothingOfTheFirst(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{true, false} {
		first := !lost
		reg := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !first {
				first = true
				hangup(w, r, nil)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		})
		_, err := target(t, reg, "acme/app").PutManifest(t.Context(), "dev", NewManifest(string(types.OCIImageIndex), []byte(emptyIndex)))
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Unanswered != lost {
			t.Errorf("lost %v: %+v", lost, err)
		}
	}
}
