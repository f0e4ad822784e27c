package github

import (
	"context"
	"net/url"
)

// comparison is the answer of
// https://docs.github.com/rest/commits/commits#compare-two-commits
type comparison struct {
	Status string `json:"status"`
	Base   struct {
		Commit string `json:"sha"`
	} `json:"base_commit"`
}

// Compare tells how a commit is related to another: head is ahead of base, behind
// it, identical to it, or diverged from it. Both are full commits.
//
// A job needs contents: read for it.
func (c *Client) Compare(ctx context.Context, repository, base, head string) (string, error) {
	if err := checkRepository(repository); err != nil {
		return "", err
	}
	base, err := fullCommit(base)
	if err != nil {
		return "", err
	}
	if head, err = fullCommit(head); err != nil {
		return "", err
	}
	q := question{
		op: "compare " + base[:7] + " with " + head[:7], repository: repository, path: "/compare/" + base + "..." + head,
		query:       url.Values{"per_page": {"1"}},
		permissions: []string{"contents: read"},
		absent:      "The repository does not have both commits: were the images built from it?",
	}
	a, err := c.askJSON(ctx, q)
	if err != nil {
		return "", err
	}
	status, err := readComparison(a.body, base)
	if err != nil {
		return "", c.fail(q, err)
	}
	return status, nil
}

func readComparison(body []byte, base string) (string, error) {
	compared, err := decode[comparison](body)
	if err != nil {
		return "", err
	}
	if compared.Base.Commit != base {
		return "", misshapen("a comparison is of another base_commit")
	}
	switch compared.Status {
	case "ahead", "behind", "identical", "diverged":
		return compared.Status, nil
	}
	return "", misshapen("a comparison's status is " + quote(compared.Status, maxWord))
}
