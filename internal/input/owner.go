package input

import (
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// refuseOwned refuses tags that belong to an environment other than the run's:
// they would be moved past its gates.
func (r *reader) refuseOwned(c *config.Config) {
	for _, item := range r.settings.Request.Items {
		for _, target := range item.Targets {
			near := around(c, target.Repository)
			for _, tag := range target.Tags {
				r.refuseOwnedTag(near, item, target.Repository, tag)
			}
		}
	}
}

// around is the config with only those images that may be in the repository: their
// names stand in its path. To compare it with each of hundreds takes seconds.
func around(c *config.Config, repository name.Repository) *config.Config {
	near := *c
	near.Images = slices.DeleteFunc(slices.Clone(c.Images), func(image string) bool {
		return !strings.Contains(repository.RepositoryStr(), image)
	})
	if len(near.Images) == 0 && len(c.Images) > 0 {
		near.Images = c.Images[:1] // none at all would be one without a name
	}
	return &near
}

// trespass tells which other environment a tag belongs to that a template has
// rendered to, as a label said so; empty if it is the run's to write.
func trespass(c *config.Config, own *config.Environment) func(name.Repository, string) string {
	return func(repository name.Repository, tag string) string {
		near := around(c, repository)
		var owner *config.Environment
		if own != nil {
			owner = near.Trespass(own, repository.Name(), tag)
		} else {
			owner, _ = near.Owner(repository.Name(), tag)
		}
		if owner == nil {
			return ""
		}
		return owner.Name
	}
}

func (r *reader) refuseOwnedTag(c *config.Config, item promote.Item, repository name.Repository, tag promote.Tag) {
	own := c.Environment(r.settings.Request.TargetEnv)
	owner, certain := r.owner(c, own, item, repository, tag)
	if owner == nil || owner == own {
		return
	}
	input := "target"
	switch {
	case r.plan != nil:
		input = "plan"
	case tag.Fixed:
		input = "fixed-tags"
	}
	given := quote(repository.Name()+":"+tag.Template.String()) + ", which "
	if !certain {
		given += "the image's labels could make a tag that "
	}
	r.refuse(input, given+"environment "+quote(owner.Name)+" owns", "`target-env: "+plain(owner.Name)+"` in its place, which is held to the gates of "+r.place.String()+", or a tag that no environment owns",
		"target-env: "+plain(owner.Name))
}

// owner is the environment whose tag it is, or could become once the image is
// known.
func (r *reader) owner(c *config.Config, own *config.Environment, item promote.Item, repository name.Repository, tag promote.Tag) (owner *config.Environment, certain bool) {
	values := r.foreseen(item.Source)
	if text, err := tag.Template.Render(values); err == nil {
		if owner, _ := c.Owner(repository.Name(), text); owner != nil {
			return owner, true
		}
	}
	if !tag.Template.Uses("version") || isTagOf(own, tag.Template) {
		return nil, true
	}
	return r.reachable(c, own, repository, tag.Template, values), false
}

// isTagOf says whether the template is one of the environment's own, which the
// config was checked for.
func isTagOf(e *config.Environment, tag template.Template) bool {
	return e != nil && slices.ContainsFunc(slices.Concat(e.Tags, e.FixedTags), tag.Equal)
}

// reachable is another environment with a tag that the template could render to: a
// version label may be anything.
func (r *reader) reachable(c *config.Config, own *config.Environment, repository name.Repository, tag template.Template, values template.Values) *config.Environment {
	env := values.Env
	for _, e := range c.Environments {
		values.Env = e.Name
		for _, theirs := range slices.Concat(e.Tags, e.FixedTags) {
			text, err := theirs.Render(values)
			if err != nil || e == own || !mayRender([]template.Template{tag}, env, text) {
				continue
			}
			if owner, _ := c.Owner(repository.Name(), text); owner == e {
				return e
			}
		}
	}
	return nil
}

// mayRender says whether one of the templates can stand for a tag.
func mayRender(tags []template.Template, env, text string) bool {
	const anywhere = "registry.example/image"
	alone := config.Config{Environments: []*config.Environment{{Name: env, Repository: anywhere, Tags: tags}}}
	owner, _ := alone.Owner(anywhere, text)
	return owner != nil
}
