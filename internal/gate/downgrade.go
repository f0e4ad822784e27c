package gate

import (
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"golang.org/x/mod/semver"
)

const howToCompare = "build images with the labels " + labelVersion + " and " + labelRevision +
	" (docker/metadata-action), and give github-token the permission contents: read"

// NeedsOrder reports whether only the order of commits can tell which image is the
// newer one, so that it is worth asking for.
func (p Policy) NeedsOrder(e Evidence) bool {
	if !p.NoDowngrade || e.Previous == nil || e.Previous.Digest == e.Image.Digest {
		return false
	}
	before, after := e.versions()
	return before == "" || after == "" || semver.Compare(before, after) == 0
}

// judgeNoDowngrade asks that the image is not older than what it takes the place of.
func (p Policy) judgeNoDowngrade(e Evidence) []document.Verdict {
	switch {
	case !p.NoDowngrade:
		return nil
	case e.Previous == nil:
		return pass(NoDowngrade, "nothing was there before")
	case e.Previous.Digest == e.Image.Digest:
		return pass(NoDowngrade, "it is there already")
	case p.NeedsOrder(e):
		return e.Order.judge(e.versionsSay())
	}
	before, after := e.versions()
	if semver.Compare(before, after) < 0 {
		return pass(NoDowngrade, fmt.Sprintf("version %s takes the place of %s", quote(after), quote(before)))
	}
	return fail(NoDowngrade, fmt.Sprintf("version %s is older than %s, which is there now; promote a newer one, or roll back with mode: rollback", quote(after), quote(before)))
}

// versions are those of the previous image and of this one, as vMAJOR.MINOR.PATCH
// and so on; empty: not known. The tag that was asked for is what a person meant.
func (e Evidence) versions() (before, after string) {
	after = version(e.Source.Tag)
	if after == "" {
		after = e.Image.version()
	}
	return e.Previous.version(), after
}

func (i Image) version() string {
	text, err := i.Version()
	if err != nil {
		return ""
	}
	return version(text)
}

// version is a semantic version with a v before it; empty if the text is none. A
// part of one, such as 1.4, is a moving tag.
func version(text string) string {
	v := "v" + strings.TrimPrefix(text, "v")
	if semver.Canonical(v) != strings.TrimSuffix(v, semver.Build(v)) {
		return ""
	}
	return v
}

// versionsSay says why versions do not decide.
func (e Evidence) versionsSay() string {
	before, after := e.versions()
	switch {
	case before == "" && after == "":
		return "neither image has a semantic version"
	case before == "":
		return "the image that is there now has no semantic version"
	case after == "":
		return "the image has no semantic version"
	}
	return "both are version " + quote(after)
}

// judge goes by the order of the commits.
func (o OrderEvidence) judge(why string) []document.Verdict {
	where := plain(o.Repository)
	switch {
	case o.Err != nil:
		return unknown(NoDowngrade, fmt.Sprintf("%s, and the order of the commits is not known: %s", why, plain(o.Err.Error())))
	case o.Repository == "":
		return unknown(NoDowngrade, fmt.Sprintf("whether it is older than what is there cannot be told: %s, and nobody could be asked for the order of the commits; %s", why, howToCompare))
	case o.Relation == Ahead || o.Relation == Identical:
		return pass(NoDowngrade, fmt.Sprintf("%s; in %s its commit is %s the one that is there now", why, where, map[Relation]string{Ahead: "newer than", Identical: "the same as"}[o.Relation]))
	case o.Relation == Behind:
		return fail(NoDowngrade, fmt.Sprintf("%s; in %s its commit is older than the one that is there now; promote a newer image, or roll back with mode: rollback", why, where))
	case o.Relation == Diverged:
		return fail(NoDowngrade, fmt.Sprintf("%s; in %s its commit has diverged from the one that is there now: neither contains the other; promote an image that was built after they were merged", why, where))
	}
	return unknown(NoDowngrade, fmt.Sprintf("whether it is older than what is there cannot be told: %s, and the order of the commits in %s is not known; %s", why, where, howToCompare))
}
