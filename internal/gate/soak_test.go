package gate

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

func heldFor(d time.Duration) func(*Evidence) {
	return func(e *Evidence) { e.From.Since = now.Add(-d) }
}

func TestSoak(t *testing.T) {
	const hour = time.Hour
	for _, j := range []judgement{
		{"long enough", nil, document.Pass, "staging has held it since 2026-11-21 11:00 UTC without a break, 25 h of 24 h"},
		{"to the instant", heldFor(24 * hour), document.Pass, "since 2026-11-21 12:00 UTC without a break, 24 h of 24 h"},
		{"for months", heldFor(60*24*hour + hour), document.Pass, "60 days 1 h of 24 h"},
		{"planned, and held since", func(e *Evidence) { e.From.Planned = true }, document.Pass, "25 h of 24 h"},

		{"no records", unrecorded, document.Fail,
			"nobody knows since when staging holds it: only its tag ghcr.io/acme/app:staging shows that it does; promote it to staging with this action, which records it, or override this gate"},
		{"none that says what it holds", func(e *Evidence) { e.From.Record = "" }, document.Fail, "nobody knows since when"},
		{"no records, whenever that was", func(e *Evidence) { e.From.Recorded = false }, document.Fail, "nobody knows since when"},
		{"another by its tag", func(e *Evidence) { e.From.Digest = digestB }, document.Fail,
			"staging does not hold the image (ghcr.io/acme/app:staging), which is sha256:aaaaaaaaaaaa; promote it to staging first"},
		{"another by its record", func(e *Evidence) { e.From.Record = digestB }, document.Fail,
			"staging was changed outside of promotion: its tag ghcr.io/acme/app:staging holds sha256:aaaaaaaaaaaa, and its last record says sha256:bbbbbbbbbbbb"},
		{"another by both", func(e *Evidence) { e.From.Digest, e.From.Record = digestB, digestB }, document.Fail, "does not hold the image"},
		{"no tag", func(e *Evidence) { e.From.Digest = "" }, document.Fail, "does not hold the image"},
		{"nothing is nothing", func(e *Evidence) { e.From.Digest, e.From.Record, e.Image.Digest = "", "", "" }, document.Fail, "does not hold the image"},
		{"planned, and gone since", func(e *Evidence) { e.From.Planned, e.From.Record = true, digestB }, document.Fail,
			"staging held it when the plan was made, and its last record says sha256:bbbbbbbbbbbb; make a new plan"},
		{"planned, and never held", func(e *Evidence) { e.From.Planned, e.From.Digest = true, digestB }, document.Fail, "staging did not hold the image"},
		{"planned, without records", func(e *Evidence) { unrecorded(e); e.From.Planned = true }, document.Fail, "nobody knows since when"},
		{"too short and gone", func(e *Evidence) { heldFor(hour)(e); e.From.Record = digestB }, document.Fail, "changed outside of promotion"},

		{"tag not readable", func(e *Evidence) { e.From.Err = errors.New("no\x1b") }, document.Unknown, `what staging holds could not be read from ghcr.io/acme/app:staging: no\x1b; see`},
		{"records not readable", func(e *Evidence) { e.From.LedgerErr = errors.New("no\nroute") }, document.Unknown, "the records of staging could not be read beside ghcr.io/acme/app:staging: no route; see"},
		{"planned, records not readable", func(e *Evidence) { e.From.Planned, e.From.LedgerErr = true, errors.New("x") }, document.Unknown, "could not be read"},
		{"records not readable are not none", func(e *Evidence) { unrecorded(e); e.From.LedgerErr = errors.New("x") }, document.Unknown, "could not be read"},
		{"a promotion that has not ended", func(e *Evidence) { e.From.Open = "a promotion of x\nhas not ended" }, document.Unknown, "a promotion of x has not ended"},
		{"since never", func(e *Evidence) { e.From.Since = time.Time{} }, document.Unknown, "its record does not say (it is 2026-11-22 12:00 UTC)"},
		{"still to come", heldFor(-clockSkew - time.Second), document.Unknown, "its record says since 2026-11-22 12:05 UTC, which is still to come (it is 2026-11-22 12:00 UTC)"},
		{"nowhere to soak", func(e *Evidence) { e.From = nil }, document.Unknown, "there is no environment before this one"},
	} {
		j.check(t, Soak, Policy{Soak: 24 * time.Hour})
	}
}

// TestSoakIsPending has images that were held, and not long enough.
func TestSoakIsPending(t *testing.T) {
	for _, test := range []struct {
		soak, held time.Duration
		message    string
	}{
		{24 * time.Hour, 18*time.Hour + 20*time.Minute, "staging has held it since 2026-11-21 17:40 UTC without a break, 18 h 20 min of 24 h; it is long enough at 2026-11-22 17:40 UTC, in 5 h 40 min; run it again then"},
		{24 * time.Hour, 24*time.Hour - time.Nanosecond, "23 h 59 min of 24 h; it is long enough at 2026-11-22 12:01 UTC, in 1 min; run"},
		{24 * time.Hour, 0, "since 2026-11-22 12:00 UTC without a break, less than 1 min of 24 h; it is long enough at 2026-11-23 12:00 UTC, in 24 h"},
		{24 * time.Hour, -clockSkew, "since 2026-11-22 12:05 UTC without a break, less than 1 min of 24 h; it is long enough at 2026-11-23 12:05 UTC, in 24 h 5 min"},
		{7 * day, 7*day - time.Hour - time.Second, "6 days 22 h 59 min of 7 days; it is long enough at 2026-11-22 13:01 UTC, in 1 h 1 min"},
		{200 * day, 50*day + 30*time.Second, "50 days of 200 days; it is long enough at 2027-04-21 12:00 UTC, in 150 days; run"},
		{time.Second, 0, "less than 1 min of less than 1 min; it is long enough at 2026-11-22 12:01 UTC, in 1 min"},
	} {
		e := good()
		heldFor(test.held)(&e)
		verdicts := Policy{Soak: test.soak}.judgeSoak(e)
		if len(verdicts) != 1 || verdicts[0].Gate != Soak || verdicts[0].Status != document.Pending || !strings.Contains(verdicts[0].Message, test.message) {
			t.Errorf("%s of %s:\n got %+v\nwant %s", test.held, test.soak, verdicts, test.message)
			continue
		}
		free := verdicts[0].FreeAt
		if free == nil || !free.Equal(now.Add(test.soak-test.held)) || free.Location() != time.UTC {
			t.Errorf("%s of %s is free at %v", test.held, test.soak, free)
		}
	}
}

// TestSoakPassesWhenItSaid judges again at the instant that the verdict named, and
// right before it.
func TestSoakPassesWhenItSaid(t *testing.T) {
	for range 1000 {
		p := Policy{Soak: time.Duration(rand.Int64N(int64(400*day))) + 1}
		e := good()
		heldFor(time.Duration(rand.Int64N(int64(p.Soak))))(&e)
		first := p.judgeSoak(e)
		if first[0].Status != document.Pending || first[0].FreeAt == nil {
			t.Fatalf("%s held since %s: %+v", p.Soak, e.From.Since, first)
		}
		e.Now = *first[0].FreeAt
		if got := p.judgeSoak(e); got[0].Status != document.Pass {
			t.Fatalf("at %s: %+v", e.Now, got)
		}
		e.Now = e.Now.Add(-1)
		if got := p.judgeSoak(e); got[0].Status != document.Pending {
			t.Fatalf("before %s: %+v", first[0].FreeAt, got)
		}
	}
}

func TestNoSoakHasNoVerdict(t *testing.T) {
	if got := (Policy{}).judgeSoak(good()); got != nil {
		t.Errorf("%+v", got)
	}
}
