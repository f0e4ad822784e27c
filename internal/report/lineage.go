package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// maxNodes is how many nodes a chart can have and still be read.
const maxNodes = 30

// lineage is the section of what every environment holds: a picture, and the same
// in words.
func lineage(p *page, r document.Report) {
	if len(r.Lineage) == 0 {
		return
	}
	p.block("heading", "#### What each environment holds")
	p.block("chart", chart(r.Lineage))
	var lines []string
	for _, way := range routes(r.Lineage) {
		lines = append(lines, "- "+spell(way, code))
	}
	p.rows("environments", "", lines, "")
}

// lineageLines are the routes for the log.
func lineageLines(r document.Report) []string {
	plain := func(text string) string { return clip(text, maxReference) }
	var lines []string
	for _, way := range routes(r.Lineage) {
		lines = append(lines, "  "+Visible(spell(way, plain)))
	}
	return lines
}

// chart is a flowchart for Mermaid, which GitHub draws. It has none for a single
// environment, and none that is too large to be read.
func chart(all []document.Holding) string {
	if len(all) < 2 || len(all) > maxNodes {
		return ""
	}
	lines := []string{"flowchart LR"}
	for i, image := range imagesHeld(all) {
		nodes := nodesOf(all, image)
		if image != "" {
			nodes = append(append([]string{fmt.Sprintf("subgraph g%d[%s]", i, label(charted(image)))}, nodes...), "end")
		}
		lines = append(lines, nodes...)
	}
	before := predecessors(all)
	for i := range all {
		if from := before[i]; from >= 0 {
			lines = append(lines, fmt.Sprintf("n%d --> n%d", from, i))
		}
	}
	return "```mermaid\n" + strings.Join(lines, "\n  ") + "\n```"
}

// imagesHeld are the names of the images, each once.
func imagesHeld(all []document.Holding) []string {
	var images []string
	known := map[string]bool{}
	for _, h := range all {
		if !known[h.Image] {
			known[h.Image] = true
			images = append(images, h.Image)
		}
	}
	return images
}

func nodesOf(all []document.Holding, image string) []string {
	var nodes []string
	for i, h := range all {
		if h.Image == image {
			nodes = append(nodes, fmt.Sprintf("n%d[%s]", i, label(charted(h.Environment), chartDigest(h), chartSince(h))))
		}
	}
	return nodes
}

// unsafe is what does not stand in a chart as it is: Mermaid has signs for links,
// styles, shapes, icons, entities and comments, and draws what looks like HTML.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// charted is a stranger's text for a chart, as one short word.
func charted(text string) string {
	const longest = 40
	return clip(unsafe.ReplaceAllString(clip(text, maxReference), "_"), longest)
}

// label is a node's text in quotes: lines of our own words, and charted ones.
func label(lines ...string) string {
	lines = slices.DeleteFunc(lines, func(text string) bool { return text == "" })
	return `"` + strings.Join(lines, "<br/>") + `"`
}

func chartDigest(h document.Holding) string {
	switch {
	case h.Fault != "":
		return "could not be read"
	case h.Digest == "":
		return "nothing"
	default:
		return charted(hex12(h.Digest))
	}
}

func chartSince(h document.Holding) string {
	switch {
	case h.Fault != "" || h.Digest == "":
		return ""
	case !h.Recorded:
		return "not recorded"
	case h.Since.IsZero():
		return "since when is not known"
	default:
		return "since " + minute(h.Since)
	}
}

// predecessors are the places of each holding's environment before it, -1 for none.
func predecessors(all []document.Holding) []int {
	type stage struct{ image, environment string }
	at := map[stage]int{}
	for i, h := range all {
		at[stage{h.Image, h.Environment}] = i
	}
	before := make([]int, len(all))
	for i, h := range all {
		from, known := at[stage{h.Image, h.From}]
		if before[i] = from; !known || h.From == "" || from == i {
			before[i] = -1
		}
	}
	return before
}

// route leads from one environment to the next. Where an earlier one tells the
// first of them already, only its name stands here.
type route struct {
	stages []document.Holding
	known  bool // an earlier one tells the first of them
}

// routes tell each holding once: one to every environment from which none goes
// on. It ends whatever the environments say of each other.
func routes(all []document.Holding) []route {
	before := predecessors(all)
	goesOn := make([]bool, len(all))
	for _, from := range before {
		if from >= 0 {
			goesOn[from] = true
		}
	}
	told := make([]bool, len(all))
	var found []route
	for _, ends := range []bool{true, false} { // the second time for what only goes round
		for i := range all {
			if !told[i] && goesOn[i] != ends {
				found = append(found, routeTo(i, all, before, told))
			}
		}
	}
	return found
}

func routeTo(end int, all []document.Holding, before []int, told []bool) route {
	var p route
	for at := end; at >= 0 && !p.known; at = before[at] {
		p.stages = append(p.stages, all[at])
		p.known, told[at] = told[at], true
	}
	slices.Reverse(p.stages)
	return p
}

// spell writes a route in one line: dev 1a2b3c4d5e6f (since …) → staging … What
// is a stranger's is written by mark.
func spell(p route, mark func(string) string) string {
	words := make([]string, len(p.stages))
	for i, h := range p.stages {
		words[i] = mark(h.Environment)
		if i > 0 || !p.known {
			words[i] += " " + station(h, mark)
		}
	}
	text := strings.Join(words, " → ")
	if image := p.stages[0].Image; image != "" {
		text = mark(image) + ": " + text
	}
	return text
}

// station is what an environment holds, since when, and by whom.
func station(h document.Holding, mark func(string) string) string {
	switch {
	case h.Fault != "":
		return "(could not be read: " + mark(h.Fault) + ")"
	case h.Digest == "":
		return "(holds nothing)"
	}
	text := mark(hex12(h.Digest)) + " (" + chartSince(h)
	if h.Recorded && h.Actor != "" {
		text += " by " + mark(h.Actor)
	}
	return text + ")"
}
