package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// tokens are those of moment (https://momentjs.com/docs/#/displaying/format/),
// which docker/metadata-action's {{date '…'}} takes, as far as they make sense
// in a tag. A token is a whole run of one letter.
var tokens = map[string]func(time.Time) string{
	"YYYY": layout("2006"), "YY": layout("06"),
	"MMMM": layout("January"), "MMM": layout("Jan"), "MM": layout("01"), "M": layout("1"),
	"DDDD": layout("002"), "DDD": number(time.Time.YearDay), "DD": layout("02"), "D": layout("2"),
	"HH": layout("15"), "H": number(time.Time.Hour),
	"hh": layout("03"), "h": layout("3"), "A": layout("PM"), "a": layout("pm"),
	"mm": layout("04"), "m": layout("4"),
	"ss": layout("05"), "s": layout("5"),
	"X": func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) },
}

const tokenRule = "the date tokens YYYY YY MMMM MMM MM M DDDD DDD DD D HH H hh h A a mm m ss s X, digits, '.', '-', '_', and other letters in brackets, as in [v]"

func layout(l string) func(time.Time) string {
	return func(t time.Time) string { return t.Format(l) }
}

func number(f func(time.Time) int) func(time.Time) string {
	return func(t time.Time) string { return strconv.Itoa(f(t)) }
}

func renderDate(v Values, format string) (string, *Error) {
	if v.Now.IsZero() {
		return "", &Error{Found: "{{date}} has no value, because the time of the run is not known", Expected: "a run that began at some time"}
	}
	text, _, err := formatDate(format, v.Now.UTC())
	if err != nil {
		return "", &Error{Found: err.Error(), Expected: tokenRule}
	}
	return text, nil
}

// formatDate renders the moment. A fault comes with its byte offset in format.
func formatDate(format string, moment time.Time) (text string, offset int, err error) {
	var b strings.Builder
	for offset < len(format) {
		piece, n, err := nextPiece(format[offset:], moment)
		if err != nil {
			return "", offset, err
		}
		b.WriteString(piece)
		offset += n
	}
	return b.String(), offset, nil
}

// nextPiece renders the first piece of format and says how long the piece is.
func nextPiece(format string, moment time.Time) (text string, length int, err error) {
	switch first := format[0]; {
	case first == '[':
		return nextBracket(format)
	case isLetter(first):
		run := format[:len(format)-len(strings.TrimLeft(format, format[:1]))]
		token, ok := tokens[run]
		if !ok {
			return "", 0, fmt.Errorf("%s is no date token", quote(run))
		}
		return token(moment), len(run), nil
	case notInTag(rune(first)):
		return "", 0, fmt.Errorf("%s cannot stand in a tag", quote(firstRune(format)))
	default:
		return format[:1], 1, nil
	}
}

// nextBracket takes text as it is, which is how moment escapes letters.
func nextBracket(format string) (text string, length int, err error) {
	text, _, closed := strings.Cut(format[1:], "]")
	if !closed {
		return "", 0, fmt.Errorf("[ has no closing ]")
	}
	if strings.IndexFunc(text, notInTag) >= 0 {
		return "", 0, fmt.Errorf("%s cannot stand in a tag", quote(text))
	}
	return text, len(text) + 2, nil
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func firstRune(text string) string {
	for i := range text {
		if i > 0 {
			return text[:i]
		}
	}
	return text
}
