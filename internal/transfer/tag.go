package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Observation is what a tag held when it was read. Putting a tag back requires
// it; its zero value is refused.
type Observation struct {
	repo *registry.Repository
	tag  string
	held *registry.Manifest // nil: the tag did not exist; without bytes: they may not be pulled

	points v1.Hash   // what the tag pointed to when it was read; differs from held after Recall
	at     time.Time // when that read began
}

// Observe reads a tag, with the manifest that putting it back would need. Where a policy
// of the registry forbids to pull that, its digest is all that is known: the tag can be
// moved, and be put back only if the policy allows it then.
func Observe(ctx context.Context, repo *registry.Repository, tag string) (Observation, error) {
	began := time.Now()
	m, err := repo.Uncached().GetManifest(ctx, tag)
	if errors.Is(err, registry.ErrPolicy) { // of what may not be pulled, the digest may be told
		if named, headErr := repo.HeadManifest(ctx, tag); headErr == nil {
			m, err = named, nil
		}
	}
	switch {
	case err == nil:
		return Observation{repo, tag, &m, m.Digest, began}, nil
	case errors.Is(err, registry.ErrNotFound):
		return Observation{repo: repo, tag: tag, at: began}, nil
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

// SeenAgain is the observation of a tag that was read again, and points to the same.
func (o Observation) SeenAgain(began time.Time) Observation {
	o.at = began
	return o
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
const tagGrace = 2 * time.Second

// Move points an observed tag to what the proof is of. No registry compares before it swaps:
// between the last read and the write somebody else may move the tag, and that promotion is then
// overwritten. So every attempt rests on a read that is at most two seconds old. Confirm tells
// whether somebody came after.
//
// An error from Move leaves open whether the tag has moved; PutBack finds out.
func Move(ctx context.Context, p Proof, o Observation) error {
	if err := together(p, o); err != nil {
		return fmt.Errorf("move tag: %w", err)
	}
	ctx, cancel := queue.Outlive(ctx, tagGrace)
	defer cancel()
	err := o.point(ctx, p.manifest, o.points)
	return immutable(err, "Exclude "+o.tag+" from its immutability, or use fixed-tags, which are written once.\n"+
		"If the registry has no rule that makes tags immutable or protects them, the credential may write and not overwrite.")
}

const (
	// freshRead is how old the read of a tag may be when a write that rests on it is sent.
	freshRead = 2 * time.Second
	// writeTries is how often a write of a tag is decided again before giving up: about half a
	// minute.
	writeTries = 12
)

// point writes a manifest to the tag, if the tag points to what the caller expects. A caller that
// expects the manifest itself has it written all the same: the read may lag. An attempt
// without an answer may have taken effect, and somebody else may have moved the tag since: before
// the next attempt the tag is read again.
func (o Observation) point(ctx context.Context, to registry.Manifest, from ...v1.Hash) error {
	at, unanswered := o.at, error(nil)
	for nth := range writeTries {
		if time.Since(at) >= freshRead {
			reading, err := o.repo.ReadTag(ctx, o.tag)
			if err != nil {
				return err
			}
			at = reading.Began
			switch now := reading.Manifest.Digest; {
			case slices.Contains(from, now):
			case now == to.Digest:
				return nil
			default:
				return &TakenError{Reference: o.Reference(), Holds: now}
			}
		}
		err := o.repo.WriteTag(ctx, o.tag, to, at.Add(freshRead))
		if err == nil {
			return nil
		}
		at = time.Time{}
		switch {
		case registry.IsRefusal(err):
			return afterLostAnswer(err, unanswered != nil)
		case errors.Is(err, registry.ErrOutdated):
			continue
		}
		unanswered = err
		if err := referrer.Pause(ctx, min(nth, 5)); err != nil {
			return fmt.Errorf("%w; last attempt: %w", err, unanswered)
		}
	}
	return unanswered
}

// afterLostAnswer notes on a refusal that an earlier attempt had no answer: its write may still
// take effect.
func afterLostAnswer(err error, lost bool) error {
	var refused *registry.Error
	if lost && errors.As(err, &refused) {
		refused.Unanswered = true
	}
	return err
}

// immutable says what to do where a registry refused to change a tag.
func immutable(err error, hint string) error {
	var refused *registry.Error
	if errors.Is(err, registry.ErrTagImmutable) && errors.As(err, &refused) {
		refused.Hint = hint
	}
	return err
}

var errNoProof = errors.New("a tag needs a proof and an observation of one repository")

// together refuses zero values, and a proof of one repository for a tag of another.
func together(p Proof, o Observation) error {
	if p.repo == nil || o.repo == nil || !p.repo.Same(o.repo) {
		return errNoProof
	}
	return nil
}

// Confirm reads a moved tag again. What it still showed before the move may be a
// read that lags behind; any third digest is somebody else's. Where it goes on to show
// that, the registry has lost the write, and the tag is written once more.
func Confirm(ctx context.Context, p Proof, o Observation) error {
	if err := together(p, o); err != nil {
		return fmt.Errorf("confirm tag: %w", err)
	}
	ctx, cancel := queue.Outlive(ctx, tagGrace)
	defer cancel()
	err := confirm(ctx, p, o)
	if !isLacking(err) {
		return err
	}
	if err := o.SeenAgain(time.Time{}).point(ctx, p.manifest, o.points); err != nil {
		return err
	}
	return confirm(ctx, p, o)
}

// confirm reads the tag until it shows the new digest, for as long as reads may lag.
func confirm(ctx context.Context, p Proof, o Observation) error {
	return settled(ctx, o.repo, func(*registry.Repository) (bool, error) {
		now, err := Observe(ctx, o.repo, o.tag)
		switch {
		case err != nil:
			return false, err
		case now.Digest() == p.manifest.Digest:
			return true, nil
		case now.Digest() == o.Digest() || now.Digest() == o.points:
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
	Back    Restored = iota // as it was observed, after it was moved
	Unmoved                 // as it was observed: it never moved
	Left                    // still the new digest; the error says why
	Taken                   // somebody else's; the error is a TakenError
	Unknown                 // it could not be read; the error says why
)

// PutBack makes a tag what it was observed to be, if it holds what the proof is
// of. If somebody else moved it since, it is let alone. A tag that did not exist
// is removed, where the registry allows that.
//
// Moved says that the registry acknowledged the move. A read that shows the old
// digest all the same may lag behind, so the tag is then put back nevertheless.
func PutBack(ctx context.Context, p Proof, o Observation, moved bool) (Restored, error) {
	if err := together(p, o); err != nil {
		return Unknown, fmt.Errorf("put tag back: %w", err)
	}
	now, err := Observe(ctx, o.repo, o.tag)
	old := now.Digest() == o.Digest()
	switch {
	case err != nil:
		return Unknown, err
	case old && !moved:
		return Unmoved, nil
	case !old && now.Digest() != p.manifest.Digest:
		return Taken, &TakenError{Reference: o.Reference(), Holds: now.Digest()}
	}
	if err := o.write(ctx, p.manifest.Digest, now.Digest()); err != nil {
		if old {
			return Unknown, err
		}
		return Left, err
	}
	return o.restored(ctx, p)
}

// write makes the tag what it was, if it points to what the caller has read.
func (o Observation) write(ctx context.Context, from ...v1.Hash) error {
	if o.held == nil {
		return o.repo.DeleteTag(ctx, o.tag)
	}
	held := *o.held
	if held.Raw == nil {
		var err error
		if held, err = o.repo.GetManifest(ctx, held.Digest.String()); err != nil {
			return err
		}
	}
	return o.SeenAgain(time.Time{}).point(ctx, held, from...)
}

// restored reads the tag once more.
func (o Observation) restored(ctx context.Context, p Proof) (Restored, error) {
	err := settled(ctx, o.repo, func(*registry.Repository) (bool, error) {
		now, err := Observe(ctx, o.repo, o.tag)
		switch {
		case err != nil:
			return false, err
		case now.Digest() == o.Digest():
			return true, nil
		case now.Digest() == p.manifest.Digest:
			return false, lacking(fmt.Sprintf("tag %s was put back, yet it shows %s", o.Reference(), now.Digest()))
		default:
			return false, &TakenError{Reference: o.Reference(), Holds: now.Digest()}
		}
	})
	var taken *TakenError
	switch {
	case err == nil:
		return Back, nil
	case errors.As(err, &taken):
		return Taken, err
	default:
		return Unknown, err
	}
}
