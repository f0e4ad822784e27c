package report

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/artifact-promotion/promote/internal/document"
)

// maxOutputs is what all outputs together may take, in bytes of UTF-16: GitHub
// allows 1 MB a job and counts so.
const maxOutputs = 900_000

// Output is one output of the action.
type Output struct{ Name, Value string }

// Outputs are all outputs, always the same names in the same order; one that
// has nothing to say is empty.
//
// image, images and tags name only what a later step may use: after a denied or
// failed run image and images are empty, and tags are those that hold the digest
// all the same. message is harmless within quotes of a shell, and results within
// single ones: many workflows put outputs straight into a script.
func Outputs(r document.Report) []Output {
	outputs := []Output{
		{"result", string(r.Result)},
		{"message", Message(r)},
		{"changed", strconv.FormatBool(changed(r))},
		{"digest", digest(r)},
		{"previous-digest", previousDigest(r)},
		{"image", first(imageReferences(r))},
		{"images", strings.Join(imageReferences(r), "\n")},
		{"tags", strings.Join(tagReferences(r), "\n")},
		{"plan", planText(r)},
		{"plan-digest", planDigest(r)},
		{"matrix", matrix(r)},
		{"record", recordDigest(r)},
		{"ledger-head", ledgerHead(r)},
	}
	room := maxOutputs
	for _, o := range outputs {
		room -= utf16Size(o.Value)
	}
	return append(outputs, Output{"results", resultsOf(r, room)})
}

// ledgerHead has the digests of the first promotion's ledger.
func ledgerHead(r document.Report) string {
	if len(r.Promotions) == 0 {
		return ""
	}
	return strings.Join(r.Promotions[0].LedgerHeads, " ")
}

// Message is the verdict and the first fault for a chat. A fault can carry the
// words of a registry, so the characters by which a chat or a shell is told to do
// something are replaced by their doubles.
func Message(r document.Report) string {
	const longest = 600
	text := verdict(r)
	if len(r.Faults) > 0 {
		text += ": " + shorter(r.Faults[0].Message)
	}
	if more := len(r.Faults) - 1; more > 0 {
		text += " (and " + count(more, "more fault") + ")"
	}
	return harmless.Replace(clip(line(text), longest))
}

// Annotation is the verdict, the first fault, and the first thing to do about it,
// for the place where a failed step is looked at first.
func Annotation(r document.Report) string {
	text := verdict(r)
	if len(r.Faults) == 0 {
		return line(text)
	}
	first := r.Faults[0]
	text += ": " + clip(first.Message, maxSentence)
	if hint := firstLine(first.Hint); hint != "" {
		text += ". " + clip(hint, maxSentence)
	}
	if more := len(r.Faults) - 1; more > 0 {
		text += " (and " + count(more, "more fault") + ")"
	}
	return line(text)
}

// firstLine is a hint's first line by itself: without the colon that leads to the
// lines below it, and nothing where that is all it does.
func firstLine(hint string) string {
	text, _, more := strings.Cut(strings.TrimSpace(hint), "\n")
	if more {
		text = strings.TrimSuffix(text, ":")
	}
	if text == "For example" {
		return ""
	}
	return text
}

var digests = regexp.MustCompile(`\bsha(?:256|512):[0-9a-f]{64,128}\b`)

var harmless = strings.NewReplacer(
	"`", "ˋ", `"`, "”", "'", "’", "$", "＄", `\`, "＼", "<", "‹", ">", "›", "|", "¦", ";", "；", "&", "＆",
)

// changed reports whether anything was written at a target, a tag that was put back included.
func changed(r document.Report) bool {
	counts, sum := countStates(r), total(r)
	return r.Result == document.Promoted || r.Result == document.RolledBack || r.Result == document.Unrecorded ||
		counts[document.TagPending]+counts[document.TagUnchanged] < tagCount(r) ||
		sum.Manifests+sum.Blobs+sum.Mounted > 0
}

func digest(r document.Report) string {
	if len(r.Promotions) == 0 {
		return ""
	}
	return Visible(r.Promotions[0].Digest)
}

func previousDigest(r document.Report) string {
	if len(r.Promotions) == 0 {
		return ""
	}
	tag, _ := firstMoving(r.Promotions[0])
	return Visible(tag.Before)
}

// recordDigest is the first promotion's; it can be found in the ledger and given to
// a rollback.
func recordDigest(r document.Report) string {
	if len(r.Promotions) == 0 {
		return ""
	}
	return Visible(r.Promotions[0].Record)
}

func imageReferences(r document.Report) []string {
	var names []string
	for _, p := range r.Promotions {
		if done(r) && p.Digest != "" {
			names = append(names, Visible(p.Repository+"@"+p.Digest))
		}
	}
	return names
}

func tagReferences(r document.Report) []string {
	var names []string
	for _, p := range r.Promotions {
		for _, tag := range p.Tags {
			if holds(p, tag) || wouldMove(r, tag) {
				names = append(names, Visible(tag.Reference))
			}
		}
	}
	return names
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func utf16Size(text string) int {
	units := 0
	for _, r := range text {
		units += max(utf16.RuneLen(r), 1)
	}
	return 2 * units
}
