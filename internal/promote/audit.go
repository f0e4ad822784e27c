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
// that was asked for. It writes nothing. What cannot be read is a finding; only the end of the run
// is an error.
func (r *run) audit(ctx context.Context) error {
	r.Step("Audit")
	var all []*auditing
	for _, s := range r.stations(ctx, r.asked(), func(Stage) registry.Access { return registry.Pull }) {
		all = append(all, &auditing{station: s, now: r.now()})
	}
	each(all, func(a *auditing) { a.audit(ctx) })
	for _, a := range all {
		r.take(a)
	}
	r.judgeBuilds(all)
	return context.Cause(ctx)
}

func (r *run) asked() (stages []Stage) {
	for _, stage := range r.request.Stages {
		if stage.Asked {
			stages = append(stages, stage)
		}
	}
	return stages
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
	text := report.Count(len(a.findings), "finding") + " in " + report.Count(len(a.lines), "record")
	if len(a.compared) == 0 {
		text += ", nothing was compared"
	}
	r.Info(a.called() + ": " + text)
}

// auditResult is clean if something was compared, and nothing was found.
func (r *run) auditResult() document.Result {
	if len(r.audited) == 0 || len(r.findings) > 0 {
		return document.Findings
	}
	return document.Clean
}

// auditing is one stage of an audit.
type auditing struct {
	*station
	now   time.Time
	names tagList

	history ledger.History
	lines   []document.Line             // of the history
	known   bool                        // the ledger was read
	state   ledger.State                // of the history
	records map[string]*document.Record // that were read; nil: what was there is none

	compared   []string // references of what was held against a record
	uncompared []document.Uncompared
	builds     bool // nothing is recorded of the environment, and none comes before it

	findings []document.Finding
	notes    []string
	done     bool // else the run was ended before
}

// audit makes the findings, in an order that is always the same.
func (a *auditing) audit(ctx context.Context) {
	defer func() { a.done = ctx.Err() == nil }()
	if a.openErr != nil {
		a.unreadable(a.reference(), a.openErr)
		return
	}
	listed := make(chan tagList, 1)
	go func() { listed <- a.list() }()
	a.look(ctx)
	a.names = <-listed
	if a.heldErr != nil {
		a.unreadable(a.reference(), a.heldErr)
		return
	}
	a.readLedger(ctx)
	if a.known {
		a.judgeTags()
		a.judgeChain(ctx)
		a.judgeLedger(ctx)
		a.judgeSilence(ctx)
	}
	a.judgeImages(ctx)
}

// readLedger reads all of it.
func (a *auditing) readLedger(ctx context.Context) {
	if a.names.err != nil {
		a.unreadable(a.Repository.Name(), a.names.err)
	}
	err := a.viewErr
	if err == nil {
		a.history, err = a.read(ctx, 0, nil)
	}
	if err != nil {
		a.damaged(err)
	}
	a.lines = ledger.Lines(a.history.Entries)
	a.known = len(a.lines) > 0 || err == nil
	a.state = ledger.Replay(a.lines)
}

// damaged tells a tag that is no ledger from a registry that could not be asked.
func (a *auditing) damaged(err error) {
	var e *ledger.Error
	if !errors.As(err, &e) {
		a.unreadable(a.ledger.Reference(), err)
		return
	}
	a.find(document.Finding{Kind: document.FindingLedger, Reference: e.Reference, Message: err.Error(), Hint: e.Hint})
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

// hashOf is a digest as a registry is asked for it, false if the text is none.
func hashOf(digest string) (v1.Hash, bool) {
	h, err := v1.NewHash(digest)
	return h, err == nil
}
