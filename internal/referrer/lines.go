package referrer

import (
	"encoding/json"
	"errors"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// lines are those of a fallback tag's list.
type lines []v1.Descriptor

// UnmarshalJSON refuses a line that names nothing.
func (l *lines) UnmarshalJSON(raw []byte) error {
	*l = nil
	return registry.EachDescriptor(raw, func(_ json.RawMessage, d v1.Descriptor) error {
		if d.Digest.Hex == "" {
			return errors.New("a line has no digest")
		}
		*l = append(*l, d)
		return nil
	})
}
