package config

import "strings"

// order follows from: each names another environment, and none leads back to
// itself.
func (r *reader) order(stages []*stage) {
	byName := map[string]*stage{}
	var names []string
	for _, s := range stages {
		byName[s.Name] = s
		names = append(names, s.Name)
	}
	for _, s := range stages {
		from := s.body.get("from")
		if from == nil {
			continue
		}
		before := byName[from.text]
		switch before {
		case s:
			r.refuse(from, quote(from.text)+", the environment itself", "another environment, or no from where images come from a build")
		case nil:
			r.refuse(from, "the unknown environment "+quote(from.text), "one of "+listed(names)+didYouMean(from.text, names))
		default:
			s.From = before.Environment
		}
	}
	r.cycles(stages)
}

func (r *reader) cycles(stages []*stage) {
	done := map[*Environment]bool{}
	for _, s := range stages {
		var path []*Environment
		on := map[*Environment]bool{}
		e := s.Environment
		for ; e != nil && !done[e] && !on[e]; e = e.From {
			on[e] = true
			path = append(path, e)
		}
		if e != nil && on[e] {
			r.cycle(stages, path, e)
		}
		for _, e := range path {
			done[e] = true
		}
	}
}

// cycle reports the environments from first on, which lead back to it.
func (r *reader) cycle(stages []*stage, path []*Environment, first *Environment) {
	for path[0] != first {
		path = path[1:]
	}
	names := make([]string, 0, len(path)+1)
	for _, e := range path {
		names = append(names, e.Name)
	}
	names = append(names, first.Name)
	for _, s := range stages {
		if s.Environment == first {
			r.refuse(s.body.get("from"), "a cycle: "+strings.Join(names, " from "), "an environment without from at the beginning")
		}
	}
}
