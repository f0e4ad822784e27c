package wire

import (
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quote is a status with what is said of it, as far as anything is.
func Quote(status int, parts ...string) string {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	for _, part := range parts {
		if part != "" {
			text += ": " + part
		}
	}
	return text
}

// Cut shortens untrusted text to at most n bytes of whole characters.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// Printable is a stranger's text on one line, without what steers a terminal.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\r', r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return unicode.ReplacementChar
		}
	}, text)
}
