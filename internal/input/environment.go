package input

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/artifact-promotion/promote/internal/template"
)

const (
	// noConfig opts out of a config file and of its gates.
	noConfig = "none"

	defaultConfig = ".github/promotion.yml"
)

// readEnvironment reads target-env: without a config file, a tag of that name
// in the source's repository. It never goes on without the gates that someone
// may have meant to have.
func (r *reader) readEnvironment() []wish {
	env, config := r.text("target-env"), r.text("config")
	switch {
	case env == "" && config != "" && config != noConfig:
		r.refuse("config", quote(config)+", "+whereabouts(config), "no config, or `config: none`: this version reads no config files, and its gates would not be held", "")
	case env == "":
	case !template.ValidTag(env):
		r.refuse("target-env", quote(env), "a name that can be a tag: 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-'", "")
	case r.text("target") != "":
		r.refuse("target-env", quote(env)+" together with target", "one of them", "")
	case config != noConfig:
		r.refuse("target-env", quote(env)+", whose config file is "+configPath(config)+", "+whereabouts(configPath(config)),
			"`target` in its place, or `config: none`: this version reads no config files yet. With `config: none`, target-env is a tag of that name in the source's repository, and nothing is held to a gate",
			"target-env: "+env+"\nconfig: none")
	default:
		w := wish{input: "target-env", text: env}
		r.add("target-env", w.parseTag(env))
		return []wish{w}
	}
	return nil
}

func configPath(config string) string {
	if config == "" {
		return defaultConfig
	}
	return plain(config)
}

// whereabouts says whether a config file is there.
func whereabouts(path string) string {
	if strings.Contains(path, "@") {
		return "which names a ref and was not looked for"
	}
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return "which is there"
	case errors.Is(err, fs.ErrNotExist):
		return "which was looked for and is not there (in a workflow, actions/checkout must come first)"
	default:
		return "which cannot be looked at: " + cause(err)
	}
}
