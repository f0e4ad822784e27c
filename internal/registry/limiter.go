package registry

import (
	"context"
	"sync"
	"time"
)

// slowFloor is how far rising latency alone narrows a limit. Slow answers may be
// nobody's fault; only a registry that says so is asked less than that.
const slowFloor = 8

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
func (w *width) halve(round int) { w.shrink(round, w.now/2, 1) }

// ease counts an answer that took long.
func (w *width) ease(round int) { w.shrink(round, w.now*0.9, min(slowFloor, w.now)) }

func (w *width) shrink(round int, to, floor float64) {
	if round != w.round {
		return
	}
	w.now = max(to, floor)
	w.round++
}

// Latency is rising where the smoothed time to an answer is both several times
// the best that was seen and this much above it.
const (
	slowTimes = 4
	slowAbove = 250 * time.Millisecond
)

// pace is how long one kind of request takes to its answer's first byte.
type pace struct {
	best, smooth time.Duration
}

// add counts a sample, and reports whether answers have become slow. One that is
// far off counts as a bounded one, so that a single hiccup changes nothing.
func (p *pace) add(d time.Duration) (slow bool) {
	if p.best == 0 {
		p.best, p.smooth = d, d
	}
	p.best = min(p.best, d)
	p.smooth += (min(d, 2*slowTimes*p.best+2*slowAbove) - p.smooth) / 8
	return p.smooth > slowTimes*p.best && p.smooth > p.best+slowAbove
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

// takeNow takes a slot only if there is one that nobody waits for.
func (l *limiter) takeNow() (round int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy >= l.width.slots() || len(l.queue) > 0 {
		return 0, false
	}
	l.busy++
	return l.width.round, true
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

// current is the round that a request which began now would be of.
func (l *limiter) current() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.width.round
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
