package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// Summary is the report as GitHub-flavoured markdown for the job's page: at most
// 900 KiB, and safe whatever the texts in the report are.
func Summary(r document.Report) string {
	p := newPage(maxSummary)
	p.block("verdict", "### "+prose(verdict(r)))
	faults(p, r)
	audit(p, r)
	lineage(p, r)
	history(p, r)
	if gatesFirst(r) {
		gates(p, r)
	}
	p.rows("rows of the table", tableHead(r), table(r), "")
	if !gatesFirst(r) {
		gates(p, r)
	}
	p.rows("facts", factsHead(r), facts(r), "")
	p.rows("notices", "", notices(r), "")
	fullDigests(p, r)
	copyable(p, r)
	howToApply(p, r)
	return p.String()
}

// factsHead sets facts apart from the lists of what was read.
func factsHead(r document.Report) string {
	if reads(r) {
		return "#### This run\n\n"
	}
	return ""
}

// faults are what went wrong, each with what to do.
func faults(p *page, r document.Report) {
	const shown = 20
	untold := untold(r)
	if len(untold) == 0 {
		return
	}
	p.block("heading", "#### What went wrong, and what to do")
	for _, f := range untold[:min(len(untold), shown)] {
		p.block("fault", "**Fault:** "+prose(f.Message))
		p.block("hint", hint(f.Hint))
	}
	if more := len(untold) - shown; more > 0 {
		p.block("sentence", fmt.Sprintf("And %s; the log has them all.", count(more, "more fault")))
	}
}

// untold are the faults that say more than the gates' verdicts, which stand in a
// table of their own.
func untold(r document.Report) []document.Fault {
	return slices.DeleteFunc(slices.Clone(r.Faults), func(f document.Fault) bool { return f.Gate != "" && f.Hint == "" && hasGates(r) })
}

func hasGates(r document.Report) bool {
	return slices.ContainsFunc(r.Promotions, func(p document.Promotion) bool { return len(p.Gates) > 0 })
}

// hint is a sentence, or a block where it has several lines: a snippet to copy.
func hint(text string) string {
	text = strings.TrimSpace(clip(text, maxHint))
	switch {
	case strings.Contains(text, "\n"):
		return fence("text", text)
	case text != "":
		return "**What to do:** " + prose(text)
	default:
		return ""
	}
}

func tableHead(r document.Report) string {
	change := "Before → after"
	if r.Result == document.Planned {
		change = "Now → then"
	}
	return "| Source | Target | " + change + " | State |\n| --- | --- | --- | --- |\n"
}

// table has one row for each tag, in the order in which they were asked for.
func table(r document.Report) []string {
	var rows []string
	for _, p := range r.Promotions {
		for _, tag := range p.Tags {
			change := code(short(tag.Before)) + " → " + code(short(after(r, p, tag)))
			rows = append(rows, row(code(source(p)), code(tag.Reference), change, prose(stateOf(r, tag))))
		}
		if len(p.Tags) == 0 {
			rows = append(rows, row(code(source(p)), code(p.Repository), "—", "no tags"))
		}
	}
	return rows
}

func row(source, target, change, state string) string {
	return "| " + source + " | " + target + " | " + change + " | " + state + " |"
}

// source is where the image came from: by tag if it was found by one.
func source(p document.Promotion) string {
	switch {
	case p.Source.Repository == "":
		return p.Source.Reference
	case p.Source.Tag != "":
		return p.Source.Repository + ":" + p.Source.Tag
	case p.Digest == "":
		return p.Source.Repository
	default:
		return p.Source.Repository + "@" + short(p.Digest)
	}
}

func notices(r document.Report) []string {
	const shown = 50
	var lines []string
	for _, notice := range r.Notices[:min(len(r.Notices), shown)] {
		lines = append(lines, "- **Note:** "+prose(notice))
	}
	for _, notice := range planNotices(r) {
		lines = append(lines, "- **Note:** "+prose(notice))
	}
	if more := len(r.Notices) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("- **Note:** and %d more; the log has them all", more))
	}
	return lines
}

// fullDigests tell what each tag was and is. After a failure a reader needs that
// at once; otherwise it is folded away.
func fullDigests(p *page, r document.Report) {
	const what = "full digests"
	if r.Result.ExitCode() != 0 {
		p.rows(what, "#### State of the target\n\n", states(r), "")
	} else {
		p.rows(what, unfold("Full digests"), states(r), folded)
	}
	p.rows(what, unfold("Full digests"), append(historyDigests(r), findingDigests(r)...), folded)
}

func states(r document.Report) []string {
	var lines []string
	for _, p := range r.Promotions {
		if p.Digest != "" {
			lines = append(lines, "- Source "+code(p.Source.Reference)+" is "+code(p.Digest))
		}
		for _, tag := range p.Tags {
			lines = append(lines, "- "+code(tag.Reference)+" "+prose(fate(r, p, tag)))
		}
	}
	return lines
}

func copyable(p *page, r document.Report) {
	if blocks := commands(r); len(blocks) > 0 {
		title := unfold("Commands to verify and to go back")
		p.block("commands", title+strings.Join(blocks, "\n\n")+"\n"+folded)
	}
}
