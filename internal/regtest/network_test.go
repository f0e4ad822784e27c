package regtest_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// far starts a server behind a network and gives a client that keeps its connections.
func far(t *testing.T, n regtest.Network, backend http.HandlerFunc) (url string, client *http.Client) {
	t.Helper()
	r := regtest.Serve(t, regtest.Options{Network: &n, Backend: backend})
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return "http://" + r.Host() + "/", &http.Client{Transport: transport}
}

// farWithin is the same within the process, where time passes as soon as everybody waits.
func farWithin(t *testing.T, m *regtest.Memory, n regtest.Network, backend http.HandlerFunc) (url string, client *http.Client) {
	t.Helper()
	r := regtest.Serve(t, regtest.Options{Memory: m, Network: &n, Backend: backend})
	transport := m.Transport()
	t.Cleanup(transport.CloseIdleConnections)
	return "http://" + r.Host() + "/", &http.Client{Transport: transport}
}

// timed checks how long work takes by a bubble's clock.
func timed(t *testing.T, what string, want, tolerance time.Duration, work func()) {
	t.Helper()
	begin := time.Now()
	work()
	if got := time.Since(begin); got < want-tolerance/4 || got > want+tolerance {
		t.Errorf("%s took %v, want %v and at most %v more", what, got, want, tolerance)
	}
}

func exchange(t *testing.T, client *http.Client, url string, body io.Reader) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		t.Error(err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestNetworkRoundTrip(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		const rtt = 40 * time.Millisecond
		url, client := farWithin(t, m, regtest.Network{RTT: rtt}, func(http.ResponseWriter, *http.Request) {})
		timed(t, "first request, with the handshake", 2*rtt, 20*time.Millisecond, func() {
			client.CloseIdleConnections()
			exchange(t, client, url, nil)
		})
		timed(t, "five requests on one connection", 5*rtt, 40*time.Millisecond, func() {
			for range 5 {
				exchange(t, client, url, nil)
			}
		})
	})
}

func TestNetworkThroughput(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		const size, rate = 5 << 20, 25_000_000
		payload := bytes.Repeat([]byte("x"), size)
		url, client := farWithin(t, m, regtest.Network{BytesPerSecond: rate, RTT: 10 * time.Millisecond},
			func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				if err == nil && n == 0 {
					_, _ = w.Write(payload)
				}
			})
		exchange(t, client, url, nil) // the handshake
		want := time.Duration(float64(size)/rate*float64(time.Second)) + 10*time.Millisecond
		tolerance := want * 15 / 100
		timed(t, "download", want, tolerance, func() { exchange(t, client, url, nil) })
		timed(t, "upload", want, tolerance, func() { exchange(t, client, url, bytes.NewReader(payload)) })
	})
}

// The limit is each connection's own.
func TestNetworkWidth(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		const size, rate = 2 << 20, 20_000_000
		payload := make([]byte, size)
		url, client := farWithin(t, m, regtest.Network{BytesPerSecond: rate, RTT: time.Millisecond},
			func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(payload) })
		want := time.Duration(float64(size)/rate*float64(time.Second)) + time.Millisecond
		timed(t, "four downloads at once", want, want*30/100, func() {
			done := make(chan struct{})
			for range 4 {
				go func() {
					exchange(t, client, url, nil)
					done <- struct{}{}
				}()
			}
			for range 4 {
				<-done
			}
		})
	})
}

// Many writes one after the other are all on their way at once.
func TestNetworkPipelines(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		const rtt = 60 * time.Millisecond
		r := regtest.Serve(t, regtest.Options{Memory: m, Network: &regtest.Network{RTT: rtt}, Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 10 {
				_, _ = w.Write([]byte("0123456789"))
				_ = http.NewResponseController(w).Flush()
			}
		})})
		timed(t, "five requests in one go", 2*rtt, 30*time.Millisecond, func() {
			conn, err := m.DialContext(t.Context(), "tcp", r.Host())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			for range 5 {
				if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", r.Host()); err != nil {
					t.Fatal(err)
				}
			}
			readAnswers(t, conn, 5)
		})
	})
}

func readAnswers(t *testing.T, conn net.Conn, count int) {
	t.Helper()
	in := bufio.NewReader(conn)
	for range count {
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil || len(text) != 100 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
	}
}

// net/http ends its background read with a deadline in the past: a Read that slept on would hang the hijacker.
func TestNetworkWakesBlockedRead(t *testing.T) {
	outcome := make(chan error, 3)
	url, client := far(t, regtest.Network{RTT: 10 * time.Millisecond}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			outcome <- err
			return
		}
		time.AfterFunc(30*time.Millisecond, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
		_, err = conn.Read(make([]byte, 1))
		outcome <- err
		_ = conn.SetReadDeadline(time.Time{})
		time.AfterFunc(30*time.Millisecond, func() { _ = conn.Close() })
		_, err = conn.Read(make([]byte, 1))
		outcome <- err
		_, err = conn.Write(make([]byte, 1))
		outcome <- err
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := client.Do(r); err == nil {
		_ = answer.Body.Close()
		t.Error("an answer on a connection that was closed without one")
	}
	for n, want := range []error{os.ErrDeadlineExceeded, net.ErrClosed, net.ErrClosed} {
		select {
		case err := <-outcome:
			if !errors.Is(err, want) {
				t.Errorf("call %d: %v, want %v", n, err, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("call %d sleeps on", n)
		}
	}
}

// What comes while the deadline is over waits for the next Read.
func TestNetworkKeepsWhatComesAfterTheDeadline(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		outcome := make(chan string, 1)
		r := regtest.Serve(t, regtest.Options{Memory: m, Network: &regtest.Network{RTT: time.Millisecond}, Backend: hijacker(func(conn net.Conn) {
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			_, _ = conn.Write([]byte("go on"))
			time.Sleep(time.Second)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			text := make([]byte, 5)
			_, err := io.ReadFull(conn, text)
			outcome <- fmt.Sprint(string(text), err)
		})})
		conn := dialIn(t, m, r)
		if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := <-outcome; got != "hello<nil>" {
			t.Errorf("read %s", got)
		}
	})
}

// Deadlines to come bind reads and writes alike.
func TestNetworkDeadlines(t *testing.T) {
	outcome := make(chan error, 2)
	url, client := far(t, regtest.Network{RTT: time.Millisecond, BytesPerSecond: 1000}, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			outcome <- err
			return
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = conn.Read(make([]byte, 1))
		outcome <- err
		_ = conn.SetDeadline(time.Now().Add(20 * time.Millisecond))
		_, err = conn.Write(make([]byte, 4<<20)) // more than a line holds
		outcome <- err
		_ = conn.Close()
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if answer, err := client.Do(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	for _, what := range []string{"read", "write"} {
		select {
		case err := <-outcome:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v, want %v", what, err, os.ErrDeadlineExceeded)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s sleeps on", what)
		}
	}
}

// A server that closes the connection behind its answer does not lose the answer.
func TestNetworkDeliversWhatWasWritten(t *testing.T) {
	payload := bytes.Repeat([]byte("y"), 3<<20)
	url, client := far(t, regtest.Network{RTT: 30 * time.Millisecond, BytesPerSecond: 50_000_000},
		func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = w.Write(payload)
		})
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || !bytes.Equal(text, payload) {
		t.Errorf("%d bytes of %d: %v", len(text), len(payload), err)
	}
}

// The end of the client's direction arrives as such.
func TestNetworkCarriesTheEnd(t *testing.T) {
	seen := make(chan error, 1)
	r := regtest.Serve(t, regtest.Options{Network: &regtest.Network{RTT: time.Millisecond}, Backend: hijacker(func(conn net.Conn) {
		_, err := conn.Read(make([]byte, 1))
		seen <- err
	})})
	if err := dial(t, r).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-seen:
		if !errors.Is(err, io.EOF) {
			t.Errorf("read %v, want %v", err, io.EOF)
		}
	case <-time.After(time.Minute):
		t.Error("the end did not come")
	}
}

// The server may end its direction and go on reading.
func TestNetworkCloseWrite(t *testing.T) {
	seen := make(chan string, 1)
	r := regtest.Serve(t, regtest.Options{Network: &regtest.Network{RTT: time.Millisecond}, Backend: hijacker(func(conn net.Conn) {
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		text := make([]byte, 5)
		_, err := io.ReadFull(conn, text)
		seen <- fmt.Sprint(string(text), err)
	})})
	conn := dial(t, r)
	if n, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes and %v, want the end", n, err)
	}
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	if got := <-seen; got != "hello<nil>" {
		t.Errorf("the server read %s", got)
	}
}

// After Close the socket is gone, whatever the client does.
func TestNetworkClosesTheSocket(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m, Network: &regtest.Network{RTT: time.Millisecond}, Backend: hijacker(func(net.Conn) {})})
		conn := dialIn(t, m, r)
		time.Sleep(time.Minute)
		if _, err := conn.Write([]byte("anyone?")); err == nil {
			t.Error("the socket is still there")
		}
	})
}

func hijacker(use func(net.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		use(conn)
		_ = conn.Close()
	})
}

// dial opens a connection and sends a request on it.
func dial(t *testing.T, r *regtest.Registry) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", r.Host()); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// dialIn is dial within a bubble.
func dialIn(t *testing.T, m *regtest.Memory, r *regtest.Registry) net.Conn {
	t.Helper()
	conn, err := m.DialContext(t.Context(), "tcp", r.Host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", r.Host()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Connections that stay open, and bytes that nobody reads, do not hold Close up.
func TestNetworkCloseIsQuick(t *testing.T) {
	r, err := regtest.Start(regtest.Options{
		Network: &regtest.Network{RTT: time.Minute, BytesPerSecond: 10},
		Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 8<<20)) }),
	})
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, r)
	defer time.AfterFunc(30*time.Second, func() { panic("close waits for what is on its way") }).Stop()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection outlives the registry")
	}
}

// A registry's whole traffic goes over the network unharmed, TLS and authentication included.
func TestNetworkCarriesRegistry(t *testing.T) {
	long(t)
	r := regtest.Serve(t, regtest.Options{
		Referrers: true, TLS: true, Auth: oneUser(),
		Network: &regtest.Network{RTT: 2 * time.Millisecond, BytesPerSecond: 100_000_000},
	})
	i := attached(regtest.Spec{Seed: "far", Platforms: []string{"linux/amd64", "linux/arm64"}, LayerSize: 1 << 20})
	at := r.Access("ann", "secret")
	push(t, i, at, "acme/app", "v1")
	checkTree(t, "far", i, read(t, at, "acme/app", "v1"))
}

func TestNetworkReusesConnections(t *testing.T) {
	url, client := far(t, regtest.Network{RTT: time.Millisecond}, func(http.ResponseWriter, *http.Request) {})
	exchange(t, client, url, nil)
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if !reused {
		t.Error("a new connection for the second request")
	}
}

// A timeline is only as good as its clock: an answer has ended when its bytes have left.
func TestRequestsHaveTheirTimes(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		const bandwidth = 1_000_000
		for _, secure := range []bool{false, true} {
			r := regtest.Serve(t, regtest.Options{
				Memory: m, Network: &regtest.Network{RTT: 20 * time.Millisecond, BytesPerSecond: bandwidth}, TLS: secure,
				Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, bandwidth/5)) }),
			})
			before := time.Now()
			if _, _, err := regtest.GetManifest(t.Context(), r.Access("", ""), "acme/app", "v1"); err != nil {
				t.Fatal(err)
			}
			after := time.Now()
			q := r.Requests()[0]
			if q.Began.Before(before) || q.Ended.After(after) || q.Client == "" {
				t.Errorf("from %q, %v to %v, asked from %v to %v", q.Client, q.Began, q.Ended, before, after)
			}
			if took := q.Ended.Sub(q.Began); took < 150*time.Millisecond {
				t.Errorf("%v for a fifth of a second's bytes", took)
			}
		}
	})
}
