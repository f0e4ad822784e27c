package promote_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// works builds images at a source and promotes them to the environment production, whose records the tests read by
// hand: without anything of the program but the registry's own answers.
type works struct {
	testing.TB
	source, target *regtest.Registry
	repo           string
	started        time.Time
	runs           int
	built          map[string]*regtest.Image

	mu     sync.Mutex
	strike func(*http.Request) int // the status to answer in the registry's place; 0: none
}

func newWorks(t testing.TB, o regtest.Options) *works {
	t.Helper()
	s := &works{TB: t, repo: "prod/app", started: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC), built: map[string]*regtest.Image{}}
	s.source = start(t, regtest.Options{Delete: true})
	o.Delete = true
	wrap := forUs(s.answer)
	if o.Wrap != nil {
		wrap = regtest.Chain(wrap, o.Wrap)
	}
	o.Wrap = wrap
	s.target = start(t, o)
	return s
}

func (s *works) answer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s.mu.Lock()
		status := 0
		if s.strike != nil {
			status = s.strike(q)
		}
		s.mu.Unlock()
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED"}]}`)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// refuse answers what matches with the status, until the next call.
func (s *works) refuse(status int, match func(*http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strike = nil
	if match != nil {
		s.strike = func(q *http.Request) int {
			if match(q) {
				return status
			}
			return 0
		}
	}
}

// image is the one of that name, which is at the source under a tag of that name.
func (s *works) image(name string) *regtest.Image {
	s.Helper()
	if s.built[name] == nil {
		i := regtest.Build(regtest.Spec{Seed: name, LayerSize: 64})
		push(s, i, s.source, "acme/app", name)
		s.built[name] = i
	}
	return s.built[name]
}

// nth is what a run asks for, as the n-th workflow run: an hour after the one before.
func (s *works) nth(r promote.Request) promote.Request {
	s.runs++
	r.Started = s.started.Add(time.Duration(s.runs) * time.Hour)
	r.TargetEnv, r.Version, r.Settling = "production", "v1.2.3", settle
	r.Job = document.Job{
		Repository: "acme/app", RunID: fmt.Sprint(1000 + s.runs), Attempt: "1", Name: "promote",
		URL:   fmt.Sprint("https://github.com/acme/app/actions/runs/", 1000+s.runs),
		Actor: "jane", Workflow: "acme/app/.github/workflows/promote.yml@refs/heads/main", Commit: strings.Repeat("c", 40),
	}
	return r
}

const dated = fixed + "release-{{date 'YYYYMMDD-HHmmss'}}"

func (s *works) to(tag string) string {
	tag, isFixed := strings.CutPrefix(tag, fixed)
	to := s.target.Host() + "/" + s.repo + ":" + tag
	if isFixed {
		return fixed + to
	}
	return to
}

// bring promotes the image of that name; without tags to production.
func (s *works) bring(name string, tags ...string) promote.Request {
	s.Helper()
	s.image(name)
	if len(tags) == 0 {
		tags = []string{"production"}
	}
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	return s.nth(request(s, s.source.Host()+"/acme/app:"+name, targets...))
}

// back rolls back.
func (s *works) back(to string, tags ...string) promote.Request {
	s.Helper()
	if len(tags) == 0 {
		tags = []string{"production"}
	}
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	r := s.nth(request(s, s.target.Host()+"/"+s.repo, targets...))
	return backTo(s, r, to)
}

// backTo makes a request that of a rollback.
func backTo(t testing.TB, r promote.Request, to string) promote.Request {
	t.Helper()
	r.Mode, r.Reason, r.To = promote.Rollback, "INC-1", promote.To{Text: to}
	if strings.HasPrefix(to, "sha256:") {
		r.To.Digest = digestHash(t, to)
	} else {
		r.To.Tag = to
	}
	return r
}

// promoted promotes and expects that it succeeds.
func (s *works) promoted(name string, tags ...string) document.Report {
	s.Helper()
	d := run(s, s.bring(name, tags...))
	expect(s, d, document.Promoted)
	return d
}

// again is a later attempt of a run, about an hour after.
func again(r promote.Request) promote.Request {
	var n int
	_, _ = fmt.Sscan(r.Job.Attempt, &n)
	r.Job.Attempt = fmt.Sprint(n + 1)
	r.Started = r.Started.Add(61 * time.Minute)
	return r
}

func (s *works) holds(tag string) string { return holds(s, s.target, s.repo, tag) }

// expectHolds expects the image of a name under a tag, none if the name is empty.
func (s *works) expectHolds(tag, name string) {
	s.Helper()
	want := ""
	if name != "" {
		want = s.image(name).Root
	}
	if got := s.holds(tag); got != want {
		s.Errorf("%s holds %q, want %q (%s)", tag, got, want, name)
	}
}

// hand points a tag at an image that is there, as anybody can.
func (s *works) hand(tag, name string) {
	s.Helper()
	push(s, s.image(name), s.target, s.repo, tag)
}

func (s *works) delete(reference string) {
	s.Helper()
	if err := regtest.DeleteManifest(s.Context(), s.target.Access("", ""), s.repo, reference); err != nil {
		s.Fatal(err)
	}
}

// paper is a record as it stands in a repository.
type paper struct {
	tag, manifest, digest string
	raw                   []byte
	subject               string         // digest of what it hangs on
	whole                 map[string]any // all of it
	says                  map[string]any // our extension
}

// row is a line of a ledger.
type row struct {
	record string
	size   int64
	notes  map[string]string
}

const (
	noteName  = "io.github.artifact-promotion."
	extension = "https://github.com/artifact-promotion/promote/record/v1"
)

// blobOf reads a blob over HTTP.
func blobOf(t testing.TB, at *regtest.Registry, repo, digest string) []byte {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.Host()+"/v2/"+repo+"/blobs/"+digest, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("User-Agent", regtest.Agent)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK || digestOf(string(raw)) != digest {
		t.Fatalf("blob %s: status %d, %v", digest, answer.StatusCode, err)
	}
	return raw
}

// papers are the records of one repository's ledger, by their tags, in the order of the ledger's chain.
func papers(t testing.TB, at *regtest.Registry, repo, key string) (all []paper) {
	t.Helper()
	tags, err := regtest.Tags(t.Context(), at.Access("", ""), repo)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		if strings.HasPrefix(tag, "promotion-record-"+key+"-") {
			all = append(all, paperAt(t, at, repo, tag))
		}
	}
	slices.SortFunc(all, func(a, b paper) int {
		return strings.Compare(a.whole["predicate"].(map[string]any)["timeVerified"].(string), b.whole["predicate"].(map[string]any)["timeVerified"].(string))
	})
	return all
}

func paperAt(t testing.TB, at *regtest.Registry, repo, tag string) paper {
	t.Helper()
	_, raw, err := regtest.GetManifest(t.Context(), at.Access("", ""), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		MediaType, ArtifactType string
		Config                  regtest.Descriptor
		Layers                  []regtest.Descriptor
		Subject                 regtest.Descriptor
		Annotations             map[string]string
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if m.MediaType != "application/vnd.oci.image.manifest.v1+json" || m.ArtifactType != "application/vnd.artifact-promotion.record.v1+json" ||
		m.Config.MediaType != "application/vnd.oci.empty.v1+json" || len(m.Layers) != 1 || m.Layers[0].MediaType != "application/vnd.in-toto+json" ||
		m.Annotations["in-toto.io/predicate-type"] != "https://slsa.dev/verification_summary/v1" {
		t.Errorf("record's manifest %s", raw)
	}
	if got := string(blobOf(t, at, repo, m.Config.Digest)); got != "{}" {
		t.Errorf("configuration %q", got)
	}
	p := paper{tag: tag, manifest: digestOf(string(raw)), digest: m.Layers[0].Digest, subject: m.Subject.Digest}
	p.raw = blobOf(t, at, repo, p.digest)
	if int64(len(p.raw)) != m.Layers[0].Size {
		t.Errorf("the record has %d bytes, described as %d", len(p.raw), m.Layers[0].Size)
	}
	if err := json.Unmarshal(p.raw, &p.whole); err != nil {
		t.Fatal(err)
	}
	p.says = p.whole["predicate"].(map[string]any)[extension].(map[string]any)
	return p
}

// rows are a ledger's lines, oldest first, where it has but one part.
func rows(t testing.TB, at *regtest.Registry, repo, key string) (all []row) {
	t.Helper()
	return rowsAt(t, at, repo, "promotion-ledger-"+key)
}

func rowsAt(t testing.TB, at *regtest.Registry, repo, tag string) (all []row) {
	t.Helper()
	if holds(t, at, repo, tag) == "" {
		return nil
	}
	_, raw, err := regtest.GetManifest(t.Context(), at.Access("", ""), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Layers []regtest.Descriptor }
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Layers {
		r := row{record: d.Digest, size: d.Size, notes: map[string]string{}}
		for name, text := range d.Annotations {
			r.notes[strings.TrimPrefix(name, noteName)] = text
		}
		all = append(all, r)
	}
	return all
}

func (s *works) papers() []paper { s.Helper(); return papers(s, s.target, s.repo, "production") }

func (s *works) rows() []row { s.Helper(); return rows(s, s.target, s.repo, "production") }

// outcomes are what the ledger says of its records, oldest first: "a promoted", where a is the name of the image.
func (s *works) outcomes() (all []string) {
	s.Helper()
	for _, r := range s.rows() {
		all = append(all, s.named(r.notes["digest"])+" "+r.notes["result"])
	}
	return all
}

func (s *works) named(digest string) string {
	for name, i := range s.built {
		if i.Root == digest {
			return name
		}
	}
	return digest
}

func (s *works) expectOutcomes(want ...string) {
	s.Helper()
	if got := s.outcomes(); !slices.Equal(got, want) {
		s.Errorf("the ledger says %q, want %q", got, want)
	}
}

func (s *works) expectRecords(n int) {
	s.Helper()
	if got := s.papers(); len(got) != n {
		s.Errorf("%d records, want %d", len(got), n)
	}
}

// timeIn takes a time out of a document, so that the rest can be compared, and expects it in UTC and in a span.
func timeIn(t testing.TB, from map[string]any, name string, after, before time.Time) time.Time {
	t.Helper()
	text, _ := from[name].(string)
	delete(from, name)
	got, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		t.Errorf("%s is %q, no time in UTC", name, text)
	}
	if got.Before(after) || got.After(before) {
		t.Errorf("%s is %s, not from %s to %s", name, got, after, before)
	}
	return got
}

// expectPaper compares all of a record but its times with what is wanted, as JSON.
func expectPaper(t testing.TB, p paper, r promote.Request, began time.Time, want string) {
	t.Helper()
	predicate := p.whole["predicate"].(map[string]any)
	verified := timeIn(t, predicate, "timeVerified", began, time.Now())
	ended := timeIn(t, p.says, "ended", began, time.Now())
	timeIn(t, p.says, "started", r.Started, r.Started)
	if !verified.Equal(ended) {
		t.Errorf("verified at %s and ended at %s", verified, ended)
	}
	var wanted map[string]any
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p.whole, wanted) {
		got, _ := json.MarshalIndent(p.whole, "", " ")
		text, _ := json.MarshalIndent(wanted, "", " ")
		t.Errorf("the record says\n%s\nwant\n%s", got, text)
	}
}

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

// sizeOf is what all blobs below an image take, attachments included.
func sizeOf(t *testing.T, at *regtest.Registry, repo, reference string) (bytes int64) {
	t.Helper()
	for _, size := range read(t, at, repo, reference).Blobs {
		bytes += size
	}
	return bytes
}

// expectFiled expects a record where it has to be: under its own tag, listed beside what hangs on the image, in the
// ledger, and in the report.
func (s *works) expectFiled(p paper, d document.Report, api bool) {
	s.Helper()
	if got := d.Promotions[0]; got.Record != p.digest || !got.Recorded {
		s.Errorf("the report names the record %q, recorded %v; want %s", got.Record, got.Recorded, p.digest)
	}
	if p.subject != d.Promotions[0].Digest {
		s.Errorf("it hangs on %s", p.subject)
	}
	tree := read(s, s.target, s.repo, p.subject)
	listed := tree.Fallback[p.subject]
	if api {
		listed = tree.Listed[p.subject]
	}
	if tree.HasAPI != api || !slices.Contains(listed, p.manifest) {
		s.Errorf("the record %s is not listed (API %v): %q", p.manifest, tree.HasAPI, listed)
	}
	if all := s.rows(); !slices.ContainsFunc(all, func(r row) bool { return r.record == p.digest && r.notes["record-tag"] == p.tag }) {
		s.Errorf("no line of %v names %s", all, p.digest)
	}
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

// tagsWithout are the reserved tags of records and ledgers but for some.
func tagsWithout(t testing.TB, at *regtest.Registry, repo string, known ...string) []string {
	t.Helper()
	tags, err := regtest.Tags(t.Context(), at.Access("", ""), repo)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(tags, func(tag string) bool {
		return slices.Contains(known, tag) || !strings.HasPrefix(tag, "promotion-ledger") && !strings.HasPrefix(tag, "promotion-record")
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

// reservedWrites are what of the log of writes is about records, in order: what comes before the first of them is left
// out, and so are uploads.
func reservedWrites(at *regtest.Registry) (all []string) {
	for _, w := range writes(at) {
		name := w[strings.LastIndex(w, "/")+1:]
		switch {
		case !strings.HasPrefix(w, "PUT ") || !strings.Contains(w, "/manifests/"):
			continue
		case strings.HasPrefix(name, "promotion-record-"):
			name = "record"
		case strings.HasPrefix(name, "promotion-ledger-"):
			name = "ledger"
		case strings.HasPrefix(name, "promotion-journal-"):
			name = "journal"
		case strings.HasPrefix(name, "sha256-"):
			name = "list"
		case strings.HasPrefix(name, "sha256:"):
			name = "image"
		}
		all = append(all, name)
	}
	return all
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

// noLedger matches the writing of a ledger.
func noLedger(q *http.Request) bool {
	return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-ledger")
}

// TestUnrecorded: the tags have moved and the line could not be written. A rerun writes it, and so does the next run.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for _, status := range []int{http.StatusForbidden, http.StatusInternalServerError} {
			for _, first := range []bool{true, false} {
				t.Run(fmt.Sprint(status, " the first: ", first), func(t *testing.T) {
					t.Parallel()
					s := newWorks(t, o)
					var before []string
					if !first {
						s.promoted("z")
						before = []string{"z promoted"}
					}
					s.refuse(status, noLedger)
					r := s.bring("a", "production", dated)
					d := runWith(t, t.Context(), impatient(), r, &watcher{})
					if d.Result != document.Unrecorded || d.Result.ExitCode() != 1 || len(d.Faults) != 1 || !strings.Contains(d.Faults[0].Hint, "Run it again") {
						t.Errorf("result %s, %+v", d.Result, d.Faults)
					}
					if p := d.Promotions[0]; p.Record == "" || p.Recorded {
						t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
					}
					s.expectHolds("production", "a")
					s.expectHolds("release-20261122-"+r.Started.Format("150405"), "a")
					s.expectOutcomes(before...)
					s.refuse(0, nil)

					s.target.ResetRequests()
					d = run(t, again(r))
					expect(t, d, document.Unchanged)
					s.expectOutcomes(append(before, "a promoted")...)
					s.expectRecords(len(before) + 1)
					if got := reservedWrites(s.target); !slices.Equal(got, []string{"ledger"}) {
						t.Errorf("written %q", got)
					}
					if p := d.Promotions[0]; p.Record != s.rows()[len(before)].record || !p.Recorded {
						t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
					}
				})
			}
		}
		t.Run("the next promotion writes it", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuse(http.StatusForbidden, noLedger)
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			d := s.promoted("b")
			s.expectOutcomes("z promoted", "a promoted", "b promoted")
			if !told(d, "did not list every record") {
				t.Errorf("told %q", d.Notices)
			}
			p := s.papers()
			if p[2].says["previousRecord"] != p[1].digest || p[1].says["previousRecord"] != p[0].digest {
				t.Error("the chain is broken")
			}
		})
		t.Run("a rollback writes it", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("z")
			s.refuse(http.StatusForbidden, noLedger)
			expectUnrecorded(t, run(t, s.bring("a")))
			s.refuse(0, nil)
			expect(t, run(t, s.back("")), document.RolledBack)
			s.expectHolds("production", "z")
			s.expectOutcomes("z promoted", "a promoted", "z rolled-back")
		})
		t.Run("of a rollback", func(t *testing.T) {
			t.Parallel()
			s := newWorks(t, o)
			s.promoted("y")
			s.promoted("z")
			s.promoted("a")
			s.refuse(http.StatusForbidden, noLedger)
			r := s.back("", "production", dated)
			expectUnrecorded(t, run(t, r))
			s.expectHolds("production", "z")
			s.refuse(0, nil)
			expect(t, run(t, again(r)), document.Unchanged)
			s.expectHolds("production", "z")
			s.expectOutcomes("y promoted", "z promoted", "a promoted", "z rolled-back")
			s.expectRecords(4)
		})
	})
}

func expectUnrecorded(t testing.TB, d document.Report) {
	t.Helper()
	if d.Result != document.Unrecorded || len(d.Faults) == 0 {
		t.Errorf("result %s, want unrecorded: %+v", d.Result, d.Faults)
	}
}

// historyOf is what mode history lists, newest first.
func (s *works) historyOf() document.History {
	s.Helper()
	repository, _ := split(s, s.target.Host()+"/"+s.repo)
	r := promote.Request{Mode: promote.History, Stages: []promote.Stage{{Environment: "production", Repository: repository, Ledger: "production", Tags: []string{"production"}, Asked: true}}}
	d := run(s, r)
	expect(s, d, document.Listed)
	if len(d.Histories) != 1 {
		s.Fatalf("%d histories", len(d.Histories))
	}
	return d.Histories[0]
}

// story is the history in short, newest first: "a promoted".
func (s *works) story() (all []string) {
	s.Helper()
	for _, l := range s.historyOf().Lines {
		all = append(all, s.named(l.Digest)+" "+string(l.Outcome))
	}
	return all
}

func (s *works) expectStory(want ...string) {
	s.Helper()
	if got := s.story(); !slices.Equal(got, want) {
		s.Errorf("the history is %q, want %q", got, want)
	}
}

// TestLedgerThatCannotBeChanged: its tag can be written once, and all is recorded nevertheless.
func TestLedgerThatCannotBeChanged(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		for name, frozen := range map[string][]string{
			"the ledger": {"promotion-ledger"},
			"all of it":  {"promotion-ledger", "promotion-record", "sha256-", "release-"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				o := o
				o.Immutable = func(_, tag string) bool {
					return slices.ContainsFunc(frozen, func(prefix string) bool { return strings.HasPrefix(tag, prefix) })
				}
				s := newWorks(t, o)
				var want []string
				for n, name := range []string{"a", "b", "c", "a", "e"} {
					d := s.promoted(name, "production", dated)
					want = append([]string{name + " promoted"}, want...)
					if got := told(d, "promotion-ledger*"); got != (n > 0) {
						t.Errorf("promotion %d: told %q", n, d.Notices)
					}
				}
				s.expectStory(want...)
				expect(t, run(t, s.back("", "production", dated)), document.RolledBack)
				s.expectHolds("production", "a")
				s.expectStory(append([]string{"a rolled-back"}, want...)...)
			})
		}
	})
}

// TestFailedAttempt that moved a tag stands in the ledger, and counts for nothing.
func TestFailedAttempt(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a", "production", "latest")
		s.promoted("b", "production", "latest")
		s.refuse(http.StatusForbidden, on(http.MethodPut, "/manifests/latest"))
		r := s.bring("c", "production", "latest")
		d := run(t, r)
		faulted(t, d, document.Failed, "latest")
		expectTag(t, d, ":production", document.TagPutBack, s.image("b").Root, s.image("b").Root)
		s.expectOutcomes("a promoted", "b promoted", "c failed")
		s.expectFiled(s.papers()[2], d, o.Referrers)
		s.expectStory("c failed", "b promoted", "a promoted")
		s.refuse(0, nil)
		expect(t, run(t, s.back("", "production", "latest")), document.RolledBack)
		s.expectHolds("production", "a")
		s.expectHolds("latest", "a")
		s.expectOutcomes("a promoted", "b promoted", "c failed", "a rolled-back")
	})
}

// TestRecordWithoutAMove: a run that ended between its record and its tags, however it did, counts for nothing.
func TestRecordWithoutAMove(t *testing.T) {
	t.Parallel()
	apis(t, func(t *testing.T, o regtest.Options) {
		s := newWorks(t, o)
		s.promoted("a")
		s.promoted("b")
		recorded := false
		s.mu.Lock()
		s.strike = func(q *http.Request) int { // nothing answers once the record is written: as if the run were killed
			was := recorded
			recorded = recorded || q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-record-")
			if was && q.Method == http.MethodPut && !strings.Contains(q.URL.Path, "/manifests/sha256-") {
				return http.StatusForbidden
			}
			return 0
		}
		s.mu.Unlock()
		expect(t, run(t, s.bring("c")), document.Failed)
		s.refuse(0, nil)
		s.expectHolds("production", "b")
		s.expectOutcomes("a promoted", "b promoted")
		s.expectRecords(3)
		s.expectStory("b promoted", "a promoted")
		if h := s.historyOf(); h.LeftOut != 1 {
			t.Errorf("%d left out", h.LeftOut)
		}
		expect(t, run(t, s.back("")), document.RolledBack)
		s.expectHolds("production", "a")
		s.expectStory("a rolled-back", "b promoted", "a promoted")
		s.expectOutcomes("a promoted", "b promoted", "c unconfirmed", "a rolled-back")
		s.promoted("d")
		s.expectStory("d promoted", "a rolled-back", "b promoted", "a promoted")
	})
}

// impatient is a client that does not try again for long.
func impatient() *registry.Client {
	return registry.New(registry.Options{Patience: 100 * time.Millisecond})
}
