package promote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
)

// records is what a run has read of them, for a history or an audit.
type records struct {
	histories []document.History
	lineage   []document.Holding
	findings  []document.Finding
	audited   []string // references of what was compared

	uncompared []document.Uncompared
}

// history lists what the records say of the stages that were asked for, and what all
// of them hold now. It writes nothing. A stage that cannot be read does not hide the
// others: it is an error only where it was asked for.
func (r *run) history(ctx context.Context) error {
	r.Step("History")
	var all []*telling
	for _, s := range r.stations(ctx, r.request.Stages, func(Stage) registry.Access { return registry.Pull }) {
		all = append(all, &telling{station: s, query: r.request.Query, now: r.now()})
	}
	each(all, func(t *telling) { t.tell(ctx) })
	var failed []error
	for _, t := range all {
		r.lineage = append(r.lineage, t.holding)
		if !t.Asked {
			continue
		}
		failed = append(failed, t.err)
		if t.listed != nil {
			r.histories = append(r.histories, *t.listed)
			r.Info(fmt.Sprintf("%s: %s listed", t.listed.Ledger, report.Count(len(t.listed.Lines), "record")))
		}
		for _, text := range t.notes {
			r.note(text)
		}
	}
	if r.request.Query.Find.Hex != "" { // where it has been comes first
		slices.SortStableFunc(r.histories, func(a, b document.History) int {
			return min(len(b.Lines), 1) - min(len(a.Lines), 1)
		})
	}
	return errors.Join(failed...)
}

// now is when the run began: what it says holds for that moment.
func (r *run) now() time.Time {
	if r.request.Started.IsZero() {
		return time.Now().UTC()
	}
	return r.request.Started
}

// telling is one stage of a history.
type telling struct {
	*station
	query Query
	now   time.Time

	holding document.Holding
	listed  *document.History // nil: there is nothing to show
	notes   []string
	err     error
}

// tell reads the stage. What could be read is shown beside what went wrong.
func (t *telling) tell(ctx context.Context) {
	h, err := t.recall(ctx)
	if t.err = err; err != nil {
		t.holding = t.faulty(err)
	} else {
		t.holding = t.station.holding(h, t.now)
	}
	lines := ledger.Lines(h.Entries)
	if !t.Asked || err != nil && len(lines) == 0 {
		return
	}
	listed := t.query.pick(lines)
	listed.Environment, listed.Image, listed.Repository, listed.Ledger = t.Environment, t.Image, t.Repository.Name(), t.ledger.Reference()
	if t.Environment == "" {
		listed.Tag = t.Tags[0]
	}
	listed.Missing = err == nil && h.Whole && len(lines) == 0
	t.listed = &listed
	t.remark(h)
}

func (t *telling) recall(ctx context.Context) (ledger.History, error) {
	if t.openErr != nil {
		return ledger.History{}, t.openErr
	}
	t.look(ctx)
	if err := cmp.Or(t.viewErr, t.heldErr); err != nil {
		return ledger.History{}, err
	}
	return t.lines(ctx)
}

// lines reads as many as the query and the lineage need.
func (t *telling) lines(ctx context.Context) (ledger.History, error) {
	least := 1
	if t.Asked {
		least = t.query.least()
	}
	return t.read(ctx, least, func(lines []document.Line) bool {
		return (begun(lines) || len(lines) >= maxLineage) && (!t.Asked || t.query.satisfied(lines))
	})
}

// remark notes what a list alone would hide.
func (t *telling) remark(h ledger.History) {
	faulty := 0
	for _, e := range h.Entries {
		if e.Fault != "" {
			faulty++
		}
	}
	const look = ": see what mode audit says of it."
	if orphan := t.view.Orphan(); orphan != "" {
		t.notes = append(t.notes, lostText(t.ledger, t.Repository.Name()+":"+orphan))
	}
	if faulty > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s of %s cannot be relied on and were left out%s", report.Entries(faulty), t.listed.Ledger, look))
	}
	if err := t.ledger.LostError(h); err != nil {
		t.notes = append(t.notes, err.Error()+look)
	}
}

// least is how many lines to begin with; 0 is all.
func (q Query) least() int {
	switch {
	case q.Find.Hex != "", q.Limit <= 0 && q.Since.IsZero():
		return 0
	case q.Limit > 0:
		return q.Limit + 1
	default:
		return 1
	}
}

// satisfied reports whether older lines would change nothing.
func (q Query) satisfied(lines []document.Line) bool {
	return q.pick(lines).Older || !q.Since.IsZero() && len(lines) > 0 && lines[0].Time.Before(q.Since)
}

// pick are the lines that are asked for, newest first.
func (q Query) pick(lines []document.Line) document.History {
	h := document.History{Lines: []document.Line{}}
	for _, line := range slices.Backward(lines) {
		full := q.Limit > 0 && len(h.Lines) == q.Limit
		listed := line.Fault == ""
		switch {
		case !q.wants(line):
		case full && listed:
			h.Older = true
			return h
		case full:
		case !listed:
			h.LeftOut++
		default:
			h.Lines = append(h.Lines, line)
		}
	}
	return h
}

func (q Query) wants(line document.Line) bool {
	if line.Time.Before(q.Since) {
		return false
	}
	find := q.Find.String()
	return q.Find.Hex == "" || line.Digest == find || line.PreviousDigest == find
}
