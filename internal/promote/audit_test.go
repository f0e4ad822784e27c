package promote_test

import (
	"cmp"
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

// kinds are those of an audit's findings, in order.
func kinds(d document.Report) string {
	var all []string
	for _, f := range d.Findings {
		kind := string(f.Kind)
		if f.Repaired {
			kind += " (repaired)"
		}
		all = append(all, kind)
	}
	return strings.Join(all, ", ")
}

// tells expects findings of these kinds, which together say all of that, each with a hint.
func tells(t testing.TB, d document.Report, want string, says ...string) {
	t.Helper()
	result := document.Clean
	for kind := range strings.SplitSeq(want, ", ") {
		if kind != "" && !strings.HasSuffix(kind, "(repaired)") {
			result = document.Findings
		}
	}
	expect(t, d, result)
	if got := kinds(d); got != want {
		t.Errorf("found %q, want %q: %+v", got, want, d.Findings)
	}
	var all strings.Builder
	for _, f := range d.Findings {
		fmt.Fprintln(&all, f.Message)
		if f.Hint == "" || f.Environment == "" || f.Reference == "" || f.Message == "" {
			t.Errorf("it lacks something: %+v", f)
		}
	}
	for _, s := range says {
		if !strings.Contains(all.String(), s) {
			t.Errorf("no finding says %q:\n%s", s, all.String())
		}
	}
}

// TestAuditFindsNothing where everything is as it was promoted, and writes nothing.
func TestAuditFindsNothing(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newShop(t, o)
		images := []*regtest.Image{picture("a"), picture("b"), picture("c"), picture("d"), picture("e")}
		for n, image := range images {
			s.promote("staging", image)
			s.promote("production", image, fmt.Sprint("v", n))
		}
		s.visit(visit{env: "production", image: images[3], outcome: document.OutcomeRolledBack, fixed: []string{"v3-again"}})
		s.visit(visit{env: "production", image: images[4], outcome: document.OutcomeFailed, moved: []string{}})
		for _, repair := range []bool{false, true} {
			r := s.ask(promote.Audit, s.stage("staging"), s.stage("production", "production", "new-in-the-config"))
			r.Repair = repair
			d := run(t, r)
			tells(t, d, "")
			at := s.at.Host() + "/" + aisle + ":"
			if want := []string{at + "staging", at + "production"}; !slices.Equal(d.Audited, want) || len(d.Notices) > 0 {
				t.Errorf("audited %v, notices %q", d.Audited, d.Notices)
			}
			if got := d.Uncompared; len(got) != 1 || got[0].Environment != "production" || got[0].Reference != at+"new-in-the-config" || got[0].Reason != "it does not exist, and no record names it" {
				t.Errorf("not compared: %+v", got)
			}
			untouched(t, s.at)
		}
	})
}

// TestAuditFinds each kind of trouble, alone, says what is wrong, and what a repair leaves of it.
func TestAuditFinds(t *testing.T) {
	long(t)
	t.Parallel()
	a, b, c := picture("a"), picture("b"), picture("c")
	both := []string{"production", "latest"}
	for name, test := range map[string]struct {
		make   func(s *shop)
		want   string
		says   []string
		repair string // what a repair finds; "": the same
		then   string // what the next audit finds, after a repair; "": the same as without
	}{
		"a tag moved by hand": {
			make: func(s *shop) { s.promote("production", a); push(s, b, s.at, s.repo); s.tag("production", b.Root) },
			want: "drift", says: []string{":production holds " + b.Root + ", and its last record says " + a.Root, "outside of promotion", "actions/runs/1"},
		},
		"a tag that is gone": {
			make: func(s *shop) { s.promote("production", a); s.delete("production") },
			want: "drift", says: []string{":production does not exist", a.Root, "removed outside of promotion, at some time after"},
		},
		"another tag moved by hand": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				push(s, b, s.at, s.repo)
				s.tag("latest", b.Root)
			},
			want: "drift", says: []string{":latest holds " + b.Root},
		},
		"a tag that only an older record named": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				s.promote("production", b)
			},
		},
		"a tag that a failure left": {
			make: func(s *shop) {
				s.promote("production", a)
				s.visit(visit{env: "production", image: b, outcome: document.OutcomeFailed})
			},
			want: "drift", says: []string{"promote of " + b.Root, "(https://github.com/acme/app/actions/runs/2), failed"},
		},
		"a run that never said how it ended": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				s.visit(visit{env: "production", image: b, tags: both, moved: []string{"latest"}})
			},
			want: "drift, ledger", says: []string{":latest holds", "actions/runs/2), never said how it ended", "what became of 1 record"},
			repair: "drift, ledger (repaired)", then: "drift",
		},
		"a record without a line": {
			make: func(s *shop) {
				s.promote("production", a)
				s.visit(visit{env: "production", image: b})
			},
			want: "ledger", says: []string{"what became of 1 record", "actions/runs/2"}, repair: "ledger (repaired)", then: "clean",
		},
		"a record of what never moved": {
			make: func(s *shop) {
				s.promote("production", a)
				s.visit(visit{env: "production", image: b, moved: []string{}})
			},
			want: "ledger", says: []string{"what became of 1 record"}, repair: "ledger (repaired)", then: "clean",
		},
		"a lost ledger": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.delete("promotion-ledger-production")
			},
			want: "ledger", says: []string{"is gone", "2 records"}, repair: "ledger (repaired)", then: "clean",
		},
		"a lost ledger and the records' tags": {
			make: func(s *shop) {
				s.promote("production", a)
				s.delete("promotion-ledger-production")
				s.untagRecords("")
			},
			want: "ledger", says: []string{"is gone", "1 record"}, repair: "ledger (repaired)", then: "clean",
		},
		"something else in the ledger's place": {
			make: func(s *shop) { s.promote("production", a); s.tag("promotion-ledger-production", a.Root) },
			want: "ledger", says: []string{"promotion-ledger-production", "no ledger"},
		},
		"something else in a record's place": {
			make: func(s *shop) {
				s.promote("production", a)
				s.tag("promotion-record-production-"+strings.Repeat("0a", 16), a.Root)
			},
			want: "ledger", says: []string{"there is none that can be read"},
		},
		"nothing was ever recorded": {
			make: func(s *shop) { push(s, a, s.at, s.repo, "production") },
			want: "ledger", says: []string{"production: nothing was ever recorded, although ", "Expected: the tags production, latest and the ledger", a.Root},
		},
		"a line taken out": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(p ledgerPage) { p["layers"] = slices.Delete(p.lines(), 1, 2) })
			},
			want: "ledger", says: []string{"what became of 1 record", "actions/runs/2"}, repair: "ledger (repaired)", then: "clean",
		},
		"a line and its record taken out": {
			make: func(s *shop) {
				s.promote("production", a)
				record := s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(p ledgerPage) { p["layers"] = slices.Delete(p.lines(), 1, 2) })
				s.untagRecords(record)
			},
			want: "chain", says: []string{"(removed)", "which is in no line"},
		},
		"the end cut off": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(p ledgerPage) { p["layers"] = p.lines()[:1] })
			},
			want: "ledger", says: []string{"what became of 1 record"}, repair: "ledger (repaired)", then: "clean",
		},
		"the end cut off, and its record's tag": {
			make: func(s *shop) {
				s.promote("production", a)
				record := s.promote("production", b)
				s.tamper("production", func(p ledgerPage) { p["layers"] = p.lines()[:1] })
				s.untagRecords(record)
			},
			want: "ledger", says: []string{"what became of 1 record"}, repair: "ledger (repaired)", then: "clean",
		},
		"lines swapped": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(p ledgerPage) { l := p.lines(); l[0], l[1] = l[1], l[0] })
			},
			want: "chain, chain", says: []string{"(disordered)"},
		},
		"a line edited": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(p ledgerPage) { p.note(0, "actor", "eve") })
			},
			want: "chain", says: []string{"(altered)", "something else than the record"},
		},
		"a line that is none": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(p ledgerPage) { p.note(0, "time", "yesterday") })
			},
			want: "chain", says: []string{"(altered)", "cannot be relied on"},
		},
		"a fork": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(p ledgerPage) {
					first := p.lines()[0].(map[string]any)["digest"].(string)
					p.note(2, "previous-record", first)
				})
			},
			want: "chain, chain", says: []string{"(forked)", "(altered)"},
		},
		"a record's bytes gone": {
			make: func(s *shop) {
				record := s.promote("production", a)
				s.promote("production", b)
				s.untagRecords(record)
				s.deleteBlob(record)
			},
			// The record hangs on the image that a rollback would go to.
			want: "chain, rollback-target", says: []string{"(removed)", "is gone"},
		},
		"a layer gone": {
			make: func(s *shop) { s.promote("production", a); s.deleteBlob(layerOf(a)) },
			want: "image", says: []string{"production holds " + a.Root, "the blob " + layerOf(a) + " is gone"},
		},
		"layers gone": {
			make: func(s *shop) {
				s.promote("production", a)
				for _, blob := range a.Blobs {
					s.deleteBlob(blob.Digest)
				}
			},
			want: "image", says: []string{"blobs are gone"},
		},
		"a platform gone": {
			make: func(s *shop) { s.promote("production", a); s.delete(a.Children()[1]) },
			want: "image", says: []string{a.Children()[1] + " (linux/arm64), which is gone"},
		},
		"a signature gone": {
			make: func(s *shop) {
				s.promote("production", a)
				s.delete(digestTag(a.Root, ".sig"))
				s.delete(attached(a, ".sig"))
			},
			want: "image", says: []string{"production holds " + a.Root + ": the attachment " + attached(a, ".sig") + ", which its record lists, is gone"},
		},
		"an SBOM gone": {
			make: func(s *shop) { s.promote("production", a); s.delete(attached(a, "")) },
			want: "image", says: []string{attached(a, "") + ", which its record lists"},
		},
		"an SBOM gone of what was gone back to": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.visit(visit{env: "production", image: a, outcome: document.OutcomeRolledBack})
				s.delete(attached(a, ""))
			},
			want: "image", says: []string{"production holds " + a.Root, attached(a, "") + ", which its record lists"},
		},
		"a rollback target's SBOM gone": {
			make: func(s *shop) { s.promote("production", a); s.promote("production", b); s.delete(attached(a, "")) },
			want: "rollback-target", says: []string{attached(a, "") + ", which its record lists"},
		},
		"a rollback target's platform gone": {
			make: func(s *shop) { s.promote("production", a); s.promote("production", b); s.delete(a.Children()[0]) },
			want: "rollback-target", says: []string{"production can be rolled back to " + a.Root, a.Children()[0] + " (linux/amd64)"},
		},
		"a rollback target gone": {
			make: func(s *shop) { s.promote("production", a); s.promote("production", b); s.delete(a.Root) },
			want: "rollback-target", says: []string{"the image itself is gone"},
		},
		"the fourth rollback target gone": {
			make: func(s *shop) {
				for _, i := range []*regtest.Image{a, b, c, picture("d"), picture("e")} {
					s.promote("production", i)
				}
				s.delete(a.Root)
			},
		},
		"drift to what is not whole": {
			make: func(s *shop) {
				s.promote("production", a)
				push(s, b, s.at, s.repo)
				s.tag("production", b.Root)
				s.deleteBlob(layerOf(b))
			},
			want: "drift, image", says: []string{"production holds " + b.Root + ": the blob"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apis(t, func(t *testing.T, o regtest.Options) {
				s := newShop(t, o)
				test.make(s)
				s.at.ResetRequests()
				r := s.ask(promote.Audit, s.stage("production", both...))
				tells(t, run(t, r), test.want, test.says...)
				untouched(t, s.at)
				again := r
				again.Repair = true
				tells(t, run(t, again), cmp.Or(test.repair, test.want), test.says...)
				tells(t, run(t, r), strings.TrimPrefix(cmp.Or(test.then, test.want), "clean"))
			})
		})
	}
}

// attached is the digest of what hangs on an image: under cosign's tag, or, without a suffix, by its subject.
func attached(i *regtest.Image, suffix string) string {
	for _, m := range i.Manifests {
		if suffix != "" && strings.HasSuffix(m.Tag, suffix) || suffix == "" && m.Subject == i.Root {
			return m.Digest
		}
	}
	return ""
}

func layerOf(i *regtest.Image) string {
	for _, b := range i.Blobs {
		if strings.Contains(b.MediaType, "layer") {
			return b.Digest
		}
	}
	return ""
}

// TestAuditBesideAPromotion does not take one that is under way for one that was ended.
func TestAuditBesideAPromotion(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Referrers: true})
	s.promote("production", picture("a"))
	s.visit(visit{env: "production", image: picture("b"), moved: []string{}, ended: s.now.Add(-time.Minute)})
	r := s.ask(promote.Audit, s.stage("production"))
	r.Repair = true
	d := run(t, r)
	tells(t, d, "")
	if !strings.Contains(strings.Join(d.Notices, "\n"), "may be under way (https://github.com/acme/app/actions/runs/2)") {
		t.Errorf("notices %q", d.Notices)
	}
	untouched(t, s.at)
	r.Started = s.now.Add(time.Hour)
	tells(t, run(t, r), "ledger (repaired)")
}

// TestAuditOfSeveral has the findings of each in the order that was asked for; what cannot be read is one, and what
// was not asked for is not looked at.
func TestAuditOfSeveral(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Wrap: refusing("secret/app")})
	a, b := picture("a"), picture("b")
	s.promote("staging", a)
	s.promote("production", b)
	s.promote("canary", a)
	s.tag("staging", b.Root)
	s.tag("production", a.Root)
	s.tag("canary", b.Root)
	secret, canary := s.stage("secret"), s.stage("canary")
	secret.Repository, _ = split(t, s.at.Host()+"/secret/app")
	canary.Asked = false
	d := run(t, s.ask(promote.Audit, secret, canary, s.stage("staging"), s.stage("production")))
	tells(t, d, "unreadable, drift, drift", "not you")
	for n, env := range []string{"secret", "staging", "production"} {
		if d.Findings[n].Environment != env {
			t.Errorf("finding %d is of %s, want %s", n, d.Findings[n].Environment, env)
		}
	}
}

// TestAuditSeesALittle: what one answer keeps from being found out does not hide the rest.
func TestAuditSeesALittle(t *testing.T) {
	long(t)
	t.Parallel()
	a, b := picture("a"), picture("b")
	for path, want := range map[string]string{
		"/tags/list":                             "unreadable, drift",
		"/manifests/promotion-ledger-production": "unreadable",
		"/manifests/production":                  "unreadable",
		"/manifests/" + a.Root:                   "drift, unreadable",
		"/blobs/" + layerOf(b):                   "drift, unreadable",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			refuse := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, path) }
			s := newShop(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if refuse(q) && q.Method != http.MethodPut {
						http.Error(w, "{}", http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, q)
				})
			})})
			withLedger := strings.Contains(path, "ledger")
			if !withLedger { // which is read in order to record
				s.promote("production", a)
				s.promote("production", b)
				push(s, picture("c"), s.at, s.repo)
				s.tag("production", picture("c").Root)
			}
			tells(t, run(t, s.ask(promote.Audit, s.stage("production"))), want)
		})
	}
}

// TestRepairFails is an error, with the findings beside it.
func TestRepairFails(t *testing.T) {
	long(t)
	t.Parallel()
	refuse := false
	s := newShop(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if refuse && q.Method == http.MethodPut {
				http.Error(w, "{}", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	})})
	s.promote("production", picture("a"))
	s.visit(visit{env: "production", image: picture("b")})
	refuse = true
	r := s.ask(promote.Audit, s.stage("production"))
	r.Repair = true
	d := run(t, r)
	faulted(t, d, document.Failed, "repair the ledger of production")
	if kinds(d) != "ledger" {
		t.Errorf("found %s", kinds(d))
	}
}

// TestAuditIsBounded: of a long ledger the newest records are read, and of many findings of one kind the first are told.
func TestAuditIsBounded(t *testing.T) {
	long(t)
	t.Parallel()
	s := &shop{TB: t, at: regtest.Serve(t, regtest.Options{Referrers: true}), repo: aisle, began: time.Now().UTC()}
	s.now = s.began.Add(manyRecords * time.Minute)
	s.fill(picture("a"), picture("b")) // whose records are none
	d := run(t, s.ask(promote.Audit, s.stage("production")))
	expect(t, d, document.Findings)
	chain := slices.DeleteFunc(slices.Clone(d.Findings), func(f document.Finding) bool { return f.Kind != document.FindingChain })
	if len(chain) != 21 || !strings.Contains(chain[20].Message, "180 more") {
		t.Errorf("%d findings: %+v", len(chain), chain)
	}
	read := 0
	for _, q := range ours(s.at) {
		if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
			read++
		}
	}
	if read > 200 {
		t.Errorf("%d records read", read)
	}
}

// TestStageWithoutTags of its own, as they are named anew each time, holds what its records say.
func TestStageWithoutTags(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Referrers: true})
	a, b := picture("a"), picture("b")
	for n, image := range []*regtest.Image{a, b} {
		s.visit(visit{env: "nightly", image: image, tags: []string{fmt.Sprint("night-", n)}, outcome: document.OutcomePromoted})
	}
	stage := s.stage("nightly")
	stage.Tags = nil
	d := run(t, s.ask(promote.History, stage))
	if l := d.Lineage[0]; l.Digest != b.Root || !l.Recorded || l.Actor != "person-2" || l.Reference != s.at.Host()+"/"+aisle {
		t.Errorf("%+v", l)
	}
	tells(t, run(t, s.ask(promote.Audit, stage)), "")
	s.delete(b.Children()[0])
	tells(t, run(t, s.ask(promote.Audit, stage)), "image", "nightly holds "+b.Root)
}
