package github

import (
	"net/url"
	"time"
)

// checkRuns is a page of
// https://docs.github.com/rest/checks/runs#list-check-runs-for-a-git-reference
type checkRuns struct {
	Total *int `json:"total_count"`
	Runs  *[]struct {
		ID         int64      `json:"id"`
		Name       string     `json:"name"`
		Commit     string     `json:"head_sha"`
		Status     string     `json:"status"`
		Conclusion *string    `json:"conclusion"`
		URL        string     `json:"html_url"`
		Began      *time.Time `json:"started_at"`
	} `json:"check_runs"`
}

// readRuns reads a page of the check runs of a commit, and how many there are on
// all pages.
func readRuns(body []byte, commit string) (list []check, total int, err error) {
	page, err := decode[checkRuns](body)
	if err != nil {
		return nil, 0, err
	}
	if page.Total == nil || page.Runs == nil {
		return nil, 0, misshapen("a list of check runs has no total_count or no check_runs")
	}
	for _, r := range *page.Runs {
		if r.ID <= 0 || r.Name == "" || r.Status == "" || r.Commit != commit {
			return nil, 0, misshapen("a check run has no id, name or status, or is not of the commit")
		}
		state, detail := runState(r.Status, r.Conclusion)
		list = append(list, check{
			Check: Check{Name: r.Name, State: state, Detail: plain(detail, maxWord), URL: shownURL(r.URL)},
			id:    r.ID, began: timeOf(r.Began),
		})
	}
	return list, *page.Total, nil
}

const (
	maxWord = 60
	maxURL  = 2000
)

// runState is how a check run stands: it passed if GitHub says success. Neutral and
// skipped did not fail, but showed nothing either.
func runState(status string, conclusion *string) (CheckState, string) {
	switch {
	case status != "completed":
		return Running, status
	case conclusion == nil || *conclusion == "":
		return Failed, "no conclusion"
	case *conclusion == "success":
		return Passed, *conclusion
	}
	return Failed, *conclusion
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// shownURL is a link that can be shown, else empty: who reports a check chooses it.
func shownURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}
