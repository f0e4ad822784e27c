package github

import (
	"reflect"
	"testing"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

func TestApprovals(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.AddRun(repo, "41")
	s.Approve(repo, "42", "change-control", "mona", "approved")
	s.Approve(repo, "42", "production", "hubot_acme", "rejected")
	s.Approve(repo, "42", "production", "dependabot[bot]", "dismissed")
	s.Approve(repo, "42", "production", "mona", "pending")
	s.Approve(repo, "42", "pro\nduction", "mona", "approved")
	s.Approve("acme/other", "42", "production", "eve", "approved")
	bubble(t, s, func(t *testing.T, c *Client) {
		got, err := c.Approvals(t.Context(), repo, "42")
		want := []Approval{
			{[]string{"change-control"}, "mona", true},
			{[]string{"production"}, "hubot_acme", false},
			{[]string{"production"}, "dependabot[bot]", false},
			{[]string{`"pro\nduction"`}, "mona", true},
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, error %v", got, err)
		}
		if got, err := c.Approvals(t.Context(), repo, "41"); len(got) != 0 || err != nil {
			t.Errorf("%+v, error %v", got, err)
		}
		wantError(t, second(c.Approvals(t.Context(), repo, "43")), "read the approvals of run 43 of acme/app", "404 Not Found", "actions: read")
		s.Deny("actions")
		wantError(t, second(c.Approvals(t.Context(), repo, "42")), "403 Forbidden", "Add to the job, beside the permissions it has (GitHub asks for actions=read): actions: read")
	})
}

// Several environments may be reviewed at once.
func TestReviewOfSeveral(t *testing.T) {
	list, err := readReviews([]byte(`[{"state":"approved","environments":[{"name":"a"},{"name":"b"}],"user":{"login":"mona"}}]`))
	if err != nil || !reflect.DeepEqual(list, []Approval{{[]string{"a", "b"}, "mona", true}}) {
		t.Errorf("%+v, error %v", list, err)
	}
}
