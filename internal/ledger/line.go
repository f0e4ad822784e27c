package ledger

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// notes begins the name of every annotation.
const notes = "io.github.artifact-promotion."

// entry is a line as it is written: the descriptor of the record's blob, whose
// annotations are the line. Those that are not known here are kept.
type entry struct {
	document.Line
	layer v1.Descriptor
}

// newEntry makes a line's descriptor, on top of the annotations that it had.
func newEntry(line document.Line, had map[string]string) (entry, error) {
	digest, err := v1.NewHash(line.Record)
	if err != nil {
		return entry{}, fmt.Errorf("the record's digest %q is none", registry.Cut(line.Record, 100))
	}
	all := maps.Clone(had)
	if all == nil {
		all = map[string]string{}
	}
	for name, text := range annotated(line) {
		if text != "" {
			all[notes+name] = text
		}
	}
	return entry{line, v1.Descriptor{MediaType: document.RecordMediaType, Digest: digest, Size: line.Size, Annotations: all}}, nil
}

// annotated is what a line says besides its record's digest and size.
func annotated(l document.Line) map[string]string {
	moved := ""
	if !l.Moved.IsZero() {
		moved = l.Moved.UTC().Format(time.RFC3339Nano)
	}
	bytes := ""
	if l.Bytes > 0 {
		bytes = strconv.FormatInt(l.Bytes, 10)
	}
	return map[string]string{
		"moved": moved, "bytes": bytes,
		"time": l.Time.UTC().Format(time.RFC3339Nano), "environment": l.Environment, "mode": string(l.Mode), "result": string(l.Outcome),
		"from": l.From, "repository": l.Repository, "digest": l.Digest, "previous-digest": l.PreviousDigest,
		"tags": strings.Join(l.Tags, ","), "actor": l.Actor, "reason": l.Reason, "run": l.Run,
		"previous-record": l.PreviousRecord, "record-tag": l.RecordTag, "release": l.Release,
	}
}

// readEntry reads a line as a stranger's text. One that is damaged must not keep
// others from being read: it says so itself.
func readEntry(d v1.Descriptor) entry {
	line := document.Line{
		Environment: noted(d, "environment"), Mode: document.Mode(noted(d, "mode")), Outcome: document.Outcome(noted(d, "result")),
		From: noted(d, "from"), Repository: noted(d, "repository"), Digest: noted(d, "digest"), PreviousDigest: noted(d, "previous-digest"),
		Tags: []string{}, Actor: noted(d, "actor"), Reason: noted(d, "reason"), Run: noted(d, "run"),
		Record: d.Digest.String(), Size: d.Size, PreviousRecord: noted(d, "previous-record"), RecordTag: noted(d, "record-tag"),
		Release: noted(d, "release"),
	}
	if tags := noted(d, "tags"); tags != "" {
		line.Tags = strings.Split(tags, ",")
	}
	line.Bytes, _ = strconv.ParseInt(noted(d, "bytes"), 10, 64)
	line.Time, line.Moved = timeOf(noted(d, "time")), timeOf(noted(d, "moved"))
	if err := checkLine(line, d); err != nil {
		line.Fault = err.Error()
	}
	return entry{line, d}
}

// timeOf is a time in UTC, zero if the text is none.
func timeOf(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t.UTC()
}

// maxNote is the longest text of a line that is taken, in bytes.
const maxNote = 2048

func noted(d v1.Descriptor, name string) string {
	return registry.Cut(d.Annotations[notes+name], maxNote)
}

func checkLine(l document.Line, d v1.Descriptor) error {
	switch {
	case d.MediaType != types.MediaType(document.RecordMediaType):
		return fmt.Errorf("it is of the type %q, and no record", registry.Cut(string(d.MediaType), 100))
	case d.Size < 1 || d.Size > document.MaxRecord:
		return fmt.Errorf("its record cannot have %d bytes", d.Size)
	case l.Time.IsZero(), l.Moved.IsZero() && noted(d, "moved") != "":
		return errors.New("one of its times is missing, or is none")
	case l.Bytes < 0, l.Bytes == 0 && noted(d, "bytes") != "":
		return errors.New("the number of its image's bytes is none")
	case l.Outcome == "":
		return errors.New("it has no result")
	case l.Repository == "":
		return errors.New("it names no repository")
	case l.RecordTag != "" && !template.ValidTag(l.RecordTag):
		return fmt.Errorf("its record's tag %q is none", registry.Cut(l.RecordTag, 100))
	case !isDigest(l.Digest):
		return errors.New("the digest of its image is none")
	}
	for _, digest := range []string{l.PreviousDigest, l.PreviousRecord, l.Release} {
		if digest != "" && !isDigest(digest) {
			return errors.New("one of its digests is none")
		}
	}
	for _, tag := range l.Tags {
		if !template.ValidTag(tag) {
			return fmt.Errorf("its tag %q is none", registry.Cut(tag, 100))
		}
	}
	return nil
}
