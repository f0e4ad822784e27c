package gate

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Labels of an image (https://github.com/opencontainers/image-spec/blob/main/annotations.md).
const (
	labelCreated  = "org.opencontainers.image.created"
	labelRevision = "org.opencontainers.image.revision"
	labelSource   = "org.opencontainers.image.source"
	labelVersion  = "org.opencontainers.image.version"
)

const buildLabels = "build it with the labels of docker/metadata-action (its output labels, given to the input labels of docker/build-push-action)"

// A branch or a short hash could come to mean another commit.
var commit = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// Revision is the commit that the image says it was built from, in lower case; all
// platforms must name the same one. The error says what to do about it.
func (i Image) Revision() (string, error) {
	text, err := i.label(labelRevision)
	if err != nil {
		return "", err
	}
	if revision := strings.ToLower(text); commit.MatchString(revision) {
		return revision, nil
	}
	return "", fmt.Errorf("the image's label %s is %s, which is no full commit hash of 40 or 64 hexadecimal digits; %s", labelRevision, quote(text), buildLabels)
}

// Version is the version that the image says it is; all platforms must name the
// same one. It can be any text. The error says what to do about it.
func (i Image) Version() (string, error) { return i.label(labelVersion) }

// Repository is the repository that the image says it was built from, as
// owner/name; empty if its label is no URL like https://github.com/owner/name, or
// if its platforms name several.
func (i Image) Repository() string {
	text, err := i.label(labelSource)
	if err != nil {
		return ""
	}
	return repositoryOf(text)
}

// label is a label's value, on which all platforms agree.
func (i Image) label(name string) (string, error) {
	if len(i.Variants) == 0 {
		return "", fmt.Errorf("this is no image with platforms, so that it has no label %s", name)
	}
	first := i.Variants[0]
	for _, v := range i.Variants {
		if v.Labels[name] == "" {
			return "", fmt.Errorf("the image%s has no label %s; %s", v.where(), name, buildLabels)
		}
		if v.Labels[name] != first.Labels[name] {
			return "", fmt.Errorf("the image's platforms disagree about the label %s: %s%s, %s%s; build all platforms from one commit, and with the same labels",
				name, quote(first.Labels[name]), first.where(), quote(v.Labels[name]), v.where())
		}
	}
	return first.Labels[name], nil
}

var (
	ownerAndName = regexp.MustCompile(`^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$`)
	dotsOnly     = regexp.MustCompile(`(^|/)\.+(/|$)`)
)

// repositoryOf is the owner/name of https://host/owner/name[.git][/].
func repositoryOf(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(u.Path, "/"), "/"), ".git")
	if !ownerAndName.MatchString(name) || dotsOnly.MatchString(name) {
		return ""
	}
	return name
}

// where is " for linux/arm64", or nothing if the platform is not known.
func (v Variant) where() string {
	if v.Platform == "" {
		return ""
	}
	return " for " + v.name()
}

// name is the platform as it can be shown.
func (v Variant) name() string {
	if p, err := ParsePlatform(v.Platform); err == nil {
		return p.String()
	}
	if v.Platform == "" {
		return "an unknown platform"
	}
	return quote(v.Platform)
}

// created is when the variant was built: as its label says, which a reproducible
// build sets to the true time, else as its configuration says.
func (v Variant) created() time.Time {
	if t, err := time.Parse(time.RFC3339, v.Labels[labelCreated]); err == nil {
		return t
	}
	return v.Created
}

func (i Image) platforms() []string {
	var all []string
	for _, v := range i.Variants {
		all = append(all, v.name())
	}
	return all
}
