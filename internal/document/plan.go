package document

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

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

// Encode is the plan's JSON; its digest names the plan. The same plan has the same
// JSON, and so has what [ParsePlan] makes of it.
func (p Plan) Encode() []byte {
	raw := marshal(p.normal())
	if !bytes.Contains(raw, []byte(`\ufffd`)) {
		return raw
	}
	// A byte that is no UTF-8 is escaped here, but is a plain U+FFFD once it was read.
	var again Plan
	if err := json.Unmarshal(raw, &again); err != nil {
		panic(err) // it was encoded just now
	}
	return marshal(again.normal())
}

func marshal(p Plan) []byte {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err) // plain values: only a time after the year 9999 could fail
	}
	return raw
}

// normal is the plan with lists where there must be some, and with times in UTC.
func (p Plan) normal() Plan {
	p.Created, p.Expires = p.Created.UTC(), p.Expires.UTC()
	p.Promotions = append([]PlannedPromotion{}, p.Promotions...)
	for i := range p.Promotions {
		planned := &p.Promotions[i]
		planned.Tags = append([]PlannedTag{}, planned.Tags...)
		planned.Gates = append([]Verdict{}, planned.Gates...)
		for j, verdict := range planned.Gates {
			if verdict.FreeAt != nil {
				free := verdict.FreeAt.UTC()
				planned.Gates[j].FreeAt = &free
			}
		}
	}
	return p
}

// DigestOf is the digest of a plan's JSON: sha256:….
func DigestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:])
}
