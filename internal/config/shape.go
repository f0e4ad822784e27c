package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// shape is what may stand at a place of the file. The reader checks the file by
// it, and the JSON Schema for editors is made of it.
type shape struct {
	kind     kind
	noun     string // what it is, for messages: "an environment"
	form     string // what is expected, for messages
	about    string // for editors
	examples []any

	pattern *regexp.Regexp // of the whole text
	outline string         // a pattern for editors, of text that a reader of its own judges
	words   []string       // the only texts there are
	most    int            // characters of text, items, or a number itself; 0: a limit for all

	item  *shape // of a list, or of a dictionary whose keys are names
	names *shape // of these keys

	fields []field // of a dictionary whose keys are known
	later  []string
	unique bool   // a list in which no text stands twice, upper and lower case being one
	or     *shape // another shape, of another kind
}

// field is a known key.
type field struct {
	name     string
	required bool
	shape    *shape
}

const (
	mostText  = 1000
	mostItems = 1000
)

func (s *shape) limit() int {
	switch {
	case s.most > 0:
		return s.most
	case s.kind == text:
		return mostText
	}
	return mostItems
}

// of is the shape for a value of a kind, s itself if none fits.
func (s *shape) of(k kind) *shape {
	if s.or != nil && s.or.kind == k {
		return s.or
	}
	return s
}

func (s *shape) field(name string) *shape {
	for _, f := range s.fields {
		if f.name == name {
			return f.shape
		}
	}
	return nil
}

func (s *shape) fieldNames() []string {
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	return names
}

// check finds what in a value is not of its shape; owner is the key or the item
// at which a missing key is missed.
func (r *reader) check(n *node, s *shape, owner *node) {
	s = s.of(n.kind)
	switch {
	case n.bad:
	case n.kind != s.kind:
		r.wrongKind(n, s, owner)
	case s.kind == text:
		r.checkText(n, s)
	case s.kind == boolean:
		if n.text != "true" && n.text != "false" {
			r.refuse(n, quote(n.text), s.form)
		}
	case s.kind == number:
		// YAML reads 010 as 8.
		if value, err := strconv.Atoi(n.text); err != nil || value < 0 || value > s.most || strconv.Itoa(value) != n.text {
			r.refuse(n, n.text, s.form)
		}
	case s.kind == list:
		r.checkList(n, s)
	case s.item != nil:
		r.checkNames(n, s)
	default:
		r.checkFields(n, s, owner)
	}
}

func (r *reader) wrongKind(n *node, s *shape, owner *node) {
	expected := s.form
	if s.kind == text && (n.kind == number || n.kind == boolean) {
		expected = fmt.Sprintf("text: %q in quotes, if that is meant; it is %s", n.text, s.form)
	}
	switch {
	case s.kind == boolean && n.kind == text:
		expected += " (lower case, without quotes)"
	case s.kind == number && n.kind == text:
		expected += " (in digits, without quotes)"
	}
	if n.kind == nothing {
		// Its place would be the line's end.
		r.refuse(owner, "no value", expected)
		n.bad = true
		return
	}
	r.refuse(n, n.describe(), expected)
}

func (n *node) describe() string {
	switch n.kind {
	case number:
		return n.text + ", which YAML reads as a number"
	case boolean:
		return n.text + ", which YAML reads as a boolean"
	case list:
		return "a list"
	case dictionary:
		return "keys with values"
	case nothing:
		return "no value"
	case text:
	}
	return quote(n.text)
}

func (r *reader) checkText(n *node, s *shape) {
	switch {
	case strings.TrimSpace(n.text) == "":
		r.refuse(n, "empty text", s.form)
	case utf8.RuneCountInString(n.text) > s.limit():
		r.refuse(n, fmt.Sprintf("text of %d characters", utf8.RuneCountInString(n.text)), fmt.Sprintf("at most %d: %s", s.limit(), s.form))
	case strings.ContainsFunc(n.text, func(c rune) bool { return c < ' ' && c != '\n' || c == 0x7f }):
		r.refuse(n, quote(n.text)+", which has a control character in it", s.form)
	case s.words != nil && !slices.Contains(s.words, n.text):
		r.refuse(n, quote(n.text), s.form+didYouMean(n.text, s.words))
	case s.pattern != nil && !s.pattern.MatchString(n.text):
		r.refuse(n, quote(n.text), s.form)
	}
}

func (r *reader) checkList(n *node, s *shape) {
	if !r.checkCount(n, s, len(n.items)) {
		return
	}
	seen := map[string]*node{}
	for _, item := range n.items {
		r.check(item, s.item, item)
		if !s.unique || item.bad {
			continue
		}
		key := strings.ToLower(item.text)
		if first := seen[key]; first != nil {
			r.refuse(item, quote(item.text)+" again, first given at "+first.where(), "each one once")
			continue
		}
		seen[key] = item
	}
}

func (r *reader) checkCount(n *node, s *shape, count int) bool {
	switch {
	case count == 0 && n.kind == list:
		r.refuse(n, "an empty list", s.form)
	case count == 0:
		r.refuse(n, "no keys", s.form)
	case count > s.limit():
		r.refuse(n, fmt.Sprintf("%d entries", count), fmt.Sprintf("at most %d", s.limit()))
	}
	return !n.bad
}

// checkNames checks a dictionary whose keys are names.
func (r *reader) checkNames(n *node, s *shape) {
	if !r.checkCount(n, s, len(n.pairs)) {
		return
	}
	seen := map[string]*node{}
	for _, p := range n.pairs {
		r.check(p.key, s.names, p.key)
		key := strings.ToLower(p.key.text)
		if first := seen[key]; first != nil && !p.key.bad {
			r.refuse(p.key, quote(p.key.text)+" again, but for upper and lower case, first given at "+first.where(), "names that differ in more than case")
		}
		seen[key] = p.key
		r.check(p.value, s.item, p.key)
	}
}

// checkFields checks a dictionary whose keys are known.
func (r *reader) checkFields(n *node, s *shape, owner *node) {
	if !r.checkCount(n, s, len(n.pairs)) {
		return
	}
	for _, p := range n.pairs {
		if known := s.field(p.key.text); known != nil {
			r.check(p.value, known, p.key)
			continue
		}
		r.unknown(p.key, s)
	}
	for _, f := range s.fields {
		if f.required && n.pair(f.name) == nil && !n.partial {
			f := f.shape
			r.fault(owner, s.noun+" without the key "+quote(s.nameOf(f)), s.nameOf(f)+": "+f.form)
		}
	}
}

func (s *shape) nameOf(known *shape) string {
	for _, f := range s.fields {
		if f.shape == known {
			return f.name
		}
	}
	return ""
}

func (r *reader) unknown(key *node, s *shape) {
	if slices.Contains(s.later, key.text) {
		r.refuse(key, "the gate "+quote(key.text)+", which this version does not have yet: its condition would not be held",
			"a config without it, or a version that has it")
		return
	}
	for _, home := range []struct {
		of     *shape
		phrase string
	}{{gatesShape, "under gates: "}, {environmentShape, "under an environment: "}, {fileShape, "at the top: "}} {
		if home.of != s && home.of.field(key.text) != nil {
			r.refuse(key, "the key "+quote(key.text)+" in "+s.noun, "it "+home.phrase+"here is one of "+listed(s.fieldNames()))
			return
		}
	}
	names := s.fieldNames()
	r.refuse(key, "the unknown key "+quote(key.text)+" in "+s.noun, "one of "+listed(names)+didYouMean(key.text, names))
}

// refuse notes what is wrong with a node, which is not read further.
func (r *reader) refuse(n *node, given, expected string) {
	n.bad = true
	r.fault(n, given, expected)
}

// fault notes what is wrong at a node; nil: with the file as a whole.
func (r *reader) fault(at *node, given, expected string) {
	f := Fault{Given: given, Expected: expected}
	if at != nil {
		f.Line, f.Column = at.line, at.column
	}
	r.faults = append(r.faults, f)
}

func (n *node) where() string { return fmt.Sprintf("line %d", n.line) }
