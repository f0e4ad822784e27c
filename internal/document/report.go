package document

import "time"

// Result is the outcome of a run in one word. Workflows cannot see exit codes,
// so this word is their API: it is the output "result".
type Result string

// The results of a run. Their spelling is part of the contract.
const (
	Promoted     Result = "promoted"      // tags moved, or something that was missing was copied
	RolledBack   Result = "rolled-back"   // tags moved back to an earlier image
	Unchanged    Result = "unchanged"     // everything was there already
	WouldPromote Result = "would-promote" // a dry run that found something to do
	Planned      Result = "planned"       // a plan was made
	Listed       Result = "listed"        // the history was read
	Clean        Result = "clean"         // an audit without findings
	Findings     Result = "findings"      // an audit with findings
	Unrecorded   Result = "unrecorded"    // everything is promoted, and the ledger does not say so yet
	Denied       Result = "denied"        // a gate, a digest mismatch, drift, or a fixed tag
	Invalid      Result = "invalid"       // bad input
	Failed       Result = "failed"        // anything else; Report.Promotions says what state the target is in
)

// ExitCode is the process's exit code for the result: 0 done or nothing to do,
// 1 failed, not recorded or findings, 2 bad input, 3 denied.
func (r Result) ExitCode() int {
	switch r {
	case Promoted, RolledBack, Unchanged, WouldPromote, Planned, Listed, Clean:
		return 0
	case Invalid:
		return 2
	case Denied:
		return 3
	default:
		return 1
	}
}

// Report is everything that a run has to say. It is complete on every outcome.
// All text in it that came from a registry is a stranger's and unescaped:
// whoever prints it escapes it for its medium.
type Report struct {
	Result     Result      `json:"result"`
	Mode       string      `json:"mode,omitempty"` // promote, plan, apply, rollback, history or audit
	DryRun     bool        `json:"dryRun,omitempty"`
	NoGates    bool        `json:"noGates,omitempty"` // config: none; nothing was held to a gate
	TargetEnv  string      `json:"targetEnv,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Started    time.Time   `json:"started"`
	Ended      time.Time   `json:"ended"`
	Promotions []Promotion `json:"promotions"`
	Faults     []Fault     `json:"faults,omitempty"`
	Notices    []string    `json:"notices,omitempty"`

	Config    *Config  `json:"config,omitempty"`
	Overrides []string `json:"overrides,omitempty"` // gates that were overridden although they did not pass
	Plan      *Plan    `json:"plan,omitempty"`      // that was made, or applied
	PlanFile  string   `json:"planFile,omitempty"`  // where the plan was written, as it is too large for an output
	Job       Job      `json:"job"`

	Histories []History `json:"histories,omitempty"` // one for each environment and image that was asked for
	Lineage   []Holding `json:"lineage,omitempty"`   // what every environment holds now, in the config's order
	Findings  []Finding `json:"findings,omitempty"`  // of an audit
	Audited   []string  `json:"audited,omitempty"`   // references of what was held against a record: moving tags, or an image

	Uncompared []Uncompared `json:"uncompared,omitempty"` // what was to be audited besides
}

// Fault is one thing that went wrong, and what to do about it.
type Fault struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do; may have several lines
	Gate    string `json:"gate,omitempty"` // whose verdict it is; the verdicts say it too
}

// Promotion is one image brought to one target repository.
type Promotion struct {
	Source      Source       `json:"source"`
	Digest      string       `json:"digest,omitempty"` // empty until resolved
	MediaType   string       `json:"mediaType,omitempty"`
	Repository  string       `json:"repository"` // the target's
	Tags        []Tag        `json:"tags"`
	Platforms   []string     `json:"platforms,omitempty"` // os/arch[/variant], attestation manifests left out
	Attachments []Attachment `json:"attachments,omitempty"`
	Content     Content      `json:"content"`
	Copied      Copied       `json:"copied"`
	Verified    string       `json:"verified,omitempty"`    // manifests, blobs or content; empty until verified
	Image       string       `json:"image,omitempty"`       // its name in the config's images
	From        *Held        `json:"from,omitempty"`        // what the environment before holds
	Gates       []Verdict    `json:"gates,omitempty"`       // every gate's verdict
	Missing     *Missing     `json:"missing,omitempty"`     // of a plan: what a copy would bring
	Record      string       `json:"record,omitempty"`      // digest of the record; empty: none was written
	Recorded    bool         `json:"recorded,omitempty"`    // the ledger lists the record
	LedgerHeads []string     `json:"ledgerHeads,omitempty"` // digests of the ledger's heads, as the run left them
	Brought     *Line        `json:"brought,omitempty"`     // of a rollback: what brought the image there before; nil: no record tells
}

// Source is where an image was read from.
type Source struct {
	Reference  string `json:"reference"` // as it was asked for
	Repository string `json:"repository"`
	Tag        string `json:"tag,omitempty"`
}

// Tag is one tag of a target and what became of it.
type Tag struct {
	Reference string   `json:"reference"` // registry/path:tag
	Fixed     bool     `json:"fixed,omitempty"`
	Before    string   `json:"before,omitempty"` // digest; empty: it did not exist, or was not read yet
	After     string   `json:"after,omitempty"`  // digest; empty: it does not exist, or is unknown
	State     TagState `json:"state"`
	Note      string   `json:"note,omitempty"` // a sentence where the state alone does not say it
}

// TagState says what became of a tag.
type TagState string

// The states of a tag.
const (
	TagPending   TagState = "pending"   // not touched: the run ended, or has not come so far
	TagUnchanged TagState = "unchanged" // held the digest already
	TagMoved     TagState = "moved"     // holds the new digest now
	TagPutBack   TagState = "put-back"  // was moved and holds its old digest again, or is gone again
	TagLeft      TagState = "left"      // was moved and could not be put back; Note says why
	TagTaken     TagState = "taken"     // somebody else moved it meanwhile; it was let alone
	TagUnknown   TagState = "unknown"   // could not be read after a write; Note says what to check
)

// Attachment is something attached to an image without being part of it.
type Attachment struct {
	Digest       string `json:"digest"`
	Subject      string `json:"subject"`
	ArtifactType string `json:"artifactType,omitempty"` // of a referrer
	Tag          string `json:"tag,omitempty"`          // of cosign's tag scheme: sha256-<hex>.sig
}

// Content counts what belongs to an image, attachments included; zero until it
// was read.
type Content struct {
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`
	Bytes     int64 `json:"bytes"` // of the blobs
}

// Copied counts what a promotion did at the target.
type Copied struct {
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`   // sent through this machine
	Mounted   int   `json:"mounted"` // taken over inside the registry
	Present   int   `json:"present"` // blobs that were there already
	Bytes     int64 `json:"bytes"`   // of the blobs sent
}
