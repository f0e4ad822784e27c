package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// shape is a summary's structure as a renderer of GitHub's markdown sees it:
// every block in order, a table's rows with their cells, and every inline that
// is not words or code.
func shape(t *testing.T, markdown string) []string {
	t.Helper()
	var nodes []string
	source := []byte(markdown)
	root := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	err := ast.Walk(root, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			if n.Parent().Kind() != ast.KindCodeSpan {
				checkWords(t, string(n.Segment.Value(source)))
			}
		case *ast.CodeSpan:
		case *ast.HTMLBlock:
			nodes = append(nodes, "HTML "+strings.TrimSpace(string(n.Lines().Value(source))))
		default:
			nodes = append(nodes, n.Kind().String())
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return nodes
}

// acting is what GitHub turns into something else after markdown is rendered, in
// words that are not code: mentions, issues, addresses, emoji, formulas, HTML.
var acting = regexp.MustCompile("[@#<>$`|\\[\\]{}\\\\*_~&]|://|www\\.\\w|:[a-z0-9+_-]+:|(?i)gh-[0-9]|\\b[0-9a-f]{7,}\\b")

func checkWords(t *testing.T, words string) {
	t.Helper()
	if found := acting.FindString(words); found != "" {
		t.Errorf("%q stands outside of code in %q", found, words)
	}
	if Visible(words) != words {
		t.Errorf("%q has characters that cannot be seen", words)
	}
}

func TestSummaryKeepsItsShape(t *testing.T) {
	for _, text := range hostileTexts {
		t.Run(clip(fmt.Sprintf("%q", text), 40), func(t *testing.T) { checkShape(t, text) })
	}
}

func FuzzSummary(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Fuzz(checkShape)
}

// checkShape compares a report full of the text with one full of a word. Blank
// text leaves lines out, and text that may be pasted adds commands.
func checkShape(t *testing.T, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	word := "wörd"
	if pasteable.MatchString(text) {
		word = "word"
	}
	for _, result := range []document.Result{document.Failed, document.Promoted, document.WouldPromote, document.Planned, document.Denied} {
		r := hostile(text)
		r.Result = result
		if got, want := shape(t, Summary(r)), shapeOf(t, word, result); !slices.Equal(got, want) {
			t.Errorf("%q changes the summary.\ngot:  %v\nwant: %v", text, got, want)
		}
	}
}

var shapes sync.Map // of reports full of a harmless word

func shapeOf(t *testing.T, word string, result document.Result) []string {
	key := word + " " + string(result)
	known, ok := shapes.Load(key)
	if !ok {
		r := hostile(word)
		r.Result = result
		known, _ = shapes.LoadOrStore(key, shape(t, Summary(r)))
	}
	return known.([]string)
}

func TestSummaryOfBlankText(t *testing.T) {
	for _, text := range []string{"", " ", "\n\t"} {
		cells := 0
		for _, node := range shape(t, Summary(hostile(text))) {
			if node == "TableCell" {
				cells++
			}
		}
		if cells != 8+5*3 {
			t.Errorf("the tables for %q have %d cells, want 23", text, cells)
		}
	}
}

func TestProse(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain words, and more.", "plain words, and more."},
		{"the registry's own error (twice): \"really\"", "the registry's own error (twice): \"really\""},
		{"tag ghcr.io/acme/app:v1 holds sha256:ab (was sha256:cd).", "tag `ghcr.io/acme/app:v1` holds `sha256:ab` (was `sha256:cd`)."},
		{"two\nlines\t and   blanks", "two lines and blanks"},
		{"12 of 47, 1.5 s", "12 of 47, 1.5 s"},
		{"until 2026-11-29 14:03 UTC, not 14:03:00 or 12026-11-29", "until 2026-11-29 14:03 UTC, not `14:03:00` or `12026-11-29`"},
		{"GH-123 deadbeef 1234567 www.x.y a@b.c :tada: #1 @x", "`GH-123` `deadbeef` `1234567` `www.x.y` `a@b.c` `:tada`: `#1` `@x`"},
		{"a`b|c", "`aˋb¦c`"},
		{"Störung behoben", "Störung behoben"},
		{"o'deadbeef defaced facade", "`o'deadbeef` `defaced` facade"},
		{"", ""},
	} {
		if got := prose(test.in); got != test.want {
			t.Errorf("prose(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestFenceCannotBeClosed(t *testing.T) {
	got := fence("text", "a | b `c`\n```\n  ````sh\n\x1b[1m\r\nend\n\n")
	want := "```text\na | b `c`\nˋˋˋ\n  ˋˋˋˋsh\n\\x1b[1m\nend\n```"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestVisible(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain → ü 漢字 …", "plain → ü 漢字 …"},
		{"a\nb\rc\td", `a\nb\rc\td`},
		{"\x1b[2J\x00\x7f\u0085", `\x1b[2J\x00\x7f\u0085`},
		{"a\u200bb\u202ec\ufe0fd\u034fe\u00ad", `a\u200bb\u202ec\ufe0fd\u034fe\u00ad`},
		{"a\u00a0b\u2028c\u3000d", `a\u00a0b\u2028c\u3000d`},
		{"\xff\ufffd", `\xff` + "\ufffd"},
		{`it's "so"`, `it's "so"`},
	} {
		if got := Visible(test.in); got != test.want {
			t.Errorf("Visible(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func FuzzVisible(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Visible(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !shown(r) }) {
			t.Errorf("Visible(%q) = %q still hides something", text, got)
		}
		if again := Visible(got); again != got {
			t.Errorf("Visible(%q) is not stable: %q", got, again)
		}
	})
}
