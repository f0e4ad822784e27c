package promote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// reasons are what the records of a history say, newest first.
func reasons(h document.History) (all []string) {
	for _, line := range h.Lines {
		all = append(all, strings.TrimPrefix(line.Reason, "TICKET-"))
	}
	return all
}

// TestHistory lists what is asked for of what happened, newest first.
func TestHistory(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newShop(t, o)
		a, b, c := picture("a"), picture("b"), picture("c")
		s.promote("production", a)
		s.promote("production", b)
		s.visit(visit{env: "production", image: c, outcome: document.OutcomeFailed, moved: []string{}})
		s.visit(visit{env: "production", image: c, moved: []string{}})
		s.visit(visit{env: "production", image: a, outcome: document.OutcomeRolledBack})
		s.promote("production", c)
		s.tamper("production", func(all []entry) []entry { all[3].outcome.State = "lost"; return all })
		for name, test := range map[string]struct {
			query   promote.Query
			want    string
			older   bool
			leftOut int
		}{
			"all":                    {promote.Query{}, "6 5 3 2 1", false, 1},
			"the newest":             {promote.Query{Limit: 1}, "6", true, 0},
			"as many as there are":   {promote.Query{Limit: 5}, "6 5 3 2 1", false, 1},
			"all but the first":      {promote.Query{Limit: 4}, "6 5 3 2", true, 1},
			"more than there are":    {promote.Query{Limit: 100}, "6 5 3 2 1", false, 1},
			"since the third":        {promote.Query{Since: s.began.Add(3 * time.Hour)}, "6 5 3", false, 1},
			"since after the third":  {promote.Query{Since: s.began.Add(3*time.Hour + 1)}, "6 5", false, 1},
			"two since the second":   {promote.Query{Since: s.began.Add(2 * time.Hour), Limit: 2}, "6 5", true, 0},
			"since the last":         {promote.Query{Since: s.began.Add(99 * time.Hour)}, "", false, 0},
			"where b was":            {promote.Query{Find: digestHash(t, b.Root)}, "5 3 2", false, 1},
			"the last of b":          {promote.Query{Find: digestHash(t, b.Root), Limit: 1}, "5", true, 0},
			"what was never there":   {promote.Query{Find: digestHash(t, digestOf("x"))}, "", false, 0},
			"c, since the rollback":  {promote.Query{Find: digestHash(t, c.Root), Since: s.began.Add(5 * time.Hour)}, "6", false, 0},
			"a, where it was before": {promote.Query{Find: digestHash(t, a.Root)}, "6 5 2 1", false, 0},
		} {
			r := s.ask(promote.History, s.stage("production"))
			r.Query = test.query
			d := run(t, r)
			expect(t, d, document.Listed)
			if len(d.Histories) != 1 {
				t.Fatalf("%s: %d histories", name, len(d.Histories))
			}
			h := d.Histories[0]
			if got := strings.Join(reasons(h), " "); got != test.want || h.Older != test.older || h.LeftOut != test.leftOut || h.Missing {
				t.Errorf("%s: %q, older %v, left out %d, missing %v; want %q, %v, %d", name, got, h.Older, h.LeftOut, h.Missing, test.want, test.older, test.leftOut)
			}
			if h.Environment != "production" || h.Repository != s.at.Host()+"/"+aisle || h.Ledger != h.Repository+":promotion-ledger.env.production.a" {
				t.Errorf("%s: %+v", name, h)
			}
		}
		untouched(t, s.at)
	})
}

// TestLineage shows what every environment holds, and since when, of those too that were not asked for.
func TestLineage(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newShop(t, o)
		a, b := picture("a"), picture("b")
		s.promote("staging", a)
		s.promote("production", a)
		s.promote("staging", b)
		s.promote("drifted", a)
		s.tag("drifted", b.Root)
		s.tag("wild", a.Root)
		dev := s.stage("dev")
		staging, production, wild, drifted := s.stage("staging"), s.stage("production"), s.stage("wild"), s.stage("drifted")
		production.From, wild.From, drifted.From = "staging", "", ""
		for _, stage := range []*promote.Stage{&dev, &staging, &wild, &drifted} {
			stage.Asked = false
		}
		d := run(t, s.ask(promote.History, dev, staging, production, wild, drifted))
		expect(t, d, document.Listed)
		if len(d.Histories) != 1 || len(d.Lineage) != 5 {
			t.Fatalf("%d histories, %d stations", len(d.Histories), len(d.Lineage))
		}
		at := s.at.Host() + "/" + aisle + ":"
		for n, want := range []document.Holding{
			{Environment: "dev", Reference: at + "dev"},
			{Environment: "staging", From: "dev", Reference: at + "staging", Digest: b.Root, Recorded: true, Actor: "person-3", Since: s.began.Add(3 * time.Hour)},
			{Environment: "production", From: "staging", Reference: at + "production", Digest: a.Root, Recorded: true, Actor: "person-2", Since: s.began.Add(2 * time.Hour)},
			{Environment: "wild", Reference: at + "wild", Digest: a.Root},
			{Environment: "drifted", Reference: at + "drifted", Digest: b.Root},
		} {
			if got := d.Lineage[n]; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		untouched(t, s.at)
	})
}

// TestHistoryOfNothing says so.
func TestHistoryOfNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{})
	s.promote("staging", picture("a"))
	d := run(t, s.ask(promote.History, s.stage("production")))
	expect(t, d, document.Listed)
	if h := d.Histories[0]; !h.Missing || len(h.Lines) != 0 || h.Lines == nil {
		t.Errorf("%+v", h)
	}
}

// TestHistory_States shows what is pending, failed or interrupted too.
func TestHistory_States(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{})
	a, b := picture("a"), picture("b")
	s.promote("production", a)
	for _, o := range []document.Outcome{document.OutcomeFailed, document.OutcomeInterrupted, ""} {
		s.visit(visit{env: "production", image: b, outcome: o, moved: []string{}})
	}
	d := run(t, s.ask(promote.History, s.stage("production")))
	expect(t, d, document.Listed)
	var got []string
	for _, l := range d.Histories[0].Lines {
		got = append(got, string(l.Outcome))
	}
	if want := []string{"pending", "interrupted", "failed", "promoted"}; !slices.Equal(got, want) {
		t.Errorf("the history says %q, want %q", got, want)
	}
	untouched(t, s.at)
}

// TestHistory_OneHeadLost is all of it: the other head has every entry.
func TestHistory_OneHeadLost(t *testing.T) {
	long(t)
	t.Parallel()
	for n := range 2 {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			s := newShop(t, regtest.Options{Memory: m})
			s.promote("production", picture("a"))
			s.promote("production", picture("b"))
			s.delete(ledgerTags("env", "production")[n])
			s.at.ResetRequests()
			d := runWith(t, t.Context(), at(s.at), s.ask(promote.History, s.stage("production")), &watcher{})
			expect(t, d, document.Listed)
			if got := reasons(d.Histories[0]); d.Histories[0].Missing || strings.Join(got, " ") != "2 1" || len(d.Notices) > 0 {
				t.Errorf("%v, notices %q", got, d.Notices)
			}
			untouched(t, s.at)
		})
	}
}

// TestHistory_SegmentLost shows what the heads have, and says that there was more.
func TestHistory_SegmentLost(t *testing.T) {
	long(t)
	t.Parallel()
	for name, lose := range map[string]func(*shop){
		"deleted":     func(s *shop) { s.delete("promotion-ledger.env.production.1") },
		"overwritten": func(s *shop) { s.tag("promotion-ledger.env.production.1", picture("a").Root) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, regtest.Options{})
			s.fill(2, picture("a"), picture("b"))
			lose(s)
			s.at.ResetRequests()
			d := run(t, s.ask(promote.History, s.stage("production")))
			expect(t, d, document.Listed)
			told := strings.Join(d.Notices, "\n")
			if got := len(d.Histories[0].Lines); got != segmentSize+headSize || !strings.Contains(told, ":promotion-ledger.env.production.1") || !strings.Contains(told, "1 of its segments") || !strings.Contains(told, "see what mode audit says of it") {
				t.Errorf("%d listed, notices %q", got, d.Notices)
			}
			untouched(t, s.at)
		})
	}
}

// TestHistory_NoLedger: something else in the ledger's place is an error that says what to do.
func TestHistory_NoLedger(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{})
	s.promote("production", picture("a"))
	s.tag("promotion-ledger.env.production.b", picture("a").Root)
	d := run(t, s.ask(promote.History, s.stage("production")))
	faulted(t, d, document.Failed, "promotion-ledger.env.production.b", "it is not a ledger", "the other head of the ledger restores it")
}

// TestHistoryRemarks what the list leaves out.
func TestHistoryRemarks(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{})
	s.promote("production", picture("a"))
	s.promote("production", picture("b"))
	s.tamper("production", func(all []entry) []entry { all[0].intent.Number = 0; return all })
	d := run(t, s.ask(promote.History, s.stage("production")))
	expect(t, d, document.Listed)
	told := strings.Join(d.Notices, "\n")
	if got := reasons(d.Histories[0]); strings.Join(got, " ") != "2" || !strings.Contains(told, "1 entry of ") || !strings.Contains(told, "cannot be relied on") {
		t.Errorf("%v, notices %q", got, d.Notices)
	}
}

// TestFindEverywhere puts first where the image has been.
func TestFindEverywhere(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Referrers: true})
	a, b := picture("a"), picture("b")
	s.promote("dev", b)
	s.promote("staging", a)
	s.promote("production", b)
	s.promote("canary", a)
	r := s.ask(promote.History, s.stage("dev"), s.stage("staging"), s.stage("production"), s.stage("canary"))
	r.Query.Find = digestHash(t, a.Root)
	d := run(t, r)
	expect(t, d, document.Listed)
	var got []string
	for _, h := range d.Histories {
		got = append(got, fmt.Sprint(h.Environment, " ", len(h.Lines)))
	}
	if want := []string{"staging 1", "canary 1", "dev 0", "production 0"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

// refusing answers every request for a repository with a refusal.
func refusing(repo string) func(http.Handler) http.Handler {
	return forUs(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.HasPrefix(q.URL.Path, "/v2/"+repo+"/") {
				http.Error(w, `{"errors":[{"code":"DENIED","message":"not you"}]}`, http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	})
}

// TestOneCannotBeRead: the others are shown, and it is an error where it was asked for.
func TestOneCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{Wrap: refusing("secret/app")})
	s.promote("production", picture("a"))
	secret := s.stage("secret")
	secret.Repository, _ = split(t, s.at.Host()+"/secret/app")
	for _, asked := range []bool{true, false} {
		secret.Asked = asked
		d := run(t, s.ask(promote.History, secret, s.stage("production")))
		if asked {
			faulted(t, d, document.Failed, "not you", "secret/app")
			if len(d.Faults) != 1 {
				t.Errorf("%d faults: %+v", len(d.Faults), d.Faults)
			}
		} else {
			expect(t, d, document.Listed)
		}
		if len(d.Histories) != 1 || len(d.Histories[0].Lines) != 1 || len(d.Lineage) != 2 {
			t.Fatalf("asked %v: %+v, %+v", asked, d.Histories, d.Lineage)
		}
		if l := d.Lineage; !strings.Contains(l[0].Fault, "403") || l[1].Fault != "" || !l[1].Recorded {
			t.Errorf("asked %v: %+v", asked, l)
		}
	}
}

// TestHistory_ListsNoTags: the ledger is found by its name, so that a registry which lists no tags has a history too.
func TestHistory_ListsNoTags(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{Wrap: forUs(regtest.Answer(on(http.MethodGet, "/tags/list"), http.StatusForbidden, "application/json", []byte("{}")))})
	s.promote("production", picture("a"))
	d := run(t, s.ask(promote.History, s.stage("production")))
	expect(t, d, document.Listed)
	if len(d.Histories[0].Lines) != 1 || len(d.Notices) > 0 {
		t.Errorf("%+v, notices %q", d.Histories, d.Notices)
	}
	for _, q := range ours(s.at) {
		if strings.HasSuffix(q.Path, "/tags/list") {
			t.Error("it listed the tags")
		}
	}
}

// TestHistoryEnds with its context.
func TestHistoryEnds(t *testing.T) {
	long(t)
	t.Parallel()
	over := errors.New("it is over")
	for _, mode := range []promote.Mode{promote.History, promote.Audit} {
		for _, path := range []string{"/tags/list", "/manifests/promotion-ledger.env.production.b", "/manifests/production"} {
			if mode == promote.History && path == "/tags/list" {
				continue // which it does not ask for
			}
			ctx, end := context.WithCancelCause(t.Context())
			s := newShop(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if on(http.MethodGet, path)(q) {
						end(over)
						<-q.Context().Done()
						return
					}
					next.ServeHTTP(w, q)
				})
			})})
			push(t, picture("a"), s.at, s.repo, "production")
			d := runWith(t, ctx, anonymous(), s.ask(mode, s.stage("production"), s.stage("staging")), &watcher{})
			faulted(t, d, document.Failed, "it is over")
			for _, f := range d.Findings { // the other environment may have been read whole before
				if f.Environment != "staging" {
					t.Errorf("%s: %+v", path, f)
				}
			}
		}
	}
}
