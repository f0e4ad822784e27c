package wire

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// UploadBody is a blob as a request's body: it counts what goes out, keeps the
// source's error apart from the target's, and tells the watchdog whom is being
// waited for. net/http may still read it after the answer has come, hence the lock.
type UploadBody struct {
	Source   io.Reader
	Watchdog *Watchdog
	Left     int64
	Moved    func(int64)

	over  atomic.Bool
	whole atomic.Bool // all of it was read
	mu    sync.Mutex
	sent  int64
	err   error
}

func (b *UploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, io.ErrClosedPipe
	}
	b.Watchdog.Pause()
	n, err := b.Source.Read(p)
	if b.Left -= int64(n); b.Left <= 0 && err == nil && n > 0 {
		err = b.past()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if !b.over.Load() { // not for being stopped
			b.err = err
		}
		return 0, err
	}
	b.count(int64(n))
	if b.Left <= 0 {
		b.whole.Store(true)
	}
	b.Watchdog.Expect(b.mayTake(err))
	return n, err
}

// past reads past the last byte, where a wrong digest shows: before the registry
// has got the last of the body, so that it never completes a wrong blob.
func (b *UploadBody) past() error {
	var one [1]byte
	n, err := b.Source.Read(one[:])
	if n == 0 && err == io.EOF {
		return io.EOF
	}
	if err == nil || err == io.EOF {
		err = ErrMismatch
	}
	return err
}

// mayTake is how long the target may take until it wants more, or, at the end,
// until it has checked and stored the blob.
func (b *UploadBody) mayTake(err error) time.Duration {
	if errors.Is(err, io.EOF) {
		return CommitTime(b.sent)
	}
	return StallTimeout
}

func (b *UploadBody) count(n int64) {
	b.sent += n
	if b.Moved != nil && n != 0 {
		b.Moved(n)
	}
}

// Stop stops the source, or one that stalls would hold the body; waits until
// nobody reads it any more; and returns the error that the source had before.
func (b *UploadBody) Stop(stop func()) error {
	b.over.Store(true)
	stop()
	b.Watchdog.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// WasRead reports whether all of the body was read.
func (b *UploadBody) WasRead() bool { return b.whole.Load() }

// Undo takes back what was counted. The body must have ended.
func (b *UploadBody) Undo() { b.count(-b.sent) }
