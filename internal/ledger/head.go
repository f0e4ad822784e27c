package ledger

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations of a head, and of a segment.
const (
	ledgerAnnotation   = prefix + "ledger"   // name of the ledger; a tag may have lost its case
	sequenceAnnotation = prefix + "sequence" // of a head: how many heads were written, with this one
	closedAnnotation   = prefix + "closed"   // number of segments; of a segment: its own number
	previousAnnotation = prefix + "previous" // digest of the newest segment; of a segment: of the one before it
	movedAnnotation    = prefix + "moved"    // IDs of the entries that the newest two segments have
)

// What a registry takes: gitlab.com refuses manifests of more than 256 KB, ECR those of more than
// 500 layers.
const (
	maxEntries = 100
	maxHead    = 160 << 10 // bytes
)

// artifactType is one that GitLab has on its list of known types.
const artifactType = "application/vnd.in-toto+json"

// emptyConfig is the blob of every manifest that has no configuration (image-spec, "Guidance for
// an Empty Descriptor").
const emptyConfig = "{}"

var empty = v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: digestOf([]byte(emptyConfig)), Size: int64(len(emptyConfig))}

// head is what one of the two tags of a ledger says, or a segment.
type head struct {
	sequence int
	closed   int      // number of segments; of a segment: its own number
	previous string   // digest of the newest segment; of a segment: of the one before; empty: there is none
	moved    []string // IDs of entries that are in the newest two segments
	entries  []Entry
	digest   v1.Hash // of the manifest
}

// manifest is an image manifest (image-spec, "Guidelines for Artifact Usage").
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
}

// nameBlob is the only layer of a ledger without entries: some registries refuse a manifest
// without layers, and Gitea leaves out a digest that a manifest has twice.
func nameBlob(k Key) (d v1.Descriptor, raw []byte) {
	raw = []byte(encode(map[string]string{"ledger": k.String()}))
	return v1.Descriptor{MediaType: artifactType, Digest: digestOf(raw), Size: int64(len(raw))}, raw
}

// encode is the manifest of a head, or of a segment, whose sequence is 0.
func (h head) encode(k Key) registry.Manifest {
	m := manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifactType, Config: empty,
		Annotations: map[string]string{ledgerAnnotation: k.String(), closedAnnotation: strconv.Itoa(h.closed)},
	}
	for name, text := range map[string]string{previousAnnotation: h.previous, movedAnnotation: strings.Join(h.moved, " ")} {
		if text != "" {
			m.Annotations[name] = text
		}
	}
	if h.sequence > 0 {
		m.Annotations[sequenceAnnotation] = strconv.Itoa(h.sequence)
	}
	for _, e := range h.entries {
		m.Layers = append(m.Layers, e.layer)
	}
	if len(m.Layers) == 0 {
		name, _ := nameBlob(k)
		m.Layers = []v1.Descriptor{name}
	}
	return registry.NewManifest(string(types.OCIManifestSchema1), []byte(encode(m)))
}

// Limits of what is read.
const (
	maxLayers   = 500
	maxSequence = 100_000_000
	maxSegments = 10_000
	maxMoved    = 2 * maxLayers
)

// parseHead reads an untrusted manifest as a head or a segment of the ledger k.
func parseHead(m registry.Manifest, k Key) (*head, error) {
	var raw struct {
		ArtifactType string            `json:"artifactType"`
		Layers       json.RawMessage   `json:"layers"`
		Annotations  map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(m.Raw, &raw); err != nil {
		return nil, errors.New("it is not an image manifest")
	}
	name := raw.Annotations[ledgerAnnotation]
	switch {
	case raw.ArtifactType != artifactType || name == "":
		return nil, errors.New("it is not a ledger")
	case name != k.String():
		return nil, fmt.Errorf("it is the ledger of %q, not of %q", registry.Cut(name, 100), k.String())
	}
	moved := strings.Fields(raw.Annotations[movedAnnotation])
	h := &head{previous: raw.Annotations[previousAnnotation], moved: moved[max(0, len(moved)-maxMoved):], digest: m.Digest}
	var err error
	if h.sequence, err = number(raw.Annotations, sequenceAnnotation, maxSequence); err != nil {
		return nil, err
	}
	if h.closed, err = number(raw.Annotations, closedAnnotation, maxSegments); err != nil {
		return nil, err
	}
	if h.previous != "" && !isDigest(h.previous) {
		return nil, errors.New("the digest of its segment is not valid")
	}
	return h, h.readEntries(raw.Layers)
}

// number is an annotation's number, 0 if it is not there.
func number(annotations map[string]string, name string, most int) (int, error) {
	text := annotations[name]
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("its %s is %q", name, registry.Cut(text, 20))
	}
	return n, nil
}

func (h *head) readEntries(layers json.RawMessage) error {
	if len(layers) == 0 {
		return nil
	}
	n := 0
	return registry.EachDescriptor(layers, func(_ json.RawMessage, d v1.Descriptor) error {
		if n++; n > maxLayers || d.Digest.Hex == "" {
			return fmt.Errorf("one of its layers has no digest, or there are more than %d", maxLayers)
		}
		if n == 1 && d.Annotations == nil && string(d.MediaType) == artifactType { // nameBlob
			return nil
		}
		h.entries = append(h.entries, readEntry(d))
		return nil
	})
}

// size is about how many bytes the entries take in a manifest.
func size(entries []Entry) (bytes int) {
	for _, e := range entries {
		bytes += len(encode(e.layer)) + 1
	}
	return bytes
}

// union is everything that two states of a ledger say: all entries that are in no segment, each
// with the state that was written first. A final state is never replaced.
func union(a, b head) head {
	u := b
	if a.sequence > b.sequence {
		u = a
	}
	u.digest = v1.Hash{}
	if a.closed > b.closed {
		u.closed, u.previous, u.moved = a.closed, a.previous, a.moved
	} else if b.closed > a.closed {
		u.closed, u.previous, u.moved = b.closed, b.previous, b.moved
	}
	all := map[string]Entry{}
	for _, e := range slices.Concat(a.entries, b.entries) {
		if slices.Contains(u.moved, e.ID) {
			continue
		}
		if other, twice := all[e.ID]; twice {
			e = first(other, e)
		}
		all[e.ID] = e
	}
	u.entries = slices.SortedFunc(maps.Values(all), byNumber)
	return u
}

// first is the one of two states of an entry that counts: the final one that was written first,
// or the pending one that was renewed last.
func first(a, b Entry) Entry {
	if compareStates(a, b) <= 0 {
		return a
	}
	return b
}

// compareStates orders the states of an entry, the one that counts first. Two runs that resolve it
// at the same time may give it the same sequence; tags that the earlier one has moved since show
// the later one an interruption.
func compareStates(a, b Entry) int {
	byRank := cmp.Or(compareBool(a.Fault != "", b.Fault != ""), compareBool(a.IsOpen(), b.IsOpen()))
	if byRank != 0 {
		return byRank
	}
	if a.IsOpen() {
		byRank = b.Renewed.Compare(a.Renewed)
	}
	interrupted := document.OutcomeInterrupted
	return cmp.Or(byRank, cmp.Compare(a.Sequence, b.Sequence), compareBool(a.State() == interrupted, b.State() == interrupted), compareLayers(a.layer, b.layer))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareLayers orders layers by their bytes.
func compareLayers(a, b v1.Descriptor) int {
	if a.Digest == b.Digest && a.Size == b.Size && len(a.Annotations) == 2 && maps.Equal(a.Annotations, b.Annotations) {
		return 0 // nearly always
	}
	return cmp.Compare(encode(a), encode(b))
}

func byNumber(a, b Entry) int {
	if a.Number != b.Number {
		return a.Number - b.Number
	}
	if c := a.Begun.Compare(b.Begun); c != 0 {
		return c
	}
	return strings.Compare(a.ID, b.ID)
}

// find is the position of an entry; -1 if it is not there.
func (h head) find(id string) int {
	return slices.IndexFunc(h.entries, func(e Entry) bool { return e.ID == id })
}

// with is the head with an entry added or replaced.
func (h head) with(e Entry) head {
	h.entries = slices.Clone(h.entries)
	if at := h.find(e.ID); at >= 0 {
		h.entries[at] = e
		return h
	}
	h.entries = append(h.entries, e)
	slices.SortFunc(h.entries, byNumber)
	return h
}

// lacks reports whether other says anything that h does not.
func (h head) lacks(other head) bool {
	if h.closed < other.closed {
		return true
	}
	for _, e := range other.entries {
		if slices.Contains(h.moved, e.ID) {
			continue
		}
		at := h.find(e.ID)
		if at < 0 || first(h.entries[at], e).State() != h.entries[at].State() {
			return true
		}
	}
	return false
}
