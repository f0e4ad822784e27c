package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"
)

// line is a network that counts its connections.
type line struct {
	mu    sync.Mutex
	open  map[net.Conn]bool
	made  int
	delay time.Duration
	err   error
}

type plug struct {
	net.Conn
	l *line
}

func (c *plug) Close() error {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	delete(c.l.open, c)
	return c.Conn.Close()
}

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if err := sleep(ctx, l.delay); err != nil {
		return nil, err
	}
	if l.err != nil {
		return nil, l.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	near, far := net.Pipe()
	_ = far.Close()
	c := &plug{near, l}
	l.open[c] = true
	l.made++
	return c, nil
}

func (l *line) count() (open, made int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open), l.made
}

// A few are ready after the first, more after they are used, never more in all
// than that; and what nobody takes is closed.
func TestSpares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &line{open: map[net.Conn]bool{}, delay: 40 * time.Millisecond}
		s := newSpares(l.dial)
		take := func(least time.Duration) {
			t.Helper()
			began := time.Now()
			if _, err := s.DialContext(t.Context(), "tcp", "a:1"); err != nil {
				t.Fatal(err)
			}
			took(t, began, least, least)
			time.Sleep(50 * time.Millisecond)
		}
		take(40 * time.Millisecond)
		if _, made := l.count(); made != 1+sparesAtFirst {
			t.Errorf("%d made after the first, want %d spare", made, sparesAtFirst)
		}
		for range sparesInAll {
			take(0)
		}
		take(40 * time.Millisecond)
		if _, made := l.count(); made != 2+sparesInAll {
			t.Errorf("%d made in all, want %d spare", made, sparesInAll)
		}
		began := time.Now()
		if _, err := s.DialContext(t.Context(), "tcp", "b:1"); err != nil {
			t.Fatal(err)
		}
		took(t, began, 40*time.Millisecond, 40*time.Millisecond)
		time.Sleep(spareLife + time.Second)
		if open, _ := l.count(); open != 3+sparesInAll {
			t.Errorf("%d open, want those that were taken", open)
		}
	})
}

// Of an address that cannot be reached, none are made.
func TestNoSparesOfWhatCannotBeReached(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &line{open: map[net.Conn]bool{}, err: errLinkLocal}
		s := newSpares(l.dial)
		if _, err := s.DialContext(t.Context(), "tcp", "169.254.169.254:80"); !errors.Is(err, errLinkLocal) || len(s.stocks) != 0 {
			t.Errorf("error %v, %d stocks", err, len(s.stocks))
		}
	})
}

// BenchmarkWidening is a question, then ten at once, then thirty, over 40 ms, as a
// promotion widens; each time with connections of its own.
func BenchmarkWidening(b *testing.B) {
	for _, spare := range []bool{false, true} {
		b.Run(fmt.Sprintf("spares %v", spare), func(b *testing.B) {
			reg, err := regtest.Start(regtest.Options{Network: &regtest.Network{RTT: 40 * time.Millisecond}})
			if err != nil {
				b.Fatal(err)
			}
			defer reg.Close()
			n, err := name.NewRepository(reg.Host() + "/acme/app")
			if err != nil {
				b.Fatal(err)
			}
			var tag atomic.Int64
			for b.Loop() {
				transport, _ := newTransport(nil, nil)
				if !spare {
					transport.DialContext = (&net.Dialer{}).DialContext
				}
				r, err := New(Options{Transport: transport}).Open(b.Context(), credential.Source, n, Pull)
				if err != nil {
					b.Fatal(err)
				}
				for _, wide := range []int{1, 10, 30} {
					var g errgroup.Group
					for range wide {
						g.Go(func() error {
							_, err := r.HasManifest(b.Context(), digestOf(fmt.Append(nil, tag.Add(1))))
							return err
						})
					}
					if err := g.Wait(); err != nil {
						b.Fatal(err)
					}
				}
				transport.CloseIdleConnections()
			}
		})
	}
}

// Once the run is over, none stays open that nobody took.
func TestSparesAreDrained(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &line{open: map[net.Conn]bool{}}
		s := newSpares(l.dial)
		if _, err := s.DialContext(t.Context(), "tcp", "a:1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.drain()
		if open, made := l.count(); open != 1 || made != 1+sparesAtFirst {
			t.Errorf("%d of %d open, want the one that was taken", open, made)
		}
		time.Sleep(spareLife + time.Second) // and none is closed twice
	})
}
