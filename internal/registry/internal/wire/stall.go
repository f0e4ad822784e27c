package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// StallTimeout is how long a transfer may go without data.
const StallTimeout = 30 * time.Second

// commitRate is the lowest expected speed, in bytes a second, at which a registry checks and
// stores a blob that it has received.
const commitRate = 16 << 20

// ErrStalled says that a transfer went without data for StallTimeout.
var ErrStalled = fmt.Errorf("the transfer stalled: no data for %v", StallTimeout)

// Watchdog cancels a context when one step of a transfer takes too long.
type Watchdog struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// Watch starts a watchdog with StallTimeout for the first step.
func Watch(ctx context.Context) (context.Context, *Watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	return ctx, &Watchdog{time.AfterFunc(StallTimeout, func() { cancel(ErrStalled) }), cancel}
}

// Expect restarts the clock for a step.
func (w *Watchdog) Expect(d time.Duration) { w.timer.Reset(d) }

// Pause stops the clock while the transfer waits for the other side.
func (w *Watchdog) Pause() { w.timer.Stop() }

// Stop ends the watchdog and its context.
func (w *Watchdog) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// CommitTime is how long a registry may take to check and store a blob that it has
// received.
func CommitTime(bytes int64) time.Duration {
	return StallTimeout + time.Duration(bytes/commitRate)*time.Second
}

// A transfer fails with ErrTooSlow if it reads fewer than MinProgress bytes in a window: a
// single byte now and then would occupy its slot for ever.
const (
	window      = time.Minute
	MinProgress = 60 << 10
)

// WatchedBody is a body with a time limit for each read, and a minimum throughput. Only time
// spent in Read counts.
type WatchedBody struct {
	io.ReadCloser
	Watchdog *Watchdog
	spent    time.Duration // in this window
	got      int64         // bytes in this window
	tooSlow  bool
}

func (w *WatchedBody) Read(p []byte) (int, error) {
	if w.tooSlow {
		return 0, ErrTooSlow
	}
	w.Watchdog.Expect(StallTimeout)
	defer w.Watchdog.Pause()
	began := time.Now()
	n, err := w.ReadCloser.Read(p)
	w.spent += time.Since(began)
	w.got += int64(n)
	if w.spent >= window {
		w.tooSlow = w.got < MinProgress
		w.spent, w.got = 0, 0
	}
	return n, err
}

// ErrTooSlow says that a transfer was slower than MinProgress in a window.
var ErrTooSlow = errors.New("the transfer stalled: less than 1 KiB a second for a minute")

// AttemptTimeout is the time limit of one small request.
const AttemptTimeout = StallTimeout
