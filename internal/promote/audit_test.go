package promote_test

import (
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

// audit audits production and its tags.
func (s *shop) audit(tags ...string) document.Report {
	s.Helper()
	return s.do(s.ask(promote.Audit, s.stage("production", tags...)))
}

// do makes a run, which reaches a registry in a bubble too.
func (s *shop) do(r promote.Request) document.Report {
	s.Helper()
	return runWith(s, s.Context(), at(s.at), r, &watcher{})
}

// really promotes an image that is there, as the program does it.
func (s *shop) really(image *regtest.Image, tags ...string) {
	s.Helper()
	push(s, image, s.at, s.repo)
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.at.Host()+"/"+s.repo+":"+tag)
	}
	r := request(s, s.at.Host()+"/"+s.repo+"@"+image.Root, targets...)
	r.TargetEnv, r.Started, r.Lease = "production", s.now, settle
	expect(s, s.do(r), document.Promoted)
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
		d := run(t, s.ask(promote.Audit, s.stage("staging"), s.stage("production", "production", "new-in-the-config")))
		tells(t, d, "")
		at := s.at.Host() + "/" + aisle + ":"
		if want := []string{at + "staging", at + "production"}; !slices.Equal(d.Audited, want) || len(d.Notices) > 0 {
			t.Errorf("audited %v, notices %q", d.Audited, d.Notices)
		}
		if got := d.Uncompared; len(got) != 1 || got[0].Environment != "production" || got[0].Reference != at+"new-in-the-config" || got[0].Reason != "it does not exist, and no record names it" {
			t.Errorf("not compared: %+v", got)
		}
		untouched(t, s.at)
	})
}

// TestAuditFinds each kind of trouble, alone, says what is wrong, and writes nothing. What its hint says makes it go away.
func TestAuditFinds(t *testing.T) {
	long(t)
	t.Parallel()
	a, b, c := picture("a"), picture("b"), picture("c")
	both := []string{"production", "latest"}
	for name, test := range map[string]struct {
		make func(s *shop)
		want string
		says []string
		mend func(s *shop) // nil: nothing does but time
		then string        // what is found after that
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
			want: "drift", says: []string{"promotion of " + b.Root, "(https://github.com/acme/app/actions/runs/2), failed"},
		},
		"a run that died midway": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				s.visit(visit{env: "production", image: b, tags: both, moved: []string{"latest"}})
			},
			want: "drift, ledger", says: []string{
				":latest holds", "actions/runs/2), never said how it ended",
				"The promotion of " + b.Root + " to production, begun 1999-12-27 22:00:00 UTC", "(https://github.com/acme/app/actions/runs/2), never ended: its run died while its tags moved",
			},
			mend: func(s *shop) { s.really(b, both...) },
		},
		"a run that died when all had moved": {
			make: func(s *shop) {
				s.promote("production", a)
				s.visit(visit{env: "production", image: b})
			},
			want: "drift, ledger", says: []string{"actions/runs/2), never said how it ended", "never ended: its run died"},
			mend: func(s *shop) { s.really(c, "production") },
		},
		"a run that died before anything had moved": {
			make: func(s *shop) {
				s.promote("production", a)
				s.visit(visit{env: "production", image: b, moved: []string{}})
			},
			want: "ledger", says: []string{"The promotion of " + b.Root + " to production", "never ended: its run died"},
			mend: func(s *shop) { s.really(c, "production") },
		},
		"tags that were interrupted": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				s.visit(visit{env: "production", image: b, tags: both, outcome: document.OutcomeInterrupted, moved: []string{"latest"}})
			},
			want: "drift, ledger", says: []string{
				"actions/runs/2), was interrupted: it has moved the tag",
				":latest points to " + b.Root + " since a promotion that was interrupted 1999-12-27 22:00:00 UTC", "(https://github.com/acme/app/actions/runs/2): it is not complete",
			},
			mend: func(s *shop) { s.really(b, both...) },
		},
		"tags that were interrupted, and promoted again since": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, tags: both, outcome: document.OutcomePromoted})
				s.visit(visit{env: "production", image: b, tags: both, outcome: document.OutcomeInterrupted, moved: []string{"latest"}})
				s.visit(visit{env: "production", image: c, tags: both, outcome: document.OutcomePromoted})
			},
		},
		"the first head lost": {
			make: func(s *shop) { s.promote("production", a); s.delete("promotion-ledger.env.production.a") },
			want: "ledger", says: []string{"One of the two heads of the ledger of production is missing", "a clean-up, has deleted it"},
			mend: func(s *shop) { s.really(b, "production") },
		},
		"the second head lost": {
			make: func(s *shop) { s.promote("production", a); s.delete("promotion-ledger.env.production.b") },
			want: "ledger", says: []string{"One of the two heads of the ledger of production is missing"},
			mend: func(s *shop) { s.really(b, "production") },
		},
		"a lost ledger": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				for _, head := range ledgerTags("env", "production") {
					s.delete(head)
				}
			},
			want: "ledger", says: []string{"nothing was ever recorded, although"}, mend: func(s *shop) { s.really(c, both...) },
		},
		"something else in the ledger's place": {
			make: func(s *shop) {
				s.promote("production", a)
				s.tag("promotion-ledger.env.production.a", a.Root)
			},
			want: "ledger", says: []string{"promotion-ledger.env.production.a", "it is not a ledger"},
			mend: func(s *shop) { s.delete("promotion-ledger.env.production.a"); s.really(b, "production") },
		},
		"another environment's ledger in its place": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("staging", a)
				text := headWith(s, "env", "staging", 9, s.books["staging"])
				if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, "promotion-ledger.env.production.b", manifestOCI, text); err != nil {
					s.Fatal(err)
				}
			},
			want: "ledger", says: []string{`it is the ledger of "env:staging", not of "env:production"`},
			mend: func(s *shop) { s.publish("production") },
		},
		"nothing was ever recorded": {
			make: func(s *shop) { push(s, a, s.at, s.repo, "production") },
			want: "ledger", says: []string{"production: nothing was ever recorded, although ", "Expected: the tags production, latest and the ledger", a.Root},
		},
		"an entry taken out": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(all []entry) []entry { return slices.Delete(all, 1, 2) })
			},
			want: "chain, chain, chain", says: []string{
				"(removed): entry 3 was begun after the entry ", "(removed): entry 3 follows the record sha256:",
				"(moved): entry 3 found tag production at " + b.Root + ", and the entry before it left it at " + a.Root,
			},
		},
		"the end cut off": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(all []entry) []entry { return all[:1] })
			},
			want: "drift", says: []string{":production holds " + b.Root, "outside of promotion"},
			mend: func(s *shop) { s.really(c, "production") }, then: "chain", // it found what the record before does not say
		},
		"entries swapped": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(all []entry) []entry {
					all[0].intent.Number, all[1].intent.Number = 2, 1
					return all
				})
			},
			want: "chain, chain, chain", says: []string{"(forked): entry 2 follows no entry, although there are older ones", "(moved)"},
		},
		"an entry edited": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(all []entry) []entry { all[0].intent.Line.Actor = "eve"; return all })
			},
			want: "chain", says: []string{"(altered): entry 1 does not say what its record says"},
			mend: func(s *shop) {
				s.tamper("production", func(all []entry) []entry { all[0].intent.Line.Actor = "person-1"; return all })
			},
		},
		"an entry of another record": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(all []entry) []entry { all[1].intent.ID = "entry-9"; return all })
			},
			want: "chain", says: []string{"(altered): entry 2 does not say what its record says"},
		},
		"an entry that is none": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.tamper("production", func(all []entry) []entry { all[0].outcome.State = "lost"; return all })
			},
			want: "chain", says: []string{"(altered): an entry cannot be relied on"},
		},
		"a fork": {
			make: func(s *shop) {
				s.promote("production", a)
				s.promote("production", b)
				s.promote("production", c)
				s.tamper("production", func(all []entry) []entry { all[2].intent.Line.PreviousRecord = all[0].record; return all })
			},
			want: "chain, chain", says: []string{"(forked): entries 2 and 3 follow the same record", "(altered)"},
		},
		"a tag moved by hand, and promoted again since": {
			make: func(s *shop) {
				s.promote("production", a)
				s.push(c, "production")
				s.promote("production", b)
			},
			want: "chain", says: []string{"(moved): entry 2 found tag production at " + c.Root + ", and the entry before it left it at " + a.Root},
		},
		"a record's bytes gone": {
			make: func(s *shop) {
				record := s.promote("production", a)
				s.promote("production", b)
				s.deleteBlob(record)
			},
			want: "chain", says: []string{"(removed): the record sha256:", "is missing"},
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
				inBubble(t, func(t *testing.T, m *regtest.Memory) { // a head that is missing is looked for for a while
					o.Memory = m
					s := newShop(t, o)
					test.make(s)
					s.at.ResetRequests()
					tells(t, s.audit(both...), test.want, test.says...)
					untouched(t, s.at)
					if test.mend != nil {
						test.mend(s)
						tells(t, s.audit(both...), test.then)
					}
				})
			})
		})
	}
}

// TestAuditBesideAPromotion does not take one that is under way for one that was ended.
func TestAuditBesideAPromotion(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Referrers: true})
	s.promote("production", picture("a"))
	s.visit(visit{env: "production", image: picture("b"), moved: []string{}, ended: s.now.Add(-time.Minute)})
	r := s.ask(promote.Audit, s.stage("production"))
	d := run(t, r)
	tells(t, d, "")
	if !strings.Contains(strings.Join(d.Notices, "\n"), "may be under way (https://github.com/acme/app/actions/runs/2)") {
		t.Errorf("notices %q", d.Notices)
	}
	untouched(t, s.at)
	r.Started = s.now.Add(time.Hour)
	tells(t, run(t, r), "ledger")
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
		"/tags/list": "unreadable, drift",
		"/manifests/promotion-ledger.env.production.a": "unreadable",
		"/manifests/promotion-ledger.env.production.b": "unreadable",
		"/manifests/production":                        "unreadable",
		"/manifests/" + a.Root:                         "drift, unreadable",
		"/blobs/" + layerOf(b):                         "drift, unreadable",
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
			s.promote("production", a)
			s.promote("production", b)
			s.push(picture("c"), "production")
			tells(t, run(t, s.ask(promote.Audit, s.stage("production"))), want)
		})
	}
}

// TestAudit_SegmentLost: it is said which, and goes away with the segment that was written.
func TestAudit_SegmentLost(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{})
	s.fill(2, picture("a"), picture("b"))
	const first = "promotion-ledger.env.production.1"
	_, raw, err := regtest.GetManifest(t.Context(), s.at.Access("", ""), s.repo, first)
	if err != nil {
		t.Fatal(err)
	}
	lost := func() (all []document.Finding) {
		d := s.audit()
		return slices.DeleteFunc(d.Findings, func(f document.Finding) bool { return f.Kind != document.FindingLedger })
	}
	expectLost := func(what string) {
		t.Helper()
		all := lost()
		if len(all) != 1 || all[0].Reference != s.at.Host()+"/"+aisle+":"+first || !strings.Contains(all[0].Message, "1 of its segments") || all[0].Hint == "" {
			t.Errorf("%s: found %+v", what, all)
		}
	}
	s.delete(first)
	expectLost("deleted")
	s.tag(first, picture("a").Root)
	expectLost("something else in its place")
	s.putHead(first, 0, 1, "", nil, []entry{s.past(0, "", []*regtest.Image{picture("a"), picture("b")})})
	expectLost("another segment in its place")
	if err := regtest.PutManifest(t.Context(), s.at.Access("", ""), s.repo, first, manifestOCI, raw); err != nil {
		t.Fatal(err)
	}
	if all := lost(); len(all) > 0 {
		t.Errorf("written again: found %+v", all)
	}
}

// TestAudit_AttachedRecord: a record that is attached to what the stage holds, is of its ledger, and is not in it was
// forged, or the ledger was cut. Nothing counts what it says.
func TestAudit_AttachedRecord(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newShop(t, o)
		a, b := picture("a"), picture("b")
		promoted := func(i *regtest.Image) {
			push(t, i, s.at, s.repo)
			r := request(t, s.at.Host()+"/"+s.repo+"@"+i.Root, s.at.Host()+"/"+s.repo+":production")
			r.TargetEnv, r.AttachRecords = "production", true
			expect(t, run(t, r), document.Promoted)
		}
		promoted(a)
		promoted(b)
		tells(t, s.audit(), "")
		whole := rows(t, s.at, s.repo, "production")
		s.books["production"] = whole[:1]
		s.publish("production")
		s.tag("production", b.Root)
		tells(t, s.audit(), "drift, ledger", "The image "+b.Root+" has a record attached that says that it is of production, and the ledger does not have it")
		d := run(t, s.ask(promote.History, s.stage("production")))
		if lines := d.Histories[0].Lines; len(lines) != 1 || lines[0].Digest != a.Root {
			t.Errorf("the history says %+v", lines)
		}
		forged := 0
		tree := read(t, s.at, s.repo, b.Root)
		for _, digest := range slices.Concat(tree.Listed[b.Root], tree.Fallback[b.Root]) {
			if _, raw, err := regtest.GetManifest(t.Context(), s.at.Access("", ""), s.repo, digest); err == nil && strings.Contains(string(raw), whole[1].record) {
				forged++
				s.delete(digest)
			}
		}
		if forged != 1 {
			t.Errorf("%d records attached", forged)
		}
		if !o.Referrers {
			s.delete(digestTag(b.Root, "")) // the list has it still
		}
		tells(t, s.audit(), "drift")
	})
}

// TestAuditIsBounded: of a long ledger the newest records are read, and of many findings of one kind the first are told.
func TestAuditIsBounded(t *testing.T) {
	long(t)
	t.Parallel()
	s := &shop{TB: t, at: regtest.Serve(t, regtest.Options{Referrers: true}), repo: aisle, began: time.Now().UTC()}
	s.now = s.began.Add(manyRecords * time.Minute)
	s.fill(manySegments, picture("a"), picture("b")) // whose records are none
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
