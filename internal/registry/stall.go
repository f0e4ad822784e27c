package registry

import (
	"context"
	"errors"
	"io"
	"time"
)

// stallTimeout is how long a transfer may go without a byte.
const stallTimeout = 30 * time.Second

// commitRate is the least speed, in bytes a second, at which a registry is
// expected to check and store a blob that it has received.
const commitRate = 16 << 20

var errStalled = errors.New("the transfer stalled: no byte for too long")

// watchdog ends a context when what it watches takes too long at one step.
type watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func watch(ctx context.Context) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &watchdog{time.AfterFunc(stallTimeout, func() { cancel(errStalled) }), cancel}
}

// expect restarts the clock for a step.
func (w *watchdog) expect(d time.Duration) { w.timer.Reset(d) }

// pause stops the clock: somebody else is being waited for.
func (w *watchdog) pause() { w.timer.Stop() }

func (w *watchdog) end() {
	w.timer.Stop()
	w.cancel(nil)
}

// storing is how long a registry may take to check and store a blob that it has
// received.
func storing(bytes int64) time.Duration {
	return stallTimeout + time.Duration(bytes/commitRate)*time.Second
}

// A transfer must bring leastBytes in every window, or it is given up as one that
// stalls: a byte now and then would hold its slot for ever.
const (
	window     = time.Minute
	leastBytes = 60 << 10
)

// watched is a body each read of which must bring something in time, and all of
// them together enough. Only the time that is spent reading counts.
type watched struct {
	io.ReadCloser
	dog   *watchdog
	spent time.Duration // in this window
	got   int64
	drips bool
}

func (w *watched) Read(p []byte) (int, error) {
	if w.drips {
		return 0, errDrips
	}
	w.dog.expect(stallTimeout)
	defer w.dog.pause()
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	w.spent += time.Since(began)
	w.got += int64(n)
	if w.spent >= window {
		w.drips = w.got < leastBytes
		w.spent, w.got = 0, 0
	}
	return n, err
}

var errDrips = errors.New("the transfer stalled: less than 1 KiB a second for a minute")
