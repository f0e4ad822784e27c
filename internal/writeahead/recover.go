package writeahead

import (
	"context"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// resolve is the entry of a dead run with the outcome that its tags tell. A member of a release is
// promoted only if the whole release is.
func (e Entry) resolve(held map[string]string, whole bool, now time.Time, by string) Entry {
	moved, untouched := true, true
	for _, t := range e.Tags {
		moved = moved && held[t.Name] == t.After
		untouched = untouched && held[t.Name] == t.Found
	}
	state := document.OutcomeInterrupted
	switch {
	case moved && whole && e.Line.Mode == document.ModeRollback:
		state = document.OutcomeRolledBack
	case moved && whole:
		state = document.OutcomePromoted
	case untouched:
		state = document.OutcomeFailed
	}
	return e.end(state, held, now, by)
}

// end is the entry with a final state, and what its tags point to.
func (e Entry) end(state document.Outcome, held map[string]string, now time.Time, by string) Entry {
	e.Line.Outcome, e.Line.Moved, e.Resolved, e.By, e.Sequence = state, now, now, by, unnumbered
	e.Tags = slices.Clone(e.Tags)
	for n, t := range e.Tags {
		e.Tags[n].Held = held[t.Name]
	}
	return e.withOutcome()
}

// Members reports whether all members of an entry's release point to what it moved them to. It
// reads the entry's record, and the tags of other repositories.
type Members func(context.Context, Entry) bool

// WithMembers sets how the other members of a release are read. Without it, they cannot be.
func (l *Ledger) WithMembers(m Members) *Ledger {
	l.members = m
	return l
}

// whole reports whether an entry moved alone, or its release is complete as far as can be read.
func (l *Ledger) whole(ctx context.Context, e Entry) bool {
	return e.Line.Release == "" || l.members != nil && l.members(ctx, e)
}
