package report

import (
	"encoding/json"
	"regexp"
	"slices"
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
	}
	room := maxOutputs
	for _, o := range outputs {
		room -= utf16Size(o.Value)
	}
	return append(outputs, Output{"results", results(r.Promotions, room)})
}

// Message is the verdict and the first fault for a chat. A fault can carry the
// words of a registry, so the characters by which a chat or a shell is told to do
// something are replaced by their doubles.
func Message(r document.Report) string {
	const longest = 600
	text := verdict(r)
	if len(r.Faults) > 0 {
		text += ": " + digests.ReplaceAllStringFunc(clip(r.Faults[0].Message, maxSentence), short)
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

// changed reports whether anything was written at a target, a tag that was put
// back included.
func changed(r document.Report) bool {
	counts, sum := countStates(r), total(r)
	return r.Result == document.Promoted ||
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

func imageReferences(r document.Report) []string {
	var names []string
	for _, p := range r.Promotions {
		if r.Result.ExitCode() == 0 && p.Digest != "" {
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

// result is a promotion as the output results has it: what had to be left out
// to stay within GitHub's limit is named.
type result struct {
	document.Promotion
	Omitted           []string `json:"omitted,omitempty"`           // attachments, platforms, gates.message
	PromotionsOmitted int      `json:"promotionsOmitted,omitempty"` // on the last: how many more there were
}

// results is the JSON of all promotions within room bytes of UTF-16. What grows
// with an image goes first, then the last promotions.
func results(promotions []document.Promotion, room int) string {
	texts := make([]string, len(promotions))
	for depth := range 4 {
		for i, p := range promotions {
			texts[i] = encode(thin(p, depth))
		}
		if text := array(texts); utf16Size(text) <= room {
			return text
		}
	}
	return cut(promotions, texts, room)
}

func thin(p document.Promotion, depth int) result {
	thinned := result{Promotion: p}
	if thinned.Tags == nil {
		thinned.Tags = []document.Tag{}
	}
	if depth >= 1 && len(p.Attachments) > 0 {
		thinned.Attachments = nil
		thinned.Omitted = append(thinned.Omitted, "attachments")
	}
	if depth >= 2 && len(p.Platforms) > 0 {
		thinned.Platforms = nil
		thinned.Omitted = append(thinned.Omitted, "platforms")
	}
	if depth >= 3 && len(p.Gates) > 0 {
		thinned.Gates = slices.Clone(p.Gates)
		for i := range thinned.Gates {
			thinned.Gates[i].Message = ""
		}
		thinned.Omitted = append(thinned.Omitted, "gates.message")
	}
	return thinned
}

// cut keeps the first promotions that fit; the last of them says how many more
// there were.
func cut(promotions []document.Promotion, texts []string, room int) string {
	const counter = len(`,"promotionsOmitted":1000000`) * 2
	kept := 0
	for room -= counter; kept < len(texts); kept++ {
		if room -= utf16Size(texts[kept]) + 2; room < 0 {
			break
		}
	}
	if kept == 0 {
		return "[]"
	}
	last := thin(promotions[kept-1], 3)
	last.PromotionsOmitted = len(promotions) - kept
	return array(append(slices.Clone(texts[:kept-1]), encode(last)))
}

func array(texts []string) string { return "[" + strings.Join(texts, ",") + "]" }

// encode also writes the quotes and signs of a shell as \u escapes: they stand
// only inside strings, and many workflows put this text into a line of shell.
func encode(r result) string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // plain values: json.Marshal has no way to fail
	}
	return shellSafe(text)
}

func shellSafe(text []byte) string { return shellSigns.Replace(string(text)) }

var shellSigns = strings.NewReplacer("'", `\u0027`, "`", `\u0060`, "$", `\u0024`, ";", `\u003b`, "|", `\u007c`)

func utf16Size(text string) int {
	units := 0
	for _, r := range text {
		units += max(utf16.RuneLen(r), 1)
	}
	return 2 * units
}
