package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// slow answers each request after a while of its own: writers overtake each other.
func slow(seed uint64) func(http.Handler) http.Handler {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 1))
	wait := func() {
		mu.Lock()
		d := time.Duration(dice.IntN(40)) * time.Millisecond
		mu.Unlock()
		time.Sleep(d)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			wait()
			next.ServeHTTP(w, r)
			wait()
		})
	}
}

// TestTwentyWritersAtOnce lose no record for good, and each of them ends well.
func TestTwentyWritersAtOnce(t *testing.T) {
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		for seed := range uint64(4) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { manyWriters(t, o, seed, 20, seed%2 == 0) })
			})
		}
	})
}

// manyWriters begin at the same moment. Those that read the ledger again before they add to it take fewer lines away.
func manyWriters(t *testing.T, o regtest.Options, seed uint64, writers int, stale bool) {
	memory := regtest.NewMemory()
	o.Memory, o.Wrap = memory, slow(seed)
	at, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t, at: at}
	g.push(3)
	written := make([]string, writers)
	var transports []*http.Transport
	newBook := func() *Book {
		transports = append(transports, memory.Transport())
		return g.bookOf(registry.New(registry.Options{Transport: transports[len(transports)-1]}))
	}
	var all sync.WaitGroup
	for n := range writers {
		b, image := newBook(), g.images[n%len(g.images)]
		all.Go(func() {
			p, err := b.Read(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			w, err := b.Attach(t.Context(), p, g.record(n, image, ""), image)
			if err != nil {
				t.Error(err)
				return
			}
			if !stale {
				p = g.read(b)
			}
			if _, err = b.Append(t.Context(), p, w, document.OutcomePromoted); err != nil {
				t.Errorf("writer %d: %v", n, err)
			}
			written[n] = w.Digest()
		})
	}
	all.Wait()
	b := newBook()
	lost := missing(written, g.history(b).Lines)
	p, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
	if err != nil || len(caught.Lines) != len(lost) || len(caught.Unreadable) > 0 {
		t.Errorf("lost %v, found again %+v, error %v", lost, caught, err)
	}
	if _, err := b.Write(t.Context(), p); err != nil {
		t.Error(err)
	}
	h := g.history(b)
	if still := missing(written, h.Lines); len(still) > 0 || len(h.Lines) != writers {
		t.Errorf("%d lines, without %v", len(h.Lines), still)
	}
	for _, f := range Check(h, nil) {
		if f.Damage != Forked {
			t.Errorf("found %+v", f)
		}
	}
	t.Logf("%d of %d lines were taken away and found again", len(lost), writers)
	for _, tr := range transports {
		tr.CloseIdleConnections()
	}
	memory.Close()
	if err := at.Close(); err != nil {
		t.Error(err)
	}
}

// missing are the records that no line names.
func missing(records []string, lines []document.Line) []string {
	listed := recordsOf(lines)
	return slices.DeleteFunc(slices.Clone(records), func(r string) bool { return slices.Contains(listed, r) })
}
