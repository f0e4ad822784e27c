package promote_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// shop is a repository whose environments are recorded, run by run, as promotions record them.
type shop struct {
	testing.TB
	at    *regtest.Registry
	repo  string
	began time.Time
	runs  int
	now   time.Time // when it is looked at
	seal  []byte    // of the records of full parts

	brought map[string]string // the record of each image's last promotion
}

const aisle = "shop/app"

func newShop(t testing.TB, o regtest.Options) *shop {
	t.Helper()
	o.Delete = true
	began := time.Now().UTC().Truncate(time.Second).Add(-100 * time.Hour)
	return &shop{TB: t, at: regtest.Serve(t, o), repo: aisle, began: began, now: began.Add(100 * time.Hour), brought: map[string]string{}}
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

func (s *shop) book(env string) *ledger.Book {
	s.Helper()
	repository, _ := split(s, s.at.Host()+"/"+s.repo)
	repo, err := anonymous().Open(s.Context(), credential.Target, repository, registry.Push)
	if err != nil {
		s.Fatal(err)
	}
	return ledger.Open(repo, referrer.NewFinder(repo), env)
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
	b := s.book(v.env)
	p, err := b.Read(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	draft, err := b.Draft(s.Context(), p, s.record(v))
	if err != nil {
		s.Fatal(err)
	}
	w, err := b.Attach(s.Context(), draft, descriptor(v.image))
	if err != nil {
		s.Fatal(err)
	}
	if v.moved == nil {
		v.moved = slices.Concat(v.tags, v.fixed)
	}
	for _, tag := range v.moved {
		s.tag(tag, v.image.Root)
	}
	if v.outcome != "" {
		if _, err := b.Append(s.Context(), p, w, v.outcome); err != nil {
			s.Fatal(err)
		}
	}
	if v.outcome == document.OutcomePromoted {
		s.brought[v.image.Root] = w.Digest()
	}
	s.at.ResetRequests()
	return w.Digest()
}

func (s *shop) record(v visit) document.Record {
	s.Helper()
	s.runs++
	if v.ended.IsZero() {
		v.ended = s.began.Add(time.Duration(s.runs) * time.Hour)
	}
	r := document.Record{
		Version: "v1.0.0", Repository: s.at.Host() + "/" + s.repo, Digest: v.image.Root, Mode: document.ModePromote, Environment: v.env,
		Source:         document.Source{Reference: "ghcr.io/acme/app:dev", Repository: "ghcr.io/acme/app", Tag: "dev"},
		PreviousDigest: holds(s, s.at, s.repo, v.tags[0]), Reason: fmt.Sprint("TICKET-", s.runs),
		Job: document.Job{
			RunID: fmt.Sprint(s.runs), Attempt: "1", Name: "promote", Actor: fmt.Sprint("person-", s.runs),
			URL: fmt.Sprint("https://github.com/acme/app/actions/runs/", s.runs),
		},
		Started: v.ended.Add(-time.Minute), Ended: v.ended,
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

func descriptor(i *regtest.Image) v1.Descriptor {
	root := i.Manifest(i.Root)
	m := registry.NewManifest(root.MediaType, root.Bytes)
	return v1.Descriptor{MediaType: types.MediaType(m.MediaType), Digest: m.Digest, Size: int64(len(m.Raw))}
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

// untagRecords removes the tags of records, all of them or those of one, and leaves what they name.
func (s *shop) untagRecords(only string) {
	s.Helper()
	tags, err := regtest.Tags(s.Context(), s.at.Access("", ""), s.repo)
	if err != nil {
		s.Fatal(err)
	}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "promotion-record-") {
			continue
		}
		mediaType, raw, err := regtest.GetManifest(s.Context(), s.at.Access("", ""), s.repo, tag)
		if err != nil {
			s.Fatal(err)
		}
		if only != "" && !strings.Contains(string(raw), only) {
			continue
		}
		s.delete(tag)
		if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, digestOf(string(raw)), mediaType, raw); err != nil {
			s.Fatal(err)
		}
	}
}

// ledgerPage is a ledger's manifest as anybody can read and write it.
type ledgerPage map[string]any

func (p ledgerPage) lines() []any { return p["layers"].([]any) }

// note changes one annotation of a line.
func (p ledgerPage) note(line int, name, text string) {
	p.lines()[line].(map[string]any)["annotations"].(map[string]any)["io.github.artifact-promotion."+name] = text
}

// tamper changes a ledger behind the program's back.
func (s *shop) tamper(env string, change func(ledgerPage)) {
	s.Helper()
	mediaType, raw, err := regtest.GetManifest(s.Context(), s.at.Access("", ""), s.repo, "promotion-ledger-"+env)
	if err != nil {
		s.Fatal(err)
	}
	var p ledgerPage
	if err := json.Unmarshal(raw, &p); err != nil {
		s.Fatal(err)
	}
	change(p)
	if raw, err = json.Marshal(p); err != nil {
		s.Fatal(err)
	}
	if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, "promotion-ledger-"+env, mediaType, raw); err != nil {
		s.Fatal(err)
	}
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
