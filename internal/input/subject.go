package input

import (
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

const tagAlone = "one registry/path:tag"

// readSubject reads what a rollback, a history or an audit is about: an environment,
// or a tag alone. The latter two may be about all environments.
func (r *reader) readSubject() {
	mode := r.settings.Request.Mode
	env, target := r.text("target-env"), r.text("target")
	switch {
	case env != "" && target != "":
		r.refuse("target-env", quote(env)+" together with target", "one of them", "")
	case target != "":
		if r.text("images") != "" && listing(mode) {
			r.refuse("images", quote(r.text("images"))+" together with target", "no images: target is one tag", modeExample[mode])
		}
		r.readTag(mode)
	case r.place.none:
		r.refuse("target", "nothing, and `config: none`", tagAlone+": without a config nothing says in which repository an environment is", subjectExample(mode))
	case env == "" && mode == promote.Rollback:
		r.refuse("target-env", "nothing, and no target", "the environment to roll back, or target with "+tagAlone, modeExample[mode])
	default:
		r.list("images")
	}
}

func subjectExample(mode promote.Mode) string {
	return "mode: " + string(mode) + "\n" + exampleOf("target")
}

// readTag makes the request that of one tag, which no environment has.
func (r *reader) readTag(mode promote.Mode) {
	repository, tag, f := parseTag(r.list("target"))
	if f != nil {
		if f.Example == "" {
			f.Example = subjectExample(mode)
		}
		r.add("target", f)
		return
	}
	text := tag.String()
	if listing(mode) {
		r.settings.Request.Stages = []promote.Stage{{Repository: repository, Ledger: text, Tags: []string{text}, Asked: true}}
		return
	}
	r.settings.Request.Items = []promote.Item{{
		Source:  promote.Source{Text: repository.Name(), Repository: repository},
		Targets: []promote.Target{{Repository: repository, Tags: []promote.Tag{{Template: tag}}}},
	}}
}

// parseTag reads the one registry/path:tag of target. Nothing is promoted that a
// template could be rendered with.
func parseTag(entries []item) (repository name.Repository, tag template.Template, f *Fault) {
	if len(entries) != 1 {
		if len(entries) == 0 {
			return repository, tag, &Fault{Given: "no reference", Expected: tagAlone}
		}
		return repository, tag, &Fault{Given: quote(entries[0].text) + " and more", Expected: tagAlone + "; each tag has records of its own"}
	}
	text := entries[0].text
	w, f := parseWish(text)
	switch {
	case f != nil:
	case w.repository == nil:
		f = &Fault{Given: quote(text) + " without a repository", Expected: tagAlone}
	case w.tag == nil:
		f = &Fault{Given: quote(text) + " without a tag", Expected: tagAlone}
	case !template.ValidTag(w.tag.String()):
		f = &Fault{Given: quote(text) + ", which has a template in its tag", Expected: "the tag itself: there is no image that a template could be filled in from"}
	case ledger.Reserved(w.tag.String()):
		f = &Fault{Given: quote(text) + ", a tag that the program keeps for itself", Expected: "the tag that they are about"}
	default:
		return *w.repository, *w.tag, nil
	}
	return repository, tag, f
}
