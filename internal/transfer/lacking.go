package transfer

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Expect begins to ask whether a repository has a manifest's blobs, for a [Engine.Lacking]
// that follows. The context ends the questions.
func (e *Engine) Expect(ctx context.Context, n *graph.Node, repo *registry.Repository) {
	for _, b := range n.Blobs {
		e.ExpectBlob(ctx, b.Digest, repo)
	}
}

// ExpectBlob is [Engine.Expect] of one blob.
func (e *Engine) ExpectBlob(ctx context.Context, digest v1.Hash, repo *registry.Repository) {
	t := e.target(repo)
	t.questions.Go(func() error {
		_, _ = t.blob(ctx, digest) // who needs the answer asks again
		return nil
	})
}

// Lacking returns the blobs of a graph that a repository does not have, in the graph's
// order. It asks for each, for an image that was stored long ago: nobody vouches then
// for what its manifests name.
func (e *Engine) Lacking(ctx context.Context, g *graph.Graph, repo *registry.Repository) ([]v1.Descriptor, error) {
	t := e.target(repo)
	var mu sync.Mutex
	there := map[v1.Hash]bool{}
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, b := range g.Blobs {
		q.Go(func() error {
			has, err := t.blob(ctx, b.Digest)
			mu.Lock()
			defer mu.Unlock()
			there[b.Digest] = has
			return err
		})
	}
	if err := q.Wait(); err != nil {
		return nil, err
	}
	var missing []v1.Descriptor
	for _, b := range g.Blobs {
		if !there[b.Digest] {
			missing = append(missing, b)
		}
	}
	return missing, nil
}
