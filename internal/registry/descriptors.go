package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// EachDescriptor reads a JSON list of descriptors one by one, with the JSON of each. visit can
// refuse a list early: a short list may take a lot of memory. null is an empty list.
func EachDescriptor(list []byte, visit func(text json.RawMessage, d v1.Descriptor) error) error {
	return eachEntry(list, func(text json.RawMessage, d v1.Descriptor, err error) error {
		if err != nil {
			return err
		}
		return visit(text, d)
	})
}

// EachReadable is [EachDescriptor] without the invalid entries. It returns the digest of each
// of these, or the start of its JSON: it is malformed, or its digest has an algorithm that
// is unknown here (image-spec, "Digests": algorithms that are not registered MAY be used).
func EachReadable(list []byte, visit func(text json.RawMessage, d v1.Descriptor) error) (invalid []string, err error) {
	err = eachEntry(list, func(text json.RawMessage, d v1.Descriptor, err error) error {
		// encoding/json accepts field names in any case; the protocol is case-sensitive.
		if err == nil && d.Digest.Hex != "" && bytes.Contains(text, []byte(`"digest"`)) {
			return visit(text, d)
		}
		if invalid = append(invalid, nameOf(text)); len(invalid) > maxInvalid {
			return fmt.Errorf("more than %d entries cannot be read, the last is %q", maxInvalid, invalid[maxInvalid])
		}
		return nil
	})
	return invalid, err
}

// maxInvalid is how many invalid entries a list may have.
const maxInvalid = 1000

// nameOf is the digest of an invalid entry, or the start of its JSON.
func nameOf(entry json.RawMessage) string {
	var named struct {
		Digest string `json:"digest"`
	}
	if json.Unmarshal(entry, &named) == nil && named.Digest != "" {
		return wire.Cut(wire.Printable(named.Digest), 100)
	}
	return wire.Cut(wire.Printable(string(entry)), 40)
}

func eachEntry(list []byte, visit func(text json.RawMessage, d v1.Descriptor, err error) error) error {
	if string(list) == "null" {
		return nil
	}
	in := json.NewDecoder(bytes.NewReader(list))
	if start, err := in.Token(); err != nil || start != json.Delim('[') {
		return errors.New("it is not a list of descriptors")
	}
	for in.More() {
		var text json.RawMessage
		if err := in.Decode(&text); err != nil {
			return err
		}
		var d v1.Descriptor
		err := json.Unmarshal(text, &d)
		if err := visit(text, d, err); err != nil {
			return err
		}
	}
	return nil
}
