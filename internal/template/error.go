package template

import (
	"fmt"
	"strconv"
	"strings"
)

// Error says why a template cannot be parsed or rendered. Whatever in it came
// from a user or a registry is escaped.
type Error struct {
	Text     string // the template as it was written
	Position int    // where in Text, in characters from 1; 0: nowhere in particular
	Found    string // what is wrong
	Expected string // what should stand there, or what to do
	Example  string // may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "tag template %s: ", quote(e.Text))
	if e.Position > 0 {
		fmt.Fprintf(&b, "at character %d: ", e.Position)
	}
	fmt.Fprintf(&b, "%s; expected %s", e.Found, e.Expected)
	if e.Example != "" {
		fmt.Fprintf(&b, "; example: %s", e.Example)
	}
	return b.String()
}

// maxQuoted is how much of a stranger's text an error repeats, in bytes.
const maxQuoted = 160

// quote shows text escaped to ASCII, so that control characters and look-alikes
// are seen, and shortened.
func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.QuoteToASCII(text[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(text)
}
