package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// EachDescriptor reads a JSON list of descriptors one by one, with the text of
// each, so that whoever looks at one can refuse it before the rest is held: a few
// bytes of list make many of memory. A list that is null has none.
func EachDescriptor(list []byte, look func(text json.RawMessage, d v1.Descriptor) error) error {
	return eachEntry(list, func(text json.RawMessage, d v1.Descriptor, err error) error {
		if err != nil {
			return err
		}
		return look(text, d)
	})
}

// EachReadable is [EachDescriptor] of the entries that can be read. It returns the
// digests, or what stands in their place, of those that cannot: of an algorithm that is
// not known here (image-spec, "Digests": others than registered MAY be used), or malformed.
func EachReadable(list []byte, look func(text json.RawMessage, d v1.Descriptor) error) (odd []string, err error) {
	err = eachEntry(list, func(text json.RawMessage, d v1.Descriptor, err error) error {
		// Go takes the names of members in any case; the protocol has one.
		if err == nil && d.Digest.Hex != "" && bytes.Contains(text, []byte(`"digest"`)) {
			return look(text, d)
		}
		if odd = append(odd, nameOf(text)); len(odd) > maxOdd {
			return fmt.Errorf("more than %d entries cannot be read: the last is %q", maxOdd, odd[maxOdd])
		}
		return nil
	})
	return odd, err
}

// maxOdd is how many entries that cannot be read a list may have.
const maxOdd = 1000

// nameOf is what an entry that cannot be read names, or how it begins.
func nameOf(entry json.RawMessage) string {
	var named struct {
		Digest string `json:"digest"`
	}
	if json.Unmarshal(entry, &named) == nil && named.Digest != "" {
		return wire.Cut(wire.Printable(named.Digest), 100)
	}
	return wire.Cut(wire.Printable(string(entry)), 40)
}

func eachEntry(list []byte, look func(text json.RawMessage, d v1.Descriptor, err error) error) error {
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
		err := json.Unmarshal(text, &d)
		if err := look(text, d, err); err != nil {
			return err
		}
	}
	return nil
}
