package input

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// maxTags is how many tags all targets together have at most. Lists multiply:
// tags by repositories by sources.
const maxTags = 10000

// assembly brings orders into the form of a request.
type assembly struct {
	*reader
	count  int               // tags so far
	owners map[string]string // full reference of a tag → the source that wants it
}

func (r *reader) assemble(orders []order, fixed []wish) []promote.Item {
	a := assembly{reader: r, owners: map[string]string{}}
	var items []promote.Item
	for _, o := range orders {
		o.wishes = slices.Concat(o.wishes, fixed)
		if targets := a.targets(o); len(targets) > 0 {
			items = append(items, promote.Item{Image: o.image, Source: o.source, From: o.from, Targets: targets})
		}
		if a.count > maxTags {
			r.refuse("target", fmt.Sprintf("more than %d tags in all repositories together", maxTags), "fewer; promote the rest in another step", "")
			break
		}
	}
	return items
}

// targets is where one order goes: the repositories that its wishes name, else
// the source's.
func (a *assembly) targets(o order) []promote.Target {
	var targets []promote.Target
	for _, repository := range repositories(o) {
		if a.count > maxTags {
			break
		}
		t := promote.Target{Repository: repository}
		names := map[string]wish{}
		for _, w := range o.wishes {
			if w.in(repository) && a.claim(o.source, repository, w, names) {
				t.Tags = append(t.Tags, promote.Tag{Template: *w.tag, Fixed: w.fixed})
			}
		}
		if len(t.Tags) > 0 {
			targets = append(targets, t)
		} else {
			a.refuseTagless(o, repository)
		}
	}
	return targets
}

func repositories(o order) []name.Repository {
	var list []name.Repository
	seen := map[string]bool{}
	for _, w := range o.wishes {
		if w.repository != nil && !seen[w.repository.Name()] {
			seen[w.repository.Name()] = true
			list = append(list, *w.repository)
		}
	}
	if len(list) == 0 {
		return []name.Repository{o.source.Repository}
	}
	return list
}

// claim says whether the wish's tag is new to its repository. It refuses what
// contradicts another wish.
func (a *assembly) claim(source promote.Source, repository name.Repository, w wish, names map[string]wish) bool {
	if a.count > maxTags {
		return false
	}
	tag, known, f := a.foresee(w, source)
	if a.add(w.input, f) {
		return false
	}
	if other, again := names[tag]; again {
		if other.fixed != w.fixed {
			a.refuse("fixed-tags", quote(w.text)+", which is a moving tag as well ("+other.input+" has "+quote(other.text)+")", "a tag either fixed or moving", "")
		}
		return false
	}
	names[tag] = w
	a.count++
	reference := repository.Name() + ":" + tag
	if owner, taken := a.owners[reference]; known && taken {
		a.refuse(w.input, "tag "+quote(reference)+" for two sources, "+quote(owner)+" and "+quote(source.Text), "one source for each tag", arrowExample)
		return false
	}
	a.owners[reference] = source.Text
	return true
}

// foresee renders a tag with what is known before the image is, so that what is
// bound to go wrong is refused before anything is contacted. A tag that depends
// on the image stands for itself: known is false.
func (a *assembly) foresee(w wish, source promote.Source) (text string, known bool, f *Fault) {
	tag := *w.tag
	text, err := tag.Render(a.foreseen(source))
	if err != nil {
		return "", false, templateFault(w.input, err)
	}
	if tag.Uses("revision") || tag.Uses("version") || tag.Uses("digest") {
		return tag.String(), false, nil
	}
	return text, true, nil
}

// foreseen are the values that are known before the image is.
func (r *reader) foreseen(source promote.Source) template.Values {
	return template.Values{
		Now:       r.settings.Request.Started,
		SourceTag: source.Tag,
		Env:       r.settings.Request.TargetEnv,
		RunNumber: r.settings.Request.RunNumber,
		// Stand-ins, as short as they can be.
		Revision: "0000000",
		Version:  "0",
		Digest:   "sha256:" + strings.Repeat("0", sha256Length),
	}
}

// refuseTagless refuses a repository that a wish names without any tag for it.
// Otherwise tags were meant and were at fault, and that was said.
func (a *assembly) refuseTagless(o order, repository name.Repository) {
	if a.text("fixed-tags") != "" {
		return
	}
	for _, w := range o.wishes {
		if w.tag == nil && w.repository.Name() == repository.Name() {
			a.refuse(w.input, quote(w.text)+" without a tag", "a tag after it, or tags in fixed-tags", "target: "+plain(w.text)+":{{source-tag}}")
		}
	}
}
