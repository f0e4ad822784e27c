package report

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// result is a promotion as the output results has it: what had to be left out
// to stay within GitHub's limit is named.
type result struct {
	document.Promotion
	Omitted           []string `json:"omitted,omitempty"`           // attachments, platforms, gates.message
	PromotionsOmitted int      `json:"promotionsOmitted,omitempty"` // on the last: how many more there were
}

// resultsOf is the JSON of what the run was about within room bytes of UTF-16: its
// promotions, histories or findings.
func resultsOf(r document.Report, room int) string {
	switch {
	case lists(r):
		return historiesJSON(r.Histories, room)
	case audits(r):
		return findingsJSON(r.Findings, room)
	default:
		return results(r.Promotions, room)
	}
}

// results is the JSON of all promotions within room bytes of UTF-16. What grows
// with an image goes first, then the last promotions.
func results(promotions []document.Promotion, room int) string {
	texts := make([]string, len(promotions))
	for depth := range 4 {
		for i, p := range promotions {
			texts[i] = encode(thin(p, depth))
		}
		if text := array(texts); utf16Size(text) <= room {
			return text
		}
	}
	return cut(promotions, texts, room)
}

func thin(p document.Promotion, depth int) result {
	thinned := result{Promotion: p}
	if thinned.Tags == nil {
		thinned.Tags = []document.Tag{}
	}
	if depth >= 1 && len(p.Attachments) > 0 {
		thinned.Attachments = nil
		thinned.Omitted = append(thinned.Omitted, "attachments")
	}
	if depth >= 2 && len(p.Platforms) > 0 {
		thinned.Platforms = nil
		thinned.Omitted = append(thinned.Omitted, "platforms")
	}
	if depth >= 3 && len(p.Gates) > 0 {
		thinned.Gates = slices.Clone(p.Gates)
		for i := range thinned.Gates {
			thinned.Gates[i].Message = ""
		}
		thinned.Omitted = append(thinned.Omitted, "gates.message")
	}
	return thinned
}

// cut keeps the first promotions that fit; the last of them says how many more
// there were.
func cut(promotions []document.Promotion, texts []string, room int) string {
	const counter = len(`,"promotionsOmitted":1000000`) * 2
	kept := 0
	for room -= counter; kept < len(texts); kept++ {
		if room -= utf16Size(texts[kept]) + 2; room < 0 {
			break
		}
	}
	if kept == 0 {
		return "[]"
	}
	last := thin(promotions[kept-1], 3)
	last.PromotionsOmitted = len(promotions) - kept
	return array(append(slices.Clone(texts[:kept-1]), encode(last)))
}

func array(texts []string) string { return "[" + strings.Join(texts, ",") + "]" }

// encode also writes the quotes and signs of a shell as \u escapes: they stand
// only inside strings, and many workflows put this text into a line of shell.
func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // plain values: json.Marshal has no way to fail
	}
	return shellSafe(text)
}

func shellSafe(text []byte) string { return shellSigns.Replace(string(text)) }

var shellSigns = strings.NewReplacer("'", `\u0027`, "`", `\u0060`, "$", `\u0024`, ";", `\u003b`, "|", `\u007c`)
