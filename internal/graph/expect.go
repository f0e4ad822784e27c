package graph

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// How much is read before the walk finds it. Nobody has said how large it is: each is
// taken to be as large as its share of what may be on its way.
const (
	maxExpected   = 64
	expectedShare = maxOnTheirWay / 16
)

// expectation is a manifest that is read before the walk finds it.
type expectation struct {
	done     chan struct{}
	manifest registry.Manifest
	read     bool
}

// Expect begins to read manifests which a walk that follows is likely to find: what was
// attached when somebody looked before. It tells of each as soon as it is there. The walk
// decides what belongs to the image, and whether it is there: that one of these is not is
// no error. The context ends the reading, and work waits for it.
func (w *Walker) Expect(ctx context.Context, work *sync.WaitGroup, digests []v1.Hash, tell func(*Node)) {
	for _, digest := range digests[:min(len(digests), maxExpected)] {
		e := w.expectation(digest)
		if e == nil {
			continue
		}
		work.Go(func() {
			defer close(e.done)
			if w.onTheirWay.Acquire(ctx, expectedShare) != nil {
				return
			}
			defer w.onTheirWay.Release(expectedShare)
			m, err := w.repo.GetManifest(ctx, digest.String())
			if err != nil {
				return
			}
			e.manifest, e.read = m, true
			if n, err := Parse(m); err == nil {
				tell(n)
			}
		})
	}
}

// expectation is a new one, nil if there is one of the digest.
func (w *Walker) expectation(digest v1.Hash) *expectation {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.expected[digest] != nil {
		return nil
	}
	e := &expectation{done: make(chan struct{})}
	w.expected[digest] = e
	return e
}

// ahead is a manifest that was read already, or is being read.
func (w *Walker) ahead(ctx context.Context, digest v1.Hash) (registry.Manifest, bool) {
	w.mu.Lock()
	e := w.expected[digest]
	delete(w.expected, digest)
	w.mu.Unlock()
	if e == nil {
		return registry.Manifest{}, false
	}
	select {
	case <-e.done:
		return e.manifest, e.read
	case <-ctx.Done():
		return registry.Manifest{}, false
	}
}
