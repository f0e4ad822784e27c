package promote

import (
	"context"
	"slices"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/ledger"
)

// rollbackLines is how much of a history is read to find out whether an environment was rolled back
// from an image: segments that are read side by side, in one round trip.
const rollbackLines = 200

// readRollbacks finds out whether environments were rolled back from the images that are to go there.
// A rollback may go to any image.
func (r *run) readRollbacks(ctx context.Context, judged []*promotion) error {
	if r.request.Mode == Rollback {
		return nil
	}
	g, ctx := group(ctx)
	for _, p := range judged {
		if p.ledger.ledger == nil {
			continue
		}
		g.Go(func() error {
			h, err := p.ledger.ledger.History(ctx, p.ledger.view, rollbackLines)
			p.ledger.rolledBack = rolledBackFrom(ledger.Lines(h.Entries), p.root.Digest.String())
			return err
		})
	}
	return g.Wait()
}

// rolledBackFrom is the rollback that took an environment away from an image; nil if it has held the
// image since, or there was none.
func rolledBackFrom(lines []document.Line, digest string) *gate.Rollback {
	if !ledger.Replay(lines).WasLeft(digest) {
		return nil
	}
	for _, line := range slices.Backward(lines) {
		if line.Fault == "" && line.Outcome == document.OutcomeRolledBack && line.PreviousDigest == digest {
			return &gate.Rollback{At: line.Time, Actor: line.Actor, Reason: line.Reason}
		}
	}
	return &gate.Rollback{}
}
