package input

import (
	"maps"
	"slices"
	"strings"
)

// variablePrefix is how the runner names the variable of an input. There is one for
// each key of a step's `with:`, whether action.yml declares it or not: the runner
// itself only warns of a key that it does not (actions/runner, Handler.cs,
// AddInputsToEnvironment, and ActionRunner.cs, "Unexpected input(s)").
const variablePrefix = "INPUT_"

// keysOfGitHub are the keys of `with:` that are GitHub's own in a step with a
// container (Workflow syntax, jobs.<job_id>.steps[*].with.args and .entrypoint). What
// args says are the program's arguments, which are read as strictly.
var keysOfGitHub = []string{"ARGS", "ENTRYPOINT"}

// refuseUnknown refuses inputs that there are not. Somebody meant each: passed over,
// `dryrun: true` would promote for real.
func (r *reader) refuseUnknown(env map[string]string) {
	for _, variable := range slices.Sorted(maps.Keys(env)) {
		written, isInput := strings.CutPrefix(variable, variablePrefix)
		if isInput && !isKnown(written) && !slices.Contains(keysOfGitHub, written) {
			r.refuseVariable(variable, written, env[variable])
		}
	}
}

// isKnown reports whether a variable without its prefix is read as an input. The
// runner writes names in upper case and leaves hyphens as they are.
func isKnown(written string) bool {
	_, _, known := lookup(strings.ToLower(written))
	return known && written == strings.ToUpper(written)
}

// refuseVariable does not show what the variable holds, because its name may be a
// misspelt password's.
func (r *reader) refuseVariable(variable, written, value string) {
	name := strings.ToLower(written)
	near := closest(name, inputNames())
	in, _, _ := lookup(near)
	r.keepSecret(in, strings.TrimSpace(value))
	given := "an unknown input (" + plain(variable) + ")"
	switch {
	case near == "":
		r.refuse(plain(name), given, "one of those that the README lists", "")
	case written != strings.ToUpper(written):
		r.refuse(plain(name), given, "its name in upper case: "+variablePrefix+strings.ToUpper(near), exampleOf(near))
	default:
		r.refuse(plain(name), given, "an input; the closest is "+near, exampleOf(near))
	}
}
