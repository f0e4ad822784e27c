package wire

import (
	"context"
	"sync"
)

// width is how many requests may run at once: additive increase, multiplicative
// decrease, as TCP does it. It starts at its ceiling, because a registry that
// takes that many needs no discovery, and narrows only on what comes back.
//
// It shrinks at most once for all requests that ran side by side: their answers
// tell of one and the same moment. Each therefore carries the round in which it
// began.
type width struct {
	ceiling float64
	current float64
	round   int
}

func newWidth(ceiling int) width { return width{ceiling: float64(ceiling), current: float64(ceiling)} }

func (w *width) slots() int { return int(w.current) }

// grow counts an answer that was well: one slot more for each full round of them.
func (w *width) grow(round int) {
	if round == w.round {
		w.current = min(w.ceiling, w.current+1/w.current)
	}
}

// halve counts an answer that the host is asked too much.
func (w *width) halve(round int) {
	if round != w.round {
		return
	}
	w.current = max(w.current/2, 1)
	w.round++
}

// limiter hands out the slots of a width, first come, first served.
type limiter struct {
	mu    sync.Mutex
	width width
	busy  int
	queue []*waiter
}

// waiter is one who waits. Its channel is closed when the slot is its own.
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

// abandon gives up waiting, also where the slot was handed over at the same moment.
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

// adjust changes the width by what came back.
func (l *limiter) adjust(by func(w *width, round int), round int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by(&l.width, round)
	l.dispatch()
}

// narrowTo lets so many run at once until widenTo says how many may.
func (l *limiter) narrowTo(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width.current = float64(n)
}

// widenTo sets how many may run at once from here on, at the most.
func (l *limiter) widenTo(ceiling int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = width{ceiling: float64(ceiling), current: float64(ceiling), round: l.width.round}
	l.dispatch()
}

// used reports whether a slot is taken or waited for.
func (l *limiter) used() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.busy > 0 || len(l.queue) > 0
}

// halveCeiling leaves half of the slots, one at the least.
func (l *limiter) halveCeiling() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width.ceiling = max(1, l.width.ceiling/2)
	l.width.current = min(l.width.current, l.width.ceiling)
}

// dispatch hands free slots to who has waited longest.
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
