package github

import (
	"bytes"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

func TestFile(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.SetFile(repo, "main", config, []byte("of main"))
	s.SetFile(repo, "main", "other", []byte("too"))
	s.Protect(repo, "main")
	s.SetFile(repo, "feature/x y", config, []byte("of a feature"))
	s.SetFile(repo, "feature/x", config, []byte("of a feature"))
	s.SetFile(repo, "refs/tags/v1", config, []byte("of v1"))
	s.SetFile(repo, sha, config, []byte("of a commit"))
	s.SetFile(repo, "main", "a b/ü#?%.yml", []byte("odd"))
	// A tag that has a protected branch's name, and a branch that has a tag's.
	s.SetFile(repo, "refs/tags/main", config, []byte("of a tag by that name"))
	s.SetFile(repo, "refs/tags/both", config, []byte("of the tag"))
	s.SetFile(repo, "both", config, []byte("of the branch"))
	for _, test := range []struct {
		path, ref, want string
		protected       bool
	}{
		{config, "main", "of main", true},
		{config, "refs/heads/main", "of main", true},
		{config, "refs/tags/main", "of a tag by that name", false},
		{config, "feature/x", "of a feature", false},
		{config, "v1", "of v1", false},
		{config, "refs/tags/v1", "of v1", false},
		{config, sha, "of a commit", true},
		{config, strings.ToUpper(sha), "of a commit", true},
		{config, "both", "of the branch", false},
		{config, "refs/tags/both", "of the tag", false},
		{"a b/ü#?%.yml", "main", "odd", true},
		{"other", "main", "too", true},
	} {
		bubble(t, s, func(t *testing.T, c *Client) {
			raw, protected, err := c.File(t.Context(), repo, test.path, test.ref)
			if err != nil || string(raw) != test.want || protected != test.protected {
				t.Errorf("%s at %s: %q, protected %t, error %v", test.path, test.ref, raw, protected, err)
			}
		})
	}
}

func TestFileIsNotThere(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.SetFile(repo, "main", config, []byte("of main"))
	s.Protect(repo, "main")
	for _, test := range []struct{ repository, path, ref, want string }{
		{repo, "none.yml", "main", "read none.yml at main of acme/app: GitHub answered 404"},
		{repo, config, "v9", "read .github/promotion.yml at v9 of acme/app: GitHub answered 404"},
		{repo, config, "refs/heads/v9", `404 Not Found, "Branch not found"`},
		{repo, config, older, "404 Not Found"},
		{"acme/none", config, "main", "of acme/none: GitHub answered 404"},
		{repo, ".github", "main", "no file, but a folder"},
	} {
		bubble(t, s, func(t *testing.T, c *Client) {
			raw, protected, err := c.File(t.Context(), test.repository, test.path, test.ref)
			if raw != nil || protected {
				t.Errorf("%q, protected %t", raw, protected)
			}
			wantError(t, err, test.want)
			if strings.Contains(test.want, "404") {
				wantError(t, err, "contents: read")
			}
		})
	}
	s.Deny("contents")
	bubble(t, s, func(t *testing.T, c *Client) {
		_, _, err := c.File(t.Context(), repo, config, "main")
		wantError(t, err, "403 Forbidden", "contents: read")
		if hint := HintOf(err); !strings.HasSuffix(hint, "\n  permissions:\n    contents: read") {
			t.Errorf("hint %q", hint)
		}
	})
}

func TestFileSize(t *testing.T) {
	s := githubtest.Unstarted(secret)
	most := bytes.Repeat([]byte("a"), 1<<20)
	s.SetFile(repo, sha, "most", most)
	s.SetFile(repo, sha, "more", append(most, 'a'))
	s.SetFile(repo, sha, "none", nil)
	bubble(t, s, func(t *testing.T, c *Client) {
		if raw, _, err := c.File(t.Context(), repo, "most", sha); len(raw) != 1<<20 || err != nil {
			t.Errorf("%d bytes, error %v", len(raw), err)
		}
		if raw, _, err := c.File(t.Context(), repo, "none", sha); len(raw) != 0 || err != nil {
			t.Errorf("%d bytes, error %v", len(raw), err)
		}
		_, _, err := c.File(t.Context(), repo, "more", sha)
		wantError(t, err, "longer than 1 MiB")
	})
	wantRequests(t, s, 3)
}

// A branch that was renamed leads to another: its protection is not this one's.
func TestRenamedBranch(t *testing.T) {
	if _, _, err := readBranch([]byte(`{"name":"main","protected":true,"commit":{"sha":"`+sha+`"}}`), "master"); err == nil || !strings.Contains(err.Error(), `now called "main"`) {
		t.Errorf("error %v", err)
	}
}
