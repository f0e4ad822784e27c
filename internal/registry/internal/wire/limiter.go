package wire

import (
	"context"
	"sync"
)

// width is how many requests may run at the same time: additive increase, multiplicative
// decrease, as in TCP. It starts at its ceiling, because most registries accept that many, and
// shrinks only after an answer of an overloaded host.
//
// It shrinks once for all requests that ran at the same time, because their answers describe
// the same overload. Each request therefore has the round in which it began.
type width struct {
	ceiling float64
	current float64
	round   int
}

func newWidth(ceiling int) width { return width{ceiling: float64(ceiling), current: float64(ceiling)} }

func (w *width) slots() int { return int(w.current) }

// grow counts a success: one more slot for each full round of successes.
func (w *width) grow(round int) {
	if round == w.round {
		w.current = min(w.ceiling, w.current+1/w.current)
	}
}

// halve counts an answer of an overloaded host.
func (w *width) halve(round int) {
	if round != w.round {
		return
	}
	w.current = max(w.current/2, 1)
	w.round++
}

// limiter gives out the slots of a width, first come, first served.
type limiter struct {
	mu    sync.Mutex
	width width
	busy  int
	queue []*waiter
}

// waiter waits for a slot. Its channel is closed when it has one.
type waiter struct {
	ready     chan struct{}
	round     int
	abandoned bool
}

func newLimiter(ceiling int) *limiter { return &limiter{width: newWidth(ceiling)} }

// acquire waits for a slot and returns the round in which its request begins.
func (l *limiter) acquire(ctx context.Context) (round int, err error) {
	l.mu.Lock()
	if l.busy < l.width.slots() && len(l.queue) == 0 {
		defer l.mu.Unlock()
		l.busy++
		return l.width.round, nil
	}
	t := &waiter{ready: make(chan struct{})}
	l.queue = append(l.queue, t)
	l.mu.Unlock()
	select {
	case <-t.ready:
		return t.round, nil
	case <-ctx.Done():
		l.abandon(t)
		return 0, context.Cause(ctx)
	}
}

// abandon ends a wait. If the waiter got a slot at the same moment, abandon returns the slot.
func (l *limiter) abandon(t *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-t.ready:
		l.busy--
		l.dispatch()
	default:
		t.abandoned = true
	}
}

// release returns a slot.
func (l *limiter) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	l.dispatch()
}

// adjust changes the width after an answer.
func (l *limiter) adjust(by func(w *width, round int), round int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by(&l.width, round)
	l.dispatch()
}

// narrowTo sets a lower width until widenTo sets the ceiling.
func (l *limiter) narrowTo(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width.current = float64(n)
}

// widenTo sets the ceiling, and the width to it.
func (l *limiter) widenTo(ceiling int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = width{ceiling: float64(ceiling), current: float64(ceiling), round: l.width.round}
	l.dispatch()
}

// used reports whether a request has or awaits a slot.
func (l *limiter) used() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy > 0 || len(l.queue) > 0
}

// halveCeiling halves the ceiling, but leaves one slot.
func (l *limiter) halveCeiling() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width.ceiling = max(1, l.width.ceiling/2)
	l.width.current = min(l.width.current, l.width.ceiling)
}

// dispatch gives free slots to the oldest waiters.
func (l *limiter) dispatch() {
	for len(l.queue) > 0 && l.busy < l.width.slots() {
		t := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if t.abandoned {
			continue
		}
		t.round = l.width.round
		l.busy++
		close(t.ready)
	}
}
