package transfer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// flight is one blob's way into one target repository, walked once a run.
type flight struct {
	to   *registry.Repository
	done chan struct{}
	how  arrival
	err  error

	again     sync.Once // it is sent because a manifest that names it was refused
	resent    bool      // it was
	resendErr error
}

// landed stands for every flight to a repository that is over, of which is left that
// the blob can be mounted from there.
func landed(to *registry.Repository) *flight {
	f := &flight{to: to, done: make(chan struct{})}
	close(f.done)
	return f
}

// arrival is how a blob came to be at the target.
type arrival int

const (
	present arrival = iota // it was there
	mounted                // the registry took it over from another repository
	sent                   // its bytes went through this machine
)

// blob sees to it that a blob is at the target, and says how it came there and
// whether this call brought it.
func (e *Engine) blob(ctx context.Context, c *copying, b v1.Descriptor) (how arrival, mine bool, err error) {
	f, mine := c.target.flight(b.Digest)
	if mine {
		e.Progress.expect(b.Size)
		f.how, f.err = e.bring(ctx, c, b, e.depart(b.Digest, f))
		if f.err == nil {
			e.landed(b, f.how)
		}
		close(f.done)
	}
	select {
	case <-f.done:
		return f.how, mine, f.err
	case <-ctx.Done():
		return 0, mine, context.Cause(ctx)
	}
}

// flight returns a blob's flight, and whether the caller is to make it.
func (t *target) flight(digest v1.Hash) (f *flight, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.blobs[digest]; f != nil {
		return f, false
	}
	f = &flight{to: t.repo, done: make(chan struct{})}
	t.blobs[digest] = f
	return f, true
}

// depart notes a flight, and returns those of the same blob that began before it.
func (e *Engine) depart(digest v1.Hash, f *flight) (earlier []*flight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	earlier = e.flights[digest]
	e.flights[digest] = append(earlier[:len(earlier):len(earlier)], f)
	return earlier
}

func (e *Engine) landed(b v1.Descriptor, how arrival) {
	if how != sent {
		e.Progress.spare(b.Size)
	}
	e.Progress.finish()
}

// bring looks for the blob, unless a mount would answer that in the same
// request, and moves it if it is not there.
func (e *Engine) bring(ctx context.Context, c *copying, b v1.Descriptor, earlier []*flight) (arrival, error) {
	from := mountable(ctx, c, earlier)
	if c.rootThere || from == nil && c.target.mayHold(ctx, b) {
		if there, err := c.target.hasBlob(ctx, b.Digest); there || err != nil {
			return present, err
		}
	}
	took, err := c.target.repo.PutBlob(ctx, registry.Upload{
		Blob:      b,
		From:      c.source,
		MountFrom: from,
		Moved:     e.Progress.moved,
	})
	if took {
		return mounted, err
	}
	return sent, err
}

// hasBlob reports whether the target says that it has a blob. Where it does not tell,
// the blob is uploaded.
func (t *target) hasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	there, err := t.repo.HasBlob(ctx, digest)
	if errors.Is(err, registry.ErrUnclear) {
		return false, nil
	}
	return there, err
}

// resend sends blobs of a manifest that the registry refuses because it lacks one of
// them. What it only said to have, or to have mounted, is sent once whatever it says
// (cc-utils#1752, distribution-spec#569: HEAD 200 for a blob that is gone). What it
// took is sent again if it is no longer there: unreferenced blobs are collected after
// hours (GitLab 24, zot 1), and a long copy may take as long. It reports whether any
// of them was sent so, by whomever.
func (c *copying) resend(ctx context.Context, blobs []v1.Descriptor) (resent bool, err error) {
	var sent atomic.Bool
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, b := range blobs {
		q.Go(func() error {
			again, mine, err := c.engine.resend(ctx, c.target, c.source, b)
			if again {
				sent.Store(true)
			}
			if again && mine {
				c.count(func(n *document.Copied) { n.Blobs, n.Bytes = n.Blobs+1, n.Bytes+b.Size })
			}
			return err
		})
	}
	err = q.Wait()
	return sent.Load(), err
}

// resend sends one blob again, once a run. It reports whether the blob was sent so,
// and whether this call did it.
func (e *Engine) resend(ctx context.Context, t *target, source *registry.Repository, b v1.Descriptor) (again, mine bool, err error) {
	t.mu.Lock()
	f := t.blobs[b.Digest]
	t.mu.Unlock()
	if f == nil { // nobody has brought it in this run
		return false, false, nil
	}
	f.again.Do(func() {
		mine = true
		f.resent, f.resendErr = e.resendOnce(ctx, t, source, b, f.how)
	})
	return f.resent, mine, f.resendErr
}

func (e *Engine) resendOnce(ctx context.Context, t *target, source *registry.Repository, b v1.Descriptor, how arrival) (bool, error) {
	if how == sent {
		there, err := t.repo.Uncached().HasBlob(ctx, b.Digest)
		if there || err != nil && !errors.Is(err, registry.ErrUnclear) {
			return false, err
		}
	}
	e.Progress.expectAgain(b.Size)
	_, err := t.repo.PutBlob(ctx, registry.Upload{Blob: b, From: source, Insist: true, Moved: e.Progress.moved})
	return err == nil, err
}

// mountable is a repository of the target's registry that holds the blob, nil if
// there is none. What is on its way to one is waited for, so that its bytes go
// to a registry once; a flight waits for earlier ones only, so none waits for
// one that waits in turn for it, and it holds no stream meanwhile.
func mountable(ctx context.Context, c *copying, earlier []*flight) *registry.Repository {
	if c.target.repo.CanMountFrom(c.source) {
		return c.source
	}
	for _, f := range earlier {
		if !c.target.repo.CanMountFrom(f.to) {
			continue
		}
		select {
		case <-f.done:
			if f.err == nil {
				return f.to
			}
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
