package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Bounds of a plan's JSON, all of them far above any real one: what passes takes
// little memory once it is decoded.
const (
	maxDepth    = 16
	maxKeys     = 64      // of one object
	maxElements = 10_000  // of one list
	maxValues   = 500_000 // in all lists together
)

// nesting is an object or a list whose end was not read yet.
type nesting struct {
	keys     map[string]bool // nil: a list
	elements int
	inValue  bool // of an object: its next token is no key
}

// checkKeys walks over JSON and refuses repeated keys, of which other readers may
// take the other one, and what is out of bounds.
func checkKeys(raw []byte) error {
	w := keyWalk{}
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		token, err := d.Token()
		switch {
		case err == io.EOF && len(w.stack) == 0 && w.done:
			return nil
		case err == io.EOF:
			return errors.New("it ends too early")
		case err != nil:
			return err
		case w.done:
			return errors.New("something follows it")
		}
		if err := w.take(token); err != nil {
			return fmt.Errorf("at byte %d: %w", d.InputOffset(), err)
		}
	}
}

type keyWalk struct {
	stack  []nesting
	values int
	done   bool // the outermost value has ended
}

func (w *keyWalk) take(token json.Token) error {
	delimiter, _ := token.(json.Delim)
	if delimiter == '}' || delimiter == ']' {
		w.stack = w.stack[:len(w.stack)-1]
		w.done = len(w.stack) == 0
		return nil
	}
	if isKey, err := w.count(token); isKey || err != nil {
		return err
	}
	switch delimiter {
	case '{':
		w.stack = append(w.stack, nesting{keys: map[string]bool{}})
	case '[':
		w.stack = append(w.stack, nesting{})
	default:
		w.done = len(w.stack) == 0
	}
	if len(w.stack) > maxDepth {
		return fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	return nil
}

// count counts the token where it stands, and says whether it is a key.
func (w *keyWalk) count(token json.Token) (isKey bool, err error) {
	if len(w.stack) == 0 {
		return false, nil
	}
	in := &w.stack[len(w.stack)-1]
	if in.keys == nil {
		return false, w.element(in)
	}
	in.inValue = !in.inValue
	if !in.inValue {
		return false, nil
	}
	key, _ := token.(string)
	switch {
	case in.keys[key]:
		return true, fmt.Errorf("key %s is there twice", quote(key))
	case len(in.keys) == maxKeys:
		return true, fmt.Errorf("an object has more than %d keys", maxKeys)
	}
	in.keys[key] = true
	return true, nil
}

func (w *keyWalk) element(in *nesting) error {
	in.elements++
	w.values++
	if in.elements > maxElements || w.values > maxValues {
		return fmt.Errorf("a list has more than %d values, or all lists together more than %d", maxElements, maxValues)
	}
	return nil
}
