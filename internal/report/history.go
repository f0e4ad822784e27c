package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// The modes that read and promote nothing, as [document.Report.Mode] spells them.
const (
	modeHistory = "history"
	modeAudit   = "audit"
)

// reads reports whether the run was to read records, and to promote nothing.
func reads(r document.Report) bool { return lists(r) || audits(r) }

func lists(r document.Report) bool { return r.Result == document.Listed || r.Mode == modeHistory }

// listed is the verdict of a history.
func listed(r document.Report) string {
	if len(r.Histories) == 0 {
		return "History: nothing was asked for"
	}
	text := "History of " + subject(r) + ": " + tally(r)
	if slices.ContainsFunc(r.Histories, func(h document.History) bool { return h.Older }) {
		text += " (older ones are left out)"
	}
	return text
}

func notListed(r document.Report) string {
	switch {
	case len(r.Histories) > 0:
		return ": the history of " + subject(r) + " is not complete"
	case r.TargetEnv != "":
		return ": the history of " + clip(r.TargetEnv, maxReference) + " could not be read"
	default:
		return ": the history could not be read"
	}
}

// subject is what the histories are of.
func subject(r document.Report) string {
	all := r.Histories
	if len(all) == 1 {
		return stageOf(all[0])
	}
	environments := map[string]bool{}
	for _, h := range all {
		environments[h.Environment] = true
	}
	switch {
	case len(environments) > 1:
		return count(len(environments), "environment")
	case all[0].Environment == "":
		return count(len(all), "tag")
	default:
		return clip(all[0].Environment, maxReference) + " (" + count(len(all), "image") + ")"
	}
}

// stageOf names what a history is of: the environment and the image, or the tag.
func stageOf(h document.History) string {
	switch {
	case h.Environment != "" && h.Image != "":
		return clip(h.Environment, maxReference) + " (" + clip(h.Image, maxReference) + ")"
	case h.Environment != "":
		return clip(h.Environment, maxReference)
	case h.Tag != "":
		return clip(h.Repository+":"+h.Tag, maxReference)
	default:
		return clip(h.Repository, maxReference)
	}
}

// tally counts lines by what became of them.
func tally(r document.Report) string {
	counts, missing := map[document.Outcome]int{}, true
	for _, h := range r.Histories {
		missing = missing && h.Missing
		for _, l := range h.Lines {
			counts[kindOf(l)]++
		}
	}
	var said []string
	for _, word := range []struct {
		outcome document.Outcome
		noun    string
	}{
		{document.OutcomePromoted, "promotion"}, {document.OutcomeRolledBack, "rollback"},
		{document.OutcomeFailed, "failed attempt"}, {document.OutcomeInterrupted, "interrupted attempt"},
		{document.OutcomePending, "pending attempt"}, {"", "other record"},
	} {
		if n := counts[word.outcome]; n > 0 {
			said = append(said, count(n, word.noun))
		}
	}
	switch {
	case len(said) > 0:
		return strings.Join(said, ", ")
	case missing:
		return "nothing is recorded there yet"
	default:
		return "no record matches what was asked for"
	}
}

// kindOf is a line's outcome, or empty where that counts for nothing.
func kindOf(l document.Line) document.Outcome {
	if l.Fault != "" || outcomeWords[l.Outcome] == "" {
		return ""
	}
	return l.Outcome
}

// history is the section of what the records say: a table for each environment. The
// room is shared out evenly, and the oldest rows are what does not fit.
func history(p *page, r document.Report) {
	var tables []document.History
	for _, h := range r.Histories {
		if len(h.Lines) > 0 {
			tables = append(tables, h)
		}
	}
	cut, all := 0, 0
	for i, h := range tables {
		cut += p.fit(p.left/(len(tables)-i), historyHead(h), historyRows(r, h), historyTail(h))
		all += len(h.Lines)
	}
	if cut > 0 {
		p.missing = append(p.missing, fmt.Sprintf("%d of %d rows of the history, the oldest ones", cut, all))
	}
	p.rows("environments with nothing to list", "#### Nothing to list\n\n", unrecorded(r), "")
}

func historyHead(h document.History) string {
	return "#### " + prose(stageOf(h)) + "\n\n" +
		"| When (UTC) | Image | From | Tags | Who | Why | Result | Run |\n" + strings.Repeat("| --- ", 8) + "|\n"
}

func historyRows(r document.Report, h document.History) []string {
	rows := make([]string, len(h.Lines))
	for i, l := range h.Lines {
		cells := []string{
			moment(l.Time), code(hex12(l.PreviousDigest)) + " → " + code(hex12(l.Digest)), code(origin(l)), tagsOf(l, code),
			code(l.Actor), cmp.Or(prose(l.Reason), "—"), resultCell(l), run(r, l.Run),
		}
		rows[i] = "| " + strings.Join(cells, " | ") + " |"
	}
	return rows
}

func historyTail(h document.History) string {
	lines := []string{"- **Ledger:** " + code(h.Ledger)}
	for _, note := range historyNotes(h) {
		lines = append(lines, "- **Note:** "+note)
	}
	return "\n" + strings.Join(lines, "\n") + "\n"
}

// historyNotes say what is not in the table. They hold no stranger's text.
func historyNotes(h document.History) []string {
	var notes []string
	if h.Older {
		notes = append(notes, "older ones are left out by the limit")
	}
	if h.LeftOut > 0 {
		notes = append(notes, "left out: "+Entries(h.LeftOut)+" that cannot be relied on, see mode: audit")
	}
	return notes
}

// unrecorded are the histories without a line, each with why.
func unrecorded(r document.Report) []string {
	var lines []string
	for _, h := range r.Histories {
		if len(h.Lines) == 0 {
			lines = append(lines, "- "+code(stageOf(h))+" in "+code(h.Repository)+": "+strings.Join(nothing(h), "; "))
		}
	}
	return lines
}

// nothing says why a history has no lines.
func nothing(h document.History) []string {
	if h.Missing {
		return []string{"nothing is recorded here yet"}
	}
	return append([]string{"no record matches what was asked for"}, historyNotes(h)...)
}

// moment is a time to the minute, in UTC.
func moment(t time.Time) string {
	if t.IsZero() {
		return "—"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// origin is where an image came from; a rollback brings it from nowhere.
func origin(l document.Line) string {
	if l.Mode == document.ModeRollback {
		return ""
	}
	return l.From
}

// hex12 is the first 12 digits of a digest's hash; what is none is clipped.
func hex12(digest string) string {
	_, hash, _ := strings.Cut(short(digest), ":")
	return cmp.Or(hash, clip(digest, 20))
}

func tagsOf(l document.Line, mark func(string) string) string {
	const shown = 3
	var said []string
	for _, tag := range l.Tags[:min(len(l.Tags), shown)] {
		said = append(said, mark(tag))
	}
	if more := len(l.Tags) - shown; more > 0 {
		said = append(said, fmt.Sprintf("%d more", more))
	}
	return cmp.Or(strings.Join(said, ", "), "—")
}

var outcomeMarks = map[document.Outcome]string{
	document.OutcomePromoted: "✅ ", document.OutcomeRolledBack: "↩ ", document.OutcomeFailed: "❌ ",
	document.OutcomeInterrupted: "⚠ ", document.OutcomePending: "⏳ ",
}

var outcomeWords = map[document.Outcome]string{
	document.OutcomePromoted: "promoted", document.OutcomeRolledBack: "rolled back", document.OutcomeFailed: "failed",
	document.OutcomeInterrupted: "interrupted", document.OutcomePending: "pending",
}

func resultCell(l document.Line) string {
	if kindOf(l) == "" {
		return "⚠ " + prose(resultOf(l))
	}
	return outcomeMarks[l.Outcome] + resultOf(l)
}

// resultOf is what became of a record, and why it counts for nothing if it does.
func resultOf(l document.Line) string {
	text := cmp.Or(outcomeWords[l.Outcome], clip(string(l.Outcome), 40), "not known")
	if l.Fault != "" {
		text += ", counts for nothing: " + clip(l.Fault, maxReference)
	}
	return text
}

// historyDigests are the digests in full, to go back to one.
func historyDigests(r document.Report) []string {
	var lines []string
	for _, h := range r.Histories {
		for _, l := range h.Lines {
			lines = append(lines, "- "+moment(l.Time)+" "+prose(stageOf(h))+": "+code(l.Digest)+", record "+code(l.Record))
		}
	}
	return lines
}

// historyLines are the histories for the log: a table each.
func historyLines(r document.Report) []string {
	var lines []string
	for _, h := range r.Histories {
		if len(h.Lines) == 0 {
			lines = append(lines, "  "+line(stageOf(h)+": "+strings.Join(nothing(h), "; ")))
			continue
		}
		lines = append(lines, "  "+line(stageOf(h)+", from "+clip(h.Ledger, maxReference)+":"))
		rows := [][]string{{"WHEN (UTC)", "IMAGE", "FROM", "TAGS", "WHO", "RESULT", "RUN", "WHY"}}
		for _, l := range h.Lines {
			rows = append(rows, []string{
				moment(l.Time), cmp.Or(hex12(l.PreviousDigest), "-") + " → " + hex12(l.Digest), origin(l),
				tagsOf(l, func(tag string) string { return tag }), l.Actor, resultOf(l), l.Run, l.Reason,
			})
		}
		for _, text := range append(align(rows), historyNotes(h)...) {
			lines = append(lines, "    "+text)
		}
	}
	return lines
}
