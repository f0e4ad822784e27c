package promote_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// wipe deletes every tag of the repository, but for those of other environments.
func (s *shop) wipe(keep ...string) {
	s.Helper()
	tags, err := regtest.Tags(s.Context(), s.at.Access("", ""), s.repo)
	if err != nil {
		s.Fatal(err)
	}
	for _, tag := range tags {
		kept := false
		for _, word := range keep {
			kept = kept || strings.Contains(tag, word)
		}
		if !kept {
			s.delete(tag)
		}
	}
}

// alone is a tag that no environment has.
func (s *shop) alone(repository, tag string) promote.Stage {
	s.Helper()
	stage := promote.Stage{Ledger: tag, Tags: []string{tag}, Asked: true}
	stage.Repository, _ = split(s, s.at.Host()+"/"+repository)
	return stage
}

// TestAuditOfNothing: where there is nothing to compare with, that is what was found. It
// names the environment, what was looked for, and what to do.
func TestAuditOfNothing(t *testing.T) {
	long(t)
	t.Parallel()
	a, b := picture("a"), picture("b")
	lost := func(s *shop, keep ...string) { s.promote("staging", b); s.promote("production", a); s.wipe(keep...) }
	for name, test := range map[string]struct {
		make      func(s *shop)
		stage     func(s *shop) promote.Stage // nil: production
		want      document.FindingKind
		reference string   // behind the host
		says      []string // with REPO for the repository
		hint      string
	}{
		"no repository": {
			make: func(*shop) {},
			want: document.FindingMissing, reference: "/shop/app",
			says: []string{"production: repository REPO has no tags or does not exist. Expected: the tag production and the ledger REPO:promotion-ledger.env.production.a."},
			hint: "Check the repository's name and that this credential may read it.",
		},
		"everything deleted": {
			make: func(s *shop) { lost(s) },
			want: document.FindingMissing, reference: "/shop/app",
			says: []string{"production: repository REPO has no tags or does not exist."}, hint: "If it was deleted, find out who did that.",
		},
		"everything of the environment deleted": {
			make: func(s *shop) { lost(s, "staging") },
			want: document.FindingMissing, reference: "/shop/app:production",
			says: []string{"production: nothing was ever recorded, and REPO:production does not exist. Expected: the tag production and the ledger REPO:promotion-ledger.env.production.a."},
			hint: "The repository has promotion-ledger.env.staging.a. Check the names.",
		},
		"ledger and records deleted": {
			make: func(s *shop) { lost(s, "staging"); s.push(a, "production") },
			want: document.FindingLedger, reference: "/shop/app:production",
			says: []string{"production: nothing was ever recorded, although REPO:production exists. Expected: the tag production and the ledger REPO:promotion-ledger.env.production.a.", a.Root},
			hint: "somebody has deleted it and every record",
		},
		"another tag than the first": {
			make:  func(s *shop) { s.push(a, "latest") },
			stage: func(s *shop) promote.Stage { return s.stage("production", "production", "latest") },
			want:  document.FindingLedger, reference: "/shop/app:latest",
			says: []string{"although REPO:latest exists. Expected: the tags production, latest and the ledger"}, hint: "Promote to it once",
		},
		"a typo in the target's tag": {
			make:  func(s *shop) { s.promote("production", a) },
			stage: func(s *shop) promote.Stage { return s.alone(aisle, "prodaction") },
			want:  document.FindingMissing, reference: "/shop/app:prodaction",
			says: []string{"nothing was ever recorded, and REPO:prodaction does not exist."}, hint: "The repository has promotion-ledger.env.production.a. Check the names.",
		},
		"a typo in the target's repository": {
			make:  func(s *shop) { s.promote("production", a) },
			stage: func(s *shop) promote.Stage { return s.alone("shop/apq", "production") },
			want:  document.FindingMissing, reference: "/shop/apq",
			says: []string{"repository HOST/shop/apq has no tags or does not exist."}, hint: "Check the repository's name",
		},
		"a target that was never promoted to": {
			make:  func(s *shop) { s.push(a, "latest") },
			stage: func(s *shop) promote.Stage { return s.alone(aisle, "latest") },
			want:  document.FindingLedger, reference: "/shop/app:latest",
			says: []string{"nothing was ever recorded, although REPO:latest exists."}, hint: "Promote to it once",
		},
		"an environment that builds push to, alone": {
			make:  func(s *shop) { s.push(a, "dev") },
			stage: func(s *shop) promote.Stage { return s.stage("dev") },
			want:  document.FindingLedger, reference: "/shop/app:dev",
			says: []string{"dev: nothing was ever recorded of REPO:dev, so nothing was compared. Expected: the tag dev and the ledger REPO:promotion-ledger.env.dev.a."}, hint: "audit the environments after it",
		},
		"an environment that builds would push to": {
			make:  func(s *shop) { s.push(a, "latest") },
			stage: func(s *shop) promote.Stage { return s.stage("dev") },
			want:  document.FindingMissing, reference: "/shop/app:dev",
			says: []string{"dev: nothing was ever recorded, and REPO:dev does not exist."}, hint: "Check the names.",
		},
		"an environment without tags of its own": {
			make: func(s *shop) { s.push(a, "v1") },
			stage: func(s *shop) promote.Stage {
				stage := s.stage("nightly")
				stage.Tags = nil
				return stage
			},
			want: document.FindingMissing, reference: "/shop/app",
			says: []string{"nightly: nothing was ever recorded. Expected: the ledger REPO:promotion-ledger.env.nightly.a."}, hint: "Check the names.",
		},
		"only promotions that failed": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, outcome: document.OutcomeFailed, moved: []string{}})
			},
			want: document.FindingLedger, reference: "/shop/app:production",
			says: []string{"production: REPO:production does not exist, and no record of a promotion that ended well names it."}, hint: "Check the tag's name.",
		},
		"only failed ones, and no tags of its own": {
			make: func(s *shop) {
				s.visit(visit{env: "production", image: a, outcome: document.OutcomeFailed, moved: []string{}})
			},
			stage: func(s *shop) promote.Stage {
				stage := s.stage("production")
				stage.Tags = nil
				return stage
			},
			want: document.FindingLedger, reference: "/shop/app:promotion-ledger.env.production.a",
			says: []string{"production: no record says that a promotion ended well"}, hint: "promote to it again",
		},
		"a typo in the config's tag": {
			make:  func(s *shop) { s.promote("production", a) },
			stage: func(s *shop) promote.Stage { return s.stage("production", "prodaction") },
			want:  document.FindingLedger, reference: "/shop/app:prodaction",
			says: []string{"production: REPO:prodaction does not exist, and no record of a promotion that ended well names it."}, hint: "Check the tag's name.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			apis(t, func(t *testing.T, o regtest.Options) {
				s := newShop(t, o)
				test.make(s)
				s.at.ResetRequests()
				stage := s.stage("production")
				if test.stage != nil {
					stage = test.stage(s)
				}
				d := run(t, s.ask(promote.Audit, stage))
				expect(t, d, document.Findings)
				if len(d.Findings) != 1 || len(d.Audited) > 0 || len(d.Uncompared) > 0 {
					t.Fatalf("found %+v, audited %v, not compared %+v", d.Findings, d.Audited, d.Uncompared)
				}
				f := d.Findings[0]
				if f.Kind != test.want || f.Environment != stage.Environment || f.Reference != s.at.Host()+test.reference || !strings.Contains(f.Hint, test.hint) {
					t.Errorf("found %+v", f)
				}
				for _, text := range test.says {
					text = strings.NewReplacer("REPO", s.at.Host()+"/"+aisle, "HOST", s.at.Host()).Replace(text)
					if !strings.Contains(f.Message, text) {
						t.Errorf("it says %q, want %q in it", f.Message, text)
					}
				}
				untouched(t, s.at)
			})
		})
	}
}

func (s *shop) push(image *regtest.Image, tag string) {
	s.Helper()
	push(s, image, s.at, s.repo, tag)
}

// TestAuditOfATagThatNoRecordNames: an environment's tag is judged although others are
// as recorded; one that is yet to be written is not called as recorded.
func TestAuditOfATagThatNoRecordNames(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{Referrers: true})
	a := picture("a")
	s.promote("production", a)
	r := s.ask(promote.Audit, s.stage("production", "production", "latest"))
	d := run(t, r)
	tells(t, d, "")
	if len(d.Audited) != 1 || len(d.Uncompared) != 1 {
		t.Errorf("audited %v, not compared %+v", d.Audited, d.Uncompared)
	}
	s.tag("latest", a.Root)
	d = run(t, r)
	tells(t, d, "ledger", ":latest exists, and no record of a promotion that ended well names it", a.Root)
	if len(d.Audited) != 1 || len(d.Uncompared) != 0 {
		t.Errorf("audited %v, not compared %+v", d.Audited, d.Uncompared)
	}
}

// TestAuditOfBuilds: what no environment comes before is pushed to by builds, which
// record nothing. Beside what is recorded it is said that it was not compared.
func TestAuditOfBuilds(t *testing.T) {
	long(t)
	t.Parallel()
	s := newShop(t, regtest.Options{})
	s.push(plain("built"), "dev")
	s.promote("production", picture("a"))
	d := run(t, s.ask(promote.Audit, s.stage("dev"), s.stage("production")))
	tells(t, d, "")
	at := s.at.Host() + "/" + aisle
	if got := d.Uncompared; len(got) != 1 || got[0].Environment != "dev" || got[0].Reference != at+":dev" || !strings.Contains(got[0].Reason, "builds push to it") {
		t.Errorf("not compared: %+v", got)
	}
	if len(d.Audited) != 1 || d.Audited[0] != at+":production" {
		t.Errorf("audited %v", d.Audited)
	}
	s.tag("production", plain("built").Root)
	d = run(t, s.ask(promote.Audit, s.stage("dev"), s.stage("production")))
	tells(t, d, "drift")
	if len(d.Uncompared) != 1 {
		t.Errorf("not compared: %+v", d.Uncompared)
	}
}

// TestAuditWithoutAList says that records may be there, where a registry lists no tags;
// and says nothing of what was never recorded, where it refuses to list them.
func TestAuditWithoutAList(t *testing.T) {
	long(t)
	t.Parallel()
	for status, want := range map[int]string{http.StatusNotFound: "ledger", http.StatusForbidden: "unreadable"} {
		s := newShop(t, regtest.Options{Wrap: forUs(regtest.Answer(func(q *http.Request) bool {
			return strings.HasSuffix(q.URL.Path, "/tags/list")
		}, status, "application/json", []byte("{}")))})
		s.push(picture("a"), "production")
		d := run(t, s.ask(promote.Audit, s.stage("production")))
		tells(t, d, want)
		if got := strings.Contains(d.Findings[0].Message, "The registry did not list every tag, so records may be there that were not seen."); got != (status == http.StatusNotFound) {
			t.Errorf("%d: it says %q", status, d.Findings[0].Message)
		}
	}
}

// TestAuditOfARepositoryThatIsUnknown tells what the registry says it does not know.
func TestAuditOfARepositoryThatIsUnknown(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{Wrap: forUs(regtest.Answer(func(q *http.Request) bool { return strings.HasPrefix(q.URL.Path, "/v2/shop/") }, http.StatusNotFound, "application/json", []byte(`{"errors":[{"code":"NAME_UNKNOWN"}]}`)))})
	d := run(t, s.ask(promote.Audit, s.stage("production")))
	tells(t, d, "missing")
	if got := d.Findings[0].Message; !strings.Contains(got, "does not exist or cannot be read") {
		t.Errorf("it says %q", got)
	}
}

// TestAuditOfNoStage compares nothing, and so finds nothing in order.
func TestAuditOfNoStage(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{})
	expect(t, run(t, s.ask(promote.Audit)), document.Findings)
}
