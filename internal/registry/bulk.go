package registry

import (
	"context"
	"io"
	"net"
	"time"
)

// net/http reads and writes a body 32 KiB at a time. Of what a fast connection
// costs, much is the system call and waking who waits at the other end, so that a
// large body goes in larger steps. Between two reads of it the target must have
// taken a whole step before it counts as stalled: a step therefore grows only
// while steps of its size go fast.
const (
	bulkBody    = 8 << 20 // bytes from which on a body is large
	leastStep   = 32 << 10
	mostStep    = 1 << 20
	bulkBuffers = 4 // of mostStep bytes each: what is sent besides goes as ever, or memory would grow with it
	briskStep   = 100 * time.Millisecond
)

type dialing = func(ctx context.Context, network, address string) (net.Conn, error)

// bulky has connections take large bodies in large steps. Those with TLS do not:
// its records are 16 KiB at most, and its layer covers this one.
func bulky(dial dialing) dialing {
	buffers := make(chan []byte, bulkBuffers)
	for range bulkBuffers {
		buffers <- nil
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &bulk{conn, buffers}, nil
	}
}

// bulk is a connection that takes a large body in large steps while there is a
// buffer for it.
type bulk struct {
	net.Conn
	buffers chan []byte // nil ones are made when they are first needed
}

// ReadFrom sends a body. It is what net/http looks for in a connection.
func (b *bulk) ReadFrom(body io.Reader) (sent int64, err error) {
	if !isBulk(body) {
		return io.Copy(b.Conn, body)
	}
	select {
	case buffer := <-b.buffers:
		if buffer == nil {
			buffer = make([]byte, mostStep)
		}
		defer func() { b.buffers <- buffer }()
		return stride(b.Conn, body, buffer)
	default:
		return io.Copy(b.Conn, body)
	}
}

// isBulk tells by the limit that net/http puts on a body of known length.
func isBulk(body io.Reader) bool {
	limited, ok := body.(*io.LimitedReader)
	return ok && limited.N >= bulkBody
}

// stride is io.Copy in steps that grow while the way is fast.
func stride(to io.Writer, from io.Reader, buffer []byte) (sent int64, err error) {
	for step := leastStep; ; {
		began := time.Now()
		n, end := from.Read(buffer[:step])
		if n > 0 {
			wrote, err := to.Write(buffer[:n])
			sent += int64(wrote)
			if err != nil {
				return sent, err
			}
		}
		if end == io.EOF {
			return sent, nil
		}
		if end != nil {
			return sent, end
		}
		step = nextStep(step, n, time.Since(began))
	}
}

func nextStep(step, n int, took time.Duration) int {
	switch {
	case took > briskStep:
		return leastStep
	case n == step:
		return min(2*step, mostStep)
	default:
		return step
	}
}
