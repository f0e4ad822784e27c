package main

import "fmt"

// tool is a program and how it copies one reference to another.
type tool struct {
	name, carries string
	binary        string // looked up in PATH; empty: this program
	args          func(source, target string) []string
}

const plainHTTP = "-plain-http"

// tools are this program and its peers.
var tools = []tool{
	{"promote", "everything, verified", "", func(s, t string) []string {
		return []string{"--source=" + s, "--target=" + t, "--summary=false"}
	}},
	{"crane copy", "image only", "crane", func(s, t string) []string { return []string{"copy", s, t} }},
	{"skopeo copy --all", "image only", "skopeo", func(s, t string) []string {
		return []string{"copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://" + s, "docker://" + t}
	}},
	{"oras cp", "image only", "oras", func(s, t string) []string {
		return []string{"cp", "--from" + plainHTTP, "--to" + plainHTTP, "--no-tty", s, t}
	}},
	{"oras cp -r", "referrers, no cosign tags", "oras", func(s, t string) []string {
		return []string{"cp", "-r", "--from" + plainHTTP, "--to" + plainHTTP, "--no-tty", s, t}
	}},
	{"cosign copy", "cosign tags, no referrers", "cosign", func(s, t string) []string {
		return []string{"copy", "--allow-http-registry", s, t}
	}},
	{"regctl image copy", "image only", "regctl", func(s, t string) []string { return []string{"image", "copy", s, t} }},
	{"regctl --referrers --digest-tags", "everything", "regctl", func(s, t string) []string {
		return []string{"image", "copy", "--referrers", "--digest-tags", s, t}
	}},
}

// scenario is what is asked of every tool. The targets of two runs differ, so
// that each starts from the same state; again repeats the one before.
type scenario struct {
	short  string // as -cases takes it
	name   string
	target func(w *world, tool, run int) string
}

var scenarios = []scenario{
	{"cross", "cross-registry", func(w *world, tool, run int) string {
		return fmt.Sprintf("%s/t%d/r%d:prod", w.target.host, tool, run)
	}},
	{"again", "again", func(w *world, tool, run int) string { return fmt.Sprintf("%s/t%d/r%d:prod", w.target.host, tool, run) }},
	{"retag", "retag", func(w *world, tool, run int) string {
		return fmt.Sprintf("%s/acme/app:prod-%d-%d", w.source.host, tool, run)
	}},
	{"mount", "other repository, same registry", func(w *world, tool, run int) string {
		return fmt.Sprintf("%s/t%d/r%d:prod", w.source.host, tool, run)
	}},
}
