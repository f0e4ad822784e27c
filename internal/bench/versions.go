package main

import (
	"context"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var numbered = regexp.MustCompile(`\bv?\d+\.\d+\.\d+\S*`)

// versions notes which version of every tool is measured, and which are missing.
func (w *world) versions(ctx context.Context, r *results) {
	r.versions = append(r.versions, "promote at "+commit(ctx, w.root)+builtBy(w.program))
	known := []string{}
	for _, t := range peers() {
		if !chosen(w.only, t.name) {
			continue
		}
		binary, err := w.find(t)
		switch {
		case err != nil:
			r.missing = append(r.missing, t.name)
		case !slices.Contains(known, binary):
			known = append(known, binary)
			r.versions = append(r.versions, filepath.Base(binary)+" "+w.version(ctx, binary)+builtBy(binary))
		}
	}
	r.versions = append(r.versions, "distribution "+dependency(w.registry, "github.com/distribution/distribution/v3"))
}

// version is the one that "go install" put into a tool, or else the first number
// in what it prints.
func (w *world) version(ctx context.Context, binary string) string {
	if info, err := buildinfo.ReadFile(binary); err == nil && numbered.MatchString(info.Main.Version) {
		return info.Main.Version
	}
	for _, argument := range []string{"version", "--version"} {
		c := exec.CommandContext(ctx, binary, argument)
		c.Env = w.environment()
		out, _ := c.CombinedOutput() // it may know the other argument only
		if v := numbered.FindString(string(out)); v != "" {
			return v
		}
	}
	return "of an unknown version"
}

func builtBy(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return ""
	}
	return " (" + info.GoVersion + ")"
}

// commit is what is measured, with a word on changes that are in no commit.
func commit(ctx context.Context, root string) string {
	head, err := exec.CommandContext(ctx, "git", "-C", root, "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "an unknown commit"
	}
	changed, err := exec.CommandContext(ctx, "git", "-C", root, "status", "--porcelain", "--", "*.go", "go.mod").Output()
	if err != nil || len(changed) > 0 {
		return strings.TrimSpace(string(head)) + " with changes"
	}
	return strings.TrimSpace(string(head))
}

// dependency is the version of a module that a program was built with.
func dependency(binary, module string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "of an unknown version"
	}
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "of an unknown version"
}
