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
	extension = "https://github.com/artifact-promotion/promote/record/v1"
)

// paper is a record as it stands in a repository.
type paper struct {
	digest  string
	raw     []byte
	subject string         // digest of the image that it is of
	whole   map[string]any // all of it
	says    map[string]any // our extension
	entry   entry
}

// blobOf reads a blob over HTTP.
func blobOf(t testing.TB, at *regtest.Registry, repo, digest string) []byte {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at.Host()+"/v2/"+repo+"/blobs/"+digest, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("User-Agent", regtest.Agent)
	answer, err := at.Access("", "").Client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusOK || digestOf(string(raw)) != digest {
		t.Fatalf("blob %s: status %d, %v", digest, answer.StatusCode, err)
	}
	return raw
}

// papers are the records of one repository's ledger, in the order of its entries.
func papers(t testing.TB, at *regtest.Registry, repo, key string) (all []paper) {
	t.Helper()
	for _, e := range rows(t, at, repo, key) {
		p := paper{digest: e.record, raw: blobOf(t, at, repo, e.record), entry: e}
		if int64(len(p.raw)) != e.size {
			t.Errorf("the record has %d bytes, described as %d", len(p.raw), e.size)
		}
		if err := json.Unmarshal(p.raw, &p.whole); err != nil {
			t.Fatal(err)
		}
		subject := p.whole["subject"].([]any)[0].(map[string]any)["digest"].(map[string]any)
		p.subject = "sha256:" + subject["sha256"].(string)
		p.says = p.whole["predicate"].(map[string]any)[extension].(map[string]any)
		all = append(all, p)
	}
	return all
}

// rows are a ledger's entries, oldest first, where it has no segments.
func rows(t testing.TB, at *regtest.Registry, repo, key string) []entry {
	t.Helper()
	all, err := readEntries(t.Context(), at.Access("", ""), repo, key)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s *works) papers() []paper { s.Helper(); return papers(s, s.target, s.repo, "production") }

func (s *works) rows() []entry { s.Helper(); return rows(s, s.target, s.repo, "production") }

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

// expectFiled expects a record where it has to be: in the ledger, attached to the image where the registry has the API,
// and in the report.
func (s *works) expectFiled(p paper, d document.Report, api bool) {
	s.Helper()
	if got := d.Promotions[0]; got.Record != p.digest || !got.Recorded {
		s.Errorf("the report names the record %q, recorded %v; want %s", got.Record, got.Recorded, p.digest)
	}
	if p.subject != d.Promotions[0].Digest {
		s.Errorf("it is of %s", p.subject)
	}
	tree := read(s, s.target, s.repo, p.subject)
	attached := slices.ContainsFunc(slices.Concat(tree.Listed[p.subject], tree.Fallback[p.subject]), func(digest string) bool {
		_, raw, err := regtest.GetManifest(s.Context(), s.target.Access("", ""), s.repo, digest)
		return err == nil && strings.Contains(string(raw), p.digest)
	})
	if tree.HasAPI != api || attached != api {
		s.Errorf("the record is attached: %v (API %v)", attached, tree.HasAPI)
	}
	if all := s.rows(); !slices.ContainsFunc(all, func(e entry) bool { return e.record == p.digest }) {
		s.Errorf("no entry of %v names %s", all, p.digest)
	}
}

// ourTags are the tags that the program keeps in a repository.
func ourTags(t testing.TB, at *regtest.Registry, repo string) []string {
	t.Helper()
	tags, err := regtest.Tags(t.Context(), at.Access("", ""), repo)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(tags, func(tag string) bool {
		return !strings.HasPrefix(tag, "promotion-ledger.") && !strings.HasPrefix(tag, "promotion-keep.")
	})
}

// reservedWrites are what of the log of writes is about ledgers and tags, in order; uploads are left out.
func reservedWrites(at *regtest.Registry) (all []string) {
	for _, w := range writes(at) {
		name := w[strings.LastIndex(w, "/")+1:]
		switch {
		case !strings.HasPrefix(w, "PUT ") || !strings.Contains(w, "/manifests/"):
			continue
		case strings.HasPrefix(name, "promotion-ledger."):
			name = "ledger"
		case strings.HasPrefix(name, "promotion-keep."):
			name = "kept"
		case strings.HasPrefix(name, "sha256-"):
			name = "list"
		case strings.HasPrefix(name, "sha256:"):
			name = "image"
		}
		all = append(all, name)
	}
	return all
}
