package regtest

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Memory is a network within the process. Who waits on it waits on a condition and not on the kernel: a whole run,
// registries and all, can live in a bubble of testing/synctest, where the clock jumps as soon as everybody waits. The
// network, its registries and its clients are then made in the bubble and closed in it: a certificate, too, is good at
// the bubble's time only. The registries with TLS have their certificates from one authority.
type Memory struct {
	client    *http.Client
	authority func() (*authority, error)

	mu        sync.Mutex
	listeners map[string]*memoryListener
	unknown   []string
	dialed    int
}

// NewMemory makes a network without anybody on it.
func NewMemory() *Memory {
	m := &Memory{listeners: map[string]*memoryListener{}, authority: sync.OnceValues(newAuthority)}
	m.client = &http.Client{Transport: m.Transport()}
	return m
}

// Transport is a new transport to everybody on the network. Its idle connections are its owner's to close.
func (m *Memory) Transport() *http.Transport {
	t := &http.Transport{
		DialContext: m.DialContext, MaxIdleConnsPerHost: 128, IdleConnTimeout: time.Minute,
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10, ForceAttemptHTTP2: true,
	}
	if a, err := m.authority(); err == nil { // the same error as that of a registry with TLS
		t.TLSClientConfig = a.clientConfig()
	}
	return t
}

// Close closes the idle connections of Push, Read and the like.
func (m *Memory) Close() { m.client.CloseIdleConnections() }

// DialContext is for http.Transport. Addresses that nobody listens on refuse the connection.
func (m *Memory) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listeners[address]
	if l == nil {
		m.unknown = append(m.unknown, address)
	}
	m.dialed++
	from := fmt.Sprintf("127.0.0.1:%d", m.dialed)
	m.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	near, far := pair(from, address)
	select {
	case l.coming <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Unknown lists the addresses that somebody wanted to reach and nobody listened on.
func (m *Memory) Unknown() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.unknown)
}

// firstPort is where the addresses of a network begin.
const firstPort = 5001

func (m *Memory) listen(name string) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	address := memoryAddr(fmt.Sprintf("%s:%d", cmp.Or(name, "127.0.0.1"), firstPort+len(m.listeners)))
	l := &memoryListener{address: address, coming: make(chan net.Conn), closed: make(chan struct{})}
	m.listeners[string(address)] = l
	return l
}

type memoryAddr string

func (memoryAddr) Network() string  { return "tcp" }
func (a memoryAddr) String() string { return string(a) }

type memoryListener struct {
	address memoryAddr
	coming  chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *memoryListener) Addr() net.Addr { return l.address }

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.coming:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// memoryConn is one end of a connection.
type memoryConn struct {
	in, out       *stream
	local, remote memoryAddr

	mu       sync.Mutex
	abortive bool
}

func pair(from, to string) (near, far *memoryConn) {
	there, back := newStream(), newStream()
	near = &memoryConn{in: back, out: there, local: memoryAddr(from), remote: memoryAddr(to)}
	far = &memoryConn{in: there, out: back, local: memoryAddr(to), remote: memoryAddr(from)}
	return near, far
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.remote }

// SetLinger with 0 makes the other end see a reset when this one closes.
func (c *memoryConn) SetLinger(seconds int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.abortive = seconds == 0
	return nil
}

// Close ends both directions. What was sent still arrives, unless SetLinger says otherwise.
func (c *memoryConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.abortive {
		c.in.reset()
		c.out.reset()
	}
	c.in.closeRead()
	c.out.closeWrite()
	return nil
}

// CloseWrite ends sending; reading goes on.
func (c *memoryConn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setLimit(&c.in.readLimit, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setLimit(&c.out.writeLimit, t)
	return nil
}
