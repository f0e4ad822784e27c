package regtest

import (
	"net"
	"sync"
	"time"
)

// Network is the distance between the clients and a registry.
type Network struct {
	// RTT is the round trip: half of it for each way, and one before the first byte, for the TCP handshake.
	RTT time.Duration
	// BytesPerSecond limits each direction of each connection; 0 is no limit.
	BytesPerSecond int64
}

// wan is a listener whose connections are far away.
type wan struct {
	net.Listener
	network Network

	mu    sync.Mutex
	conns map[*farConn]struct{}
}

func newWAN(l net.Listener, n Network) *wan {
	return &wan{Listener: l, network: n, conns: map[*farConn]struct{}{}}
}

func (w *wan) Accept() (net.Conn, error) {
	conn, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := newFarConn(conn, w.network)
	w.mu.Lock()
	w.conns[c] = struct{}{}
	w.mu.Unlock()
	go func() {
		c.run()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, c)
	}()
	return c, nil
}

// abort cuts every connection, with what is still on its way, and waits until their goroutines are gone.
func (w *wan) abort() {
	w.mu.Lock()
	conns := make([]*farConn, 0, len(w.conns))
	for c := range w.conns {
		conns = append(conns, c)
	}
	w.mu.Unlock()
	for _, c := range conns {
		c.cut()
		<-c.done
	}
}

// farConn is a connection whose bytes travel on two lines, in and out.
type farConn struct {
	net.Conn
	in, out *line
	done    chan struct{}
}

func newFarConn(conn net.Conn, n Network) *farConn {
	if tcp, ok := conn.(*net.TCPConn); ok {
		// A large buffer in the kernel would take a client's bytes long before they could have left it.
		_ = tcp.SetReadBuffer(chunkSize * 4)
	}
	now := time.Now()
	return &farConn{
		Conn: conn, done: make(chan struct{}),
		in:  newLine(n, now.Add(n.RTT)),
		out: newLine(n, now),
	}
}

// run carries the bytes until both directions have ended, and closes the socket.
func (c *farConn) run() {
	defer close(c.done)
	var both sync.WaitGroup
	both.Go(c.carryIn)
	both.Go(c.carryOut)
	both.Wait()
	_ = c.Conn.Close()
}

// carryIn takes bytes from the socket as they come and puts them on the line.
func (c *farConn) carryIn() {
	b := newChunk(chunkSize)
	for {
		n, err := c.Conn.Read(b)
		if n > 0 {
			piece := newChunk(n)
			if n > smallChunk {
				piece, b = b[:n], piece[:chunkSize] // changes hands: no copy
			} else {
				copy(piece, b)
			}
			if c.in.put(piece) != nil {
				return
			}
		}
		if err != nil {
			freeChunk(b)
			c.in.end(err)
			return
		}
	}
}

// carryOut writes to the socket what has come to the end of the line.
func (c *farConn) carryOut() {
	defer c.finish()
	for {
		b, err := c.out.take()
		if err != nil {
			return
		}
		_, err = c.Conn.Write(b)
		freeChunk(b)
		if err != nil {
			c.out.close()
			return
		}
	}
}

// finish says to the client that nothing more comes.
func (c *farConn) finish() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Read waits until bytes have come, the deadline has passed, or the connection is closed.
func (c *farConn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write returns when the bytes are on their way; it waits only when too many are.
func (c *farConn) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		b := newChunk(len(p) - written)
		n := copy(b, p[written:])
		if err := c.out.write(b[:n]); err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// lastBytes is how long a client may take for what was on its way when the server closed the connection.
const lastBytes = 10 * time.Second

// Close ends reading at once. What was written still arrives.
func (c *farConn) Close() error {
	if !c.in.close() {
		return net.ErrClosed
	}
	c.out.end(net.ErrClosed)
	now := time.Now()
	_ = c.Conn.SetReadDeadline(now) // ends carryIn; the socket is closed when carryOut has ended too
	_ = c.Conn.SetWriteDeadline(now.Add(c.out.delay + lastBytes))
	return nil
}

// CloseWrite ends writing; reading goes on.
func (c *farConn) CloseWrite() error {
	c.out.end(net.ErrClosed)
	return nil
}

// cut ends the connection with all that is on its way.
func (c *farConn) cut() {
	c.in.close()
	c.out.close()
	_ = c.Conn.Close()
}

// SetLinger with 0 makes the client see a reset.
func (c *farConn) SetLinger(seconds int) error {
	if tcp, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}

func (c *farConn) SetDeadline(t time.Time) error {
	c.in.setDeadline(t)
	c.out.setDeadline(t)
	return nil
}

func (c *farConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

func (c *farConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(t)
	return nil
}
