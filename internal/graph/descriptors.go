package graph

import (
	"encoding/json"
	"errors"
	"unique"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var errNameless = errors.New("the manifest names content without a digest or with a negative size")

// descriptors are read one by one, so that a list of nothings is refused at its
// first entry, and not held before it is looked at.
type descriptors []v1.Descriptor

// someURL stands for those of content that is kept elsewhere, which nobody asks.
var someURL = []string{""}

func isElsewhere(d v1.Descriptor) bool { return len(d.URLs) > 0 }

// UnmarshalJSON keeps of each what a walk or a copy needs: the rest stays in the
// manifest, as many manifests are held at once.
func (l *descriptors) UnmarshalJSON(raw []byte) error {
	*l = nil
	if string(raw) != "null" {
		*l = descriptors{} // an empty list tells an index from an image
	}
	return registry.EachDescriptor(raw, func(_ json.RawMessage, d v1.Descriptor) error {
		if nameless(d) {
			return errNameless
		}
		*l = append(*l, keep(d))
		return nil
	})
}

// keep is a descriptor as it is held.
func keep(d v1.Descriptor) v1.Descriptor {
	kept := v1.Descriptor{MediaType: types.MediaType(shared(string(d.MediaType))), Digest: d.Digest, Size: d.Size, Platform: d.Platform}
	if len(d.URLs) > 0 {
		kept.URLs = someURL
	}
	return kept
}

// shared is one copy of a string that many manifests have.
func shared(s string) string { return unique.Make(s).Value() }

func nameless(d v1.Descriptor) bool { return d.Digest.Hex == "" || d.Size < 0 }
