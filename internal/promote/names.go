package promote

import (
	"errors"
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// tag is one tag of a promotion.
type tag struct {
	template template.Template
	fixed    bool
	text     string // rendered
	before   transfer.Observation
	observed bool

	observedAt time.Time // when its reading began
	pinned     bool      // a plan says what it held
	planned    v1.Hash   // what it held then

	recalled bool                 // before is what it held before a run moved it that was interrupted
	shown    transfer.Observation // what it held when it was read; differs from before where that was recalled

	begun        bool // it was, or is being, written
	acknowledged bool // the registry said that it has moved
	refused      bool // the registry said that it has not
	unanswered   bool // the registry refused it after an attempt that had no answer

	lastSeen *string // digest, of a run that another one stood in the way of; nil: it was not read again

	state document.TagState
	after string
	note  string

	twin *promotion // that moves the tag too, to the same image, and has it in its entry; nil: there is none
}

// rests reports whether the tag points to a digest, and did so before any run moved it that was
// interrupted.
func (t *tag) rests(at v1.Hash) bool { return t.before.Digest() == at && t.shown.Digest() == at }

func (r *run) tagsOf(t Target) []*tag {
	var tags []*tag
	for _, w := range t.Tags {
		if r.request.Mode == Rollback && w.Template.Uses("source-tag") {
			r.note(fmt.Sprintf("The tag %s is let alone: a rollback has no source tag.", w.Template.String()))
			continue
		}
		tags = append(tags, &tag{template: w.Template, fixed: w.Fixed, pinned: w.Pinned, planned: w.Before, state: document.TagPending})
	}
	return tags
}

// name renders the tags, and refuses two promotions that would write one tag.
func (r *run) name() error {
	var faults []error
	owners := map[string]*promotion{}
	for _, p := range r.promotions {
		faults = append(faults, p.name(r.request))
		for _, text := range p.nameless {
			r.note(text)
		}
		for _, t := range p.tags {
			reference := p.target.Reference(t.text)
			other := owners[reference]
			switch t.twin = nil; {
			case t.text == "":
			case other == nil:
				owners[reference] = p
			case other.root.Digest == p.root.Digest:
				t.twin = other
			default:
				faults = append(faults, &invalidError{
					message: fmt.Sprintf("%s and %s would both write the tag %s", other.item.Source.Text, p.item.Source.Text, reference),
					hint:    "Give each image a tag or a repository of its own.",
				})
			}
		}
	}
	return errors.Join(faults...)
}

// ownTags are the tags that no earlier promotion of the run moves too: its entry is about them.
func (p *promotion) ownTags() (own []*tag) {
	for _, t := range p.tags {
		if t.twin == nil {
			own = append(own, t)
		}
	}
	return own
}

func (p *promotion) name(request Request) error {
	var faults []error
	kept := p.tags[:0:0]
	for _, t := range p.tags {
		text, err := p.render(t, request)
		if err != nil && t.mayLack(request) {
			p.nameless = append(p.nameless, fmt.Sprintf("The fixed tag %s is let alone: %v", t.template.String(), err))
			continue
		}
		if err != nil {
			faults = append(faults, err)
			kept = append(kept, t) // nameless: the report shows its template
			continue
		}
		if t.text != text { // it was named before the image was known
			t.observed = false
		}
		t.text = text
		twin := find(kept, text)
		switch {
		case twin == nil:
			kept = append(kept, t)
		case twin.fixed != t.fixed:
			faults = append(faults, &invalidError{
				message: fmt.Sprintf("the tag %s is named as a moving and as a fixed tag", p.target.Reference(text)),
				hint:    "A fixed tag is written once and never moved. Name it in target or in fixed-tags, not in both.",
			})
		}
	}
	p.tags = kept
	return errors.Join(faults...)
}

// nameKnown names the tags whose names do not hang on the image, before anything
// is asked of a registry.
func (r *run) nameKnown() error {
	var faults []error
	for _, p := range r.promotions {
		for _, t := range p.tags {
			if t.template.Uses("digest") || len(labelsIn(t.template)) > 0 {
				continue
			}
			var err error
			if t.text, err = p.render(t, r.request); err != nil && !t.mayLack(r.request) {
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(faults...)
}

// mayLack reports whether the run goes on where a tag cannot be named: what a fixed tag
// is called must not keep an environment from going back.
func (t *tag) mayLack(request Request) bool { return t.fixed && request.Mode == Rollback }

func (p *promotion) render(t *tag, request Request) (string, error) {
	text, err := t.template.Render(p.values(request))
	if err != nil {
		return "", &invalidError{message: fmt.Sprintf("name a tag of %s: %v", p.target.Name(), err)}
	}
	return text, p.mayWrite(text, request)
}

// mayWrite refuses a tag that is not the run's to write, whatever it was rendered
// from: a label of the image may say anything.
func (p *promotion) mayWrite(text string, request Request) error {
	reference := p.target.Reference(text)
	if ledger.Reserved(text) {
		return &invalidError{
			message: fmt.Sprintf("the tag %s is reserved", reference),
			hint:    "Tags that begin with promotion-ledger and promotion-keep are the program's own. Choose another name.",
		}
	}
	if request.Trespass == nil {
		return nil
	}
	if owner := request.Trespass(p.repository, text); owner != "" {
		return &invalidError{
			message: fmt.Sprintf("the tag %s belongs to the environment %s", reference, owner),
			hint:    "The way to that tag is `target-env: " + owner + "`, through its gates. If the name comes from a label, check what the image says.",
		}
	}
	return nil
}

func find(tags []*tag, text string) *tag {
	for _, t := range tags {
		if t.text == text {
			return t
		}
	}
	return nil
}

func (p *promotion) values(request Request) template.Values {
	return template.Values{
		Now: p.dated(request), Env: request.TargetEnv, RunNumber: request.RunNumber,
		SourceTag: p.item.Source.Tag, Digest: p.root.Digest.String(),
		Revision: p.labels["revision"], Version: p.labels["version"],
	}
}
