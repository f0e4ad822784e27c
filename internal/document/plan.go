package document

import "time"

// PlanSchema names the form of a plan.
const PlanSchema = "https://github.com/artifact-promotion/promote/plan/v1"

// Plan is what a promotion would do, with every digest pinned: it can be approved
// and applied later.
type Plan struct {
	Schema      string             `json:"schema"`
	Created     time.Time          `json:"created"`
	Expires     time.Time          `json:"expires"`
	Environment string             `json:"environment,omitempty"`
	Config      *Config            `json:"config,omitempty"` // nil: none was asked for, or none is there
	NoGates     bool               `json:"noGates,omitempty"`
	Attachments bool               `json:"attachments"`
	Verify      string             `json:"verify"`
	Reason      string             `json:"reason,omitempty"`
	Job         Job                `json:"job"`
	Promotions  []PlannedPromotion `json:"promotions"`
}

// Config is the config file that gates were read from.
type Config struct {
	Path   string `json:"path"`
	Ref    string `json:"ref,omitempty"` // branch, tag or commit that it was read at; empty: the checkout
	Digest string `json:"digest"`        // sha256 of its bytes
}

// PlannedPromotion is one image on its way to one repository.
type PlannedPromotion struct {
	Image      string       `json:"image,omitempty"` // its name in the config's images
	Source     Source       `json:"source"`
	Digest     string       `json:"digest"`
	MediaType  string       `json:"mediaType"`
	Repository string       `json:"repository"` // the target's
	Tags       []PlannedTag `json:"tags"`
	From       *Held        `json:"from,omitempty"` // what the environment before held
	Platforms  []string     `json:"platforms,omitempty"`
	Content    Content      `json:"content"`
	Missing    Missing      `json:"missing"`
	Gates      []Verdict    `json:"gates,omitempty"`
}

// PlannedTag is one tag, and what it held when the plan was made.
type PlannedTag struct {
	Name   string `json:"name"`
	Fixed  bool   `json:"fixed,omitempty"`
	Before string `json:"before,omitempty"` // digest; empty: it did not exist
}

// Held is what an environment's tag held.
type Held struct {
	Environment string `json:"environment"`
	Reference   string `json:"reference"` // registry/path:tag
	Digest      string `json:"digest,omitempty"`
}

// Missing counts what a copy would bring: what is not at the target yet.
type Missing struct {
	Manifests int   `json:"manifests"`
	Blobs     int   `json:"blobs"`
	Bytes     int64 `json:"bytes"` // of the blobs
}

// Encode is the plan's JSON; its digest names the plan.
func (p Plan) Encode() []byte { panic("not yet") }

// DigestOf is the digest of a plan's JSON: sha256:….
func DigestOf(raw []byte) string { panic("not yet") }

// Pack is a plan's JSON as text for an output: gzip and base64url, which no
// masked value of a workflow can be part of by chance.
func Pack(raw []byte) string { panic("not yet") }

// Unpack is the JSON in a packed text. What takes more than the largest plan is
// refused before it is unpacked.
func Unpack(text string) ([]byte, error) { panic("not yet") }

// ParsePlan reads a plan strictly: unknown and repeated keys, another schema, a
// digest or a time that is none, are errors.
func ParsePlan(raw []byte) (Plan, error) { panic("not yet") }

// Split makes a plan of each image of a plan, for a matrix of jobs.
func (p Plan) Split() []Plan { panic("not yet") }
