package input

import (
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
)

const arrow = "=>"

// readItems reads what is promoted and where to, as far as the inputs alone say it.
func (r *reader) readItems() {
	r.refuseForeign()
	r.readGated()
	switch r.settings.Request.Mode {
	case promote.Apply:
		r.readPlan()
		return
	case promote.Rollback:
		r.readRollback()
		return
	case promote.History:
		r.readQuery()
		r.readSubject()
		return
	case promote.Audit:
		r.readSubject()
		return
	case promote.Promote, promote.Plan:
	}
	environment := r.readEnvironment()
	if r.staged() {
		r.readStage()
		return
	}
	r.settings.Request.Items = r.readTargets(environment)
}

// readTargets reads source, digest, target and fixed-tags together.
func (r *reader) readTargets(environment []wish) []promote.Item {
	entries := r.list("target")
	fixed := r.readFixed()
	var orders []order
	holder := r.sourceInput()
	if hasArrow(entries) {
		holder = "target"
		orders = r.readArrows(entries)
	} else {
		wishes := slices.Concat(environment, r.readWishes(entries))
		for _, source := range r.readSources() {
			orders = append(orders, order{source: source, wishes: wishes})
		}
	}
	if r.text("target") == "" && r.text("target-env") == "" && r.text("fixed-tags") == "" {
		r.refuse("target", "nothing, and neither target-env nor fixed-tags", "where the image goes: a reference, a tag, or both", "")
	}
	r.applyDigest(holder, sourcesOf(orders))
	return r.assemble(orders, fixed)
}

func (r *reader) readWishes(entries []item) []wish {
	var wishes []wish
	for _, e := range entries {
		w, f := parseWish(e.text)
		if !r.add("target", f) {
			wishes = append(wishes, w)
		}
	}
	return wishes
}

func hasArrow(entries []item) bool {
	for _, e := range entries {
		if strings.Contains(template.Blank(e.text), arrow) {
			return true
		}
	}
	return false
}

const arrowExample = "target: |\n  ghcr.io/acme/app:1.4.2 => registry.acme.example/prod/app:production\n  ghcr.io/acme/worker:2.0.1 => registry.acme.example/prod/worker:production"

// readArrows reads "source => target" lines. Lines of one source are one order;
// what follows a comma on a line belongs to the line's source.
func (r *reader) readArrows(entries []item) []order {
	for _, input := range []string{"source", "metadata"} {
		if r.text(input) != "" {
			r.refuse(input, input+" together with `source => target` lines in target", "sources in one of the two places", arrowExample)
		}
	}
	var orders []order
	places := map[string]int{}
	left, line := "", 0
	for _, e := range entries {
		right := e.text
		if at := strings.Index(template.Blank(e.text), arrow); at >= 0 {
			left, right, line = strings.TrimSpace(e.text[:at]), strings.TrimSpace(e.text[at+len(arrow):]), e.line
		}
		source, w, ok := r.readArrow(left, right, e, line)
		if !ok {
			continue
		}
		place, known := places[key(source)]
		if !known {
			place = len(orders)
			places[key(source)] = place
			orders = append(orders, order{source: source})
		}
		orders[place].wishes = append(orders[place].wishes, w)
	}
	return orders
}

// readArrow reads one pair; line is that of the last arrow.
func (r *reader) readArrow(left, right string, e item, line int) (source promote.Source, w wish, ok bool) {
	switch {
	case line != e.line:
		r.refuse("target", quote(e.text)+" beside `source => target` lines", "either only such lines, or none", arrowExample)
		return source, w, false
	case left == "" || right == "" || strings.Contains(template.Blank(right), arrow):
		r.refuse("target", quote(e.text), "one source and one target: source => target", arrowExample)
		return source, w, false
	}
	source, f := parseSource(left)
	faulty := r.add("target", f)
	w, f = parseWish(right)
	return source, w, !r.add("target", f) && !faulty
}
