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

// Estimate counts what of a graph is not at the target. It writes nothing. What
// several images share is missing once in each repository.
//
// It is an estimate, for people: blobs below a manifest that is there are taken to
// be there, and what is attached to a manifest that is not there is taken to be
// missing. Copy asks for each.
func (e *Engine) Estimate(ctx context.Context, g *graph.Graph, source, target *registry.Repository) (document.Missing, error) {
	if g.IsOutline() {
		return document.Missing{}, errOutline
	}
	if source.Same(target) {
		return document.Missing{}, nil
	}
	q, ctx := queue.WithContext(ctx, queue.Width)
	c := &counting{ctx: ctx, queue: q, graph: g, target: e.target(target), attached: map[v1.Hash][]v1.Hash{}}
	for _, a := range g.Attachments {
		c.attached[a.Subject] = append(c.attached[a.Subject], a.Digest)
	}
	c.visit(g.Root, true)
	err := q.Wait()
	return c.missing, err
}

// counting is one call of Estimate.
type counting struct {
	ctx      context.Context //nolint:containedctx // the queue's, which ends with the call
	queue    *queue.Group
	graph    *graph.Graph
	target   *target
	attached map[v1.Hash][]v1.Hash // by subject

	mu      sync.Mutex
	missing document.Missing
}

// visit counts a manifest and what belongs to it. Hopeful says that it may be at
// the target.
func (c *counting) visit(digest v1.Hash, hopeful bool) {
	n := c.graph.Node(digest)
	if n == nil || !c.target.first(digest) {
		return
	}
	c.queue.Go(func() error {
		there := false
		if hopeful {
			var err error
			if there, err = c.target.holds(c.ctx, digest); err != nil {
				return err
			}
		}
		if !there {
			c.count(document.Missing{Manifests: 1})
		}
		for _, child := range n.Children {
			if c.graph.Node(child.Digest) == nil { // a blob, as in build caches
				c.blob(child, there)
				continue
			}
			c.visit(child.Digest, there || !c.target.finder.Empty(c.ctx))
		}
		for _, b := range n.Blobs {
			c.blob(b, there)
		}
		for _, a := range c.attached[digest] {
			c.visit(a, there)
		}
		return nil
	})
}

// blob counts a blob; there says that it is at the target for sure.
func (c *counting) blob(b v1.Descriptor, there bool) {
	if !c.target.first(b.Digest) || there {
		return
	}
	c.queue.Go(func() error {
		if c.target.mayHold(c.ctx, b) {
			if there, err := c.target.hasBlob(c.ctx, b.Digest); there || err != nil {
				return err
			}
		}
		c.count(document.Missing{Blobs: 1, Bytes: b.Size})
		return nil
	})
}

func (c *counting) count(one document.Missing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missing.Manifests += one.Manifests
	c.missing.Blobs += one.Blobs
	c.missing.Bytes += one.Bytes
}
