package queue

import "context"

// Turn is had by one at a time. Unlike a lock it may be held while something is
// asked for: the wait for it ends with the context.
type Turn chan struct{}

// NewTurn returns one that nobody has.
func NewTurn() Turn { return make(Turn, 1) }

// Take waits for the turn. The error is the reason for which the context ended.
func (t Turn) Take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Give lets the next one have it.
func (t Turn) Give() { <-t }

// TryTake takes it if nobody has it, and reports whether it did.
func (t Turn) TryTake() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}
