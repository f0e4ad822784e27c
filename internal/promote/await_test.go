package promote_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// lease is how long a run is believed to be at work, by default.
const lease = 2 * time.Minute

// TestAwait: a run that may be at work is waited for, and no longer than its lease. Time is the bubble's.
func TestAwait(t *testing.T) {
	long(t)
	seven := document.Job{Repository: "acme/app", RunID: "7", Attempt: "2", Name: "promote"}
	for name, test := range map[string]struct {
		change      func(e *entry) // of the open entries
		ask         func(r *promote.Request)
		next        successor
		least, most time.Duration
	}{
		"one that has just begun":         {next: another, least: lease - 10*time.Second, most: lease + 30*time.Second},
		"one that began a while ago":      {next: another, change: renewed(-time.Minute), least: lease - 70*time.Second, most: lease - 30*time.Second},
		"one that began long ago":         {next: another, change: renewed(-time.Hour), most: 20 * time.Second},
		"one that is yet to begin":        {next: another, change: renewed(time.Hour), least: lease - 10*time.Second, most: lease + 30*time.Second},
		"one of the end of all times":     {next: another, change: func(e *entry) { e.outcome.Renewed = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, most: lease + 30*time.Second},
		"one without a time":              {next: another, change: func(e *entry) { e.outcome.Renewed = time.Time{} }, most: lease + 30*time.Second},
		"an earlier attempt of this run":  {next: another, change: by(seven, 1), ask: as(seven), most: 20 * time.Second},
		"the same attempt of this run":    {next: another, change: by(seven, 2), ask: as(seven), least: lease - 10*time.Second, most: lease + 30*time.Second},
		"a later attempt of this run":     {next: another, change: by(seven, 3), ask: as(seven), least: lease - 10*time.Second, most: lease + 30*time.Second},
		"another run's":                   {next: another, change: by(document.Job{Repository: "acme/app", RunID: "8"}, 1), ask: as(seven), least: lease - 10*time.Second, most: lease + 30*time.Second},
		"a run of another repository":     {next: another, change: by(document.Job{Repository: "acme/web", RunID: "7"}, 1), ask: as(seven), least: lease - 10*time.Second, most: lease + 30*time.Second},
		"for as long as is asked for":     {next: another, ask: func(r *promote.Request) { r.Lease = 5 * time.Minute }, least: 4 * time.Minute, most: 6 * time.Minute},
		"for hardly any time":             {next: another, ask: func(r *promote.Request) { r.Lease = 1 }, most: time.Second},
		"the same release by another run": {next: theSame, least: lease - 10*time.Second, most: lease + 30*time.Second},
		"of one image":                    {next: oneOnly, least: lease - 10*time.Second, most: lease + 30*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			interruptedIn(t, func(t *testing.T, w *swept) {
				if test.change != nil {
					w.changeEntries(t, test.change)
				}
				before, err := w.moment(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				r := w.succeeds(test.next)
				if test.ask != nil {
					test.ask(&r)
				}
				began := time.Now()
				expect(t, w.promoteRequest(t.Context(), nil, r), document.Promoted)
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("it took %v, want %v to %v", took, test.least, test.most)
				}
				if err := w.succeeded(t.Context(), test.next, false, before); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func renewed(ago time.Duration) func(*entry) {
	return func(e *entry) { e.outcome.Renewed = e.outcome.Renewed.Add(ago) }
}

func by(job document.Job, attempt int) func(*entry) {
	return func(e *entry) {
		e.intent.Run = entryRun{Repository: job.Repository, ID: job.RunID, Attempt: attempt, Job: "promote"}
	}
}

func as(job document.Job) func(*promote.Request) {
	return func(r *promote.Request) { r.Job = job }
}

// changeEntries changes the entries of all ledgers of the release, in both heads.
func (w *swept) changeEntries(t *testing.T, change func(*entry)) {
	t.Helper()
	for n, p := range w.parcels {
		all, err := readEntries(t.Context(), w.at(w.target), p.repo, "production")
		if err != nil || len(all) != 1 {
			t.Fatalf("the ledger of %s is %+v, error %v", p.repo, all, err)
		}
		change(&all[0])
		for at, tag := range ledgerTags("tag", "production") {
			text := headWith(t, "tag", "production", 100+at, all)
			if err := regtest.PutManifest(t.Context(), w.at(w.target), p.repo, tag, manifestOCI, text); err != nil {
				t.Fatalf("image %d: %v", n, err)
			}
		}
	}
}

// TestAwaitedReleaseThatEnds meanwhile is not waited for any longer, and what it says counts.
func TestAwaitedReleaseThatEnds(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		time.AfterFunc(10*time.Second, func() {
			w.changeEntries(t, func(e *entry) {
				e.outcome.State, e.outcome.Sequence, e.outcome.Resolved = "failed", 100, time.Now().UTC()
				e.outcome.Held = map[string]string{}
			})
		})
		began := time.Now()
		d := w.promoteRequest(t.Context(), nil, w.succeeds(another))
		expect(t, d, document.Promoted)
		if took := time.Since(began); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		if !told(d, "this run waits for it") {
			t.Errorf("told %q", d.Notices)
		}
	})
}

// TestAwaitedReleaseThatLives: one that gives a sign of life is given its time anew.
func TestAwaitedReleaseThatLives(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		const later = 80 * time.Second
		time.AfterFunc(later, func() { w.changeEntries(t, func(e *entry) { e.outcome.Renewed = time.Now().UTC() }) })
		began := time.Now()
		expect(t, w.promoteRequest(t.Context(), nil, w.succeeds(another)), document.Promoted)
		if took := time.Since(began); took < later+lease-5*time.Second || took > later+lease+30*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAwaitEndsWithTheRun: nobody waits for the rest of the time once the run is ended, and nothing is written.
func TestAwaitEndsWithTheRun(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("enough"))
		defer cancel()
		w.target.ResetRequests()
		began := time.Now()
		faulted(t, w.promoteRequest(ctx, nil, w.succeeds(another)), document.Failed, "enough")
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
		untouched(t, w.target)
	})
}
