package main

import (
	"context"
	"debug/buildinfo"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
)

var numbered = regexp.MustCompile(`\bv?\d+\.\d+\.\d+\S*`)

// versions notes what every tool says its version is, and which are missing.
func (w *world) versions(ctx context.Context, r *results) {
	r.versions = append(r.versions, "promote at "+commit(w.program))
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
			r.versions = append(r.versions, filepath.Base(binary)+" "+w.version(ctx, binary))
		}
	}
	r.versions = append(r.versions, "distribution "+dependency(w.registry, "github.com/distribution/distribution/v3"))
}

// version is the first number in what a tool prints as its version.
func (w *world) version(ctx context.Context, binary string) string {
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

// commit is what a program was built from.
func commit(binary string) string {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return "an unknown commit"
	}
	revision, changed := "an unknown commit", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = ", with changes"
		}
	}
	return revision + changed
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
