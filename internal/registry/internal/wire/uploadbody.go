package wire

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// UploadBody is the body of an upload. It counts the bytes sent, records errors of the source
// separately from those of the target, and pauses the watchdog while it waits for the source.
// It has a lock because net/http may still read it after the answer.
type UploadBody struct {
	Source   io.Reader
	Watchdog *Watchdog
	Left     int64
	Moved    func(int64)

	stopped  atomic.Bool
	complete atomic.Bool // all of it was read
	mu       sync.Mutex
	sent     int64
	err      error
}

func (b *UploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stopped.Load() {
		return 0, io.ErrClosedPipe
	}
	b.Watchdog.Pause()
	n, err := b.Source.Read(p)
	if b.Left -= int64(n); b.Left <= 0 && err == nil && n > 0 {
		err = b.readPastEnd()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if !b.stopped.Load() { // an error caused by Stop does not count
			b.err = err
		}
		return 0, err
	}
	b.count(int64(n))
	if b.Left <= 0 {
		b.complete.Store(true)
	}
	b.Watchdog.Expect(b.timeout(err))
	return n, err
}

// readPastEnd reads after the last byte, where the source reports a wrong digest. It does so
// before the last bytes are sent, so that the registry never stores a wrong blob.
func (b *UploadBody) readPastEnd() error {
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

// timeout is how long the target may take until the next read, or, at the end, until it has
// checked and stored the blob.
func (b *UploadBody) timeout(err error) time.Duration {
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

// Stop cancels the source, because a stalled read would block. It waits for the current read to
// end, and returns the error that the source had before Stop.
func (b *UploadBody) Stop(stop func()) error {
	b.stopped.Store(true)
	stop()
	b.Watchdog.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// WasRead reports whether all of the body was read.
func (b *UploadBody) WasRead() bool { return b.complete.Load() }

// Undo subtracts the counted bytes. It must be called after Stop.
func (b *UploadBody) Undo() { b.count(-b.sent) }
