package config

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The YAML parser's time grows with the square of the number of keys, and with
// the square of the nesting or worse. The largest file that is read takes it a
// second or so.
const (
	maxBytes    = 1 << 20
	maxLines    = 5000
	maxColons   = 8000
	maxBrackets = 2000
	maxIndent   = 200
)

// byteOrderMark begins what some editors save.
const byteOrderMark = "\ufeff"

// source is the file's text and its lines.
type source struct {
	text   string
	lines  []string
	faults []Fault
}

// readSource checks what must hold before the text can be parsed.
func readSource(raw []byte) source {
	if len(raw) > maxBytes {
		return source{faults: []Fault{{
			Given:    fmt.Sprintf("a file of %d bytes", len(raw)),
			Expected: fmt.Sprintf("at most %d", maxBytes),
		}}}
	}
	text := strings.TrimPrefix(string(raw), byteOrderMark)
	text = strings.ReplaceAll(text, "\r\n", "\n")
	s := source{text: text, lines: strings.Split(text, "\n")}
	s.checkSize()
	for i, line := range s.lines {
		s.checkCharacters(i+1, line)
		s.checkNesting(i+1, line)
	}
	return s
}

func (s *source) fault(line, column int, given, expected string) {
	s.faults = append(s.faults, Fault{Line: line, Column: column, Given: given, Expected: expected})
}

func (s *source) checkSize() {
	for _, bound := range []struct {
		count, most int
		of          string
	}{
		{len(s.lines), maxLines, "lines"},
		{strings.Count(s.text, ":"), maxColons, "colons"},
		{strings.Count(s.text, "[") + strings.Count(s.text, "{"), maxBrackets, "brackets and braces that open"},
	} {
		if bound.count > bound.most {
			s.fault(0, 0, fmt.Sprintf("a file with %d %s", bound.count, bound.of), fmt.Sprintf("at most %d", bound.most))
		}
	}
}

// checkCharacters finds the first character of a line that cannot stand there.
func (s *source) checkCharacters(number int, line string) {
	column := 0
	for at, r := range line {
		column++
		switch {
		case r == utf8.RuneError && strings.HasPrefix(line[at:], "\ufffd"):
			continue // the character itself
		case r == utf8.RuneError:
			s.fault(number, column, fmt.Sprintf("the byte 0x%02x, which is not UTF-8", line[at]), "a file in UTF-8")
		case r == '\t':
			s.fault(number, column, "a tab", "blanks: YAML has no tabs in its indentation, and this file none at all")
		case r < ' ' || 0x7f <= r && r < 0xa0:
			s.fault(number, column, fmt.Sprintf("the control character U+%04X", r), "text without control characters")
		default:
			continue
		}
		return
	}
}

// nested is a line that opens many levels at once.
var nested = regexp.MustCompile(`([-?:] +){16}`)

func (s *source) checkNesting(number int, line string) {
	content := strings.TrimLeft(line, " ")
	if indent := len(line) - len(content); content != "" && indent > maxIndent {
		s.fault(number, indent+1, fmt.Sprintf("a line that is indented by %d", indent), fmt.Sprintf("at most %d", maxIndent))
	}
	if at := nested.FindStringIndex(line); at != nil && !strings.HasPrefix(content, "#") {
		s.fault(number, utf8.RuneCountInString(line[:at[0]])+1, "a line that opens 16 levels or more", "fewer")
	}
}

// place keeps a place within the file.
func (s *source) place(line, column int) (int, int) {
	line = min(max(line, 1), len(s.lines))
	return line, min(max(column, 1), utf8.RuneCountInString(s.lines[line-1])+1)
}
