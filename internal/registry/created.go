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

// creation is what a session knows about the existence of a repository.
//
// Some registries answer 403 both to a read in a repository that does not exist and to a
// read without the right to pull (GHCR: "denied" for a package that was never pushed; Docker
// Hub: "requested access to the resource is denied"). If a 403 were final, the first
// promotion to a repository would fail. If a 403 meant "not found", a promotion could
// overwrite a tag that the credential may not read.
//
// A repository from AllowMissing therefore treats a refused read so:
//
//  1. If anything else in the repository was read, or its tags can be listed, the repository
//     exists, and the refusal is final.
//  2. Otherwise the content is assumed missing, and the tag is recorded. The run then writes
//     blobs and manifests by digest alone, which changes no tag, and creates the repository
//     if it was missing. Without the right to push, the run ends here.
//  3. Before the first tag is written, every tag that was assumed missing is read again. In a
//     repository that was just created the registry answers 404, and the tag is written. In
//     a repository that existed before, the registry refuses again, and the tag is not
//     written.
//
// So a tag is never written on the assumption alone that it is missing. PutManifest makes
// the third step, so that no caller can leave it out.
type creation struct {
	turn queue.Turn // taken while the existence is found out

	mu          sync.Mutex
	exists      bool            // content of the repository was read or written
	listRefused bool            // the registry refused to list the tags
	assumed     map[string]bool // tags that are assumed missing
}

// AllowMissing is the same repository for a caller that may be the first to write to it: a
// read that is refused there is ErrNotFound, until the repository is known to exist.
func (r *Repository) AllowMissing() *Repository {
	allowed := *r
	allowed.mayBeMissing = true
	return &allowed
}

// AssumedMissing reports whether the repository is assumed not to exist yet, because the
// registry refuses all reads in it.
func (r *Repository) AssumedMissing() bool {
	c := r.creation()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.listRefused && !c.exists
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

// noteExists records that the repository exists.
func (r *Repository) noteExists() {
	c := r.creation()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exists = true
}

// refuseRead is refuse for a read, whose repository may not exist.
func (r *Repository) refuseRead(ctx context.Context, op, ref string, a *wire.Answer) error {
	err := r.refuse(op, ref, a)
	var refused *Error
	if a.Status == http.StatusForbidden && r.mayBeMissing && errors.As(err, &refused) && r.assumeMissing(ctx, ref) {
		refused.missing = true
	}
	return err
}

// assumeMissing decides whether refused content may be assumed missing, and records the tag.
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
			r.noteExists()
		case err == nil, errors.As(err, &answered) && answered.Status == http.StatusForbidden:
			c.noteListRefused()
		default:
			return false // the existence of the repository stays unknown
		}
	}
	return c.assume(ref)
}

func (c *creation) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exists || c.listRefused
}

func (c *creation) noteListRefused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listRefused = true
}

// assume records that a tag is assumed missing. It returns false if the repository exists.
func (c *creation) assume(ref string) bool {
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

// confirmAssumedMissing reads every tag again that was assumed missing, before a manifest is
// written to a tag. After a failure the next write starts over.
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
				Hint: "The registry first refused to read this repository, as if it did not exist, and then answered.\n" +
					"The tag was not overwritten. Run the promotion again: it then compares the tag first.",
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

var errWasHidden = errors.New("the tag exists, although the registry first refused to read it")
