package transfer

import (
	"context"
	"fmt"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
)

// looks is how often a tag that others write too is read, and merged again, before
// giving up on it.
const looks = 7

// longest is the attempt after which the pauses grow no more: one of 2 s at most.
const longest = 4

// keep sees to it that a tag of cosign's scheme, which somebody else has written
// since this run did, holds the source's layers.
//
// As with lists of referrers, no registry compares before it swaps: another run
// that read before this one wrote, and writes after, takes the layers away. They
// are then merged into what it wrote, and the tag is read once more after a moment,
// as rivals seldom write once. One that comes after the last look still takes them
// away: the protocol does not exclude it. The next run finds that and repairs it.
func (t *target) keep(ctx context.Context, tag string, ours *graph.Node, now registry.Manifest) error {
	complete := 0
	for attempt := 1; ; attempt++ {
		m, err := merge(tag, now, ours)
		switch {
		case err == nil && m.manifest.Digest == now.Digest:
			if complete++; complete == 2 || attempt == looks {
				return nil
			}
		case err != nil || attempt == looks:
			return t.lacks(t.repo.Reference(tag), fmt.Sprintf("it holds %s in place of %s", now.Digest, ours.Digest))
		default:
			complete = 0
			if err := t.putMerged(ctx, m); err != nil {
				return err
			}
		}
		if err := referrer.Pause(ctx, min(attempt, longest)); err != nil {
			return err
		}
		if now, err = t.repo.Uncached().GetManifest(ctx, tag); err != nil {
			return err
		}
	}
}
