package transfer

import (
	"context"
	"errors"
	"sync"

	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// target is what a run knows of one target repository.
type target struct {
	repo   *registry.Repository
	finder *referrer.Finder

	mu       sync.Mutex
	blobs    map[v1.Hash]*flight // blobs that are there, or on their way
	listed   map[v1.Hash]bool    // referrers that were read in their subject's list
	tagged   map[string]tagged   // cosign's tags
	verified map[v1.Hash]bool    // blobs whose content was read back
	counted  map[v1.Hash]bool    // by an estimate
}

func (e *Engine) target(repo *registry.Repository) *target {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.targets[repo.Name()]
	if t == nil {
		t = newTarget(repo, referrer.NewFinder(repo))
		e.targets[repo.Name()] = t
	}
	return t
}

func newTarget(repo *registry.Repository, finder *referrer.Finder) *target {
	return &target{
		repo: repo, finder: finder,
		blobs: map[v1.Hash]*flight{}, listed: map[v1.Hash]bool{},
		tagged: map[string]tagged{}, verified: map[v1.Hash]bool{}, counted: map[v1.Hash]bool{},
	}
}

// Finder is the run's finder of what is attached in a repository.
func (e *Engine) Finder(repo *registry.Repository) *referrer.Finder { return e.target(repo).finder }

// tagged is what a tag of cosign's scheme held before the run wrote it (zero: it did
// not exist), and what it must hold in the end.
type tagged struct{ before, want v1.Hash }

// holds reports whether the repository holds a manifest whose bytes have its digest.
func (t *target) holds(ctx context.Context, digest v1.Hash) (bool, error) {
	_, err := t.repo.GetManifest(ctx, digest.String())
	if errors.Is(err, registry.ErrNotFound) || errors.Is(err, registry.ErrMismatch) { // which is written again
		return false, nil
	}
	return err == nil, err
}

// tag is what the repository holds under a tag of cosign's scheme, nil if nothing.
// In a repository that had no tag at all it holds nothing.
func (t *target) tag(ctx context.Context, tag string) (*registry.Manifest, error) {
	if t.finder.Empty(ctx) {
		return nil, nil
	}
	m, err := t.repo.GetManifest(ctx, tag)
	switch {
	case err == nil:
		return &m, nil
	case errors.Is(err, registry.ErrNotFound):
		return nil, nil
	default:
		return nil, err
	}
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
