package promote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// observe reads what every tag holds, and refuses a fixed tag that holds
// something else.
func (r *run) observe(ctx context.Context) error {
	g, ctx := group(ctx)
	for _, m := range r.moves() {
		g.Go(func() error {
			before, err := transfer.Observe(ctx, m.target, m.text)
			if err == nil {
				m.before, m.observed = before, true
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var taken []error
	for _, m := range r.moves() {
		if m.fixed && m.before.Digest().Hex != "" && !m.unchanged() {
			taken = append(taken, &deniedError{
				message: fmt.Sprintf("the fixed tag %s exists and holds %s, not %s", m.before.Reference(), m.before.Digest(), m.root.Digest),
				hint:    "A fixed tag never changes once it is written. Choose another name, for example with {{date 'YYYYMMDD-HHmmss'}}, or name it in target if it is meant to move.",
			})
		}
	}
	return errors.Join(taken...)
}

// move is one tag of one promotion.
type move struct {
	*promotion
	*tag
}

func (m move) unchanged() bool { return m.before.Digest() == m.root.Digest }

// moves are all tags in the order in which they move: fixed ones first, for one
// that cannot be written then moves nothing.
func (r *run) moves() []move {
	var all []move
	for _, fixed := range []bool{true, false} {
		for _, p := range r.promotions {
			for _, t := range p.tags {
				if t.fixed == fixed {
					all = append(all, move{p, t})
				}
			}
		}
	}
	return all
}

// moveTags moves every tag in quick succession, then reads each again. If one
// fails, those already moved are put back.
func (r *run) moveTags(ctx context.Context) error {
	r.Step("Move tags")
	if r.wrote() { // time has passed since the tags were read
		if err := r.observe(ctx); err != nil {
			return err
		}
	}
	begun, err := r.write(ctx)
	if err == nil {
		err = r.confirm(ctx, begun)
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, r.putBack(ctx, begun))
}

func (r *run) wrote() bool {
	for _, p := range r.promotions {
		if p.copied.Manifests+p.copied.Blobs+p.copied.Mounted > 0 {
			return true
		}
	}
	return false
}

// write points the tags to their digests, and returns those that it has begun
// to write, with or without success.
func (r *run) write(ctx context.Context) (begun []move, err error) {
	for _, m := range r.moves() {
		if ctx.Err() != nil {
			return begun, context.Cause(ctx)
		}
		if m.unchanged() {
			m.state, m.after = document.TagUnchanged, m.root.Digest.String()
			continue
		}
		begun = append(begun, m)
		if err := transfer.Move(ctx, m.proof, m.before); err != nil {
			m.refused = answered(err)
			return begun, err
		}
		m.acknowledged = true
		r.Info(fmt.Sprintf("%s: %s → %s", m.before.Reference(), orNone(m.before.Digest().String(), m.before.Digest().Hex), m.root.Digest))
	}
	return begun, nil
}

// answered reports whether the registry said no, so that the tag cannot move yet.
func answered(err error) bool {
	var e *registry.Error
	return errors.As(err, &e) && e.Status >= 400 && e.Status < 500
}

func orNone(digest, hex string) string {
	if hex == "" {
		return "(new)"
	}
	return digest
}

// confirm reads the moved tags again.
func (r *run) confirm(ctx context.Context, begun []move) error {
	g, _ := group(ctx) // one tag's failure does not end the others' reads
	for _, m := range begun {
		g.Go(func() error {
			err := transfer.Confirm(ctx, m.proof, m.before)
			if err == nil {
				m.state, m.after = document.TagMoved, m.root.Digest.String()
			}
			return err
		})
	}
	return g.Wait()
}

// Time for putting tags back: all of it, and what is left of it once the run has
// been ended, which its runner kills ten seconds after.
const (
	putBackTime   = time.Minute
	lastOrderTime = 2500 * time.Millisecond
)

var errNoTime = errors.New("there was no time left to put the tag back")

// putBack makes every tag that was begun what it was, and says of each what it is now.
func (r *run) putBack(ctx context.Context, begun []move) error {
	back, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), putBackTime, errNoTime)
	defer cancel()
	back, end := context.WithCancelCause(back)
	defer end(nil)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(lastOrderTime, func() { end(errNoTime) })
		context.AfterFunc(back, func() { timer.Stop() })
	})
	defer stop()
	g, _ := group(back) // one tag's failure does not end the others'
	for _, m := range begun {
		g.Go(func() error { return m.restore(back) })
	}
	return g.Wait()
}

func (m move) restore(ctx context.Context) error {
	restored, err := transfer.PutBack(ctx, m.proof, m.before, m.acknowledged)
	var taken *transfer.TakenError
	switch {
	case restored == transfer.Back:
		m.state, m.after = document.TagPutBack, digestText(m.before)
	case restored == transfer.Unmoved:
		m.note = "the write failed, and the tag shows what it held before; read it again in a minute"
		if m.refused {
			m.note = "the registry refused the write"
		}
	case errors.As(err, &taken):
		m.state, m.note = document.TagTaken, "it was let alone"
		m.after = ""
		if taken.Holds.Hex != "" {
			m.after = taken.Holds.String()
		}
		return nil // it is why the run fails, not a failure of putting back
	case restored == transfer.Left:
		m.state, m.after = document.TagLeft, m.root.Digest.String()
		m.note = fmt.Sprintf("%v; move or delete it by hand", err)
	default:
		m.state, m.after = document.TagUnknown, ""
		m.note = fmt.Sprintf("%v; read it before anything else relies on it", err)
	}
	return err
}

func digestText(o transfer.Observation) string {
	if o.Digest().Hex == "" {
		return ""
	}
	return o.Digest().String()
}
