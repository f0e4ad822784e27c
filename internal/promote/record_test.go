package promote_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// approvers is a GitHub that tells who approved a run.
func approvers(t testing.TB) *github.Client {
	t.Helper()
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/repos/acme/app/actions/runs/1001/approvals" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `[{"state":"approved","comment":"","user":{"login":"boss"},"environments":[{"name":"production"}]},
			{"state":"rejected","comment":"","user":{"login":"no"},"environments":[{"name":"staging"}]},
			{"state":"approved","comment":"","user":{"login":"boss"},"environments":[{"name":"change-control"}]}]`)
	}))
	t.Cleanup(h.Close)
	c, err := github.New(github.Options{URL: h.URL, Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRecordSays: all that the issue lists, read by hand, on registries of both kinds.
func TestRecordSays(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		first := s.papers()[0]
		i := regtest.Build(regtest.Spec{Seed: "b", Platforms: []string{"linux/amd64"}, LayerSize: 64})
		sbom := i.Attach(i.Root, "application/spdx+json", "b")
		i.Sign(i.Root, ".sig", "b")
		push(t, i, s.source, "acme/app", "b")
		s.built["b"] = i

		s.runs = 0
		r := s.bring("b", "production", "latest", dated)
		from, _ := split(t, s.source.Host()+"/acme/app")
		r.Items[0].From = &promote.From{Environment: "staging", Repository: from, Tag: "b"}
		r.Job.Attempt, r.Job.TriggeringActor = "2", "joe"
		r.Reason = "TICKET-1 \u2028<b>"
		r.Config = &document.Config{Path: ".github/promotion.yml", Ref: "main", Digest: digestOf("config")}
		r.GitHub = approvers(t)
		r.Gates = &promote.Gates{
			Policy: gate.Policy{
				Deny:      []gate.Denial{{Digest: i.Root, Reason: "CVE-2026-1"}},
				Approvals: &gate.ApprovalPolicy{Environments: []string{"production"}},
			},
			Overridable: []string{"deny"}, Overrides: []string{"deny"},
		}
		began := time.Now()
		d := run(t, r)
		expect(t, d, document.Promoted)

		all := s.papers()
		if len(all) != 2 {
			t.Fatalf("%d records", len(all))
		}
		p := all[1]
		if p.says["entry"] != p.entry.intent.ID || len(p.entry.intent.ID) < 26 {
			t.Errorf("it is of the entry %v, and stands in %q", p.says["entry"], p.entry.intent.ID)
		}
		delete(p.says, "entry")
		verdicts, err := json.Marshal(d.Promotions[0].Gates)
		if err != nil || len(d.Promotions[0].Gates) != 3 {
			t.Fatalf("verdicts %s, %v", verdicts, err)
		}
		const release = "release-20261122-153000"
		expectPaper(t, p, r, began, fmt.Sprintf(`{
			"_type": "https://in-toto.io/Statement/v1",
			"subject": [{"name": %[1]q, "digest": {"sha256": %[2]q}}],
			"predicateType": "https://slsa.dev/verification_summary/v1",
			"predicate": {
				"verifier": {"id": "https://github.com/artifact-promotion/promote", "version": {"https://github.com/artifact-promotion/promote": "v1.2.3"}},
				"resourceUri": %[3]q,
				"policy": {"uri": ".github/promotion.yml@main", "digest": {"sha256": %[4]q}},
				"verificationResult": "PASSED", "verifiedLevels": [],
				"https://github.com/artifact-promotion/promote/record/v1": {
					"schemaVersion": 1, "mode": "promote", "environment": "production", "ledger": "production",
					"from": {"environment": "staging", "reference": %[5]q, "digest": %[6]q},
					"source": {"reference": %[5]q, "repository": %[7]q, "tag": "b"},
					"tags": [{"name": "production", "before": %[8]q, "after": %[6]q}, {"name": "latest", "after": %[6]q}, {"name": %[9]q, "fixed": true, "after": %[6]q}],
					"previousDigest": %[8]q, "actor": "jane", "triggeringActor": "joe", "approvers": ["boss"],
					"run": {"url": "https://github.com/acme/app/actions/runs/1001", "id": "1001", "attempt": "2", "job": "promote",
						"workflow": "acme/app/.github/workflows/promote.yml@refs/heads/main", "commit": %[10]q, "repository": "acme/app"},
					"reason": "TICKET-1 \u2028<b>", "gates": %[11]s, "overrides": ["deny"], "bytes": %[12]d,
					"attachments": [%[13]q, %[14]q], "previousRecord": %[15]q
				}
			}
		}`, s.target.Host()+"/prod/app", i.Root[7:], "oci://"+s.target.Host()+"/prod/app?environment=production", digestOf("config")[7:],
			s.source.Host()+"/acme/app:b", i.Root, s.source.Host()+"/acme/app", s.image("a").Root, release, strings.Repeat("c", 40),
			verdicts, sizeOf(t, s.source, "acme/app", i.Root), digestTag(i.Root, ".sig"), sbom, first.digest))

		s.expectFiled(p, d, o.Referrers)
		e := p.entry
		if !e.intent.Begun.Equal(e.outcome.Resolved) && e.outcome.Resolved.Before(e.intent.Begun) || e.outcome.State != "promoted" || e.outcome.By != "" || e.intent.Number != 2 {
			t.Errorf("begun %s, the outcome is %+v", e.intent.Begun, e.outcome)
		}
		line := e.intent.Line
		if line.Time.Before(began) || line.Time.After(time.Now()) || line.Time.Location() != time.UTC {
			t.Errorf("the line is of %s", line.Time)
		}
		want := entryLine{
			Time: line.Time, Environment: "production", Mode: "promote", From: "staging", Repository: s.target.Host() + "/prod/app",
			Digest: i.Root, PreviousDigest: s.image("a").Root, Tags: []string{"production", "latest", release}, Actor: "joe",
			Reason: "TICKET-1 <b>", Run: "https://github.com/acme/app/actions/runs/1001", Entry: e.intent.ID,
			Record: p.digest, Size: int64(len(p.raw)), Bytes: sizeOf(t, s.source, "acme/app", i.Root), PreviousRecord: first.digest,
		}
		if !reflect.DeepEqual(line, want) {
			t.Errorf("the line says %+v, want %+v", line, want)
		}
		old := s.image("a").Root
		if want := []entryTag{{Name: "production", Found: old, Back: old, After: i.Root}, {Name: "latest", After: i.Root}, {Name: release, Fixed: true, After: i.Root}}; !slices.Equal(e.intent.Tags, want) {
			t.Errorf("its tags are %+v, want %+v", e.intent.Tags, want)
		}
		if want := map[string]string{"production": i.Root, "latest": i.Root, release: i.Root}; !maps.Equal(e.outcome.Held, want) {
			t.Errorf("they held %v", e.outcome.Held)
		}
		if want := (entryRun{Repository: "acme/app", ID: "1001", Attempt: 2, Job: "promote", URL: "https://github.com/acme/app/actions/runs/1001"}); e.intent.Run != want {
			t.Errorf("its run is %+v", e.intent.Run)
		}
	})
}

// TestRecordOfEveryKind of run: a plan that is applied, a retag, no environment, fixed tags alone, no config.
func TestRecordOfEveryKind(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		t.Run("a plan that is applied", func(t *testing.T) {
			s := newWorks(t, o)
			r := s.bring("a")
			plan := makePlan(t, r, s.target)
			a := applying(t, plan)
			a.TargetEnv, a.Job, a.Version, a.Started = "production", r.Job, r.Version, r.Started
			d := run(t, a)
			expect(t, d, document.Promoted)
			p := s.papers()
			if len(p) != 1 || p[0].says["mode"] != "promote" || p[0].says["run"].(map[string]any)["id"] != r.Job.RunID {
				t.Fatalf("records %v", p)
			}
			s.expectFiled(p[0], d, o.Referrers)
			s.expectOutcomes("a promoted")
		})
		t.Run("within one repository", func(t *testing.T) {
			s := newWorks(t, o)
			s.hand("staging", "a")
			d := run(t, s.nth(request(t, s.to("staging"), s.to("production"))))
			expect(t, d, document.Promoted)
			p := s.papers()
			if len(p) != 1 || p[0].says["bytes"] != float64(s.image("a").Size()) || p[0].says["previousDigest"] != nil {
				t.Fatalf("records %v", p)
			}
			s.expectFiled(p[0], d, o.Referrers)
		})
		for name, test := range map[string]struct{ tags, key, resource string }{
			"no environment":              {"stable latest " + fixed + "v1", "stable", "?tag=stable"},
			"no environment, fixed first": {fixed + "v1 stable", "stable", "?tag=stable"},
			"fixed tags alone":            {fixed + "v1 " + fixed + "v2", "v1", "?tag=v1"},
		} {
			t.Run(name, func(t *testing.T) {
				s := newWorks(t, o)
				var tags []string
				for _, tag := range strings.Split(strings.ReplaceAll(test.tags, fixed, "fixed_"), " ") {
					tags = append(tags, strings.ReplaceAll(tag, "fixed_", fixed))
				}
				r := s.bring("a", tags...)
				r.TargetEnv = ""
				d := run(t, r)
				expect(t, d, document.Promoted)
				p := papers(t, s.target, s.repo, test.key)
				l := rows(t, s.target, s.repo, test.key)
				if len(p) != 1 || len(l) != 1 || l[0].record != p[0].digest || d.Promotions[0].Record != p[0].digest {
					t.Fatalf("records %v, lines %v", p, l)
				}
				if p[0].says["environment"] != nil || p[0].says["ledger"] != test.key || p[0].says["previousDigest"] != nil ||
					p[0].whole["predicate"].(map[string]any)["resourceUri"] != "oci://"+s.target.Host()+"/prod/app"+test.resource ||
					len(p[0].says["tags"].([]any)) != len(tags) {
					t.Errorf("it says %v", p[0].whole)
				}
				if got, want := ourTags(t, s.target, s.repo), ledgerTags("tag", test.key); !slices.Equal(got, want[:]) {
					t.Errorf("tags of ours: %q", got)
				}
			})
		}
		t.Run("config none", func(t *testing.T) {
			s := newWorks(t, o)
			r := s.bring("a")
			r.NoGates = true
			d := run(t, r)
			expect(t, d, document.Promoted)
			p := s.papers()
			if len(p) != 1 || p[0].whole["predicate"].(map[string]any)["policy"] != nil || len(p[0].says["gates"].([]any)) != 0 || p[0].says["environment"] != "production" {
				t.Fatalf("records %v", p)
			}
			s.expectFiled(p[0], d, o.Referrers)
			if got, want := ourTags(t, s.target, s.repo), ledgerTags("tag", "production"); !slices.Equal(got, want[:]) {
				t.Errorf("tags of ours: %q", got)
			}
		})
		t.Run("without a workflow", func(t *testing.T) {
			s := newWorks(t, o)
			for _, name := range []string{"a", "b", "a"} {
				r := s.bring(name)
				r.Job = document.Job{}
				expect(t, run(t, r), document.Promoted)
			}
			s.expectRecords(3)
			s.expectOutcomes("a promoted", "b promoted", "a promoted")
		})
	})
}

// TestRecordsOfARelease share what names it, and each stands in its own repository.
func TestRecordsOfARelease(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		f := newFleet(t, o)
		r := f.request(t, "dev")
		r.TargetEnv, r.Job = "production", document.Job{RunID: "1", Attempt: "1", Name: "promote"}
		d := run(t, r)
		expect(t, d, document.Promoted)
		releases := map[any]bool{}
		for n := range ships {
			p, l := papers(t, f.target, repoOf(n), "production"), rows(t, f.target, repoOf(n), "production")
			if len(p) != 1 || len(l) != 1 || l[0].record != p[0].digest || l[0].outcome.State != "promoted" || d.Promotions[n].Record != p[0].digest || p[0].subject != f.new[n].Root {
				t.Fatalf("records %v, lines %v", p, l)
			}
			if p[0].says["previousDigest"] != f.old[n].Root || l[0].intent.Line.Release != p[0].says["release"] {
				t.Errorf("it says %v, the line %v", p[0].says, l[0].intent.Line)
			}
			if members := p[0].says["members"].([]any); len(members) != ships {
				t.Errorf("members %v", members)
			}
			releases[p[0].says["release"]] = true
		}
		if len(releases) != 1 || releases[nil] || releases[""] {
			t.Errorf("releases %v", releases)
		}
	})
}

// TestEntryComesFirst: before every tag, and its outcome last, beside what attaches the record to the image.
func TestEntryComesFirst(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a", "production", fixed+"v1")
		expectWrites(t, s.target, o.Referrers, []string{"image", "ledger", "ledger"}, "ledger", "v1", "production")
		s.target.ResetRequests()
		s.promoted("b")
		expectWrites(t, s.target, o.Referrers, []string{"image"}, "ledger", "production")
	})
}

// expectWrites expects these writes, the first ones in any order, and the outcome after them; with the record beside it if
// that is attached.
func expectWrites(t *testing.T, at *regtest.Registry, attached bool, anyOrder []string, inOrder ...string) {
	t.Helper()
	last := []string{"ledger"}
	if attached {
		last = []string{"image", "ledger"}
	}
	want, got := slices.Concat(anyOrder, inOrder, last), reservedWrites(at)
	if len(got) == len(want) {
		slices.Sort(got[:len(anyOrder)])
		slices.Sort(got[len(got)-len(last):])
	}
	if !slices.Equal(got, want) {
		t.Errorf("written %q, want %q", got, want)
	}
}

// TestEntryThatCannotBeWritten: then nothing moves, whatever of it fails.
func TestEntryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	reading := func(q *http.Request) bool {
		return q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/promotion-ledger.")
	}
	for name, test := range map[string]struct {
		match  func(*http.Request) bool
		status int
		long   bool
	}{
		"refused":         {match: noLedger, status: http.StatusForbidden},
		"invalid":         {match: noLedger, status: http.StatusBadRequest},
		"too large":       {match: noLedger, status: http.StatusRequestEntityTooLarge},
		"broken":          {match: noLedger, status: http.StatusInternalServerError, long: true}, // it is tried again for a while
		"reading refused": {match: reading, status: http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			if test.long {
				long(t)
			}
			t.Parallel()
			inBubble(t, func(t *testing.T, _ *regtest.Memory) {
				s := newWorks(t, regtest.Options{})
				s.promoted("a")
				s.refuse(test.status, test.match)
				r := s.bring("b", "production", fixed+"v1")
				d := runWith(t, t.Context(), impatient(t), r, &watcher{})
				faulted(t, d, document.Failed, "promotion-ledger.env.production.", fmt.Sprint(test.status))
				if name != "reading refused" && !strings.HasPrefix(d.Faults[0].Message, "cannot write the promotion record; no tag was moved: ") {
					t.Errorf("it does not say that nothing has moved: %s", d.Faults[0].Message)
				}
				s.expectHolds("production", "a")
				s.expectHolds("v1", "")
				s.expectOutcomes("a promoted")
				if hint := d.Faults[0].Hint; hint == "" {
					t.Error("it does not say what to do")
				}
				s.refuse(0, nil)
				d = run(t, again(r))
				expect(t, d, document.Promoted)
				s.expectHolds("production", "b")
				s.expectRecords(2)
				s.expectOutcomes("a promoted", "b promoted")
			})
		})
	}
}

// TestFirstLedgerThatCannotBeWritten is found out before the image is copied.
func TestFirstLedgerThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.refuse(http.StatusBadRequest, noLedger)
	d := run(t, s.bring("a"))
	faulted(t, d, document.Failed, "no tag was moved", "400")
	if got := reservedWrites(s.target); slices.Contains(got, "image") {
		t.Errorf("written %q", got)
	}
	s.expectHolds("production", "")
}

// TestRecordsBlobIsRefused: the image is at the target already, so that only the record is uploaded.
func TestRecordsBlobIsRefused(t *testing.T) {
	long(t)
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusRequestEntityTooLarge} {
		s := newWorks(t, regtest.Options{})
		s.hand("candidate", "b")
		s.promoted("a")
		s.refuse(status, func(q *http.Request) bool { return q.Method == http.MethodPost })
		d := run(t, s.bring("b"))
		faulted(t, d, document.Failed, "no tag was moved", fmt.Sprint(status))
		s.expectHolds("production", "a")
		s.expectRecords(1)
		s.expectOutcomes("a promoted")
	}
}

// TestDenialWritesNothing, nor does who only looks.
func TestDenialWritesNothing(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, test := range map[string]struct {
			want   document.Result
			change func(*works, *promote.Request)
		}{
			"a gate": {document.Denied, func(s *works, r *promote.Request) {
				r.Gates = &promote.Gates{Policy: gate.Policy{Deny: []gate.Denial{{Digest: s.image("b").Root, Reason: "bad"}}}}
			}},
			"a fixed tag that is taken": {document.Denied, func(s *works, _ *promote.Request) { s.hand("v1", "c") }},
			"another digest":            {document.Denied, func(s *works, r *promote.Request) { r.Items[0].Source.Digest = digestHash(s, s.image("c").Root) }},
			"a dry run":                 {document.WouldPromote, func(_ *works, r *promote.Request) { r.DryRun = true }},
			"a plan":                    {document.Planned, func(_ *works, r *promote.Request) { r.Mode, r.ValidFor = promote.Plan, time.Hour }},
			"no such source":            {document.Failed, func(_ *works, r *promote.Request) { r.Items[0].Source.Tag = "none" }},
		} {
			t.Run(name, func(t *testing.T) {
				s := newWorks(t, o)
				s.promoted("a")
				r := s.bring("b", "production", fixed+"v1")
				r.Job.Attempt = "2"
				test.change(s, &r)
				s.target.ResetRequests()
				expect(t, run(t, r), test.want)
				untouched(t, s.target)
				s.expectOutcomes("a promoted")
			})
		}
	})
}

// TestNothingToDoWritesNothing: what is in place already is not recorded again.
func TestNothingToDoWritesNothing(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		first := s.promoted("a")
		s.target.ResetRequests()
		d := run(t, s.bring("a"))
		expect(t, d, document.Unchanged)
		untouched(t, s.target)
		if d.Promotions[0].Record != first.Promotions[0].Record || !d.Promotions[0].Recorded {
			t.Errorf("it names the record %q", d.Promotions[0].Record)
		}
	})
}

// TestImageThatWasNeverRecorded is in place already: that is no record, and none is made up.
func TestImageThatWasNeverRecorded(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.hand("production", "a")
	s.target.ResetRequests()
	d := run(t, s.bring("a"))
	expect(t, d, document.Unchanged)
	untouched(t, s.target)
	if d.Promotions[0].Record != "" || d.Promotions[0].Recorded {
		t.Errorf("it names the record %q", d.Promotions[0].Record)
	}
}
