package promote

import (
	"context"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// makePlan pins what was found, and counts what a copy would bring. Nothing is
// written.
func (r *run) makePlan(ctx context.Context) error {
	r.Step("Plan")
	g, ctx := group(ctx)
	g.SetLimit(atOnce)
	for _, p := range r.promotions {
		g.Go(func() error {
			missing, err := r.engine.Estimate(ctx, p.graph, p.source, p.target)
			p.missing = &missing
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	plan := r.planDocument()
	r.plan = &plan
	return nil
}

func (r *run) planDocument() document.Plan {
	created := r.request.Started.UTC()
	plan := document.Plan{
		Schema: document.PlanSchema, Created: created, Expires: created.Add(r.request.ValidFor),
		Environment: r.request.TargetEnv, Config: r.request.Config, NoGates: r.request.NoGates,
		Attachments: r.request.Attachments, Verify: string(r.request.Verify),
		Reason: r.request.Reason, Job: r.request.Job,
	}
	for _, p := range r.promotions {
		plan.Promotions = append(plan.Promotions, p.pin())
	}
	return plan
}

func (p *promotion) pin() document.PlannedPromotion {
	d := p.document()
	planned := document.PlannedPromotion{
		Image: d.Image, Source: d.Source, Digest: d.Digest, MediaType: d.MediaType, Repository: d.Repository,
		From: d.From, Platforms: d.Platforms, Content: d.Content, Missing: *p.missing, Gates: p.verdicts,
	}
	for _, t := range p.tags {
		planned.Tags = append(planned.Tags, document.PlannedTag{Name: t.text, Fixed: t.fixed, Before: digestText(t.before)})
	}
	return planned
}

// refuseDrift refuses to apply a plan if a tag no longer holds what it held when
// the plan was made and approved. One that holds what it is to become does no harm. A plan without
// gates reads no ledger: it says what a tag pointed to, also where a run that died had moved it.
func (r *run) refuseDrift() error {
	var drifted []error
	for _, m := range r.moves() {
		if !m.pinned || m.before.Digest() == m.planned || m.shown.Digest() == m.planned || m.isInPlace() || m.fixed && m.shown.Digest().Hex != "" {
			continue
		}
		drifted = append(drifted, &deniedError{
			message: fmt.Sprintf("tag %s has moved since the plan was made: it %s, and %s", m.target.Reference(m.text),
				holding("held", "did not exist", m.planned), holding("holds", "does not exist now", m.before.Digest())),
			hint: "What was approved was to replace something else. Make a plan anew (mode: plan), and have it approved.",
		})
	}
	return errors.Join(drifted...)
}

// holding says what a tag holds, in the words of its time.
func holding(holds, absent string, digest v1.Hash) string {
	if digest.Hex == "" {
		return absent
	}
	return holds + " " + digest.String()
}

// gone refuses to apply a plan whose image was deleted.
func (i *image) gone() error {
	return &deniedError{
		message: fmt.Sprintf("the planned image %s is gone", i.source.Reference(i.item.Source.Digest.String())),
		hint:    "A clean-up may have deleted it. Build or push it again, and make a plan of what that gives.",
	}
}

// readMoved finds out whether the tags by which planned images were found name
// other ones by now. What was approved is promoted all the same.
func (r *run) readMoved(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, i := range r.images {
		if i.pinned && i.item.Source.Tag != "" {
			g.Go(func() error { return i.readMoved(ctx) })
		}
	}
	return g.Wait()
}

func (i *image) readMoved(ctx context.Context) error {
	tag, now := i.item.Source.Tag, "is gone"
	m, err := i.source.GetManifest(ctx, tag)
	switch {
	case err != nil && !errors.Is(err, registry.ErrNotFound):
		return err
	case err == nil && m.Digest == i.item.Source.Digest:
		return nil
	case err == nil:
		now = "has moved on to " + m.Digest.String()
	}
	i.moved = fmt.Sprintf("The source tag %s %s since the plan was made. The approved digest is promoted.", i.source.Reference(tag), now)
	return nil
}
