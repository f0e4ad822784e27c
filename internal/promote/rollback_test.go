package promote_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// goesBack rolls back and expects where it goes.
func (s *works) goesBack(to, name string, tags ...string) document.Report {
	s.Helper()
	d := run(s, s.back(to, tags...))
	expect(s, d, document.RolledBack)
	s.expectHolds("production", name)
	return d
}

// stays expects that a rollback fails, says that, and that it has written nothing.
func (s *works) stays(r promote.Request, want document.Result, says ...string) document.Report {
	s.Helper()
	d := s.staysPut(r, want, says...)
	untouched(s, s.target)
	return d
}

// staysPut is stays, but for the entry that the run may have: that says that it failed.
func (s *works) staysPut(r promote.Request, want document.Result, says ...string) document.Report {
	s.Helper()
	held, counted := s.holds("production"), s.counted()
	s.target.ResetRequests()
	d := run(s, r)
	faulted(s, d, want, says...)
	if got := s.holds("production"); got != held {
		s.Errorf("production holds %s", s.named(got))
	}
	if got := s.counted(); !slices.Equal(got, counted) {
		s.Errorf("the ledger says %q, and said %q", got, counted)
	}
	for _, w := range writes(s.target) {
		if strings.HasSuffix(w, "/manifests/production") {
			s.Errorf("written: %s", w)
		}
	}
	return d
}

// counted are the outcomes of what counts.
func (s *works) counted() []string {
	return slices.DeleteFunc(s.outcomes(), func(o string) bool { return strings.HasSuffix(o, "failed") })
}

// TestRollback goes to the image before, and again further back, and says so in a record of its own.
func TestRollback(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		for _, name := range []string{"a", "b", "c", "d"} {
			s.promoted(name)
		}
		last := s.papers()[3]
		r := s.back("")
		s.target.ResetRequests()
		d := run(t, r)
		expect(t, d, document.RolledBack)
		expectTag(t, d, ":production", document.TagMoved, s.image("d").Root, s.image("c").Root)
		t.Logf("a rollback in one repository: %d requests", len(ours(s.target)))
		p := s.papers()[4]
		if p.says["mode"] != "rollback" || p.says["reason"] != "INC-1" || p.says["previousDigest"] != s.image("d").Root || p.says["previousRecord"] != last.digest ||
			p.says["bytes"] != float64(s.image("c").Size()) || p.says["source"].(map[string]any)["reference"] != s.target.Host()+"/prod/app@"+s.image("c").Root {
			t.Errorf("the record says %v", p.says)
		}
		s.expectFiled(p, d, o.Referrers)
		if b := d.Promotions[0].Brought; b == nil || b.Digest != s.image("c").Root || b.Outcome != document.OutcomePromoted || b.Run != "https://github.com/acme/app/actions/runs/1003" {
			t.Errorf("brought by %+v", b)
		}
		s.goesBack("", "b")
		s.promoted("e")
		s.goesBack("", "b")
		s.goesBack("", "a")
		s.stays(s.back(""), document.Failed, "nothing to go back to", "to: sha256:")
		s.expectOutcomes("a promoted", "b promoted", "c promoted", "d promoted", "c rolled-back", "b rolled-back", "e promoted", "b rolled-back", "a rolled-back")
		s.promoted("d") // what was rolled back from counts again once it is brought back
		s.promoted("f")
		s.goesBack("", "d")
		s.goesBack("", "a")
	})
}

// TestRollbackTo an image, a tag, a record; and what stands in the way.
func TestRollbackTo(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	for _, name := range []string{"a", "b", "c"} {
		s.promoted(name, "production", dated)
	}
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/production"))
	expect(t, run(t, s.bring("x", "production", fixed+"x")), document.Failed)
	s.refuse(0, nil)
	s.goesBack(s.image("a").Root, "a")
	all := s.papers()
	s.goesBack(all[1].digest, "b")
	s.goesBack(s.releases()[2], "c")
	s.goesBack(all[4].digest, "a") // the rollback to a
	s.stays(s.back(all[3].digest), document.Denied, all[3].digest, "failed")
	s.stays(s.back("release-none"), document.Failed, "no tag", "release-none", s.releases()[2])
	s.stays(s.back(digestOf("nothing")), document.Failed, digestOf("nothing"))
	d := run(t, s.back(s.image("a").Root))
	expect(t, d, document.Unchanged)
	s.expectRecords(8)
	// What was never there, but is in the repository.
	s.hand("candidate", "new")
	s.goesBack("candidate", "new")
	s.stays(s.back(""), document.Failed, "nothing to go back to") // as all that was there before was rolled back from
	s.promoted("b")
	s.goesBack("", "new")
}

// TestRollbackOfTheFirst recorded promotion: to what it replaced, which no record tells of.
func TestRollbackOfTheFirst(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.hand("production", "old")
		s.promoted("a")
		d := s.goesBack("", "old")
		if !told(d, "No record says") || d.Promotions[0].Brought != nil {
			t.Errorf("told %q, brought by %+v", d.Notices, d.Promotions[0].Brought)
		}
		s.stays(s.back(""), document.Failed, "nothing to go back to")
		s.promoted("b")
		s.goesBack("", "old")

		empty := newWorks(t, o)
		empty.promoted("a")
		empty.stays(empty.back(""), document.Failed, "nothing to go back to", "to: sha256:")
	})
}

// TestRollbackWithoutALedger: what the tags offer is listed, and a digest is enough.
func TestRollbackWithoutALedger(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		for _, tag := range []string{"v1", "v2", "v3"} {
			s.hand(tag, tag)
		}
		s.hand("production", "v3")
		d := s.stays(s.back(""), document.Failed, "nothing to go back to", "v1 ("+s.image("v1").Root+")", "v2 ("+s.image("v2").Root+")")
		if strings.Contains(d.Faults[0].Hint, s.image("v3").Root) {
			t.Errorf("it offers what is there: %s", d.Faults[0].Hint)
		}
		s.goesBack(s.image("v2").Root, "v2")
		s.expectOutcomes("v2 rolled-back")
		if p := s.papers()[0]; p.says["previousDigest"] != s.image("v3").Root {
			t.Errorf("it says %v", p.says)
		}
		s.goesBack("v1", "v1")
	})
}

// TestRollbackOfALostLedger: nothing tells what was there, a digest is enough, and the ledger begins again.
func TestRollbackOfALostLedger(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		for _, name := range []string{"a", "b", "c"} {
			s.promoted(name)
		}
		for _, head := range ledgerTags("env", "production") {
			s.delete(head)
		}
		s.stays(s.back(""), document.Failed, "no record tells", "to: sha256:")
		s.goesBack(s.image("b").Root, "b")
		s.expectOutcomes("b rolled-back")
		s.promoted("a")
		s.goesBack("", "b")
	})
}

// TestRollbackOfALostHead: the other one has all, and the ledger has two again afterwards.
func TestRollbackOfALostHead(t *testing.T) {
	long(t)
	t.Parallel()
	for n, head := range ledgerTags("env", "production") {
		t.Run(head, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, _ *regtest.Memory) {
				s := newWorks(t, regtest.Options{Referrers: n == 0})
				for _, name := range []string{"a", "b", "c"} {
					s.promoted(name)
				}
				s.delete(head)
				s.goesBack("", "b")
				s.expectOutcomes("a promoted", "b promoted", "c promoted", "b rolled-back")
				for _, head := range ledgerTags("env", "production") {
					if s.holds(head) == "" {
						t.Errorf("%s is missing", head)
					}
				}
				s.goesBack("", "a")
			})
		})
	}
}

// TestRollbackFromDrift: a tag that was moved by hand goes to what the records say.
func TestRollbackFromDrift(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a")
	s.promoted("b")
	s.hand("production", "x")
	if d := s.goesBack("", "b"); !told(d, "which no record") {
		t.Errorf("told %q", d.Notices)
	}
	s.goesBack("", "a")
	s.hand("production", "b") // to one that it held before
	s.goesBack("", "a")
	s.expectOutcomes("a promoted", "b promoted", "b rolled-back", "a rolled-back", "a rolled-back")
}

// TestRollbackWritesFixedTagsAnew, and lets alone what is taken.
func TestRollbackWritesFixedTagsAnew(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{Immutable: func(_, tag string) bool { return strings.HasPrefix(tag, "release-") || tag == "v1" }})
	s.promoted("a", "production", dated)
	s.promoted("b", "production", dated, fixed+"v1")
	r := s.back("", "production", dated, fixed+"v1")
	d := run(t, r)
	expect(t, d, document.RolledBack)
	s.expectHolds("production", "a")
	s.expectHolds(datedAt(r), "a")
	s.expectHolds("v1", "b")
	if !told(d, "v1") {
		t.Errorf("told %q", d.Notices)
	}
	tags := s.papers()[2].says["tags"].([]any)
	if len(tags) != 2 || tags[1].(map[string]any)["name"] != datedAt(r) {
		t.Errorf("the record says %v", tags)
	}
}

// TestRollbackIsHeldToDenials alone, which can be overridden where the config lets it.
func TestRollbackIsHeldToDenials(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a")
	s.promoted("b")
	r := s.back("")
	r.Gates = &promote.Gates{Policy: gate.Policy{Deny: []gate.Denial{{Digest: s.image("a").Root, Reason: "CVE-2026-1"}}}, Overridable: []string{"deny"}}
	s.stays(r, document.Denied, "CVE-2026-1", "override-gates: deny")
	s.expectRecords(2)
	overridden := *r.Gates
	overridden.Overrides = []string{"deny"}
	r.Gates = &overridden
	expect(t, run(t, r), document.RolledBack)
	s.expectHolds("production", "a")
	p := s.papers()[2]
	if fmt.Sprint(p.says["overrides"]) != "[deny]" || p.whole["predicate"].(map[string]any)["verificationResult"] != "PASSED" || p.says["reason"] != "INC-1" {
		t.Errorf("the record says %v", p.whole)
	}
}

// TestRollbackDryRun writes nothing, and says where it would go.
func TestRollbackDryRun(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		s.promoted("b")
		s.refuse(http.StatusForbidden, onceTagsMove(noLedger))
		expectUnrecorded(t, run(t, s.bring("c")))
		s.refuse(0, nil)
		r := s.back("")
		r.DryRun = true
		s.target.ResetRequests()
		d := run(t, r)
		expect(t, d, document.WouldPromote)
		untouched(t, s.target)
		if d.Promotions[0].Digest != s.image("b").Root {
			t.Errorf("it would go to %s", s.named(d.Promotions[0].Digest))
		}
	})
}

// TestRollbackToWhatIsGone says what is missing, offers the next older one, and moves nothing.
func TestRollbackToWhatIsGone(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, test := range map[string]struct {
			gone func(s *works, i *regtest.Image) string // what it takes away
		}{
			"the image":  {func(s *works, i *regtest.Image) string { s.delete(i.Root); return i.Root }},
			"a platform": {func(s *works, i *regtest.Image) string { s.delete(i.Children()[1]); return i.Children()[1] }},
			"a layer": {func(s *works, i *regtest.Image) string {
				digest := layerOf(i)
				if err := regtest.DeleteBlob(s.Context(), s.target.Access("", ""), s.repo, digest); err != nil {
					s.Fatal(err)
				}
				return digest
			}},
			"a signature": {func(s *works, i *regtest.Image) string {
				s.delete(digestTag(i.Root, ".sig"))
				return digestTag(i.Root, ".sig")
			}},
			"a referrer": {func(s *works, i *regtest.Image) string {
				tree := read(s, s.source, "acme/app", i.Root)
				digest := tree.Referrers(i.Root)[0]
				s.delete(digest)
				return digest
			}},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, o)
				i := picture("b")
				push(t, i, s.source, "acme/app", "b")
				s.built["b"] = i
				for _, name := range []string{"a", "b", "c"} {
					s.promoted(name)
				}
				gone := test.gone(s, i)
				s.staysPut(s.back(""), document.Failed, "no longer whole", gone, "to: "+s.image("a").Root)
				s.goesBack(s.image("a").Root, "a")
			})
		}
	})
}

// TestRollbackWithinARepository whose promotions copied nothing knows of signatures, and of what the referrers API listed.
func TestRollbackWithinARepository(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, test := range map[string]struct {
			gone  func(i *regtest.Image) string
			noted bool
		}{
			"a signature": {func(i *regtest.Image) string { return digestTag(i.Root, ".sig") }, true},
			"a referrer":  {func(i *regtest.Image) string { return attached(i, "") }, o.Referrers},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := newWorks(t, o)
				b := picture("b")
				push(t, b, s.target, s.repo, "b")
				s.built["b"] = b
				push(t, s.image("a"), s.target, s.repo, "a")
				for _, tag := range []string{"b", "a"} {
					r := s.bring("a")
					r.Items = requestOf(item(t, s.to(tag), s.to("production"))).Items
					expect(t, run(t, r), document.Promoted)
				}
				gone := test.gone(b)
				s.delete(gone)
				if !test.noted {
					s.goesBack("", "b")
					return
				}
				before := s.holds("production")
				d := run(t, s.back(""))
				faulted(t, d, document.Failed, "no longer whole", gone)
				if !strings.Contains(d.Faults[0].Hint, "attachments: none") || s.holds("production") != before {
					t.Errorf("production holds %s, and the hint is %s", s.holds("production"), d.Faults[0].Hint)
				}
				r := s.back("")
				r.Attachments = false
				expect(t, run(t, r), document.RolledBack)
				if s.holds("production") != b.Root {
					t.Errorf("production holds %s", s.holds("production"))
				}
			})
		}
	})
}

// TestRollbackWhoseOldRecordIsGone: that hangs on the image too, but is no part of it.
func TestRollbackWhoseOldRecordIsGone(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		s.promoted("b")
		s.goesBack("", "a")
		p := s.papers()[2]
		if first := s.papers()[0]; p.says["restores"] != first.digest || p.says["attachments"] != nil || p.says["bytes"] != first.says["bytes"] {
			t.Errorf("the record says %v, and what it restores is %s with %v bytes", p.says, first.digest, first.says["bytes"])
		}
		attached := read(s, s.target, s.repo, s.image("a").Root).Listed[s.image("a").Root]
		if (len(attached) > 0) != o.Referrers {
			t.Errorf("%d records are attached", len(attached))
		}
		for _, digest := range attached {
			s.delete(digest)
		}
		s.promoted("c")
		s.goesBack("", "a")
	})
}

// TestRollbackRefused at a tag: what had moved is put back, and the next goes to the same image.
func TestRollbackRefused(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	for _, name := range []string{"a", "b", "c"} {
		s.promoted(name, "production", "latest")
	}
	s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
	expect(t, run(t, s.back("", "production", "latest")), document.Failed)
	s.expectHolds("production", "c")
	s.expectHolds("latest", "c")
	s.refuse(0, nil)
	s.expectOutcomes("a promoted", "b promoted", "c promoted", "b failed")
	s.goesBack("", "b", "production", "latest")
}

// fleetAt is a fleet whose images were released one after the other, to an environment.
type fleetAt struct {
	*fleet
	*testing.T
	runs int
}

func (f *fleetAt) nth(r promote.Request) promote.Request {
	f.runs++
	r.TargetEnv, r.Job = "production", document.Job{Repository: "acme/app", RunID: fmt.Sprint(f.runs), Attempt: "1", Name: "promote", Actor: "jane"}
	return r
}

// release promotes some images by a tag of the source.
func (f *fleetAt) release(tag string, which ...int) document.Report {
	f.Helper()
	d := run(f, f.nth(f.request(f.T, tag, which...)))
	expect(f, d, document.Promoted)
	return d
}

func (f *fleetAt) back(to string, which ...int) promote.Request {
	f.Helper()
	if len(which) == 0 {
		which = []int{0, 1, 2}
	}
	var items []promote.Item
	for _, n := range which {
		repo := f.target.Host() + "/" + repoOf(n)
		i := item(f.T, repo, repo+":production")
		i.Image = fmt.Sprint("app", n)
		items = append(items, i)
	}
	r := requestOf(items...)
	r.Lease = settle
	return backTo(f.T, f.nth(r), to)
}

// expectAll expects what production holds in each repository, by the first letters: old, dev, next.
func (f *fleetAt) expectAll(want string) {
	f.Helper()
	for n, name := range strings.Fields(want) {
		images := map[string][]*regtest.Image{"old": f.old, "dev": f.new, "next": f.next, "third": f.third}[name]
		f.expectTag(f.T, want, n, "production", images[n].Root)
	}
}

// TestRollbackOfARelease: what the newest release has brought goes back together, and the rest stays.
func TestRollbackOfARelease(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		o.Delete = true
		f := &fleetAt{fleet: newFleet(t, o), T: t}
		first := f.release("dev")
		f.release("next", 0, 1)
		f.expectAll("next next dev")
		d := run(t, f.back(""))
		expect(t, d, document.RolledBack)
		f.expectAll("dev dev dev")
		if len(d.Promotions) != 2 || !told(d, "app2 stays as it is") {
			t.Errorf("%d promotions, told %q", len(d.Promotions), d.Notices)
		}
		if n := len(papers(t, f.target, repoOf(2), "production")); n != 1 {
			t.Errorf("%d records of what stayed", n)
		}
		d = run(t, f.back(""))
		expect(t, d, document.RolledBack)
		f.expectAll("old old old")
		d = run(t, f.back(""))
		faulted(t, d, document.Failed, "nothing to go back to")
		f.expectAll("old old old")
		d = run(t, f.back(first.Promotions[1].Record)) // to how things were after the first release
		expect(t, d, document.RolledBack)
		f.expectAll("dev dev dev")
		faulted(t, run(t, f.back(f.next[0].Root)), document.Invalid, "3 images", "images")
		d = run(t, f.back(f.next[0].Root, 0))
		expect(t, d, document.RolledBack)
		f.expectAll("next dev dev")
	})
}

// TestRollbackToARecordOfARelease whose images were recorded at slightly different times.
func TestRollbackToARecordOfARelease(t *testing.T) {
	long(t)
	t.Parallel()
	for n := range ships {
		f := &fleetAt{fleet: newFleet(t, regtest.Options{Delete: true}), T: t}
		first := f.release("dev")
		second := f.release("next", 2)
		f.release("next", 0)
		expect(t, run(t, f.back(first.Promotions[n].Record)), document.RolledBack)
		f.expectAll("dev dev dev")
		expect(t, run(t, f.back(second.Promotions[0].Record)), document.RolledBack)
		f.expectAll("dev dev next")
	}
}

// TestRollbackOfAReleaseIsAllOrNothing under a tag that is refused, and where something is gone.
func TestRollbackOfAReleaseIsAllOrNothing(t *testing.T) {
	long(t)
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		o.Delete = true
		f := &fleetAt{fleet: newFleet(t, o), T: t}
		f.release("dev")
		f.release("next")
		f.refuse(putOf(1, "production"))
		r := f.back("")
		expect(t, run(t, r), document.Failed)
		f.expectAll("next next next")
		f.refuse(nil)

		if err := regtest.DeleteManifest(t.Context(), f.target.Access("", ""), repoOf(1), f.new[1].Root); err != nil {
			t.Fatal(err)
		}
		f.target.ResetRequests()
		d := run(t, f.back(""))
		faulted(t, d, document.Failed, "no longer whole", f.new[1].Root)
		nothingNamed(t, f.target)
		f.expectAll("next next next")
		for n := range ships { // a digest of one image is nothing that all of them could go to
			if strings.Contains(d.Faults[0].Hint, "to: "+f.old[n].Root) {
				t.Errorf("it offers the image %d alone: %s", n, d.Faults[0].Hint)
			}
		}
		push(t, f.new[1], f.target, repoOf(1))
		expect(t, run(t, again(r)), document.RolledBack)
		f.expectAll("dev dev dev")
		for n := range ships {
			if l := states(t, f.target, repoOf(n)); !slices.Equal(l, []string{"promoted", "promoted", "failed", "rolled-back"}) {
				t.Errorf("image %d: %q", n, l)
			}
		}
	})
}

// TestRollbackOfAReleaseWithDrift takes back what was moved by hand, and nothing else.
func TestRollbackOfAReleaseWithDrift(t *testing.T) {
	long(t)
	t.Parallel()
	f := &fleetAt{fleet: newFleet(t, regtest.Options{}), T: t}
	f.release("dev")
	f.release("next")
	if err := regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), "production", f.third[1].Root); err != nil {
		t.Fatal(err)
	}
	expect(t, run(t, f.back("")), document.RolledBack)
	f.expectAll("next next next")
	expect(t, run(t, f.back("")), document.RolledBack)
	f.expectAll("dev dev dev")
}

// TestRollbackThatCannotBeRecorded moves nothing.
func TestRollbackThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a")
	s.promoted("b")
	s.refuse(http.StatusForbidden, noLedger)
	s.staysPut(s.back(""), document.Failed, "cannot write the promotion record; no tag was moved")
	s.refuse(0, nil)
	s.goesBack("", "a")
	s.expectOutcomes("a promoted", "b promoted", "a rolled-back")
}

// TestCandidatesAreFew: a repository with very many tags is not read one by one.
func TestCandidatesAreFew(t *testing.T) {
	long(t)
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.hand("production", "a")
	for n := range 150 {
		if err := regtest.PutTag(t.Context(), s.target.Access("", ""), s.repo, fmt.Sprintf("v%03d", n), "production"); err != nil {
			t.Fatal(err)
		}
	}
	s.stays(s.back(""), document.Failed, "nothing to go back to")
	if n := len(ours(s.target)); n > 110 {
		t.Errorf("%d requests", n)
	}
}

// TestRollbackPastWhatIsBad: what the image there replaced was rolled back from since.
func TestRollbackPastWhatIsBad(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	for _, name := range []string{"e", "b", "e"} {
		s.promoted(name)
	}
	s.goesBack("", "b")
	s.stays(s.back(""), document.Failed, "nothing to go back to")
}
