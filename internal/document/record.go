package document

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// What a record says that it is (in-toto Statement v1; SLSA Verification Summary
// v1, whose producers may add members that are named by URIs).
const (
	RecordMediaType = "application/vnd.in-toto+json" // of a record's bytes
	statementType   = "https://in-toto.io/Statement/v1"
	PredicateType   = "https://slsa.dev/verification_summary/v1"
	verifierID      = "https://github.com/artifact-promotion/promote"
	recordSchema    = "https://github.com/artifact-promotion/promote/record/v1"
)

// MaxRecord is the largest record, in bytes.
const MaxRecord = 1 << 20

// Mode says what kind of change a record is of.
type Mode string

// The kinds of change that this version knows. A newer one may know more.
const (
	ModePromote  Mode = "promote"
	ModeRollback Mode = "rollback"
)

// Record says what one promotion or rollback is about to do to the tags of one
// repository, and why it may. It is written before the first tag moves and is never
// changed: what became of it is the [Outcome] of its line in the ledger.
type Record struct {
	Version     string // of the program that wrote it
	Repository  string // the target's, registry/path
	Digest      string // of the image
	Mode        Mode
	Environment string  // empty: none was named, and the first moving tag stands for it
	Ledger      string  // what its ledger is called: the environment, else that tag
	Entry       string  // ID of its entry there
	Policy      *Policy // the config that its gates are from; nil: none

	From           *Held // what the environment before held; nil: there is none
	Source         Source
	Tags           []RecordTag
	PreviousDigest string // that the first moving tag held; empty: it did not exist

	Job       Job
	Approvers []string
	Reason    string
	Gates     []Verdict
	Overrides []string // gates that did not pass and were overridden

	Started time.Time
	Ended   time.Time // when the gates had been judged, and this was written; when the tags had moved, the ledger says
	Bytes   int64     // of the image's blobs

	// Attachments are what goes along with the image, or is attached to it: the digests of
	// referrers, and the names of cosign's tags, whose manifests change with every further
	// signature. Of more than 500 the lowest. Encode sorts and cuts them, and counts the
	// rest. A rollback has none where Restores says what lists them.
	Attachments        []string
	AttachmentsOmitted int

	Restores       string   // digest of the record of what had brought the image there before; empty: it is no rollback, or no record tells
	Release        string   // digest that the records of one release share; empty: it moved alone
	Members        []Member // of the release, this one included
	PreviousRecord string   // digest of the record before it in the ledger; empty: there was none
}

// Policy is a config file as a record names it.
type Policy struct {
	URI    string // its path, with @ref where it was read at one
	Digest string // of its bytes
}

// Member is one promotion of a release.
type Member struct {
	Repository string      `json:"repository"`
	Ledger     string      `json:"ledger"`
	Digest     string      `json:"digest"`
	Tags       []RecordTag `json:"tags"`
}

// RecordTag is one tag, and what it was to become.
type RecordTag struct {
	Name   string `json:"name"`
	Fixed  bool   `json:"fixed,omitempty"`
	Before string `json:"before,omitempty"` // digest; empty: it did not exist
	After  string `json:"after"`
}

// statement is a record as it is written.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     predicate `json:"predicate"`
}

type subject struct {
	Name   string    `json:"name"`
	Digest digestSet `json:"digest"`
}

// digestSet has one digest: algorithm to hex.
type digestSet map[string]string

type predicate struct {
	Verifier           verifier      `json:"verifier"`
	TimeVerified       time.Time     `json:"timeVerified"`
	ResourceURI        string        `json:"resourceUri"`
	Policy             *policy       `json:"policy,omitempty"`
	VerificationResult string        `json:"verificationResult"`
	VerifiedLevels     []string      `json:"verifiedLevels"`
	Record             *recordMember `json:"https://github.com/artifact-promotion/promote/record/v1"`
}

type verifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type policy struct {
	URI    string    `json:"uri"`
	Digest digestSet `json:"digest"`
}

// recordMember is what the summary has no place for.
type recordMember struct {
	SchemaVersion   int         `json:"schemaVersion"`
	Mode            Mode        `json:"mode"`
	Environment     string      `json:"environment,omitempty"`
	Ledger          string      `json:"ledger"`
	Entry           string      `json:"entry,omitempty"`
	From            *Held       `json:"from,omitempty"`
	Source          Source      `json:"source"`
	Tags            []RecordTag `json:"tags"`
	PreviousDigest  string      `json:"previousDigest,omitempty"`
	Actor           string      `json:"actor,omitempty"`
	TriggeringActor string      `json:"triggeringActor,omitempty"`
	Approvers       []string    `json:"approvers,omitempty"`
	Run             recordRun   `json:"run"`
	Reason          string      `json:"reason,omitempty"`
	Gates           []Verdict   `json:"gates"`
	Overrides       []string    `json:"overrides,omitempty"`
	Started         time.Time   `json:"started"`
	Ended           time.Time   `json:"ended"`
	Bytes           int64       `json:"bytes"`
	Attachments     []string    `json:"attachments,omitempty"`
	Omitted         int         `json:"attachmentsOmitted,omitempty"`
	Restores        string      `json:"restores,omitempty"`
	Release         string      `json:"release,omitempty"`
	Members         []Member    `json:"members,omitempty"`
	PreviousRecord  string      `json:"previousRecord,omitempty"`
}

type recordRun struct {
	URL        string `json:"url,omitempty"`
	ID         string `json:"id,omitempty"`
	Attempt    string `json:"attempt,omitempty"`
	Job        string `json:"job,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	Commit     string `json:"commit,omitempty"`
	Repository string `json:"repository,omitempty"`
}

// Encode is the record's JSON. A record that [ParseRecord] would not take is an
// error: what is written for good must be readable.
func (r Record) Encode() ([]byte, error) {
	r.Started, r.Ended, r.Gates = r.Started.UTC(), r.Ended.UTC(), verdictsInUTC(r.Gates)
	r.cutAttachments()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("write the record: %w", err)
	}
	raw, err := json.Marshal(r.statement())
	if err != nil {
		return nil, fmt.Errorf("write the record: %w", err)
	}
	if len(raw) > MaxRecord {
		return nil, fmt.Errorf("write the record: it has %d bytes, more than the %d that a record can have", len(raw), MaxRecord)
	}
	return raw, nil
}

// maxAttachments is how many attachments a record names.
const maxAttachments = 500

func (r *Record) cutAttachments() {
	all := slices.Clone(r.Attachments)
	slices.Sort(all)
	all = slices.Compact(all)
	r.Attachments = all[:min(len(all), maxAttachments)]
	r.AttachmentsOmitted += len(all) - len(r.Attachments)
}

func (r Record) statement() statement {
	return statement{
		Type:          statementType,
		Subject:       []subject{{r.Repository, setOf(r.Digest)}},
		PredicateType: PredicateType,
		Predicate: predicate{
			Verifier:           verifier{ID: verifierID, Version: versions(r.Version)},
			TimeVerified:       r.Ended,
			ResourceURI:        r.resource(),
			Policy:             r.policy(),
			VerificationResult: r.result(),
			VerifiedLevels:     []string{},
			Record:             r.member(),
		},
	}
}

func (r Record) member() *recordMember {
	return &recordMember{
		SchemaVersion: 1, Mode: r.Mode, Environment: r.Environment, Ledger: r.Ledger, Entry: r.Entry,
		From: r.From, Source: r.Source, Tags: append([]RecordTag{}, r.Tags...), PreviousDigest: r.PreviousDigest,
		Actor: r.Job.Actor, TriggeringActor: r.Job.TriggeringActor, Approvers: r.Approvers,
		Run: recordRun{
			URL: r.Job.URL, ID: r.Job.RunID, Attempt: r.Job.Attempt, Job: r.Job.Name,
			Workflow: r.Job.Workflow, Commit: r.Job.Commit, Repository: r.Job.Repository,
		},
		Reason: r.Reason, Gates: r.Gates, Overrides: r.Overrides,
		Started: r.Started, Ended: r.Ended, Bytes: r.Bytes, Attachments: r.Attachments, Omitted: r.AttachmentsOmitted,
		Restores: r.Restores, Release: r.Release, Members: r.Members, PreviousRecord: r.PreviousRecord,
	}
}

// resource names the environment too, so that a pass for one is none for another.
func (r Record) resource() string {
	query := url.Values{"tag": {r.Ledger}}
	if r.Environment != "" {
		query = url.Values{"environment": {r.Environment}}
	}
	return "oci://" + r.Repository + "?" + query.Encode()
}

func (r Record) policy() *policy {
	if r.Policy == nil {
		return nil
	}
	return &policy{URI: r.Policy.URI, Digest: setOf(r.Policy.Digest)}
}

// result is what the gates say: overriding one is a pass that the record explains.
func (r Record) result() string {
	for _, v := range r.Gates {
		if !v.Passes() {
			return "FAILED"
		}
	}
	return "PASSED"
}

func versions(version string) map[string]string {
	if version == "" {
		return nil
	}
	return map[string]string{verifierID: version}
}

func setOf(digest string) digestSet {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return digestSet{algorithm: hex}
}

func verdictsInUTC(gates []Verdict) []Verdict {
	all := append([]Verdict{}, gates...)
	for i, v := range all {
		if v.FreeAt != nil {
			free := v.FreeAt.UTC()
			all[i].FreeAt = &free
		}
	}
	return all
}
