package github

import (
	"testing"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

func TestCompare(t *testing.T) {
	for _, want := range []string{"ahead", "behind", "identical", "diverged"} {
		s := githubtest.Unstarted(secret)
		s.SetCompare(repo, older, sha, want)
		bubble(t, s, func(t *testing.T, c *Client) {
			if got, err := c.Compare(t.Context(), repo, older, sha); got != want || err != nil {
				t.Errorf("%q, error %v; want %q", got, err, want)
			}
			wantError(t, second(c.Compare(t.Context(), repo, sha, older)), "compare 6dcb09b with bbcd538 of acme/app", "404 Not Found", "both commits", "contents: read")
			s.Deny("contents")
			wantError(t, second(c.Compare(t.Context(), repo, older, sha)), "403 Forbidden", "contents: read")
		})
		wantRequests(t, s, 3)
	}
}

func TestUnknownRelation(t *testing.T) {
	for _, word := range []string{"", "Ahead", "ahead ", "unknown", "\x1b"} {
		s := githubtest.Unstarted(secret)
		s.SetCompare(repo, older, sha, word)
		bubble(t, s, func(t *testing.T, c *Client) {
			got, err := c.Compare(t.Context(), repo, older, sha)
			if got != "" {
				t.Errorf("%q is %q", word, got)
			}
			wantError(t, err, "not as documented")
		})
	}
}
