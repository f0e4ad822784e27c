package gate

import (
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeChecks asks that every check is green on the commit that the image was
// built from.
func (p Policy) judgeChecks(e Evidence) []document.Verdict {
	if p.Checks == nil {
		return nil
	}
	if other := e.Image.otherRepository(e.Checks.Repository); other != "" {
		return fail(Checks, fmt.Sprintf("the image says that it was built from another repository, %s, and not from %s, whose checks count (label %s)", other, plain(e.Checks.Repository), labelSource))
	}
	revision, err := e.Image.Revision()
	switch {
	case err != nil:
		return unknown(Checks, "which commit to look at is not known: "+err.Error())
	case e.Checks.Err != nil:
		return unknown(Checks, fmt.Sprintf("the checks on %s are not known: %s", onCommit(e.Checks.Repository, revision), plain(e.Checks.Err.Error())))
	case !strings.EqualFold(e.Checks.Commit, revision):
		return unknown(Checks, fmt.Sprintf("the image was built from commit %s, and the checks are those of %s", revision, quote(e.Checks.Commit)))
	case len(p.Checks.Names) == 0:
		return unknown(Checks, "the config names no check; name one in checks")
	}
	return p.Checks.judge(e.Checks)
}

// judge lets the worst check decide.
func (p CheckPolicy) judge(e CheckEvidence) []document.Verdict {
	var bad, running []string
	for _, name := range p.Names {
		b, r := e.standing(name)
		bad, running = append(bad, b...), append(running, r...)
	}
	where := onCommit(e.Repository, e.Commit)
	switch {
	case len(bad) > 0:
		return fail(Checks, fmt.Sprintf("on %s: %s; promote a commit that is green, or run the checks again", where, strings.Join(append(bad, running...), "; ")))
	case len(running) > 0:
		return pending(Checks, fmt.Sprintf("on %s: %s; run it again when they have ended", where, strings.Join(running, "; ")))
	}
	return pass(Checks, fmt.Sprintf("%s passed on %s", list(quoted(p.Names)), where))
}

// standing says what is wrong with a check, and what has not ended. Several apps
// can have checks of one name: each of them counts.
func (e CheckEvidence) standing(name string) (bad, running []string) {
	found := false
	for _, c := range e.List {
		if c.Name != name {
			continue
		}
		found = true
		switch c.State {
		case CheckPassed:
		case CheckRunning:
			running = append(running, quote(name)+" has not ended"+c.detail())
		default:
			bad = append(bad, quote(name)+" did not pass"+c.detail())
		}
	}
	if !found {
		bad = []string{fmt.Sprintf("there is no check run or commit status named %s; names are exact", quote(name))}
	}
	return firstFew(bad), firstFew(running)
}

func (c Check) detail() string {
	var parts []string
	for _, part := range []string{c.Detail, c.URL} {
		if part != "" {
			parts = append(parts, quote(part))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func firstFew(items []string) []string {
	if len(items) <= maxListed {
		return items
	}
	return append(items[:maxListed:maxListed], fmt.Sprintf("and %d more", len(items)-maxListed))
}

func onCommit(repository, commit string) string {
	return fmt.Sprintf("commit %s of %s", plain(commit), plain(repository))
}

// otherRepository is one that a platform says it was built from, if it is not the
// one given. A label is the builder's own claim: that it is the same proves nothing.
func (i Image) otherRepository(repository string) string {
	for _, v := range i.Variants {
		if from := repositoryOf(v.Labels[labelSource]); from != "" && !strings.EqualFold(from, repository) {
			return quote(from)
		}
	}
	return ""
}
