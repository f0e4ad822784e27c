package template

import "strings"

// An expression begins with open and ends with the next shut, whatever stands
// between them.
const (
	open = "{{"
	shut = "}}"
)

// Blank is text with every expression overwritten by underscores, byte for byte:
// a colon, slash, space or arrow that is still there stands outside of
// expressions, at the same offset. An expression that is not closed reaches to the end.
func Blank(text string) string {
	var b strings.Builder
	for text != "" {
		start := strings.Index(text, open)
		if start < 0 {
			b.WriteString(text)
			break
		}
		length := len(text) - start
		if end := strings.Index(text[start:], shut); end >= 0 {
			length = end + len(shut)
		}
		b.WriteString(text[:start] + strings.Repeat("_", length))
		text = text[start+length:]
	}
	return b.String()
}
