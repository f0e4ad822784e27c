package promote_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestAttachRecord: a record is attached to its image once the tags have moved, where the registry has the referrers API or the
// environment asks for it.
func TestAttachRecord(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		api, asked bool
		want       bool
	}{
		"the referrers API":           {api: true, want: true},
		"no API":                      {},
		"the fallback list, as asked": {asked: true, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, regtest.Options{Referrers: test.api})
			r := s.bring("a")
			r.AttachRecords = test.asked
			d := run(t, r)
			expect(t, d, document.Promoted)
			s.expectAttached(d, test.want)
			all := writes(s.target)
			moved := slices.IndexFunc(all, func(q string) bool { return strings.HasSuffix(q, "/manifests/production") })
			if last := slices.IndexFunc(all[moved:], func(q string) bool { return strings.Contains(q, "/manifests/sha256:") }); test.want != (last > 0) {
				t.Errorf("a record was attached after the tag had moved: %v; %q", last > 0, all)
			}
		})
	}
}

// expectAttached expects that the image of a report has its record attached, or nothing.
func (s *works) expectAttached(d document.Report, want bool) {
	s.Helper()
	p := d.Promotions[0]
	tree := read(s, s.target, s.repo, p.Digest)
	listed := slices.Concat(tree.Listed[p.Digest], tree.Fallback[p.Digest])
	found := slices.ContainsFunc(listed, func(digest string) bool {
		_, raw, err := regtest.GetManifest(s.Context(), s.target.Access("", ""), s.repo, digest)
		return err == nil && strings.Contains(string(raw), p.Record) && strings.Contains(string(raw), `"env:production"`)
	})
	if found != want || !want && len(listed) > 0 {
		s.Errorf("the record is attached: %v, want %v; attached are %q", found, want, listed)
	}
}

// TestAttachRecord_Refused: a record that cannot be attached is in the ledger all the same, and a notice.
func TestAttachRecord_Refused(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{Referrers: true})
	s.promoted("a")
	moved := false
	s.refuse(http.StatusForbidden, func(q *http.Request) bool {
		moved = moved || on(http.MethodPut, "/manifests/production")(q)
		return moved && q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/sha256:")
	})
	d := run(t, s.bring("b"))
	expect(t, d, document.Promoted)
	if !told(d, "is in the ledger, and could not be attached to the image") {
		t.Errorf("notices %q", d.Notices)
	}
	s.expectOutcomes("a promoted", "b promoted")
	s.expectAttached(d, false)
}

// TestAttachRecord_ListRefused: without the referrers API the list of an image may be immutable, which is a notice too.
func TestAttachRecord_ListRefused(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{Immutable: func(_, tag string) bool { return strings.HasPrefix(tag, "sha256-") }})
	for n, name := range []string{"a", "b", "a"} {
		r := s.bring(name)
		r.AttachRecords = true
		d := run(t, r)
		expect(t, d, document.Promoted)
		if got := told(d, "could not be attached to the image") && told(d, "exclude sha256-* from immutability"); got != (n == 2) { // a has a list by then
			t.Errorf("promotion %d: notices %q", n, d.Notices)
		}
	}
	s.expectOutcomes("a promoted", "b promoted", "a promoted")
}

// TestAttachRecord_OwnStayBehind: records of the ledger that a promotion is written to are not copied from elsewhere, those of
// other ledgers are.
func TestAttachRecord_OwnStayBehind(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{Referrers: true})
	d := s.promoted("a")
	staging := s.bring("a", "staging")
	staging.TargetEnv = "staging"
	expect(t, run(t, staging), document.Promoted)
	from := s.target.Host() + "/" + s.repo + "@" + d.Promotions[0].Digest
	r := request(t, from, s.source.Host()+"/elsewhere/app:production")
	r.TargetEnv, r.Lease = "production", settle
	expect(t, run(t, r), document.Promoted)
	root := d.Promotions[0].Digest
	var records []string
	for _, digest := range read(t, s.source, "elsewhere/app", root).Fallback[root] {
		_, raw, err := regtest.GetManifest(t.Context(), s.source.Access("", ""), "elsewhere/app", digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"env:production", "env:staging"} {
			if strings.Contains(string(raw), `"`+name+`"`) {
				records = append(records, name)
			}
		}
	}
	if !slices.Equal(records, []string{"env:staging"}) {
		t.Errorf("records of %q were copied", records)
	}
}
