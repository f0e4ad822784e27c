package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
)

// Some registries answer 403 to a read in a repository that does not exist, as in one
// that may not be read (GHCR: "denied" for a package that was never pushed; Docker Hub:
// "requested access to the resource is denied"). Were that final, nothing could be
// promoted there for the first time; were it "not found", a tag that may not be read
// could be overwritten.
//
// So a refused read means for a repository that was opened with AllowMissing:
//
//  1. Where anything else in the repository was read, or its tags can be listed, it
//     exists: the refusal is one, and final.
//  2. Else what was asked for is assumed to be absent, and each such tag is noted.
//     Blobs and manifests are then written by digest alone. That changes no tag, and
//     creates the repository if it was missing; where the right to write is missing
//     too, the run ends here.
//  3. Before the first tag is written, every tag that was assumed absent is read again.
//     In a repository that was just created these reads answer 404, and writing goes on.
//     In one that existed they are refused as before: the tag is not written.
//
// So no tag is ever written whose absence was only assumed. The third step is part of
// PutManifest, where nobody can forget it.
type creation struct {
	turn queue.Turn // held while it is found out

	mu      sync.Mutex
	exists  bool            // something was read or written there
	refused bool            // so was the list of tags
	assumed map[string]bool // tags
}

// AllowMissing is the same repository for who may be the first to write to it: a read
// that is refused there is one of what does not exist, until it is known that the
// repository does.
func (r *Repository) AllowMissing() *Repository {
	may := *r
	may.mayBeMissing = true
	return &may
}

// AssumedMissing reports whether the repository is taken for one that does not exist
// yet, because nothing in it may be read.
func (r *Repository) AssumedMissing() bool {
	c := r.creation()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused && !c.exists
}

func (r *Repository) creation() *creation {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.creations[r.name.RepositoryStr()]
	if c == nil {
		c = &creation{turn: queue.NewTurn(), assumed: map[string]bool{}}
		s.creations[r.name.RepositoryStr()] = c
	}
	return c
}

// seen notes that the repository exists.
func (r *Repository) seen() {
	c := r.creation()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exists = true
}

// refuseRead is refuse for a read, which may be one in a repository that does not exist.
func (r *Repository) refuseRead(ctx context.Context, op, ref string, a *wire.Answer) error {
	err := r.refuse(op, ref, a)
	var refused *Error
	if a.Status == http.StatusForbidden && r.mayBeMissing && errors.As(err, &refused) && r.assumeMissing(ctx, ref) {
		refused.missing = true
	}
	return err
}

// assumeMissing decides whether what was refused may be taken for absent, and notes it.
func (r *Repository) assumeMissing(ctx context.Context, ref string) bool {
	c := r.creation()
	if c.turn.Take(ctx) != nil {
		return false
	}
	defer c.turn.Give()
	if !c.known() {
		p, err := r.tagsPage(ctx, "", nil)
		var answered *Error
		switch {
		case err == nil && p.listed:
			r.seen()
		case err == nil, errors.As(err, &answered) && answered.Status == http.StatusForbidden:
			c.refuse()
		default:
			return false // not known, and not noted
		}
	}
	return c.note(ref)
}

func (c *creation) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exists || c.refused
}

func (c *creation) refuse() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = true
}

func (c *creation) note(ref string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exists {
		return false
	}
	if !isDigest(ref) {
		c.assumed[ref] = true
	}
	return true
}

func (c *creation) tags() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.assumed))
}

// confirmAssumedMissing reads every tag again that was assumed absent, before a manifest is written to
// a tag. Nothing is kept of what fails: each further tag asks again.
func (r *Repository) confirmAssumedMissing(ctx context.Context, m Manifest) error {
	c := r.creation()
	if len(c.tags()) == 0 {
		return nil
	}
	if err := c.turn.Take(ctx); err != nil {
		return r.fail("write manifest", "", retry.Interrupted(ctx))
	}
	defer c.turn.Give()
	tags := c.tags()
	if len(tags) == 0 {
		return nil
	}
	if _, err := r.writeManifest(ctx, m.Digest.String(), m); err != nil { // creates the repository
		return err
	}
	strict := *r
	strict.mayBeMissing = false
	for _, tag := range tags {
		switch found, err := strict.fetchManifest(ctx, tag); {
		case err == nil:
			return &Error{
				Op: "write manifest", Side: r.side, Ref: r.Reference(tag), Err: fmt.Errorf("%w: it points to %s", errWasHidden, found.Digest),
				Hint: "Reads in this repository were refused first, as if it did not exist, and then answered. No tag was written. Run the promotion again: it then sees what there is.",
			}
		case !errors.Is(err, ErrNotFound):
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.assumed)
	return nil
}

var errWasHidden = errors.New("the tag exists, and could not be read before")
