package transfer

import (
	"context"
	"sync"

	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Survey asks what a target holds while the source is still being walked, so
// that the copy finds the answers. It writes nothing, and it only asks ahead:
// who needs an answer that failed asks again.
type Survey struct {
	engine *Engine
	source *registry.Repository
	target *target
	there  bool // the target holds the root, so most of the rest is likely there
	ctx    context.Context
	ahead  *sync.WaitGroup
}

// Survey begins to ask about a root at a target, one of whose tags may have been
// observed to hold it. The context ends the questions, and ahead, which the
// caller waits for when nothing more can be found, counts them.
func (e *Engine) Survey(ctx context.Context, ahead *sync.WaitGroup, root v1.Hash, source, target *registry.Repository, tags ...Observation) *Survey {
	s := &Survey{engine: e, source: source, target: e.target(target), ctx: ctx, ahead: ahead}
	for _, o := range tags {
		if o.Digest() == root {
			s.there = true
			s.target.mark(s.target.read, root)
		}
	}
	if !s.there {
		s.ask(func() { _, _ = s.target.manifest(ctx, root) })
	}
	return s
}

// ask asks soon, and is not waited for.
func (s *Survey) ask(question func()) {
	s.ahead.Add(1)
	s.target.questions.Go(func() error {
		defer s.ahead.Done()
		question()
		return nil
	})
}

// Near reads a manifest at the target, if the target holds the root: what is
// read there need not be read at the source too.
func (s *Survey) Near(ctx context.Context, digest v1.Hash) (registry.Manifest, bool) {
	if !s.there {
		return registry.Manifest{}, false
	}
	m, err := s.target.manifest(ctx, digest)
	if err != nil || m == nil {
		return registry.Manifest{}, false
	}
	return *m, true
}

// Found asks about what a node of the source's graph names, and about the tag of
// cosign's scheme that it was found under.
func (s *Survey) Found(n *graph.Node, tag string) {
	if tag != "" {
		s.ask(func() { _, _ = s.target.tag(s.ctx, tag) })
	}
	if n.Subject.Hex != "" {
		s.ask(func() { _, _ = s.target.finder.HasAPI(s.ctx, n.Subject) })
	}
	if s.engine.level == Manifests && s.there || !s.there && s.target.repo.CanMountFrom(s.source) {
		return
	}
	for _, b := range n.Blobs {
		s.ask(func() {
			if s.there || s.target.mayHold(s.ctx, b) {
				_, _ = s.target.blob(s.ctx, b.Digest)
			}
		})
	}
}

// Prepare asks ahead for what any copy to a target needs.
func (e *Engine) Prepare(ctx context.Context, target *registry.Repository) {
	e.target(target).finder.Empty(ctx)
}
