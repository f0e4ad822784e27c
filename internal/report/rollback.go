package report

import (
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// goesBack reports whether the run was to go back to an earlier image.
func goesBack(r document.Report) bool {
	return r.Result == document.RolledBack || r.Mode == string(document.ModeRollback)
}

// done reports whether everything that was asked for of the target was done, and
// that the ledger may not say so yet.
func done(r document.Report) bool {
	return r.Result.ExitCode() == 0 || r.Result == document.Unrecorded
}

func rolledBack(r document.Report) string {
	if moved(r) == 0 {
		return "Completed the rollback of " + wayOf(r) + ": no tag had to move"
	}
	return "Rolled back " + wayOf(r)
}

// wayOf is where a rollback went: production from one digest to another image.
func wayOf(r document.Report) string {
	at := places(r)
	switch {
	case at == "":
		return images(r)
	case len(names(r)) != 1:
		return at + ": " + images(r)
	default:
		return at + leaving(r) + " to " + images(r) + brought(r)
	}
}

// leaving is the digest that a single promotion's tags left.
func leaving(r document.Report) string {
	if len(r.Promotions) != 1 {
		return ""
	}
	tag, ok := firstMoving(r.Promotions[0])
	if !ok || tag.Before == "" || tag.Before == r.Promotions[0].Digest {
		return ""
	}
	return " from " + short(tag.Before)
}

// brought is who had brought the image before, and when.
func brought(r document.Report) string {
	if len(r.Promotions) != 1 || r.Promotions[0].Brought == nil {
		return ""
	}
	line := r.Promotions[0].Brought
	text := " (brought " + minute(line.Time)
	if line.Actor != "" {
		text += " by " + clip(line.Actor, maxReference/2)
	}
	return text + ")"
}

func notRolledBack(r document.Report) string {
	at := places(r)
	if len(r.Promotions) == 0 {
		if at == "" {
			return ""
		}
		return ": " + at + " was not rolled back"
	}
	text := ": " + images(r) + " were not rolled back"
	switch {
	case len(names(r)) > 1:
		if at != "" {
			text += " in " + at
		}
	case r.Promotions[0].Digest == "":
		text = ": " + at + " was not rolled back"
	default:
		text = ": " + at + " was not rolled back to " + images(r)
	}
	return text + " (" + aftermath(r) + ")"
}

// unlisted says that the ledger lacks the outcome, and what writes it.
func unlisted(r document.Report) string {
	if r.Result != document.Unrecorded {
		return ""
	}
	return ", but the ledger does not say so yet: run it again, or the next promotion there writes it"
}

// wasThere says of a rollback what had brought each image before.
func wasThere(r document.Report) string {
	if !goesBack(r) {
		return ""
	}
	return each(r, func(p document.Promotion) string {
		switch {
		case p.Digest == "":
			return ""
		case p.Brought == nil:
			return "no record tells when it was there before"
		default:
			return "brought " + broughtBy(r, *p.Brought)
		}
	})
}

func broughtBy(r document.Report, line document.Line) string {
	text := minute(line.Time)
	for _, part := range []struct{ word, text string }{{"by", line.Actor}, {"from", line.From}} {
		if part.text != "" {
			text += " " + part.word + " " + code(part.text)
		}
	}
	if line.Run != "" {
		text += " in run " + run(r, line.Run)
	}
	if line.Reason != "" {
		text += " (" + prose(line.Reason) + ")"
	}
	if line.Record != "" {
		text += ", record " + code(short(line.Record))
	}
	return text
}

// records are the digests of what was written for good about each image.
func records(r document.Report) string {
	return each(r, func(p document.Promotion) string { return record(r, p, code) })
}

func record(r document.Report, p document.Promotion, mark func(string) string) string {
	switch {
	case p.Record == "":
		return ""
	case p.Recorded:
		return mark(p.Record) + " (not signed)"
	case done(r):
		return mark(p.Record) + " (not signed), without an outcome in the ledger yet"
	default:
		return mark(p.Record) + " (not signed), of a " + attempt(r) + " that did not succeed"
	}
}

func attempt(r document.Report) string {
	if goesBack(r) {
		return "rollback"
	}
	return "promotion"
}

// each joins what there is to say of every promotion; of several, the first few,
// each by its name.
func each(r document.Report, tell func(document.Promotion) string) string {
	const shown = 8
	var said []string
	labels := imageLabels(r)
	for i, p := range r.Promotions {
		text := tell(p)
		if text != "" && len(r.Promotions) > 1 {
			text = code(labels[i]) + " " + text
		}
		if text != "" {
			said = append(said, text)
		}
	}
	if more := len(said) - shown; more > 0 {
		said = append(said[:shown], fmt.Sprintf("and %d more, which the output `results` has", more))
	}
	return strings.Join(said, "; ")
}

func recordLines(r document.Report) []string {
	var lines []string
	labels := imageLabels(r)
	for i, p := range r.Promotions {
		text := record(r, p, func(s string) string { return clip(s, maxReference) })
		if text != "" && len(r.Promotions) > 1 {
			text += ", of " + labels[i]
		}
		if text != "" {
			lines = append(lines, "  record: "+line(text))
		}
	}
	return lines
}
