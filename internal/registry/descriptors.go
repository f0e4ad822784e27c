package registry

import (
	"bytes"
	"encoding/json"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// EachDescriptor reads a JSON list of descriptors one by one, with the text of
// each, so that whoever looks at one can refuse it before the rest is held: a few
// bytes of list make many of memory. A list that is null has none.
func EachDescriptor(list []byte, look func(text json.RawMessage, d v1.Descriptor) error) error {
	if string(list) == "null" {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(list))
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return errors.New("what should be a list of content is none")
	}
	for in.More() {
		var text json.RawMessage
		if err := in.Decode(&text); err != nil {
			return err
		}
		var d v1.Descriptor
		if err := json.Unmarshal(text, &d); err != nil {
			return err
		}
		if err := look(text, d); err != nil {
			return err
		}
	}
	return nil
}
