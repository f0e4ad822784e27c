package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// JournalType is the artifact type of a journal's manifest.
const JournalType = "application/vnd.artifact-promotion.journal.v1+json"

// annotation holds the journal in its manifest: an index without blobs is one
// request to write, and what it lists no clean-up of unnamed manifests takes.
const annotation = "io.github.artifact-promotion.journal"

// Journal says which tags of a repository a release is about to move. A release
// writes one into each of its repositories, under each moving tag, before the
// first tag moves. One of them is the head: the release is under way for as long
// as the head says so, whatever the others say.
//
// A repository's journal speaks of that repository's tags alone. Who may write
// there may move those tags anyway; what it says of others is where to look.
type Journal struct {
	Release string    `json:"release"` // names the release: what it brings where
	Head    Place     `json:"head"`
	Done    bool      `json:"done,omitempty"` // of the head: the release is over, and nothing is left to do
	Begun   time.Time `json:"begun"`          // when its tags began to move; a run that finishes it keeps that
	Written time.Time `json:"written"`
	Run     string    `json:"run,omitempty"`   // URL of the run's page
	RunID   string    `json:"runId,omitempty"` // which all attempts of a run share
	Moves   []Move    `json:"moves"`
	Places  []Place   `json:"places,omitempty"` // of the head: one for each repository, its own included
}

// Place is where a journal is kept: under a tag's name, in a repository.
type Place struct {
	Repository string `json:"repository"` // registry/path
	Tag        string `json:"tag"`
}

// Move is one tag, and what it is moved from and to.
type Move struct {
	Tag    string `json:"tag"`
	Fixed  bool   `json:"fixed,omitempty"`
	Before string `json:"before,omitempty"` // digest; empty: it did not exist
	After  string `json:"after"`
}

// Prefix begins the name of every tag that a journal is kept under.
const Prefix = "promotion-journal-"

// Reserved says whether a tag is for the program's own use: no environment may own
// it, and no promotion may write it.
func Reserved(tag string) bool {
	return strings.HasPrefix(tag, "promotion-journal") || strings.HasPrefix(tag, "promotion-ledger") ||
		strings.HasPrefix(tag, "promotion-record")
}

const maxTag = 128

// TagFor is the name under which the journal of a tag is kept.
func TagFor(tag string) string {
	if len(Prefix)+len(tag) <= maxTag {
		return Prefix + tag
	}
	sum := sha256.Sum256([]byte(tag))
	return Prefix + hex.EncodeToString(sum[:])
}

// ReadJournal reads the journal of a tag; nil if there is none. What is there and
// is none is an error: it would be overwritten.
func ReadJournal(ctx context.Context, repo *registry.Repository, tag string) (*Journal, error) {
	m, err := repo.Uncached().GetManifest(ctx, TagFor(tag))
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	j, err := parse(m.Raw)
	if err == nil {
		return j, nil
	}
	reference := repo.Reference(TagFor(tag))
	return nil, &registry.Error{Op: "read journal", Side: repo.Side(), Ref: reference, Err: err,
		Hint: "That tag is where a release notes what it is about to move. If it is yours, rename it; if it is a damaged journal, check the tags that were to move, then delete it."}
}

// WriteJournal writes the journal of a tag. The manifests that it names must be
// in the repository; they are kept for as long as it stands.
func WriteJournal(ctx context.Context, repo *registry.Repository, tag string, j Journal, keep ...registry.Manifest) error {
	_, err := repo.PutManifest(ctx, TagFor(tag), j.manifest(keep))
	var refused *registry.Error
	if errors.Is(err, registry.ErrTagImmutable) && errors.As(err, &refused) {
		refused.Hint = "A release notes there what it moves, so that one that is killed can be finished or put back. Exclude " + Prefix + "* from the immutability of this repository's tags."
	}
	return err
}

// index is the manifest that a journal is written as (image-spec, "OCI Image
// Index").
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	Annotations   map[string]string `json:"annotations"`
}

func (j Journal) manifest(keep []registry.Manifest) registry.Manifest {
	i := index{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, ArtifactType: JournalType,
		Manifests: []v1.Descriptor{}, Annotations: map[string]string{annotation: string(encode(j))},
	}
	seen := map[v1.Hash]bool{}
	for _, m := range keep {
		if !seen[m.Digest] {
			seen[m.Digest] = true
			i.Manifests = append(i.Manifests, v1.Descriptor{MediaType: types.MediaType(m.MediaType), Digest: m.Digest, Size: int64(len(m.Raw))})
		}
	}
	return registry.NewManifest(string(types.OCIImageIndex), encode(i))
}

func encode(value any) []byte {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // plain values: json.Marshal has no way to fail
	}
	return raw
}

// maxMoves bounds what one journal says: a release's tags, and its repositories.
const maxMoves = 10_000

// parse reads a journal as a stranger's text: whoever may push to the repository
// may have written it.
func parse(raw []byte) (*Journal, error) {
	var i index
	if err := json.Unmarshal(raw, &i); err != nil {
		return nil, errors.New("it is no index")
	}
	if i.ArtifactType != JournalType {
		return nil, fmt.Errorf("it holds %q, and no journal", registry.Cut(i.ArtifactType, 100))
	}
	var j Journal
	if err := json.Unmarshal([]byte(i.Annotations[annotation]), &j); err != nil {
		return nil, errors.New("the journal in it cannot be read")
	}
	return &j, j.check()
}

func (j *Journal) check() error {
	if len(j.Moves) > maxMoves || len(j.Places) > maxMoves {
		return fmt.Errorf("the journal names more than %d tags", maxMoves)
	}
	if !isDigest(j.Release) || j.Head.Repository == "" || !template.ValidTag(j.Head.Tag) {
		return errors.New("the journal names no release")
	}
	tags, repositories := map[string]bool{}, map[string]bool{}
	for _, m := range j.Moves {
		if !template.ValidTag(m.Tag) || !isDigest(m.After) || m.Before != "" && !isDigest(m.Before) {
			return fmt.Errorf("the journal names a tag or a digest that is none: %q, %q, %q",
				registry.Cut(m.Tag, 100), registry.Cut(m.Before, 100), registry.Cut(m.After, 100))
		}
		if tags[m.Tag] {
			return fmt.Errorf("the journal names the tag %s twice", m.Tag)
		}
		tags[m.Tag] = true
	}
	for _, p := range j.Places {
		if p.Repository == "" || !template.ValidTag(p.Tag) {
			return fmt.Errorf("the journal names a place that is none: %q, %q", registry.Cut(p.Repository, 100), registry.Cut(p.Tag, 100))
		}
		if repositories[p.Repository] {
			return fmt.Errorf("the journal names the repository %q twice", registry.Cut(p.Repository, 100))
		}
		repositories[p.Repository] = true
	}
	return nil
}

func isDigest(text string) bool {
	_, err := v1.NewHash(text)
	return err == nil
}
