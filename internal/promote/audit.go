package promote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/report"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// audit compares what the registry holds with what the records say, for every stage
// that was asked for. It writes nothing unless it is to repair. What cannot be read
// is a finding; only the end of the run, or a repair that failed, is an error.
func (r *run) audit(ctx context.Context) error {
	r.Step("Audit")
	var all []*auditing
	for _, s := range r.stations(ctx, r.asked(), r.auditAccess) {
		all = append(all, &auditing{station: s, now: r.now(), mend: r.request.Repair})
	}
	each(all, func(a *auditing) { a.audit(ctx) })
	var failed []error
	for _, a := range all {
		r.take(a)
		failed = append(failed, a.err)
	}
	r.judgeBuilds(all)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(failed...)
}

func (r *run) asked() (stages []Stage) {
	for _, stage := range r.request.Stages {
		if stage.Asked {
			stages = append(stages, stage)
		}
	}
	return stages
}

func (r *run) auditAccess(Stage) registry.Access {
	if r.request.Repair {
		return registry.Push
	}
	return registry.Pull
}

// take reports a stage. Of one that was broken off nothing is known.
func (r *run) take(a *auditing) {
	if !a.done {
		return
	}
	for _, text := range a.notes {
		r.note(text)
	}
	r.findings = append(r.findings, a.findings...)
	r.audited = append(r.audited, a.compared...)
	r.uncompared = append(r.uncompared, a.uncompared...)
	text := report.Count(len(a.findings), "finding") + " in " + report.Count(len(a.history.Lines), "record")
	if len(a.compared) == 0 {
		text += ", nothing was compared"
	}
	r.Info(a.called() + ": " + text)
}

// auditResult is clean if something was compared, and nothing was found, or all of it
// was mended.
func (r *run) auditResult() document.Result {
	if len(r.audited) == 0 {
		return document.Findings
	}
	for _, f := range r.findings {
		if !f.Repaired {
			return document.Findings
		}
	}
	return document.Clean
}

// auditing is one stage of an audit.
type auditing struct {
	*station
	now  time.Time
	mend bool

	history ledger.History
	known   bool                        // the ledger was read
	state   ledger.State                // of the history
	records map[string]*document.Record // that were read; nil: what was there is none

	compared   []string // references of what was held against a record
	uncompared []document.Uncompared
	builds     bool // nothing is recorded of the environment, and none comes before it

	findings []document.Finding
	mendable []int // findings that a repair mends
	notes    []string
	err      error // of a repair
	done     bool  // else the run was ended before
}

// audit makes the findings, in an order that is always the same.
func (a *auditing) audit(ctx context.Context) {
	defer func() { a.done = ctx.Err() == nil }()
	if a.openErr != nil {
		a.unreadable(a.reference(), a.openErr)
		return
	}
	a.look(ctx)
	if a.heldErr != nil {
		a.unreadable(a.reference(), a.heldErr)
		return
	}
	a.readLedger(ctx)
	if a.known {
		a.judgeTags()
		a.judgeChain(ctx)
		a.judgeLedger()
		a.judgeSilence(ctx)
		a.repair(ctx)
	}
	a.judgeImages(ctx)
}

// readLedger reads all of it, with what it lacks.
func (a *auditing) readLedger(ctx context.Context) {
	if a.pageErr != nil {
		a.damaged(a.pageErr)
		return
	}
	if a.names.err != nil {
		a.unreadable(a.Repository.Name(), a.names.err)
	}
	referrers, err := a.referrers(ctx)
	if err != nil {
		a.unreadable(a.imageReference(a.holds()), err)
	}
	a.catchUp(ctx, referrers)
	a.history, err = a.read(ctx, 0, nil)
	if err == nil {
		err = a.caughtBy
	}
	if err != nil {
		a.damaged(err)
	}
	a.known = len(a.history.Lines) > 0 || err == nil
	a.state = ledger.Replay(a.history.Lines)
}

// damaged tells a ledger that is not one from a registry that could not be asked.
func (a *auditing) damaged(err error) {
	if !isDamaged(err) {
		a.unreadable(a.book.Reference(), err)
		return
	}
	a.find(document.Finding{
		Kind: document.FindingLedger, Reference: a.book.Reference(), Message: err.Error(), Hint: registry.HintOf(err),
	})
}

// isDamaged reports whether the registry answered, and what it holds is no ledger.
func isDamaged(err error) bool {
	var e *registry.Error
	return errors.As(err, &e) && e.Op == "read ledger" && e.Status == 0
}

func (a *auditing) unreadable(reference string, err error) {
	a.find(document.Finding{
		Kind: document.FindingUnreadable, Reference: reference,
		Message: fmt.Sprintf("%s could not be audited: %v", a.called(), err), Hint: registry.HintOf(err),
	})
}

// find adds a finding.
func (a *auditing) find(f document.Finding) {
	f.Environment, f.Image = a.Environment, a.Image
	a.findings = append(a.findings, f)
}

func (a *auditing) imageReference(digest string) string {
	return a.Repository.Name() + "@" + digest
}

// repair writes what the ledger lacks, if that is asked for and anything is known to be
// lacking.
func (a *auditing) repair(ctx context.Context) {
	if !a.mend || len(a.mendable) == 0 || a.caughtBy != nil {
		return
	}
	_, err := a.book.Write(ctx, a.page)
	a.notes = append(a.notes, a.book.Notices()...)
	if err != nil {
		a.err = fmt.Errorf("repair the ledger of %s: %w", a.called(), err)
		return
	}
	for _, n := range a.mendable {
		a.findings[n].Repaired = true
	}
}

// hashOf is a digest as a registry is asked for it, false if the text is none.
func hashOf(digest string) (v1.Hash, bool) {
	h, err := v1.NewHash(digest)
	return h, err == nil
}
