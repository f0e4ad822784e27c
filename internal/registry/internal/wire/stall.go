package wire

import (
	"context"
	"errors"
	"io"
	"time"
)

// StallTimeout is how long a transfer may go without a byte.
const StallTimeout = 30 * time.Second

// commitRate is the least speed, in bytes a second, at which a registry is
// expected to check and store a blob that it has received.
const commitRate = 16 << 20

var ErrStalled = errors.New("the transfer stalled: no byte for too long")

// Watchdog ends a context when what it watches takes too long at one step.
type Watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

func Watch(ctx context.Context) (context.Context, *Watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Watchdog{time.AfterFunc(StallTimeout, func() { cancel(ErrStalled) }), cancel}
}

// Expect restarts the clock for a step.
func (w *Watchdog) Expect(d time.Duration) { w.timer.Reset(d) }

// Pause stops the clock: somebody else is being waited for.
func (w *Watchdog) Pause() { w.timer.Stop() }

func (w *Watchdog) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// CommitTime is how long a registry may take to check and store a blob that it has
// received.
func CommitTime(bytes int64) time.Duration {
	return StallTimeout + time.Duration(bytes/commitRate)*time.Second
}

// A transfer must bring leastBytes in every window, or it is given up as one that
// stalls: a byte now and then would hold its slot for ever.
const (
	window      = time.Minute
	MinProgress = 60 << 10
)

// WatchedBody is a body each read of which must bring something in time, and all of
// them together enough. Only the time that is spent reading counts.
type WatchedBody struct {
	io.ReadCloser
	Watchdog *Watchdog
	spent    time.Duration // in this window
	got      int64
	drips    bool
}

func (w *WatchedBody) Read(p []byte) (int, error) {
	if w.drips {
		return 0, ErrTooSlow
	}
	w.Watchdog.Expect(StallTimeout)
	defer w.Watchdog.Pause()
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	w.spent += time.Since(began)
	w.got += int64(n)
	if w.spent >= window {
		w.drips = w.got < MinProgress
		w.spent, w.got = 0, 0
	}
	return n, err
}

var ErrTooSlow = errors.New("the transfer stalled: less than 1 KiB a second for a minute")

// AttemptTimeout is that of one attempt with a small answer.
const AttemptTimeout = StallTimeout
