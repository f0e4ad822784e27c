package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/google/go-containerregistry/pkg/name"
)

// countedReads answers every question for a manifest or a blob after 100 ms, and counts
// them by path.
type countedReads struct {
	mu     sync.Mutex
	asked  map[string]int
	absent atomic.Bool
}

func (c *countedReads) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPut {
		w.WriteHeader(http.StatusCreated)
		return
	}
	c.mu.Lock()
	c.asked[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]++
	c.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	if c.absent.Load() {
		status(http.StatusNotFound)(w, r, nil)
		return
	}
	manifestAnswer(w)
}

func (c *countedReads) want(t *testing.T, what, ref string, n int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[ref] != n {
		t.Errorf("%s: asked %d times, want %d", what, c.asked[ref], n)
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	c := &countedReads{asked: map[string]int{}}
	digest := digestOf([]byte(emptyIndex))
	bubble(t, open200(c.serve), func(t *testing.T, r *Repository) {
		get := func(r *Repository, ref string) {
			if m, err := r.GetManifest(t.Context(), ref); err != nil || m.Digest != digest {
				t.Errorf("%s: %v, %v", ref, m.Digest, err)
			}
		}
		var g sync.WaitGroup
		for range 5 {
			g.Go(func() { get(r, "dev") })
		}
		g.Wait()
		c.want(t, "by tag at once", "dev", 1)
		get(r, digest.String())
		c.want(t, "by the digest of what was read by tag", digest.String(), 0)
		get(r.Uncached(), digest.String())
		c.want(t, "past the cache", digest.String(), 1)
		time.Sleep(tagAge)
		get(r, "dev")
		c.want(t, "by tag, later", "dev", 2)
		get(r, digest.String())
		c.want(t, "by digest, later", digest.String(), 1)
		for _, ref := range []string{"dev", digest.String()} {
			if _, err := r.PutManifest(t.Context(), ref, NewManifest("application/json", []byte(emptyIndex))); err != nil {
				t.Error(err)
			}
		}
		get(r, digest.String())
		c.want(t, "after a write by digest", digest.String(), 2)
		get(r, "dev")
		c.want(t, "after a write by tag", "dev", 3)
	})
}

// What is absent is asked for again soon: it may come. A blob that is there stays.
func TestCacheOfWhatIsAbsent(t *testing.T) {
	t.Parallel()
	c := &countedReads{asked: map[string]int{}}
	c.absent.Store(true)
	digest := digestOf([]byte(emptyIndex))
	bubble(t, open200(c.serve), func(t *testing.T, r *Repository) {
		look := func(there bool) {
			if _, err := r.GetManifest(t.Context(), "dev"); errors.Is(err, ErrNotFound) == there {
				t.Errorf("manifest: %v, want there %v", err, there)
			}
			if got, err := r.HasBlob(t.Context(), digest); err != nil || got != there {
				t.Errorf("blob: %v, %v, want there %v", got, err, there)
			}
		}
		look(false)
		c.want(t, "a tag", "dev", 1)
		c.want(t, "a blob", digest.String(), 1)
		time.Sleep(tagAge)
		c.absent.Store(false)
		look(true)
		c.want(t, "a tag that was absent", "dev", 2)
		c.want(t, "a blob that was absent", digest.String(), 2)
		time.Sleep(time.Hour)
		if _, err := r.HasBlob(t.Context(), digest); err != nil {
			t.Error(err)
		}
		c.want(t, "a blob that is there", digest.String(), 2)
		if _, err := r.PutBlob(t.Context(), upload([]byte(emptyIndex))); err == nil {
			t.Error("this registry takes no blob")
		}
		if _, err := r.HasBlob(t.Context(), digest); err != nil {
			t.Error(err)
		}
		c.want(t, "a blob that was written", digest.String(), 3)
	})
}

// Who waits for another's answer asks for himself where the other gave up, and ends
// with his own context.
func TestCacheWhoseAskerGivesUp(t *testing.T) {
	t.Parallel()
	c := &countedReads{asked: map[string]int{}}
	bubble(t, open200(c.serve), func(t *testing.T, r *Repository) {
		first, cancel := context.WithCancelCause(t.Context())
		var g sync.WaitGroup
		g.Go(func() {
			if _, err := r.GetManifest(first, "dev"); !errors.Is(err, errTimeUp) {
				t.Errorf("the first: %v, want its own end", err)
			}
		})
		synctest.Wait()
		for range 3 {
			g.Go(func() {
				if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
					t.Errorf("one who waited: %v", err)
				}
			})
		}
		short, end := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errTimeUp)
		defer end()
		g.Go(func() {
			if _, err := r.GetManifest(short, "dev"); !errors.Is(err, errTimeUp) {
				t.Errorf("one who waits no longer: %v", err)
			}
		})
		time.Sleep(50 * time.Millisecond)
		cancel(errTimeUp)
		g.Wait()
		c.want(t, "after the first gave up", "dev", 2)
	})
}

// Credentials see different things, and a write by one is a write for all.
func TestCacheBySession(t *testing.T) {
	t.Parallel()
	c := &countedReads{asked: map[string]int{}}
	realm(t, open200(c.serve), Options{Credentials: &credential.Chain{Target: credential.Login{Username: "b", Password: "b"}}}, func(t *testing.T, open func(string) *Repository) {
		theirs := open("127.0.0.1:5000/acme/app")
		ours := *theirs
		a := theirs.session
		ours.session = &session{
			auth: auth.New(theirs.name.Registry, credential.Credential{}, a.transports.Small, a.hosts), transports: a.transports, hosts: a.hosts, host: a.host,
			supports: a.supports, cache: a.cache, memory: a.memory,
			referrers: map[string]*referrersSupport{}, creations: map[string]*creation{},
		}
		for range 2 {
			for _, r := range []*Repository{theirs, &ours} {
				if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
					t.Error(err)
				}
			}
		}
		c.want(t, "by two credentials", "dev", 2)
		if _, err := ours.PutManifest(t.Context(), "dev", NewManifest("application/json", []byte(emptyIndex))); err != nil {
			t.Error(err)
		}
		if _, err := theirs.GetManifest(t.Context(), "dev"); err != nil {
			t.Error(err)
		}
		c.want(t, "after the other's write", "dev", 3)
	})
}

// Manifests beyond the bound are not kept, and the same bytes are kept once.
func TestCacheIsBounded(t *testing.T) {
	long(t)
	t.Parallel()
	c := newCache()
	s := &session{}
	repo := func(path string) *Repository {
		n, err := name.NewRepository("127.0.0.1:5000/" + path)
		if err != nil {
			t.Fatal(err)
		}
		return &Repository{name: n, session: s}
	}
	one := c.keep(repo("a"), NewManifest("x", []byte("same")))
	two := c.keep(repo("b"), NewManifest("x", []byte("same")))
	if &one.Raw[0] != &two.Raw[0] {
		t.Error("the same bytes are kept twice")
	}
	for n := range 10 {
		m := NewManifest("x", append([]byte(fmt.Sprint(n)), make([]byte, MaxManifest-1)...))
		c.keep(repo("c"), m)
	}
	for n := range 2 * maxKept {
		m := NewManifest("x", []byte(fmt.Sprint("little ", n)))
		c.keep(repo("d"), m)
	}
	if n := len(c.manifests.all); n > maxKept {
		t.Errorf("%d manifests are kept", n)
	}
	if c.size > maxCached || len(c.bytes) > maxKept {
		t.Errorf("%d bytes of %d manifests are kept", c.size, len(c.bytes))
	}
}
