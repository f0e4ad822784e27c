package transfer

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Lacking returns the blobs of a graph that a repository does not have, in the graph's
// order. It asks for each, for an image that was stored long ago: nobody vouches then
// for what its manifests name.
func (e *Engine) Lacking(ctx context.Context, g *graph.Graph, repo *registry.Repository) ([]v1.Descriptor, error) {
	if g.IsOutline() {
		return nil, errOutline
	}
	t := e.target(repo)
	var mu sync.Mutex
	there := map[v1.Hash]bool{}
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, b := range g.Blobs() {
		q.Go(func() error {
			has, err := t.repo.HasBlob(ctx, b.Digest)
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
	for _, b := range g.Blobs() {
		if !there[b.Digest] {
			missing = append(missing, b)
		}
	}
	return missing, nil
}
