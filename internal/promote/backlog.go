package promote

import (
	"sync"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// backlog is what is left to copy and to verify.
type backlog struct {
	mu       sync.Mutex
	uncopied int
	images   map[*image]int       // promotions that are not verified, of each image
	targets  map[string]int       // and to each repository
	roots    map[string][]v1.Hash // of the images that go to it
}

func newBacklog(promotions []*promotion) *backlog {
	b := &backlog{uncopied: len(promotions), images: map[*image]int{}, targets: map[string]int{}, roots: map[string][]v1.Hash{}}
	for _, p := range promotions {
		at := p.target.Name()
		b.images[p.image]++
		b.targets[at]++
		b.roots[at] = append(b.roots[at], p.root.Digest)
	}
	return b
}

// copied counts a promotion, and reports whether it was the last.
func (b *backlog) copied() (last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uncopied--
	return b.uncopied == 0
}

// done is what a run needs no more: nil where a promotion is left that does.
type done struct {
	image  *image
	target *registry.Repository
	roots  []v1.Hash // of the images that were brought to the target
}

// verified counts a promotion, and tells what no other needs.
func (b *backlog) verified(p *promotion) (over done) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := p.target.Name()
	b.images[p.image]--
	b.targets[at]--
	if b.images[p.image] == 0 {
		over.image = p.image
	}
	if b.targets[at] == 0 {
		over.target, over.roots = p.target, b.roots[at]
	}
	return over
}

// letGo keeps of images no more than what is told of them, and nothing of what was
// brought to a target but what the records need, which are attached to the images.
func (r *run) letGo(over done) {
	if over.image != nil {
		over.image.graph = over.image.graph.Outline()
	}
	if over.target != nil {
		r.engine.Forget(over.target, over.roots...)
	}
}
