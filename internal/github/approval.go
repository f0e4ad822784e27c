package github

import (
	"context"
	"regexp"
)

// Approval is one review of a run that waited for environments.
type Approval struct {
	Environments []string
	User         string
	Approved     bool // false: rejected
}

// reviews is the answer of
// https://docs.github.com/rest/actions/workflow-runs#get-the-review-history-for-a-workflow-run
type reviews []struct {
	State        string `json:"state"`
	Environments []struct {
		Name string `json:"name"`
	} `json:"environments"`
	User *struct {
		Login string `json:"login"`
	} `json:"user"`
}

// Approvals are the reviews of a run, in GitHub's order, those of its earlier
// attempts included. A review that is still awaited is none.
//
// A job needs actions: read for it.
func (c *Client) Approvals(ctx context.Context, repository, runID string) (list []Approval, err error) {
	if err := checkRepository(repository); err != nil {
		return nil, err
	}
	if err := checkRun(runID); err != nil {
		return nil, err
	}
	q := question{
		op: "read the approvals of run " + runID, repository: repository, path: "/actions/runs/" + runID + "/approvals",
		permissions: []string{"actions: read"},
		absent:      "Run " + runID + " or the repository is not there.",
	}
	err = c.pages(ctx, q, func(body []byte) error {
		page, err := readReviews(body)
		list = append(list, page...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// loginPattern is a user's name: those of an enterprise have an underscore, those
// of apps end with [bot].
var loginPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,100}(\[bot\])?$`)

// readReviews reads reviews. One without a user is an error: that two are by
// distinct people, or none by the actor, could not be told.
func readReviews(body []byte) (list []Approval, err error) {
	page, err := decode[*reviews](body)
	if err != nil {
		return nil, err
	}
	if page == nil {
		return nil, misshapen("the reviews are null")
	}
	for _, r := range *page {
		if r.State == "pending" {
			continue
		}
		if r.User == nil || !loginPattern.MatchString(r.User.Login) || len(r.Environments) == 0 || r.State == "" {
			return nil, misshapen("a review has no state, no environment, or no user by a name that GitHub gives")
		}
		a := Approval{User: r.User.Login, Approved: r.State == "approved"}
		for _, e := range r.Environments {
			a.Environments = append(a.Environments, plain(e.Name, maxEnvironment))
		}
		list = append(list, a)
	}
	return list, nil
}

const maxEnvironment = 255 * 4 // bytes of 255 characters
