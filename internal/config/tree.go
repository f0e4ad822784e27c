package config

import (
	"errors"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// kind is what a node of the file is.
type kind int

const (
	text kind = iota
	boolean
	list
	dictionary
	number // a tag 1.0 must be in quotes
	nothing
)

// node is a value of the file, or a key, with its place. What is at fault is
// marked and not read further.
type node struct {
	kind         kind
	text         string // of a scalar; of a number and a boolean as it was written
	quoted       bool   // in quotes of either kind
	literal      bool   // a block after |
	line, column int
	pairs        []pair
	partial      bool // a key of it was refused
	items        []*node
	bad          bool
}

type pair struct{ key, value *node }

// get is the value of a key, nil if there is none that can be read.
func (n *node) get(key string) *node {
	p := n.pair(key)
	if p == nil || p.value.bad {
		return nil
	}
	return p.value
}

func (n *node) pair(key string) *pair {
	if n == nil {
		return nil
	}
	for i := range n.pairs {
		if n.pairs[i].key.text == key {
			return &n.pairs[i]
		}
	}
	return nil
}

// list is the items of a key's list that can be read.
func (n *node) list(key string) []*node {
	value := n.get(key)
	if value == nil {
		return nil
	}
	var items []*node
	for _, item := range value.items {
		if !item.bad {
			items = append(items, item)
		}
	}
	return items
}

// string is the text of a key's value; empty if there is none.
func (n *node) string(key string) string {
	if value := n.get(key); value != nil {
		return value.text
	}
	return ""
}

// isTrue says whether a key is true.
func (n *node) isTrue(key string) bool { return n.string(key) == "true" }

const documentForm = "YAML with the key environments"

// parseTree is the file's one document; nil if there is none.
func (r *reader) parseTree() *node {
	file, err := parser.ParseBytes([]byte(r.source.text), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if _, comment := doc.Body.(*ast.CommentGroupNode); doc.Body != nil && !comment {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		r.fault(nil, "an empty file", documentForm)
		return nil
	case 1:
		return r.node(bodies[0], 0)
	}
	again := r.place(tokenOf(bodies[1]))
	r.fault(&again, "a second YAML document", "one document")
	return nil
}

// syntax is a fault of the YAML itself: the parser stops at the first.
func (r *reader) syntax(err error) {
	var located yaml.Error
	if !errors.As(err, &located) {
		r.fault(nil, "text that is no YAML: "+quote(err.Error()), documentForm)
		return
	}
	at := r.place(located.GetToken())
	expected := "YAML; a value with ': ', ' #' or quotes in it, or with one of @ ` % & * ! | > { [ at its beginning, needs quotes around it"
	if rest := []rune(r.source.lines[at.line-1]); strings.Contains(string(rest[max(0, at.column-3):]), "{{") {
		expected = `quotes around a value with {{ }} in it, as in "{{env}}-latest"`
	}
	r.fault(&at, "text that is no YAML: "+strings.Trim(quote(located.GetMessage()), `"`), expected)
}

func tokenOf(n ast.Node) *token.Token {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.MappingNode:
		// In block style its own token is the first colon.
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return tokenOf(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return tokenOf(n.Key)
	}
	return n.GetToken()
}

// place is a node at a token, for a fault.
func (r *reader) place(t *token.Token) node {
	n := node{line: 1, column: 1}
	if t != nil && t.Position != nil {
		n.line, n.column = r.source.place(t.Position.Line, t.Position.Column)
	}
	return n
}

// maxDepth is deeper than anything in the file's form.
const maxDepth = 16

// node takes a value over from the parser. What is refused whatever its place is
// refused here.
func (r *reader) node(from ast.Node, depth int) *node {
	n := r.place(tokenOf(from))
	if depth > maxDepth {
		r.refuse(&n, "a value that is nested too deeply", "at most 16 levels")
		return &n
	}
	switch from := from.(type) {
	case *ast.MappingNode:
		n.kind = dictionary
		for _, value := range from.Values {
			r.addPair(&n, value, depth)
		}
	case *ast.MappingValueNode:
		n.kind = dictionary
		r.addPair(&n, from, depth)
	case *ast.SequenceNode:
		n.kind = list
		for _, value := range from.Values {
			n.items = append(n.items, r.node(value, depth+1))
		}
	default:
		r.scalar(&n, from)
	}
	return &n
}

func (r *reader) scalar(n *node, from ast.Node) {
	switch from := from.(type) {
	case *ast.StringNode:
		n.kind, n.text = text, from.Value
		n.quoted = from.GetToken().Type == token.SingleQuoteType || from.GetToken().Type == token.DoubleQuoteType
		// The parser takes {a: b c: d}, where a comma is missing, for one text.
		if !n.quoted && strings.Contains(n.text, ": ") {
			r.refuse(n, quote(n.text), "quotes around text with ': ' in it, or a comma between a value and the next key")
		}
	case *ast.LiteralNode:
		n.kind, n.text, n.literal = text, from.Value.Value, from.Start.Type == token.LiteralType
	case *ast.BoolNode:
		n.kind, n.text = boolean, written(from)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = number, written(from)
	case nil, *ast.NullNode:
		n.kind = nothing
	case *ast.AnchorNode:
		r.refuse(n, "an anchor (&)", "no anchors: each value is written where it holds; text that begins with & needs quotes")
	case *ast.AliasNode:
		r.refuse(n, "an alias (*)", "no aliases: each value is written where it holds; text that begins with * needs quotes")
	case *ast.TagNode:
		r.refuse(n, "a YAML tag "+quote(written(from)), "a value without it; text that begins with ! needs quotes")
	default:
		r.refuse(n, "YAML of a kind that this file does not have: "+quote(written(from)), "text, lists and keys")
	}
}

func written(from ast.Node) string { return strings.TrimSpace(from.GetToken().Value) }

// addPair takes a key and its value over; a key that was there before is at fault.
func (r *reader) addPair(n *node, from *ast.MappingValueNode, depth int) {
	key := r.place(tokenOf(from.Key))
	defer func() { n.partial = n.partial || key.bad }()
	switch from.Key.(type) {
	case *ast.MergeKeyNode:
		r.refuse(&key, "a merge key (<<)", "no merge keys: each value is written where it holds")
		return
	case *ast.MappingKeyNode:
		r.refuse(&key, "a key after a question mark", "a key as in key: value")
		return
	}
	r.scalar(&key, from.Key)
	if key.kind != text && !key.bad {
		r.refuse(&key, "the key "+key.describe(), "a key that is text")
	}
	if key.bad {
		return
	}
	if first := n.pair(key.text); first != nil {
		r.refuse(&key, "the key "+quote(key.text)+" again, first given at "+first.key.where(), "each key once")
		return
	}
	value := r.node(from.Value, depth+1)
	if colon := from.Start; colon != nil && !key.quoted && !value.quoted && value.line == colon.Position.Line && value.column == colon.Position.Column+1 && value.kind == text {
		r.refuse(value, quote(key.text+":"+value.text), "a blank after the colon")
	}
	n.pairs = append(n.pairs, pair{&key, value})
}

// inside is a place within a scalar's text, as far as the file has the text as it
// is; else the scalar's own place.
func (r *reader) inside(n *node, line, column int) node {
	lines := strings.Split(n.text, "\n")
	if line < 1 || line > len(lines) || column < 1 {
		return *n
	}
	sought := lines[line-1]
	if n.literal && n.line+line <= len(r.source.lines) {
		indent, whole := strings.CutSuffix(r.source.lines[n.line+line-1], sought)
		if whole {
			return node{line: n.line + line, column: len([]rune(indent)) + column}
		}
		return *n
	}
	before := n.column - 1
	if n.quoted {
		before++
	}
	written := []rune(r.source.lines[n.line-1])
	if line == 1 && before <= len(written) && strings.HasPrefix(string(written[before:]), sought) {
		return node{line: n.line, column: before + column}
	}
	return *n
}
