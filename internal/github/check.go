package github

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Check is a check run or a commit status.
type Check struct {
	Name   string
	State  CheckState
	Detail string // GitHub's own word: "timed_out"
	URL    string // of its page; empty: it has none that can be shown
}

// CheckState is how a check stands.
type CheckState int

// How a check stands.
const (
	Failed  CheckState = iota // or neutral, skipped, cancelled: it did not show that anything works
	Running                   // or waiting
	Passed                    // success, and nothing else
)

// check is a Check with what orders it.
type check struct {
	Check
	id    int64
	began time.Time // zero: it has not
}

// Checks are the check runs and the commit statuses of a commit that have one of
// the names, in the order of the names and newest first for each. Of a name there
// is one for each app, workflow or service that uses it: the latest. The commit is
// a full one. A name that nothing has is not an error.
//
// A job needs checks: read and statuses: read for it.
func (c *Client) Checks(ctx context.Context, repository, commit string, names []string) ([]Check, error) {
	if err := checkRepository(repository); err != nil {
		return nil, err
	}
	commit, err := fullCommit(commit)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	s := &search{client: c, repository: repository, commit: commit, names: unique(names)}
	var statuses []check
	var statusErr error
	var both sync.WaitGroup
	both.Go(func() { statuses, statusErr = s.statuses(ctx) })
	runs, err := s.runs(ctx)
	both.Wait()
	if err == nil {
		err = statusErr
	}
	if err != nil {
		return nil, err
	}
	return s.sort(append(runs, statuses...)), nil
}

// search is one look for checks.
type search struct {
	client     *Client
	repository string
	commit     string
	names      []string
}

func (s *search) question(op, path string) question {
	return question{
		op: op + s.commit[:7], repository: s.repository, path: "/commits/" + s.commit + path, query: url.Values{},
		permissions: []string{"checks: read", "statuses: read"},
		absent:      "Commit " + s.commit + " or the repository is not there: is it the one that the image was built from?",
	}
}

// runs reads the check runs with the fewest requests: a list of all, or one for
// each name, whichever is shorter.
func (s *search) runs(ctx context.Context) ([]check, error) {
	if len(s.names) > 1 {
		all, err := s.list(ctx, "", perPage*min(1+len(s.names), maxPages))
		if !errors.Is(err, errMany) {
			return all, err
		}
	}
	return s.byName(ctx)
}

func (s *search) byName(ctx context.Context) ([]check, error) {
	found := make([][]check, len(s.names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, name := range s.names {
		g.Go(func() (err error) {
			found[i], err = s.list(ctx, name, perPage*maxPages)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

const errMany = refusal("there are more check runs than can be read")

// list reads the check runs of a name, or of any, if there are at most so many.
func (s *search) list(ctx context.Context, name string, most int) (found []check, err error) {
	q := s.question("read the check runs at ", "/check-runs")
	q.query.Set("filter", "latest") // of each check suite
	if name != "" {
		q.query.Set("check_name", name)
	}
	err = s.client.pages(ctx, q, func(body []byte) error {
		page, total, err := readRuns(body, s.commit)
		if err == nil && total > most {
			err = errMany
		}
		found = append(found, s.named(page)...)
		return err
	})
	return found, err
}

// named keeps the checks that were asked for.
func (s *search) named(list []check) []check {
	return slices.DeleteFunc(list, func(c check) bool { return !slices.Contains(s.names, c.Name) })
}

// sort orders checks by name as asked for, then newest first. What has not begun is
// newest; of two that began at once the worse is.
func (s *search) sort(list []check) []Check {
	slices.SortStableFunc(list, func(a, b check) int {
		return cmp.Or(
			cmp.Compare(slices.Index(s.names, a.Name), slices.Index(s.names, b.Name)),
			newest(a.began, b.began),
			cmp.Compare(a.State, b.State),
			cmp.Compare(b.id, a.id),
		)
	})
	seen := map[check]bool{}
	var sorted []Check
	for _, c := range list {
		if !seen[c] { // a page may repeat what another showed
			seen[c] = true
			sorted = append(sorted, c.Check)
		}
	}
	return sorted
}

func newest(a, b time.Time) int {
	if a.IsZero() != b.IsZero() {
		if a.IsZero() {
			return -1
		}
		return 1
	}
	return b.Compare(a)
}

func unique(names []string) []string {
	names = slices.Clone(names)
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(n string) bool {
		again := seen[n]
		seen[n] = true
		return again
	})
}
