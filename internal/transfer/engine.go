package transfer

import (
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/semaphore"
)

// defaultStreams is how many blobs move at once unless the user says otherwise.
const defaultStreams = 64

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
