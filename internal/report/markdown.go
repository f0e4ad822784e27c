package report

import (
	"regexp"
	"strings"
)

// Limits of a single text in the summary, in characters.
const (
	maxReference = 300
	maxSentence  = 1000
	maxHint      = 4000
)

// plainWord is a word that means nothing to GitHub's markdown: letters with
// inner hyphens or apostrophes, a short number, a date, or a time of day. All else can be or join a
// link, a mention, an issue, a commit, an emoji, a formula, or HTML.
var plainWord = regexp.MustCompile(`^(?:\p{L}+(?:['’-]\p{L}+)*|[0-9]{1,6}(?:[.,][0-9]{1,6})*|[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}:[0-9]{2}|[→—–%…])$`)

// commitWord is letters that GitHub may take for the name of a commit.
var commitWord = regexp.MustCompile(`(?i)\b[a-f]{7,}\b`)

// Marks that may stand before and after a word without meaning anything.
const (
	opening = `("“`
	closing = `)"”.,;:!?…`
)

// prose is a sentence by strangers as inline markdown, also for a table's cell:
// plain words stay words, every other word becomes code. Escaping alone would
// not do: GitHub links @names, #1 and addresses after entities are resolved.
func prose(text string) string {
	words := strings.Fields(clip(text, maxSentence))
	for i, word := range words {
		words[i] = proseWord(word)
	}
	return strings.Join(words, " ")
}

func proseWord(word string) string {
	rest := strings.TrimLeft(word, opening)
	core := strings.TrimRight(rest, closing)
	before, after := word[:len(word)-len(rest)], rest[len(core):]
	if core == "" || plainWord.MatchString(core) && !commitWord.MatchString(core) {
		return word
	}
	return before + code(core) + after
}

// code is a stranger's text as a code span, also for a table's cell. In a span
// only the backtick means anything, and in a cell the pipe: both are replaced
// by their doubles, because GitHub and goldmark differ on escaping them.
func code(text string) string {
	inner := strings.TrimSpace(noMarks.Replace(Visible(clip(text, maxReference))))
	if inner == "" {
		return "—"
	}
	return "`" + inner + "`"
}

var noMarks = strings.NewReplacer("`", "ˋ", "|", "¦")

// fence is a block of code in the language given; each line is shown as it is,
// but for one that would close the block.
func fence(language, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	for i, line := range lines {
		lines[i] = Visible(strings.TrimRight(line, "\r"))
		if strings.HasPrefix(strings.TrimSpace(lines[i]), "```") {
			lines[i] = noMarks.Replace(lines[i])
		}
	}
	return "```" + language + "\n" + strings.Join(lines, "\n") + "\n```"
}

// A block that a reader unfolds: opened by unfold, closed by folded.
const folded = "\n</details>\n"

func unfold(title string) string { return "<details>\n<summary>" + title + "</summary>\n\n" }
