package github

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
)

func run(name, conclusion string) githubtest.CheckRun {
	return githubtest.CheckRun{Name: name, Conclusion: conclusion}
}

// checks asks for checks, and shows each as name, state and detail.
func checks(t *testing.T, s *githubtest.Server, names ...string) (shown []string) {
	t.Helper()
	bubble(t, s, func(t *testing.T, c *Client) {
		list, err := c.Checks(t.Context(), repo, sha, names)
		if err != nil {
			t.Error(err)
		}
		for _, check := range list {
			shown = append(shown, fmt.Sprintf("%s %s %s", check.Name, [...]string{"failed", "running", "passed"}[check.State], check.Detail))
		}
	})
	return shown
}

func wantChecks(t *testing.T, s *githubtest.Server, names []string, want ...string) {
	t.Helper()
	if got := checks(t, s, names...); !reflect.DeepEqual(got, want) {
		t.Errorf("checks %q, want %q", got, want)
	}
}

// Only success is green.
func TestStatesOfCheckRuns(t *testing.T) {
	for _, test := range []struct{ status, conclusion, want string }{
		{"completed", "success", "passed success"},
		{"completed", "failure", "failed failure"},
		{"completed", "neutral", "failed neutral"},
		{"completed", "skipped", "failed skipped"},
		{"completed", "cancelled", "failed cancelled"},
		{"completed", "timed_out", "failed timed_out"},
		{"completed", "action_required", "failed action_required"},
		{"completed", "stale", "failed stale"},
		{"completed", "startup_failure", "failed startup_failure"},
		{"completed", "SUCCESS", "failed SUCCESS"},
		{"completed", "", "failed no conclusion"},
		{"completed", "\x1b[31m", `failed "\x1b[31m"`},
		{"completed", strings.Repeat("x", 100), `failed "` + strings.Repeat("x", 60) + `\u2026"`},
		{"queued", "", "running queued"},
		{"in_progress", "success", "running in_progress"},
		{"waiting", "", "running waiting"},
		{"requested", "", "running requested"},
		{"pending", "", "running pending"},
	} {
		s := githubtest.Unstarted(secret)
		s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Status: test.status, Conclusion: test.conclusion})
		wantChecks(t, s, []string{"e2e"}, "e2e "+test.want)
	}
}

func TestStatesOfStatuses(t *testing.T) {
	for state, want := range map[string]string{"success": "passed success", "pending": "running pending", "failure": "failed failure", "error": "failed error", "fine": "failed fine"} {
		s := githubtest.Unstarted(secret)
		s.AddStatus(repo, sha, "ci/load", state)
		wantChecks(t, s, []string{"ci/load"}, "ci/load "+want)
	}
}

// Of each context the latest counts, of each name the latest of each suite, and
// both are asked for.
func TestLatestOfEach(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.AddStatus(repo, sha, "e2e", "failure")
	s.AddStatus(repo, sha, "load", "failure")
	s.AddStatus(repo, sha, "load", "success")
	s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Conclusion: "failure", Suite: 1})
	s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Conclusion: "success", Suite: 1})
	s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Conclusion: "skipped", Suite: 2})
	s.AddCheckRun(repo, sha, run("E2E", "failure"))
	s.AddCheckRun(repo, sha, run("e2e ", "failure"))
	s.AddCheckRun(repo, older, run("e2e", "cancelled"))
	s.AddCheckRun("acme/other", sha, run("e2e", "cancelled"))
	wantChecks(t, s, []string{"load", "e2e", "absent", "e2e"}, "load passed success", "e2e failed skipped", "e2e passed success", "e2e failed failure")
	wantRequests(t, s, 2)
	wantChecks(t, s, []string{"e2e"}, "e2e failed skipped", "e2e passed success", "e2e failed failure")
	wantChecks(t, s, []string{"absent"})
}

func TestOrder(t *testing.T) {
	now := time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)
	s := &search{names: []string{"b", "a"}}
	list := []check{
		{Check{"a", Passed, "1", ""}, 1, now},
		{Check{"b", Passed, "2", ""}, 2, now},
		{Check{"b", Passed, "2", ""}, 2, now},
		{Check{"b", Failed, "3", ""}, 3, now},
		{Check{"b", Running, "4", ""}, 4, time.Time{}},
		{Check{"b", Passed, "5", ""}, 5, now.Add(time.Second)},
	}
	var got []string
	for _, c := range s.sort(list) {
		got = append(got, c.Detail)
	}
	if want := []string{"4", "5", "3", "2", "1"}; !reflect.DeepEqual(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
}

// A name is one whatever is in it.
func TestNamesOfChecks(t *testing.T) {
	for _, name := range []string{"build (linux/amd64, 1.26)", "a&check_name=b", "Prüfung ✓", "a+b", "#1", `"quoted"`, "100%"} {
		s := githubtest.Unstarted(secret)
		s.AddCheckRun(repo, sha, run(name, "success"))
		s.AddStatus(repo, sha, name, "success")
		wantChecks(t, s, []string{name}, name+" passed success", name+" passed success")
		wantChecks(t, s, []string{"other", name}, name+" passed success", name+" passed success")
	}
}

func TestURLs(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.AddCheckRun(repo, sha, run("e2e", "success"))
	s.AddStatus(repo, sha, "e2e", "success")
	bubble(t, s, func(t *testing.T, c *Client) {
		list, err := c.Checks(t.Context(), repo, strings.ToUpper(sha), []string{"e2e"})
		if err != nil || len(list) != 2 || list[0].URL != "https://ci.example.com/e2e" || list[1].URL != "https://github.com/acme/app/runs/1" {
			t.Errorf("%+v, error %v", list, err)
		}
	})
	for _, bad := range []string{"", "javascript:alert(1)", "data:text/html,x", "//example.com", "https://", "https://a:b@example.com", "https://example.com/\x1b", "https://example.com/" + strings.Repeat("a", 2000)} {
		if got := shownURL(bad); got != "" {
			t.Errorf("%q is shown as %q", bad, got)
		}
	}
	if got := shownURL("https://example.com/\u202e)<b>"); strings.ContainsAny(got, "\u202e<>") {
		t.Errorf("a URL is shown as %q", got)
	}
}

func TestNoNames(t *testing.T) {
	s := githubtest.Unstarted(secret)
	wantChecks(t, s, nil)
	wantRequests(t, s, 0)
}

// crowd adds check runs and statuses of many names.
func crowd(s *githubtest.Server, runs, statuses int) {
	for i := range runs {
		s.AddCheckRun(repo, sha, run(fmt.Sprintf("run %d", i), "success"))
	}
	for i := range statuses {
		s.AddStatus(repo, sha, fmt.Sprintf("status %d", i), "success")
	}
}

// Of a list of several pages the last is read too; where asking by name costs
// less, it is asked by name.
func TestPages(t *testing.T) {
	for _, test := range []struct {
		runs, statuses int
		names          []string
		found          int
		requests       int // for check runs and for statuses
	}{
		{250, 0, []string{"run 0"}, 1, 1 + 1},
		{100, 100, []string{"run 0", "run 99", "status 0"}, 3, 1 + 1},
		{101, 101, []string{"run 0", "run 100", "status 0", "status 100"}, 4, 2 + 2},
		{250, 250, []string{"run 0", "run 249", "status 0", "status 249"}, 4, 3 + 3},
		{250, 0, []string{"run 0", "run 249"}, 2, 3 + 1},
		{301, 0, []string{"run 0", "run 300"}, 2, 1 + 2 + 1},
		{2500, 0, []string{"run 0", "run 2499", "run 7"}, 3, 1 + 3 + 1},
	} {
		s := githubtest.Unstarted(secret)
		crowd(s, test.runs, test.statuses)
		if got := checks(t, s, test.names...); len(got) != test.found {
			t.Errorf("%d runs, %d statuses: found %q", test.runs, test.statuses, got)
		}
		wantRequests(t, s, test.requests)
	}
}

// A list is read to its end or not at all.
func TestTooManyPages(t *testing.T) {
	s := githubtest.Unstarted(secret)
	crowd(s, 1, 2001)
	bubble(t, s, func(t *testing.T, c *Client) {
		list, err := c.Checks(t.Context(), repo, sha, []string{"run 0"})
		if list != nil {
			t.Errorf("found %v", list)
		}
		wantError(t, err, "read the commit statuses at 6dcb09b of acme/app", "more than 20 pages of 100")
	})
	wantRequests(t, s, 21)

	s = githubtest.Unstarted(secret)
	for i := range 2001 {
		s.AddCheckRun(repo, sha, githubtest.CheckRun{Name: "e2e", Conclusion: "success", Suite: i})
	}
	for _, names := range [][]string{{"e2e"}, {"e2e", "load"}} {
		bubble(t, s, func(t *testing.T, c *Client) {
			_, err := c.Checks(t.Context(), repo, sha, names)
			wantError(t, err, "more check runs than can be read")
		})
	}
}

// One of the two permissions is not enough, whatever the other shows.
func TestChecksNeedBothPermissions(t *testing.T) {
	for denied, op := range map[string]string{"checks": "read the check runs", "statuses": "read the commit statuses"} {
		s := githubtest.Unstarted(secret)
		s.AddCheckRun(repo, sha, run("e2e", "success"))
		s.AddStatus(repo, sha, "e2e", "success")
		s.Deny(denied)
		bubble(t, s, func(t *testing.T, c *Client) {
			list, err := c.Checks(t.Context(), repo, sha, []string{"e2e"})
			if list != nil {
				t.Errorf("found %v", list)
			}
			wantError(t, err, op, "403 Forbidden", denied+"=read", "checks: read, statuses: read")
		})
		s.Permit(denied + ": read")
		wantChecks(t, s, []string{"e2e"}, "e2e passed success", "e2e passed success")
	}
}

func TestUnknownCommit(t *testing.T) {
	s := githubtest.Unstarted(secret)
	s.AddRepository(repo)
	bubble(t, s, func(t *testing.T, c *Client) {
		_, err := c.Checks(t.Context(), repo, sha, []string{"e2e"})
		wantError(t, err, "422 Unprocessable", "No commit found for SHA", "is it the one that the image was built from?")
		_, err = c.Checks(t.Context(), "acme/none", sha, []string{"e2e"})
		wantError(t, err, "404 Not Found", "checks: read")
		if !errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotAllowed) {
			t.Errorf("error %v", err)
		}
	})
	s.AddCommit(repo, sha)
	wantChecks(t, s, []string{"e2e"})
}
