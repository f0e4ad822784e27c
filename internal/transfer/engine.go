package transfer

import (
	"errors"
	"slices"
	"sync"

	"github.com/artifact-promotion/promote/internal/registry"
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

// Forget lets go of what the run knows of a repository that nothing more will be copied
// to: how its blobs came there, and the lists of what is attached to anything but the
// given digests. It stays known which blobs can be mounted from there.
func (e *Engine) Forget(repo *registry.Repository, but ...v1.Hash) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old := e.targets[repo.Name()]
	if old == nil {
		return
	}
	e.targets[repo.Name()] = newTarget(old.repo, old.finder)
	old.finder.Forget(but...)
	over := landed(old.repo)
	for digest, f := range old.blobs {
		if at := slices.Index(e.flights[digest], f); at >= 0 {
			e.flights[digest] = slices.Clone(e.flights[digest]) // others wait for those of the list that was
			e.flights[digest][at] = over
		}
	}
}

// errOutline says that a graph is given of which the run has let the content go: to
// copy or verify that would do nothing.
var errOutline = errors.New("the content of the graph was let go")

// New returns an engine that verifies at a level.
func New(level Level) *Engine {
	return &Engine{
		level:   level,
		targets: map[string]*target{},
		flights: map[v1.Hash][]*flight{},
	}
}
