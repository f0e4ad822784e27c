package gate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/google/cel-go/interpreter"
)

// judgeExpressions gives a verdict for each condition.
func (p Policy) judgeExpressions(e Evidence) []document.Verdict {
	var verdicts []document.Verdict
	for _, x := range p.Expressions {
		verdict := x.judge(e)[0]
		verdict.Name = plain(x.name)
		verdicts = append(verdicts, verdict)
	}
	return verdicts
}

// judge asks that the condition is true for every platform. One for which it is
// false says more than one for which it cannot be told.
func (x Expression) judge(e Evidence) []document.Verdict {
	if len(e.Image.Variants) == 0 {
		return unknown(Expressions, "this is no image with platforms, so that there is nothing to judge")
	}
	var untrue, untold []string
	for _, v := range e.Image.Variants {
		switch holds, err := x.eval(e, v); {
		case err != nil:
			untold = append(untold, fmt.Sprintf("it cannot be told%s: %s (%s)", v.where(), explain(err), x.shown()))
		case !holds:
			untrue = append(untrue, v.name())
		}
	}
	switch {
	case len(untrue) > 0:
		return fail(Expressions, fmt.Sprintf("it is false for %s: %s", list(untrue), x.shown()))
	case len(untold) > 0:
		return unknown(Expressions, untold[0])
	}
	return pass(Expressions, "it is true for "+list(e.Image.platforms()))
}

// shown is the condition as it stands in the config, on one line.
func (x Expression) shown() string { return cut(plain(x.text), maxQuoted) }

func (x Expression) eval(e Evidence, v Variant) (bool, error) {
	if x.program == nil {
		return false, errors.New("it was never compiled")
	}
	result, _, err := x.program.Eval(variables(e, v))
	if err != nil {
		return false, err
	}
	holds, ok := result.Value().(bool)
	if !ok {
		return false, errors.New("it is neither true nor false")
	}
	return holds, nil
}

// explain says what to do about an error of the evaluation, whose text may hold
// what an image says of itself.
func explain(err error) string {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled):
		return "it takes too long; make it simpler"
	case strings.HasPrefix(err.Error(), "no such key"):
		return quote(err.Error()) + `; ask first whether it is there, as in "key" in labels && labels["key"] == "value"`
	}
	return quote(err.Error())
}

// variables are what a condition can speak of, for one platform. A creation time
// that is not known is left out, so that asking for it is an error.
func variables(e Evidence, v Variant) map[string]any {
	labels := v.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	platforms := []string{}
	for _, each := range e.Image.Variants {
		platforms = append(platforms, each.Platform)
	}
	revision, err := e.Image.Revision()
	if err != nil {
		revision = ""
	}
	image := map[string]any{
		"name": e.Image.Name, "digest": e.Image.Digest, "mediaType": e.Image.MediaType, "repository": e.Source.Repository,
		"labels": labels, "platforms": platforms, "size": e.Image.Size,
	}
	if built := v.created(); !built.IsZero() {
		image["created"] = built
	}
	return map[string]any{
		"image": image, "labels": labels, "platforms": platforms,
		"source":      map[string]any{"reference": e.Source.Reference, "repository": e.Source.Repository, "tag": e.Source.Tag},
		"target":      map[string]any{"repository": e.Target.Repository, "tags": append([]string{}, e.Target.Tags...)},
		"environment": e.Environment, "actor": e.Actor, "commit": revision, "now": e.Now,
	}
}
