package registry

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
	now     float64
	round   int
}

func newWidth(ceiling int) width { return width{ceiling: float64(ceiling), now: float64(ceiling)} }

func (w *width) slots() int { return int(w.now) }

// grow counts an answer that was well: one slot more for each full round of them.
func (w *width) grow(round int) {
	if round == w.round {
		w.now = min(w.ceiling, w.now+1/w.now)
	}
}

// halve counts an answer that the host is asked too much.
func (w *width) halve(round int) {
	if round != w.round {
		return
	}
	w.now = max(w.now/2, 1)
	w.round++
}

// limiter hands out the slots of a width, first come, first served.
type limiter struct {
	mu    sync.Mutex
	width width
	busy  int
	queue []*ticket
}

// ticket is one who waits. Its channel is closed when the slot is its own.
type ticket struct {
	called chan struct{}
	round  int
	gone   bool
}

func newLimiter(ceiling int) *limiter { return &limiter{width: newWidth(ceiling)} }

// take waits for a slot and returns the round in which its request begins.
func (l *limiter) take(ctx context.Context) (round int, err error) {
	l.mu.Lock()
	if l.busy < l.width.slots() && len(l.queue) == 0 {
		defer l.mu.Unlock()
		l.busy++
		return l.width.round, nil
	}
	t := &ticket{called: make(chan struct{})}
	l.queue = append(l.queue, t)
	l.mu.Unlock()
	select {
	case <-t.called:
		return t.round, nil
	case <-ctx.Done():
		l.leave(t)
		return 0, context.Cause(ctx)
	}
}

// leave gives up waiting, also where the slot was handed over at the same moment.
func (l *limiter) leave(t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-t.called:
		l.busy--
		l.call()
	default:
		t.gone = true
	}
}

// give returns a slot.
func (l *limiter) give() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy--
	l.call()
}

// adjust changes the width by what came back.
func (l *limiter) adjust(by func(w *width, round int), round int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by(&l.width, round)
	l.call()
}

// narrowTo lets so many run at once until widenTo says how many may.
func (l *limiter) narrowTo(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width.now = float64(n)
}

// widenTo sets how many may run at once from here on, at the most.
func (l *limiter) widenTo(ceiling int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.width = width{ceiling: float64(ceiling), now: float64(ceiling), round: l.width.round}
	l.call()
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
	l.width.now = min(l.width.now, l.width.ceiling)
}

// call hands free slots to who has waited longest.
func (l *limiter) call() {
	for len(l.queue) > 0 && l.busy < l.width.slots() {
		t := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if t.gone {
			continue
		}
		t.round = l.width.round
		l.busy++
		close(t.called)
	}
}
