package gate

import "time"

// Evidence is what is known about one promotion when its gates are judged.
type Evidence struct {
	Now         time.Time
	Environment string
	Actor       string   // who started the run
	Persons     []string // who must not approve where the actor must not: the actor, and who ran it again
	Source      Source
	Target      Target
	Image       Image
	Previous    *Image    // what the target's first moving tag holds; nil: it does not exist, or was not needed
	RolledBack  *Rollback // from this image, which the environment does not hold since; nil: there was none
	From        *Held     // nil: the environment has none before it
	Checks      CheckEvidence
	Approvals   ApprovalEvidence
	Order       OrderEvidence
}

// Source is where the image comes from.
type Source struct {
	Reference  string // as it was asked for
	Repository string // registry/path
	Tag        string // may be empty
}

// Target is where the image goes.
type Target struct {
	Repository string
	Tags       []string // names, moving ones first
}

// Image is what is known of an image.
type Image struct {
	Name      string // in the config's images; may be empty
	Digest    string
	MediaType string
	Variants  []Variant // one for each platform, attestation manifests left out
	Size      int64     // of all blobs, in bytes
	Digests   []string  // of everything that belongs to it: manifests, configurations, layers, attachments
}

// Variant is an image for one platform.
type Variant struct {
	Platform string // os/arch[/variant]; empty: not known
	Digest   string
	Created  time.Time         // zero: not known
	Labels   map[string]string // of its configuration, overlaid with its manifest's annotations and the index's
}

// Held is what the environment before this one holds.
type Held struct {
	Environment string
	Reference   string // its first moving tag
	Digest      string // empty: the tag does not exist
	Planned     bool   // it held that when the plan was made
	Err         error  // it could not be read

	// What the environment's records say.
	Recorded  bool      // there are any; else only its tag tells what it holds
	Record    string    // digest that it holds as the last record says
	Since     time.Time // when it came to hold Record, without a break
	LedgerErr error     // they could not be read
	Open      string    // a promotion that has not ended may move its tags, and what to do; empty: none
}

// CheckEvidence is what GitHub says about a commit.
type CheckEvidence struct {
	Repository string // owner/name that was asked
	Commit     string
	List       []Check // of all names, newest first for each name
	Err        error   // it could not be asked; the sentence says what to do
}

// Check is a check run or a commit status.
type Check struct {
	Name   string
	State  CheckState
	Detail string // GitHub's own word: "timed_out"
	URL    string
}

// CheckState is how a check stands.
type CheckState int

// How a check stands.
const (
	CheckFailed  CheckState = iota
	CheckRunning            // or waiting
	CheckPassed
)

// ApprovalEvidence is who approved the run.
type ApprovalEvidence struct {
	List []Approval // oldest first: of one person's reviews of an environment the last counts
	Err  error      // GitHub could not be asked; the sentence says what to do
}

// Approval is one review of a run that waited for an environment.
type Approval struct {
	Environment string
	User        string
	Approved    bool // false: rejected
}

// OrderEvidence is how the previous image's commit and this one's are related.
type OrderEvidence struct {
	Repository string // owner/name that was asked; empty: nobody could be asked
	Relation   Relation
	Err        error
}

// Relation is how this image's commit is related to the previous one's.
type Relation string

// GitHub's words for it (https://docs.github.com/en/rest/commits/commits#compare-two-commits).
const (
	Ahead     Relation = "ahead" // it contains the previous one
	Behind    Relation = "behind"
	Identical Relation = "identical"
	Diverged  Relation = "diverged" // neither contains the other
)
