package promote_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
)

// build pushes an image that Build makes.
func build(spec regtest.Spec) func(testing.TB, *regtest.Registry) {
	return func(t testing.TB, source *regtest.Registry) {
		push(t, regtest.Build(spec), source, "acme/app", "dev")
	}
}

// put writes a manifest as it stands.
func put(t testing.TB, at *regtest.Registry, repo, reference, mediaType, body string) {
	t.Helper()
	if err := regtest.PutManifest(t.Context(), at.Access("", ""), repo, reference, mediaType, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func putBlob(t testing.TB, at *regtest.Registry, repo, text string) (digest string) {
	t.Helper()
	digest, err := regtest.PutBlob(t.Context(), at.Access("", ""), repo, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func line(mediaType, digest string, size int, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, digest, size, more)
}

func index(lines ...string) string {
	return `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + strings.Join(lines, ",") + `]}`
}

// attestationWithSubject is an index as BuildKit makes it since 2026: its
// attestation manifest is a child, and a referrer of the child beside it.
func attestationWithSubject(t testing.TB, source *regtest.Registry) {
	i := regtest.Build(regtest.Spec{})
	attestation := i.Manifest(i.Attach(i.Root, "application/vnd.docker.attestation.manifest.v1+json", "x"))
	push(t, i, source, "acme/app")
	put(t, source, "acme/app", "dev", ociIndex, index(
		line(ociManifest, i.Root, len(i.Manifest(i.Root).Bytes), `,"platform":{"os":"linux","architecture":"amd64"}`),
		line(ociManifest, attestation.Digest, len(attestation.Bytes),
			`,"platform":{"os":"unknown","architecture":"unknown"},"annotations":{"vnd.docker.reference.type":"attestation-manifest","vnd.docker.reference.digest":"`+i.Root+`"}`),
	))
}

// TestContent: whatever it is, it arrives with the same bytes and type, whole.
func TestContent(t *testing.T) {
	long(t)
	for name, make := range map[string]func(testing.TB, *regtest.Registry){
		"image":                       build(regtest.Spec{}),
		"image without layers":        build(regtest.Spec{Layers: -1}),
		"image with an empty layer":   func(t testing.TB, s *regtest.Registry) { emptyLayer(t, s) },
		"index":                       build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm/v7"}, Annotations: map[string]string{"a": "b"}}),
		"index in an index":           build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Nested: true}),
		"Docker schema 2":             build(regtest.Spec{Docker: true}),
		"Docker manifest list":        build(regtest.Spec{Docker: true, Platforms: []string{"linux/amd64", "linux/arm64"}}),
		"BuildKit attestations":       build(regtest.Spec{Platforms: []string{"linux/amd64"}, Provenance: true, SBOM: true}),
		"attestations with a subject": attestationWithSubject,
		"Helm chart":                  build(regtest.Spec{Artifact: regtest.Helm}),
		"artifact":                    build(regtest.Spec{Artifact: "application/vnd.example.unheard-of"}),
		"shared layers":               build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Shared: true, Layers: 3}),
		"empty index":                 func(t testing.TB, s *regtest.Registry) { put(t, s, "acme/app", "dev", ociIndex, index()) },
	} {
		t.Run(name, func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			make(t, source)
			d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
			expect(t, d, document.Promoted)
			complete(t, source, "acme/app", "dev", target, "prod/app", "production")
			if holds(t, source, "acme/app", "dev") != holds(t, target, "prod/app", "production") {
				t.Error("the digest has changed")
			}
			if len(d.Notices) > 0 {
				t.Errorf("notices %q", d.Notices)
			}
		})
	}
}

func emptyLayer(t testing.TB, s *regtest.Registry) {
	layer, config := putBlob(t, s, "acme/app", ""), putBlob(t, s, "acme/app", "{}")
	put(t, s, "acme/app", "dev", ociManifest, `{"schemaVersion":2,"mediaType":"`+ociManifest+`","config":`+
		line("application/vnd.oci.image.config.v1+json", config, 2, "")+`,"layers":[`+line("application/vnd.oci.image.layer.v1.tar", layer, 0, "")+`]}`)
}

// TestBuildCache: an index whose children are blobs.
func TestBuildCache(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	layer, config := putBlob(t, source, "acme/app", "a layer"), putBlob(t, source, "acme/app", "cache")
	put(t, source, "acme/app", "cache", ociIndex, index(
		line("application/vnd.oci.image.layer.v1.tar+gzip", layer, 7, ""),
		line("application/vnd.buildkit.cacheconfig.v0", config, 5, "")))
	r := request(t, source.Host()+"/acme/app:cache", target.Host()+"/prod/app:cache")
	d := run(t, r)
	expect(t, d, document.Promoted)
	if d.Promotions[0].Content.Blobs != 2 || holds(t, target, "prod/app", "cache") != holds(t, source, "acme/app", "cache") {
		t.Errorf("promotion %+v", d.Promotions[0])
	}
	for digest, text := range map[string]string{layer: "a layer", config: "cache"} {
		answer, err := http.Get("http://" + target.Host() + "/v2/prod/app/blobs/" + digest)
		if err != nil || answer.StatusCode != http.StatusOK || answer.ContentLength != int64(len(text)) {
			t.Errorf("blob %s: %v, %v", digest, answer, err)
		}
	}
	expect(t, run(t, r), document.Unchanged)
}

// TestForeignLayers stay where they are.
func TestForeignLayers(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := regtest.Build(regtest.Spec{Foreign: 1, Layers: 1})
	for at, repo := range map[*regtest.Registry]string{source: "acme/app", target: "prod/app"} { // olareg wants them there
		if err := i.PushForeign(t.Context(), at.Access("", ""), repo); err != nil {
			t.Fatal(err)
		}
	}
	push(t, i, source, "acme/app", "dev")
	source.ResetRequests()
	target.ResetRequests()
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
	expect(t, d, document.Promoted)
	complete(t, source, "acme/app", "dev", target, "prod/app", "production")
	for _, b := range i.Blobs {
		if !b.Foreign {
			continue
		}
		for _, q := range append(ours(source), ours(target)...) {
			if strings.Contains(q.Path+q.Query, strings.TrimPrefix(b.Digest, "sha256:")) {
				t.Errorf("%s %s?%s", q.Method, q.Path, q.Query)
			}
		}
	}
}

// schema1 is what a registry still answers for an image that was pushed long ago.
const schema1 = `{"schemaVersion":1,"name":"acme/app","tag":"dev","architecture":"amd64","fsLayers":[{"blobSum":"sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"}],"history":[{"v1Compatibility":"{}"}],"signatures":[]}`

// TestRefused: what cannot be promoted whole is refused before anything is written.
func TestRefused(t *testing.T) {
	t.Parallel()
	long(t)
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	for name, test := range map[string]struct {
		wrap    func(http.Handler) http.Handler
		prepare func(t *testing.T, source *regtest.Registry)
		says    []string
	}{
		"Docker schema 1": {
			wrap: regtest.Answer(on(http.MethodGet, "/manifests/dev"), http.StatusOK, "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(schema1)),
			says: []string{"Docker schema 1", "acme/app", "build or push it again"},
		},
		"a child of Docker schema 1": {
			wrap: regtest.Chain(
				regtest.Answer(on(http.MethodGet, "/manifests/dev"), http.StatusOK, ociIndex, []byte(index(line(ociManifest, digestOf(schema1), len(schema1), "")))),
				regtest.Answer(on(http.MethodGet, digestOf(schema1)), http.StatusOK, "application/vnd.docker.distribution.manifest.v1+json", []byte(schema1))),
			says: []string{"Docker schema 1", digestOf(schema1)},
		},
		"Docker schema 1, whose digest is not that of its bytes": {
			wrap: func(next http.Handler) http.Handler {
				answer := regtest.Answer(on(http.MethodGet, "/manifests/dev"), http.StatusOK, "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(schema1))(next)
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if on(http.MethodGet, "/manifests/dev")(q) {
						w.Header().Set("Docker-Content-Digest", digestOf("the payload without its signatures"))
					}
					answer.ServeHTTP(w, q)
				})
			},
			says: []string{"Docker schema 1"},
		},
		"an index without a child": {
			prepare: func(t *testing.T, source *regtest.Registry) {
				if err := regtest.DeleteManifest(t.Context(), source.Access("", ""), "acme/app", i.Children()[1]); err != nil {
					t.Fatal(err)
				}
			},
			says: []string{i.Root, i.Children()[1], "linux/arm64", "does not hold"},
		},
		"an index that is an image as well (CVE-2021-41190)": {
			wrap: regtest.Answer(on(http.MethodGet, "/manifests/dev"), http.StatusOK, ociIndex,
				[]byte(`{"schemaVersion":2,"manifests":[],"layers":[],"config":`+line("application/vnd.oci.image.config.v1+json", digestOf("x"), 1, "")+`}`)),
			says: []string{"index and an image at once"},
		},
		"something that is no manifest": {
			wrap: regtest.Answer(on(http.MethodGet, "/manifests/dev"), http.StatusOK, "text/html", []byte(`<html>login</html>`)),
			says: []string{"read manifest"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			options := regtest.Options{Delete: true}
			if test.wrap != nil {
				options.Wrap = forUs(test.wrap)
			}
			source, target := regtest.Serve(t, options), regtest.Serve(t, regtest.Options{})
			push(t, i, source, "acme/app", "dev")
			if test.prepare != nil {
				test.prepare(t, source)
			}
			d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"))
			faulted(t, d, document.Failed, test.says...)
			untouched(t, source)
			untouched(t, target)
			if len(d.Faults) != 1 {
				t.Errorf("%d faults: %+v", len(d.Faults), d.Faults)
			}
		})
	}
}

// TestRetagOfASparseIndex: that it moves no blob makes it no more complete.
func TestRetagOfASparseIndex(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Delete: true})
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}})
	push(t, i, r, "acme/app", "dev")
	if err := regtest.DeleteManifest(t.Context(), r.Access("", ""), "acme/app", i.Children()[0]); err != nil {
		t.Fatal(err)
	}
	faulted(t, run(t, request(t, r.Host()+"/acme/app:dev", r.Host()+"/acme/app:production")), document.Failed, i.Children()[0], "linux/amd64")
	untouched(t, r)
}

// TestTextOfStrangersStaysData: a hostile registry's words reach the report as
// they are, for whoever prints them to escape, and nothing breaks.
func TestTextOfStrangersStaysData(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	config := putBlob(t, source, "acme/app", "{}")
	hostile, _ := json.Marshal("::error::\n\x1b[2J<script>")
	put(t, source, "acme/app", "dev", ociManifest, `{"schemaVersion":2,"mediaType":"`+ociManifest+`","artifactType":`+string(hostile)+
		`,"config":`+line("application/x", config, 2, "")+`,"layers":[],"annotations":{"org.opencontainers.image.version":`+string(hostile)+`}}`)
	expect(t, run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")), document.Promoted)
	d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:v{{version}}"))
	faulted(t, d, document.Invalid, "version")
	for _, f := range d.Faults {
		if strings.ContainsAny(f.Message, "\x1b\n") {
			t.Errorf("fault %q", f.Message)
		}
	}
}
