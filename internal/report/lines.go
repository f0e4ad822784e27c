package report

import (
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// Lines are the closing lines of the log: the verdict, what each tag was and
// is, what each gate says, the plan, what was copied, the records, what histories
// and audits found, and each fault with what to do. Each is one line.
func Lines(r document.Report) []string {
	lines := []string{line(verdict(r))}
	for _, p := range r.Promotions {
		for _, tag := range p.Tags {
			lines = append(lines, "  "+line(tag.Reference+" "+fate(r, p, tag)))
		}
	}
	lines = append(lines, gateLines(r)...)
	lines = append(lines, planLines(r)...)
	if text := copied(r); text != "" && len(r.Promotions) > 0 {
		lines = append(lines, "  copied: "+line(text))
	}
	lines = append(lines, recordLines(r)...)
	lines = append(lines, lineageLines(r)...)
	lines = append(lines, historyLines(r)...)
	lines = append(lines, findingLines(r)...)
	for _, f := range r.Faults {
		lines = append(lines, faultLines(f)...)
	}
	return lines
}

func faultLines(f document.Fault) []string {
	lines := []string{"  fault: " + line(f.Message)}
	for _, hint := range strings.Split(strings.TrimRight(clip(f.Hint, maxHint), "\n"), "\n") {
		if strings.TrimSpace(hint) != "" {
			lines = append(lines, "    "+Visible(strings.TrimRight(hint, "\r")))
		}
	}
	return lines
}

// line is a text as one line, whatever its line ends.
func line(text string) string {
	return Visible(strings.Join(strings.Fields(clip(text, maxHint)), " "))
}
