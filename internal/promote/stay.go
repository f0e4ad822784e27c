package promote

import (
	"context"
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
)

// stay is what the ledger of the environment before says that it holds.
type stay struct {
	known bool // something was recorded there
	err   error
	open  string // a promotion there that has not ended, and what to do; empty: none

	digest string    // that it holds; empty: nothing, or it is not known
	since  time.Time // without a break
}

// stayLines is how much of a history is read to find out since when an environment holds an image.
const stayLines = 50

// readStay reads the ledger of the environment before. What cannot be read is for the gate to
// tell.
func (r *run) readStay(ctx context.Context, i *image) error {
	repo, err := r.openFrom(ctx, i)
	if err != nil {
		return err
	}
	i.from.records = stayOf(ctx, r.openLedger(repo, ledger.ForEnvironment(i.from.Environment)).WithVersions(), i.from.Tag)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func stayOf(ctx context.Context, l *ledger.Ledger, tag string) (s stay) {
	v, err := l.Read(ctx)
	if err != nil {
		return stay{err: err}
	}
	h, err := l.History(ctx, v, stayLines)
	if err != nil {
		return stay{err: err}
	}
	state := ledger.Replay(ledger.Lines(h.Entries))
	current, known := state.Current()
	s.known, s.digest = known, current.Digest
	s.since, _ = state.Occupancy(current.Digest, time.Now())
	for _, e := range h.Entries { // an open one has moved the tag, or is about to
		if e.IsOpen() && e.Moves([]string{tag}) {
			s.open = openText(l.Key().Name(), e)
		}
	}
	return s
}

// openText says that a promotion to an environment is at work, or was interrupted and nobody has
// resolved it since.
func openText(environment string, e ledger.Entry) string {
	text := fmt.Sprintf("a promotion of %s to %s has not ended", e.Line.Digest, environment)
	if e.Run.URL != "" {
		text += " (" + registry.Cut(e.Run.URL, 2*maxWords) + ")"
	}
	return text + "; wait for it, or promote to " + environment + " again if its run is gone"
}
