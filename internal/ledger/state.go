package ledger

import (
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// State is what an environment holds, and what it can go back to, as its ledger says.
// Its zero value is an environment that nothing was ever promoted to.
type State struct {
	stack []Stay          // good digests, each on top of what it replaced
	left  map[string]bool // digests that were rolled back from, and not brought back since
}

// Stay is one stay of a digest in an environment.
type Stay struct {
	Line    document.Line // that brought it last: by going back to it, or once more where it was
	Brought document.Line // that brought it first
	Since   time.Time     // when it came last, without a break
}

// Replay makes the state of lines, oldest first. Lines whose tags are not known to
// have moved count for nothing.
func Replay(lines []document.Line) State {
	s := State{left: map[string]bool{}}
	for _, line := range lines {
		switch {
		case line.Fault != "":
		case line.Outcome == document.OutcomePromoted:
			s.push(line)
		case line.Outcome == document.OutcomeRolledBack:
			s.back(line)
		}
	}
	return s
}

// since is when a line's tags held its digest, at the latest.
func since(line document.Line) time.Time {
	if line.Moved.After(line.Time) {
		return line.Moved
	}
	return line.Time
}

// push puts a digest on top. Where it was on top, it only stays, unless the tag held
// something else meanwhile.
func (s *State) push(line document.Line) {
	delete(s.left, line.Digest)
	top := len(s.stack) - 1
	if top < 0 || s.stack[top].Line.Digest != line.Digest {
		s.stack = append(s.stack, Stay{line, line, since(line)})
		return
	}
	if line.PreviousDigest != line.Digest {
		s.stack[top].Since = since(line)
	}
	s.stack[top].Line = line
}

// back takes off what is above a digest. One that is not there is put on top.
func (s *State) back(line document.Line) {
	top := len(s.stack) - 1
	if top < 0 || s.stack[top].Line.Digest == line.Digest {
		s.push(line)
		return
	}
	s.left[s.stack[top].Line.Digest] = true
	for at, stay := range slices.Backward(s.stack) {
		if stay.Line.Digest == line.Digest {
			s.stack = append(s.stack[:at:at], Stay{line, stay.Brought, since(line)})
			delete(s.left, line.Digest)
			return
		}
	}
	s.push(line)
}

// Top is the stay of what the environment holds.
func (s State) Top() (stay Stay, known bool) {
	if len(s.stack) == 0 {
		return Stay{}, false
	}
	return s.stack[len(s.stack)-1], true
}

// Current is the line that brought what the environment holds.
func (s State) Current() (line document.Line, known bool) {
	top, known := s.Top()
	return top.Line, known
}

// Stays are what the environment holds, first, and then all that a rollback can go
// back to, the newest first, each digest once: what it held before, but for what it
// was rolled back from.
func (s State) Stays() []Stay {
	var all []Stay
	seen := map[string]bool{}
	for _, stay := range slices.Backward(s.stack) {
		if digest := stay.Line.Digest; !seen[digest] && !s.left[digest] {
			seen[digest] = true
			all = append(all, stay)
		}
	}
	return all
}

// Previous is the line that brought what a rollback goes back to. Rolling back again
// goes back further.
func (s State) Previous() (line document.Line, known bool) {
	all := s.Earlier()
	if len(all) == 0 {
		return document.Line{}, false
	}
	return all[0], true
}

// Earlier are the lines of all [State.Stays] but the first.
func (s State) Earlier() []document.Line {
	var all []document.Line
	for n, stay := range s.Stays() {
		if n > 0 {
			all = append(all, stay.Line)
		}
	}
	return all
}

// Occupancy reports whether the environment holds a digest, and since when without a
// break; never a time after now.
func (s State) Occupancy(digest string, now time.Time) (since time.Time, holds bool) {
	top, known := s.Top()
	switch {
	case !known || top.Line.Digest != digest:
		return time.Time{}, false
	case top.Since.After(now):
		return now, true
	}
	return top.Since, true
}

// Brought is the line of the promotion that brought a digest, the newest if it was
// promoted again. Of one that no promotion brought, it is the line of what did; nil if
// there is none.
func Brought(lines []document.Line, digest string) (brought *document.Line) {
	for _, line := range slices.Backward(lines) {
		switch {
		case line.Digest != digest || !line.Outcome.Good() || line.Fault != "":
		case line.Mode == document.ModePromote:
			return &line
		case brought == nil:
			brought = &line
		}
	}
	return brought
}

// WasLeft reports whether the environment was rolled back from a digest, and has not held it since.
func (s State) WasLeft(digest string) bool { return s.left[digest] }
