package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/github"
)

// errNoGitHub is why a gate knows nothing from GitHub.
var errNoGitHub = errors.New("there is no GitHub to ask: this runs outside of a workflow, or the input github-token is empty")

// askGitHub asks what GitHub knows, each thing once. What it cannot be asked is
// evidence as well.
func (r *run) askGitHub(ctx context.Context, facts gate.Facts, judged []*promotion) error {
	q := inquiry{run: r, asked: map[string]func() ([]github.Check, error){}, compared: map[string]func() (string, error){}}
	var all sync.WaitGroup
	if facts.Approvals {
		all.Go(func() {
			approvals := q.approvals(ctx)
			for _, p := range judged {
				p.evidence.Approvals = approvals
			}
		})
	}
	for _, p := range judged {
		if facts.Checks {
			all.Go(func() { p.evidence.Checks = q.checks(ctx, p) })
		}
		if facts.Order {
			all.Go(func() { p.evidence.Order = q.order(ctx, p) })
		}
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// inquiry is what is asked of GitHub for one judgement.
type inquiry struct {
	*run
	mu       sync.Mutex
	asked    map[string]func() ([]github.Check, error)
	compared map[string]func() (string, error)
}

// once returns the question of a key, the same for all who have it.
func once[V any](mu *sync.Mutex, all map[string]func() (V, error), key string, ask func() (V, error)) func() (V, error) {
	mu.Lock()
	defer mu.Unlock()
	if all[key] == nil {
		all[key] = sync.OnceValues(ask)
	}
	return all[key]
}

func (q *inquiry) approvals(ctx context.Context) gate.ApprovalEvidence {
	job := q.request.Job
	if q.request.GitHub == nil || job.RunID == "" {
		return gate.ApprovalEvidence{Err: errNoGitHub}
	}
	found, err := q.request.GitHub.Approvals(ctx, job.Repository, job.RunID)
	e := gate.ApprovalEvidence{Err: err}
	for _, a := range found {
		for _, environment := range a.Environments {
			e.List = append(e.List, gate.Approval{Environment: environment, User: a.User, Approved: a.Approved})
		}
	}
	return e
}

func (q *inquiry) checks(ctx context.Context, p *promotion) gate.CheckEvidence {
	e := gate.CheckEvidence{Repository: q.sourcesOf(p)}
	e.Commit, e.Err = p.evidence.Image.Revision()
	switch {
	case e.Err != nil || e.Commit == "":
		return e // the gate says what is missing
	case q.request.GitHub == nil || e.Repository == "":
		e.Err = errNoGitHub
		return e
	}
	found, err := once(&q.mu, q.asked, e.Repository+" "+e.Commit, func() ([]github.Check, error) {
		return q.request.GitHub.Checks(ctx, e.Repository, e.Commit, q.request.Gates.Policy.Checks.Names)
	})()
	e.Err = err
	for _, c := range found {
		e.List = append(e.List, gate.Check{Name: c.Name, State: states[c.State], Detail: c.Detail, URL: c.URL})
	}
	return e
}

var states = map[github.CheckState]gate.CheckState{
	github.Failed: gate.CheckFailed, github.Running: gate.CheckRunning, github.Passed: gate.CheckPassed,
}

func (q *inquiry) order(ctx context.Context, p *promotion) gate.OrderEvidence {
	previous := p.evidence.Previous
	if q.request.GitHub == nil || previous == nil || !q.request.Gates.Policy.NeedsOrder(p.evidence) {
		return gate.OrderEvidence{}
	}
	repository := q.sourcesOf(p)
	base, err := previous.Revision()
	if err != nil {
		return gate.OrderEvidence{Repository: repository, Err: fmt.Errorf("of what is there now: %w", err)}
	}
	head, err := p.evidence.Image.Revision()
	if err != nil {
		return gate.OrderEvidence{Repository: repository, Err: err}
	}
	relation, err := once(&q.mu, q.compared, repository+" "+base+" "+head, func() (string, error) {
		return q.request.GitHub.Compare(ctx, repository, base, head)
	})()
	return gate.OrderEvidence{Repository: repository, Relation: gate.Relation(relation), Err: err}
}

// sourcesOf is the GitHub repository that an image is built from: what the config
// says, else the workflow's own.
func (q *inquiry) sourcesOf(p *promotion) string {
	if c := q.request.Gates.Policy.Checks; c != nil && c.Repository != "" {
		return strings.ReplaceAll(c.Repository, "{{image}}", p.item.Image)
	}
	return q.request.Job.Repository
}
