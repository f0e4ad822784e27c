package promote_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// The form of a ledger, as the tests read and write it, by none of the program's own means.
const (
	annotated     = "io.github.artifact-promotion."
	inToto        = "application/vnd.in-toto+json"
	emptyType     = "application/vnd.oci.empty.v1+json"
	emptyDigest   = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	ledgerPattern = `promotion-ledger\.`
)

// entryIntent is what an entry says before tags move.
type entryIntent struct {
	ID     string         `json:"id"`
	Number int            `json:"number"`
	Seen   []string       `json:"seen,omitempty"`
	Begun  time.Time      `json:"begun"`
	Run    entryRun       `json:"run,omitzero"`
	Tags   []entryTag     `json:"tags"`
	Kept   map[string]any `json:"kept,omitempty"`
	Line   entryLine      `json:"line"`
}

type entryRun struct {
	Repository string `json:"repository,omitempty"`
	ID         string `json:"id,omitempty"`
	Attempt    int    `json:"attempt,omitempty"`
	Job        string `json:"job,omitempty"`
	URL        string `json:"url,omitempty"`
}

type entryTag struct {
	Name  string `json:"name"`
	Fixed bool   `json:"fixed,omitempty"`
	Found string `json:"found,omitempty"`
	Back  string `json:"back,omitempty"`
	After string `json:"after,omitempty"`
}

type entryLine struct {
	Time           time.Time `json:"time"`
	Environment    string    `json:"environment,omitempty"`
	Mode           string    `json:"mode"`
	From           string    `json:"from,omitempty"`
	Repository     string    `json:"repository"`
	Digest         string    `json:"digest"`
	PreviousDigest string    `json:"previousDigest,omitempty"`
	Tags           []string  `json:"tags"`
	Actor          string    `json:"actor,omitempty"`
	Reason         string    `json:"reason,omitempty"`
	Run            string    `json:"run,omitempty"`
	Entry          string    `json:"entry,omitempty"`
	Record         string    `json:"record"`
	Size           int64     `json:"size"`
	Bytes          int64     `json:"bytes,omitempty"`
	PreviousRecord string    `json:"previousRecord,omitempty"`
	Release        string    `json:"release,omitempty"`
}

// entryOutcome is what became of an entry.
type entryOutcome struct {
	Record   string            `json:"record"`
	State    string            `json:"state"`
	Renewed  time.Time         `json:"renewed,omitzero"`
	Sequence int               `json:"sequence,omitempty"`
	Resolved time.Time         `json:"resolved,omitzero"`
	By       string            `json:"by,omitempty"`
	Held     map[string]string `json:"held,omitempty"`
}

// entry is one of a ledger.
type entry struct {
	record  string
	size    int64
	intent  entryIntent
	outcome entryOutcome
}

func (e entry) good() bool { return e.outcome.State == "promoted" || e.outcome.State == "rolled-back" }

// head is one of the two tags of a ledger.
type head struct {
	SchemaVersion int                  `json:"schemaVersion"`
	MediaType     string               `json:"mediaType"`
	ArtifactType  string               `json:"artifactType"`
	Config        regtest.Descriptor   `json:"config"`
	Layers        []regtest.Descriptor `json:"layers"`
	Annotations   map[string]string    `json:"annotations"`
}

// ledgerTags are the two heads of an environment's ledger, or of a tag's.
func ledgerTags(kind, name string) [2]string {
	begin := "promotion-ledger." + kind + "." + name + "."
	return [2]string{begin + "a", begin + "b"}
}

// readEntries reads a ledger by its heads: that of an environment of the name, else of a tag of it. What stands in both
// heads is one entry, with its outcome if either has it.
func readEntries(ctx context.Context, at regtest.Access, repo, name string) ([]entry, error) {
	for _, kind := range []string{"env", "tag"} {
		all, err := readEntriesOf(ctx, at, repo, ledgerTags(kind, name))
		if err != nil || len(all) > 0 {
			return all, err
		}
	}
	return nil, nil
}

func readEntriesOf(ctx context.Context, at regtest.Access, repo string, tags [2]string) ([]entry, error) {
	var heads [][]entry
	for _, tag := range tags {
		if _, exists, err := regtest.TagDigest(ctx, at, repo, tag); err != nil || !exists {
			if err != nil {
				return nil, err
			}
			continue
		}
		_, text, err := regtest.GetManifest(ctx, at, repo, tag)
		if err != nil {
			return nil, err
		}
		entries, err := entriesIn(text)
		if err != nil {
			return nil, fmt.Errorf("head %s: %w", tag, err)
		}
		heads = append(heads, entries)
	}
	return unionOf(heads...), nil
}

// unionOf is what heads say together, oldest first.
func unionOf(heads ...[]entry) (all []entry) {
	union := map[string]entry{}
	for _, entries := range heads {
		for _, e := range entries {
			if other, twice := union[e.intent.ID]; !twice || other.outcome.State == "pending" {
				union[e.intent.ID] = e
			}
		}
	}
	for _, e := range union {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.intent.Number, b.intent.Number), a.intent.Begun.Compare(b.intent.Begun), strings.Compare(a.intent.ID, b.intent.ID))
	})
	return all
}

func entriesIn(manifest []byte) (all []entry, err error) {
	var h head
	if err := json.Unmarshal(manifest, &h); err != nil {
		return nil, err
	}
	for _, l := range h.Layers {
		e := entry{record: l.Digest, size: l.Size}
		if l.Annotations[annotated+"intent"] == "" {
			continue // the layer of a ledger without entries
		}
		for name, into := range map[string]any{"intent": &e.intent, "outcome": &e.outcome} {
			if err := json.Unmarshal([]byte(l.Annotations[annotated+name]), into); err != nil {
				return nil, fmt.Errorf("%s of %s: %w", name, l.Digest, err)
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// layer is the entry as a head has it.
func (e entry) layer(t testing.TB) regtest.Descriptor {
	t.Helper()
	d := regtest.Descriptor{MediaType: inToto, Digest: e.record, Size: e.size, Annotations: map[string]string{}}
	for name, from := range map[string]any{"intent": e.intent, "outcome": e.outcome} {
		text, err := json.Marshal(from)
		if err != nil {
			t.Fatal(err)
		}
		d.Annotations[annotated+name] = string(text)
	}
	return d
}

// headWith is a head's manifest.
func headWith(t testing.TB, kind, name string, sequence int, entries []entry) []byte {
	t.Helper()
	return headOf(t, kind, name, sequence, 0, "", nil, entries)
}

// headOf is the manifest of a head of a ledger with segments, or of a segment, whose sequence is 0.
func headOf(t testing.TB, kind, name string, sequence, closed int, previous string, moved []string, entries []entry) []byte {
	t.Helper()
	h := head{
		SchemaVersion: 2, MediaType: "application/vnd.oci.image.manifest.v1+json", ArtifactType: inToto,
		Config:      regtest.Descriptor{MediaType: emptyType, Digest: emptyDigest, Size: 2},
		Annotations: map[string]string{annotated + "ledger": kind + ":" + name, annotated + "closed": fmt.Sprint(closed)},
	}
	for name, text := range map[string]string{"previous": previous, "moved": strings.Join(moved, " ")} {
		if text != "" {
			h.Annotations[annotated+name] = text
		}
	}
	if sequence > 0 {
		h.Annotations[annotated+"sequence"] = fmt.Sprint(sequence)
	}
	for _, e := range entries {
		h.Layers = append(h.Layers, e.layer(t))
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// noLedger matches the writing of a ledger.
func noLedger(q *http.Request) bool {
	return q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/promotion-ledger")
}
