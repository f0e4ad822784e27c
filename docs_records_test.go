package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/google/go-containerregistry/pkg/name"
)

// recordsPage is docs/records.md, with its examples by name.
func recordsPage(t *testing.T) (page string, examples map[string][]byte) {
	t.Helper()
	raw, err := os.ReadFile("docs/records.md")
	if err != nil {
		t.Fatal(err)
	}
	examples = map[string][]byte{}
	for _, m := range regexp.MustCompile("(?s)<!-- ([a-z]+) -->\n```json\n(.*?)```").FindAllSubmatch(raw, -1) {
		var tight bytes.Buffer
		if err := json.Compact(&tight, m[2]); err != nil {
			t.Fatalf("the example %s: %v", m[1], err)
		}
		examples[string(m[1])] = tight.Bytes()
	}
	return string(raw), examples
}

// TestRecordsPageRecord: the page's record is one that the program reads and writes,
// to the byte, and every member that a record can have is explained.
func TestRecordsPageRecord(t *testing.T) {
	page, examples := recordsPage(t)
	r, err := document.ParseRecord(examples["record"])
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, examples["record"]) {
		t.Errorf("the page's record is\n%s\nand the program writes\n%s", examples["record"], again)
	}
	for _, file := range []string{"record-v1.json", "record-v1-rollback.json"} {
		golden, err := os.ReadFile("internal/document/testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(golden, &tree); err != nil {
			t.Fatal(err)
		}
		for member := range members(tree) {
			if !strings.Contains(page, "`"+member+"`") {
				t.Errorf("the page does not tell of the member %q", member)
			}
		}
	}
}

// members are the names of all members in a JSON document.
func members(tree any) map[string]bool {
	all := map[string]bool{}
	var collect func(any)
	collect = func(tree any) {
		switch node := tree.(type) {
		case []any:
			for _, child := range node {
				collect(child)
			}
		case map[string]any:
			for name, child := range node {
				all[name] = true
				collect(child)
			}
		}
	}
	collect(tree)
	return all
}

// TestRecordsPageLedger: the page's ledger is one that the program reads, and its line
// is that of the page's record.
func TestRecordsPageLedger(t *testing.T) {
	page, examples := recordsPage(t)
	book := openExample(t, examples["ledger"])
	p, err := book.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := book.History(t.Context(), p, 1)
	if err != nil || len(h.Lines) != 1 || h.Whole {
		t.Fatalf("%d lines, whole %v, error %v", len(h.Lines), h.Whole, err)
	}
	for _, f := range ledger.Check(h, map[string][]byte{document.DigestOf(examples["record"]): examples["record"]}) {
		t.Errorf("%+v", f)
	}
	line := h.Lines[0]
	if line.Record != document.DigestOf(examples["record"]) || line.Size != int64(len(examples["record"])) || line.Moved.IsZero() || line.RecordTag == "" {
		t.Errorf("the line is %+v, and the record has %d bytes and the digest %s", line, len(examples["record"]), document.DigestOf(examples["record"]))
	}
	for name := range members(decode(t, examples["ledger"])) {
		if note, ok := strings.CutPrefix(name, "io.github.artifact-promotion."); ok && !strings.Contains(page, "`"+note+"`") {
			t.Errorf("the page does not tell of the annotation %q", note)
		}
	}
}

// TestRecordsPageManifest: the page's manifest names the page's record, as the program does.
func TestRecordsPageManifest(t *testing.T) {
	_, examples := recordsPage(t)
	var m struct {
		ArtifactType string
		Layers       []struct {
			MediaType, Digest string
			Size              int
		}
		Subject     struct{ Digest string }
		Annotations map[string]string
	}
	if err := json.Unmarshal(examples["manifest"], &m); err != nil {
		t.Fatal(err)
	}
	digest := document.DigestOf(examples["record"])
	r, err := document.ParseRecord(examples["record"])
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case m.ArtifactType != ledger.RecordType, len(m.Layers) != 1, m.Layers[0].MediaType != document.RecordMediaType:
		t.Errorf("it is a %s of %+v", m.ArtifactType, m.Layers)
	case m.Layers[0].Digest != digest, m.Layers[0].Size != len(examples["record"]), m.Annotations["io.github.artifact-promotion.record"] != digest:
		t.Errorf("it is of another record than the page's, %s with %d bytes: %+v", digest, len(examples["record"]), m)
	case m.Subject.Digest != r.Digest, m.Annotations["io.github.artifact-promotion.ledger"] != r.Ledger, m.Annotations["in-toto.io/predicate-type"] != document.PredicateType:
		t.Errorf("it says something else than its record: %+v", m)
	}
}

func decode(t *testing.T, raw []byte) (tree any) {
	t.Helper()
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// openExample is the ledger of production in a repository that has nothing else.
func openExample(t *testing.T, manifest []byte) *ledger.Book {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v2/":
		case "/v2/prod/app/manifests/promotion-ledger-production":
			w.Header().Set("Docker-Content-Digest", document.DigestOf(manifest))
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write(manifest)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/prod/app")
	if err != nil {
		t.Fatal(err)
	}
	repo, err := registry.New(registry.Options{}).Open(t.Context(), credential.Target, repository, registry.Pull)
	if err != nil {
		t.Fatal(err)
	}
	return ledger.Open(repo, referrer.NewFinder(repo), "production")
}
