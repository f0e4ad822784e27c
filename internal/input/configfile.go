package input

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"unicode"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/promote"
)

const (
	// noConfig opts out of a config file and of its gates.
	noConfig = "none"

	maxConfig     = 1 << 20 // bytes
	maxConfigPath = 1024

	otherConfigs = "`config: " + config.Default + "@main`, which reads it from the repository without a checkout"
)

// place is where the config file is.
type place struct {
	path, ref string // no ref: in the checkout
	named     bool   // the input config names it
	none      bool
}

func (p place) String() string {
	if p.ref == "" {
		return plain(p.path)
	}
	return plain(p.path) + " at " + plain(p.ref)
}

// readPlace reads the input config: a path, path@ref, none, or the default.
func (r *reader) readPlace() {
	text := r.text("config")
	switch text {
	case "":
		r.place = place{path: config.Default}
		return
	case noConfig:
		r.place = place{none: true}
		return
	}
	at := strings.LastIndexByte(text, '@')
	r.place = place{path: text, named: true}
	if at >= 0 {
		r.place.path, r.place.ref = text[:at], text[at+1:]
	}
	given := ""
	switch p := r.place; {
	case len(text) > maxConfigPath || strings.ContainsFunc(text, unicode.IsControl):
		given = ", which is no path of a file"
	case p.path == "":
		given = " without a path"
	case at >= 0 && p.ref == "":
		given = ", whose ref is empty; a variable that was meant to be there may be empty"
	case at >= 0 && (path.IsAbs(p.path) || path.Clean(p.path) != p.path || strings.HasPrefix(p.path, "..")):
		given = ", whose path is not one within the repository"
	default:
		return
	}
	r.refuse("config", quote(text)+given, "a file's path, path@ref, or none", "config: "+config.Default+"@main")
}

// load reads the config file; nil is none, where none is needed. What reads the
// file says [fs.ErrNotExist] of one that is not there.
func (r *reader) load(ctx context.Context, read ReadFile) (c *config.Config, notice string, err error) {
	if r.place.none {
		return nil, "", nil
	}
	raw, notice, err := read(ctx, r.place.path, r.place.ref)
	var invalid *Error
	switch {
	case errors.As(err, &invalid):
		r.faults = append(r.faults, invalid.Faults...)
		return nil, notice, r.err()
	case errors.Is(err, fs.ErrNotExist):
		r.refuseMissing()
		return nil, "", r.err()
	case err != nil:
		return nil, "", fmt.Errorf("read the config: %w", err) // which names the file
	}
	if c, err = r.parse(r.place.path, raw); err != nil {
		return nil, notice, err
	}
	r.settings.Request.Config = &document.Config{Path: r.place.path, Ref: r.place.ref, Digest: c.Digest}
	return c, notice, nil
}

// refuseMissing refuses to go on without a config that somebody meant to have.
func (r *reader) refuseMissing() {
	where := "in the repository at that ref"
	expected := "the path of the file in the repository, and the branch that has it"
	if r.place.ref == "" {
		where = "in " + directory(r.workspace)
		expected = "the file there (in a workflow, actions/checkout must come first), or " + otherConfigs
	}
	missing := ", which was looked for and is not there: no " + r.place.String() + " " + where
	env := r.settings.Request.TargetEnv
	switch {
	case env != "":
		r.refuse("target-env", quote(env)+", whose config file is "+r.place.String()+missing,
			expected+r.withoutConfig(),
			"target-env: "+plain(env)+"\nconfig: "+config.Default+"@main")
	case listing(r.settings.Request.Mode) && r.text("target") == "":
		r.refuse("target-env", "nothing, which means every environment of "+r.place.String()+missing, expected+r.withoutConfig(), "mode: "+string(r.settings.Request.Mode)+"\nconfig: "+config.Default+"@main")
	case r.place.named:
		r.refuse("config", quote(r.text("config"))+missing, expected, "config: "+config.Default+"@main")
	case r.plan != nil && r.plan.Config != nil:
		r.refuse("plan", "a plan that was made with the config "+quote(r.plan.Config.Path)+missing, expected, "mode: apply\nconfig: "+config.Default+"@main")
	}
}

// withoutConfig says what can be done where no config is meant.
func (r *reader) withoutConfig() string {
	switch mode := r.settings.Request.Mode; {
	case listing(mode), mode == promote.Rollback:
		return ", or target with " + tagAlone + " in place of an environment"
	default:
		return ", or `config: none`, with which target-env is a tag of that name in the source's repository, and nothing is held to a gate"
	}
}

// Files reads config files: those with a ref through the client, which may be nil
// where nobody can be asked, and others from the workspace.
func (s *Settings) Files(client *github.Client) ReadFile {
	return func(ctx context.Context, path, ref string) ([]byte, string, error) {
		if ref != "" {
			return fileAt(ctx, client, s.Request.Job.Repository, path, ref)
		}
		raw, err := readBounded(locate(s.reader.workspace, path), maxConfig)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return raw, "", err
		}
		return nil, "", configError(quote(path)+" in "+directory(s.reader.workspace)+": "+cause(err), "a regular file that can be read")
	}
}

func fileAt(ctx context.Context, client *github.Client, repository, path, ref string) ([]byte, string, error) {
	if client == nil || repository == "" {
		return nil, "", configError(quote(path+"@"+ref)+", but no repository is known to read it from (GITHUB_REPOSITORY is not set)", "a run in GitHub Actions, or a file's path without a ref")
	}
	raw, protected, err := client.File(ctx, repository, path, ref)
	switch {
	case errors.Is(err, github.ErrNotFound):
		return nil, "", configError(quote(path+"@"+ref)+": "+strings.TrimSuffix(err.Error(), "."), "a file of "+plain(repository)+" at a branch, a tag or a commit, and a token that may read it")
	case err != nil || protected:
		return raw, "", err
	}
	return raw, "the config was read at " + plain(ref) + ", which is no protected branch: who can push there can change the gates", nil
}

func configError(given, expected string) *Error {
	return &Error{Faults: []Fault{{Input: "config", Given: given, Expected: expected, Example: exampleOf("config")}}}
}
