package github

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}/[A-Za-z0-9._-]{1,100}$`)
	commitPattern     = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	runPattern        = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
)

const (
	maxRef  = 255
	maxPath = 1024
)

func checkRepository(text string) error {
	_, name, _ := strings.Cut(text, "/")
	if !repositoryPattern.MatchString(text) || name == "." || name == ".." {
		return fmt.Errorf("%s is no repository; expected owner/name", quote(text, 200))
	}
	return nil
}

// fullCommit reads a commit's whole digest. A shortened one is not asked for:
// GitHub would take it for the name of a branch first.
func fullCommit(text string) (string, error) {
	commit := strings.ToLower(text)
	if !commitPattern.MatchString(commit) {
		return "", fmt.Errorf("%s is no commit; expected all 40 hexadecimal digits of one (a shortened one is not unique)", quote(text, 100))
	}
	return commit, nil
}

func checkRun(text string) error {
	if !runPattern.MatchString(text) {
		return fmt.Errorf("%s is no workflow run; expected its number, as GITHUB_RUN_ID has it", quote(text, 100))
	}
	return nil
}

// checkRef holds what git check-ref-format asks of a name.
func checkRef(text string) error {
	bad := text == "" || len(text) > maxRef || !printable(text) ||
		strings.ContainsAny(text, ` ~^:?*[\`) || strings.Contains(text, "..") || strings.Contains(text, "@{") ||
		strings.HasPrefix(text, "-") || strings.HasSuffix(text, ".")
	for part := range strings.SplitSeq(text, "/") {
		bad = bad || part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	if bad {
		return fmt.Errorf("%s is no ref; expected a branch, a tag or a commit", quote(text, 300))
	}
	return nil
}

func checkPath(text string) error {
	bad := len(text) > maxPath || !printable(text) || strings.Contains(text, `\`)
	for part := range strings.SplitSeq(text, "/") {
		bad = bad || part == "" || part == "." || part == ".."
	}
	if bad {
		return fmt.Errorf("%s is no path of a file; expected one from the repository's root, like .github/promotion.yml", quote(text, 300))
	}
	return nil
}

func printable(text string) bool {
	return utf8.ValidString(text) && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// escape makes a path of a URL of a path of names.
func escape(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	return strings.Join(parts, "/")
}
