package transfer

import (
	"slices"
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

// Notices are what the targets' registries cannot do, and what was left out there.
func (e *Engine) Notices() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []string
	for _, t := range e.targets {
		all = append(all, t.finder.Notices()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// New returns an engine that verifies at a level.
func New(level Level) *Engine {
	return &Engine{
		level:   level,
		targets: map[string]*target{},
		flights: map[v1.Hash][]*flight{},
	}
}
