package ledger

import (
	"encoding/json"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// recordAnnotation has the digest of the record that is attached to an image.
const recordAnnotation = prefix + "record"

// RecordManifest is the manifest that attaches the record of an entry to its image. Nothing is read
// from it but by people and other tools: what counts is the ledger.
func RecordManifest(k Key, record, image v1.Descriptor) (registry.Manifest, v1.Descriptor) {
	annotations := map[string]string{
		"in-toto.io/predicate-type": document.PredicateType,
		ledgerAnnotation:            k.String(),
		recordAnnotation:            record.Digest.String(),
	}
	m := registry.NewManifest(string(types.OCIManifestSchema1), []byte(encode(struct {
		manifest
		Subject v1.Descriptor `json:"subject"`
	}{
		manifest{
			SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: empty,
			Layers: []v1.Descriptor{record}, Annotations: annotations,
		},
		v1.Descriptor{MediaType: image.MediaType, Digest: image.Digest, Size: image.Size},
	})))
	return m, v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Digest: m.Digest, Size: int64(len(m.Raw)), ArtifactType: artifactType, Annotations: annotations,
	}
}

// AttachedRecord is the ledger and the record that an attachment of an image names; false if it is
// not an attached record. Both are untrusted.
func AttachedRecord(d v1.Descriptor) (ledger, record string, ok bool) {
	ledger, record = d.Annotations[ledgerAnnotation], d.Annotations[recordAnnotation]
	return ledger, record, d.ArtifactType == artifactType && ledger != "" && isDigest(record)
}

// IsRecord reports whether a manifest is an attached record.
func IsRecord(raw []byte) bool {
	var m struct {
		ArtifactType string            `json:"artifactType"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return false
	}
	_, _, ok := AttachedRecord(v1.Descriptor{ArtifactType: m.ArtifactType, Annotations: m.Annotations})
	return ok
}
