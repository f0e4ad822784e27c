package input

import (
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	sourceForms = "repo:tag, repo@sha256:…, repo:tag@sha256:…, or repo together with the input digest"

	// emptyDigest explains the most common way to lose a digest.
	emptyDigest = "a digest; the output digest of docker/build-push-action is empty when it pushed nothing (push: true is missing)"
)

// parseSource reads a reference whose tag and digest may both be missing: the
// input digest may make up for that.
func parseSource(text string) (promote.Source, *Fault) {
	source := promote.Source{Text: text}
	if f := checkShape(text); f != nil {
		return source, f
	}
	tagged, digest, hasDigest := strings.Cut(text, "@")
	repository, tag, hasTag := cutTag(tagged)
	var f *Fault
	if source.Repository, f = parseRepository(repository); f != nil {
		return source, f
	}
	if hasTag && !template.ValidTag(tag) {
		return source, invalidTag(text, tag)
	}
	source.Tag = tag
	if hasDigest {
		source.Digest, f = parseDigest(digest, plain(repository))
	}
	return source, f
}

func invalidTag(text, tag string) *Fault {
	if tag == "" {
		return &Fault{Given: quote(text) + ", whose tag is empty", Expected: "a tag after the colon; an output or a variable that was meant to be there may be empty"}
	}
	return &Fault{
		Given:    quote(text) + ", whose tag " + quote(tag) + " cannot exist",
		Expected: "a tag of 1 to 128 letters, digits, '_', '.' and '-' that does not begin with '.' or '-'",
	}
}

// cutTag splits a reference at the colon of its tag, if it has one: after the
// last slash, for a colon before that belongs to the registry's port. Templates
// are looked through, not into.
func cutTag(reference string) (repository, tag string, ok bool) {
	outline := template.Blank(reference)
	colon := strings.LastIndexByte(outline, ':')
	if colon < 0 || colon < strings.LastIndexByte(outline, '/') {
		return reference, "", false
	}
	return reference[:colon], reference[colon+1:], true
}

var (
	scheme   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	userInfo = regexp.MustCompile(`^[^/]*@`)
)

// checkShape finds what is no reference at all.
func checkShape(text string) *Fault {
	if prefix := scheme.FindString(text); prefix != "" {
		rest := text[len(prefix):]
		if strings.HasPrefix(strings.ToLower(prefix), "http") {
			rest = userInfo.ReplaceAllString(rest, "") // a password may be in it
		}
		return &Fault{Given: "a reference that begins with " + quote(prefix), Expected: "it without that: " + quote(rest)}
	}
	if strings.ContainsAny(template.Blank(text), " \t\r\n,") {
		return &Fault{Given: quote(text) + ", which has a blank or a comma in it", Expected: "one reference on each line"}
	}
	return nil
}

// grammar is the OCI distribution specification's <name>, "Pulling manifests".
// ggcr's own check lets through "..", which would lead elsewhere in a URL.
var grammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// host is a registry's name or address with its port. Underscores are for
// services of a workflow.
var host = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)

// parseRepository reads registry/path. Docker Hub's short names are right.
func parseRepository(text string) (name.Repository, *Fault) {
	repository, err := name.NewRepository(text, name.WeakValidation)
	if err == nil && host.MatchString(repository.RegistryStr()) && grammar.MatchString(repository.RepositoryStr()) {
		return repository, nil
	}
	if text == "" {
		return name.Repository{}, &Fault{Given: "no repository", Expected: "registry/path"}
	}
	if lower, ok := lowerCased(text); ok {
		return name.Repository{}, &Fault{
			Given:    "repository " + quote(text) + ", which has upper-case letters (as ${{ github.repository }} may have)",
			Expected: "lower case: " + plain(lower),
		}
	}
	return name.Repository{}, &Fault{
		Given:    "repository " + quote(text),
		Expected: "registry/path, where path has lower-case letters and digits, with '.', '_', '-' or '/' between them",
	}
}

func lowerCased(text string) (string, bool) {
	lower := strings.ToLower(text)
	if lower == text {
		return "", false
	}
	_, f := parseRepository(lower)
	return lower, f == nil
}

const sha256Length = 64

// parseDigest reads sha256:… . The repository is for the example, and may be
// empty.
func parseDigest(text, repository string) (v1.Hash, *Fault) {
	if repository == "" {
		repository = "ghcr.io/acme/app"
	}
	if text == "" || text == "sha256:" {
		return v1.Hash{}, &Fault{
			Given:    "an empty digest",
			Expected: emptyDigest,
			Example:  "source: " + repository + "\n" + exampleOf("digest"),
		}
	}
	digest, err := v1.NewHash(text)
	if err == nil && digest.Algorithm == "sha256" {
		return digest, nil
	}
	expected := "sha256: and 64 lower-case hexadecimal digits"
	if _, after, found := strings.Cut(text, "@"); found {
		expected += "; the digest alone, without a repository: " + quote(after)
	} else if len(text) == sha256Length {
		expected += "; sha256: is missing"
	}
	return v1.Hash{}, &Fault{Given: "digest " + quote(text), Expected: expected, Example: "source: " + repository + "\n" + exampleOf("digest")}
}
