package promote

import (
	"slices"
	"sync"
)

// notices are what a run has said that is no fault, in order. Steps that run side by side add to them.
type notices struct {
	mu    sync.Mutex
	texts []string
}

// add keeps a text, and reports whether it is new.
func (n *notices) add(text string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.texts, text) {
		return false
	}
	n.texts = append(n.texts, text)
	return true
}

func (n *notices) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.texts)
}
