package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
)

// maxNesting bounds the nesting of an answer: json.Decoder keeps state for each level.
const maxNesting = 64

// extractTags reads an answer as a stream and keeps the field "tags" alone: GCR and GAR add an
// object for each manifest, which makes megabytes in a large repository (ggcr#897). For an
// answer without the field it returns an empty object.
func extractTags(body io.Reader) ([]byte, error) {
	source := &failingReader{inner: body}
	kept, err := extractField(json.NewDecoder(source), "tags")
	switch {
	case source.err != nil:
		return nil, source.err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, retry.AfterDamage(errors.New("read tag list: unexpected end of JSON"))
	case err != nil:
		return nil, retry.AfterDamage(fmt.Errorf("read tag list: %w", err))
	}
	return kept, nil
}

// failingReader records the error of a reader, to distinguish it from an error in the JSON.
type failingReader struct {
	inner io.Reader
	err   error
}

func (f *failingReader) Read(p []byte) (int, error) {
	n, err := f.inner.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// extractField reads an object to its end and keeps one field, a list of strings.
func extractField(in *json.Decoder, name string) ([]byte, error) {
	if start, err := in.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.Join(errors.New("it is not a JSON object"), err)
	}
	kept := []byte("{}")
	for in.More() {
		key, err := in.Token()
		if err == nil && key == name { // a single flipped bit changes the case
			var list []byte
			list, err = extractStrings(in)
			kept = fmt.Appendf(nil, `{%q:%s}`, name, list)
		} else if err == nil {
			err = skipValue(in)
		}
		if err != nil {
			return nil, err
		}
	}
	if _, err := in.Token(); err != nil {
		return nil, err
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has data after its end")
	}
	return kept, nil
}

// extractStrings reads a list of strings, or null.
func extractStrings(in *json.Decoder) ([]byte, error) {
	start, err := in.Token()
	if err != nil || start == nil {
		return []byte("null"), err
	}
	if start != json.Delim('[') {
		return nil, errors.New("its field tags is not a list")
	}
	var list bytes.Buffer
	list.WriteByte('[')
	for n := 0; in.More(); n++ {
		token, err := in.Token()
		text, isText := token.(string)
		switch {
		case err != nil:
			return nil, err
		case !isText:
			return nil, errors.New("an entry of the list is not a string")
		case n > maxTags, list.Len()+len(text) > maxTagList:
			return nil, fmt.Errorf("%w: more than %d tags or %d MiB", ErrTooLarge, maxTags, maxTagList>>20)
		case n > 0:
			list.WriteByte(',')
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil, err
		}
		list.Write(quoted)
	}
	list.WriteByte(']')
	_, err = in.Token()
	return list.Bytes(), err
}

// skipValue reads one value and drops it.
func skipValue(in *json.Decoder) error {
	for depth := 0; ; {
		token, err := in.Token()
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		switch {
		case depth == 0:
			return nil
		case depth > maxNesting:
			return errors.New("it is nested too deeply")
		}
	}
}
