package promote_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	noteName  = "io.github.artifact-promotion."
	extension = "https://github.com/artifact-promotion/promote/record/v1"
)

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
