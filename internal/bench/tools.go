package main

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
)

// pair is one image and where it goes.
type pair struct{ source, target string }

// tool is a program and how it copies.
type tool struct {
	name, carries string
	binaries      []string // the first that is in PATH; none: this program
	args          func(pair) []string
	// together gives the arguments for several pairs in one run; nil: a run for each.
	together func([]pair) []string
}

// tools are this program and its peers, each with the settings it comes with. What
// is added makes it copy all platforms, unchanged.
var tools = []tool{
	{"promote", "everything, verified", nil, nil, ours},
	{"crane copy", "image only", []string{"crane"}, func(p pair) []string { return []string{"copy", p.source, p.target} }, nil},
	{"skopeo copy --all", "image only", []string{"skopeo"}, func(p pair) []string {
		return []string{"copy", "--all", "--preserve-digests", "docker://" + p.source, "docker://" + p.target}
	}, nil},
	{"buildx imagetools create", "image only", []string{"docker-buildx", "buildx"}, func(p pair) []string {
		return []string{"imagetools", "create", "--progress=plain", "--tag", p.target, p.source}
	}, nil},
	{"oras cp", "image only", []string{"oras"}, func(p pair) []string {
		return []string{"cp", "--no-tty", p.source, p.target}
	}, nil},
	{"oras cp -r", "referrers, no cosign tags", []string{"oras"}, func(p pair) []string {
		return []string{"cp", "-r", "--no-tty", p.source, p.target}
	}, nil},
	{"cosign copy", "cosign tags, no referrers", []string{"cosign"}, func(p pair) []string {
		return []string{"copy", p.source, p.target}
	}, nil},
	{"regctl image copy", "image only", []string{"regctl"}, func(p pair) []string { return []string{"image", "copy", p.source, p.target} }, nil},
	{"regctl --referrers --digest-tags", "everything", []string{"regctl"}, func(p pair) []string {
		return []string{"image", "copy", "--referrers", "--digest-tags", p.source, p.target}
	}, nil},
}

// The tools that the asked figures speak of.
const (
	us               = "promote"
	crane            = "crane copy"
	regctl           = "regctl image copy"
	regctlEverything = "regctl --referrers --digest-tags"
)

// ours takes one image as the users of one do, and several as lines.
func ours(pairs []pair) []string {
	if len(pairs) == 1 {
		return []string{"--source=" + pairs[0].source, "--target=" + pairs[0].target, "--summary=false"}
	}
	var lines []string
	for _, p := range pairs {
		lines = append(lines, p.source+" => "+p.target)
	}
	return []string{"--target=" + strings.Join(lines, "\n"), "--summary=false"}
}

// runs are the arguments of each run that the pairs take.
func (t tool) runs(pairs []pair) (all [][]string) {
	if t.together != nil {
		return [][]string{t.together(pairs)}
	}
	for _, p := range pairs {
		all = append(all, t.args(p))
	}
	return all
}

var errNotInstalled = errors.New("not installed")

// find is the tool's program.
func (w *world) find(t tool) (string, error) {
	if t.binaries == nil {
		return w.program, nil
	}
	for _, b := range t.binaries {
		if path, err := exec.LookPath(b); err == nil {
			return path, nil
		}
	}
	return "", errNotInstalled
}

func peers() []tool {
	return slices.DeleteFunc(slices.Clone(tools), func(t tool) bool { return t.name == us })
}
