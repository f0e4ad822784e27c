package document

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Outcome says what became of what a record announced.
type Outcome string

// The outcomes. Only the first two say that the environment holds the image.
const (
	OutcomePromoted    Outcome = "promoted"
	OutcomeRolledBack  Outcome = "rolled-back"
	OutcomeFailed      Outcome = "failed"      // nothing of it is in place
	OutcomeInterrupted Outcome = "interrupted" // it ended while its tags moved: some have, or point to something else
	OutcomePending     Outcome = "pending"     // its tags are about to move, or it ended while they did and nobody has looked since
)

// Good reports whether the environment came to hold the image.
func (o Outcome) Good() bool { return o == OutcomePromoted || o == OutcomeRolledBack }

// Line is a record's entry in a ledger: what a table of an environment's history
// shows. All text in it is a stranger's and unescaped.
type Line struct {
	Time           time.Time `json:"time"`           // when the record was written; UTC
	Moved          time.Time `json:"moved,omitzero"` // when they had moved, or were first seen to have; UTC; zero: not known
	Environment    string    `json:"environment,omitempty"`
	Mode           Mode      `json:"mode"`
	Outcome        Outcome   `json:"result"`
	From           string    `json:"from,omitempty"` // the environment before, else the source as it was asked for
	Repository     string    `json:"repository"`     // the target's
	Digest         string    `json:"digest"`         // of the image
	PreviousDigest string    `json:"previousDigest,omitempty"`
	Tags           []string  `json:"tags"` // names, moving ones first; the first few
	Actor          string    `json:"actor,omitempty"`
	Reason         string    `json:"reason,omitempty"` // at most 200 bytes of it
	Run            string    `json:"run,omitempty"`    // URL of the run's page
	Entry          string    `json:"entry,omitempty"`  // ID of its entry in the ledger
	Record         string    `json:"record"`           // digest of the record
	Size           int64     `json:"size"`             // of the record, in bytes
	Bytes          int64     `json:"bytes,omitempty"`  // of the image's blobs; 0: not known
	PreviousRecord string    `json:"previousRecord,omitempty"`
	Release        string    `json:"release,omitempty"` // digest that the records of one release share; empty: it moved alone
	Fault          string    `json:"fault,omitempty"`   // why the line cannot be relied on; such a line counts for nothing
}

// The most that a line takes of a record's text, in bytes.
const (
	maxReason = 200
	maxWord   = 300
	maxTagged = 1024 // of all tags together
)

// LineOf is the line of a record, whose bytes have the digest and size.
func LineOf(r Record, digest string, size int64, outcome Outcome) Line {
	line := Line{
		Time: r.Ended.UTC(), Environment: oneLine(r.Environment, maxWord), Mode: r.Mode, Outcome: outcome,
		From: oneLine(r.Source.Reference, maxWord), Repository: oneLine(r.Repository, maxName),
		Digest: r.Digest, PreviousDigest: r.PreviousDigest, Tags: fewTags(r.Tags),
		Actor: oneLine(r.Job.Actor, maxWord), Reason: oneLine(r.Reason, maxReason), Run: oneLine(r.Job.URL, maxWord),
		Entry: r.Entry, Record: digest, Size: size, Bytes: r.Bytes, PreviousRecord: r.PreviousRecord, Release: r.Release,
	}
	if r.Job.TriggeringActor != "" {
		line.Actor = oneLine(r.Job.TriggeringActor, maxWord)
	}
	if r.From != nil {
		line.From = oneLine(r.From.Environment, maxWord)
	}
	return line
}

// fewTags are as many as fit, moving ones first.
func fewTags(tags []RecordTag) []string {
	names, size := []string{}, 0
	for _, fixed := range []bool{false, true} {
		for _, tag := range tags {
			if tag.Fixed == fixed && size+len(tag.Name) < maxTagged {
				names, size = append(names, tag.Name), size+len(tag.Name)+1
			}
		}
	}
	return names
}

// oneLine is the text in valid characters, without line ends, and cut.
func oneLine(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "�")), " ")
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
