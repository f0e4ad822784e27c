package promote_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// chain is two environments in one registry: what staging holds goes to production.
type chain struct{ *works }

func newChain(t testing.TB, o regtest.Options) chain {
	t.Helper()
	return chain{newWorks(t, o)}
}

// staged promotes to staging.
func (c chain) staged(name string) {
	c.Helper()
	r := c.bring(name, "staging")
	r.TargetEnv = "staging"
	expect(c, run(c, r), document.Promoted)
}

// backAtStaging rolls staging back.
func (c chain) backAtStaging() {
	c.Helper()
	r := c.back("", "staging")
	r.TargetEnv = "staging"
	expect(c, run(c, r), document.RolledBack)
}

// onwards promotes what staging holds to production, so long from now.
func (c chain) onwards(after time.Duration) promote.Request {
	c.Helper()
	r := c.nth(request(c, c.to("staging"), fmt.Sprint(c.target.Host(), "/live/app:live", c.runs))) // a tag that nothing holds
	repo, _ := split(c, c.target.Host()+"/"+c.repo)
	r.Items[0].From = &promote.From{Environment: "staging", Repository: repo, Tag: "staging"}
	r.Gates = &promote.Gates{Policy: gate.Policy{Soak: time.Hour}}
	r.Started = time.Now().Add(after).UTC()
	return r
}

// verdict is what a gate says of a run.
func verdict(t testing.TB, d document.Report, name string) document.Verdict {
	t.Helper()
	at := slices.IndexFunc(d.Promotions[0].Gates, func(v document.Verdict) bool { return v.Gate == name })
	if at < 0 {
		t.Fatalf("no verdict of %s in %+v", name, d.Promotions[0].Gates)
	}
	return d.Promotions[0].Gates[at]
}

func (c chain) expectSoak(after time.Duration, status document.Status, says ...string) {
	c.Helper()
	r := c.onwards(after)
	r.DryRun = true
	v := verdict(c, run(c, r), "soak")
	if v.Status != status {
		c.Errorf("soak after %s: %s: %s, want %s", after, v.Status, v.Message, status)
	}
	for _, s := range says {
		if !strings.Contains(v.Message, s) {
			c.Errorf("soak does not say %q: %s", s, v.Message)
		}
	}
}

// TestSoak is continuous: it begins anew with every other promotion and rollback.
func TestSoak(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		c := newChain(t, o)
		c.staged("a")
		began := time.Now()
		c.expectSoak(59*time.Minute, document.Pending, "59 min of 1 h")
		c.expectSoak(61*time.Minute, document.Pass)
		r := c.onwards(59 * time.Minute)
		c.target.ResetRequests()
		faulted(t, run(t, r), document.Denied, "soak")
		untouched(t, c.target)
		d := run(t, c.onwards(61*time.Minute))
		expect(t, d, document.Promoted)
		if p := papers(t, c.target, "live/app", "production"); len(p) != 1 || len(p[0].says["gates"].([]any)) != 2 || p[0].says["from"].(map[string]any)["environment"] != "staging" {
			t.Errorf("the record says %v", p)
		}

		expectUnchanged(t, c, "a") // once more what is there is no break
		c.expectSoak(time.Hour-time.Since(began)+time.Minute, document.Pass)
		wait := func() time.Time { // a moment that the next promotion comes after
			now := time.Now()
			for time.Since(now) < time.Millisecond {
			}
			return time.Now()
		}
		mark := wait()
		c.staged("b")
		expectSince(t, c, mark)
		mark = wait()
		c.backAtStaging()
		c.expectHolds("staging", "a")
		expectSince(t, c, mark) // not since it was there first
	})
}

// expectUnchanged promotes to staging what it holds.
func expectUnchanged(t testing.TB, c chain, name string) {
	t.Helper()
	r := c.bring(name, "staging")
	r.TargetEnv = "staging"
	expect(t, run(t, r), document.Unchanged)
}

// expectSince expects that what staging holds came after a moment: an hour after that it is not long enough there.
func expectSince(t testing.TB, c chain, mark time.Time) {
	t.Helper()
	r := c.onwards(0)
	r.Started, r.DryRun = mark.Add(time.Hour), true
	v := verdict(t, run(t, r), "soak")
	if v.Status != document.Pending || v.FreeAt == nil || !v.FreeAt.After(mark.Add(time.Hour)) || v.FreeAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("soak: %s: %s, free at %v; it came after %s", v.Status, v.Message, v.FreeAt, mark)
	}
}

// TestFromWithoutRecords falls back to the tag, and says so; soak does not.
func TestFromWithoutRecords(t *testing.T) {
	t.Parallel()
	c := newChain(t, regtest.Options{})
	c.hand("staging", "a")
	c.expectSoak(100*time.Hour, document.Fail, "nobody knows since when")
	r := c.onwards(0)
	r.Gates.Policy.Soak = 0
	d := run(t, r)
	expect(t, d, document.Promoted)
	if v := verdict(t, d, "from"); v.Status != document.Pass || !strings.Contains(v.Message, "only its tag says so") {
		t.Errorf("from: %s: %s", v.Status, v.Message)
	}
}

// TestFromThatDrifted is refused: what staging's tag shows is not what was promoted there.
func TestFromThatDrifted(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		c := newChain(t, o)
		c.staged("a")
		c.hand("staging", "x")
		for _, soak := range []time.Duration{0, time.Hour} {
			r := c.onwards(100 * time.Hour)
			r.Gates.Policy.Soak = soak
			c.target.ResetRequests()
			faulted(t, run(t, r), document.Denied, "gate from", c.image("x").Root[:15])
			untouched(t, c.target)
		}
		c.backAtStaging() // which takes the drift back
		r := c.onwards(100 * time.Hour)
		expect(t, run(t, r), document.Promoted)
	})
}

// TestFrom_OpenEntry: while the ledger of the environment before does not say how a promotion ended, neither from nor soak
// passes. Once it does, from knows the record, and soak counts from when the outcome was seen.
func TestFrom_OpenEntry(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for _, first := range []bool{true, false} {
			c := newChain(t, o)
			if !first {
				c.staged("z")
			}
			c.refuseOutcome(http.StatusForbidden, "staging")
			r := c.bring("a", "staging")
			r.TargetEnv = "staging"
			expectUnrecorded(t, run(t, r))
			c.refuse(0, nil)
			denied := run(t, c.onwards(100*time.Hour))
			expect(t, denied, document.Denied)
			for _, name := range []string{"from", "soak"} {
				if v := verdict(t, denied, name); v.Status != document.Unknown || !strings.HasPrefix(v.Message, "a promotion of "+c.image("a").Root+" to staging has not ended (https://github.com/acme/app/actions/runs/") {
					t.Errorf("first %v: %s: %s: %s", first, name, v.Status, v.Message)
				}
			}
			resolved := time.Now()
			expect(t, run(t, again(r)), document.Unchanged)
			d := run(t, c.onwards(time.Until(resolved.Add(61*time.Minute))))
			expect(t, d, document.Promoted)
			if v := verdict(t, d, "from"); v.Status != document.Pass || strings.Contains(v.Message, "only its tag") {
				t.Errorf("first %v: from: %s: %s", first, v.Status, v.Message)
			}
			c.expectSoak(59*time.Minute, document.Pending)
		}
	})
}

// TestFromWhoseLedgerCannotBeRead is not believed, and says why.
func TestFromWhoseLedgerCannotBeRead(t *testing.T) {
	t.Parallel()
	c := newChain(t, regtest.Options{})
	c.staged("a")
	c.refuse(http.StatusForbidden, func(q *http.Request) bool {
		return q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, "/manifests/promotion-ledger.env.staging.a")
	})
	r := c.onwards(100 * time.Hour)
	d := run(t, r)
	expect(t, d, document.Denied)
	for _, name := range []string{"from", "soak"} {
		if v := verdict(t, d, name); v.Status != document.Unknown || !strings.Contains(v.Message, "403") {
			t.Errorf("%s: %s: %s", name, v.Status, v.Message)
		}
	}
}

// TestFromWithAFailedAttempt: what failed there ends no stay.
func TestFromWithAFailedAttempt(t *testing.T) {
	t.Parallel()
	c := newChain(t, regtest.Options{})
	c.staged("a")
	c.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/beside"))
	r := c.bring("b", "staging", "beside")
	r.TargetEnv = "staging"
	expect(t, run(t, r), document.Failed)
	c.refuse(0, nil)
	if all := rows(t, c.target, c.repo, "staging"); len(all) != 2 || all[1].outcome.State != "failed" {
		t.Errorf("lines %v", all)
	}
	c.expectHolds("staging", "a")
	c.expectSoak(61*time.Minute, document.Pass)
}
