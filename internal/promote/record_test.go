package promote_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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
		line := s.rows()[1]
		want := map[string]string{
			"environment": "production", "mode": "promote", "result": "promoted", "from": "staging", "repository": s.target.Host() + "/prod/app",
			"digest": i.Root, "previous-digest": s.image("a").Root, "tags": "production,latest," + release, "actor": "joe",
			"reason": "TICKET-1 <b>", "run": "https://github.com/acme/app/actions/runs/1001", "previous-record": first.digest, "record-tag": p.tag,
			"bytes": fmt.Sprint(sizeOf(t, s.source, "acme/app", i.Root)),
		}
		for _, name := range []string{"time", "moved"} {
			if at, err := time.Parse(time.RFC3339Nano, line.notes[name]); err != nil || at.Before(began) || at.After(time.Now()) || !strings.HasSuffix(line.notes[name], "Z") {
				t.Errorf("%s is %q", name, line.notes[name])
			}
			delete(line.notes, name)
		}
		if !maps.Equal(line.notes, want) || line.size != int64(len(p.raw)) {
			t.Errorf("the line says %v, want %v", line.notes, want)
		}
	})
}

// TestRecordOfEveryKind of run: a plan that is applied, a retag, no environment, fixed tags alone, no config.
func TestRecordOfEveryKind(t *testing.T) {
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
				if reserved := tagsWithout(t, s.target, s.repo, "promotion-ledger-"+test.key, p[0].tag); len(reserved) > 0 {
					t.Errorf("more of them: %q", reserved)
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
			if len(p) != 1 || len(l) != 1 || l[0].record != p[0].digest || l[0].notes["result"] != "promoted" || d.Promotions[n].Record != p[0].digest || p[0].subject != f.new[n].Root {
				t.Fatalf("records %v, lines %v", p, l)
			}
			if p[0].says["previousDigest"] != f.old[n].Root || l[0].notes["release"] != p[0].says["release"] {
				t.Errorf("it says %v, the line %v", p[0].says, l[0].notes)
			}
			releases[p[0].says["release"]] = true
		}
		if len(releases) != 1 || releases[nil] || releases[""] {
			t.Errorf("releases %v", releases)
		}
	})
}

// TestRecordComesFirst: before every tag, and the ledger's line last.
func TestRecordComesFirst(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a", "production", fixed+"v1")
		want := []string{"image", "list", "record", "journal", "v1", "production", "journal", "ledger"}
		if o.Referrers {
			want = slices.DeleteFunc(want, func(w string) bool { return w == "list" })
		}
		ahead := slices.Index(want, "journal") // in any order: the image is copied meanwhile
		got := reservedWrites(s.target)
		if slices.Sort(got[:ahead]); !slices.Equal(got, want) {
			t.Errorf("written %q, want %q", got, want)
		}
		s.target.ResetRequests()
		s.promoted("b")
		want = slices.DeleteFunc(want, func(w string) bool { return w == "v1" || w == "journal" })
		ahead = slices.Index(want, "production")
		got = reservedWrites(s.target)
		if slices.Sort(got[:ahead]); !slices.Equal(got, want) {
			t.Errorf("written %q, want %q", got, want)
		}
	})
}

// TestRecordThatCannotBeWritten: then nothing moves, whatever of it fails.
func TestRecordThatCannotBeWritten(t *testing.T) {
	long(t)
	t.Parallel()
	record := func(q *http.Request) bool {
		return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-record-")
	}
	list := func(q *http.Request) bool {
		return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/sha256-")
	}
	for name, test := range map[string]struct {
		match  func(*http.Request) bool
		status int
		says   string
	}{
		"refused":                    {record, http.StatusForbidden, "promotion-record-production-"},
		"broken":                     {record, http.StatusInternalServerError, "promotion-record-production-"},
		"invalid":                    {record, http.StatusBadRequest, "promotion-record-production-"},
		"list refused":               {list, http.StatusForbidden, "sha256-"},
		"reading the ledger refused": {func(q *http.Request) bool { return strings.Contains(q.URL.Path, "/manifests/promotion-ledger") }, http.StatusForbidden, "promotion-ledger-production"},
		"reading the record refused": {func(q *http.Request) bool {
			return q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/manifests/promotion-record-")
		}, http.StatusForbidden, "promotion-record-production-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, regtest.Options{})
			s.promoted("a")
			s.refuse(test.status, test.match)
			r := s.bring("b", "production", fixed+"v1")
			read := strings.HasPrefix(name, "reading")
			if read {
				r.Job.Attempt = "2" // which looks for what the first has recorded
			}
			client := impatient()
			d := runWith(t, t.Context(), client, r, &watcher{})
			faulted(t, d, document.Failed, test.says)
			if !read && !strings.Contains(d.Faults[0].Message, "nothing has moved") {
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
	}
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
		faulted(t, d, document.Failed, "nothing has moved", fmt.Sprint(status))
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
