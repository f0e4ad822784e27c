package regtest

import "strings"

// Predicate types, as they stand in the annotations of attestations.
const (
	provenanceType = "https://slsa.dev/provenance/v1"
	spdxType       = "https://spdx.dev/Document"
)

// buildAttestation makes what BuildKit stores beside a platform
// (https://docs.docker.com/build/metadata/attestations/attestation-storage/).
func (i *Image) buildAttestation(spec Spec, subject Descriptor) Descriptor {
	var layers []Descriptor
	if spec.SBOM {
		predicate := map[string]any{"spdxVersion": "SPDX-2.3", "name": spec.Seed, "packages": []string{}}
		layers = append(layers, i.statement(subject, spdxType, predicate))
	}
	if spec.Provenance {
		predicate := map[string]any{
			"buildDefinition": map[string]any{"buildType": "https://mobyproject.org/buildkit@v1"},
			"runDetails":      map[string]any{"builder": map[string]string{"id": "https://github.com/acme/app/actions/runs/1"}},
		}
		layers = append(layers, i.statement(subject, provenanceType, predicate))
	}
	config := imageConfig{Architecture: "unknown", OS: "unknown", RootFS: rootFS{"layers", digestsOf(layers)}}
	d := i.manifest(manifestBody{
		SchemaVersion: 2, MediaType: ociManifest, Layers: layers,
		Config: i.addBlob(textBlob(ociConfig, marshal(config))),
	}, "")
	d.Platform = &Platform{Architecture: "unknown", OS: "unknown"}
	d.Annotations = map[string]string{
		"vnd.docker.reference.type":   "attestation-manifest",
		"vnd.docker.reference.digest": subject.Digest,
	}
	return d
}

// statement is an in-toto statement about one digest, as a layer.
func (i *Image) statement(subject Descriptor, predicateType string, predicate any) Descriptor {
	text := marshal(map[string]any{
		"_type":         "https://in-toto.io/Statement/v0.1",
		"predicateType": predicateType,
		"subject":       []any{map[string]any{"name": "_", "digest": map[string]string{"sha256": hexOf(subject.Digest)}}},
		"predicate":     predicate,
	})
	d := i.addBlob(textBlob("application/vnd.in-toto+json", text))
	d.Annotations = map[string]string{"in-toto.io/predicate-type": predicateType}
	return d
}

func hexOf(digest string) string { return strings.TrimPrefix(digest, "sha256:") }
