package github

import (
	"context"
	"errors"
	"time"
)

// Options is whom to ask, and as whom.
type Options struct {
	URL       string // of the API, as GITHUB_API_URL has it; empty: https://api.github.com
	Token     string // empty: none
	UserAgent string
	Patience  time.Duration // how long anything is tried again; 0: a minute
}

// Client asks GitHub. It is safe for concurrent use.
type Client struct{}

// New makes a client. Nothing is asked yet.
func New(o Options) (*Client, error) { return &Client{}, nil }

// Check is a check run or a commit status.
type Check struct {
	Name   string
	State  CheckState
	Detail string // GitHub's own word: "timed_out"
	URL    string
}

// CheckState is how a check stands.
type CheckState int

// How a check stands.
const (
	Failed  CheckState = iota
	Running            // or waiting
	Passed             // success, neutral or skipped
)

// Checks are the check runs and the commit statuses of a commit that have one of
// the names; of each name the latest ones.
func (c *Client) Checks(ctx context.Context, repository, commit string, names []string) ([]Check, error) {
	return nil, errors.New("")
}

// Approval is one review of a run that waited for environments.
type Approval struct {
	Environments []string
	User         string
	Approved     bool // false: rejected
}

// Approvals are the reviews of a run, oldest first.
func (c *Client) Approvals(ctx context.Context, repository, runID string) ([]Approval, error) {
	return nil, errors.New("")
}

// Compare tells how a commit is related to another: ahead, behind, identical or
// diverged.
func (c *Client) Compare(ctx context.Context, repository, base, head string) (string, error) {
	return "", errors.New("")
}

// File is a file at a branch, a tag or a commit. Protected says whether the ref is
// a branch that is protected, or a commit, which cannot change.
func (c *Client) File(ctx context.Context, repository, path, ref string) (raw []byte, protected bool, err error) {
	return nil, false, errors.New("")
}
