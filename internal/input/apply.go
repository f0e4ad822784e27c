package input

import (
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxSkew is how far clocks of two machines may be apart.
const maxSkew = 5 * time.Minute

// apply makes the request that of the plan. A plan is text that somebody hands
// over: it is believed only where the config bears it out.
func (r *reader) apply(c *config.Config) error {
	r.adoptPlan()
	if err := r.err(); err != nil {
		return err
	}
	if denied := r.judgePlan(c); denied != nil {
		return denied
	}
	var s *stage
	if c != nil && r.plan.Environment != "" {
		if s = r.open(c); s == nil {
			return r.err()
		}
		s.gate()
	}
	items, denied := r.plannedItems(s)
	r.settings.Request.Items = items
	if err := r.err(); err != nil || denied == nil {
		return err
	}
	return denied
}

// adoptPlan takes over what the plan says in place of inputs.
func (r *reader) adoptPlan() {
	request, plan := &r.settings.Request, r.plan
	if env := request.TargetEnv; env != "" && env != plan.Environment {
		given := quote(env) + ", but the plan is for "
		if plan.Environment == "" {
			given += "no environment"
		} else {
			given += quote(plan.Environment)
		}
		r.refuse("target-env", given, "the plan's environment, or nothing: the plan says it", "mode: apply\n"+exampleOf("plan"))
	}
	if len(r.overrides) > 0 && plan.Environment == "" {
		r.refuse("override-gates", quote(r.text("override-gates"))+", but the plan is for no environment", "no override: nothing is held to a gate", "")
	}
	levels := []transfer.Level{transfer.Manifests, transfer.Blobs, transfer.Content}
	if !slices.Contains(levels, transfer.Level(plan.Verify)) {
		r.refuse("plan", "a plan whose verify is "+quote(plan.Verify), "a plan of this program, unchanged", "")
	}
	request.Plan, request.TargetEnv = plan, plan.Environment
	request.Attachments, request.Verify = plan.Attachments, transfer.Level(plan.Verify)
	if request.Reason == "" {
		request.Reason = plan.Reason
	}
}

// judgePlan says why the plan is not to be applied: what it rests on has changed,
// or its time is over.
func (r *reader) judgePlan(c *config.Config) error {
	plan, now := r.plan, r.settings.Request.Started
	const again = "Make a new plan and have it approved."
	switch {
	case now.After(plan.Expires):
		return &DeniedError{"the plan expired at " + instant(plan.Expires) + "; it is " + instant(now), again}
	case plan.Created.After(now.Add(maxSkew)):
		return &DeniedError{"the plan was created at " + instant(plan.Created) + ", which has not come yet: it is " + instant(now), "Check the clocks of both runners. " + again}
	case plan.NoGates && !r.place.none:
		return &DeniedError{"the plan was made with config: none, which holds nothing to a gate, and is applied with the config " + r.place.String(), "Make the plan with the same config, or apply it with config: none."}
	case !plan.NoGates && r.place.none:
		return &DeniedError{"the plan was made without config: none, and is applied with it: its gates would not be held", "Leave out config: none, or make the plan with it."}
	case plan.NoGates:
		return nil
	case plan.Config != nil && c != nil && plan.Config.Digest != c.Digest:
		return &DeniedError{
			fmt.Sprintf("the config changed after the plan was made: %s has the digest %s, and the plan was made with %s, which had %s", r.place, c.Digest, placeOf(plan.Config), quote(plan.Config.Digest)),
			again,
		}
	case plan.Environment != "" && plan.Config == nil:
		return &DeniedError{"the plan is for environment " + plain(plan.Environment) + " and names no config that its gates were read from", again}
	default:
		return nil
	}
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func placeOf(c *document.Config) place { return place{path: c.Path, ref: c.Ref} }

// plannedItems are the plan's promotions in their order, an item with one target
// each, of names that were checked again. The stage is that of the plan's
// environment; nil: it has none.
func (r *reader) plannedItems(s *stage) (items []promote.Item, denied error) {
	for i := range r.plan.Promotions {
		planned := &r.plan.Promotions[i]
		item, ok := r.plannedItem(planned)
		if !ok {
			continue
		}
		if s != nil && denied == nil {
			item.From, denied = s.admit(planned, item.Targets[0])
		}
		items = append(items, item)
	}
	return items, denied
}

// plannedItem reads every name in a planned promotion as strictly as an input's.
func (r *reader) plannedItem(planned *document.PlannedPromotion) (promote.Item, bool) {
	before := len(r.faults)
	source := promote.Source{Text: planned.Source.Reference, Tag: planned.Source.Tag}
	var f *Fault
	source.Repository, f = parseRepository(planned.Source.Repository)
	if asked, g := parseSource(source.Text); f == nil && (g != nil || asked.Repository.Name() != source.Repository.Name()) {
		f = &Fault{Given: quote(source.Text) + " of the repository " + quote(planned.Source.Repository)}
	}
	r.refusePlanned("a source", f)
	if source.Tag != "" && !template.ValidTag(source.Tag) {
		r.refusePlanned("a source", invalidTag(source.Text, source.Tag))
	}
	source.Digest, f = parseDigest(planned.Digest, "")
	r.refusePlanned("an image", f)
	target := promote.Target{Tags: r.plannedTags(planned.Tags)}
	target.Repository, f = parseRepository(planned.Repository)
	r.refusePlanned("a target", f)
	item := promote.Item{Image: planned.Image, Source: source, Targets: []promote.Target{target}}
	return item, len(r.faults) == before
}

func (r *reader) plannedTags(planned []document.PlannedTag) []promote.Tag {
	var tags []promote.Tag
	for _, p := range planned {
		if !template.ValidTag(p.Name) {
			r.refusePlanned("a tag", invalidTag(p.Name, p.Name))
			continue
		}
		literal, err := template.Parse(p.Name)
		if err != nil {
			r.refusePlanned("a tag", templateFault("plan", err))
			continue
		}
		tag := promote.Tag{Template: literal, Fixed: p.Fixed, Pinned: true}
		if p.Before != "" {
			if tag.Before, err = v1.NewHash(p.Before); err != nil {
				r.refusePlanned("a tag", &Fault{Given: "digest " + quote(p.Before)})
			}
		}
		tags = append(tags, tag)
	}
	return tags
}

func (r *reader) refusePlanned(what string, f *Fault) {
	if f != nil {
		r.refuse("plan", "a plan with "+what+" that cannot be: "+f.Given, "a plan of this program, unchanged", "")
	}
}

// admit holds a planned promotion to what its environment owns, and gives the tag
// that must have held the image.
func (s *stage) admit(planned *document.PlannedPromotion, target promote.Target) (*promote.From, error) {
	if !slices.Contains(imagesOf(s.config), planned.Image) {
		return nil, s.foreign("the image " + quote(planned.Image))
	}
	repository, ok := s.repository(s.Environment, planned.Image)
	if !ok || repository.Name() != target.Repository.Name() {
		return nil, s.foreign("the repository " + quote(planned.Repository))
	}
	for _, tag := range target.Tags {
		if !s.mayWrite(repository, tag) {
			return nil, s.foreign("the tag " + quote(planned.Repository+":"+tag.Template.String()))
		}
	}
	from := s.from(planned.Image)
	if !sameFrom(from, planned.From) {
		return nil, s.foreign("another environment before it than the config")
	}
	if from != nil && planned.From.Digest != "" {
		var err error
		if from.Held, err = v1.NewHash(planned.From.Digest); err != nil {
			s.refusePlanned("a digest", &Fault{Given: quote(planned.From.Digest)})
		}
	}
	return from, nil
}

// mayWrite says whether the environment writes such a tag. It moves its own moving
// tags only: another one may be fixed, and then must never change. Fixed tags may
// come from the input as well; they can only be new.
func (s *stage) mayWrite(repository name.Repository, tag promote.Tag) bool {
	text := tag.Template.String()
	if owner, _ := around(s.config, repository).Owner(repository.Name(), text); owner != nil && owner.Name != s.Name {
		return false
	}
	return tag.Fixed || mayRender(s.Tags, s.Name, text)
}

func sameFrom(from *promote.From, held *document.Held) bool {
	if from == nil || held == nil {
		return from == nil && held == nil
	}
	source, f := parseSource(held.Reference)
	return f == nil && held.Environment == from.Environment && source.Repository.Name() == from.Repository.Name() && source.Tag == from.Tag
}

func (s *stage) foreign(what string) error {
	return &DeniedError{
		Message: "the plan is for environment " + plain(s.Name) + " and has " + what + ", which is not what " + s.place.String() + " says",
		Hint:    "It was altered, or another program made it. Make a new plan and have it approved.",
	}
}
