package config

import (
	"strconv"

	"github.com/artifact-promotion/promote/internal/template"
)

// stage is an environment with its places in the file.
type stage struct {
	*Environment
	name, body    *node
	repositories  []string // of every image, in the spelling that compares
	moving, fixed []tag
}

// tag is a tag's template with its place.
type tag struct {
	template.Template
	at *node
}

// stages reads the environments that can be read.
func (r *reader) stages(environments *node) []*stage {
	if environments == nil {
		return nil
	}
	var stages []*stage
	for _, p := range environments.pairs {
		if !p.key.bad && !p.value.bad {
			stages = append(stages, r.stage(p.key, p.value))
		}
	}
	return stages
}

func (r *reader) stage(name, body *node) *stage {
	s := &stage{Environment: &Environment{Name: name.text, ValidFor: DefaultValidFor, Keep: DefaultKeep}, name: name, body: body}
	if repository := body.get("repository"); repository != nil {
		s.Repository, s.repositories = r.repository(repository)
	}
	s.moving = r.tags(body.list("tags"), s.Name, nil)
	s.fixed = r.tags(body.list("fixed-tags"), s.Name, s.moving)
	s.Tags, s.FixedTags = templates(s.moving), templates(s.fixed)
	s.RequirePlan = body.isTrue("require-plan")
	s.AttachRecords = body.isTrue("attach-records")
	if keep := body.get("keep"); keep != nil {
		s.Keep, _ = strconv.Atoi(keep.text) // its shape was checked
	}
	if validFor := body.get("valid-for"); validFor != nil {
		s.ValidFor = r.duration(validFor, maxValidFor, "90d")
	}
	if gates := body.get("gates"); gates != nil {
		s.Gates = r.policy(gates)
	}
	r.soaks(s)
	return s
}

func templates(tags []tag) []template.Template {
	var templates []template.Template
	for _, t := range tags {
		templates = append(templates, t.Template)
	}
	return templates
}
