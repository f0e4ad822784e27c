package input

import (
	"slices"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
)

// readOverrides reads the gates that are not to hold this once.
func (r *reader) readOverrides() {
	for _, i := range r.list("override-gates") {
		if !slices.Contains(gate.Names, i.text) {
			expected := "gates: " + oneOf(gate.Names)
			if near := closest(i.text, gate.Names); near != "" {
				expected += "; the closest is " + near
			}
			r.refuse("override-gates", quote(i.text), expected, "")
			continue
		}
		if !slices.Contains(r.overrides, i.text) {
			r.overrides = append(r.overrides, i.text)
		}
	}
	if len(r.overrides) > 0 && r.text("reason") == "" && r.settings.Request.Mode != promote.Rollback { // which says so itself
		r.refuse("reason", "nothing, but override-gates is given", "why a gate does not hold this once; it is shown in the summary", "")
	}
}

// overridable are the gates that may be overridden: those of the config, and the one that keeps a
// digest away that was rolled back from.
func overridable(e *config.Environment) []string {
	return append(slices.Clone(e.Overridable), gate.RolledBack)
}

// checkOverrides holds the overrides to what the environment lets be overridden.
func (r *reader) checkOverrides(e *config.Environment) {
	for _, name := range r.overrides {
		if slices.Contains(overridable(e), name) {
			continue
		}
		expected := "gates that environment " + plain(e.Name) + " lets be overridden (overridable in the config): " + oneOf(overridable(e))
		r.refuse("override-gates", quote(name), expected, "")
	}
}
