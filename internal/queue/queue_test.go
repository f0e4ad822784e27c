package queue_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/queue"
)

// TestWidth: no more tasks run at once, whoever adds them, and as many do.
func TestWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := queue.WithContext(t.Context(), 3)
		var now, most, done atomic.Int32
		var add func(depth int)
		add = func(depth int) {
			g.Go(func() error {
				most.Store(max(most.Load(), now.Add(1)))
				time.Sleep(time.Second)
				if depth > 0 {
					add(depth - 1)
					add(depth - 1)
				}
				now.Add(-1)
				done.Add(1)
				return nil
			})
		}
		add(5)
		if err := g.Wait(); err != nil || most.Load() != 3 || done.Load() != 63 {
			t.Errorf("%d at once, %d done, error %v; want 3, 63 and none", most.Load(), done.Load(), err)
		}
	})
}

// TestOrder: a task may wait for one that came before it.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := queue.WithContext(t.Context(), 2)
		before := make(chan struct{})
		close(before)
		for range 100 {
			mine, wait := make(chan struct{}), before
			g.Go(func() error {
				<-wait
				time.Sleep(time.Second)
				close(mine)
				return nil
			})
			before = mine
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		<-before
	})
}

// TestFirstError: it ends the context with itself as the cause, and what waits is not run.
func TestFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := errors.New("first")
		g, ctx := queue.WithContext(t.Context(), 2)
		var ran atomic.Int32
		g.Go(func() error { time.Sleep(time.Second); return first })
		g.Go(func() error { <-ctx.Done(); return errors.New("second") })
		for range 10 {
			g.Go(func() error { ran.Add(1); return nil })
		}
		if err := g.Wait(); !errors.Is(err, first) || !errors.Is(context.Cause(ctx), first) || ran.Load() != 0 {
			t.Errorf("error %v, cause %v, %d tasks ran", err, context.Cause(ctx), ran.Load())
		}
	})
}

// TestEnded: tasks that were not run because the context has ended are no success.
func TestEnded(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	g, _ := queue.WithContext(ctx, 2)
	g.Go(func() error { t.Error("it ran"); return nil })
	if err := g.Wait(); !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
}
