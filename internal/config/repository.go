package config

import (
	"regexp"
	"strings"

	"github.com/artifact-promotion/promote/internal/template"
	"github.com/google/go-containerregistry/pkg/name"
)

// placeholder stands for an image in a repository.
const placeholder = "{{image}}"

const repositoryForm = "registry/path with the registry's name, such as ghcr.io/acme/app (docker.io/library/nginx for Docker Hub)"

var (
	expression     = regexp.MustCompile(`\{\{[^{}]*\}\}`)
	scheme         = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	host           = regexp.MustCompile(`^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
	repositoryPath = regexp.MustCompile(`^` + component + `(/` + component + `)*$`)
)

// repository reads registry/path, and says which repositories the images are in.
func (r *reader) repository(n *node) (string, []string) {
	written := r.placeholders(n)
	if n.bad {
		return "", nil
	}
	images := r.images
	if len(images) == 0 {
		images = []string{"image"} // to see whether the rest of it is right
	}
	if strings.Contains(registryOf(written), placeholder) {
		r.refuse(n, quote(n.text)+" with {{image}} in the registry's name", "{{image}} in the path")
		return "", nil
	}
	var repositories []string
	for _, image := range images {
		expanded := strings.ReplaceAll(written, placeholder, image)
		if given, expected := badRepository(expanded); given != "" {
			r.refuse(n, r.expandedFrom(n, expanded, given), expected)
			return "", nil
		}
		if len(repositories) == 0 || repositories[0] != identity(expanded) {
			repositories = append(repositories, identity(expanded))
		}
	}
	if len(r.images) > 1 && !strings.Contains(written, placeholder) {
		r.refuse(n, quote(n.text)+" without {{image}}: two images would share it", "a repository for each of images, such as "+strings.Trim(quote(n.text), `"`)+"/{{image}}")
		return "", nil
	}
	return written, repositories
}

func (r *reader) expandedFrom(n *node, expanded, given string) string {
	if len(r.images) > 0 && expanded != n.text {
		return quote(n.text) + ", which is " + given
	}
	return strings.ReplaceAll(given, quote(expanded), quote(n.text))
}

func registryOf(repository string) string {
	registry, _, _ := strings.Cut(repository, "/")
	return registry
}

// placeholders brings every expression of a text to the form {{image}}, and
// refuses others.
func (r *reader) placeholders(n *node) string {
	for _, found := range expression.FindAllString(n.text, -1) {
		if strings.TrimSpace(strings.Trim(found, "{}")) != "image" {
			r.refuse(n, quote(n.text)+" with "+strings.Trim(quote(found), `"`), "no expression but {{image}}")
			return ""
		}
	}
	written := expression.ReplaceAllString(n.text, placeholder)
	if strings.Contains(written, placeholder) && !r.hasImages {
		r.refuse(n, quote(n.text)+" with {{image}}, and no images that it could stand for", "the key images at the top, such as images: [app, worker], or no {{image}}")
		return ""
	}
	return written
}

// badRepository says what is wrong with registry/path; nothing: it is right. The
// grammar is the OCI distribution specification's <name>, "Pulling manifests":
// ggcr's own check lets through "..", which would lead elsewhere in a URL.
func badRepository(text string) (given, expected string) {
	const bare = "; a repository has no tag and no digest here"
	outline := template.Blank(text)
	switch prefix := scheme.FindString(text); {
	case prefix != "":
		return quote(text) + " with " + quote(prefix) + " before it", "it without that: " + repositoryForm
	case strings.Contains(outline, "@"):
		return quote(text) + " with a digest", repositoryForm + bare
	case strings.Contains(outline, "/") && strings.LastIndex(outline, ":") > strings.LastIndex(outline, "/"):
		return quote(text) + " with a tag", repositoryForm + bare
	case !strings.Contains(outline, "/"):
		return quote(text) + " without a registry or without a path", repositoryForm
	}
	repository, err := name.NewRepository(text, name.StrictValidation)
	if err == nil && host.MatchString(repository.RegistryStr()) && repositoryPath.MatchString(repository.RepositoryStr()) {
		return "", ""
	}
	registry, path, _ := strings.Cut(text, "/")
	switch {
	case !strings.ContainsAny(registry, ".:") && registry != "localhost":
		return quote(text) + " without a registry", repositoryForm
	case path != strings.ToLower(path):
		return quote(text) + " with upper-case letters in its path", "lower case: " + strings.Trim(quote(registry+"/"+strings.ToLower(path)), `"`)
	case err == nil || !strings.HasSuffix(registry, "docker.io"):
		return quote(text), "registry/path, where path has lower-case letters and digits, with '.', '_', '-' or '/' between them, and 255 characters at most"
	}
	return quote(text), repositoryForm
}

// hub are the names that Docker Hub has.
var hub = map[string]bool{"docker.io": true, "index.docker.io": true, "registry-1.docker.io": true, "registry.hub.docker.com": true}

// identity is a repository in the one spelling of all those that lead to it.
// Whatever is no repository is its own.
func identity(text string) string {
	repository, err := name.NewRepository(text, name.WeakValidation)
	if err != nil {
		return text
	}
	registry := strings.ToLower(repository.RegistryStr())
	registry = strings.TrimSuffix(strings.TrimSuffix(registry, ":443"), ".")
	path := repository.RepositoryStr()
	if hub[registry] {
		registry = "docker.io"
	}
	return registry + "/" + path
}
