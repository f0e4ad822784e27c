package transfer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[string, int]()
		asked := 0
		ask := func(context.Context) (int, error) {
			asked++
			time.Sleep(time.Second)
			return 7, nil
		}
		for range 5 {
			go func() {
				if n, err := m.ask(t.Context(), "x", ask); n != 7 || err != nil {
					t.Errorf("answer %d, error %v", n, err)
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if n, err := m.ask(t.Context(), "x", ask); n != 7 || err != nil || asked != 1 {
			t.Errorf("answer %d, error %v, asked %d times", n, err, asked)
		}
	})
}

// TestMemoryForgetsFailures, such as that of who asked ahead and was ended.
func TestMemoryForgetsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[string, int]()
		broken := errors.New("broken")
		go func() {
			_, _ = m.ask(t.Context(), "x", func(context.Context) (int, error) {
				time.Sleep(time.Second)
				return 0, broken
			})
		}()
		synctest.Wait()
		if _, err := m.ask(t.Context(), "x", nil); !errors.Is(err, broken) {
			t.Errorf("who waits is told %v", err)
		}
		if n, err := m.ask(t.Context(), "x", func(context.Context) (int, error) { return 7, nil }); n != 7 || err != nil {
			t.Errorf("who asks after it is told %d, %v", n, err)
		}
	})
}

func TestMemoryWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory[string, int]()
		go func() {
			_, _ = m.ask(t.Context(), "x", func(context.Context) (int, error) {
				time.Sleep(10 * time.Second)
				return 0, nil
			})
		}()
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the run is ended")
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := m.ask(ctx, "x", nil); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute) // for who asked
	})
}
