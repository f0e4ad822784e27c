package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"golang.org/x/sync/errgroup"
)

const (
	// recordsRead is how many records are held against their entries, the newest. Of older ones
	// the entries are checked alone.
	recordsRead = 200
	// recordsAtOnce is how many of them are read at the same time.
	recordsAtOnce = 8
	// maxFindings is how many findings of one kind are told one by one.
	maxFindings = 20
)

// underWay is how long an open entry may belong to a run that is moving its tags right now.
const underWay = 5 * time.Minute

// judgeLedger finds out whether the ledger is complete, and says how everything ended.
func (a *auditing) judgeLedger(ctx context.Context) {
	if missing := a.view.Missing(); a.view.Exists() && missing != "" {
		a.find(document.Finding{
			Kind: document.FindingLedger, Reference: a.tagReference(missing),
			Message: fmt.Sprintf("One of the two heads of the ledger of %s is missing: somebody, or a clean-up, has deleted it. The other one has every entry, unless that was the newer one.", a.called()),
			Hint:    "Exclude promotion-ledger.* from every clean-up. The next promotion writes it again.",
		})
	}
	if err := a.ledger.LostError(a.history); err != nil {
		var e *ledger.Error
		errors.As(err, &e)
		a.find(document.Finding{Kind: document.FindingLedger, Reference: e.Reference, Message: err.Error(), Hint: e.Hint})
	}
	for _, e := range a.history.Entries {
		if e.IsOpen() {
			a.judgeOpen(e)
		}
	}
	a.judgeInterrupted()
	a.judgeAttached(ctx)
}

// judgeOpen says of an entry without an outcome that its run is at work, or has died.
func (a *auditing) judgeOpen(e ledger.Entry) {
	if a.now.Sub(laterOf(e.Begun, e.Renewed)) <= underWay {
		a.notes = append(a.notes, fmt.Sprintf("A promotion to %s may be under way%s: the audit of it shows one moment.", a.called(), inRun(e.Line)))
		return
	}
	a.find(document.Finding{
		Kind: document.FindingLedger, Reference: a.ledger.Reference(), Digest: e.Line.Digest,
		Message: fmt.Sprintf("The %s of %s to %s, begun %s%s, never ended: its run died while its tags moved.", kindOf(e.Line.Mode), e.Line.Digest, a.called(), moment(e.Begun), inRun(e.Line)),
		Hint:    "Promote to the environment again, or roll back: either finds out what the run has left, and says so in the ledger.",
	})
}

// kindOf is a mode as a noun.
func kindOf(m document.Mode) string {
	if m == document.ModeRollback {
		return "rollback"
	}
	return "promotion"
}

// judgeInterrupted names the tags that an interrupted run has left, and that nobody has moved since.
func (a *auditing) judgeInterrupted() {
	settled := map[string]bool{}
	for _, e := range slices.Backward(a.history.Entries) {
		for _, t := range e.Tags {
			if e.Fault == "" && e.State() == document.OutcomeInterrupted && !settled[t.Name] && t.Held != "" && t.Held == t.After && t.Held != t.Found {
				a.find(document.Finding{
					Kind: document.FindingLedger, Reference: a.tagReference(t.Name), Digest: t.Held,
					Message: fmt.Sprintf("%s points to %s since a %s that was interrupted %s%s: it is not complete.", a.tagReference(t.Name), t.Held, kindOf(e.Line.Mode), moment(e.Begun), inRun(e.Line)),
					Hint:    "Run that promotion again, or roll back: either moves all tags together.",
				})
			}
			if e.Fault == "" && e.State() != document.OutcomeFailed {
				settled[t.Name] = true
			}
		}
	}
}

// judgeAttached finds records that are attached to the image which the stage holds, say that they
// are of this ledger, and are not in it.
func (a *auditing) judgeAttached(ctx context.Context) {
	if a.holds() == "" || !a.history.Whole {
		return
	}
	found, err := a.finder.Find(ctx, a.held[0].Digest(), true, nil)
	if err != nil {
		a.unreadable(a.imageReference(a.holds()), err)
		return
	}
	for _, d := range found.Referrers {
		name, record, ok := ledger.AttachedRecord(d)
		known := slices.ContainsFunc(a.lines, func(l document.Line) bool { return l.Record == record })
		if !ok || known || name != a.ledger.Key().String() {
			continue
		}
		a.find(document.Finding{
			Kind: document.FindingLedger, Reference: a.Repository.Name() + "@" + d.Digest.String(), Digest: record,
			Message: fmt.Sprintf("The image %s has a record attached that says that it is of %s, and the ledger does not have it: it was forged, or somebody has cut the ledger.", a.holds(), a.called()),
			Hint:    "Find out who may push to this repository. Nothing relies on attached records.",
		})
	}
}

// more says how many findings are not told one by one.
func (a *auditing) more(kind document.FindingKind, n int, what string) {
	a.find(document.Finding{Kind: kind, Reference: a.ledger.Reference(), Message: fmt.Sprintf("%d more %s.", n, what)})
}

// judgeChain holds the newest entries against their records, and each entry against those around
// it.
func (a *auditing) judgeChain(ctx context.Context) {
	raws, gone, err := a.readRecords(ctx, a.lines[max(len(a.lines)-recordsRead, 0):])
	found := append(ledger.Check(a.history, raws), gone...)
	for n, f := range found {
		if n == maxFindings {
			a.more(document.FindingChain, len(found)-n, "entries are not as they were written")
			break
		}
		a.find(document.Finding{
			Kind: document.FindingChain, Reference: a.ledger.Reference(), Digest: f.Record,
			Message: fmt.Sprintf("The ledger of %s is not as it was written (%s): %s", a.called(), f.Damage, f.Message),
			Hint:    chainHint(f.Damage),
		})
	}
	if err != nil {
		a.unreadable(a.ledger.Reference(), err)
	}
}

func chainHint(d ledger.Damage) string {
	switch d {
	case ledger.Forked:
		return "Look at the runs of both entries. Two that ran at once are harmless: a concurrency group in the workflow lets them wait for each other. If you do not know one of them, somebody has written it: find out who may push to this repository."
	case ledger.Moved:
		return "Somebody has moved the tag outside of promotion, and a later promotion has overwritten that. Find out who may push to this repository."
	default:
		return "Find out who may push to this repository, and whether a clean-up takes promotion-ledger.*. What the ledger says of that promotion is not to be relied on."
	}
}

// readRecords reads the records of lines. What is not there, or is not what its digest says, is told
// as a finding; an error says that some could not be read.
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
	wrong := func(d ledger.Damage, what string) (reading, error) {
		return reading{wrong: &ledger.Finding{Damage: d, Record: line.Record, Message: fmt.Sprintf("the record %s, of %s, %s", line.Record, moment(line.Time), what)}}, nil
	}
	blob, ok := recordBlob(line)
	if !ok {
		return wrong(ledger.Altered, "is not named by a digest and a size")
	}
	r, raw, err := readRecord(ctx, a.repo, blob)
	switch {
	case err == nil:
		return reading{raw: raw, record: &r}, nil
	case raw != nil: // the check of the chain says what is wrong with them
		return reading{raw: raw}, nil
	case errors.Is(err, registry.ErrNotFound):
		return wrong(ledger.Removed, "is missing")
	case errors.Is(err, registry.ErrMismatch):
		return wrong(ledger.Altered, fmt.Sprintf("has other bytes: %v", err))
	default:
		return reading{}, err
	}
}
