package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible shows what a reader would not see: control characters, line ends,
// zero-width and direction marks, foreign spaces and broken UTF-8 come out as
// \n, \x1b or \u200b. The result is one line and cannot steer a terminal.
func Visible(text string) string {
	var out strings.Builder
	for i, r := range text {
		if r == utf8.RuneError && broken(text[i:]) {
			fmt.Fprintf(&out, `\x%02x`, text[i])
			continue
		}
		if shown(r) {
			out.WriteRune(r)
			continue
		}
		out.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
	}
	return out.String()
}

func broken(text string) bool {
	_, size := utf8.DecodeRuneInString(text)
	return size == 1
}

// shown reports whether a reader sees the character. strconv.IsPrint lets
// combining marks pass, and some of them draw nothing.
func shown(r rune) bool {
	return strconv.IsPrint(r) && !unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// clip shortens text to at most limit characters.
func clip(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:limit-1]) + "…"
}
