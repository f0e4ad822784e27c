package config

import (
	"errors"

	"github.com/artifact-promotion/promote/internal/gate"
)

// policy reads the gates of an environment.
func (r *reader) policy(gates *node) gate.Policy {
	p := gate.Policy{
		Freeze:      r.freeze(gates.list(gate.Freeze)),
		Checks:      r.checks(gates.get(gate.Checks)),
		Approvals:   approvals(gates.get(gate.Approvals)),
		Deny:        r.deny(gates.list(gate.Deny)),
		NoDowngrade: gates.isTrue(gate.NoDowngrade),
		Labels:      r.labels(gates.get(gate.Labels)),
		Expressions: r.expressions(gates.list(gate.Expressions)),
	}
	for _, n := range gates.list(gate.Platforms) {
		platform, err := gate.ParsePlatform(n.text)
		r.value(n, err)
		p.Platforms = append(p.Platforms, platform)
	}
	if n := gates.get(gate.MaxAge); n != nil {
		p.MaxAge = r.duration(n, maxMaxAge, "3650d")
	}
	if n := gates.get(gate.Soak); n != nil {
		p.Soak = r.duration(n, maxSoak, "365d")
	}
	return p
}

// soaks refuses to wait in an environment before one that has none.
func (r *reader) soaks(s *stage) {
	gates := s.body.get("gates")
	if gates == nil {
		return
	}
	soak := gates.pair(gate.Soak)
	if soak != nil && s.body.pair("from") == nil {
		r.refuse(soak.key, quote(gate.Soak)+" in the environment "+quote(s.Name)+", which has no from: there is nowhere that an image could have been before",
			"the key from beside gates, which names the environment to soak in, or no soak")
	}
}

// value reports what a gate says about a value of its own.
func (r *reader) value(n *node, err error) {
	if err == nil {
		return
	}
	n.bad = true
	var fault *gate.Error
	if !errors.As(err, &fault) {
		r.fault(n, quote(n.text)+": "+quote(err.Error()), "another value")
		return
	}
	at := r.inside(n, fault.Line, fault.Column)
	r.fault(&at, fault.Given, fault.Expected)
}

func (r *reader) freeze(items []*node) []gate.Window {
	var windows []gate.Window
	for _, n := range items {
		from, to, zone := n.get("from"), n.get("to"), n.get("timezone")
		if from == nil || to == nil || zone == nil {
			continue
		}
		window, err := gate.ParseWindow(from.text, to.text, zone.text, n.string("reason"))
		if err != nil {
			r.value(faultyPart(from, to, zone), err)
		}
		windows = append(windows, window)
	}
	return windows
}

// faultyPart is the part of a window without which it would be right: a window's
// own error does not say.
func faultyPart(from, to, zone *node) *node {
	parses := func(from, to, zone string) bool {
		_, err := gate.ParseWindow(from, to, zone, "")
		return err == nil
	}
	weekly := func(text string) bool { return parses(text, "mon 00:00", "UTC") || parses(text, "tue 00:00", "UTC") }
	once := func(text string) bool { return parses(text, "2199-12-31", "UTC") }
	switch {
	case parses(from.text, to.text, "UTC"):
		return zone
	case !weekly(from.text) && !once(from.text):
		return from
	}
	return to
}

func (r *reader) checks(n *node) *gate.CheckPolicy {
	if n == nil {
		return nil
	}
	p := &gate.CheckPolicy{}
	names := n
	if n.kind == dictionary {
		names = n.get("names")
		if repository := n.get("repository"); repository != nil {
			p.Repository = r.placeholders(repository)
		}
	}
	if names == nil {
		return p
	}
	for _, name := range names.items {
		p.Names = append(p.Names, name.text)
	}
	return p
}

func approvals(n *node) *gate.ApprovalPolicy {
	if n == nil {
		return nil
	}
	p := &gate.ApprovalPolicy{Distinct: n.isTrue("distinct"), NotActor: n.isTrue("not-actor")}
	for _, environment := range n.list("environments") {
		p.Environments = append(p.Environments, environment.text)
	}
	return p
}

func (r *reader) deny(items []*node) []gate.Denial {
	var denials []gate.Denial
	seen := map[string]*node{}
	for _, n := range items {
		digest := n.get("digest")
		if digest == nil {
			continue
		}
		if first := seen[digest.text]; first != nil {
			r.refuse(digest, quote(digest.text)+" again, first given at "+first.where(), "each digest once")
			continue
		}
		seen[digest.text] = digest
		denials = append(denials, gate.Denial{Digest: digest.text, Reason: n.string("reason")})
	}
	return denials
}

func (r *reader) labels(n *node) []gate.Label {
	if n == nil {
		return nil
	}
	var labels []gate.Label
	for _, p := range n.pairs {
		if p.key.bad || p.value.bad {
			continue
		}
		label, err := gate.ParseLabel(p.key.text, p.value.text)
		r.value(p.value, err)
		labels = append(labels, label)
	}
	return labels
}

func (r *reader) expressions(items []*node) []gate.Expression {
	var expressions []gate.Expression
	seen := map[string]*node{}
	for _, n := range items {
		name, cel := n.get("name"), n.get("cel")
		if name == nil || cel == nil {
			continue
		}
		if first := seen[name.text]; first != nil {
			r.refuse(name, quote(name.text)+" again, first given at "+first.where(), "a name of its own")
		}
		seen[name.text] = name
		e, err := gate.ParseExpression(name.text, cel.text)
		r.value(cel, err)
		expressions = append(expressions, e)
	}
	return expressions
}
