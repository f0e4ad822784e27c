package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// gateRow is one verdict, and which images have it.
type gateRow struct {
	document.Verdict
	images []string
	all    bool // of the run's, and there are several
}

// gateRows are what all gates say, what does not pass first. Images for which a
// gate says the same are one row, and so are all that pass it.
func gateRows(r document.Report) []gateRow {
	type key struct{ gate, name string }
	var keys []key
	of := map[key][]gateRow{}
	labels := imageLabels(r)
	for i, p := range r.Promotions {
		for _, v := range p.Gates {
			k := key{v.Gate, v.Name}
			if of[k] == nil {
				keys = append(keys, k)
			}
			of[k] = append(of[k], gateRow{Verdict: v, images: []string{labels[i]}})
		}
	}
	var rows []gateRow
	for _, k := range keys {
		rows = append(rows, together(of[k], len(r.Promotions))...)
	}
	slices.SortStableFunc(rows, func(a, b gateRow) int { return cmp.Compare(urgency(a.Verdict), urgency(b.Verdict)) })
	return rows
}

// together joins one gate's rows: all if they are the same, else those that pass.
func together(rows []gateRow, images int) []gateRow {
	joined := gateRow{Verdict: rows[0].Verdict}
	var others []gateRow
	same := !slices.ContainsFunc(rows, func(row gateRow) bool { return !alike(row, rows[0]) })
	for _, row := range rows {
		if !same && urgency(row.Verdict) != passing {
			others = append(others, row)
			continue
		}
		if len(joined.images) == 0 {
			joined.Verdict = row.Verdict
		}
		if joined.Message != row.Message {
			joined.Message = ""
		}
		joined.images = append(joined.images, row.images...)
	}
	if len(joined.images) == 0 {
		return others
	}
	joined.all = images > 1 && len(joined.images) == images
	return append(others, joined)
}

// alike compares what a reader sees.
func alike(a, b gateRow) bool {
	return a.Status == b.Status && a.Overridden == b.Overridden && a.Message == b.Message
}

// imageLabels name each promotion: by its image, and by its target too where an
// image goes to several.
func imageLabels(r document.Report) []string {
	times := map[string]int{}
	names := make([]string, len(r.Promotions))
	for i, p := range r.Promotions {
		names[i] = cmp.Or(clip(p.Image, maxReference), image(p))
		times[names[i]]++
	}
	for i, p := range r.Promotions {
		if times[names[i]] > 1 {
			names[i] += " to " + clip(p.Repository, maxReference)
		}
	}
	return names
}

// How much a verdict needs a reader.
const (
	failing = iota
	unjudged
	waiting
	overriding
	passing
)

func urgency(v document.Verdict) int {
	switch {
	case v.Overridden:
		return overriding
	case v.Status == document.Pass:
		return passing
	case v.Status == document.Pending:
		return waiting
	case v.Status == document.Fail:
		return failing
	default:
		return unjudged
	}
}

// gatesFirst reports whether gates stand above the table of tags: where they were
// most likely what denied, and where the table is long.
func gatesFirst(r document.Report) bool { return r.Result == document.Denied || len(r.Promotions) > 1 }

// gates is the section of the gates.
func gates(p *page, r document.Report) {
	rows := gateRows(r)
	if len(rows) == 0 {
		return
	}
	columns := []string{"Gate", "Verdict", "Why"}
	if len(r.Promotions) > 1 {
		columns = []string{"Gate", "Image", "Verdict", "Why"}
	}
	head := "#### Gates\n\n| " + strings.Join(columns, " | ") + " |\n" + strings.Repeat("| --- ", len(columns)) + "|\n"
	var lines []string
	for _, row := range rows {
		cells := []string{gateCell(row.Verdict), verdictCell(row.Verdict), why(row)}
		if len(r.Promotions) > 1 {
			cells = slices.Insert(cells, 1, imagesCell(row))
		}
		lines = append(lines, "| "+strings.Join(cells, " | ")+" |")
	}
	p.rows("rows of the gates", head, lines, "")
}

func gateCell(v document.Verdict) string {
	text := code(gateLabel(v))
	if v.Overridden {
		return "**" + text + "**"
	}
	return text
}

// gateLabel is the gate's name, and which of several it is.
func gateLabel(v document.Verdict) string {
	if v.Name == "" {
		return clip(v.Gate, maxReference/2)
	}
	return clip(v.Gate, maxReference/2) + " (" + clip(v.Name, maxReference/2) + ")"
}

func verdictCell(v document.Verdict) string {
	switch urgency(v) {
	case overriding:
		return "**⚠ OVERRIDDEN** (" + prose(statusWord(v)) + ")"
	case passing:
		return "✅ pass"
	case waiting:
		return "⏳ pending"
	case failing:
		return "❌ fail"
	default:
		return "⚠ " + prose(statusWord(v))
	}
}

// statusWord is the status, also one that is none of ours.
func statusWord(v document.Verdict) string { return cmp.Or(clip(string(v.Status), 40), "error") }

// imagesCell counts images, or names the only one.
func imagesCell(row gateRow) string {
	switch {
	case row.all:
		return fmt.Sprintf("all %d images", len(row.images))
	case len(row.images) > 1:
		return fmt.Sprintf("%d images", len(row.images))
	default:
		return code(row.images[0])
	}
}

func why(row gateRow) string {
	text := prose(row.Message)
	switch {
	case text == "" && len(row.images) > 1:
		text = "the output `results` says it for each image"
	case text == "":
		text = "—"
	}
	return text
}

// gateLines are the gates for the log.
func gateLines(r document.Report) []string {
	var lines []string
	for _, row := range gateRows(r) {
		text := "gate " + gateLabel(row.Verdict)
		if len(r.Promotions) > 1 {
			text += ", " + strings.Trim(imagesCell(row), "`")
		}
		lines = append(lines, "  "+line(text+": "+said(row.Verdict)))
	}
	return lines
}

// said is the verdict and why, for a line.
func said(v document.Verdict) string {
	text := statusWord(v)
	if v.Overridden {
		text = "OVERRIDDEN (" + text + ")"
	}
	if v.Message != "" {
		text += ": " + clip(v.Message, maxSentence)
	}
	return text
}

// Warnings are one line for each gate that was overridden, and for the findings of
// an audit, as many as GitHub shows: for annotations.
func Warnings(r document.Report) []string {
	var lines []string
	for _, name := range overrides(r) {
		text := "gate " + name + " did not pass and was OVERRIDDEN"
		if r.Reason != "" {
			text += "; reason: " + clip(r.Reason, maxSentence)
		}
		lines = append(lines, line(text))
	}
	return append(lines, findingWarnings(r, maxAnnotations-len(lines))...)
}

// overrides are the gates that were overridden although they did not pass.
func overrides(r document.Report) []string {
	var names []string
	for _, name := range r.Overrides {
		names = append(names, clip(name, maxReference/2))
	}
	return slices.Compact(sorted(append(names, gatesThat(r, overriding)...)))
}

func sorted(names []string) []string { slices.Sort(names); return names }

// gatesThat are the names of the gates with a verdict of that urgency for any
// image, each once, in the order of the verdicts.
func gatesThat(r document.Report, urgencies ...int) []string {
	var names []string
	known := map[string]bool{}
	for _, p := range r.Promotions {
		for _, v := range p.Gates {
			if slices.Contains(urgencies, urgency(v)) && !known[v.Gate] {
				known[v.Gate] = true
				names = append(names, clip(v.Gate, maxReference/2))
			}
		}
	}
	return names
}

// list names gates: a config has ten at most, a stranger's plan any number.
func list(names []string) string {
	const shown = 12
	if more := len(names) - shown; more > 0 {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// byGates names the gates that denied: those that fail, or could not be judged.
// A pending one denies as well, but not a plan.
func byGates(r document.Report) string {
	failed, errors, pending := gatesThat(r, failing), gatesThat(r, unjudged), gatesThat(r, waiting)
	for _, name := range errors {
		if !slices.Contains(failed, name) {
			failed = append(failed, name+" (error)")
		}
	}
	switch {
	case len(failed) > 0 && len(pending) > 0:
		return " by " + list(failed) + ", with " + list(pending) + " pending"
	case len(failed) > 0:
		return " by " + list(failed)
	case len(pending) > 0:
		return " by " + list(pending) + " (pending)"
	default:
		return ""
	}
}

// overridden says it loudly, with the reason that was given.
func overridden(r document.Report) string {
	names := overrides(r)
	if len(names) == 0 {
		return ""
	}
	text := " with " + list(names) + " OVERRIDDEN"
	if r.Reason != "" {
		text += " (" + clip(r.Reason, 200) + ")"
	}
	return text
}
