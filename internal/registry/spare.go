package registry

import (
	"context"
	"net"
	"sync"
	"time"
)

// A new connection costs a round trip before its first request, each time that a
// run widens. So some are made beforehand: a few once a host was reached, and
// more once those are used. They are plain connections, before TLS.
const (
	sparesAtFirst = 12              // ready while the run is narrow: too few would save nothing, as it waits for the last
	sparesInAll   = 40              // made for one address in a run: fewer than may be in use
	spareLife     = 3 * time.Second // then one that nobody took is closed
)

// spares is a dialer that hands out connections made beforehand.
type spares struct {
	dial dialing

	mu     sync.Mutex
	stocks map[string]*stock
}

// stock is what is ready for one address.
type stock struct {
	ready []net.Conn
	made  int
	wide  bool // one was taken
}

func newSpares(dial dialing) *spares {
	return &spares{dial: dial, stocks: map[string]*stock{}}
}

// DialContext returns a connection that is ready, or else makes one.
func (s *spares) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn := s.take(address)
	if conn == nil {
		var err error
		if conn, err = s.dial(ctx, network, address); err != nil {
			return nil, err
		}
	}
	for range s.missing(address) {
		go s.add(network, address) //nolint:gosec // it outlives the request that it was made beside
	}
	return conn, nil
}

func (s *spares) take(address string) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.stocks[address]
	if k == nil || len(k.ready) == 0 {
		return nil
	}
	conn := k.ready[0]
	k.ready, k.wide = k.ready[1:], true
	return conn
}

// missing is how many are to be made now; they count as made.
func (s *spares) missing(address string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.stocks[address]
	if k == nil {
		k = &stock{}
		s.stocks[address] = k
	}
	n := sparesAtFirst - k.made
	if k.wide {
		n = sparesInAll - k.made
	}
	n = max(0, n)
	k.made += n
	return n
}

// add makes one. A failure is nobody's: whoever needs a connection makes its own.
func (s *spares) add(network, address string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := s.dial(ctx, network, address)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stocks[address].ready = append(s.stocks[address].ready, conn)
	time.AfterFunc(spareLife, func() { s.drop(address, conn) })
}

// drain closes all that nobody took.
func (s *spares) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.stocks {
		for _, conn := range k.ready {
			_ = conn.Close()
		}
		k.ready = nil
	}
}

// drop closes one that nobody took.
func (s *spares) drop(address string, conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.stocks[address]
	for i, c := range k.ready {
		if c == conn {
			k.ready = append(k.ready[:i:i], k.ready[i+1:]...)
			_ = conn.Close()
			return
		}
	}
}
