package transfer

import (
	"context"
	"errors"
	"sync"

	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// target is what a run knows of one target repository.
type target struct {
	repo   *registry.Repository
	finder *referrer.Finder

	questions *queue.Group // that a survey asks; each ends with the survey's context

	// What the repository held before this run wrote there. A manifest or tag that
	// it did not hold is nil.
	manifests *memory[v1.Hash, *registry.Manifest]
	tags      *memory[string, *registry.Manifest]
	held      *memory[v1.Hash, bool] // blobs

	mu       sync.Mutex
	read     map[v1.Hash]bool    // manifests read there whose bytes had the digest
	blobs    map[v1.Hash]*flight // blobs that are there, or on their way
	listed   map[v1.Hash]bool    // referrers that were read in their subject's list
	tagged   map[string]v1.Hash  // cosign's tags: what each must hold in the end
	verified map[v1.Hash]bool    // blobs whose content was read back
	counted  map[v1.Hash]bool    // by an estimate
}

func (e *Engine) target(repo *registry.Repository) *target {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.targets[repo.Name()]
	if t == nil {
		questions, _ := queue.WithContext(context.Background(), queue.Width)
		t = &target{
			questions: questions,
			repo:      repo, finder: referrer.NewFinder(repo),
			manifests: newMemory[v1.Hash, *registry.Manifest](),
			tags:      newMemory[string, *registry.Manifest](),
			held:      newMemory[v1.Hash, bool](),
			read:      map[v1.Hash]bool{}, blobs: map[v1.Hash]*flight{}, listed: map[v1.Hash]bool{},
			tagged: map[string]v1.Hash{}, verified: map[v1.Hash]bool{}, counted: map[v1.Hash]bool{},
		}
		e.targets[repo.Name()] = t
	}
	return t
}

// Finder is the run's finder of what is attached in a repository.
func (e *Engine) Finder(repo *registry.Repository) *referrer.Finder { return e.target(repo).finder }

// manifest is what the repository held under a digest, nil if nothing.
func (t *target) manifest(ctx context.Context, digest v1.Hash) (*registry.Manifest, error) {
	return t.manifests.ask(ctx, digest, func(ctx context.Context) (*registry.Manifest, error) {
		m, err := t.repo.GetManifest(ctx, digest.String())
		if errors.Is(err, registry.ErrMismatch) {
			return nil, nil // written anew
		}
		return t.took(m, err)
	})
}

// tag is what the repository held under a tag of cosign's scheme, nil if nothing.
// In a repository that had no tag at all it held nothing.
func (t *target) tag(ctx context.Context, tag string) (*registry.Manifest, error) {
	return t.tags.ask(ctx, tag, func(ctx context.Context) (*registry.Manifest, error) {
		if t.finder.Empty(ctx) {
			return nil, nil
		}
		m, err := t.repo.GetManifest(ctx, tag)
		return t.took(m, err)
	})
}

// took notes a manifest as read.
func (t *target) took(m registry.Manifest, err error) (*registry.Manifest, error) {
	switch {
	case err == nil:
		t.mark(t.read, m.Digest)
		return &m, nil
	case errors.Is(err, registry.ErrNotFound):
		return nil, nil
	default:
		return nil, err
	}
}

// blob reports whether the repository held a blob.
func (t *target) blob(ctx context.Context, digest v1.Hash) (bool, error) {
	return t.held.ask(ctx, digest, func(ctx context.Context) (bool, error) { return t.repo.HasBlob(ctx, digest) })
}

// large is the size in bytes from which on it is worth a request to learn that a
// blob need not be sent, even where it is not likely to be there: what a run
// that was broken off has left in a repository that is new.
const large = 1 << 20

// mayHold reports whether it is worth asking for a blob.
func (t *target) mayHold(ctx context.Context, b v1.Descriptor) bool {
	return b.Size >= large || !t.finder.Empty(ctx)
}

// mark notes that a digest is in one of the target's sets.
func (t *target) mark(set map[v1.Hash]bool, digest v1.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	set[digest] = true
}

// first reports whether an estimate sees a digest for the first time.
func (t *target) first(digest v1.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.counted[digest]
	t.counted[digest] = true
	return !seen
}

func (t *target) has(set map[v1.Hash]bool, digest v1.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return set[digest]
}
