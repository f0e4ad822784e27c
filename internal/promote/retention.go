package promote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/transfer"
	"golang.org/x/sync/errgroup"
)

// spared is how long an image that no tag reaches is taken to be safe: clean-ups of
// such images commonly wait for a week or more.
const spared = 7 * 24 * time.Hour

// tagsAsked is how many tags are read, besides those that the records name, to find
// one that keeps an image.
const tagsAsked = 200

// tagsAtOnce is how many of them are read at the same time.
const tagsAtOnce = 8

// keeping is what keeps a rollback target from being taken by a clean-up.
type keeping int

const (
	keptByAge   keeping = iota // it was replaced not long ago
	keptByTag                  // a tag names it
	keptByNone                 // no tag does
	keptUnknown                // there are tags that were not read
)

// judgeRetention finds rollback targets that a clean-up may take.
func (a *auditing) judgeRetention(e *exam) {
	switch e.kept {
	case keptUnknown:
		a.notes = append(a.notes, fmt.Sprintf("Whether a tag keeps %s, which %s can be rolled back to, could not be found out: not every tag could be read.", a.imageReference(e.digest), a.called()))
	case keptByNone:
		a.find(document.Finding{
			Kind: document.FindingRetention, Reference: a.imageReference(e.digest), Digest: e.digest,
			Message: fmt.Sprintf("%s can be rolled back to %s, which it held until %s, and no tag names that any more: a clean-up of untagged images may take it.", a.called(), e.digest, moment(a.leftAt(e.digest))),
			Hint:    "Give it a tag, and let every release have one of its own: fixed-tags, for example release-{{date 'YYYYMMDD-HHmmss'}}. Or let the clean-up keep the last few untagged images, whatever their age.",
		})
	default:
	}
}

// isOld reports whether an image was replaced so long ago that nothing but a tag keeps
// it.
func (a *auditing) isOld(digest string) bool {
	left := a.leftAt(digest)
	return !left.IsZero() && a.now.Sub(left) > spared
}

// leftAt is when the stage last came to hold something else than a digest that it
// held; zero if it never did.
func (a *auditing) leftAt(digest string) (at time.Time) {
	inside := false
	for _, line := range a.lines {
		switch {
		case line.Fault != "" || !line.Outcome.Good():
		case line.Digest == digest:
			inside = true
		case inside:
			inside, at = false, laterOf(line.Time, line.Moved)
		}
	}
	return at
}

// keeping looks for a tag that names a digest: those first that its records name.
func (a *auditing) keeping(ctx context.Context, digest string) keeping {
	named, others := a.candidates(digest)
	more := len(others) > tagsAsked
	for _, tags := range [][]string{named, others[:min(len(others), tagsAsked)]} {
		switch found, read := a.anyHolds(ctx, tags, digest); {
		case found:
			return keptByTag
		case !read:
			more = true
		}
	}
	if more || !a.names.all {
		return keptUnknown
	}
	return keptByNone
}

// candidates are the tags that may name a digest. Ledgers and what the protocol keeps for itself name
// other things.
func (a *auditing) candidates(digest string) (named, others []string) {
	for _, line := range a.lines {
		if line.Digest != digest || line.Fault != "" {
			continue
		}
		for _, tag := range line.Tags {
			if !slices.Contains(named, tag) {
				named = append(named, tag)
			}
		}
	}
	for _, e := range a.history.Entries {
		if tag := a.ledger.Key().Kept(e.Kept.Slot); e.Fault == "" && e.Kept.Digest == digest && tag != "" {
			named = append(named, tag)
		}
	}
	for _, tag := range a.names.tags {
		if (!ledger.Reserved(tag) || ledger.IsKept(tag)) && !strings.HasPrefix(tag, "sha256-") && !slices.Contains(named, tag) {
			others = append(others, tag)
		}
	}
	slices.Reverse(named) // the newest first
	return named[:min(len(named), tagsAsked)], others
}

// tagged is what a tag holds; empty if it does not exist.
type tagged struct {
	digest string
	err    error
}

// anyHolds reports whether any of the tags names a digest, and whether all could be
// read that had to be.
func (a *auditing) anyHolds(ctx context.Context, tags []string, digest string) (found, read bool) {
	var yes atomic.Bool
	var g errgroup.Group
	g.SetLimit(tagsAtOnce)
	for _, tag := range tags {
		g.Go(func() error {
			if yes.Load() || ctx.Err() != nil {
				return context.Cause(ctx)
			}
			now := a.tagged.get(tag, func() tagged {
				o, err := transfer.Observe(ctx, a.repo, tag)
				return tagged{digestText(o), err}
			})
			if now.err == nil && now.digest == digest {
				yes.Store(true)
			}
			return now.err
		})
	}
	read = g.Wait() == nil
	return yes.Load(), read
}
