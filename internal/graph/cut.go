package graph

import "unicode/utf8"

// maxWords is how much of a stranger's text is repeated, in bytes.
const maxWords = 100

// cut shortens a stranger's text to whole characters.
func cut(text string) string {
	if len(text) <= maxWords {
		return text
	}
	end := maxWords
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
