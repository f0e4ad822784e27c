package promote

import (
	"context"
	"fmt"
	"time"
)

// WithTimeout limits a run to a time of its own. Its parent is the context that a signal ends: a run whose time has
// passed has time left to put tags back, until a signal arrives.
func WithTimeout(parent context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx := context.WithValue(parent, signalKey{}, parent)
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("the timeout of %v has passed", limit))
}

// signalKey is the key of the context that a signal ends, in those derived from it.
type signalKey struct{}

// signalOf returns the context that a signal ends; without [WithTimeout] that is ctx.
func signalOf(ctx context.Context) context.Context {
	if signal, ok := ctx.Value(signalKey{}).(context.Context); ok {
		return signal
	}
	return ctx
}
