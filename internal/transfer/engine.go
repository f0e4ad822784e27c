package transfer

import (
	"sync"

	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/semaphore"
)

// defaultStreams is how many blobs move at once unless the user says otherwise.
const defaultStreams = 24

// Engine copies and verifies for one run. It remembers what it has seen at each
// target, so that a blob goes once to a registry, and nothing is asked for twice.
type Engine struct {
	Progress Progress

	level   Level
	streams *semaphore.Weighted // held around a blob's transfer, never around a graph's node

	mu      sync.Mutex
	targets map[string]*target
	flights map[v1.Hash][]*flight // each blob's, in the order in which they began
}

// New returns an engine that verifies at a level. Concurrency is how many blobs
// move at once; 0 leaves it to the engine.
func New(level Level, concurrency int) *Engine {
	if concurrency <= 0 {
		concurrency = defaultStreams
	}
	return &Engine{
		level:   level,
		streams: semaphore.NewWeighted(int64(concurrency)),
		targets: map[string]*target{},
		flights: map[v1.Hash][]*flight{},
	}
}

// target is what a run knows of one target repository.
type target struct {
	repo   *registry.Repository
	finder *referrer.Finder

	mu       sync.Mutex
	read     map[v1.Hash]bool    // manifests read there whose bytes had the digest
	blobs    map[v1.Hash]*flight // blobs that are there, or on their way
	listed   map[v1.Hash]bool    // referrers that were read in their subject's list
	tagged   map[string]v1.Hash  // cosign's tags: what each must hold in the end
	verified map[v1.Hash]bool    // blobs whose content was read back
}

func (e *Engine) target(repo *registry.Repository) *target {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.targets[repo.Name()]
	if t == nil {
		t = &target{
			repo: repo, finder: referrer.NewFinder(repo),
			read: map[v1.Hash]bool{}, blobs: map[v1.Hash]*flight{}, listed: map[v1.Hash]bool{},
			tagged: map[string]v1.Hash{}, verified: map[v1.Hash]bool{},
		}
		e.targets[repo.Name()] = t
	}
	return t
}

// mark notes that a digest is in one of the target's sets.
func (t *target) mark(set map[v1.Hash]bool, digest v1.Hash) {
	t.mu.Lock()
	defer t.mu.Unlock()
	set[digest] = true
}

func (t *target) has(set map[v1.Hash]bool, digest v1.Hash) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return set[digest]
}
