package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var often = flag.Int("rivals", 5, "how often many runs begin at once")

const path = "acme/app"

// place is a registry in the process, whose clients each have connections of their own.
type place struct {
	*testing.T
	memory     *regtest.Memory
	at         *regtest.Registry
	transports []*http.Transport
	mu         sync.Mutex
}

// serve runs a test on a registry, in virtual time.
func serve(t *testing.T, o regtest.Options, test func(p *place)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &place{T: t, memory: regtest.NewMemory()}
		o.Memory = p.memory
		at, err := regtest.Start(o)
		if err != nil {
			t.Fatal(err)
		}
		p.at = at
		defer func() {
			for _, tr := range p.transports {
				tr.CloseIdleConnections()
			}
			p.memory.Close()
			if err := at.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(p)
	})
}

// store is the repository as a new run sees it.
func (p *place) store() Store {
	p.Helper()
	tr := p.memory.Transport()
	p.mu.Lock()
	p.transports = append(p.transports, tr)
	p.mu.Unlock()
	n, err := name.NewRepository(p.at.Host() + "/" + path)
	if err != nil {
		p.Fatal(err)
	}
	repo, err := registry.New(registry.Options{Transport: tr}).Open(p.Context(), credential.Target, n, registry.Push)
	if err != nil {
		p.Fatal(err)
	}
	return InRegistry(repo.AllowMissing())
}

// push brings images into the registry, which promotions move tags to.
func (p *place) push(images int) (all []registry.Manifest) {
	p.Helper()
	for n := range images {
		built := regtest.Build(regtest.Spec{Seed: fmt.Sprint(n)})
		if err := built.Push(p.Context(), p.at.Access("", ""), path); err != nil {
			p.Fatal(err)
		}
		root := built.Manifest(built.Root)
		all = append(all, registry.NewManifest(root.MediaType, root.Bytes))
	}
	return all
}

// withRecord promotes, and stores the record.
func (p *promotion) withRecord(t testing.TB, s Store) error {
	t.Helper()
	ctx := t.Context()
	l := Open(s, key, p.run)
	v, err := l.Read(ctx)
	if err != nil {
		return err
	}
	if v, err = l.Create(ctx, v); err != nil {
		return err
	}
	draft := func(ctx context.Context, start Start) (Entry, error) {
		e, _ := p.draft(ctx, start)
		raw := []byte("record " + start.ID)
		e.Record = v1.Descriptor{MediaType: document.RecordMediaType, Digest: digestOf(raw), Size: int64(len(raw))}
		return e, s.PutBlob(ctx, e.Record, raw)
	}
	session, err := l.Begin(ctx, v, NewID(), p.tags, draft, func(string) {})
	if err != nil {
		return err
	}
	held := map[string]string{}
	for _, tag := range p.tags {
		err := errNoAnswer
		for nth := 0; err != nil && nth < tries; nth++ {
			err = s.WriteTag(ctx, tag, p.image, time.Now().Add(fresh))
			_ = pause(ctx, nth)
		}
		if err != nil {
			return err
		}
		held[tag] = p.image.Digest.String()
	}
	return session.Finish(ctx, document.OutcomePromoted, held)
}

// slow answers each request after a while of its own: runs overtake each other.
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

// Many runs that begin at once on tags of their own lose no entry of each other.
func TestRegistry_ManyRunsAtOnce(t *testing.T) {
	long(t)
	t.Parallel()
	const runs = 20
	for seed := range *often {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			serve(t, regtest.Options{Wrap: slow(uint64(seed))}, func(p *place) {
				images := p.push(1)
				errs := make([]error, runs)
				var all sync.WaitGroup
				for n := range runs {
					s, run := p.store(), promotionOf(n)
					run.image, run.tags = images[0], []string{fmt.Sprint("tag", n)}
					all.Go(func() { errs[n] = run.withRecord(p.T, s) })
				}
				all.Wait()
				_, v := readLedger(p.T, p.store())
				states := map[string]document.Outcome{}
				for _, e := range v.Entries() {
					states[e.Run.ID] = e.State()
				}
				failed := 0
				for n, err := range errs {
					want := document.OutcomePromoted
					var conflict *ConflictError
					if errors.As(err, &conflict) {
						failed++
						want = document.OutcomeFailed
					} else if err != nil {
						p.Errorf("run %d: %v", n, err)
					}
					if got := states[fmt.Sprint(n)]; got != want {
						p.Errorf("run %d is %q, want %s: %v", n, got, want, err)
					}
				}
				p.Logf("%d of %d runs gave way", failed, runs)
			})
		})
	}
}

// A write that is answered with 503 after a rival has written is not repeated: the rival's entry
// stays.
func TestRegistry_RetriedWrite(t *testing.T) {
	t.Parallel()
	var p *place
	var rival func()
	struck := false
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/"+ledgerPrefix) && rival != nil && !struck {
				struck = true
				rival()
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	serve(t, regtest.Options{Wrap: wrap}, func(at *place) {
		p = at
		images := p.push(1)
		promote := func(n int) error {
			run := promotionOf(n)
			run.image, run.tags = images[0], []string{fmt.Sprint("tag", n)}
			return run.withRecord(p.T, p.store())
		}
		if err := promote(0); err != nil {
			p.Fatal(err)
		}
		rival = func() {
			if err := promote(1); err != nil {
				p.Error(err)
			}
		}
		if err := promote(2); err != nil {
			p.Error(err)
		}
		wantStates(p.T, p.store(), "0 promoted", "1 promoted", "2 promoted")
	})
}

// What is written passes every vendor's checks, and runs that come one after the other lose nothing
// on any of them.
func TestRegistry_Vendors(t *testing.T) {
	long(t)
	t.Parallel()
	for _, vendor := range regtest.Vendors {
		t.Run(vendor.Name, func(t *testing.T) {
			t.Parallel()
			serve(t, regtest.Options{Traits: vendor.Traits}, func(p *place) {
				images := p.push(2)
				for n := range 4 {
					run := promotionOf(n)
					run.image, run.tags = images[n%2], []string{"production"}
					if err := run.withRecord(p.T, p.store()); err != nil {
						p.Fatalf("run %d: %v", n, err)
					}
				}
				wantStates(p.T, p.store(), "0 promoted", "1 promoted", "2 promoted", "3 promoted")
			})
		})
	}
}

// Full heads, and segments, pass the vendors that limit a manifest.
func TestRegistry_FullHeads(t *testing.T) {
	long(t)
	t.Parallel()
	for _, vendor := range []string{"gitlab", "ecr", "gitea", "harbor"} {
		t.Run(vendor, func(t *testing.T) {
			t.Parallel()
			v, ok := regtest.FindVendor(vendor)
			if !ok {
				t.Fatal("there is no such vendor")
			}
			serve(t, regtest.Options{Traits: v.Traits}, func(p *place) {
				s := p.store()
				for n, change := range []func(*promotion){nil, func(p *promotion) { p.reason = strings.Repeat("x", maxAnnotation-2000) }} {
					fillStored(p, s, n*100, n*100+100, change)
				}
				l, view := readLedger(p.T, s)
				if h, err := l.History(p.Context(), view, 0); err != nil || len(h.Lost) > 0 || len(h.Entries) != 200 || view.Segments() < 5 {
					p.Errorf("%d entries, %d segments, lost %v, error %v", len(h.Entries), view.Segments(), h.Lost, err)
				}
			})
		})
	}
}

// fillStored is fill, with the records' blobs.
func fillStored(p *place, s Store, from, to int, change func(*promotion)) {
	p.Helper()
	for n := from; n < to; n++ {
		raw := fmt.Appendf(nil, "entry%d", n)
		if err := s.PutBlob(p.Context(), v1.Descriptor{MediaType: document.RecordMediaType, Digest: digestOf(raw), Size: int64(len(raw))}, raw); err != nil {
			p.Fatal(err)
		}
	}
	fill(p.T, s, from, to, change)
}
