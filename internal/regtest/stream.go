package regtest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamRoom is how many bytes wait in one direction of a connection: about what a socket's buffer holds, so that a
// sender is not done long before its receiver.
const streamRoom = 64 << 10

// stream is one direction of a connection in memory. Both ends wait on one condition, which a bubble of
// testing/synctest understands.
type stream struct {
	mu      sync.Mutex
	change  *sync.Cond
	bytes   []byte
	reading error // what a read fails with at once
	writing error // what a write fails with at once
	last    error // what a read fails with after the last byte

	readLimit, writeLimit limit
}

func newStream() *stream {
	s := &stream{}
	s.change = sync.NewCond(&s.mu)
	return s
}

// read waits for bytes, and takes them before it reports an end; a deadline that has passed comes first.
func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.reading != nil:
			return 0, s.reading
		case s.readLimit.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.bytes) > 0:
			n := copy(p, s.bytes)
			s.bytes = s.bytes[n:]
			s.change.Broadcast()
			return n, nil
		case s.last != nil:
			return 0, s.last
		}
		s.change.Wait()
	}
}

// write waits while the stream is full.
func (s *stream) write(p []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writing != nil:
			return written, s.writing
		case s.writeLimit.passed:
			return written, os.ErrDeadlineExceeded
		case len(p) == 0:
			return written, nil
		case len(s.bytes) < streamRoom:
			n := min(len(p), streamRoom-len(s.bytes))
			s.bytes = append(s.bytes, p[:n]...)
			p, written = p[n:], written+n
			s.change.Broadcast()
			continue
		}
		s.change.Wait()
	}
}

// closeRead is the receiver's close: what was on its way is lost.
func (s *stream) closeRead() { s.end(net.ErrClosed, syscall.EPIPE, nil) }

// closeWrite is the sender's close: what was sent still arrives.
func (s *stream) closeWrite() { s.end(nil, net.ErrClosed, io.EOF) }

// reset is a TCP reset, seen from both ends.
func (s *stream) reset() { s.end(syscall.ECONNRESET, syscall.ECONNRESET, nil) }

// end sets what is not set yet: whichever end comes first stays.
func (s *stream) end(reading, writing, last error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil && reading != nil {
		s.reading, s.bytes = reading, nil
	}
	if s.writing == nil {
		s.writing = writing
	}
	if s.last == nil {
		s.last = last
	}
	s.change.Broadcast()
}

// limit is one end's deadline.
type limit struct {
	passed bool
	timer  *time.Timer
}

// setLimit wakes whoever waits: net/http stops a read with a deadline in the past before it hands a connection to a
// hijacker.
func (s *stream) setLimit(l *limit, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.passed = !t.IsZero() && !time.Now().Before(t)
	if !t.IsZero() && !l.passed {
		s.passAt(l, t)
	}
	s.change.Broadcast()
}

func (s *stream) passAt(l *limit, t time.Time) {
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(t), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l.timer == timer { // not replaced while this waited for the lock
			l.passed = true
			s.change.Broadcast()
		}
	})
	l.timer = timer
}
