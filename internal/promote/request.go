package promote

import (
	"time"

	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Request is what a user asked for, checked for form and free of contradictions.
type Request struct {
	Items       []Item
	DryRun      bool           // stop after the gates
	Attachments bool           // carry signatures, attestations, SBOMs and other referrers
	Verify      transfer.Level // how much is read back at the target
	Reason      string
	TargetEnv   string // what {{env}} stands for
	NoGates     bool   // config: none
	RunNumber   string // what {{run-number}} stands for
	Started     time.Time
}

// Item is one source image and everywhere it goes.
type Item struct {
	Source  Source
	Targets []Target // at least one, no repository twice
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
	Fixed    bool // written once, never changed
}
