package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	"golang.org/x/sync/errgroup"
)

const (
	// recordsRead is how many records are held against their lines, the newest. Of
	// older ones the chain of the lines is checked alone.
	recordsRead = 200
	// recordsAtOnce is how many of them are read at the same time.
	recordsAtOnce = 8
	// maxFindings is how many findings of one kind are told one by one.
	maxFindings = 20
)

// underWay is how long a record that nothing is known of may belong to a promotion
// that is moving its tags right now.
const underWay = 5 * time.Minute

// ledgerHint is what to do where a ledger lacks what its records say.
const ledgerHint = "Run the audit with `repair: true`, or promote to the environment: both add what is missing."

// judgeLedger finds out whether the ledger lists every record.
func (a *auditing) judgeLedger() {
	f := document.Finding{Kind: document.FindingLedger, Reference: a.book.Reference()}
	behind := a.behind()
	switch {
	case a.caught.Rebuilt:
		f.Message = fmt.Sprintf("The ledger of %s is gone, although there are records: somebody, or a clean-up, has deleted it. It can be made again from %s.", a.called(), report.Count(len(a.history.Lines), "record"))
		f.Hint = ledgerHint + " Exclude promotion-ledger* and promotion-record* from every clean-up."
		a.lacks(f)
	case len(behind) > 0:
		f.Message = fmt.Sprintf("The ledger of %s does not say what became of %s, %s%s: a run was ended before it could write it, two wrote at once, or somebody has cut it.",
			a.called(), report.Count(len(behind), "record"), moment(behind[len(behind)-1].Time), inRun(behind[len(behind)-1]))
		f.Hint = ledgerHint
		a.lacks(f)
	}
	a.judgeUnreadable()
}

// lacks adds a finding that a repair can mend.
func (a *auditing) lacks(f document.Finding) {
	a.mendable = append(a.mendable, len(a.findings))
	a.find(f)
}

// behind are the lines that the ledger lacks, but for one that may be written yet.
func (a *auditing) behind() []document.Line {
	return slices.DeleteFunc(slices.Clone(a.caught.Lines), func(line document.Line) bool {
		if line.Outcome != document.OutcomeUnconfirmed || a.now.Sub(line.Time) > underWay {
			return false
		}
		a.notes = append(a.notes, fmt.Sprintf("A promotion to %s may be under way%s: the audit of it shows one moment.", a.called(), inRun(line)))
		return true
	})
}

// judgeUnreadable finds what stands in the place of records.
func (a *auditing) judgeUnreadable() {
	bad := a.caught.Unreadable
	slices.SortFunc(bad, func(x, y ledger.Unreadable) int { return strings.Compare(x.Reference, y.Reference) })
	for n, u := range bad {
		if n == maxFindings {
			a.more(document.FindingLedger, len(bad)-n, "records cannot be read")
			return
		}
		a.find(document.Finding{
			Kind: document.FindingLedger, Reference: u.Reference,
			Message: fmt.Sprintf("Where a record of %s should be, there is none that can be read: %v", a.called(), u.Err),
			Hint:    "Somebody has overwritten or damaged it. Look at what is there; once it is explained, delete that tag.",
		})
	}
}

// more says how many findings are not told one by one.
func (a *auditing) more(kind document.FindingKind, n int, what string) {
	a.find(document.Finding{Kind: kind, Reference: a.book.Reference(), Message: fmt.Sprintf("%d more %s.", n, what)})
}

// judgeChain holds the newest lines against their records, and each line against those
// around it.
func (a *auditing) judgeChain(ctx context.Context) {
	lines := a.history.Lines
	raws, gone, err := a.readRecords(ctx, lines[max(len(lines)-recordsRead, 0):])
	found := append(ledger.Check(a.history, raws), gone...)
	for n, f := range found {
		if n == maxFindings {
			a.more(document.FindingChain, len(found)-n, "lines are not as they were written")
			break
		}
		a.find(document.Finding{
			Kind: document.FindingChain, Reference: a.book.Reference(), Digest: f.Record,
			Message: fmt.Sprintf("The records of %s are no whole chain (%s): %s", a.called(), f.Damage, f.Message),
			Hint:    chainHint(f.Damage),
		})
	}
	if err != nil {
		a.unreadable(a.book.Reference(), err)
	}
}

func chainHint(d ledger.Damage) string {
	if d == ledger.Forked {
		return "Look at the runs of both records. Two that ran at once are harmless: a concurrency group in the workflow lets them wait for each other. If you know one of them not, somebody has written it: find out who may push to this repository."
	}
	return "Find out who may push to this repository, and whether a clean-up takes promotion-record* or promotion-ledger*. What the ledger says of that record is not to be relied on."
}

// readRecords reads the records of lines. What is not there, or is not what its digest
// says, is told as a finding; an error says that some could not be read.
func (a *auditing) readRecords(ctx context.Context, lines []document.Line) (raws map[string][]byte, gone []ledger.Finding, err error) {
	answers := make([]reading, len(lines))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(recordsAtOnce)
	for n, line := range lines {
		if line.Fault != "" {
			continue // it says itself that it cannot be relied on
		}
		g.Go(func() (err error) {
			answers[n], err = a.readRecord(ctx, line)
			return err
		})
	}
	err = g.Wait()
	raws, a.records = map[string][]byte{}, map[string]*document.Record{}
	for n, r := range answers {
		if r.wrong != nil {
			gone = append(gone, *r.wrong)
		}
		if r.raw != nil {
			raws[lines[n].Record] = r.raw
		}
		if r.wrong != nil || r.raw != nil {
			a.records[lines[n].Record] = r.record
		}
	}
	return raws, gone, err
}

// reading is a record as it was read.
type reading struct {
	raw    []byte
	record *document.Record // nil: the bytes are none
	wrong  *ledger.Finding  // why there are no bytes
}

func (a *auditing) readRecord(ctx context.Context, line document.Line) (reading, error) {
	r, raw, err := ledger.Open(a.repo, a.finder, a.Ledger).Record(ctx, line) // a book is not for several at once
	wrong := func(d ledger.Damage, what string) (reading, error) {
		return reading{wrong: &ledger.Finding{Damage: d, Record: line.Record, Message: fmt.Sprintf("the record %s, of %s, %s", line.Record, moment(line.Time), what)}}, nil
	}
	switch {
	case err == nil:
		return reading{raw: raw, record: &r}, nil
	case raw != nil: // the chain's check says what is wrong with them
		return reading{raw: raw}, nil
	case errors.Is(err, registry.ErrNotFound):
		return wrong(ledger.Removed, "is gone")
	case errors.Is(err, registry.ErrMismatch):
		return wrong(ledger.Altered, fmt.Sprintf("has other bytes: %v", err))
	default:
		return reading{}, err
	}
}
