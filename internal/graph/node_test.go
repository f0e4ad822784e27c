package graph_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Digests that nothing has, written out where a test counts on their order.
var (
	digestA = hash("a")
	digestB = hash("b")
	digestC = hash("c")
)

func hash(digit string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(digit, 64)}
}

// line is a descriptor as JSON.
func line(mediaType types.MediaType, digest v1.Hash, more string) string {
	return `{"mediaType":"` + string(mediaType) + `","digest":"` + digest.String() + `","size":3` + more + `}`
}

func config(digest v1.Hash) string { return line(types.OCIConfigJSON, digest, "") }
func layer(digest v1.Hash) string  { return line(types.OCILayer, digest, "") }

func elsewhere(digest v1.Hash) string {
	return line(types.OCIRestrictedLayer, digest, `,"urls":["https://foreign.example/l"]`)
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, body       string
		mediaType        types.MediaType
		children         []v1.Hash
		blobs, foreign   []v1.Hash
		subject          v1.Hash
		artifactType     string
		index, hasConfig bool
	}{
		{
			name: "image", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"config":` + config(digestA) + `,"layers":[` + layer(digestB) + `]}`,
			blobs: []v1.Hash{digestB, digestA}, artifactType: string(types.OCIConfigJSON),
		}, {
			name: "Docker schema 2", mediaType: types.DockerManifestSchema2, hasConfig: true,
			body:  `{"config":` + line(types.DockerConfigJSON, digestA, "") + `,"layers":[]}`,
			blobs: []v1.Hash{digestA}, artifactType: string(types.DockerConfigJSON),
		}, {
			name: "a layer twice is one blob", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"config":` + config(digestA) + `,"layers":[` + layer(digestB) + `,` + layer(digestB) + `,` + layer(digestA) + `]}`,
			blobs: []v1.Hash{digestB, digestA}, artifactType: string(types.OCIConfigJSON),
		}, {
			name: "layers elsewhere stay there", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"config":` + config(digestA) + `,"layers":[` + elsewhere(digestB) + `,` + layer(digestC) + `]}`,
			blobs: []v1.Hash{digestC, digestA}, foreign: []v1.Hash{digestB}, artifactType: string(types.OCIConfigJSON),
		}, {
			name: "what is named without a URL as well is needed", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"config":` + config(digestA) + `,"layers":[` + elsewhere(digestB) + `,` + layer(digestB) + `]}`,
			blobs: []v1.Hash{digestB, digestA}, artifactType: string(types.OCIConfigJSON),
		}, {
			name: "a configuration is needed whatever URLs it has", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"config":` + elsewhere(digestA) + `,"layers":[]}`,
			blobs: []v1.Hash{digestA}, artifactType: string(types.OCIRestrictedLayer),
		}, {
			name: "artifact", mediaType: types.OCIManifestSchema1, hasConfig: true,
			body:  `{"artifactType":"application/x","config":` + line("application/vnd.oci.empty.v1+json", digestA, "") + `,"layers":[],"subject":` + layer(digestC) + `}`,
			blobs: []v1.Hash{digestA}, subject: digestC, artifactType: "application/x",
		}, {
			name: "artifact manifest of 1.1-rc", mediaType: "application/vnd.oci.artifact.manifest.v1+json",
			body:  `{"artifactType":"application/x","blobs":[` + layer(digestB) + `],"subject":` + layer(digestC) + `}`,
			blobs: []v1.Hash{digestB}, subject: digestC, artifactType: "application/x",
		}, {
			name: "attachment that is annotations only", mediaType: "application/vnd.oci.artifact.manifest.v1+json",
			body:    `{"artifactType":"application/x","subject":` + layer(digestC) + `,"annotations":{"a":"b"}}`,
			subject: digestC, artifactType: "application/x",
		}, {
			name: "index", mediaType: types.OCIImageIndex, index: true,
			body:     `{"manifests":[` + line(types.OCIManifestSchema1, digestB, "") + `,` + line(types.OCIManifestSchema1, digestA, "") + `]}`,
			children: []v1.Hash{digestB, digestA},
		}, {
			name: "empty index", mediaType: types.OCIImageIndex, index: true, body: `{"manifests":[]}`,
		}, {
			name: "empty index as olareg writes it", mediaType: types.OCIImageIndex, index: true, body: `{"manifests":null}`,
		}, {
			name: "index of an unknown type", mediaType: "application/x-index", index: true,
			body: `{"manifests":[` + line("application/x", digestB, "") + `]}`, children: []v1.Hash{digestB},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := registry.NewManifest(string(test.mediaType), []byte(test.body))
			n, err := graph.Parse(m)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "children", digestsOf(n.Children), test.children)
			same(t, "blobs", digestsOf(n.Blobs), test.blobs)
			same(t, "foreign", digestsOf(n.Foreign), test.foreign)
			if n.Subject != test.subject || n.ArtifactType != test.artifactType || n.IsIndex() != test.index || (n.Config() != nil) != test.hasConfig {
				t.Errorf("subject %s, artifact type %q, index %v, config %v", n.Subject, n.ArtifactType, n.IsIndex(), n.Config())
			}
			d := n.Descriptor()
			if d.Digest != m.Digest || d.Size != int64(len(test.body)) || d.ArtifactType != test.artifactType || d.MediaType != test.mediaType {
				t.Errorf("descriptor %+v", d)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	image := `"config":` + config(digestA) + `,"layers":[]`
	tests := []struct {
		name, body string
		mediaType  types.MediaType
		want       string
	}{
		{"no JSON", `<html>`, types.OCIManifestSchema1, "read manifest of type"},
		{"a list", `[]`, types.OCIManifestSchema1, "read manifest of type"},
		{"schema 1 by its type", `{}`, types.DockerManifestSchema1, "schema 1"},
		{"schema 1 with signatures", `{}`, types.DockerManifestSchema1Signed, "schema 1"},
		{"schema 1 by its content", `{"fsLayers":[]}`, types.OCIManifestSchema1, "schema 1"},
		{"index and image (CVE-2021-41190)", `{` + image + `,"manifests":[]}`, types.OCIImageIndex, "index and an image"},
		{"image with a list", `{"layers":[],"manifests":[]}`, types.OCIManifestSchema1, "index and an image"},
		{"index with layers", `{"layers":[]}`, types.OCIImageIndex, "index and an image"},
		{"index with the type of an image", `{"manifests":[]}`, types.OCIManifestSchema1, "index and an image"},
		{"nothing", `{}`, types.OCIManifestSchema1, "names no content"},
		{"null", `null`, types.OCIManifestSchema1, "names no content"},
		{"layer without a digest", `{"layers":[{"size":1}]}`, types.OCIManifestSchema1, "without a digest"},
		{"configuration without a digest", `{"config":{"size":1}}`, types.OCIManifestSchema1, "without a digest"},
		{"foreign layer without a digest", `{"layers":[{"urls":["https://x"]}]}`, types.OCIManifestSchema1, "without a digest"},
		{"child without a digest", `{"manifests":[{"size":1}]}`, types.OCIImageIndex, "without a digest"},
		{"layer of negative size", `{"layers":[{"size":-1,"digest":"` + digestA.String() + `"}]}`, types.OCIManifestSchema1, "negative size"},
		{"child of negative size", `{"manifests":[{"size":-1,"digest":"` + digestA.String() + `"}]}`, types.OCIImageIndex, "negative size"},
		{"digest of an unknown kind", `{"layers":[{"size":1,"digest":"md5:00"}]}`, types.OCIManifestSchema1, "md5"},
		{"digest that is a path", `{"layers":[{"size":1,"digest":"sha256:../../x"}]}`, types.OCIManifestSchema1, "non-hex"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, err := graph.Parse(registry.NewManifest(string(test.mediaType), []byte(test.body)))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("node %+v, error %v; want one about %q", n, err, test.want)
			}
			if strings.Contains(test.want, "schema 1") && !errors.Is(err, graph.ErrSchema1) {
				t.Errorf("error %v is not ErrSchema1", err)
			}
		})
	}
}

func digestsOf(all []v1.Descriptor) []v1.Hash {
	var digests []v1.Hash
	for _, d := range all {
		digests = append(digests, d.Digest)
	}
	return digests
}

func same(t *testing.T, what string, got, want []v1.Hash) {
	t.Helper()
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("%s are %s, want %s", what, a, b)
	}
}

// FuzzParse: a manifest is a stranger's. Whatever it is, what comes out of Parse
// is safe to ask a registry for.
func FuzzParse(f *testing.F) {
	for _, mediaType := range []types.MediaType{types.OCIManifestSchema1, types.OCIImageIndex, types.DockerManifestSchema1Signed, ""} {
		for _, body := range []string{
			`{"config":` + config(digestA) + `,"layers":[` + layer(digestB) + `,` + elsewhere(digestC) + `]}`,
			`{"manifests":[` + line(types.OCIManifestSchema1, digestB, `,"platform":{"os":"linux","architecture":"arm64"}`) + `]}`,
			`{"manifests":null,"subject":` + layer(digestC) + `}`,
			`{"blobs":[` + layer(digestB) + `],"artifactType":"x","annotations":{"k":"v"}}`,
			`{"layers":[{"size":-1,"digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`,
			`{"fsLayers":[],"schemaVersion":1}`,
			`{"config":{},"manifests":[]}`, `{`, `null`, `[]`, "",
		} {
			f.Add(string(mediaType), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, mediaType string, raw []byte) {
		m := registry.NewManifest(mediaType, raw)
		n, err := graph.Parse(m)
		if err != nil {
			return
		}
		if string(n.Raw) != string(raw) || n.Digest != m.Digest {
			t.Fatal("the bytes are not those that were read")
		}
		if n.IsIndex() && (n.Config() != nil || len(n.Blobs)+len(n.Foreign) > 0) {
			t.Fatalf("an index with an image's content: %+v", n)
		}
		seen := map[v1.Hash]bool{}
		for _, d := range append(append(n.Blobs, n.Foreign...), n.Children...) {
			if _, err := v1.NewHash(d.Digest.String()); err != nil || d.Size < 0 {
				t.Fatalf("descriptor %+v: %v", d, err)
			}
		}
		for _, d := range append(n.Blobs, n.Foreign...) {
			if seen[d.Digest] {
				t.Fatalf("%s is named twice", d.Digest)
			}
			seen[d.Digest] = true
		}
		if n.Subject != (v1.Hash{}) {
			if _, err := v1.NewHash(n.Subject.String()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
