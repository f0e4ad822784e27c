// Package queue runs many tasks, so many at once, in the order in which they came.
package queue

import (
	"context"
	"errors"
	"sync"
)

// Width is how many tasks of one queue run at once, unless there is a reason for
// another number: well above the requests that one host takes at once, as some
// tasks wait.
const Width = 128

// Group is like an errgroup with a limit, but that a task may add tasks: to add
// one never waits. A task may wait for one that was added before it, and for none
// that was added later.
type Group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	width  int

	mu      sync.Mutex
	waiting []func() error
	running int
	err     error
	all     sync.WaitGroup // of the goroutines
}

// WithContext returns a group that runs as many tasks at once, and a context that
// ends with the first error or when Wait returns.
func WithContext(ctx context.Context, width int) (*Group, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: ctx, cancel: cancel, width: width}, ctx
}

// Go adds a task. After an error, or when the context has ended, it is not run.
func (g *Group) Go(task func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, task)
	if g.running < g.width {
		g.running++
		g.all.Go(g.work)
	}
}

// Wait waits for all tasks, and returns the first error.
func (g *Group) Wait() error {
	g.all.Wait()
	g.cancel(g.err)
	return g.err
}

// work runs tasks until there is none.
func (g *Group) work() {
	for {
		task := g.next()
		if task == nil {
			return
		}
		err := context.Cause(g.ctx)
		if err == nil {
			err = task()
		}
		if err != nil {
			g.fail(err)
		}
	}
}

func (g *Group) next() (task func() error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.running--
		return nil
	}
	task, g.waiting[0] = g.waiting[0], nil
	g.waiting = g.waiting[1:]
	return task
}

// fail keeps the first error; but the bare reason for which the context ended gives
// way to what a task says of it, such as what it was waiting for.
func (g *Group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ended := context.Cause(g.ctx)
	switch {
	case g.err == nil:
		g.err = err
		g.cancel(err)
	case g.err == ended && err != ended && errors.Is(err, ended): //nolint:errorlint // the bare one
		g.err = err
	}
}
