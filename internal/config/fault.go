package config

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault is one thing that is wrong with a config file. Its texts are escaped.
type Fault struct {
	Line, Column int    // in characters from 1; 0: the file as a whole
	Given        string // the offending text in quotes, and what is wrong with it
	Expected     string // what was expected
	Source       string // the offending line as it is in the file, escaped; may be empty
	mark         int    // bytes of Source before the column
}

// Error is everything that is wrong with a config file, by line.
type Error struct {
	Path   string
	Faults []Fault
	More   int // faults that are not listed, because there are too many
}

// maxFaults is how many faults an error lists.
const maxFaults = 100

func (e *Error) Error() string {
	path := strings.Trim(quote(e.Path), `"`)
	lines := make([]string, 0, len(e.Faults)+1)
	for _, f := range e.Faults {
		lines = append(lines, f.in(path))
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more in %s", e.More, path))
	}
	return strings.Join(lines, "\n")
}

// Message is the fault without its place, in one line.
func (f Fault) Message() string { return "given " + f.Given + "; expected " + f.Expected }

func (f Fault) in(path string) string {
	if f.Line == 0 {
		return path + ": " + f.Message()
	}
	text := fmt.Sprintf("%s:%d:%d: %s", path, f.Line, f.Column, f.Message())
	if f.Source != "" {
		number := strconv.Itoa(f.Line)
		text += "\n  " + number + " | " + f.Source + f.marker(len(number))
	}
	return text
}

// marker points at the column, if it is in what is shown.
func (f Fault) marker(width int) string {
	if f.mark >= len(f.Source) {
		return ""
	}
	return "\n  " + strings.Repeat(" ", width) + " | " + strings.Repeat(" ", f.mark) + "^"
}

// report is the faults in the order of their places, each once, with their lines.
func report(path string, lines []string, faults []Fault) *Error {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column)
	})
	faults = slices.Compact(faults)
	e := &Error{Path: path, Faults: faults}
	if len(faults) > maxFaults {
		e.Faults, e.More = faults[:maxFaults], len(faults)-maxFaults
	}
	for i, f := range e.Faults {
		if 0 < f.Line && f.Line <= len(lines) {
			e.Faults[i].Source, e.Faults[i].mark = visible(lines[f.Line-1], f.Column)
		}
	}
	return e
}

const (
	maxQuoted = 160 // bytes of the file's text that a message repeats
	maxSource = 200 // bytes of a line that are shown
)

// quote shows text escaped to ASCII, so that control characters and look-alikes
// are seen, and shortened.
func quote(text string) string {
	short := shorten(text, maxQuoted)
	if len(short) < len(text) {
		return strconv.QuoteToASCII(short) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// visible is a line with what is not plain ASCII escaped, and how long it is before
// a column; quotes stay as they are.
func visible(line string, column int) (shown string, before int) {
	line = strings.TrimRight(line, " ")
	short := shorten(line, maxSource)
	var b strings.Builder
	before = math.MaxInt
	for i, r := range []rune(short) {
		if i == column-1 {
			before = b.Len()
		}
		if r == '"' || r == '\'' || r == '\\' {
			b.WriteRune(r)
			continue
		}
		escaped := strconv.QuoteRuneToASCII(r)
		b.WriteString(escaped[1 : len(escaped)-1])
	}
	if len(short) < len(line) {
		b.WriteString("…")
	}
	return b.String(), before
}

// shorten cuts text at the end of a character.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}

// listed is names for a message, shortened if there are many.
func listed(names []string) string {
	const most = 20
	shown := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			shown = append(shown, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		shown = append(shown, strings.Trim(quote(name), `"`))
	}
	return strings.Join(shown, ", ")
}
