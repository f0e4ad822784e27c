package report

import (
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
)

// listing is a history as the output results has it: what had to be left out to stay
// within GitHub's limit is counted.
type listing struct {
	document.History
	LinesOmitted     int `json:"linesOmitted,omitempty"`     // the oldest ones
	HistoriesOmitted int `json:"historiesOmitted,omitempty"` // on the last: how many more there were
}

// maxCounters is what the counters of what was left out take, in bytes of UTF-16.
const maxCounters = 2 * len(`,"historiesOmitted":1000000,"linesOmitted":1000000`)

// historiesJSON is the JSON of all histories within room bytes of UTF-16. The oldest
// lines of all of them go first, then the last histories.
func historiesJSON(histories []document.History, room int) string {
	all := make([]listing, 0, len(histories))
	for _, h := range histories {
		h.Lines = []document.Line{}
		if room -= utf16Size(encode(h)) + maxCounters; room < 0 {
			break
		}
		all = append(all, listing{History: h})
	}
	if len(all) == 0 {
		return "[]"
	}
	all[len(all)-1].HistoriesOmitted = len(histories) - len(all)
	for i, kept := range newest(histories[:len(all)], room) {
		all[i].Lines = histories[i].Lines[:kept:kept]
		if kept == 0 {
			all[i].Lines = []document.Line{}
		}
		all[i].LinesOmitted = len(histories[i].Lines) - kept
	}
	texts := make([]string, len(all))
	for i, l := range all {
		texts[i] = encode(l)
	}
	return array(texts)
}

// newest says how many lines of each history fit into room bytes of UTF-16, where
// the newest of all come first.
func newest(histories []document.History, room int) []int {
	kept := make([]int, len(histories))
	for {
		next := -1
		for i, h := range histories {
			if kept[i] < len(h.Lines) && (next < 0 || h.Lines[kept[i]].Time.After(histories[next].Lines[kept[next]].Time)) {
				next = i
			}
		}
		if next < 0 {
			return kept
		}
		if room -= utf16Size(encode(histories[next].Lines[kept[next]])) + 2; room < 0 {
			return kept
		}
		kept[next]++
	}
}

// found is a finding as the output results has it.
type found struct {
	document.Finding
	FindingsOmitted int `json:"findingsOmitted,omitempty"` // on the last: how many more there were
}

// findingsJSON is the JSON of the first findings that fit into room bytes of UTF-16.
func findingsJSON(findings []document.Finding, room int) string {
	const counter = 2 * len(`,"findingsOmitted":1000000`)
	var texts []string
	for _, f := range findings {
		text := encode(f)
		if room -= utf16Size(text) + 2; room < counter {
			break
		}
		texts = append(texts, text)
	}
	if n := len(texts); n > 0 && n < len(findings) {
		texts[n-1] = encode(found{findings[n-1], len(findings) - n})
	}
	return array(slices.Clip(texts))
}
