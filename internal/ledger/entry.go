package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations of an entry's layer: what was to happen, which never changes, and what became
// of it.
const (
	prefix            = "io.github.artifact-promotion."
	intentAnnotation  = prefix + "intent"
	outcomeAnnotation = prefix + "outcome"
)

// Entry is one promotion or rollback in a ledger. Its text is untrusted.
type Entry struct {
	ID     string
	Number int           // one more than the highest number when it was begun; runs at the same time may have the same
	Seen   []string      // IDs of the newest entries when it was begun: they tell if one of those is removed
	Record v1.Descriptor // of the record's bytes
	Line   document.Line // what a table shows of it; Outcome is its state
	Run    Run           // that wrote it
	Tags   []Tag
	Begun  time.Time // by the registry's clock, or that of the run's machine if the registry states none
	// Renewed is when its run last said that it is at work.
	Renewed  time.Time
	Sequence int       // of the head that its final state was first written in; 0: it is pending
	Resolved time.Time // when its final state was written
	By       string    // URL of the run that wrote its final state; empty: its own run
	Kept     Kept      // the rollback target that got a tag of its own beside it
	Fault    string    // why it cannot be relied on; it then counts for nothing

	layer v1.Descriptor // as it was read, or is to be written
}

// Run is a job that promotes.
type Run struct {
	Repository string `json:"repository,omitempty"`
	ID         string `json:"id,omitempty"` // empty: not of a workflow
	Attempt    int    `json:"attempt,omitempty"`
	Job        string `json:"job,omitempty"`
	URL        string `json:"url,omitempty"`
}

// precedes reports whether a run is an earlier attempt of another one. GitHub starts an attempt
// after the last one has ended. The jobs of a matrix have the same attempt, and are others.
func (r Run) precedes(o Run) bool {
	return r.ID != "" && r.Repository == o.Repository && r.ID == o.ID && r.Attempt < o.Attempt
}

// Tag is one tag of an entry. Digests are empty where the tag did not exist.
type Tag struct {
	Name  string `json:"name"`
	Fixed bool   `json:"fixed,omitempty"`
	Found string `json:"found,omitempty"` // digest when the entry was begun
	Back  string `json:"back,omitempty"`  // digest that a failed run reverts it to
	After string `json:"after,omitempty"` // digest that it is moved to
	Held  string `json:"-"`               // digest when the entry was resolved
}

// Kept is a rollback target that a tag keeps from clean-ups.
type Kept struct {
	Slot   int    `json:"slot,omitempty"` // from 1; 0: none was kept
	Digest string `json:"digest,omitempty"`
}

// State is the entry's: pending, or how it ended.
func (e Entry) State() document.Outcome { return e.Line.Outcome }

// IsOpen reports whether the entry has no final state yet.
func (e Entry) IsOpen() bool { return e.State() == document.OutcomePending && e.Fault == "" }

// Moves reports whether the entry is about any of the tags.
func (e Entry) Moves(tags []string) bool {
	return slices.ContainsFunc(e.Tags, func(t Tag) bool { return slices.Contains(tags, t.Name) })
}

// TagNames are the names of its tags.
func (e Entry) TagNames() (names []string) {
	for _, t := range e.Tags {
		names = append(names, t.Name)
	}
	return names
}

// intent is what an entry says before tags move.
type intent struct {
	ID     string        `json:"id"`
	Number int           `json:"number"`
	Seen   []string      `json:"seen,omitempty"`
	Begun  time.Time     `json:"begun"`
	Run    Run           `json:"run,omitzero"`
	Tags   []Tag         `json:"tags"`
	Kept   Kept          `json:"kept,omitzero"`
	Line   document.Line `json:"line"`
}

// outcome is the state of an entry. It names the record, so that it can be signed on its own.
type outcome struct {
	Record   string            `json:"record"`
	State    document.Outcome  `json:"state"`
	Renewed  time.Time         `json:"renewed,omitzero"`
	Sequence int               `json:"sequence,omitempty"`
	Resolved time.Time         `json:"resolved,omitzero"`
	By       string            `json:"by,omitempty"`
	Held     map[string]string `json:"held,omitempty"` // digest by tag
}

// newEntry makes the layer of an entry that was never written.
func newEntry(e Entry) Entry {
	line := e.Line
	line.Outcome, line.Moved, line.Fault = "", time.Time{}, ""
	e.Line.Record, e.Line.Size = e.Record.Digest.String(), e.Record.Size
	e.layer = v1.Descriptor{
		MediaType: document.RecordMediaType, Digest: e.Record.Digest, Size: e.Record.Size,
		Annotations: map[string]string{intentAnnotation: encode(intent{e.ID, e.Number, e.Seen, e.Begun, e.Run, e.Tags, e.Kept, line})},
	}
	return e.withOutcome()
}

// withOutcome is the entry with an outcome in its layer that says what its fields say. The
// intent stays as it was read, byte for byte.
func (e Entry) withOutcome() Entry {
	o := outcome{
		Record: e.Record.Digest.String(), State: e.State(), Renewed: e.Renewed,
		Sequence: e.Sequence, Resolved: e.Resolved, By: e.By,
	}
	if !e.IsOpen() {
		o.Renewed, o.Held = time.Time{}, map[string]string{}
		for _, t := range e.Tags {
			o.Held[t.Name] = t.Held
		}
	}
	e.layer.Annotations = maps.Clone(e.layer.Annotations)
	e.layer.Annotations[outcomeAnnotation] = encode(o)
	return e
}

// isTooLong reports whether a run that reads the entry would refuse it, now or with its outcome.
func (e Entry) isTooLong() bool {
	held := map[string]string{}
	for _, t := range e.Tags {
		held[t.Name] = t.After
	}
	ended := e.end(document.OutcomeInterrupted, held, e.Begun, e.Run.URL)
	return max(len(e.layer.Annotations[intentAnnotation]), len(ended.layer.Annotations[outcomeAnnotation])) > maxAnnotation-maxURL
}

// maxURL is room for the URL of another run that resolves an entry.
const maxURL = 300

// encode is the JSON of a value that has nothing JSON cannot write.
func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// Limits of what is read of an entry.
const (
	maxAnnotation = 16 << 10 // bytes of its intent or its outcome
	maxTags       = 100
	maxID         = 64
	maxNumber     = 10_000_000
	maxSeen       = 4
)

// readEntry reads an untrusted layer. A faulty entry says so in Fault, and keeps no other from
// being read.
func readEntry(d v1.Descriptor) Entry {
	e := Entry{Record: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, layer: d}
	if err := e.parse(d); err != nil {
		e.ID, e.Fault, e.Line.Fault = "faulty-"+d.Digest.String(), err.Error(), err.Error()
	}
	return e
}

func (e *Entry) parse(d v1.Descriptor) error {
	var i intent
	var o outcome
	for name, into := range map[string]any{intentAnnotation: &i, outcomeAnnotation: &o} {
		text := d.Annotations[name]
		if len(text) > maxAnnotation {
			return fmt.Errorf("its %s has %d bytes", name, len(text))
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			return fmt.Errorf("its %s is not readable", name)
		}
	}
	e.ID, e.Number, e.Seen, e.Begun, e.Run, e.Tags, e.Kept, e.Line = i.ID, i.Number, i.Seen, i.Begun.UTC(), i.Run, i.Tags, i.Kept, i.Line
	e.Renewed, e.Sequence, e.Resolved, e.By = o.Renewed.UTC(), o.Sequence, o.Resolved.UTC(), o.By
	e.Line.Outcome, e.Line.Moved = o.State, o.Resolved.UTC()
	e.Line.Record, e.Line.Size = d.Digest.String(), d.Size
	for n := range e.Tags {
		e.Tags[n].Held = o.Held[e.Tags[n].Name]
	}
	return e.check(d, o)
}

func (e *Entry) check(d v1.Descriptor, o outcome) error {
	switch {
	case d.MediaType != types.MediaType(document.RecordMediaType):
		return fmt.Errorf("its media type is %q", registry.Cut(string(d.MediaType), 100))
	case d.Size < 1 || d.Size > document.MaxRecord:
		return fmt.Errorf("its record has %d bytes", d.Size)
	case !template.ValidTag(e.ID) || len(e.ID) > maxID: // IDs are listed with blanks between them
		return fmt.Errorf("its ID is %q", registry.Cut(e.ID, 100))
	case e.Number < 1 || e.Number > maxNumber:
		return fmt.Errorf("it has the number %d", e.Number)
	case len(e.Seen) > maxSeen || slices.ContainsFunc(e.Seen, func(id string) bool { return !template.ValidTag(id) || len(id) > maxID }):
		return fmt.Errorf("it names %d entries before it, or one of them has no valid ID", len(e.Seen))
	case e.Begun.Year() < 1970 || e.Begun.Year() > 9999:
		return errors.New("it does not say when it was begun")
	case o.Record != d.Digest.String():
		return errors.New("its outcome is of another record")
	case !isState(o.State):
		return fmt.Errorf("it has the state %q", registry.Cut(string(o.State), 100))
	case (o.State == document.OutcomePending) != (o.Sequence == 0) || o.Sequence < 0:
		return fmt.Errorf("its state %s does not fit its sequence number %d", o.State, o.Sequence)
	case e.Kept.Slot < 0 || e.Kept.Slot > maxSlots || e.Kept.Digest != "" && !isDigest(e.Kept.Digest):
		return errors.New("the rollback target that it keeps is not valid")
	case len(e.Tags) == 0 || len(e.Tags) > maxTags:
		return errors.New("it has no tags, or too many: " + strconv.Itoa(len(e.Tags)))
	}
	return e.checkText()
}

func isState(s document.Outcome) bool {
	return s == document.OutcomePending || s == document.OutcomeFailed || s == document.OutcomeInterrupted || s.Good()
}

func (e *Entry) checkText() error {
	for _, t := range e.Tags {
		if !template.ValidTag(t.Name) {
			return fmt.Errorf("its tag %q is not valid", registry.Cut(t.Name, 100))
		}
		if !isDigest(t.After) {
			return fmt.Errorf("it moves tag %s to %q", t.Name, registry.Cut(t.After, 100))
		}
		for _, digest := range []string{t.Found, t.Back, t.Held} {
			if digest != "" && !isDigest(digest) {
				return fmt.Errorf("a digest of its tag %s is not valid", t.Name)
			}
		}
	}
	if !isDigest(e.Line.Digest) {
		return errors.New("the digest of its image is not valid")
	}
	for _, digest := range []string{e.Line.PreviousDigest, e.Line.PreviousRecord, e.Line.Release} {
		if digest != "" && !isDigest(digest) {
			return errors.New("one of its digests is not valid")
		}
	}
	return nil
}

func isDigest(text string) bool {
	h, err := v1.NewHash(text)
	return err == nil && h.Algorithm == "sha256"
}

// Lines are the entries as tables show them.
func Lines(entries []Entry) []document.Line {
	lines := make([]document.Line, 0, len(entries))
	for _, e := range entries {
		lines = append(lines, e.Line)
	}
	return lines
}
