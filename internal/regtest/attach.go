package regtest

import (
	"fmt"
	"strings"
)

// Attach adds a referrer (OCI 1.1) of one blob to a manifest of the image, or to an earlier attachment. It returns
// the referrer's digest.
func (i *Image) Attach(subject, artifactType, seed string) string {
	to := i.mustFind(subject)
	text := marshal(map[string]string{"subject": subject, "seed": seed})
	return i.manifest(manifestBody{
		SchemaVersion: 2, MediaType: ociManifest, ArtifactType: artifactType,
		Config:      i.addBlob(emptyBlob()),
		Layers:      []Descriptor{i.addBlob(textBlob(artifactType, text))},
		Subject:     &to,
		Annotations: map[string]string{"org.opencontainers.image.created": "2026-01-01T00:00:00Z"},
	}, "").Digest
}

// AttachIndex adds a referrer that is an index with one manifest below it.
func (i *Image) AttachIndex(subject, artifactType, seed string) string {
	to := i.mustFind(subject)
	child := i.manifest(manifestBody{
		SchemaVersion: 2, MediaType: ociManifest, ArtifactType: artifactType,
		Config: i.addBlob(emptyBlob()),
		Layers: []Descriptor{i.addBlob(textBlob(artifactType, []byte(seed)))},
	}, "")
	return i.index(indexBody{2, ociIndex, artifactType, []Descriptor{child}, &to, nil}).Digest
}

// Sign adds an artifact that is found by its tag, "sha256-<hex>" and the suffix ".sig", ".att" or ".sbom", as
// cosign v2 writes it. It returns the artifact's digest.
func (i *Image) Sign(subject, suffix, seed string) string {
	i.mustFind(subject)
	layer := i.cosignLayer(subject, suffix, seed)
	config := imageConfig{
		Created: "0001-01-01T00:00:00Z",
		History: []history{{Created: "0001-01-01T00:00:00Z"}},
		RootFS:  rootFS{"layers", []string{layer.Digest}},
	}
	return i.manifest(manifestBody{
		SchemaVersion: 2, MediaType: ociManifest,
		Config: i.addBlob(textBlob(ociConfig, marshal(config))),
		Layers: []Descriptor{layer},
	}, cosignTag(subject, suffix)).Digest
}

func cosignTag(subject, suffix string) string { return strings.Replace(subject, ":", "-", 1) + suffix }

func (i *Image) cosignLayer(subject, suffix, seed string) Descriptor {
	switch suffix {
	case ".sig":
		return i.simpleSigning(subject, seed)
	case ".att":
		payload := map[string]string{"subject": subject, "predicateType": provenanceType}
		envelope := map[string]any{
			"payloadType": "application/vnd.in-toto+json", "payload": marshal(payload),
			"signatures": []any{map[string]string{"sig": falseSignature(seed)}},
		}
		d := i.addBlob(textBlob("application/vnd.dsse.envelope.v1+json", marshal(envelope)))
		d.Annotations = map[string]string{"dev.cosignproject.cosign/signature": "", "predicateType": provenanceType}
		return d
	case ".sbom":
		return i.addBlob(textBlob("text/spdx+json", marshal(map[string]string{"name": seed, "subject": subject})))
	}
	panic(fmt.Sprintf("sign %s: suffix %q is none of .sig, .att, .sbom", subject, suffix))
}

// simpleSigning is https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md.
func (i *Image) simpleSigning(subject, seed string) Descriptor {
	payload := map[string]any{
		"critical": map[string]any{
			"identity": map[string]string{"docker-reference": "registry.example/app"},
			"image":    map[string]string{"docker-manifest-digest": subject},
			"type":     "cosign container image signature",
		},
		"optional": map[string]string{"seed": seed},
	}
	d := i.addBlob(textBlob("application/vnd.dev.cosign.simplesigning.v1+json", marshal(payload)))
	d.Annotations = map[string]string{"dev.cosignproject.cosign/signature": falseSignature(seed)}
	return d
}

// falseSignature has the form of a signature and is none.
func falseSignature(seed string) string { return "MEUCIQ" + hexOf(digestOf([]byte(seed))) }

func (i *Image) mustFind(digest string) Descriptor {
	m := i.Manifest(digest)
	if m == nil {
		panic("attach to " + digest + ": no such manifest in this image")
	}
	return m.descriptor()
}

// ReferenceImage is the workload that the product is measured on: an index of two platforms with ten layers of
// 4 MiB, a BuildKit attestation manifest each; and on the index and on each of its four children a cosign
// signature, a referrer, and a referrer of that referrer. 20 manifests, 47 blobs, 84 MB.
func ReferenceImage() *Image {
	return BuildAttested(Spec{
		Seed: "reference", Platforms: []string{"linux/amd64", "linux/arm64"},
		Layers: 10, LayerSize: 4 << 20, Provenance: true,
	})
}

// BuildAttested makes an image with the attachments of ReferenceImage on its root and on each of its children.
func BuildAttested(spec Spec) *Image {
	i := Build(spec)
	for _, digest := range append([]string{i.Root}, i.Children()...) {
		i.Sign(digest, ".sig", digest)
		bundle := i.Attach(digest, "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle")
		i.Attach(bundle, "application/vnd.example.countersignature+json", "countersignature")
	}
	return i
}
