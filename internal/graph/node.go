package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Node is one manifest, and what it names. A run of many images holds thousands: what
// is seldom asked for is read from the bytes then.
type Node struct {
	registry.Manifest
	Children     []v1.Descriptor // manifests, in an index's order
	Blobs        []v1.Descriptor // configuration and layers, each once; layers kept elsewhere left out
	Foreign      []v1.Descriptor // layers that are kept at other URLs, and stay there
	Subject      v1.Hash         // zero: none
	ArtifactType string

	annotations int // how many
}

// wire is every member of every kind of manifest that names something
// (image-spec, "Image Index" and "Image Manifest"; the OCI artifact manifest of
// 1.1-rc, whose content is in "blobs").
type wire struct {
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       descriptors       `json:"layers"`
	Blobs        descriptors       `json:"blobs"`
	Manifests    descriptors       `json:"manifests"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
	FSLayers     json.RawMessage   `json:"fsLayers"`
}

// ErrSchema1 says that a manifest is of Docker's first schema, whose digest is
// not that of its bytes, so that it cannot be carried unchanged.
var ErrSchema1 = errors.New("the image is of Docker schema 1, which cannot be promoted by digest: build or push it again with a current tool")

// large is the size in bytes from which on manifests are read one at a time: what
// one of the largest names takes many times its own size while it is read.
const large = 128 << 10

var reading sync.Mutex // of a large one

// maxWords is how much of a stranger's text is repeated, in bytes.
const maxWords = 100

// Parse reads what a manifest names.
func Parse(m registry.Manifest) (*Node, error) {
	if len(m.Raw) >= large {
		reading.Lock()
		defer reading.Unlock()
	}
	var w wire
	if err := json.Unmarshal(m.Raw, &w); err != nil {
		// What cannot be read may be quoted, at any length.
		return nil, fmt.Errorf("read manifest of type %q: %s", registry.Cut(m.MediaType, maxWords), registry.Cut(err.Error(), maxWords))
	}
	if w.Manifests == nil && types.MediaType(m.MediaType).IsIndex() {
		w.Manifests = descriptors{} // an empty index, which some write as null
	}
	switch {
	case w.FSLayers != nil, types.MediaType(m.MediaType) == types.DockerManifestSchema1,
		types.MediaType(m.MediaType) == types.DockerManifestSchema1Signed:
		return nil, ErrSchema1
	case w.Manifests != nil && (w.Layers != nil || w.Blobs != nil || w.Config != nil || types.MediaType(m.MediaType).IsImage()):
		// Read as the one by some and as the other by others (CVE-2021-41190).
		return nil, errors.New("the manifest is an index and an image at once")
	case w.Manifests == nil && w.Config == nil && w.Layers == nil && w.Blobs == nil && w.Subject == nil:
		return nil, fmt.Errorf("the manifest of type %q names no content that can be copied", registry.Cut(m.MediaType, maxWords))
	}
	n := &Node{Manifest: m, Children: w.Manifests, ArtifactType: w.ArtifactType, annotations: len(w.Annotations)}
	if w.Subject != nil {
		n.Subject = w.Subject.Digest
	}
	if n.ArtifactType == "" && w.Config != nil {
		n.ArtifactType = string(w.Config.MediaType)
	}
	n.MediaType, n.ArtifactType = shared(n.MediaType), shared(n.ArtifactType)
	return n, n.collect(w)
}

// collect sorts what is named, in the lists' own memory.
func (n *Node) collect(w wire) error {
	if w.Config != nil && nameless(*w.Config) {
		return errNameless
	}
	all := w.Layers
	all = append(all, w.Blobs...)
	for _, d := range all {
		if isElsewhere(d) {
			n.Foreign = append(n.Foreign, d)
		}
	}
	all = slices.DeleteFunc(all, isElsewhere)
	if w.Config != nil {
		all = append(all, keep(*w.Config))
	}
	seen := make(map[v1.Hash]bool, len(all)+len(n.Foreign))
	n.Blobs, n.Foreign = once(all, seen), once(n.Foreign, seen)
	return nil
}

// once leaves each in its place that was not seen before.
func once(all []v1.Descriptor, seen map[v1.Hash]bool) []v1.Descriptor {
	return slices.DeleteFunc(all, func(d v1.Descriptor) bool {
		known := seen[d.Digest]
		seen[d.Digest] = true
		return known
	})
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
		Annotations:  n.Annotations(),
	}
}

// Annotations are the manifest's own.
func (n *Node) Annotations() map[string]string {
	var w struct {
		Annotations map[string]string `json:"annotations"`
	}
	if n.annotations > 0 {
		_ = json.Unmarshal(n.Raw, &w) // Parse has read them
	}
	return w.Annotations
}

// Config is the configuration that the manifest names, nil if it names none.
func (n *Node) Config() *v1.Descriptor {
	var w struct {
		Config *v1.Descriptor `json:"config"`
	}
	if !n.IsIndex() {
		_ = json.Unmarshal(n.Raw, &w) // Parse has read it
	}
	return w.Config
}
