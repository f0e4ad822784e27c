package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonField reads one member of a JSON object, by its name exactly: encoding/json
// would take it in any case, and a flipped bit is enough for another. It reports
// whether the object has it. The other members are not kept.
func jsonField(body []byte, name string, into any) (found bool, err error) {
	in := json.NewDecoder(bytes.NewReader(body))
	if start, err := in.Token(); err != nil || start != json.Delim('{') {
		return false, errors.New("it is no JSON object")
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
		return false, errors.New("there is more after its end")
	}
	return found, nil
}
