package regtest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

func TestHollowReadsAsHeld(t *testing.T) {
	h := regtest.NewHollow()
	i := regtest.Build(regtest.Spec{Seed: "hollow", Platforms: []string{"linux/amd64", "linux/arm64"}, LayerSize: 300_000})
	i.Sign(i.Root, ".sig", "s")
	h.Hold(i, "acme/app", "v1")
	r := regtest.Serve(t, regtest.Options{Backend: h, Auth: oneUser()})
	tree := read(t, r.Access("ann", "secret"), "acme/app", "v1")
	if len(tree.Nodes) != len(i.Manifests) {
		t.Errorf("%d manifests, want %d", len(tree.Nodes), len(i.Manifests))
	}
}

func TestHollowTakesAndForgets(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Backend: regtest.NewHollow()})
	i := regtest.Build(regtest.Spec{Seed: "hollow", LayerSize: 300_000})
	push(t, i, r.Access("", ""), "acme/app", "v1")
	if digest, exists, err := regtest.TagDigest(t.Context(), r.Access("", ""), "acme/app", "v1"); !exists || err != nil || digest != i.Root {
		t.Error(digest, exists, err)
	}
	blob := "http://" + r.Host() + "/v2/acme/app/blobs/" + i.Blobs[0].Digest
	if answer, _ := ask(t, http.MethodHead, blob, nil, ""); answer.StatusCode != http.StatusOK || answer.ContentLength != i.Blobs[0].Size {
		t.Errorf("HEAD: %d, %d bytes", answer.StatusCode, answer.ContentLength)
	}
	if answer, _ := ask(t, http.MethodGet, blob, nil, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("GET: %d", answer.StatusCode)
	}
}

func TestHollowChecksWhatIsWritten(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Backend: regtest.NewHollow()})
	address := "http://" + r.Host() + "/v2/acme/app/blobs/uploads/"
	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"
	answer, _ := ask(t, http.MethodPost, address, nil, "")
	session := "http://" + r.Host() + answer.Header.Get("Location")
	if answer, _ := ask(t, http.MethodPatch, session, nil, "he"); answer.Header.Get("Range") != "0-1" {
		t.Errorf("range %s", answer.Header.Get("Range"))
	}
	if answer, _ := ask(t, http.MethodPut, session+"?digest="+hello, nil, "llo"); answer.StatusCode != http.StatusCreated {
		t.Errorf("the right bytes: %d", answer.StatusCode)
	}
	if answer, text := ask(t, http.MethodPost, address+"?digest="+hello, nil, "jello"); answer.StatusCode != http.StatusBadRequest || !strings.Contains(text, "DIGEST_INVALID") {
		t.Errorf("the wrong bytes: %d %s", answer.StatusCode, text)
	}
	if answer, _ := ask(t, http.MethodPut, address+"99?digest="+hello, nil, "hello"); answer.StatusCode != http.StatusNotFound {
		t.Errorf("no session: %d", answer.StatusCode)
	}
}

func TestHollowResumes(t *testing.T) {
	h := regtest.NewHollow()
	i := regtest.Build(regtest.Spec{Seed: "hollow", LayerSize: 1000})
	h.Hold(i, "acme/app", "v1")
	r := regtest.Serve(t, regtest.Options{Backend: h})
	for _, b := range i.Blobs {
		address := "http://" + r.Host() + "/v2/acme/app/blobs/" + b.Digest
		_, whole := ask(t, http.MethodGet, address, nil, "")
		answer, rest := ask(t, http.MethodGet, address, map[string]string{"Range": "bytes=10-"}, "")
		if answer.StatusCode != http.StatusPartialContent || rest != whole[10:] {
			t.Errorf("%s: status %d, %d bytes of %d", b.MediaType, answer.StatusCode, len(rest), len(whole))
		}
	}
}
