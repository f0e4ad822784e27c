package config

import (
	"errors"
	"strings"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/template"
)

// tags reads templates, of which each may stand once, and not among others.
func (r *reader) tags(nodes []*node, environment string, others []tag) []tag {
	seen := map[string]*node{}
	for _, other := range others {
		seen[spelling(other.Template, environment)] = other.at
	}
	var tags []tag
	for _, n := range nodes {
		t, ok := r.tag(n)
		if !ok {
			continue
		}
		key := spelling(t, environment)
		if first := seen[key]; first != nil {
			r.again(n, first, others)
			continue
		}
		if ledger.Reserved(key) {
			r.refuse(n, "the tag "+quote(n.text)+", which is reserved", "a tag that does not begin with promotion-ledger. or promotion-keep.")
			continue
		}
		seen[key] = n
		tags = append(tags, tag{t, n})
	}
	return tags
}

func (r *reader) again(n, first *node, others []tag) {
	for _, other := range others {
		if other.at == first {
			r.refuse(n, "the tag "+quote(n.text)+" as a fixed one, which is a moving one at "+first.where(), "a tag that is moved, or one that is written once")
			return
		}
	}
	r.refuse(n, "the tag "+quote(n.text)+" again, first given at "+first.where(), "each tag once")
}

func (r *reader) tag(n *node) (template.Template, bool) {
	t, err := template.Parse(n.text)
	var fault *template.Error
	if !errors.As(err, &fault) {
		return t, true
	}
	at := r.inside(n, 1, fault.Position)
	expected := fault.Expected
	if fault.Example != "" {
		expected += ", such as " + fault.Example
	}
	if _, rest, colon := strings.Cut(template.Blank(n.text), ":"); colon && template.ValidTag(rest) && fault.Position > 0 {
		expected = "the tag alone, without a repository: " + rest
	}
	n.bad = true
	r.fault(&at, "the tag "+quote(n.text)+": "+fault.Found, expected)
	return t, false
}

// piece is literal text, or an expression with its argument.
type piece struct{ literal, expression, argument string }

// pieces takes a template apart, which has been parsed before.
func pieces(t template.Template) []piece {
	var all []piece
	for text := t.String(); text != ""; {
		start := strings.Index(text, "{{")
		end := strings.Index(text, "}}")
		if start < 0 || end < start {
			return append(all, piece{literal: text})
		}
		if start > 0 {
			all = append(all, piece{literal: text[:start]})
		}
		name, argument, _ := strings.Cut(strings.TrimSpace(text[start+2:end]), " ")
		all = append(all, piece{expression: name, argument: strings.Trim(argument, ` '"`)})
		text = text[end+2:]
	}
	return all
}

// spelling is a template with the environment's name filled in, and its other
// expressions in the one form that all ways to write them have.
func spelling(t template.Template, environment string) string {
	var b strings.Builder
	for _, p := range pieces(t) {
		switch p.expression {
		case "":
			b.WriteString(p.literal)
		case "env":
			b.WriteString(environment)
		default:
			b.WriteString("{{" + p.expression + " " + p.argument + "}}")
		}
	}
	return b.String()
}
