// Package runner speaks the protocol of GitHub's runner: masks, outputs, the job
// summary, groups, annotations and progress. From a plain shell the same calls
// write plain lines, and a live bar on a terminal.
//
// The runner reads commands from everything that a step prints, and much of what
// is printed here was written by a stranger: a registry's error, a label, a tag.
// Such text never reaches a stream as it is. It is cut into lines, shown with
// its invisible characters, and broken wherever the runner would see a command.
//
// It stands on github.com/sethvargo/go-githubactions and closes its holes: a
// fixed delimiter in the outputs file, plain lines that go out raw, and panics
// where a write fails.
package runner
