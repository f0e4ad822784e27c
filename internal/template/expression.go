package template

import (
	"strings"
)

// expression is one of the closed set.
type expression struct {
	name   string
	usage  string
	render func(values Values, argument string) (string, *Error)
}

// expressions is all there are, in the order in which messages list them.
var expressions = []expression{
	{"date", "{{date 'YYYYMMDD-HHmmss'}}", renderDate},
	{"revision", "{{revision}}", func(v Values, _ string) (string, *Error) { return shortRevision(v.Revision) }},
	{"version", "{{version}}", present("version", func(v Values) string { return v.Version },
		"the image has no label org.opencontainers.image.version",
		"an image built with that label (the labels of docker/metadata-action have it), or a template without {{version}}")},
	{"source-tag", "{{source-tag}}", present("source-tag", func(v Values) string { return v.SourceTag },
		"the source was given without a tag",
		"a source with its tag, as in ghcr.io/acme/app:1.4.2 or ghcr.io/acme/app:1.4.2@sha256:…, or a template without {{source-tag}}")},
	{"env", "{{env}}", present("env", func(v Values) string { return v.Env },
		"no target-env was given",
		"the input target-env, or a template without {{env}}")},
	{"run-number", "{{run-number}}", present("run-number", func(v Values) string { return v.RunNumber },
		"the run has no number (GITHUB_RUN_NUMBER is not set)",
		"a run in GitHub Actions, or a template without {{run-number}}")},
	{"digest", "{{digest}}", func(v Values, _ string) (string, *Error) { return shortDigest(v.Digest) }},
}

func find(name string) (expression, bool) {
	for _, e := range expressions {
		if e.name == name {
			return e, true
		}
	}
	return expression{}, false
}

// known lists every expression.
func known() string {
	usages := make([]string, len(expressions))
	for i, e := range expressions {
		usages[i] = e.usage
	}
	return strings.Join(usages, ", ")
}

// present makes the renderer of a value that is used as it is.
func present(name string, value func(Values) string, missing, remedy string) func(Values, string) (string, *Error) {
	return func(v Values, _ string) (string, *Error) {
		if text := value(v); text != "" {
			return text, nil
		}
		return "", &Error{Found: "{{" + name + "}} has no value, because " + missing, Expected: remedy}
	}
}

const (
	revisionLength = 7 // as git shortens
	digestLength   = 12
)

func shortRevision(revision string) (string, *Error) {
	const remedy = "an image built with that label (the labels of docker/metadata-action have it), or a template without {{revision}}"
	switch {
	case revision == "":
		return "", &Error{
			Found:    "{{revision}} has no value, because the image has no label org.opencontainers.image.revision",
			Expected: remedy,
		}
	case len(revision) < revisionLength || !isHex(revision):
		return "", &Error{
			Found:    "the image's label org.opencontainers.image.revision is " + quote(revision),
			Expected: "a commit of at least 7 hexadecimal digits in it: " + remedy,
		}
	}
	return strings.ToLower(revision[:revisionLength]), nil
}

func shortDigest(digest string) (string, *Error) {
	_, digits, _ := strings.Cut(digest, ":")
	if len(digits) < digestLength || !isHex(digits) {
		return "", &Error{
			Found:    "{{digest}} stands for " + quote(digest),
			Expected: "the image's digest, sha256: and 64 hexadecimal digits",
		}
	}
	return digits[:digestLength], nil
}

func isHex(text string) bool {
	return strings.Trim(text, "0123456789abcdefABCDEF") == ""
}
