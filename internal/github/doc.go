// Package github asks GitHub's REST API what gates need to know: checks of a
// commit, approvals of a run, how two commits are related, and a file at a ref.
// It only reads.
package github
