package gate

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// Label is a label that an image must have on every platform, and the pattern that
// the whole of its value must match.
type Label struct {
	name, text string
	pattern    *regexp.Regexp
}

const (
	maxPattern    = 1 << 10
	maxLabelValue = 64 << 10 // more is matched by no pattern: matching takes time
)

// ParseLabel reads a pattern (https://github.com/google/re2/wiki/Syntax); the
// error is an [*Error].
func ParseLabel(name, pattern string) (Label, error) {
	switch {
	case name == "":
		return Label{}, &Error{Given: `"" is no name of a label`, Expected: "the name of a label, such as " + labelVersion}
	case pattern == "":
		return Label{}, &Error{Given: `"" is no pattern`, Expected: "a pattern of which the whole value is one; .* is any value, .+ any but the empty one"}
	case len(pattern) > maxPattern:
		return Label{}, &Error{Given: fmt.Sprintf("%s is a pattern of %d bytes", quote(pattern), len(pattern)), Expected: fmt.Sprintf("a pattern of at most %d bytes", maxPattern)}
	}
	// By itself first: what stands around it must not make it right.
	if _, err := regexp.Compile(pattern); err != nil {
		return Label{}, badPattern(pattern, err)
	}
	whole, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return Label{}, badPattern(pattern, err)
	}
	return Label{name, pattern, whole}, nil
}

func badPattern(pattern string, err error) error {
	given := quote(pattern) + " is no pattern"
	if fault := (*syntax.Error)(nil); errors.As(err, &fault) {
		given += fmt.Sprintf(": %s: %s", fault.Code, quote(fault.Expr))
	}
	return &Error{Given: given, Expected: "a regular expression in RE2's syntax (https://github.com/google/re2/wiki/Syntax), such as v[0-9]+[.][0-9]+"}
}

// judgeLabels asks that every platform has every label.
func (p Policy) judgeLabels(e Evidence) []document.Verdict {
	if len(p.Labels) == 0 {
		return nil
	}
	if len(e.Image.Variants) == 0 {
		return unknown(Labels, "this is no image with platforms, so that it has no labels")
	}
	var faults []string
	for _, l := range p.Labels {
		faults = append(faults, l.faults(e.Image)...)
	}
	if len(faults) > 0 {
		return fail(Labels, strings.Join(firstFew(faults), "; ")+"; build the image with these labels (the input labels of docker/build-push-action)")
	}
	return pass(Labels, "it has "+list(labelNames(p.Labels))+" as asked for")
}

// faults are what is wrong with a label, each with the platforms where it is.
func (l Label) faults(i Image) []string {
	var faults []string
	where := map[string][]string{}
	for _, v := range i.Variants {
		fault := l.fault(v)
		if fault == "" {
			continue
		}
		if !slices.Contains(faults, fault) {
			faults = append(faults, fault)
		}
		where[fault] = append(where[fault], v.name())
	}
	for n, fault := range faults {
		faults[n] = fault + " for " + list(where[fault])
	}
	return faults
}

func (l Label) fault(v Variant) string {
	value, ok := v.Labels[l.name]
	switch {
	case !ok:
		return quote(l.name) + " is missing"
	case l.pattern == nil || len(value) > maxLabelValue || !l.pattern.MatchString(value):
		return fmt.Sprintf("%s is %s and must match %s", quote(l.name), quote(value), quote(l.text))
	}
	return ""
}

func labelNames(labels []Label) []string {
	var names []string
	for _, l := range labels {
		names = append(names, quote(l.name))
	}
	return names
}
