package registry

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// outgoing is a blob as a request's body: it counts what goes out, keeps the
// source's error apart from the target's, and tells the watchdog whom is being
// waited for. net/http may still read it after the answer has come, hence the lock.
type outgoing struct {
	inner io.Reader
	dog   *watchdog
	left  int64
	moved func(int64)

	over  atomic.Bool
	whole atomic.Bool // all of it was read
	mu    sync.Mutex
	sent  int64
	err   error
}

func (b *outgoing) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, io.ErrClosedPipe
	}
	b.dog.pause()
	n, err := b.inner.Read(p)
	if b.left -= int64(n); b.left <= 0 && err == nil && n > 0 {
		err = b.past()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if !b.over.Load() { // not for being stopped
			b.err = err
		}
		return 0, err
	}
	b.count(int64(n))
	if b.left <= 0 {
		b.whole.Store(true)
	}
	b.dog.expect(b.mayTake(err))
	return n, err
}

// past reads past the last byte, where a wrong digest shows: before the registry
// has got the last of the body, so that it never completes a wrong blob.
func (b *outgoing) past() error {
	var one [1]byte
	n, err := b.inner.Read(one[:])
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
func (b *outgoing) mayTake(err error) time.Duration {
	if errors.Is(err, io.EOF) {
		return storing(b.sent)
	}
	return stallTimeout
}

func (b *outgoing) count(n int64) {
	b.sent += n
	if b.moved != nil && n != 0 {
		b.moved(n)
	}
}

// end stops the source, or one that stalls would hold the body; waits until
// nobody reads it any more; and returns the error that the source had before.
func (b *outgoing) end(stop func()) error {
	b.over.Store(true)
	stop()
	b.dog.end()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// undo takes back what was counted. The body must have ended.
func (b *outgoing) undo() { b.count(-b.sent) }
