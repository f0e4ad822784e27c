package report

import (
	"cmp"

	"github.com/artifact-promotion/promote/internal/document"
)

// stateOrder is the order in which states are told: what needs a look comes first.
var stateOrder = []document.TagState{
	document.TagLeft, document.TagUnknown, document.TagTaken, document.TagPutBack,
	document.TagMoved, document.TagUnchanged, document.TagPending,
}

var stateWords = map[document.TagState]string{
	document.TagLeft:      "left at the new digest",
	document.TagUnknown:   "unknown",
	document.TagTaken:     "moved by someone else",
	document.TagPutBack:   "put back",
	document.TagMoved:     "moved",
	document.TagUnchanged: "unchanged",
	document.TagPending:   "not touched",
}

func countStates(r document.Report) map[document.TagState]int {
	counts := map[document.TagState]int{}
	for _, p := range r.Promotions {
		for _, tag := range p.Tags {
			counts[tag.State]++
		}
	}
	return counts
}

func tagCount(r document.Report) int {
	n := 0
	for _, p := range r.Promotions {
		n += len(p.Tags)
	}
	return n
}

// wouldMove reports whether a dry run or a plan found that the tag would move.
func wouldMove(r document.Report, tag document.Tag) bool {
	return (r.Result == document.WouldPromote || r.Result == document.Planned) && tag.State == document.TagPending
}

// stateOf is a tag's state for the table, without its note.
func stateOf(r document.Report, tag document.Tag) string {
	words := stateWords[tag.State]
	switch {
	case wouldMove(r, tag) && tag.Before == "" && r.Result == document.Planned:
		words = "would be created"
	case wouldMove(r, tag) && goesBack(r) && !tag.Fixed:
		words = "would move back"
	case wouldMove(r, tag):
		words = "would move"
	case tag.State == document.TagMoved && tag.Before == "":
		words = "created"
	case tag.State == document.TagMoved && goesBack(r) && !tag.Fixed:
		words = "moved back"
	case tag.State == document.TagPutBack && tag.Before == "" && tag.After == "":
		words = "removed again"
	case words == "":
		words = string(tag.State)
	}
	if tag.Fixed {
		words += ", fixed"
	}
	return words
}

// after is the digest that the table shows behind the arrow.
func after(r document.Report, p document.Promotion, tag document.Tag) string {
	switch {
	case wouldMove(r, tag):
		return p.Digest
	case tag.State == document.TagPending:
		return tag.Before
	case tag.State == document.TagUnchanged:
		return cmp.Or(tag.Before, tag.After)
	default:
		return tag.After
	}
}

// fate says what a tag was and is, to stand behind its reference.
func fate(r document.Report, p document.Promotion, tag document.Tag) string {
	text := fateOf(r, p, tag)
	if tag.Note != "" {
		text += ": " + clip(tag.Note, maxSentence/2)
	}
	return text
}

func fateOf(r document.Report, p document.Promotion, tag document.Tag) string {
	if wouldMove(r, tag) {
		return wouldBecome(p, tag)
	}
	switch tag.State {
	case document.TagUnchanged:
		return "was and is " + held(cmp.Or(tag.Before, tag.After))
	case document.TagMoved:
		return "was " + held(tag.Before) + ", is " + held(tag.After)
	case document.TagPutBack:
		return "was " + held(tag.Before) + ", was moved, is " + held(tag.After) + " again"
	case document.TagLeft:
		return "was " + held(tag.Before) + ", is " + held(tag.After) + ", could not be put back"
	case document.TagTaken:
		return "was " + held(tag.Before) + ", is " + held(tag.After) + ", moved by someone else meanwhile"
	case document.TagUnknown:
		return "was " + held(tag.Before) + ", could not be read after it was written"
	default:
		return pendingFate(tag)
	}
}

// wouldBecome tells what a tag points to now from what counts as before: an unfinished run may have moved it.
func wouldBecome(p document.Promotion, tag document.Tag) string {
	switch tag.After {
	case "", tag.Before:
		return "is " + held(tag.Before) + ", would become " + p.Digest
	case p.Digest:
		return "is " + held(tag.After) + ", left by an unfinished run (was " + held(tag.Before) + ")"
	default:
		return "is " + held(tag.After) + ", left by an unfinished run (was " + held(tag.Before) + "), would become " + p.Digest
	}
}

// pendingFate keeps quiet about a tag that may not have been read.
func pendingFate(tag document.Tag) string {
	if tag.Before == "" {
		return "was not touched"
	}
	return "was not touched, is " + tag.Before
}

func held(digest string) string {
	if digest == "" {
		return "absent"
	}
	return clip(digest, maxReference)
}

func moved(r document.Report) int { return countStates(r)[document.TagMoved] }
