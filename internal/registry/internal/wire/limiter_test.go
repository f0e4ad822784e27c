package wire

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestWidth(t *testing.T) {
	t.Parallel()
	w := newWidth(48)
	if w.slots() != 48 {
		t.Errorf("starts at %d, want its ceiling", w.slots())
	}
	w.grow(0)
	if w.slots() != 48 {
		t.Errorf("grew to %d, beyond its ceiling", w.slots())
	}
	for range 20 { // answers to requests that ran side by side
		w.halve(0)
	}
	if w.slots() != 24 {
		t.Errorf("%d after one round of refusals, want half", w.slots())
	}
	w.grow(0)
	if w.current != 24 {
		t.Errorf("%v: an answer from before it shrank let it grow", w.current)
	}
	for range 24 {
		w.grow(w.round)
	}
	if got := w.slots(); got != 24 && got != 25 {
		t.Errorf("%d after a full round of good answers, want one more", got)
	}
	for range 20 {
		w.halve(w.round)
	}
	if w.slots() != 1 {
		t.Errorf("%d at the least, want 1", w.slots())
	}
	for range 2000 {
		w.grow(w.round)
	}
	if w.slots() != 48 {
		t.Errorf("grew to %d, want its ceiling again", w.slots())
	}
}

// state is a limiter's width.
func state(l *limiter) width {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.width
}

// Slots go to who has waited longest, no more at once than there are; who gives
// up waiting takes none.
func TestSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(3)
		var mu sync.Mutex
		var order []int
		running, most := 0, 0
		var g sync.WaitGroup
		for i := range 30 {
			ctx, cancel := context.WithCancelCause(t.Context())
			if i%5 == 4 {
				time.AfterFunc(1500*time.Millisecond, func() { cancel(errTimeUp) })
			}
			g.Go(func() {
				defer cancel(nil)
				if _, err := l.acquire(ctx); err != nil {
					if !errors.Is(err, errTimeUp) {
						t.Errorf("error %v, want the context's cause", err)
					}
					return
				}
				mu.Lock()
				order = append(order, i)
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				l.release()
			})
			synctest.Wait() // so that they queue in this order
		}
		g.Wait()
		for n := 1; n < len(order); n++ {
			if order[n] < order[n-1]-3 {
				t.Errorf("order %v", order)
				break
			}
		}
		if most != 3 || l.busy != 0 || len(order) < 24 {
			t.Errorf("%d at once, %d still busy, %d served", most, l.busy, len(order))
		}
	})
}

// The slot may be handed over at the moment at which its taker gives up.
func TestSlotThatNobodyTakes(t *testing.T) {
	t.Parallel()
	l := newLimiter(1)
	if _, err := l.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := &waiter{ready: make(chan struct{})}
	l.queue = append(l.queue, late)
	l.release() // hands it over
	l.abandon(late)
	if l.busy != 0 {
		t.Errorf("%d slots are lost", l.busy)
	}
}

// A host that takes all, one whose answers take longer the more it is asked, which
// is no reason to ask less, and one that refuses beyond what it takes.
func TestLimiterAdapts(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		answer      func(running int, since time.Duration) (took time.Duration, status int)
		least, most float64 // width at the end
		lowest      float64
	}{
		{"bears all", func(int, time.Duration) (time.Duration, int) { return 40 * time.Millisecond, 200 }, SmallRequests, SmallRequests, SmallRequests},
		{"queues", func(running int, _ time.Duration) (time.Duration, int) {
			return time.Duration(max(40, 30*running)) * time.Millisecond, 200
		}, SmallRequests, SmallRequests, SmallRequests},
		{"refuses beyond 10", func(running int, _ time.Duration) (time.Duration, int) {
			if running > 10 {
				return time.Millisecond, 429
			}
			return 40 * time.Millisecond, 200
		}, 4, 14, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := NewHost("127.0.0.1:5000", 48, DefaultRetryFor)
				h.limits[Small].widenTo(SmallRequests)
				began, running, lowest := time.Now(), 0, float64(SmallRequests)
				var mu sync.Mutex
				var g sync.WaitGroup
				for range 120 {
					g.Go(func() {
						for time.Since(began) < 45*time.Second {
							s, err := h.Acquire(t.Context(), Small)
							if err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							running++
							took, code := test.answer(running, time.Since(began))
							mu.Unlock()
							time.Sleep(took)
							s.Observe(&http.Response{StatusCode: code, Header: http.Header{}})
							mu.Lock()
							running--
							lowest = min(lowest, state(h.limits[Small]).current)
							mu.Unlock()
							s.Release()
							if code == 429 {
								time.Sleep(100 * time.Millisecond)
							}
						}
					})
				}
				g.Wait()
				now := state(h.limits[Small]).current
				if int(now) < int(test.least) || now > test.most || lowest < test.lowest*0.99 {
					t.Errorf("width %v at the end, %v at the lowest, want %v to %v", now, lowest, test.least, test.most)
				}
			})
		})
	}
}
