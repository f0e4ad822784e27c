package ledger

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
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
	long(t)
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
			w, err := attach(t.Context(), b, p, g.record(n, image, ""), image)
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

// rivalled is a registry where somebody does something at some moments: after so many writes of the program to the ledger,
// and so many reads of it since the last.
func rivalled(t *testing.T, o regtest.Options, at func(puts, gets int) bool, deed func(g *rig), test func(g *rig, b *Book)) {
	synctest.Test(t, func(t *testing.T) {
		memory := regtest.NewMemory()
		g := &rig{T: t}
		armed, puts, gets := false, 0, 0
		o.Memory = memory
		o.Wrap = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				if !armed || r.UserAgent() == regtest.Agent || !strings.HasSuffix(r.URL.Path, "/promotion-ledger-production") {
					return
				}
				if gets++; r.Method == http.MethodPut {
					puts, gets = puts+1, 0
				}
				if puts > 0 && at(puts, gets) {
					deed(g)
				}
			})
		}
		server, err := regtest.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		g.at = server
		g.push(2)
		transport := memory.Transport()
		b := g.bookOf(registry.New(registry.Options{Transport: transport}))
		w := g.attach(b, g.read(b), g.record(0, g.images[0], ""), g.images[0])
		g.append(b, g.read(b), w, document.OutcomePromoted)
		armed = true
		test(g, b)
		transport.CloseIdleConnections()
		memory.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestStubbornRival: who is always overwritten ends with an error, as its caller must know; and its record is found.
func TestStubbornRival(t *testing.T) {
	var old registry.Manifest
	rivalled(t, regtest.Options{}, func(_, gets int) bool { return gets == 0 }, func(g *rig) { g.overwrite("promotion-ledger-production", old) }, func(g *rig, b *Book) {
		p := g.read(b)
		old = p.manifest(env)
		w := g.attach(b, p, g.record(1, g.images[1], ""), g.images[1])
		_, err := b.Append(g.Context(), p, w, document.OutcomePromoted)
		if err == nil || !strings.Contains(err.Error(), "overwriting") || !strings.Contains(registry.HintOf(err), "concurrency") {
			g.Errorf("error %v, hint %q", err, registry.HintOf(err))
		}
		_, caught, err := b.CatchUp(g.Context(), g.read(b), Sources{Tags: g.tags()})
		if err != nil || len(caught.Lines) != 1 || caught.Lines[0].Record != w.Digest() {
			g.Errorf("caught %+v, error %v", caught, err)
		}
	})
}

// TestRivalsAreOutlasted: one that takes our line away at once, and one that does so after it was seen.
func TestRivalsAreOutlasted(t *testing.T) {
	for name, at := range map[string]func(puts, gets int) bool{
		"after the first write":   func(puts, gets int) bool { return puts == 1 && gets == 0 },
		"after the second write":  func(puts, gets int) bool { return puts == 1 && gets == 0 || puts == 2 && gets == 0 },
		"after the line was seen": func(puts, gets int) bool { return puts == 1 && gets == 0 || puts == 2 && gets == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			var old registry.Manifest
			rivalled(t, regtest.Options{}, at, func(g *rig) { g.overwrite("promotion-ledger-production", old) }, func(g *rig, b *Book) {
				p := g.read(b)
				old = p.manifest(env)
				w := g.attach(b, p, g.record(1, g.images[1], ""), g.images[1])
				g.append(b, p, w, document.OutcomePromoted)
				if lines := g.read(b).Lines(); len(lines) != 2 || lines[1].Record != w.Digest() {
					g.Errorf("lines %+v", lines)
				}
			})
		})
	}
}

// TestLedgerThatIsDeletedMeanwhile is written again with all that was read of it: deleted at once, or after the line was
// seen.
func TestLedgerThatIsDeletedMeanwhile(t *testing.T) {
	for name, at := range map[string]func(puts, gets int) bool{
		"at once":                 func(puts, gets int) bool { return puts == 1 && gets == 0 },
		"after the line was seen": func(puts, gets int) bool { return puts == 1 && gets == 0 || puts == 2 && gets == 1 },
	} {
		t.Run(name, func(t *testing.T) {
			remove := func(g *rig) {
				if err := regtest.DeleteManifest(g.Context(), g.at.Access("", ""), path, "promotion-ledger-production"); err != nil {
					g.Error(err)
				}
			}
			rivalled(t, regtest.Options{Delete: true}, at, remove, func(g *rig, b *Book) {
				p := g.read(b)
				w := g.attach(b, p, g.record(1, g.images[1], ""), g.images[1])
				g.append(b, p, w, document.OutcomePromoted)
				if lines := g.read(b).Lines(); len(lines) != 2 || lines[1].Record != w.Digest() {
					g.Errorf("lines %+v", lines)
				}
			})
		})
	}
}
