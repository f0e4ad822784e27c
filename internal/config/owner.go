package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/template"
)

// owners finds tags that two environments own. Templates that are written alike
// are one tag; whether others can render to one tag is for [Config.Trespass].
func (r *reader) owners(stages []*stage) {
	for _, pair := range sharing(stages) {
		first, second := pair[0], pair[1]
		owned := map[string]*node{}
		for _, t := range slices.Concat(first.moving, first.fixed) {
			owned[spelling(t.Template, first.Name)] = t.at
		}
		for _, t := range slices.Concat(second.moving, second.fixed) {
			if at := owned[spelling(t.Template, second.Name)]; at != nil {
				r.shared(t, at, first)
			}
		}
	}
}

func (r *reader) shared(t tag, first *node, owner *stage) {
	if t.at.bad {
		return // a third environment
	}
	expected := "a tag of its own, or another repository"
	if len(pieces(t.Template)) > 1 {
		expected = "a tag of its own, such as {{env}}-" + strings.Trim(quote(t.at.text), `"`)
	}
	r.refuse(t.at, fmt.Sprintf("the tag %s, which the environment %s owns in the same repository (%s)", quote(t.at.text), quote(owner.Name), first.where()), expected)
}

// sharing is every two environments that have a repository in common, in the
// order of the file.
func sharing(stages []*stage) [][2]*stage {
	in := map[string][]int{}
	for i, s := range stages {
		for _, repository := range s.repositories {
			in[repository] = append(in[repository], i)
		}
	}
	found := map[[2]int]bool{}
	for _, indexes := range in {
		for j, second := range indexes {
			for _, first := range indexes[:j] {
				found[[2]int{first, second}] = first != second
			}
		}
	}
	var pairs [][2]*stage
	for i := range stages {
		for j := range stages {
			if found[[2]int{i, j}] {
				pairs = append(pairs, [2]*stage{stages[i], stages[j]})
			}
		}
	}
	return pairs
}

// Owner is the environment, and the image, that owns a tag of a repository; nil
// if none does. A fixed tag's template owns every tag that it may render to,
// except those that another environment names.
func (c *Config) Owner(repository, tag string) (owner *Environment, image string) {
	for _, owns := range []func(*Environment, string) bool{(*Environment).names, (*Environment).mayRender} {
		for _, e := range c.Environments {
			if image, in := c.imageIn(e, repository); in && owns(e, tag) {
				return e, image
			}
		}
	}
	return nil, ""
}

// Trespass is the environment that names a tag of a repository which is not e's
// to write, nil if there is none: what a template renders to may be a name that
// another environment has, because a label said so.
func (c *Config) Trespass(e *Environment, repository, tag string) *Environment {
	for _, other := range c.Environments {
		if _, in := c.imageIn(other, repository); in && other.Name != e.Name && other.names(tag) {
			return other
		}
	}
	return nil
}

// imageIn is the image that an environment has in a repository.
func (c *Config) imageIn(e *Environment, repository string) (image string, ok bool) {
	images := c.Images
	if len(images) == 0 {
		images = []string{""}
	}
	wanted := identity(repository)
	for _, image := range images {
		if identity(e.RepositoryOf(image)) == wanted {
			return image, true
		}
	}
	return "", false
}

func (e *Environment) templates() []template.Template { return slices.Concat(e.Tags, e.FixedTags) }

// names says whether the environment has the very tag in its list.
func (e *Environment) names(tag string) bool {
	return slices.ContainsFunc(e.templates(), func(t template.Template) bool {
		return spelling(t, e.Name) == tag
	})
}

// mayRender says whether one of the environment's templates can stand for a tag.
func (e *Environment) mayRender(tag string) bool {
	return template.ValidTag(tag) && slices.ContainsFunc(e.templates(), func(t template.Template) bool {
		return pattern(t, e.Name).MatchString(tag)
	})
}

// renderings are patterns of what expressions stand for.
var renderings = map[string]string{
	"revision":   `[0-9a-f]{7}`,
	"digest":     `[0-9a-f]{12}`,
	"run-number": `[A-Za-z0-9_.-]+`,
	"version":    `[A-Za-z0-9_.-]+`,
	"source-tag": `[A-Za-z0-9_.-]+`,
}

// pattern is what a template can render to in an environment.
func pattern(t template.Template, environment string) *regexp.Regexp {
	var b strings.Builder
	for _, p := range pieces(t) {
		switch p.expression {
		case "":
			b.WriteString(regexp.QuoteMeta(p.literal))
		case "env":
			b.WriteString(regexp.QuoteMeta(environment))
		case "date":
			b.WriteString(datePattern(p.argument))
		default:
			b.WriteString(renderings[p.expression])
		}
	}
	return regexp.MustCompile(`^` + b.String() + `$`)
}
