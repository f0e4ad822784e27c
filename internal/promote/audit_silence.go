package promote

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
)

// judgeSilence finds what no record could be held against. Where nothing is recorded
// nothing contradicts, so that a deleted ledger, or a name with a typo in it, would pass
// for one that is in order.
//
// What could not be read, or not as a whole, is a finding already.
func (a *auditing) judgeSilence(ctx context.Context) {
	tag, holds := a.existing()
	switch {
	case a.names.err != nil || !a.history.Whole:
	case len(a.lines) > 0:
		a.judgeUnnamed()
	case a.view.Orphan() != "":
		a.lost(a.view.Orphan())
	case holds == "" && len(a.names.tags) == 0:
		a.absent(ctx)
	case a.From == "" && a.Environment != "" && (holds != "" || len(a.Tags) == 0):
		a.builds = true
	case holds == "":
		a.neverUsed()
	default:
		a.unrecorded(a.tagReference(tag), holds)
	}
}

// existing is the first moving tag that exists, and the digest that it points to.
func (a *auditing) existing() (tag, holds string) {
	for n, tag := range a.Tags {
		if holds := digestText(a.held[n]); holds != "" {
			return tag, holds
		}
	}
	return "", ""
}

func (a *auditing) tagReference(tag string) string { return a.Repository.Name() + ":" + tag }

// lost finds a ledger of which everything was deleted but a segment, or an image that it has kept.
func (a *auditing) lost(orphan string) {
	a.find(document.Finding{
		Kind: document.FindingLedger, Reference: a.ledger.Reference(),
		Message: lostText(a.ledger, a.tagReference(orphan)) + " Who promoted what there before cannot be told any more.",
		Hint: "Find out who may delete in this repository, and exclude promotion-ledger.* from every clean-up. If the registry can restore deleted tags, restore both before anything is promoted: " +
			"the next promotion begins a new ledger.",
	})
}

// lostText says how it is known that a ledger was deleted.
func lostText(l *ledger.Ledger, orphan string) string {
	return fmt.Sprintf("Both heads of the ledger %s are missing, although there was one, as the tag %s shows: somebody, or a clean-up, has deleted them.", l.Reference(), orphan)
}

// absent finds a repository in which there is nothing to see. Most registries answer in
// the same way for one that is not there and for one that nobody may know of; some list
// no tags, as if it were there (olareg, Nexus).
func (a *auditing) absent(ctx context.Context) {
	what := "does not exist or cannot be read"
	if exists, known, err := a.repo.Exists(ctx); err == nil && known && exists {
		what = "has no tags or does not exist"
	}
	a.find(document.Finding{
		Kind: document.FindingMissing, Reference: a.Repository.Name(),
		Message: fmt.Sprintf("%srepository %s %s. %s", a.about(), a.Repository.Name(), what, a.expected()),
		Hint: "Check the repository's name and that this credential may read it. If it was deleted, find out who did that. " +
			"If nothing was promoted there yet, do that first.",
	})
}

// neverUsed finds a stage that has neither a tag nor a record.
func (a *auditing) neverUsed() {
	hint := "Check the names. If nothing was promoted there yet, do that first. If something was, somebody has deleted its tags, its ledger and every record: find out who may delete there."
	if others := a.otherLedgers(); others != "" {
		hint = "The repository has " + others + ". " + hint
	}
	what := "nothing was ever recorded"
	if len(a.Tags) > 0 {
		what += ", and " + a.reference() + " does not exist"
	}
	a.find(document.Finding{
		Kind: document.FindingMissing, Reference: a.reference(),
		Message: fmt.Sprintf("%s%s. %s", a.about(), what, a.expected()), Hint: hint,
	})
}

// unrecorded finds a stage whose tag exists, and of which nothing is recorded.
func (a *auditing) unrecorded(reference, digest string) {
	a.find(document.Finding{
		Kind: document.FindingLedger, Reference: reference, Digest: digest,
		Message: fmt.Sprintf("%snothing was ever recorded, although %s exists. %s Nobody can say who promoted %s, which it points to, or what came before.",
			a.about(), reference, a.expected(), digest),
		Hint: "Promote to it once: that begins its ledger. If there was one, somebody has deleted it and every record: find out who may delete there.",
	})
}

// about begins a sentence on a stage. A tag alone stands in the sentence itself.
func (a *auditing) about() string {
	if a.Environment == "" {
		return ""
	}
	return a.called() + ": "
}

// expected says what a stage in use has.
func (a *auditing) expected() string {
	text := "Expected: "
	switch len(a.Tags) {
	case 0:
	case 1:
		text += "the tag " + a.Tags[0] + " and "
	default:
		text += "the tags " + strings.Join(a.Tags, ", ") + " and "
	}
	text += "the ledger " + a.ledger.Reference() + "."
	if !a.names.all {
		text += " The registry did not list every tag, so records may be there that were not seen."
	}
	return text
}

// otherLedgers names some ledgers of the repository, for who has mistyped a name.
func (a *auditing) otherLedgers() string {
	const shown = 3
	var all []string
	for _, tag := range a.names.tags {
		if strings.HasPrefix(tag, "promotion-ledger.") && strings.HasSuffix(tag, ".a") && len(all) < shown {
			all = append(all, tag)
		}
	}
	return strings.Join(all, ", ")
}

// judgeUnnamed finds moving tags that exist and that no good record names, although
// there are records. One that does not exist may be new to the config, beside others.
func (a *auditing) judgeUnnamed() {
	nothing := len(a.compared) == 0
	for n, tag := range a.Tags {
		_, recorded := a.lastOf(tag)
		holds := digestText(a.held[n])
		switch {
		case recorded:
		case a.movesNow(tag, holds):
			a.pass(a.tagReference(tag), "a promotion that moves it has not ended")
		case holds != "" || nothing:
			a.unnamed(tag, holds)
		default:
			a.pass(a.tagReference(tag), "it does not exist, and no record names it")
		}
	}
	if nothing && len(a.Tags) == 0 {
		a.find(document.Finding{
			Kind: document.FindingLedger, Reference: a.ledger.Reference(),
			Message: a.about() + "no record says that a promotion ended well, so that there is nothing to compare.",
			Hint:    "Look at the runs that the history lists, and promote to it again.",
		})
	}
}

// movesNow reports whether a tag points to what an open entry has found there, or moves it to.
func (a *auditing) movesNow(tag, holds string) bool {
	return slices.ContainsFunc(a.history.Entries, func(e ledger.Entry) bool {
		return e.IsOpen() && slices.ContainsFunc(e.Tags, func(t ledger.Tag) bool { return t.Name == tag && (t.After == holds || t.Found == holds) })
	})
}

func (a *auditing) unnamed(tag, holds string) {
	f := document.Finding{Kind: document.FindingLedger, Reference: a.tagReference(tag), Digest: holds}
	if holds == "" {
		f.Message = fmt.Sprintf("%s%s does not exist, and no record of a promotion that ended well names it.", a.about(), f.Reference)
		f.Hint = "Check the tag's name. If it is right, promote: that writes the tag and records it."
	} else {
		f.Message = fmt.Sprintf("%s%s exists, and no record of a promotion that ended well names it: nobody can say who promoted %s, which it points to.", a.about(), f.Reference, holds)
		f.Hint = "If it belongs to the environment, promote: that moves all its tags together and records it. If not, take it out of the config's tags."
	}
	a.find(f)
}

// pass notes what was not compared, and why that is no finding.
func (a *auditing) pass(reference, reason string) {
	a.uncompared = append(a.uncompared, document.Uncompared{Environment: a.Environment, Image: a.Image, Reference: reference, Reason: reason})
}

// judgeBuilds says of environments that builds push to, which record nothing, that
// nothing was compared there. That is a finding where nothing else was either, as when
// one of them is named: an audit that compares nothing finds nothing in order.
func (r *run) judgeBuilds(all []*auditing) {
	nothing := len(r.audited)+len(r.findings) == 0
	for _, a := range all {
		switch {
		case !a.done || !a.builds:
		case nothing:
			r.findings = append(r.findings, a.nothingCompared())
		default:
			r.uncompared = append(r.uncompared, document.Uncompared{
				Environment: a.Environment, Image: a.Image, Reference: a.reference(), Reason: "nothing is recorded of it, as no environment comes before it and builds push to it",
			})
		}
	}
}

func (a *auditing) nothingCompared() document.Finding {
	return document.Finding{
		Kind: document.FindingLedger, Environment: a.Environment, Image: a.Image, Reference: a.reference(), Digest: a.holds(),
		Message: fmt.Sprintf("%snothing was ever recorded of %s, so nothing was compared. %s", a.about(), a.reference(), a.expected()),
		Hint: "Builds push to this environment, as none comes before it in the config. Let them promote to it with this action, and there are records; " +
			"or audit the environments after it. If there were records, somebody has deleted them.",
	}
}
