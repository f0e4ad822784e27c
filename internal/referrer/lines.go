package referrer

import (
	"bytes"
	"encoding/json"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// lines are a list's, read one by one, so that a list of nothings is refused at
// its first and not held before it is looked at.
type lines []v1.Descriptor

// UnmarshalJSON refuses a line that names nothing.
func (l *lines) UnmarshalJSON(raw []byte) error {
	*l = nil
	if string(raw) == "null" {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(raw))
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return errors.New("what should be a list is none")
	}
	for in.More() {
		var d v1.Descriptor
		if err := in.Decode(&d); err != nil {
			return err
		}
		if d.Digest.Hex == "" {
			return errors.New("a line has no digest")
		}
		*l = append(*l, d)
	}
	return nil
}
