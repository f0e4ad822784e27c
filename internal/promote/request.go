package promote

import (
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/github"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Mode is what a run does.
type Mode string

// The modes. Promote is also what the empty mode means.
const (
	Promote Mode = "promote"
	Plan    Mode = "plan"  // pin every digest, judge the gates, write nothing
	Apply   Mode = "apply" // promote exactly what a plan says

	Rollback Mode = "rollback" // go back to an earlier image
	History  Mode = "history"  // list what the records say
	Audit    Mode = "audit"    // compare what the registry holds with what the records say
)

// Request is what a user asked for, checked for form and free of contradictions.
type Request struct {
	Mode        Mode
	Items       []Item         // of a rollback: its sources are the targets' repositories, without tag and digest
	DryRun      bool           // stop after the gates
	Attachments bool           // carry signatures, attestations, SBOMs and other referrers
	Verify      transfer.Level // how much is read back at the target
	Reason      string
	TargetEnv   string // what {{env}} stands for
	NoGates     bool   // config: none
	RunNumber   string // what {{run-number}} stands for
	Started     time.Time

	Job      document.Job
	GitHub   *github.Client   // for the evidence of gates and for nothing else; nil: nobody to ask
	Config   *document.Config // that was read; nil: none
	Gates    *Gates           // of TargetEnv; nil: nothing is held to a gate
	Trespass Trespass         // nil: no tag belongs to an environment
	ValidFor time.Duration    // of a plan
	Plan     *document.Plan   // that is applied; nil unless Mode is Apply
	Lease    time.Duration    // how long the run of an open entry counts as at work; 0: two minutes
	Record   Recording        // what to do where the ledger cannot be written
	Keep     int              // how many rollback targets get tags of the program's own; 0: none
	// AttachRecords attaches records to images also where the registry has no referrers API.
	AttachRecords bool

	Version string  // of the program, for records
	To      To      // where a rollback goes
	Stages  []Stage // of History and Audit: what they are about; Items are then empty
	Query   Query   // of History
}

// To is where a rollback goes. The zero value is what the environment held before.
type To struct {
	Text   string  // as the user wrote it
	Digest v1.Hash // an image's or a record's
	Tag    string
}

// Stage is one image's place in an environment, or a tag alone, as its records know
// it.
type Stage struct {
	Environment string // empty: a tag alone
	Image       string // its name in the config's images; may be empty
	From        string // the environment before it; empty: none
	Repository  name.Repository
	Ledger      string   // what its ledger is called: the environment, else the first moving tag
	Tags        []string // moving ones that are the same in every run; the first is what it holds
	Asked       bool     // else it is there for the lineage alone
}

// Query says which records a history lists.
type Query struct {
	Since time.Time // zero: whenever
	Limit int       // the newest so many of each environment; 0: all
	Find  v1.Hash   // only where this image came or went; zero: any
}

// Trespass tells which other environment a rendered tag belongs to; empty if none.
type Trespass func(repository name.Repository, tag string) (environment string)

// Gates are what an environment asks, and what the user overrides of it.
type Gates struct {
	Policy      gate.Policy
	Overridable []string // gates that the config lets be overridden
	Overrides   []string // those of them that the user overrides, with a reason
}

// Item is one source image and everywhere it goes.
type Item struct {
	Image   string // its name in the config's images; may be empty
	Source  Source
	From    *From    // what must hold the image already; nil: nothing
	Targets []Target // at least one, no repository twice
}

// From is the tag by which the environment before this one names what it holds.
type From struct {
	Environment string
	Repository  name.Repository
	Tag         string
	Held        v1.Hash // what it held when the plan was made that is applied
}

// Source names an image: by Tag, by Digest, or by both, which then must agree.
type Source struct {
	Text       string // as the user wrote it
	Repository name.Repository
	Tag        string  // may be empty
	Digest     v1.Hash // zero: whatever Tag holds
}

// Target is a repository and the tags to move there.
type Target struct {
	Repository name.Repository
	Tags       []Tag // at least one
}

// Tag is a tag that is rendered once the image is known.
type Tag struct {
	Template template.Template
	Fixed    bool    // written once, never changed
	Pinned   bool    // a plan says what it held
	Before   v1.Hash // what it held then; zero: it did not exist
}
