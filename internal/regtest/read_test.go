package regtest_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

const ociIndex = "application/vnd.oci.image.index.v1+json"

func isPath(suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return isGet(r) && strings.HasSuffix(r.URL.Path, suffix) }
}

// Each fault is one that a copy could have: the reader must see it.
func TestReadFindsWhatIsWrong(t *testing.T) {
	long(t)
	i := attached(regtest.Spec{Seed: "wrong", Platforms: []string{"linux/amd64", "linux/arm64"}})
	child, referrer, layer := i.Children()[1], "", i.Blobs[0]
	for _, m := range i.Manifests {
		if m.Subject == child {
			referrer = m.Digest
		}
	}
	gone := func(suffix string) func(http.Handler) http.Handler {
		return regtest.Answer(isPath(suffix), 404, "application/json", []byte("{}"))
	}
	other := func(suffix, text string) func(http.Handler) http.Handler {
		return regtest.Answer(isPath(suffix), 200, "application/octet-stream", []byte(text))
	}
	faults := map[string]struct {
		wrap func(http.Handler) http.Handler
		want string
	}{
		"child gone":            {gone("/manifests/" + child), child},
		"child of other bytes":  {other("/manifests/"+child, `{"schemaVersion":2}`), "its bytes hash to"},
		"referrer gone":         {gone("/manifests/" + referrer), referrer},
		"layer gone":            {gone("/blobs/" + layer.Digest), layer.Digest},
		"layer of other bytes":  {other("/blobs/"+layer.Digest, strings.Repeat("x", int(layer.Size))), "hash to"},
		"layer cut short":       {other("/blobs/"+layer.Digest, "x"), "its 1 bytes"},
		"layer too long":        {other("/blobs/"+layer.Digest, strings.Repeat("x", int(layer.Size)+5)), "hash to"},
		"root of schema 1":      {other("/manifests/v1", `{"schemaVersion":1}`), "404"},
		"cosign tag unreadable": {gone("/manifests/" + strings.Replace(child, ":", "-", 1) + ".sig"), ".sig"},
		"tags unreadable":       {regtest.Answer(isPath("/tags/list"), 500, "", nil), "500"},
		"referrers unreadable":  {regtest.Answer(isPath("/referrers/"+child), 500, "", nil), "500"},
		"referrers no JSON":     {other("/referrers/"+child, "<html>"), "parse"},
		"fallback unreadable":   {regtest.Answer(isPath("/manifests/"+strings.Replace(child, ":", "-", 1)), 500, "", nil), "500"},
	}
	for name, fault := range faults {
		r := regtest.Serve(t, regtest.Options{Referrers: true})
		push(t, i, r.Access("", ""), "acme/app", "v1")
		bad := regtest.Serve(t, regtest.Options{Backend: proxyTo(r), Wrap: fault.wrap})
		_, err := regtest.Read(t.Context(), bad.Access("", ""), "acme/app", "v1")
		if err == nil || !strings.Contains(err.Error(), fault.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, fault.want)
		}
	}
}

// proxyTo lets a second registry serve what a first one holds.
func proxyTo(r *regtest.Registry) http.Handler { return regtest.Proxy(r.Host()) }

func TestReadChecksDescriptors(t *testing.T) {
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	for name, change := range map[string]func(*regtest.Descriptor){
		"size": func(d *regtest.Descriptor) { d.Size++ },
		"type": func(d *regtest.Descriptor) { d.MediaType = ociIndex },
	} {
		var index struct {
			SchemaVersion int                  `json:"schemaVersion"`
			MediaType     string               `json:"mediaType"`
			Manifests     []regtest.Descriptor `json:"manifests"`
		}
		if err := json.Unmarshal(i.Manifest(i.Root).Bytes, &index); err != nil {
			t.Fatal(err)
		}
		change(&index.Manifests[0])
		text, err := json.Marshal(index)
		if err != nil {
			t.Fatal(err)
		}
		r := regtest.Serve(t, regtest.Options{})
		push(t, i, r.Access("", ""), "acme/app")
		if err := regtest.PutManifest(t.Context(), r.Access("", ""), "acme/app", "v1", ociIndex, text); err != nil {
			t.Fatal(err)
		}
		if _, err := regtest.Read(t.Context(), r.Access("", ""), "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "described as") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a registry takes without looking, the reader does not.
func TestReadChecksManifests(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	at := r.Access("", "")
	blob, err := regtest.PutBlob(t.Context(), at, "acme/app", []byte("12345"))
	if err != nil {
		t.Fatal(err)
	}
	described := func(size int64) regtest.Descriptor {
		return regtest.Descriptor{MediaType: "application/vnd.example.thing", Digest: blob, Size: size}
	}
	for want, manifest := range map[string]any{
		"schema version 1":     map[string]any{"schemaVersion": 1, "config": described(5)},
		"described as 6 bytes": map[string]any{"schemaVersion": 2, "config": described(6)},
		"5 bytes here and 6 elsewhere": map[string]any{
			"schemaVersion": 2, "config": described(6), "layers": []regtest.Descriptor{described(5)},
		},
	} {
		text, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		if err := regtest.PutManifest(t.Context(), at, "acme/app", "v1", "application/vnd.oci.image.manifest.v1+json", text); err != nil {
			t.Fatal(err)
		}
		if _, err := regtest.Read(t.Context(), at, "acme/app", "v1"); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "has ", ""), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// Cosign's tags can name a circle, digests cannot.
func TestReadEndsInCircles(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	at := r.Access("", "")
	i := regtest.Build(regtest.Spec{})
	signature := i.Sign(i.Root, ".sig", "s")
	push(t, i, at, "acme/app", "v1")
	if err := regtest.PutTag(t.Context(), at, "acme/app", strings.Replace(signature, ":", "-", 1)+".sig", i.Root); err != nil {
		t.Fatal(err)
	}
	if tree := read(t, at, "acme/app", "v1"); len(tree.Nodes) != 2 || len(tree.DigestTags) != 2 {
		t.Errorf("%d manifests and tags %v, want 2 and 2", len(tree.Nodes), tree.DigestTags)
	}
}

// A fallback tag that lists a stranger does not make it an attachment.
func TestReadIgnoresStrangersInFallback(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	at := r.Access("", "")
	i, stranger := regtest.Build(regtest.Spec{}), regtest.Build(regtest.Spec{Seed: "stranger", Platforms: []string{"linux/amd64"}})
	push(t, i, at, "acme/app", "v1")
	push(t, stranger, at, "acme/app", strings.Replace(i.Root, ":", "-", 1))
	if tree := read(t, at, "acme/app", "v1"); len(tree.Referrers(i.Root)) != 0 || len(tree.Nodes) != 1 {
		t.Errorf("referrers %v among %d manifests", tree.Referrers(i.Root), len(tree.Nodes))
	}
}

// cosign copy tags an image "sha256-<hex>", and its children then look like referrers.
func TestReadIgnoresWhatDoesNotRefer(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	at := r.Access("", "")
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	push(t, i, at, "acme/app", "v1", strings.Replace(i.Root, ":", "-", 1))
	single := regtest.Build(regtest.Spec{Seed: "single"})
	push(t, single, at, "acme/app", "v2", strings.Replace(single.Root, ":", "-", 1))
	for tag, root := range map[string]string{"v1": i.Root, "v2": single.Root} {
		if got := read(t, at, "acme/app", tag).Referrers(root); len(got) != 0 {
			t.Errorf("%s: referrers %v", tag, got)
		}
	}
}

func TestReadMissingReference(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	if _, err := regtest.Read(t.Context(), r.Access("", ""), "acme/app", "v1"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
}

func TestDiffOfTwoRegistries(t *testing.T) {
	i := attached(regtest.Spec{Seed: "diff", Platforms: []string{"linux/amd64", "linux/arm64"}, Provenance: true})
	trees := map[bool]*regtest.Tree{}
	for _, api := range []bool{true, false} {
		r := regtest.Serve(t, regtest.Options{Referrers: api})
		push(t, i, r.Access("", ""), "acme/app", "v1")
		trees[api] = read(t, r.Access("", ""), "acme/app", "v1")
	}
	for _, from := range []bool{true, false} {
		if lines := regtest.Diff(trees[from], trees[!from]); len(lines) != 0 {
			t.Errorf("API %v to %v: %q", from, !from, lines)
		}
	}
}

func TestDiffSaysWhatIsMissing(t *testing.T) {
	plain := regtest.Build(regtest.Spec{Seed: "diff"})
	full := regtest.Build(regtest.Spec{Seed: "diff"})
	signature := full.Sign(full.Root, ".sig", "s")
	referrer := full.Attach(full.Root, "application/vnd.example.one", "a")
	r := regtest.Serve(t, regtest.Options{})
	at := r.Access("", "")
	push(t, full, at, "acme/full", "v1")
	push(t, plain, at, "acme/plain", "v1")
	push(t, regtest.Build(regtest.Spec{Seed: "other"}), at, "acme/other", "v1")
	push(t, full, at, "acme/unlisted", "v1")
	if err := regtest.PutTag(t.Context(), at, "acme/unlisted", strings.Replace(full.Root, ":", "-", 1), full.Root); err != nil {
		t.Fatal(err)
	}
	a := read(t, at, "acme/full", "v1")
	tests := map[string][]string{
		"acme/full": nil,
		"acme/plain": {
			"manifest " + signature, "manifest " + referrer, "blob ", "tag " + strings.Replace(full.Root, ":", "-", 1) + ".sig",
			"referrer " + referrer + " of " + full.Root,
		},
		"acme/other":    {"root is ", "manifest " + full.Root},
		"acme/unlisted": {"referrer " + referrer + " of " + full.Root},
	}
	for repository, want := range tests {
		text := strings.Join(regtest.Diff(a, read(t, at, repository, "v1")), "\n")
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", repository, w, text)
			}
		}
		if want == nil && text != "" {
			t.Errorf("%s: %s", repository, text)
		}
	}
	if lines := regtest.Diff(read(t, at, "acme/plain", "v1"), a); len(lines) != 0 {
		t.Errorf("more than there was is a difference: %q", lines)
	}
}

// A registry with the API does not show what stands in a fallback tag alone.
func TestDiffWantsReferrersWhereClientsLook(t *testing.T) {
	i := regtest.Build(regtest.Spec{Seed: "where"})
	i.Attach(i.Root, "application/vnd.example.one", "a")
	r := regtest.Serve(t, regtest.Options{})
	push(t, i, r.Access("", ""), "acme/app", "v1")
	a := read(t, r.Access("", ""), "acme/app", "v1")
	empty := regtest.Answer(isPath("/referrers/"+i.Root), 200, ociIndex, []byte(`{"schemaVersion":2,"manifests":[]}`))
	deaf := regtest.Serve(t, regtest.Options{Backend: proxyTo(r), Wrap: empty})
	b := read(t, deaf.Access("", ""), "acme/app", "v1")
	if !b.HasAPI || len(b.Fallback[i.Root]) != 1 {
		t.Fatalf("API %v, fallback %v", b.HasAPI, b.Fallback)
	}
	if lines := regtest.Diff(a, b); len(lines) != 1 || !strings.Contains(lines[0], "is not listed") {
		t.Errorf("%q", lines)
	}
}
