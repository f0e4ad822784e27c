package github

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quote shows a stranger's text: quoted, in ASCII, and at most n bytes of it.
func quote(text string, n int) string { return strconv.QuoteToASCII(cut(text, n)) }

// plain shows a text as it is where it is short and printable, else quoted.
func plain(text string, n int) string {
	if q := strconv.QuoteToASCII(text); len(text) <= n && q == `"`+text+`"` {
		return text
	}
	return quote(text, n)
}

// cut shortens a text to at most n bytes of whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n] + "…"
}

// line makes one printable line of a text that may quote a stranger, and cuts it.
func line(text string, n int) string {
	var out strings.Builder
	for _, r := range cut(text, n) {
		if r >= ' ' && r <= '~' || r == '…' {
			out.WriteRune(r)
			continue
		}
		out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return out.String()
}
