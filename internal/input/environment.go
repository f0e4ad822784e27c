package input

import (
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
)

// staged says whether the run's target is an environment of the config.
func (r *reader) staged() bool {
	return r.text("target-env") != "" && !r.place.none
}

// readEnvironment reads target-env in its form. With config: none it is a tag of
// that name in the source's repository; else [Settings.Configure] knows the rest.
func (r *reader) readEnvironment() []wish {
	env := r.text("target-env")
	switch {
	case env == "":
	case r.text("target") != "":
		r.refuse("target-env", quote(env)+" together with target", "one of them", "")
	case !r.place.none:
	case !template.ValidTag(env):
		r.refuse("target-env", quote(env), "a name that can be a tag: 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'", "")
	default:
		w := wish{input: "target-env", text: env}
		r.add("target-env", w.parseTag(env))
		return []wish{w}
	}
	return nil
}

// readGated reads what has a meaning only together with an environment's config.
func (r *reader) readGated() {
	if listing(r.settings.Request.Mode) {
		return // which no gate holds back, and which reads images with what it is about
	}
	r.readOverrides()
	for _, input := range []string{"images", "override-gates"} {
		switch {
		case r.text(input) == "":
		case r.place.none:
			r.refuse(input, quote(r.text(input))+" together with `config: none`", "a config, which has the images and the gates, or no "+input, "")
		case r.text("target-env") == "" && r.settings.Request.Mode != promote.Apply:
			r.refuse(input, quote(r.text(input))+" without target-env", "target-env, the environment that it is about", "target-env: production\n"+exampleOf(input))
		}
	}
}
