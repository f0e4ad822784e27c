package ledger

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

// resolveAll gives the entries of dead runs the outcomes that the tags tell.
func (l *Ledger) resolveAll(ctx context.Context, v View, next head, dead []Entry, held map[string]string) (head, []Entry) {
	var resolved []Entry
	for _, e := range dead {
		e = e.resolve(held, l.whole(ctx, e), v.now(), l.run.URL)
		resolved = append(resolved, e)
		next = next.with(e)
	}
	return next, resolved
}

// Resolve gives the entries of dead runs about the tags their outcomes, for a run that has nothing
// to move itself. It writes nothing where there are none.
func (l *Ledger) Resolve(ctx context.Context, v View, tags []string) (View, []Entry, error) {
	var resolved []Entry
	if len(v.rivals("", tags)) == 0 {
		return v, nil, nil
	}
	v, err := l.write(ctx, v, func(v View, known head) (head, error) {
		next := union(known, v.head)
		rivals := v.rivals("", tags)
		if _, _, found := l.atWork(v, rivals); found || len(rivals) == 0 {
			return next, errNothing
		}
		var names []string
		for _, e := range rivals {
			names = append(names, e.TagNames()...)
		}
		held, err := l.readTags(ctx, names)
		if err != nil {
			return next, err
		}
		next, resolved = l.resolveAll(ctx, v, next, rivals, held)
		return next, nil
	})
	return v, resolved, err
}
