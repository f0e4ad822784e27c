package gate

import "errors"

// Label is a label that an image must have on every platform, and the pattern that
// the whole of its value must match.
type Label struct{ name string }

// ParseLabel reads a pattern (https://github.com/google/re2/wiki/Syntax); the
// error is an [*Error].
func ParseLabel(name, pattern string) (Label, error) { return Label{name}, errors.New(pattern) }
