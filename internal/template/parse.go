package template

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Parse reads a template. The error is an [*Error].
func Parse(text string) (Template, error) {
	if len(text) > maxLength {
		return Template{}, &Error{Text: text, Found: fmt.Sprintf("it has %d bytes", len(text)), Expected: fmt.Sprintf("at most %d", maxLength)}
	}
	if text == "" {
		return Template{}, &Error{Found: "it is empty", Expected: tagRule, Example: "staging"}
	}
	t := Template{text: text}
	for offset := 0; offset < len(text); {
		p, length, err := parsePart(text[offset:], offset == 0)
		if err != nil {
			return Template{}, err.in(text, offset)
		}
		t.parts = append(t.parts, p)
		offset += length
	}
	return t, nil
}

// fault is an Error whose place is a byte offset in the part being parsed.
type fault struct {
	offset                   int
	found, expected, example string
}

func (f *fault) in(text string, partOffset int) *Error {
	return &Error{
		Text:     text,
		Position: utf8.RuneCountInString(text[:partOffset+f.offset]) + 1,
		Found:    f.found,
		Expected: f.expected,
		Example:  f.example,
	}
}

// parsePart reads the part that rest begins with, and says how long it is.
func parsePart(rest string, first bool) (part, int, *fault) {
	start := strings.Index(rest, open)
	if start == 0 {
		return parseExpression(rest)
	}
	literal := rest
	if start > 0 {
		literal = rest[:start]
	}
	return part{literal: literal}, len(literal), checkLiteral(literal, first)
}

func checkLiteral(literal string, first bool) *fault {
	at := strings.IndexFunc(literal, notInTag)
	if first && strings.ContainsRune(".-", rune(literal[0])) {
		at = 0
	}
	if at < 0 {
		return nil
	}
	f := &fault{offset: at, found: quote(firstRune(literal[at:])) + " cannot stand there", expected: tagRule, example: "v1.4.2"}
	if strings.ContainsRune("{}", rune(literal[at])) {
		f.expected = "an expression in two braces on either side"
		f.example = expressions[0].usage
	}
	return f
}

func parseExpression(rest string) (part, int, *fault) {
	end := strings.Index(rest, shut)
	if end < 0 {
		return part{}, 0, &fault{found: "{{ has no closing }}", expected: "}} after the expression", example: expressions[0].usage}
	}
	inside := strings.TrimSpace(rest[len(open):end])
	name, argument, _ := strings.Cut(inside, " ")
	p := part{expression: name, argument: strings.TrimSpace(argument)}
	if _, ok := find(name); !ok {
		return part{}, 0, &fault{found: "unknown expression {{" + strings.Trim(quote(name), `"`) + "}}", expected: "one of " + known(), example: "release-" + expressions[0].usage}
	}
	length := end + len(shut)
	if name == "date" {
		format, err := parseDate(p.argument, strings.Index(rest, p.argument))
		p.argument = format
		return p, length, err
	}
	if p.argument != "" {
		return part{}, 0, &fault{found: "{{" + name + "}} with " + quote(p.argument), expected: "nothing after its name", example: "{{" + name + "}}"}
	}
	return p, length, nil
}

// parseDate takes the quotes off a date's format and checks it.
func parseDate(argument string, offset int) (string, *fault) {
	if strings.Contains(argument, "tz=") {
		return "", &fault{offset: offset, found: "a time zone", expected: "no time zone: dates are always in UTC", example: expressions[0].usage}
	}
	format, ok := unquote(argument)
	if !ok {
		return "", &fault{offset: offset, found: "a date without its format in quotes", expected: "one format in quotes", example: expressions[0].usage}
	}
	if _, at, err := formatDate(format, time.Unix(0, 0).UTC()); err != nil {
		return "", &fault{offset: offset + 1 + at, found: err.Error(), expected: tokenRule, example: expressions[0].usage}
	}
	return format, nil
}

// unquote takes the single or double quotes off; both are right in
// docker/metadata-action.
func unquote(text string) (string, bool) {
	if len(text) < 3 || (text[0] != '\'' && text[0] != '"') || text[len(text)-1] != text[0] {
		return "", false
	}
	inside := text[1 : len(text)-1]
	return inside, !strings.ContainsAny(inside, `'"`)
}
