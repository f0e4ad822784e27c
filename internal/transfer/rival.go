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
const looks = 6

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
		case err != nil || attempt == looks:
			return t.lacks(t.repo.Reference(tag), fmt.Sprintf("it holds %s in place of %s", now.Digest, ours.Digest))
		case m.manifest.Digest == now.Digest:
			complete++
		default:
			complete, err = 0, t.putMerged(ctx, m)
		}
		if err != nil || complete == 2 {
			return err
		}
		if err := referrer.Pause(ctx, attempt); err != nil {
			return err
		}
		if now, err = t.repo.GetManifest(ctx, tag); err != nil {
			return err
		}
	}
}
