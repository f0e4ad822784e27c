// Package github asks GitHub's REST API what gates need to know: checks of a
// commit, approvals of a run, how two commits are related, and a file at a ref.
// It only reads.
//
// Every answer is a stranger's: its size, its pages and its words are bounded, and
// what is not as GitHub documents it is an error, never a pass. The token goes to
// the one host that the options name, and into no message.
package github
