package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Observation is what a tag held when it was read. Putting a tag back requires
// it; its zero value is refused.
type Observation struct {
	repo *registry.Repository
	tag  string
	held *registry.Manifest // nil: the tag did not exist
}

// Observe reads a tag, with the manifest that putting it back would need.
func Observe(ctx context.Context, repo *registry.Repository, tag string) (Observation, error) {
	m, err := repo.GetManifest(ctx, tag)
	switch {
	case err == nil:
		return Observation{repo, tag, &m}, nil
	case errors.Is(err, registry.ErrNotFound):
		return Observation{repo, tag, nil}, nil
	default:
		return Observation{}, err
	}
}

// Digest is what the tag held; zero if it did not exist.
func (o Observation) Digest() v1.Hash {
	if o.held == nil {
		return v1.Hash{}
	}
	return o.held.Digest
}

// Reference is the tag's full reference.
func (o Observation) Reference() string { return o.repo.Reference(o.tag) }

// TakenError says that somebody else moved a tag meanwhile.
type TakenError struct {
	Reference string
	Holds     v1.Hash // zero: the tag is gone
}

func (e *TakenError) Error() string {
	if e.Holds.Hex == "" {
		return fmt.Sprintf("somebody else removed tag %s meanwhile", e.Reference)
	}
	return fmt.Sprintf("somebody else moved tag %s meanwhile: it holds %s", e.Reference, e.Holds)
}

// tagGrace is how long the writing of a tag that has begun may go on once the
// run is ended: cut off, nobody would know what the tag holds.
const tagGrace = 2500 * time.Millisecond

// Move points an observed tag to what the proof is of. No registry compares
// before it swaps: between the observation and the write somebody else may move
// the tag, and that promotion is then overwritten. Confirm tells whether
// somebody came after.
//
// An error from Move leaves open whether the tag has moved; PutBack finds out.
func Move(ctx context.Context, p Proof, o Observation) error {
	if p.repo == nil || o.repo == nil || !p.repo.Same(o.repo) {
		return errors.New("move tag: needs a proof and an observation of one repository")
	}
	ctx, cancel := outlive(ctx, tagGrace)
	defer cancel()
	_, err := o.repo.PutManifest(ctx, o.tag, p.manifest)
	var refused *registry.Error
	if errors.As(err, &refused) && errors.Is(err, registry.ErrTagImmutable) {
		refused.Hint = "The tags of this repository cannot be changed. Exclude " + o.tag + " from its immutability, or use fixed-tags, which are written once."
	}
	return err
}

// Confirm reads a moved tag again. What it still showed before the move may be a
// read that lags behind; any third digest is somebody else's.
func Confirm(ctx context.Context, p Proof, o Observation) error {
	ctx, cancel := outlive(ctx, tagGrace)
	defer cancel()
	return settled(ctx, func() (bool, error) {
		now, err := Observe(ctx, o.repo, o.tag)
		switch {
		case err != nil:
			return false, err
		case now.Digest() == p.manifest.Digest:
			return true, nil
		case now.Digest() == o.Digest():
			return false, &registry.Error{Op: "confirm", Side: o.repo.Side(), Ref: o.Reference(),
				Err:  lacking("the registry took the new digest, yet the tag shows the old one"),
				Hint: "Read the tag again in a minute; if it still shows the old digest, run the promotion again."}
		default:
			return false, &TakenError{Reference: o.Reference(), Holds: now.Digest()}
		}
	})
}

// Restored says what PutBack left.
type Restored int

// What a tag is after PutBack.
const (
	Back    Restored = iota // as it was observed
	Left                    // still the new digest; the error says why
	Taken                   // somebody else's; the error is a TakenError
	Unknown                 // it could not be read; the error says why
)

// PutBack makes a tag what it was observed to be, if it holds what the proof is
// of. If somebody else moved it since, it is let alone. A tag that did not exist
// is removed, where the registry allows that.
func PutBack(ctx context.Context, p Proof, o Observation) (Restored, error) {
	now, err := Observe(ctx, o.repo, o.tag)
	switch {
	case err != nil:
		return Unknown, err
	case now.Digest() == o.Digest():
		return Back, nil
	case now.Digest() != p.manifest.Digest:
		return Taken, &TakenError{Reference: o.Reference(), Holds: now.Digest()}
	}
	if o.held == nil {
		err = o.repo.DeleteTag(ctx, o.tag)
	} else {
		_, err = o.repo.PutManifest(ctx, o.tag, *o.held)
	}
	if err != nil {
		return Left, err
	}
	return o.restored(ctx)
}

// restored reads the tag once more.
func (o Observation) restored(ctx context.Context) (Restored, error) {
	err := settled(ctx, func() (bool, error) {
		now, err := Observe(ctx, o.repo, o.tag)
		if err == nil && now.Digest() != o.Digest() {
			err = lacking(fmt.Sprintf("tag %s was put back, yet it shows %s", o.Reference(), now.Digest()))
		}
		return err == nil, err
	})
	if err != nil {
		return Unknown, err
	}
	return Back, nil
}

// outlive is a context that ends a little after its parent.
func outlive(parent context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	stop := context.AfterFunc(parent, func() {
		timer := time.AfterFunc(grace, func() { cancel(context.Cause(parent)) })
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		stop()
		cancel(nil)
	}
}
