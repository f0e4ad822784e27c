package input

import (
	"fmt"
	"path"
	"slices"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// stage is an environment of the config as the target of a run.
type stage struct {
	*reader
	config *config.Config
	*config.Environment
}

// readStage reads what is promoted to an environment, in its form.
func (r *reader) readStage() {
	r.fixed = r.readFixed()
	r.list("images")
	if r.text("source") != "" || r.text("metadata") != "" {
		r.sources = r.readSources()
	}
}

// open finds the run's environment in the config; nil and a fault if it has none
// of that name.
func (r *reader) open(c *config.Config) *stage {
	wanted := r.settings.Request.TargetEnv
	if e := c.Environment(wanted); e != nil {
		return &stage{r, c, e}
	}
	names := c.Names()
	expected := "an environment of " + r.place.String() + ": " + oneOf(names)
	if near := closest(wanted, names); near != "" {
		expected += "; the closest is " + near
	}
	r.refuse("target-env", quote(wanted), expected, "")
	return nil
}

// complete makes the request that of the environment.
func (s *stage) complete() {
	orders := s.orders()
	for i := range orders {
		orders[i].wishes = s.wishes(orders[i].image)
		orders[i].from = s.from(orders[i].image)
	}
	if len(s.faults) == 0 {
		s.settings.Request.Items = s.assemble(orders, s.fixed)
	}
	s.gate()
}

// gate holds the request to the environment's gates, and to its ledger.
func (s *stage) gate() {
	s.checkOverrides(s.Environment)
	policy := s.Gates
	if s.settings.Request.Mode == promote.Rollback {
		policy = policy.ForRollback()
	}
	s.settings.Request.Gates = &promote.Gates{Policy: policy, Overridable: overridable(s.Environment), Overrides: s.overrides}
	s.settings.Request.Keep, s.settings.Request.AttachRecords = s.Keep, s.AttachRecords
	s.settings.Request.ValidFor = s.ValidFor
	if !s.given("record") {
		s.settings.Request.Record = promote.RecordRequired
	}
}

// orders are the images to promote: what sources were given for, else what the
// environment before holds.
func (s *stage) orders() []order {
	images := s.images()
	var orders []order
	switch {
	case len(s.sources) > 0:
		orders = s.match(images)
	case s.From == nil:
		s.refuse("source", "nothing, and environment "+plain(s.Name)+" has no `from` that it takes images from", "an image: "+sourceForms+", or metadata", "")
	default:
		for _, image := range images {
			if from := s.from(image); from != nil {
				text := s.From.RepositoryOf(image) + ":" + from.Tag
				orders = append(orders, order{image: image, source: promote.Source{Text: text, Repository: from.Repository, Tag: from.Tag}})
			}
		}
	}
	if len(orders) > 0 {
		s.applyDigest(s.sourceInput(), sourcesOf(orders))
	}
	return orders
}

// images are those of the config that the input images leaves; one without a
// name where the config has none.
func (s *stage) images() []string {
	known := s.config.Images
	wanted := s.list("images")
	switch {
	case len(wanted) == 0 && len(known) == 0:
		return []string{""}
	case len(wanted) == 0:
		return known
	case len(known) == 0:
		s.refuse("images", quote(wanted[0].text)+", but "+s.place.String()+" has no `images`", "no images: each environment is for one image", "")
		return nil
	}
	var chosen []string
	for _, i := range wanted {
		if !slices.Contains(known, i.text) {
			s.refuseImage(i.text)
		} else if !slices.Contains(chosen, i.text) {
			chosen = append(chosen, i.text)
		}
	}
	return chosen
}

func (s *stage) refuseImage(text string) {
	expected := "images of " + s.place.String() + ": " + oneOf(s.config.Images)
	if near := closest(text, s.config.Images); near != "" {
		expected += "; the closest is " + near
	}
	s.refuse("images", quote(text), expected, "")
}

// match finds the image that each source is. Images without a source are left out,
// unless they were asked for by name.
func (s *stage) match(images []string) []order {
	var orders []order
	owners := map[string]string{}
	for _, source := range s.sources {
		image, found := s.imageOf(source.Repository)
		other, taken := owners[image]
		switch {
		case !found:
			s.refuse(s.sourceInput(), quote(source.Text)+", whose repository belongs to no environment and to no image of "+s.place.String(), "a source "+s.sourcePlaces(), "")
			continue
		case taken:
			s.refuse(s.sourceInput(), fmt.Sprintf("%s and %s for one image%s", quote(other), quote(source.Text), named(image)), "one source for each image", "")
			continue
		case !slices.Contains(images, image) && s.text("images") != "":
			s.refuse(s.sourceInput(), quote(source.Text)+", the image "+quote(image)+", which images leaves out", "only sources of the images that are named, or more images", "")
			continue
		}
		owners[image] = source.Text
		orders = append(orders, order{image: image, source: source})
	}
	if s.text("images") != "" && len(s.faults) == 0 {
		s.refuseSourceless(images, owners)
	}
	return orders
}

func (s *stage) refuseSourceless(images []string, owners map[string]string) {
	for _, image := range images {
		if _, ok := owners[image]; !ok {
			s.refuse("images", quote(image)+", for which "+s.sourceInput()+" has no image", "a source for each image that is named, or no source at all: then "+plain(s.Name)+" takes what the environment before it holds", "")
		}
	}
}

// sourcePlaces says where a source may be, for a fault.
func (s *stage) sourcePlaces() string {
	const most = 5
	var places []string
	for _, e := range s.config.Environments {
		if len(places) < most && !slices.Contains(places, plain(e.Repository)) {
			places = append(places, plain(e.Repository))
		}
	}
	expected := "in the repository of an environment: " + oneOf(places)
	if len(s.config.Images) > 0 {
		expected += "; or one whose path ends with an image's name: " + oneOf(s.config.Images)
	}
	return expected
}

// imageOf is the config's image that a repository holds.
func (s *stage) imageOf(repository name.Repository) (image string, found bool) {
	if len(s.config.Images) == 0 {
		return "", true
	}
	environments := s.config.Environments
	if s.From != nil {
		environments = slices.Concat([]*config.Environment{s.From}, environments)
	}
	for _, e := range environments {
		for _, image := range s.config.Images {
			if r, f := parseRepository(e.RepositoryOf(image)); f == nil && r.Name() == repository.Name() {
				return image, true
			}
		}
	}
	last := path.Base(repository.RepositoryStr())
	return last, slices.Contains(s.config.Images, last)
}

// wishes are the environment's own tags, in its repository for the image.
func (s *stage) wishes(image string) []wish {
	repository, ok := s.repository(s.Environment, image)
	if !ok {
		return nil
	}
	var wishes []wish
	for _, tag := range s.Tags {
		wishes = append(wishes, wish{input: "target-env", text: tag.String(), repository: &repository, tag: &tag})
	}
	for _, tag := range s.FixedTags {
		wishes = append(wishes, wish{input: "target-env", text: tag.String(), repository: &repository, tag: &tag, fixed: true})
	}
	return wishes
}

// repository is an environment's repository for an image.
func (s *stage) repository(e *config.Environment, image string) (name.Repository, bool) {
	repository, f := parseRepository(e.RepositoryOf(image))
	if f != nil {
		f.Given = "environment " + quote(e.Name) + ", whose " + f.Given
	}
	return repository, !s.add("target-env", f)
}

// changing are the expressions that stand for something else in every run: a tag
// with one of them does not name what an environment holds.
var changing = []string{"date", "revision", "version", "source-tag", "run-number", "digest"}

func changes(tag template.Template) bool { return slices.ContainsFunc(changing, tag.Uses) }

// from is the tag by which the environment before names what it holds of an
// image; nil if there is no such environment.
func (s *stage) from(image string) *promote.From {
	if s.From == nil {
		return nil
	}
	tag := s.From.Tags[0]
	if changes(tag) {
		s.refuse("target-env", quote(s.Name)+", whose `from` is "+quote(s.From.Name)+", whose first tag is "+quote(tag.String())+", which does not name what it holds",
			"a first tag in "+s.place.String()+" that is the same in every run, such as "+plain(s.From.Name), "")
		return nil
	}
	text, err := tag.Render(template.Values{Env: s.From.Name})
	if err != nil {
		s.add("target-env", templateFault("target-env", err))
		return nil
	}
	repository, ok := s.repository(s.From, image)
	if !ok {
		return nil
	}
	return &promote.From{Environment: s.From.Name, Repository: repository, Tag: text}
}

// denial is why this run may not promote to the environment, if it may not.
func (s *stage) denial() error {
	if !s.RequirePlan || s.settings.Request.Mode != promote.Promote {
		return nil
	}
	return &DeniedError{
		Message: "environment " + plain(s.Name) + " takes only approved plans (require-plan in " + s.place.String() + ")",
		Hint: "Make a plan in one job, and apply it in another that waits for its approval:\n" +
			"  mode: plan\n  target-env: " + plain(s.Name) + "\nand then\n  mode: apply\n  plan: ${{ needs.plan.outputs.plan }}",
	}
}

func named(image string) string {
	if image == "" {
		return ""
	}
	return " " + quote(image)
}
