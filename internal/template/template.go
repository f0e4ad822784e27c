package template

import (
	"strings"
	"time"
)

// maxLength bounds a template's text, in bytes. A tag has at most 128
// characters, and the longest expression is a date.
const maxLength = 512

// Template is a parsed tag name. The zero value is no tag: Render refuses it.
type Template struct {
	text  string
	parts []part
}

// part is literal text, or an expression with its argument.
type part struct{ literal, expression, argument string }

// Values is what expressions stand for.
type Values struct {
	Now       time.Time // {{date '…'}}, shown in UTC
	Revision  string    // {{revision}}: the image's commit; shortened to 7 hex
	Version   string    // {{version}}: the image's version label
	SourceTag string    // {{source-tag}}
	Env       string    // {{env}}
	RunNumber string    // {{run-number}}
	Digest    string    // {{digest}}: sha256:…; shortened to 12 hex
}

// String is the template as it was written.
func (t Template) String() string { return t.text }

// Equal says whether both were written alike.
func (t Template) Equal(other Template) bool { return t.text == other.text }

// Uses says whether the named expression stands in the template.
func (t Template) Uses(expression string) bool {
	for _, p := range t.parts {
		if p.expression == expression {
			return true
		}
	}
	return false
}

// Render is the tag that the template stands for. The error is an [*Error]; it
// says which value is missing or unfit, and where that value comes from.
func (t Template) Render(values Values) (string, error) {
	var tag strings.Builder
	for _, p := range t.parts {
		text, err := p.render(values)
		if err != nil {
			err.Text = t.text
			return "", err
		}
		tag.WriteString(text)
	}
	if !ValidTag(tag.String()) {
		return "", invalidTag(t.text, tag.String())
	}
	return tag.String(), nil
}

func (p part) render(values Values) (string, *Error) {
	if p.expression == "" {
		return p.literal, nil
	}
	e, _ := find(p.expression)
	text, err := e.render(values, p.argument)
	if len(text) > maxTag {
		return "", &Error{
			Found:    "{{" + p.expression + "}} is " + quote(text) + ", which is longer than a tag may be",
			Expected: tagRule,
		}
	}
	return text, err
}

func invalidTag(text, tag string) *Error {
	return &Error{
		Text:     text,
		Found:    "it renders to " + quote(tag) + ", which is no tag",
		Expected: tagRule,
		Example:  "release-{{date 'YYYYMMDD-HHmmss'}}",
	}
}
