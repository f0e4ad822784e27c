package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Node is one manifest, and what it names.
type Node struct {
	registry.Manifest
	Children     []v1.Descriptor // manifests, in an index's order
	Blobs        []v1.Descriptor // configuration and layers, each once; layers kept elsewhere left out
	Foreign      []v1.Descriptor // layers that are kept at other URLs, and stay there
	Subject      v1.Hash         // zero: none
	ArtifactType string
	Annotations  map[string]string
	Config       *v1.Descriptor
}

// wire is every member of every kind of manifest that names something
// (image-spec, "Image Index" and "Image Manifest"; the OCI artifact manifest of
// 1.1-rc, whose content is in "blobs").
type wire struct {
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Blobs        []v1.Descriptor   `json:"blobs"`
	Manifests    []v1.Descriptor   `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
	FSLayers     json.RawMessage   `json:"fsLayers"`
}

// ErrSchema1 says that a manifest is of Docker's first schema, whose digest is
// not that of its bytes, so that it cannot be carried unchanged.
var ErrSchema1 = errors.New("the image is of Docker schema 1, which cannot be promoted by digest: build or push it again with a current tool")

// Parse reads what a manifest names.
func Parse(m registry.Manifest) (*Node, error) {
	var w wire
	if err := json.Unmarshal(m.Raw, &w); err != nil {
		return nil, fmt.Errorf("read manifest of type %q: %w", m.MediaType, err)
	}
	if w.Manifests == nil && types.MediaType(m.MediaType).IsIndex() {
		w.Manifests = []v1.Descriptor{} // an empty index, which some write as null
	}
	switch {
	case w.FSLayers != nil, types.MediaType(m.MediaType) == types.DockerManifestSchema1,
		types.MediaType(m.MediaType) == types.DockerManifestSchema1Signed:
		return nil, ErrSchema1
	case w.Manifests != nil && (w.Layers != nil || w.Blobs != nil || w.Config != nil || types.MediaType(m.MediaType).IsImage()):
		// Read as the one by some and as the other by others (CVE-2021-41190).
		return nil, errors.New("the manifest is an index and an image at once")
	case w.Manifests == nil && w.Config == nil && w.Layers == nil && w.Blobs == nil && w.Subject == nil:
		return nil, fmt.Errorf("the manifest of type %q names no content that can be copied", m.MediaType)
	}
	n := &Node{Manifest: m, Children: w.Manifests, ArtifactType: w.ArtifactType, Annotations: w.Annotations, Config: w.Config}
	if w.Subject != nil {
		n.Subject = w.Subject.Digest
	}
	if n.ArtifactType == "" && w.Config != nil {
		n.ArtifactType = string(w.Config.MediaType)
	}
	return n, n.collect(w)
}

func (n *Node) collect(w wire) error {
	var needed, elsewhere []v1.Descriptor
	for _, d := range append(append([]v1.Descriptor{}, w.Layers...), w.Blobs...) {
		if len(d.URLs) > 0 {
			elsewhere = append(elsewhere, d)
		} else {
			needed = append(needed, d)
		}
	}
	if w.Config != nil {
		needed = append(needed, *w.Config)
	}
	for _, d := range slices.Concat(needed, elsewhere, n.Children) {
		if d.Digest.Hex == "" || d.Size < 0 {
			return errors.New("the manifest names content without a digest or with a negative size")
		}
	}
	seen := map[v1.Hash]bool{}
	n.Blobs, n.Foreign = once(needed, seen), once(elsewhere, seen)
	for i, d := range n.Blobs { // the rest stays in the manifest: many images are held at once
		n.Blobs[i] = v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
	}
	n.Blobs, n.Foreign = slices.Clip(n.Blobs), slices.Clip(n.Foreign)
	return nil
}

func once(all []v1.Descriptor, seen map[v1.Hash]bool) (each []v1.Descriptor) {
	for _, d := range all {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			each = append(each, d)
		}
	}
	return each
}

// IsIndex reports whether the node lists other manifests.
func (n *Node) IsIndex() bool { return n.Children != nil }

// Descriptor is the node as a list of referrers names it: with its artifact
// type and annotations (distribution-spec, "Referrers Tag Schema").
func (n *Node) Descriptor() v1.Descriptor {
	return v1.Descriptor{
		MediaType:    types.MediaType(n.MediaType),
		Digest:       n.Digest,
		Size:         int64(len(n.Raw)),
		ArtifactType: n.ArtifactType,
		Annotations:  n.Annotations,
	}
}
