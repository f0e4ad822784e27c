package promote_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// shop is a repository whose environments are recorded, run by run, as promotions record them.
type shop struct {
	testing.TB
	at    *regtest.Registry
	repo  string
	began time.Time
	runs  int
	now   time.Time          // when it is looked at
	books map[string][]entry // by environment

	brought map[string]string // the record of each image's last promotion
}

const aisle = "shop/app"

func newShop(t testing.TB, o regtest.Options) *shop {
	t.Helper()
	o.Delete, o.Memory = true, network(t)
	began := time.Now().UTC().Truncate(time.Second).Add(-100 * time.Hour)
	return &shop{TB: t, at: regtest.Serve(t, o), repo: aisle, began: began, now: began.Add(100 * time.Hour), books: map[string][]entry{}, brought: map[string]string{}}
}

// apis runs a test on a registry with the referrers API and on one without.
func apis(t *testing.T, test func(t *testing.T, o regtest.Options)) {
	for name, api := range map[string]bool{"referrers API": true, "fallback tag": false} {
		if api && testing.Short() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, regtest.Options{Referrers: api})
		})
	}
}

// picture is an image of two platforms that has a signature.
func picture(seed string) *regtest.Image {
	i := regtest.Build(regtest.Spec{Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}})
	i.Sign(i.Root, ".sig", seed)
	i.Attach(i.Root, "application/spdx+json", seed)
	return i
}

// visit is one run: what it brings, where its tags are, and how it ends.
type visit struct {
	env     string
	image   *regtest.Image
	tags    []string // moving ones; the environment's name if there are none
	fixed   []string
	outcome document.Outcome // "": the run was ended before it could say
	moved   []string         // tags that moved; nil: all of them
	ended   time.Time        // zero: an hour after the run before
}

func (s *shop) promote(env string, image *regtest.Image, fixed ...string) string {
	s.Helper()
	return s.visit(visit{env: env, image: image, fixed: fixed, outcome: document.OutcomePromoted})
}

// visit records a run and returns its record's digest.
func (s *shop) visit(v visit) string {
	s.Helper()
	if v.tags == nil {
		v.tags = []string{v.env}
	}
	push(s, v.image, s.at, s.repo)
	record := s.record(v)
	raw, err := record.Encode()
	if err != nil {
		s.Fatal(err)
	}
	digest := s.blob(raw)
	if v.moved == nil {
		v.moved = slices.Concat(v.tags, v.fixed)
	}
	e := s.entry(v, record, digest, int64(len(raw)))
	for _, tag := range v.moved {
		s.tag(tag, v.image.Root)
	}
	for n, t := range e.intent.Tags {
		e.outcome.Held[t.Name] = holds(s, s.at, s.repo, e.intent.Tags[n].Name)
	}
	s.books[v.env] = append(s.books[v.env], e)
	s.publish(v.env)
	if v.outcome == document.OutcomePromoted {
		s.brought[v.image.Root] = digest
	}
	s.at.ResetRequests()
	return digest
}

func (s *shop) blob(raw []byte) string {
	s.Helper()
	digest, err := regtest.PutBlob(s.Context(), s.at.Access("", ""), s.repo, raw)
	if err != nil {
		s.Fatal(err)
	}
	return digest
}

// publish writes both heads of an environment's ledger.
func (s *shop) publish(env string) {
	s.Helper()
	s.blob([]byte("{}"))
	for n, tag := range ledgerTags("env", env) {
		all := s.books[env]
		text := headWith(s, "env", env, 2*len(all)+n+1, all)
		if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, tag, "application/vnd.oci.image.manifest.v1+json", text); err != nil {
			s.Fatal(err)
		}
	}
}

func (s *shop) entry(v visit, r document.Record, digest string, size int64) entry {
	line := document.LineOf(r, digest, size, "")
	e := entry{record: digest, size: size}
	e.intent = entryIntent{
		ID: r.Entry, Number: len(s.books[v.env]) + 1, Begun: r.Ended, Run: entryRun{ID: r.Job.RunID, Attempt: 1, Job: r.Job.Name, URL: r.Job.URL},
		Line: entryLine{
			Time: line.Time, Environment: line.Environment, Mode: string(line.Mode), From: line.From, Repository: line.Repository, Digest: line.Digest,
			PreviousDigest: line.PreviousDigest, Tags: line.Tags, Actor: line.Actor, Reason: line.Reason, Run: line.Run, Entry: line.Entry,
			Record: digest, Size: size, PreviousRecord: line.PreviousRecord,
		},
	}
	for _, before := range s.books[v.env][max(0, len(s.books[v.env])-4):] {
		e.intent.Seen = append(e.intent.Seen, before.intent.ID)
	}
	for _, t := range r.Tags {
		e.intent.Tags = append(e.intent.Tags, entryTag{Name: t.Name, Fixed: t.Fixed, Found: t.Before, Back: t.Before, After: t.After})
	}
	e.outcome = entryOutcome{Record: digest, State: string(v.outcome), Sequence: 2*len(s.books[v.env]) + 2, Resolved: r.Ended, Held: map[string]string{}}
	if v.outcome == "" {
		e.outcome = entryOutcome{Record: digest, State: "pending", Renewed: r.Ended, Held: map[string]string{}}
	}
	return e
}

func (s *shop) record(v visit) document.Record {
	s.Helper()
	s.runs++
	if v.ended.IsZero() {
		v.ended = s.began.Add(time.Duration(s.runs) * time.Hour)
	}
	r := document.Record{
		Version: "v1.0.0", Repository: s.at.Host() + "/" + s.repo, Digest: v.image.Root, Mode: document.ModePromote, Environment: v.env,
		Ledger: v.env, Entry: fmt.Sprint("entry-", s.runs),
		Source:         document.Source{Reference: "ghcr.io/acme/app:dev", Repository: "ghcr.io/acme/app", Tag: "dev"},
		PreviousDigest: holds(s, s.at, s.repo, v.tags[0]), Reason: fmt.Sprint("TICKET-", s.runs),
		Job: document.Job{
			RunID: fmt.Sprint(s.runs), Attempt: "1", Name: "promote", Actor: fmt.Sprint("person-", s.runs),
			URL: fmt.Sprint("https://github.com/acme/app/actions/runs/", s.runs),
		},
		Started: v.ended.Add(-time.Minute), Ended: v.ended,
	}
	if all := s.books[v.env]; len(all) > 0 {
		r.PreviousRecord = all[len(all)-1].record
	}
	if v.outcome == document.OutcomeRolledBack {
		r.Mode, r.Restores = document.ModeRollback, s.brought[v.image.Root]
	}
	for _, m := range v.image.Manifests {
		if r.Restores == "" && (m.Subject != "" || m.Tag != "") {
			r.Attachments = append(r.Attachments, m.Digest)
		}
	}
	for _, tag := range v.tags {
		r.Tags = append(r.Tags, document.RecordTag{Name: tag, Before: holds(s, s.at, s.repo, tag), After: v.image.Root})
	}
	for _, tag := range v.fixed {
		r.Tags = append(r.Tags, document.RecordTag{Name: tag, Fixed: true, After: v.image.Root})
	}
	return r
}

// tag points a tag at a digest, as anybody can who may push.
func (s *shop) tag(tag, digest string) {
	s.Helper()
	if err := regtest.PutTag(s.Context(), s.at.Access("", ""), s.repo, tag, digest); err != nil {
		s.Fatal(err)
	}
}

// delete removes a tag, or a manifest by its digest.
func (s *shop) delete(reference string) {
	s.Helper()
	if err := regtest.DeleteManifest(s.Context(), s.at.Access("", ""), s.repo, reference); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) deleteBlob(digest string) {
	s.Helper()
	if err := regtest.DeleteBlob(s.Context(), s.at.Access("", ""), s.repo, digest); err != nil {
		s.Fatal(err)
	}
}

// tamper changes the entries of a ledger behind the program's back, in both heads.
func (s *shop) tamper(env string, change func([]entry) []entry) {
	s.Helper()
	s.books[env] = change(slices.Clone(s.books[env]))
	s.publish(env)
}

// stage is one environment of the shop, asked for; only the first has none before it.
func (s *shop) stage(env string, tags ...string) promote.Stage {
	s.Helper()
	repository, _ := split(s, s.at.Host()+"/"+s.repo)
	if len(tags) == 0 {
		tags = []string{env}
	}
	from := "dev"
	if env == from {
		from = ""
	}
	return promote.Stage{Environment: env, From: from, Repository: repository, Ledger: env, Tags: tags, Asked: true}
}

func (s *shop) ask(mode promote.Mode, stages ...promote.Stage) promote.Request {
	return promote.Request{Mode: mode, Stages: stages, Started: s.now}
}
