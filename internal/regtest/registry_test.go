package regtest_test

import (
	"crypto/x509"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func TestRequestsAreLoggedInOrder(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: oneUser()})
	i := regtest.Build(regtest.Spec{LayerSize: 5000})
	push(t, i, r.Access("ann", "secret"), "acme/app", "v1")
	r.ResetRequests()
	if _, _, err := regtest.TagDigest(t.Context(), r.Access("bob", "secret"), "acme/app", "v1"); err != nil {
		t.Fatal(err)
	}
	if _, exists, err := regtest.TagDigest(t.Context(), r.Access("bob", "secret"), "acme/app", "none"); exists || err != nil {
		t.Fatal(exists, err)
	}
	want := []regtest.Request{
		{Method: "GET", Path: "/v2/acme/app/manifests/v1", Status: 401},
		{Method: "GET", Path: "/token", Status: 200, User: "bob"},
		{Method: "GET", Path: "/v2/acme/app/manifests/v1", Status: 200, User: "bob"},
		{Method: "GET", Path: "/v2/acme/app/manifests/none", Status: 401},
		{Method: "GET", Path: "/token", Status: 200, User: "bob"},
		{Method: "GET", Path: "/v2/acme/app/manifests/none", Status: 404, User: "bob"},
	}
	got := r.Requests()
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d: %+v", len(got), len(want), got)
	}
	for n, w := range want {
		g := got[n]
		if g.Method != w.Method || g.Path != w.Path || g.Status != w.Status || g.User != w.User || g.Agent != regtest.Agent {
			t.Errorf("request %d: %+v, want %+v", n, g, w)
		}
	}
	if got[1].Query != "scope=repository%3Aacme%2Fapp%3Apull&service=registry.test" {
		t.Errorf("query %s", got[1].Query)
	}
	if size := int64(len(i.Manifest(i.Root).Bytes)); got[2].Sent != size {
		t.Errorf("%d bytes sent, want %d", got[2].Sent, size)
	}
}

func TestRequestsHaveTheLastStatus(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusTeapot)
		}
	})})
	for path, want := range map[string]int{"/": 200, "/tea": 418} {
		r.ResetRequests()
		ask(t, "GET", "http://"+r.Host()+path, nil, "")
		if got := r.Requests(); len(got) != 1 || got[0].Status != want {
			t.Errorf("%s: %+v, want status %d", path, got, want)
		}
	}
}

func TestRequestsCountReceivedBytes(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	if _, err := regtest.PutBlob(t.Context(), r.Access("", ""), "acme/app", make([]byte, 12345)); err != nil {
		t.Fatal(err)
	}
	var received int64
	for _, q := range r.Requests() {
		received += q.Received
	}
	if received != 12345 {
		t.Errorf("%d bytes received, want 12345", received)
	}
}

func TestTLS(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{TLS: true, Auth: oneUser()})
	push(t, regtest.Build(regtest.Spec{}), r.Access("ann", "secret"), "acme/app", "v1")
	read(t, r.Access("ann", "secret"), "acme/app", "v1")
	if !x509.NewCertPool().AppendCertsFromPEM(r.CAPEM()) {
		t.Error("CAPEM is no certificate")
	}
	answer, err := http.Get("https://" + r.Host() + "/v2/")
	if err == nil {
		_ = answer.Body.Close()
		t.Fatal("a certificate of nobody's authority is trusted")
	}
	if regtest.Serve(t, regtest.Options{}).CAPEM() != nil {
		t.Error("an authority without TLS")
	}
}

// The store must not go while a handler works on it.
func TestCloseWaitsForHandlers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		var over atomic.Bool
		begun := make(chan struct{})
		r, err := regtest.Start(regtest.Options{Memory: m, Backend: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
			time.Sleep(time.Second)
			over.Store(true)
		})})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			if answer, err := r.Access("", "").Client.Get("http://" + r.Host()); err == nil {
				_ = answer.Body.Close()
			}
		}()
		<-begun
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if !over.Load() {
			t.Error("a handler outlives the registry")
		}
	})
}

func TestImmutableTags(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Immutable: func(repository, tag string) bool {
		return repository == "acme/app" && !strings.HasPrefix(tag, "sha256-")
	}})
	at := r.Access("", "")
	one, two := regtest.Build(regtest.Spec{Seed: "1"}), regtest.Build(regtest.Spec{Seed: "2"})
	one.Attach(one.Root, "application/vnd.example.one", "a")
	one.Attach(one.Root, "application/vnd.example.one", "b") // writes the fallback tag again
	push(t, one, at, "acme/app", "v1")
	push(t, two, at, "acme/app", "v2")
	push(t, one, at, "acme/free", "v1")
	push(t, two, at, "acme/free", "v1")
	for _, i := range []*regtest.Image{one, two} {
		err := regtest.PutTag(t.Context(), at, "acme/app", "v1", i.Root)
		if err == nil || !strings.Contains(err.Error(), "status 400") || !strings.Contains(err.Error(), "TAG_INVALID") {
			t.Errorf("tag written again: %v", err)
		}
	}
	push(t, one, at, "acme/app") // by digest
	digest, exists, err := regtest.TagDigest(t.Context(), at, "acme/app", "v1")
	if err != nil || !exists || digest != one.Root {
		t.Errorf("tag is %s, %v, %v", digest, exists, err)
	}
}

func TestDelete(t *testing.T) {
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	closed, open := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Delete: true})
	push(t, i, closed.Access("", ""), "acme/app", "v1")
	if err := regtest.DeleteManifest(t.Context(), closed.Access("", ""), "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "405") {
		t.Errorf("delete where it is off: %v", err)
	}
	at := open.Access("", "")
	push(t, i, at, "acme/app", "v1", "v2")
	if err := regtest.DeleteManifest(t.Context(), at, "acme/app", "v2"); err != nil {
		t.Fatal(err)
	}
	if tags, err := regtest.Tags(t.Context(), at, "acme/app"); err != nil || strings.Join(tags, " ") != "v1" {
		t.Errorf("tags %v, %v", tags, err)
	}
	read(t, at, "acme/app", "v1")
	if err := regtest.DeleteManifest(t.Context(), at, "acme/app", i.Children()[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := regtest.Read(t.Context(), at, "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), i.Children()[1]) {
		t.Errorf("sparse index: %v", err)
	}
	if _, exists, err := regtest.TagDigest(t.Context(), at, "acme/app", "v1"); !exists || err != nil {
		t.Errorf("index itself: %v, %v", exists, err)
	}
}

// olareg loses referrers that come at once, and takes what is written again.
func TestReferrersWrittenAgainAreListed(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Referrers: true})
	at := r.Access("", "")
	i := regtest.Build(regtest.Spec{})
	push(t, i, at, "acme/app", "v1")
	const count = 40
	for n := range count {
		i.Attach(i.Root, "application/vnd.example.one", string(rune('a'+n)))
	}
	for _, b := range i.Blobs {
		text := make([]byte, b.Size)
		if _, err := b.Open().Read(text); err != nil {
			t.Fatal(err)
		}
		if _, err := regtest.PutBlob(t.Context(), at, "acme/app", text); err != nil {
			t.Fatal(err)
		}
	}
	put := func(m *regtest.Manifest) {
		if err := regtest.PutManifest(t.Context(), at, "acme/app", m.Digest, m.MediaType, m.Bytes); err != nil {
			t.Error(err)
		}
	}
	var group sync.WaitGroup
	for _, m := range i.Manifests {
		group.Go(func() { put(m) })
	}
	group.Wait()
	for _, m := range i.Manifests {
		put(m)
	}
	if got := len(read(t, at, "acme/app", "v1").Listed[i.Root]); got != count {
		t.Errorf("%d referrers listed, want %d", got, count)
	}
}

func TestReferrerPages(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Referrers: true, ReferrersPage: 1000})
	i := regtest.Build(regtest.Spec{})
	for n := range 12 {
		i.Attach(i.Root, "application/vnd.example.one", string(rune('a'+n)))
	}
	push(t, i, r.Access("", ""), "acme/app", "v1")
	r.ResetRequests()
	if got := len(read(t, r.Access("", ""), "acme/app", "v1").Listed[i.Root]); got != 12 {
		t.Errorf("%d referrers, want 12", got)
	}
	pages := 0
	for _, q := range r.Requests() {
		if q.Path == "/v2/acme/app/referrers/"+i.Root {
			pages++
		}
	}
	if pages < 4 {
		t.Errorf("%d pages, want several", pages)
	}
}

// A client must name the exact type: olareg's own way, kept because some registries share it.
func TestAcceptIsExact(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	push(t, i, r.Access("", ""), "acme/app", "v1")
	address := "http://" + r.Host() + "/v2/acme/app/manifests/" + i.Root
	for accept, want := range map[string]int{"*/*": 404, "application/vnd.oci.image.index.v1+json": 200} {
		if answer, _ := ask(t, "GET", address, map[string]string{"Accept": accept}, ""); answer.StatusCode != want {
			t.Errorf("Accept %s: status %d, want %d", accept, answer.StatusCode, want)
		}
	}
}

func TestForeignLayersMayBeAbsentAtSource(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Delete: true})
	at := r.Access("", "")
	i := regtest.Build(regtest.Spec{Foreign: 1})
	if err := i.Push(t.Context(), at, "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("push without the foreign layer: %v", err)
	}
	if err := i.PushForeign(t.Context(), at, "acme/app"); err != nil {
		t.Fatal(err)
	}
	push(t, i, at, "acme/app", "v1")
	for _, b := range i.Blobs {
		if b.Foreign {
			if err := regtest.DeleteBlob(t.Context(), at, "acme/app", b.Digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	read(t, at, "acme/app", "v1")
}
