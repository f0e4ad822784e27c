package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
)

// maxNesting bounds how deep an answer may nest: json.Decoder keeps each level.
const maxNesting = 64

// extractTags keeps of an answer the member "tags" alone, while the answer comes: a
// member for each manifest makes megabytes of it in a large repository (GCR and GAR,
// ggcr#897). An answer without that member gives an empty object.
func extractTags(body io.Reader) ([]byte, error) {
	source := &failingReader{inner: body}
	kept, err := extractMember(json.NewDecoder(source), "tags")
	switch {
	case source.err != nil:
		return nil, source.err
	case err != nil:
		return nil, retry.AfterDamage(fmt.Errorf("read tag list: %w", err))
	}
	return kept, nil
}

// failingReader keeps the error of what it reads, which is not one of the JSON in it.
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

// extractMember reads an object to its end and keeps one member, a list of texts.
func extractMember(in *json.Decoder, name string) ([]byte, error) {
	if start, err := in.Token(); err != nil || start != json.Delim('{') {
		return nil, errors.Join(errors.New("it is no JSON object"), err)
	}
	kept := []byte("{}")
	for in.More() {
		key, err := in.Token()
		if err == nil && key == name { // exactly: a flipped bit is enough for another
			var list []byte
			list, err = extractTexts(in)
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
		return nil, errors.New("there is more after its end")
	}
	return kept, nil
}

// extractTexts reads a list of texts, or null.
func extractTexts(in *json.Decoder) ([]byte, error) {
	start, err := in.Token()
	if err != nil || start == nil {
		return []byte("null"), err
	}
	if start != json.Delim('[') {
		return nil, errors.New("its member is no list")
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
			return nil, errors.New("an entry of the list is no text")
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

// skipValue reads past one value.
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
			return errors.New("it nests too deep")
		}
	}
}
