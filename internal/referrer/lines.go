package referrer

import (
	"encoding/json"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// lines are those of a fallback tag's list.
type lines struct {
	known []v1.Descriptor
	odd   []string // what those name that cannot be read
}

// UnmarshalJSON leaves out what cannot be read: one tool's line must not hide the rest.
func (l *lines) UnmarshalJSON(raw []byte) (err error) {
	l.known = nil
	l.odd, err = registry.EachReadable(raw, func(_ json.RawMessage, d v1.Descriptor) error {
		l.known = append(l.known, d)
		return nil
	})
	return err
}
