package input

import (
	"slices"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// survey makes a request that only looks that of every environment and image of the
// config, unless it is about a tag alone.
func (r *reader) survey(c *config.Config) {
	request := &r.settings.Request
	if request.Stages != nil {
		return
	}
	if request.TargetEnv != "" && r.open(c) == nil {
		return
	}
	asked := (&stage{reader: r, config: c}).images()
	for _, e := range c.Environments {
		s := &stage{r, c, e}
		for _, image := range imagesOf(c) {
			one, ok := s.survey(image)
			one.Asked = slices.Contains(asked, image) && (request.TargetEnv == "" || request.TargetEnv == e.Name)
			if ok {
				request.Stages = append(request.Stages, one)
			}
		}
	}
}

// imagesOf are the config's images; one without a name where it has none.
func imagesOf(c *config.Config) []string {
	if len(c.Images) == 0 {
		return []string{""}
	}
	return c.Images
}

// survey is the environment's stage of an image.
func (s *stage) survey(image string) (promote.Stage, bool) {
	repository, ok := s.repository(s.Environment, image)
	one := promote.Stage{Environment: s.Name, Image: image, Repository: repository, Ledger: s.Name, Tags: s.lasting()}
	if s.From != nil {
		one.From = s.From.Name
	}
	return one, ok
}

// lasting are the environment's moving tags that are the same in every run.
func (s *stage) lasting() []string {
	var tags []string
	for _, tag := range s.Tags {
		if changes(tag) {
			continue
		}
		text, err := tag.Render(template.Values{Env: s.Name})
		if err != nil {
			s.add("target-env", templateFault("target-env", err))
			continue
		}
		tags = append(tags, text)
	}
	return tags
}

// refuseOwnedSubject refuses to look at a tag alone that an environment owns: its
// records are kept under the environment's name.
func (r *reader) refuseOwnedSubject(c *config.Config) {
	for _, one := range r.settings.Request.Stages {
		if one.Environment == "" {
			r.refuseOwnedStage(c, one.Repository, one.Ledger)
		}
	}
}

func (r *reader) refuseOwnedStage(c *config.Config, repository name.Repository, tag string) {
	owner, _ := around(c, repository).Owner(repository.Name(), tag)
	if owner == nil {
		return
	}
	r.refuse("target", quote(repository.Name()+":"+tag)+", which environment "+quote(owner.Name)+" owns",
		"`target-env: "+plain(owner.Name)+"` in its place: its records are kept for the environment", "mode: "+string(r.settings.Request.Mode)+"\ntarget-env: "+plain(owner.Name))
}
