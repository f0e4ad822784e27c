package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// scale is a connection that notes what is written to it.
type scale struct {
	net.Conn
	got   bytes.Buffer
	steps []int
	delay time.Duration // of each write
	fails int           // the write that fails, counted from one; 0: none
}

var errScale = errors.New("the line is down")

func (s *scale) Write(p []byte) (int, error) {
	time.Sleep(s.delay)
	s.steps = append(s.steps, len(p))
	if len(s.steps) == s.fails {
		return 0, errScale
	}
	return s.got.Write(p)
}

func (s *scale) dial(context.Context, string, string) (net.Conn, error) { return s, nil }

// wide makes a connection that takes large bodies, and what is behind it.
func wide(t *testing.T, s *scale) *bulk {
	t.Helper()
	conn, err := bulky(s.dial)(t.Context(), "tcp", "example.com:80")
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*bulk)
}

// limited is a body as net/http hands it on.
func limited(b []byte) io.Reader { return io.LimitReader(bytes.NewReader(b), int64(len(b))) }

func TestStepsGrowWhileTheyGoFast(t *testing.T) {
	for _, c := range []struct {
		name        string
		size        int
		delay       time.Duration
		first, most int
	}{
		{"large", bulkBody + 7, 0, leastStep, mostStep},
		{"as large as must be", bulkBody, 0, leastStep, mostStep},
		{"not large", bulkBody - 1, 0, leastStep, leastStep},
		{"brisk", bulkBody, briskStep, leastStep, mostStep},
		{"slow", bulkBody, briskStep + 1, leastStep, leastStep},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, body := &scale{delay: c.delay}, content(c.size)
				n, err := wide(t, s).ReadFrom(limited(body))
				if err != nil || n != int64(c.size) || !bytes.Equal(s.got.Bytes(), body) {
					t.Fatalf("sent %d of %d bytes, the same: %v; %v", n, c.size, bytes.Equal(s.got.Bytes(), body), err)
				}
				if first, most := s.steps[0], slices.Max(s.steps); first != c.first || most != c.most {
					t.Errorf("steps from %d to %d bytes, want %d to %d", first, most, c.first, c.most)
				}
			})
		})
	}
}

// A way that slows down is given small steps again: a large one might take so
// long that it counts as stalled.
func TestStepsShrinkAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, left := &scale{}, 64
		slowing := readerFunc(func(p []byte) (int, error) {
			if left--; left == 0 {
				return 0, io.EOF
			}
			if len(s.steps) == 10 {
				s.delay = time.Second
			}
			return len(p), nil
		})
		if _, err := wide(t, s).ReadFrom(io.LimitReader(slowing, 1<<40)); err != nil {
			t.Fatal(err)
		}
		if before, after := s.steps[10], s.steps[11:]; before != mostStep || slices.Max(after) != leastStep {
			t.Errorf("steps of %d, then of up to %d bytes", before, slices.Max(after))
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A source that has little at a time is not waited for, and what it gives is no
// sign that the way is fast.
func TestStepsDoNotGrowByASlowSource(t *testing.T) {
	s, body := &scale{}, content(bulkBody)
	if _, err := wide(t, s).ReadFrom(io.LimitReader(iotest.HalfReader(bytes.NewReader(body)), bulkBody)); err != nil {
		t.Fatal(err)
	}
	if most := slices.Max(s.steps); most != leastStep/2 || !bytes.Equal(s.got.Bytes(), body) {
		t.Errorf("steps of up to %d bytes", most)
	}
}

func TestLargeBodiesShareBuffers(t *testing.T) {
	s := &scale{}
	b := wide(t, s)
	for range bulkBuffers {
		<-b.buffers
	}
	body := content(bulkBody)
	if _, err := b.ReadFrom(limited(body)); err != nil || slices.Max(s.steps) != leastStep {
		t.Errorf("without a buffer: steps of up to %d bytes, %v", slices.Max(s.steps), err)
	}
	b.buffers <- nil
	broken := errors.New("broken")
	half := io.MultiReader(bytes.NewReader(body[:bulkBody/2]), iotest.ErrReader(broken))
	if n, err := b.ReadFrom(io.LimitReader(half, bulkBody)); !errors.Is(err, broken) || n != bulkBody/2 {
		t.Errorf("a source that fails: sent %d bytes, %v", n, err)
	}
	s.fails = len(s.steps) + 2
	if n, err := b.ReadFrom(limited(body)); !errors.Is(err, errScale) || n != leastStep {
		t.Errorf("a line that fails: sent %d bytes, %v", n, err)
	}
	if len(b.buffers) != 1 {
		t.Errorf("%d buffers came back, want 1", len(b.buffers))
	}
}

func TestBulkyPassesOnThatDiallingFails(t *testing.T) {
	dial := bulky(func(context.Context, string, string) (net.Conn, error) { return nil, errScale })
	if conn, err := dial(t.Context(), "tcp", "example.com:80"); conn != nil || !errors.Is(err, errScale) {
		t.Errorf("got %v, %v", conn, err)
	}
}

// The transport is what uses it: a blob is asked for in steps of more than 32 KiB
// only through a connection like this.
func TestLargeUploadGoesInLargeSteps(t *testing.T) {
	reg := regtest.Serve(t, regtest.Options{})
	body := content(bulkBody + leastStep) // the first bytes go with the header
	most := 0
	source := bytes.NewReader(body)
	u := upload(body)
	u.Open = func(context.Context) io.ReadCloser {
		return io.NopCloser(readerFunc(func(p []byte) (int, error) {
			most = max(most, len(p))
			return source.Read(p)
		}))
	}
	if _, err := target(t, reg, "team/app").PutBlob(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if most <= leastStep {
		t.Errorf("reads of up to %d bytes", most)
	}
	if !bytes.Equal(stored(t, reg, "team/app", descriptor(body)), body) {
		t.Error("other bytes arrived")
	}
}
