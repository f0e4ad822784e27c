package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Recall is what a tag held before somebody moved it, as a journal says: the zero
// digest, if it did not exist. The manifest is read by its digest, so that the
// tag can be put back to it.
func Recall(ctx context.Context, repo *registry.Repository, tag string, before v1.Hash) (Observation, error) {
	if before.Hex == "" {
		return Observation{repo, tag, nil}, nil
	}
	m, err := repo.GetManifest(ctx, before.String())
	if err != nil {
		return Observation{}, err
	}
	return Observation{repo, tag, &m}, nil
}

// Undo makes a tag what a journal says it held, if it holds what the journal says
// it was moved to. What it holds otherwise is let alone: it never moved, or
// somebody else has moved it since, which is a [*TakenError]. A tag that did not
// exist is removed, where the registry allows that. What cannot be put back as it is
// no longer there is a [*GoneError].
//
// PutBack has seen what it puts back; Undo believes a journal, which who can
// write to the repository can write, as he can move its tags.
func Undo(ctx context.Context, repo *registry.Repository, tag string, before, after v1.Hash) (Restored, error) {
	now, err := Observe(ctx, repo, tag)
	switch {
	case err != nil:
		return Unknown, err
	case now.Digest() == before:
		return Unmoved, nil
	case now.Digest() != after:
		return Taken, &TakenError{Reference: repo.Reference(tag), Holds: now.Digest()}
	}
	o, err := Recall(ctx, repo, tag, before)
	if err != nil {
		return Left, gone(err, repo.Reference(tag), before)
	}
	if err := o.write(ctx); err != nil {
		return Left, err
	}
	return o.restored(ctx, Proof{repo: repo, manifest: registry.Manifest{Digest: after}})
}

// GoneError says that a tag cannot be put back, as what it held is no longer in the
// repository.
type GoneError struct {
	Reference string
	Digest    v1.Hash
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("put back tag %s: %s, which it held, is no longer in the repository", e.Reference, e.Digest)
}

func gone(err error, reference string, before v1.Hash) error {
	if !errors.Is(err, registry.ErrNotFound) {
		return err
	}
	return &GoneError{Reference: reference, Digest: before}
}

// Held is the manifest that the tag held, and whether it existed.
func (o Observation) Held() (m registry.Manifest, existed bool) {
	if o.held == nil {
		return registry.Manifest{}, false
	}
	return *o.held, true
}
