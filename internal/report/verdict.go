package report

import (
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// verdict is one sentence that says how the run ended, what it was about, and,
// if it went wrong, what state the target was left in; not why: faults say that.
// Digests are short. A gate that was overridden is always told.
func verdict(r document.Report) string { return outcome(r) + planned(r) + overridden(r) + unlisted(r) }

func outcome(r document.Report) string {
	switch r.Result {
	case document.Promoted, document.RolledBack, document.Unrecorded:
		return achieved(r)
	case document.Unchanged:
		return unchanged(r)
	case document.WouldPromote:
		return "Dry run: would " + intended(r)
	case document.Planned:
		return "Planned: " + images(r) + toPlaces(r) + was(r, "now") + idle(r)
	case document.Listed:
		return listed(r)
	case document.Clean, document.Findings:
		return audited(r)
	case document.Invalid:
		return "Invalid input"
	case document.Denied:
		return "Denied" + byGates(r) + notDone(r)
	default:
		return "Failed" + notDone(r)
	}
}

func achieved(r document.Report) string {
	if goesBack(r) {
		return rolledBack(r)
	}
	return promoted(r)
}

func intended(r document.Report) string {
	if goesBack(r) {
		return "roll back " + wayOf(r)
	}
	return "promote " + images(r) + toPlaces(r) + was(r, "now")
}

// notDone is what the run was to do and did not.
func notDone(r document.Report) string {
	switch {
	case lists(r):
		return notListed(r)
	case audits(r):
		return notAudited(r)
	case goesBack(r):
		return notRolledBack(r)
	default:
		return notPromoted(r)
	}
}

func promoted(r document.Report) string {
	if moved(r) == 0 {
		return "Completed " + images(r) + ": what was missing at the target was copied, no tag had to move"
	}
	return "Promoted " + images(r) + toPlaces(r) + was(r, "was")
}

func unchanged(r document.Report) string {
	text := "Unchanged: "
	if r.DryRun {
		text = "Dry run, nothing to do: "
	}
	at := places(r)
	switch {
	case len(names(r)) != 1:
		return text + images(r) + " are where they should be already"
	case r.TargetEnv == "" && tagCount(r) > 1:
		return text + at + " hold " + images(r) + " already"
	default:
		return text + at + " holds " + images(r) + " already"
	}
}

func notPromoted(r document.Report) string {
	if len(r.Promotions) == 0 {
		return ""
	}
	verb := " was not promoted"
	if len(names(r)) > 1 {
		verb = " were not promoted"
	}
	return ": " + images(r) + verb + toPlaces(r) + " (" + aftermath(r) + ")"
}

// images names what the run was about.
func images(r document.Report) string {
	switch all := names(r); len(all) {
	case 0:
		return "no image"
	case 1:
		return all[0]
	default:
		return count(len(all), "image") + " (" + some(all) + ")"
	}
}

// names are the images, each once: one can go to several repositories.
func names(r document.Report) []string {
	var all []string
	said := map[string]bool{}
	for _, p := range r.Promotions {
		if name := image(p); !said[name] {
			said[name] = true
			all = append(all, name)
		}
	}
	return all
}

func image(p document.Promotion) string {
	if p.Digest == "" {
		return clip(p.Source.Reference, maxReference)
	}
	return clip(p.Source.Repository, maxReference) + "@" + short(p.Digest)
}

func toPlaces(r document.Report) string {
	if at := places(r); at != "" {
		return " to " + at
	}
	return ""
}

// places names where the run brings images: the environment, or the tags. For
// several images the tags belong to the table.
func places(r document.Report) string {
	switch {
	case r.TargetEnv != "":
		return clip(r.TargetEnv, maxReference)
	case len(names(r)) != 1:
		return ""
	}
	var all []string
	for _, p := range r.Promotions {
		all = append(all, tagNames(p)...)
	}
	return some(all)
}

// tagNames are a promotion's tags as short as is clear: the repository is said
// once, and only where it differs from the source's.
func tagNames(p document.Promotion) []string {
	if len(p.Tags) == 0 {
		return []string{clip(p.Repository, maxReference)}
	}
	all := make([]string, len(p.Tags))
	for i, tag := range p.Tags {
		all[i] = clip(strings.TrimPrefix(tag.Reference, p.Repository+":"), maxReference)
	}
	if p.Repository != p.Source.Repository {
		all[0] = clip(p.Tags[0].Reference, maxReference)
	}
	return all
}

// some lists the first three and counts the rest: a, b, c and 2 more.
func some(texts []string) string {
	const shown = 3
	if more := len(texts) - shown; more > 0 {
		return strings.Join(texts[:shown], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(texts, ", ")
}

// was tells a single promotion's previous digest.
func was(r document.Report, word string) string {
	if len(r.Promotions) != 1 {
		return ""
	}
	tag, ok := firstMoving(r.Promotions[0])
	switch {
	case !ok || tag.State == document.TagUnchanged:
		return ""
	case tag.Before == "":
		return " (a new tag)"
	default:
		return " (" + word + " " + short(tag.Before) + ")"
	}
}

func firstMoving(p document.Promotion) (document.Tag, bool) {
	for _, tag := range p.Tags {
		if !tag.Fixed {
			return tag, true
		}
	}
	return document.Tag{}, false
}

// aftermath says in one clause what became of the tags of a run that did not
// end well.
func aftermath(r document.Report) string {
	counts := countStates(r)
	if counts[document.TagPending]+counts[document.TagUnchanged] == tagCount(r) {
		return "no tag was moved"
	}
	var said []string
	for _, state := range stateOrder {
		if n := counts[state]; n > 0 {
			said = append(said, count(n, "tag")+" "+stateWords[state])
		}
	}
	return strings.Join(said, ", ")
}
