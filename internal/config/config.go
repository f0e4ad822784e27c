package config

import (
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/template"
)

// Default is where the config file is looked for, in the repository.
const Default = ".github/promotion.yml"

// DefaultValidFor is how long a plan may be applied if its environment does not say.
const DefaultValidFor = 7 * 24 * time.Hour

// Config is a config file that was read without a fault.
type Config struct {
	Environments []*Environment // in the file's order
	Images       []string       // that {{image}} stands for; nil: one image without a name
	Digest       string         // sha256:… of the file's bytes
}

// Environment is a named stage.
type Environment struct {
	Name        string
	From        *Environment        // nil: images come from a build
	Repository  string              // registry/path; may hold {{image}}
	Tags        []template.Template // moving ones, at least one
	FixedTags   []template.Template
	Gates       gate.Policy
	RequirePlan bool
	ValidFor    time.Duration // of a plan
	Overridable []string      // names of gates

	Keep          int  // how many rollback targets get tags of the program's own; 0: none
	AttachRecords bool // records are attached to images also where the registry has no referrers API
}

// Environment is the environment of a name, nil if there is none.
func (c *Config) Environment(name string) *Environment {
	for _, e := range c.Environments {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// Names are the environments' names, in the file's order.
func (c *Config) Names() []string {
	names := make([]string, len(c.Environments))
	for i, e := range c.Environments {
		names[i] = e.Name
	}
	return names
}

// RepositoryOf is the environment's repository for an image; the image is empty
// where the config has no images.
func (e *Environment) RepositoryOf(image string) string {
	return strings.ReplaceAll(e.Repository, placeholder, image)
}
