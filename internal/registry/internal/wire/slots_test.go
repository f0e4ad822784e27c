package wire

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// A slot that came free while the host asked to be left alone is not used.
func TestRetryAfterWhileASlotIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := NewHost("127.0.0.1:5000", 1, DefaultRetryFor)
		first, err := h.Acquire(t.Context(), Upload)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(2*time.Second, func() {
			h.Observe(&http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"10"}}})
			first.Release()
		})
		second, err := h.Acquire(t.Context(), Upload)
		if err != nil {
			t.Fatal(err)
		}
		second.Release()
		took(t, began, 12*time.Second)
	})
}

// A wait for a slot, or while a host rests, ends with the context as any other.
func TestWaitsForAHostEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for name, prepare := range map[string]func(h *Host){
			"rest": func(h *Host) { h.Observe(&http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"30"}}}) },
			"slot": func(h *Host) { _, _ = h.Acquire(context.Background(), Upload) },
		} {
			h := NewHost("127.0.0.1:5000", 1, DefaultRetryFor)
			prepare(h)
			ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errTimeUp)
			began := time.Now()
			if _, err := h.Acquire(ctx, Upload); !errors.Is(err, errTimeUp) {
				t.Errorf("%s: error %v, want the context's cause", name, err)
			}
			took(t, began, 3*time.Second)
			cancel()
		}
	})
}
