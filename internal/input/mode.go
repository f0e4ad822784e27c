package input

import (
	"strings"

	"github.com/artifact-promotion/promote/internal/promote"
)

// modes are those that this version has.
var modes = []string{
	string(promote.Promote), string(promote.Plan), string(promote.Apply),
	string(promote.Rollback), string(promote.History), string(promote.Audit),
}

// own are the inputs that are for one mode alone.
var own = []struct {
	input string
	mode  promote.Mode
	what  string // what that mode does with it
}{
	{"plan", promote.Apply, "promotes what the plan says"},
	{"to", promote.Rollback, "goes back to it"},
	{"since", promote.History, "lists what was recorded since then"},
	{"limit", promote.History, "lists as many"},
	{"find", promote.History, "lists where that image has been"},
}

// foreign are the inputs that a mode has no use for, and why. What it says would be
// passed over, and somebody meant it.
var foreign = map[promote.Mode]struct {
	inputs []string
	why    string
}{
	promote.Apply: {
		[]string{"source", "digest", "metadata", "target", "fixed-tags", "images", "attachments", "verify"},
		"the plan says it",
	},
	promote.Rollback: {
		[]string{"source", "digest", "metadata", "fixed-tags"},
		"a rollback goes to an image that was there before; the input to says which, if not the previous one",
	},
	promote.History: {
		[]string{"source", "digest", "metadata", "fixed-tags", "attachments", "verify", "dry-run", "reason", "override-gates", "record"},
		"a history only reads what was recorded",
	},
	promote.Audit: {
		[]string{"source", "digest", "metadata", "fixed-tags", "attachments", "verify", "dry-run", "reason", "override-gates", "record"},
		"an audit compares what is there with what was recorded, and writes nothing",
	},
}

// refuseForeign refuses inputs that the run's mode is not for. A mode that is none
// says nothing about them.
func (r *reader) refuseForeign() {
	mode := r.settings.Request.Mode
	if r.text("mode") != string(mode) {
		return
	}
	for _, o := range own {
		if r.given(o.input) && o.mode != mode {
			r.refuse(o.input, r.written(o.input)+" together with mode: "+string(mode),
				"mode: "+string(o.mode)+", which "+o.what+", or no "+o.input, "mode: "+string(o.mode)+"\n"+exampleOf(o.input))
		}
	}
	for _, name := range foreign[mode].inputs {
		if r.given(name) {
			r.refuse(name, quote(r.text(name))+" together with mode: "+string(mode), "it left out: "+foreign[mode].why, modeExample[mode])
		}
	}
}

var modeExample = map[promote.Mode]string{
	promote.Apply:    "mode: apply\n" + exampleOf("plan"),
	promote.Rollback: "mode: rollback\ntarget-env: production\nreason: INC-1234",
	promote.History:  "mode: history\ntarget-env: production",
	promote.Audit:    "mode: audit\ntarget-env: production",
}

// given says whether an input was given as anything but its default. The runner
// hands over defaults as if they were given.
func (r *reader) given(name string) bool {
	in, _, _ := lookup(name)
	if in.Kind == Boolean {
		return !strings.EqualFold(r.text(name), in.initial())
	}
	return r.text(name) != in.initial()
}

// written is what was given; a plan is too long to repeat.
func (r *reader) written(name string) string {
	if name == "plan" {
		return "a plan"
	}
	return quote(r.text(name))
}

// listing says whether the mode only looks at what is there.
func listing(mode promote.Mode) bool { return mode == promote.History || mode == promote.Audit }
