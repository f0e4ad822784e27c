package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/registry"
)

// judge holds every promotion to the gates of its environment. Gates guard the
// moving of tags: where none has to move, only what was left undone is repaired,
// and nobody is asked.
func (r *run) judge(ctx context.Context) error {
	if r.request.Gates == nil {
		return nil
	}
	r.Step("Gates")
	if r.request.Mode == Apply && !r.isOwnPlan() && r.images[0].from != nil {
		r.note("The plan was made by another run than this: what the environment before held then is not taken from it, so that it must hold the image now.")
	}
	judged := r.judged()
	if err := r.gather(ctx, judged); err != nil {
		return err
	}
	for _, p := range judged {
		p.verdicts = r.override(p.keepPassed(r.request.Gates.Policy.Evaluate(p.evidence)))
	}
	return r.rule(judged)
}

// timeBound are the gates that hang on the time at which they are judged.
var timeBound = []string{gate.Freeze, gate.Soak, gate.Approvals}

// keepPassed lets time-bound gates that passed when this run began pass for its later attempts too, if
// the earlier one was ended while its tags moved: it is the same promotion, and finishing it is safer
// than leaving it.
func (p *promotion) keepPassed(verdicts []document.Verdict) []document.Verdict {
	if !p.continues() || p.earlierState != document.OutcomePending && p.earlierState != document.OutcomeInterrupted {
		return verdicts
	}
	for i, v := range verdicts {
		passed := slices.ContainsFunc(p.earlier.Gates, func(before document.Verdict) bool {
			return before.Gate == v.Gate && before.Name == v.Name && before.Status == document.Pass
		})
		if v.Status != document.Pass && passed && slices.Contains(timeBound, v.Gate) {
			verdicts[i].Status, verdicts[i].FreeAt = document.Pass, nil
			verdicts[i].Message = "it passed when attempt " + p.earlier.Job.Attempt + " of this run began, which was interrupted"
		}
	}
	return verdicts
}

// judged are the promotions that move a tag. A plan shows the gates of all.
func (r *run) judged() []*promotion {
	return slices.DeleteFunc(slices.Clone(r.promotions), func(p *promotion) bool {
		return r.request.Mode != Plan && !p.moves()
	})
}

func (p *promotion) moves() bool {
	return slices.ContainsFunc(p.tags, func(t *tag) bool { return !t.rests(p.root.Digest) })
}

// override marks the verdicts that the user overrides.
func (r *run) override(verdicts []document.Verdict) []document.Verdict {
	for i, v := range verdicts {
		verdicts[i].Overridden = v.Status != document.Pass && slices.Contains(r.request.Gates.Overrides, v.Gate)
	}
	return verdicts
}

// rule tells every verdict, and refuses what did not pass. Only a plan may wait.
func (r *run) rule(judged []*promotion) error {
	var all refusals
	for _, p := range judged {
		for _, v := range p.verdicts {
			r.tell(p, v)
			if !v.Passes() && (r.request.Mode != Plan || v.Status != document.Pending) {
				all.add(p, v)
			}
		}
	}
	var refused []error
	for _, one := range all {
		refused = append(refused, r.refusal(one))
	}
	return errors.Join(refused...)
}

// refusals are verdicts that did not pass. A freeze meets every image of a release
// alike, and is one of them.
type refusals []*refusal

type refusal struct {
	document.Verdict
	text string
	of   []*promotion
}

func (all *refusals) add(p *promotion, v document.Verdict) {
	text := textOf(v)
	for _, one := range *all {
		if one.text == text {
			one.of = append(one.of, p)
			return
		}
	}
	*all = append(*all, &refusal{v, text, []*promotion{p}})
}

func textOf(v document.Verdict) string {
	return fmt.Sprintf("gate %s: %s: %s", nameOf(v), v.Status, v.Message)
}

func (r *run) tell(p *promotion, v document.Verdict) {
	text := r.about(p) + textOf(v)
	if v.Overridden {
		text += " — OVERRIDDEN: " + r.request.Reason
		if !slices.Contains(r.overridden, v.Gate) {
			r.overridden = append(r.overridden, v.Gate)
		}
	}
	r.Info(text)
}

func (r *run) refusal(of *refusal) error {
	e := &deniedError{message: r.about(of.of...) + of.text, gate: of.Gate}
	if slices.Contains(r.request.Gates.Overridable, of.Gate) {
		e.hint = fmt.Sprintf("This gate may be overridden, with a reason that is recorded and reported:\n  override-gates: %s\n  reason: why, or a ticket", of.Gate)
	}
	return e
}

func nameOf(v document.Verdict) string {
	if v.Name == "" {
		return v.Gate
	}
	return fmt.Sprintf("%s (%s)", v.Gate, registry.Cut(v.Name, maxWords))
}

// maxWords is how much of a name in a message, in bytes.
const maxWords = 100

// about begins what is said of some promotions, but not of all.
func (r *run) about(some ...*promotion) string {
	const shown = 3
	if len(some) == len(r.promotions) {
		return ""
	}
	var names []string
	for _, p := range some[:min(len(some), shown)] {
		names = append(names, p.called())
	}
	text := strings.Join(names, ", ")
	if more := len(some) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ": "
}

// called is a promotion's name in messages: the image's in the config, else its source.
func (p *promotion) called() string {
	if p.item.Image != "" {
		return p.item.Image
	}
	return p.item.Source.Text
}
