package transfer

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Estimate counts what of a graph is not at the target. It writes nothing. What several
// images share is missing once in each repository.
func (e *Engine) Estimate(ctx context.Context, g *graph.Graph, source, target *registry.Repository) (document.Missing, error) {
	if source.Same(target) {
		return document.Missing{}, nil
	}
	c := counting{target: e.target(target)}
	q, ctx := queue.WithContext(ctx, queue.Width)
	for _, n := range g.Nodes {
		if !c.target.first(n.Digest) {
			continue
		}
		q.Go(func() error { return c.manifest(ctx, n) })
	}
	for _, b := range g.Blobs {
		if !c.target.first(b.Digest) {
			continue
		}
		q.Go(func() error { return c.blob(ctx, b) })
	}
	err := q.Wait()
	return c.missing, err
}

// counting is one call of Estimate.
type counting struct {
	target *target

	mu      sync.Mutex
	missing document.Missing
}

func (c *counting) manifest(ctx context.Context, n *graph.Node) error {
	there := c.target.has(c.target.read, n.Digest)
	if !there && !c.target.finder.Empty(ctx) {
		m, err := c.target.manifest(ctx, n.Digest)
		if err != nil {
			return err
		}
		there = m != nil
	}
	c.count(there, document.Missing{Manifests: 1})
	return nil
}

func (c *counting) blob(ctx context.Context, b v1.Descriptor) error {
	there := false
	if c.target.mayHold(ctx, b) {
		var err error
		if there, err = c.target.blob(ctx, b.Digest); err != nil {
			return err
		}
	}
	c.count(there, document.Missing{Blobs: 1, Bytes: b.Size})
	return nil
}

func (c *counting) count(there bool, one document.Missing) {
	if there {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing.Manifests += one.Manifests
	c.missing.Blobs += one.Blobs
	c.missing.Bytes += one.Bytes
}
