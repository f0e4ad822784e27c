package report

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// maxAnnotations is how many lines of a kind GitHub shows of one step.
const maxAnnotations = 10

func audits(r document.Report) bool {
	return r.Result == document.Clean || r.Result == document.Findings || r.Mode == modeAudit
}

// audited is the verdict of an audit. Only of what was compared it says that it is as
// recorded.
func audited(r document.Report) string {
	switch {
	case len(r.Findings) > 0:
		return "Audit: " + count(len(r.Findings), "finding") + inPlaces(r)
	case len(r.Audited) == 0:
		return "Audit: nothing was compared"
	case r.Result == document.Findings:
		return "Audit: findings"
	case r.TargetEnv != "":
		return "Audit: " + clip(r.TargetEnv, maxReference) + " is as recorded" + notCompared(r)
	case len(r.Audited) == 1:
		return "Audit: " + clip(r.Audited[0], maxReference) + " is as recorded" + notCompared(r)
	case len(r.Uncompared) > 0:
		return fmt.Sprintf("Audit: %d tags are as recorded", len(r.Audited)) + notCompared(r)
	default:
		return fmt.Sprintf("Audit: all %d tags are as recorded", len(r.Audited))
	}
}

func notCompared(r document.Report) string {
	switch n := len(r.Uncompared); n {
	case 0:
		return ""
	case 1:
		return ", " + clip(r.Uncompared[0].Reference, maxReference) + " was not compared"
	default:
		return fmt.Sprintf(", %d others were not compared", n)
	}
}

func notAudited(r document.Report) string {
	text := ": the audit could not be finished"
	if n := len(r.Findings); n > 0 {
		text += " (" + count(n, "finding") + " so far" + inPlaces(r) + ")"
	}
	return text
}

// inPlaces names the environments with findings, or counts them.
func inPlaces(r document.Report) string {
	var all []string
	known := map[string]bool{"": true}
	for _, f := range r.Findings {
		if name := f.Environment; !known[name] {
			known[name] = true
			all = append(all, clip(name, maxReference))
		}
	}
	switch len(all) {
	case 0:
		return ""
	case 1:
		return " in " + all[0]
	default:
		return " in " + count(len(all), "environment") + " (" + some(all) + ")"
	}
}

// audit is the section of an audit: what was found, or what was found to be well.
func audit(p *page, r document.Report) {
	if !audits(r) {
		return
	}
	const head = "#### Findings\n\n| Where | Kind | What | Digest | What to do |\n| --- | --- | --- | --- | --- |\n"
	p.rows("findings", head, findingRows(r), "")
	if r.Result == document.Clean && len(r.Findings) == 0 && len(r.Audited) > 0 {
		p.block("sentence", "Each of these tags points to what its last record says, the records are whole and in order, and nothing is missing of the images and of what a rollback goes back to.")
	}
	var tags []string
	for _, reference := range r.Audited {
		tags = append(tags, "- "+code(reference))
	}
	p.rows("audited tags", "#### Compared with the records\n\n", tags, "")
	p.rows("tags that were not compared", "#### Not compared\n\n", uncomparedRows(r), "")
}

func uncomparedRows(r document.Report) []string {
	var rows []string
	for _, u := range r.Uncompared {
		text := "- " + code(shorter(u.Reference)) // no environment's name may begin a line
		if place := stageOf(document.History{Environment: u.Environment, Image: u.Image}); place != "" {
			text += " (" + prose(place) + ")"
		}
		rows = append(rows, text+": "+prose(clip(u.Reason, maxSentence)))
	}
	return rows
}

func findingRows(r document.Report) []string {
	rows := make([]string, len(r.Findings))
	for i, f := range r.Findings {
		cells := []string{
			findingPlace(f), code(string(f.Kind)), cmp.Or(prose(shorter(f.Message)), "—"), code(hex12(f.Digest)), cmp.Or(remedy(f), "—"),
		}
		rows[i] = "| " + strings.Join(cells, " | ") + " |"
	}
	return rows
}

// findingPlace is where a finding is: the environment, the image, and the reference.
func findingPlace(f document.Finding) string {
	text := code(shorter(f.Reference))
	if place := stageOf(document.History{Environment: f.Environment, Image: f.Image}); place != "" {
		text = prose(place) + ": " + text
	}
	return text
}

func remedy(f document.Finding) string { return prose(shorter(f.Hint)) }

// shorter has short digests in a text.
func shorter(text string) string {
	return digests.ReplaceAllStringFunc(clip(text, maxSentence), short)
}

// findingDigests are the digests in full.
func findingDigests(r document.Report) []string {
	var lines []string
	for _, f := range r.Findings {
		if f.Digest != "" {
			lines = append(lines, "- "+code(f.Reference)+": "+code(f.Digest))
		}
	}
	return lines
}

// findingText is a finding as one line.
func findingText(f document.Finding) string {
	text := foundText(f)
	if todo := findingHint(f); todo != "" {
		text = strings.TrimSuffix(text, ".") + ". " + todo
	}
	return line(text)
}

// foundText is what was found, and where, as far as the message itself does not say it.
func foundText(f document.Finding) string {
	var where []string
	place := stageOf(document.History{Environment: f.Environment, Image: f.Image})
	if place != "" && !strings.HasPrefix(f.Message, place+": ") {
		where = append(where, place)
	}
	if !strings.Contains(f.Message, f.Reference) {
		where = append(where, clip(f.Reference, maxReference))
	}
	text := clip(string(f.Kind), 40) + ": "
	if len(where) > 0 {
		text += strings.Join(where, ", ") + ": "
	}
	text += clip(f.Message, maxSentence)
	return line(text)
}

func findingHint(f document.Finding) string {
	if strings.TrimSpace(f.Hint) == "" {
		return ""
	}
	return line("What to do: " + clip(strings.TrimSpace(f.Hint), maxSentence))
}

func findingLines(r document.Report) []string {
	var lines []string
	for _, f := range r.Findings {
		lines = append(lines, "  finding: "+foundText(f))
		if todo := findingHint(f); todo != "" {
			lines = append(lines, "    "+todo)
		}
	}
	if r.Result == document.Clean {
		for _, reference := range r.Audited {
			lines = append(lines, "  "+line(clip(reference, maxReference)+" is as recorded"))
		}
	}
	for _, u := range r.Uncompared {
		lines = append(lines, "  "+line(clip(u.Reference, maxReference)+" was not compared: "+clip(u.Reason, maxSentence)))
	}
	return lines
}

// findingWarnings are the findings, at most room lines; the last then says how many more there are.
func findingWarnings(r document.Report, room int) []string {
	var lines []string
	for _, f := range r.Findings {
		lines = append(lines, findingText(f))
	}
	if more := len(lines) - room; more > 0 {
		kept := max(room-1, 0)
		lines = append(lines[:kept], "and "+count(len(lines)-kept, "more finding")+"; the log and the summary have them all")
	}
	return lines
}
