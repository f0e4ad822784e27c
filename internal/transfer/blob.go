package transfer

import (
	"context"
	"io"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// flight is one blob's way into one target repository, walked once a run.
type flight struct {
	done chan struct{}
	how  arrival
	err  error
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
		f.how, f.err = e.bring(ctx, c, b)
		if f.err == nil {
			e.landed(c.target.repo, b, f.how)
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
	f = &flight{done: make(chan struct{})}
	t.blobs[digest] = f
	return f, true
}

func (e *Engine) landed(repo *registry.Repository, b v1.Descriptor, how arrival) {
	if how != sent {
		e.Progress.spare(b.Size)
	}
	e.Progress.finish()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holders[b.Digest] = append(e.holders[b.Digest], repo)
}

// bring looks for the blob, unless a mount would answer that in the same
// request, and moves it if it is not there.
func (e *Engine) bring(ctx context.Context, c *copying, b v1.Descriptor) (arrival, error) {
	if err := e.streams.Acquire(ctx, 1); err != nil {
		return 0, context.Cause(ctx)
	}
	defer e.streams.Release(1)
	from := e.mountable(c, b.Digest)
	if from == nil || c.rootThere {
		if there, err := c.target.repo.HasBlob(ctx, b.Digest); there || err != nil {
			return present, err
		}
	}
	took, err := c.target.repo.PutBlob(ctx, registry.Upload{
		Blob:      b,
		Open:      func(ctx context.Context) io.ReadCloser { return c.source.OpenBlob(ctx, b) },
		MountFrom: from,
		Moved:     e.Progress.moved,
	})
	if took {
		return mounted, err
	}
	return sent, err
}

// mountable is a repository of the target's registry that holds the blob.
func (e *Engine) mountable(c *copying, digest v1.Hash) *registry.Repository {
	if c.target.repo.CanMountFrom(c.source) {
		return c.source
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, holder := range e.holders[digest] {
		if c.target.repo.CanMountFrom(holder) {
			return holder
		}
	}
	return nil
}
