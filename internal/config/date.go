package config

import (
	"regexp"
	"strings"
)

// tokens are patterns of what the tokens of {{date '…'}} stand for; those that
// are not here are numbers of two digits.
var tokens = map[string]string{
	"YYYY": `[0-9]{4,}`,
	"MMMM": `[A-Za-z]+`, "MMM": `[A-Za-z]{3}`, "M": `[0-9]{1,2}`,
	"DDDD": `[0-9]{3}`, "DDD": `[0-9]{1,3}`, "D": `[0-9]{1,2}`,
	"H": `[0-9]{1,2}`, "h": `[0-9]{1,2}`, "m": `[0-9]{1,2}`, "s": `[0-9]{1,2}`,
	"A": `[AP]M`, "a": `[ap]m`,
	"X": `-?[0-9]+`,
}

// datePattern is what a date's format, which has been parsed before, can stand for.
func datePattern(format string) string {
	var b strings.Builder
	for format != "" {
		length := len(format) - len(strings.TrimLeft(format, format[:1]))
		piece := format[:length]
		switch {
		case format[0] == '[':
			literal, rest, _ := strings.Cut(format[1:], "]")
			b.WriteString(regexp.QuoteMeta(literal))
			format = rest
			continue
		case !isLetter(format[0]):
			b.WriteString(regexp.QuoteMeta(piece))
		case tokens[piece] != "":
			b.WriteString(tokens[piece])
		default:
			b.WriteString(`[0-9]{2}`)
		}
		format = format[length:]
	}
	return b.String()
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
