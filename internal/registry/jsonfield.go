package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonField reads one field of a JSON object and reports whether the object has it. It matches
// the name exactly: encoding/json ignores the case, which a single flipped bit changes.
func jsonField(body []byte, name string, into any) (found bool, err error) {
	in := json.NewDecoder(bytes.NewReader(body))
	if start, err := in.Token(); err != nil || start != json.Delim('{') {
		return false, errors.New("it is not a JSON object")
	}
	for in.More() {
		key, err := in.Token()
		if err != nil {
			return false, err
		}
		var skipped json.RawMessage
		value := any(&skipped)
		if key == name {
			found, value = true, into
		}
		if err := in.Decode(value); err != nil {
			return false, err
		}
	}
	if _, err := in.Token(); err != nil {
		return false, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return false, errors.New("it has data after its end")
	}
	return found, nil
}
