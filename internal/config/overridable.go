package config

import (
	"slices"

	"github.com/artifact-promotion/promote/internal/gate"
)

// overridableGates are the gates that an environment may let be overridden. Every environment has the
// gate rolled-back, which may always be.
var overridableGates = slices.DeleteFunc(slices.Clone(gate.Names), func(name string) bool { return name == gate.RolledBack })

// overridables reads which gates may be passed: only gates that there are.
func (r *reader) overridables(stages []*stage) {
	for _, s := range stages {
		has := s.gateNames()
		for _, n := range s.body.list("overridable") {
			if slices.Contains(has, n.text) {
				s.Overridable = append(s.Overridable, n.text)
				continue
			}
			expected := "one of its gates: " + listed(has)
			if len(has) == 0 {
				expected = "no overridable where there are no gates"
			}
			r.refuse(n, quote(n.text)+", a gate that the environment "+quote(s.Name)+" does not have", expected)
		}
	}
}

// gateNames are the environment's gates, those at fault included.
func (s *stage) gateNames() []string {
	gates := s.body.pair("gates")
	var names []string
	for _, name := range overridableGates {
		switch {
		case name == gate.From:
			if s.body.pair("from") == nil {
				continue
			}
		case gates == nil || gates.value.pair(name) == nil:
			continue
		case name == gate.NoDowngrade && gates.value.string(name) == "false":
			continue
		}
		names = append(names, name)
	}
	return names
}
