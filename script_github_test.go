package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// The run that scripts are in, once they have a GitHub.
const (
	jobRepository = "acme/app"
	jobRun        = "17"
)

// startGitHub starts a GitHub, and sets what the runner says of the run: ann's, of
// the workflow of acme/app. The job's token has every permission there.
//
//	github
func startGitHub(ts *testscript.TestScript, _ bool, _ []string) {
	w := worldOf(ts)
	w.github = githubtest.New(jobToken)
	ts.Defer(w.github.Close)
	w.github.AddRun(jobRepository, jobRun)
	for name, value := range map[string]string{
		"API_URL": w.github.URL(), "SERVER_URL": "https://github.com", "REPOSITORY": jobRepository,
		"RUN_ID": jobRun, "RUN_ATTEMPT": "1", "JOB": "plan", "ACTOR": "ann", "TRIGGERING_ACTOR": "ann",
		"WORKFLOW_REF": jobRepository + "/.github/workflows/promote.yml@refs/heads/main",
	} {
		ts.Setenv("GITHUB_"+name, value)
	}
}

func gitHubOf(ts *testscript.TestScript) *githubtest.Server {
	if worldOf(ts).github == nil {
		ts.Fatalf("no github was started")
	}
	return worldOf(ts).github
}

// addCheck adds a check run to a commit of a repository: a conclusion, or
// in_progress or queued. With -status it is a commit status: success, pending,
// failure or error.
//
//	check REPOSITORY COMMIT NAME STATE [-status]
func addCheck(ts *testscript.TestScript, _ bool, args []string) {
	repository, commit, name, state := args[0], args[1], args[2], args[3]
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	isStatus := flags.Bool("status", false, "")
	ts.Check(flags.Parse(args[4:]))
	switch {
	case *isStatus:
		gitHubOf(ts).AddStatus(repository, commit, name, state)
	case state == "in_progress" || state == "queued":
		gitHubOf(ts).AddCheckRun(repository, commit, githubtest.CheckRun{Name: name, Status: state})
	default:
		gitHubOf(ts).AddCheckRun(repository, commit, githubtest.CheckRun{Name: name, Conclusion: state})
	}
}

// approve has somebody review the run for an environment; with ! they reject it.
//
//	approve ENVIRONMENT USER
func approve(ts *testscript.TestScript, neg bool, args []string) {
	state := "approved"
	if neg {
		state = "rejected"
	}
	gitHubOf(ts).Approve(jobRepository, jobRun, args[0], args[1], state)
}

// compareCommits says how a commit is related to the one before it: ahead, behind,
// identical or diverged.
//
//	compare BASE HEAD RELATION
func compareCommits(ts *testscript.TestScript, _ bool, args []string) {
	gitHubOf(ts).SetCompare(jobRepository, args[0], args[1], args[2])
}

// commitFile puts a file, in which $VARIABLES are replaced, at a branch, a tag
// (refs/tags/NAME) or a commit.
//
//	commit REF PATH FILE
func commitFile(ts *testscript.TestScript, _ bool, args []string) {
	gitHubOf(ts).SetFile(jobRepository, args[0], args[1], []byte(readWith(ts, args[2])))
}

// protect protects a branch.
//
//	protect BRANCH
func protect(ts *testscript.TestScript, _ bool, args []string) {
	gitHubOf(ts).Protect(jobRepository, args[0])
}

// permit gives the job's token a permission: checks, statuses, actions or
// contents; with ! it takes it.
//
//	permit PERMISSION
func permit(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		gitHubOf(ts).Deny(args[0])
	} else {
		gitHubOf(ts).Permit(args[0])
	}
}

// limitRate answers the next requests with GitHub's rate limit, which ends after a
// time.
//
//	ratelimit DURATION TIMES
func limitRate(ts *testscript.TestScript, _ bool, args []string) {
	wait, err := time.ParseDuration(args[0])
	ts.Check(err)
	gitHubOf(ts).RateLimit(githubtest.Primary, wait, number(ts, args[1]))
}

// countAsked counts what GitHub was ever asked whose path has a part.
//
//	asked PATHPART N
func countAsked(ts *testscript.TestScript, _ bool, args []string) {
	var seen []string
	for _, q := range gitHubOf(ts).Requests() {
		if strings.Contains(q.Path, args[0]) {
			seen = append(seen, q.Method+" "+q.Path)
		}
	}
	if len(seen) != number(ts, args[1]) {
		ts.Fatalf("%d requests, want %s:\n%s", len(seen), args[1], strings.Join(seen, "\n"))
	}
}

// checkOut writes a config file, in which $VARIABLES are replaced, to where
// actions/checkout brings it.
//
//	checkout FILE
func checkOut(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(".github/promotion.yml")
	ts.Check(os.MkdirAll(filepath.Dir(path), 0o700))
	ts.Check(os.WriteFile(path, []byte(readWith(ts, args[0])), 0o600))
}

// setMoment sets a variable to a moment, so long from now, as Go writes it in a
// layout (2006-01-02T15:04:05Z07:00 if none is given).
//
//	moment VARIABLE DURATION [LAYOUT]
func setMoment(ts *testscript.TestScript, _ bool, args []string) {
	from, err := time.ParseDuration(args[1])
	ts.Check(err)
	layout := time.RFC3339
	if len(args) > 2 {
		layout = args[2]
	}
	ts.Setenv(args[0], time.Now().UTC().Add(from).Format(layout))
}
