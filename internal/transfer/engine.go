package transfer

import (
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Engine copies and verifies for one run. It remembers what it has seen at each
// target, so that a blob goes once to a registry, and nothing is asked for twice.
type Engine struct {
	Progress Progress

	level Level

	mu      sync.Mutex
	targets map[string]*target
	flights map[v1.Hash][]*flight // each blob's, in the order in which they began
}

// New returns an engine that verifies at a level.
func New(level Level) *Engine {
	return &Engine{
		level:   level,
		targets: map[string]*target{},
		flights: map[v1.Hash][]*flight{},
	}
}
