package promote

import (
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeTags finds moving tags that do not hold what the last record that names them
// says. A stage that has none has its image, by the records alone.
func (a *auditing) judgeTags() {
	if current, known := a.state.Current(); known && len(a.Tags) == 0 {
		a.compared = append(a.compared, a.imageReference(current.Digest))
	}
	for n, tag := range a.Tags {
		last, recorded := a.lastOf(tag)
		if !recorded {
			continue
		}
		a.compared = append(a.compared, a.tagReference(tag))
		if holds := digestText(a.held[n]); holds != last.Digest {
			a.drifted(tag, holds, last)
		}
	}
}

// lastOf is the last line that says that it moved a tag.
func (a *auditing) lastOf(tag string) (document.Line, bool) {
	for _, line := range slices.Backward(a.lines) {
		if line.Fault == "" && line.Outcome.Good() && slices.Contains(line.Tags, tag) {
			return line, true
		}
	}
	return document.Line{}, false
}

func (a *auditing) drifted(tag, holds string, last document.Line) {
	f := document.Finding{Kind: document.FindingDrift, Reference: a.tagReference(tag), Digest: holds}
	at := laterOf(last.Time, last.Moved)
	switch attempt, open := a.attempt(tag, holds, last); {
	case open:
		f.Message = fmt.Sprintf("%s holds %s, and not %s as its last good record of %s says. The %s of %s, recorded at %s%s, %s: it has moved the tag, or somebody else has.",
			f.Reference, orGone(holds), last.Digest, moment(at), kindOf(attempt.Mode), attempt.Digest, moment(attempt.Time), inRun(attempt), fate(attempt.Outcome))
		f.Hint = "Decide which of the two is to run there, then promote it again, or roll back: either is recorded, and moves all tags together."
	case holds == "":
		f.Message = fmt.Sprintf("%s does not exist. Its last record says that it holds %s: it was removed outside of promotion, at some time after %s%s.", f.Reference, last.Digest, moment(at), inRun(last))
		f.Hint = "Find out who removed it: a person, or a clean-up. Then promote " + last.Digest + " again: that writes the tag anew."
	default:
		f.Message = fmt.Sprintf("%s holds %s, and its last record says %s: it was changed outside of promotion, at some time after %s%s.", f.Reference, holds, last.Digest, moment(at), inRun(last))
		f.Hint = "Find out who moved it; the registry's log may say. If what it holds is meant to run there, promote it, so that it is gated and recorded; if not, promote " + last.Digest + " again, or roll back to it, naming it in the input to."
	}
	a.find(f)
}

// attempt is a later record that may account for what a tag holds, although nobody
// knows that its tags have moved.
func (a *auditing) attempt(tag, holds string, last document.Line) (document.Line, bool) {
	for _, line := range slices.Backward(a.lines) {
		switch {
		case line.Record == last.Record:
			return document.Line{}, false
		case line.Fault == "" && !line.Outcome.Good() && line.Digest == holds && slices.Contains(line.Tags, tag):
			return line, true
		}
	}
	return document.Line{}, false
}

// fate says what became of an attempt.
func fate(o document.Outcome) string {
	switch o {
	case document.OutcomeFailed:
		return "failed"
	case document.OutcomeInterrupted:
		return "was interrupted"
	default:
		return "never said how it ended"
	}
}

func inRun(line document.Line) string {
	if line.Run == "" {
		return ""
	}
	return " (" + line.Run + ")"
}

func orGone(digest string) string {
	if digest == "" {
		return "nothing"
	}
	return digest
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func laterOf(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
