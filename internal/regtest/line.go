package regtest

import (
	"net"
	"os"
	"sync"
	"time"
)

// chunkSize is the most that travels as one piece: 2.6 ms at 25 MB/s, so that a busy line wakes a few hundred times
// a second and not once a packet.
const chunkSize = 64 << 10

// smallChunk is what is not worth a pooled buffer, nor holding one up.
const smallChunk = 4 << 10

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// newChunk gives room for n bytes, or for chunkSize when that is less.
func newChunk(n int) []byte {
	if n <= smallChunk {
		return make([]byte, n)
	}
	return chunks.Get().(*[chunkSize]byte)[:min(n, chunkSize)]
}

func freeChunk(b []byte) {
	if cap(b) == chunkSize {
		chunks.Put((*[chunkSize]byte)(b[:chunkSize]))
	}
}

// flight is a piece that is on its way; taken counts the bytes of it that were read.
type flight struct {
	bytes   []byte
	taken   int
	arrives time.Time
}

// line is one direction of a connection: a pipe in which bytes take time. Whatever is put leaves as fast as the
// bandwidth lets it, one piece after the other, and arrives after the delay; many pieces travel at once. It has one
// writer and one reader. The deadline binds the end that the server holds, read on the line in and write on the line
// out; the other end, put and take, is the socket's.
type line struct {
	delay     time.Duration
	bandwidth int64
	room      int

	mu     sync.Mutex
	change *sync.Cond
	timer  *time.Timer

	queue   []flight
	waiting int       // bytes in queue
	free    time.Time // when the last byte put so far has left

	closed bool
	ended  error     // what follows the last piece
	endsAt time.Time // and when

	expired  bool
	deadline *time.Timer
}

// newLine makes a line that carries nothing before start.
func newLine(n Network, start time.Time) *line {
	l := &line{delay: n.RTT / 2, bandwidth: n.BytesPerSecond, free: start}
	// Four times what fits between the two ends, so that the room never limits the rate.
	l.room = max(1<<20, int(2*n.RTT.Seconds()*float64(n.BytesPerSecond)))
	if n.BytesPerSecond == 0 {
		l.room = 32 << 20
	}
	l.change = sync.NewCond(&l.mu)
	l.timer = time.AfterFunc(time.Hour, l.wake)
	l.timer.Stop()
	return l
}

func (l *line) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.change.Broadcast()
}

// put sends a piece, which the line owns from then on. It waits while the line is full. The deadline does not bind it.
func (l *line) put(b []byte) error { return l.send(b, false) }

// write is put, bound by the deadline.
func (l *line) write(b []byte) error { return l.send(b, true) }

func (l *line) send(b []byte, bound bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed || l.ended != nil:
			return net.ErrClosed
		case bound && l.expired:
			return os.ErrDeadlineExceeded
		case l.waiting == 0 || l.waiting+len(b) <= l.room:
			l.queue = append(l.queue, flight{bytes: b, arrives: l.departure(len(b)).Add(l.delay)})
			l.waiting += len(b)
			l.change.Broadcast()
			return nil
		}
		l.change.Wait()
	}
}

// departure is when the last of n further bytes has left.
func (l *line) departure(n int) time.Time {
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	if l.bandwidth > 0 {
		l.free = l.free.Add(time.Duration(float64(n) / float64(l.bandwidth) * float64(time.Second)))
	}
	return l.free
}

// left is when the last byte put so far has left.
func (l *line) left() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.free
}

// take waits for the next piece and hands it over whole. The deadline does not bind it.
func (l *line) take() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.arrived() {
		if err := l.over(); err != nil {
			return nil, err
		}
		l.await()
	}
	b := l.queue[0].bytes
	l.advance(len(b))
	return b, nil
}

// read fills p with what has arrived, bound by the deadline.
func (l *line) read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.expired:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case l.arrived():
			return l.fill(p), nil
		}
		if err := l.over(); err != nil {
			return 0, err
		}
		l.await()
	}
}

func (l *line) fill(p []byte) int {
	n := 0
	for n < len(p) && l.arrived() {
		first := l.queue[0]
		m := copy(p[n:], first.bytes[first.taken:])
		n += m
		if l.advance(m) {
			freeChunk(first.bytes)
		}
	}
	return n
}

// advance takes n bytes off the first piece, and says whether that was its end.
func (l *line) advance(n int) bool {
	l.waiting -= n
	l.change.Broadcast()
	first := &l.queue[0]
	first.taken += n
	if first.taken < len(first.bytes) {
		return false
	}
	*first = flight{}
	l.queue = l.queue[1:]
	return true
}

func (l *line) arrived() bool {
	return len(l.queue) > 0 && !time.Now().Before(l.queue[0].arrives)
}

// over is what a reader gets once nothing can arrive any more.
func (l *line) over() error {
	if l.closed {
		return net.ErrClosed
	}
	if len(l.queue) == 0 && l.ended != nil && !time.Now().Before(l.endsAt) {
		return l.ended
	}
	return nil
}

// await waits for a change: the arrival of the first piece, or of the end, is one.
func (l *line) await() {
	if len(l.queue) > 0 {
		l.timer.Reset(time.Until(l.queue[0].arrives))
	} else if l.ended != nil {
		l.timer.Reset(time.Until(l.endsAt))
	}
	l.change.Wait()
}

// end lets what is on its way arrive, and then the error.
func (l *line) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended, l.endsAt = err, l.departure(0).Add(l.delay)
		l.change.Broadcast()
	}
}

// close drops what is on its way. It says whether the line was open.
func (l *line) close() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := !l.closed
	l.closed, l.queue, l.waiting = true, nil, 0
	l.timer.Stop()
	if l.deadline != nil {
		l.deadline.Stop()
	}
	l.change.Broadcast()
	return was
}

// setDeadline wakes whoever waits: net/http stops a read with a deadline in the past before it hands a connection
// to a hijacker.
func (l *line) setDeadline(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadline != nil {
		l.deadline.Stop()
		l.deadline = nil
	}
	l.expired = !t.IsZero() && !time.Now().Before(t)
	if !t.IsZero() && !l.expired {
		l.expireAt(t)
	}
	l.change.Broadcast()
}

func (l *line) expireAt(t time.Time) {
	var timer *time.Timer
	timer = time.AfterFunc(time.Until(t), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.deadline == timer { // not replaced while this waited for the lock
			l.expired = true
			l.change.Broadcast()
		}
	})
	l.deadline = timer
}
