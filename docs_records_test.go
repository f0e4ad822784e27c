package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
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
		explains(t, page, tree)
	}
}

// explains holds the page to all names of members in a document.
func explains(t *testing.T, page string, tree any) {
	t.Helper()
	for member := range members(tree) {
		if !strings.Contains(page, "`"+member+"`") {
			t.Errorf("the page does not tell of the member %q", member)
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

var production = ledger.ForEnvironment("production")

// TestRecordsPageHead: the page's head is one that the program reads, and its entry is that of the
// page's record.
func TestRecordsPageHead(t *testing.T) {
	page, examples := recordsPage(t)
	l := ledger.Open(exampleStore{registry.NewManifest(string(types.OCIManifestSchema1), examples["head"])}, production, ledger.Run{})
	v, err := l.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.History(t.Context(), v, 1)
	if err != nil || len(h.Entries) != 1 || h.Whole || v.Segments() != 1 {
		t.Fatalf("%d entries, whole %v, %d segments, error %v", len(h.Entries), h.Whole, v.Segments(), err)
	}
	for _, f := range ledger.Check(h, map[string][]byte{document.DigestOf(examples["record"]): examples["record"]}) {
		t.Errorf("%+v", f)
	}
	e := h.Entries[0]
	if e.Line.Record != document.DigestOf(examples["record"]) || e.Line.Size != int64(len(examples["record"])) || e.State() != document.OutcomePromoted || e.Line.Moved.IsZero() {
		t.Errorf("the entry is %+v, and the record has %d bytes and the digest %s", e, len(examples["record"]), document.DigestOf(examples["record"]))
	}
	for name := range members(decode(t, examples["head"])) {
		if note, ok := strings.CutPrefix(name, "io.github.artifact-promotion."); ok && !strings.Contains(page, "`"+note+"`") {
			t.Errorf("the page does not tell of the annotation %q", note)
		}
	}
}

// TestRecordsPageEntry: the intent and the outcome that the page shows are those of its head.
func TestRecordsPageEntry(t *testing.T) {
	page, examples := recordsPage(t)
	var head struct {
		Layers []struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(examples["head"], &head); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"intent", "outcome"} {
		text := head.Layers[0].Annotations["io.github.artifact-promotion."+part]
		if text != string(examples[part]) {
			t.Errorf("the %s in the head is\n%s\nand the page shows\n%s", part, text, examples[part])
		}
		tree := decode(t, []byte(text)).(map[string]any)
		delete(tree, "held") // its members are tags
		explains(t, page, tree)
	}
	for _, state := range []document.Outcome{
		document.OutcomePending, document.OutcomePromoted, document.OutcomeRolledBack, document.OutcomeFailed, document.OutcomeInterrupted,
	} {
		if !strings.Contains(page, "`"+string(state)+"`") {
			t.Errorf("the page does not tell of the state %q", state)
		}
	}
}

// TestRecordsPageManifest: the page's manifest is the one that attaches the page's record to its image.
func TestRecordsPageManifest(t *testing.T) {
	_, examples := recordsPage(t)
	r, err := document.ParseRecord(examples["record"])
	if err != nil {
		t.Fatal(err)
	}
	record := v1.Descriptor{MediaType: document.RecordMediaType, Digest: hashOf(t, document.DigestOf(examples["record"])), Size: int64(len(examples["record"]))}
	image := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: hashOf(t, r.Digest), Size: 1609}
	if m, _ := ledger.RecordManifest(production, record, image); !bytes.Equal(m.Raw, examples["manifest"]) {
		t.Errorf("the page's manifest is\n%s\nand the program writes\n%s", examples["manifest"], m.Raw)
	}
}

// TestRecordsPageTags: the tags that the page names are those that the program keeps, and the rules for
// clean-ups spare them all.
func TestRecordsPageTags(t *testing.T) {
	page, examples := recordsPage(t)
	var rule struct {
		Selection struct {
			TagPatternList []string
			CountNumber    int
		}
	}
	if err := json.Unmarshal(examples["lifecycle"], &rule); err != nil || !reflect.DeepEqual(rule.Selection.TagPatternList, []string{"promotion-*"}) {
		t.Errorf("the rule is %+v, error %v", rule, err)
	}
	_, rules, _ := strings.Cut(page, "## Clean-ups")
	keep := regexp.MustCompile(`^(?:` + regexp.MustCompile("`name_regex_keep`: `([^`]*)`").FindStringSubmatch(rules)[1] + `)$`)
	for _, prefix := range []string{"promotion-ledger.env.<environment>.", "promotion-ledger.tag.<tag>.", "promotion-keep.<environment>."} {
		if !strings.Contains(page, "| `"+prefix) {
			t.Errorf("the page's table has no tag that begins with %s", prefix)
		}
	}
	l := ledger.Open(exampleStore{}, production, ledger.Run{})
	for _, tag := range append(l.Tags(ledger.View{}), production.Kept(1)) {
		if !keep.MatchString(tag) || !ledger.Reserved(tag) || !strings.HasPrefix(tag, "promotion-") {
			t.Errorf("the tag %s is not spared", tag)
		}
		if name := strings.Replace(tag, "production", "<environment>", 1); !strings.Contains(page, strings.TrimRight(name, "ab1")) {
			t.Errorf("the page does not tell of the tag %s", tag)
		}
	}
}

func decode(t *testing.T, raw []byte) (tree any) {
	t.Helper()
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

func hashOf(t *testing.T, text string) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// exampleStore has one manifest under every tag.
type exampleStore struct{ m registry.Manifest }

func (s exampleStore) ReadTag(context.Context, string) (registry.TagReading, error) {
	return registry.TagReading{Exists: true, Manifest: s.m, Began: time.Now()}, nil
}

func (exampleStore) WriteTag(context.Context, string, registry.Manifest, time.Time) error {
	return errors.New("read only")
}

func (exampleStore) PutBlob(context.Context, v1.Descriptor, []byte) error {
	return errors.New("read only")
}

func (exampleStore) Reference(tag string) string { return "registry.acme.example/prod/app:" + tag }
