package promote_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestRetention: a rollback target that was replaced long ago and that no tag names may be taken by a clean-up.
func TestRetention(t *testing.T) {
	long(t)
	t.Parallel()
	const month = 30 * 24 * time.Hour
	a, b, c := picture("a"), picture("b"), picture("c")
	many := func(n int) func(s *shop) {
		return func(s *shop) {
			push(s, c, s.at, s.repo)
			for i := range n {
				root := c.Manifest(c.Root)
				if err := regtest.PutManifest(s.Context(), s.at.Access("", ""), s.repo, fmt.Sprintf("other-%03d", i), root.MediaType, root.Bytes); err != nil {
					s.Fatal(err)
				}
			}
		}
	}
	for name, test := range map[string]struct {
		fixed  []string // of the first promotion
		then   func(s *shop)
		later  time.Duration
		want   string
		notice bool
	}{
		"no tag, long ago":         {later: month, want: "retention"},
		"no tag, eight days ago":   {later: 8 * 24 * time.Hour, want: "retention"},
		"no tag, six days ago":     {later: 6 * 24 * time.Hour},
		"a fixed tag":              {fixed: []string{"v1"}, later: month},
		"a fixed tag that moved":   {fixed: []string{"v1"}, then: func(s *shop) { s.tag("v1", b.Root) }, later: month, want: "retention"},
		"a fixed tag that is gone": {fixed: []string{"v1"}, then: func(s *shop) { s.delete("v1") }, later: month, want: "retention"},
		"another tag":              {then: func(s *shop) { s.tag("zebra", a.Root) }, later: month},
		"a tag of a ledger's kind": {then: func(s *shop) { s.tag("promotion-ledger.env.other.1", a.Root) }, later: month, want: "retention"},
		"a kept tag":               {then: func(s *shop) { s.tag("promotion-keep.production.2", a.Root) }, later: month},
		"the kept tag of an entry": {then: func(s *shop) {
			many(201)(s)
			s.tag("promotion-keep.production.1", a.Root)
			s.tamper("production", func(all []entry) []entry {
				all[1].intent.Kept = map[string]any{"slot": 1, "digest": a.Root}
				return all
			})
		}, later: month},
		"a kept tag that was reused": {then: func(s *shop) { s.tag("promotion-keep.production.2", b.Root) }, later: month, want: "retention"},
		"a tag of a fallback's kind": {then: func(s *shop) { s.tag(strings.Replace(a.Root, ":", "-", 1)+".x", a.Root) }, later: month, want: "retention"},
		"200 other tags":             {then: many(199), later: month, want: "retention"}, // and that of staging
		"more tags than are read":    {then: many(201), later: month, notice: true},
		"the image is gone anyway":   {then: func(s *shop) { s.delete(a.Root) }, later: month, want: "rollback-target"},
		"in use elsewhere":           {then: func(s *shop) { s.promote("staging", a) }, later: month},
		"brought back a moment ago":  {then: func(s *shop) { s.promote("production", a); s.promote("production", b) }, later: 0},
		"a rollback target no more":  {then: func(s *shop) { s.visit(visit{env: "production", image: a, outcome: document.OutcomeRolledBack}) }, later: month},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, regtest.Options{Referrers: true})
			s.promote("production", a, test.fixed...)
			s.promote("production", b)
			s.promote("staging", b)
			if test.then != nil {
				test.then(s)
			}
			s.now = s.began.Add(time.Duration(s.runs)*time.Hour + test.later)
			d := run(t, s.ask(promote.Audit, s.stage("production")))
			tells(t, d, test.want)
			if strings.Contains(strings.Join(d.Notices, "\n"), "could not be found out") != test.notice {
				t.Errorf("notices %q", d.Notices)
			}
			for _, f := range d.Findings {
				if f.Kind == document.FindingRetention && (f.Digest != a.Root || !strings.Contains(f.Message, "no tag names that")) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// TestRetentionUnknown: a tag that cannot be read may be the one that keeps the image.
func TestRetentionUnknown(t *testing.T) {
	t.Parallel()
	s := newShop(t, regtest.Options{Wrap: forUs(regtest.Answer(on(http.MethodGet, "/manifests/v2"), http.StatusForbidden, "application/json", []byte("{}")))})
	s.promote("production", picture("a"))
	s.promote("production", picture("b"), "v2")
	s.now = s.began.Add(30 * 24 * time.Hour)
	d := run(t, s.ask(promote.Audit, s.stage("production")))
	tells(t, d, "")
	if !strings.Contains(strings.Join(d.Notices, "\n"), "could not be found out") {
		t.Errorf("notices %q", d.Notices)
	}
}
