package registry

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// tagAge is how long the cache keeps a read by tag, and a read that found nothing:
	// reads of the same tag within one step of a run share an answer.
	tagAge = 2 * time.Second
	// maxCached bounds the bytes of the manifests in the cache, and maxKept their number: a
	// run of 200 images reads 8,000 manifests, those of eight images at the same time. The
	// oldest manifests are dropped first.
	maxCached = 16 << 20
	maxKept   = 2000
)

// cache keeps what a run has read, by repository and session. A digest is read once, a tag
// once within tagAge. A reader waits for a read of the same reference that is in progress,
// and shares its answer or its error. A write drops the reference for all sessions of the
// host. Errors other than ErrNotFound are not kept.
type cache struct {
	mu        sync.Mutex
	manifests cacheOf[Manifest]
	blobs     cacheOf[bool]
	sessions  []*session
	bytes     map[v1.Hash]*sharedBytes // of manifests: one copy for all repositories
	size      int
	kept      []keptManifest // the oldest first
}

func newCache() *cache { return &cache{bytes: map[v1.Hash]*sharedBytes{}} }

// sharedBytes are the bytes of a manifest, and the number of cache entries that use them.
type sharedBytes struct {
	raw   []byte
	users int
}

// keptManifest is a cache entry by digest.
type keptManifest struct {
	at     cacheKey
	digest v1.Hash
}

// cacheKey is a tag or digest of a repository in a session: another session has another
// credential, which may not read the same.
type cacheKey struct {
	session         *session
	repository, ref string
}

func (r *Repository) cacheKey(ref string) cacheKey {
	return cacheKey{r.session, r.name.RepositoryStr(), ref}
}

// cacheOf are the entries of one type.
type cacheOf[V any] struct {
	all   map[cacheKey]*cached[V]
	swept time.Time // when expired entries were last dropped
}

// cached is one entry: an answer, or a read that is in progress.
type cached[V any] struct {
	began     time.Time
	kept      bool          // for the whole run
	done      chan struct{} // closed at the end of the read; nil: the entry is an answer
	value     V
	err       error // ErrNotFound is kept for tagAge
	abandoned bool  // the context of its reader ended: the next reader reads by itself
}

// isFresh reports whether a reader may use the entry now.
func (e *cached[V]) isFresh() bool {
	return e.done != nil || e.kept || time.Since(e.began) < tagAge
}

// put adds an entry. Every two seconds it drops the expired ones: a run reads thousands of
// tags.
func (l *cacheOf[V]) put(at cacheKey, e *cached[V]) {
	if l.all == nil {
		l.all = map[cacheKey]*cached[V]{}
	}
	l.all[at] = e
	if time.Since(l.swept) < tagAge {
		return
	}
	for at, e := range l.all {
		if !e.isFresh() {
			delete(l.all, at)
		}
	}
	l.swept = time.Now()
}

// readOnce returns the answer in the cache, or waits for a read in progress, or reads. With
// uncached it always reads, and replaces the entry.
func readOnce[V any](ctx context.Context, c *cache, l *cacheOf[V], at cacheKey, uncached bool, read func(context.Context) (V, error)) (V, error) {
	for {
		e, mine := enter(c, l, at, uncached)
		if mine {
			e.value, e.err = read(ctx)
			e.abandoned = ctx.Err() != nil
			leave(c, l, at, e)
			close(e.done)
			return e.value, e.err
		}
		if e.done == nil {
			return e.value, copyOf(e.err)
		}
		select {
		case <-e.done:
			if e.err == nil || !e.abandoned {
				return e.value, copyOf(e.err)
			}
		case <-ctx.Done():
			var none V
			return none, retry.Interrupted(ctx)
		}
	}
}

// copyOf copies an error that several readers share, because each may add its own hint.
func copyOf(err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // hints are added to the outermost error
		mine := *e
		return &mine
	}
	return err
}

// enter returns an entry to use or to wait for, or a new one that the caller has to read.
func enter[V any](c *cache, l *cacheOf[V], at cacheKey, uncached bool) (e *cached[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := l.all[at]; e != nil && !uncached && e.isFresh() {
		return e, false
	}
	if !slices.Contains(c.sessions, at.session) {
		c.sessions = append(c.sessions, at.session)
	}
	e = &cached[V]{began: time.Now(), done: make(chan struct{})}
	l.put(at, e)
	return e, true
}

// leave ends a read and keeps its answer, unless a write or a later read has replaced the
// entry. The answer that a blob exists is kept for the run.
func leave[V any](c *cache, l *cacheOf[V], at cacheKey, e *cached[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.all[at] != e {
		return
	}
	if e.err != nil && (e.abandoned || !errors.Is(e.err, ErrNotFound)) {
		delete(l.all, at)
		return
	}
	l.all[at] = &cached[V]{began: e.began, kept: e.err == nil && any(e.value) == any(true), value: e.value, err: e.err}
}

// keep adds an entry by digest for a manifest that was read by tag or digest. It returns the
// manifest with the shared bytes.
func (c *cache) keep(r *Repository, m Manifest) Manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.bytes[m.Digest]
	if known == nil {
		known = &sharedBytes{raw: m.Raw}
		c.bytes[m.Digest] = known
		c.size += len(m.Raw)
	}
	known.users++
	m.Raw = known.raw
	at := r.cacheKey(m.Digest.String())
	c.manifests.put(at, &cached[Manifest]{kept: true, value: m})
	for c.kept = append(c.kept, keptManifest{at, m.Digest}); len(c.kept) > maxKept || c.size > maxCached; {
		c.drop()
	}
	return m
}

// drop drops the oldest manifest.
func (c *cache) drop() {
	oldest := c.kept[0]
	c.kept = c.kept[1:]
	delete(c.manifests.all, oldest.at)
	known := c.bytes[oldest.digest]
	if known.users--; known.users == 0 {
		delete(c.bytes, oldest.digest)
		c.size -= len(known.raw)
	}
}

// wroteManifest drops a reference. It is called before and after a write, because a read may
// be made during the write.
func (c *cache) wroteManifest(r *Repository, ref string) { wrote(c, &c.manifests, r, ref) }

// wroteBlob drops the answer whether a blob exists.
func (c *cache) wroteBlob(r *Repository, digest string) { wrote(c, &c.blobs, r, digest) }

func wrote[V any](c *cache, l *cacheOf[V], r *Repository, ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		if s.host == r.session.host {
			delete(l.all, cacheKey{s, r.name.RepositoryStr(), ref})
		}
	}
}
