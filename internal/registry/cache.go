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
	// tagAge is how long a read by tag is believed, and one that found nothing: who
	// reads the same again within a step gets the same answer.
	tagAge = 2 * time.Second
	// maxCached bounds the bytes of manifests that are kept, and maxKept how many: a run
	// of 200 images reads 8,000, and asks for those of eight images at a time. The oldest
	// make room; they are read again when they are asked for again.
	maxCached = 16 << 20
	maxKept   = 2000
)

// cache keeps what a run has read, by repository and session. A read by digest is
// made once, one by tag once within tagAge; who asks while a read is on its way waits
// for its answer. A write forgets what was read of that reference, whoever read it.
// An error is shared with those who wait for it, and not kept.
type cache struct {
	mu        sync.Mutex
	manifests cacheOf[Manifest]
	blobs     cacheOf[bool]
	sessions  []*session
	bytes     map[v1.Hash]*sharedBytes // of manifests, each once whatever repository it was read from
	size      int
	kept      []kept // the oldest first
}

func newCache() *cache { return &cache{bytes: map[v1.Hash]*sharedBytes{}} }

// sharedBytes are the bytes of a manifest, and how many kept ones have them.
type sharedBytes struct {
	raw   []byte
	users int
}

// kept is a manifest that is found by its digest.
type kept struct {
	at     cacheKey
	digest v1.Hash
}

// cacheKey is a tag or digest of a repository as a session sees it: what one credential
// may not see another may.
type cacheKey struct {
	session         *session
	repository, ref string
}

func (r *Repository) cacheKey(ref string) cacheKey {
	return cacheKey{r.session, r.name.RepositoryStr(), ref}
}

// cacheOf are the answers, and the questions that are on their way.
type cacheOf[V any] struct {
	all   map[cacheKey]*cached[V]
	swept time.Time // when answers that are too old were dropped
}

// cached is one answer, or the question that is on its way.
type cached[V any] struct {
	began time.Time
	kept  bool          // for the whole run
	done  chan struct{} // nil: the answer is there
	value V
	err   error // also ErrNotFound, which is kept for as long as a tag
	over  bool  // its asker's context ended: whoever waits asks for himself
}

// fresh reports whether the answer may be given to who asks now.
func (e *cached[V]) fresh() bool {
	return e.done != nil || e.kept || time.Since(e.began) < tagAge
}

// put keeps an answer or a question. Every two seconds it drops answers that nobody
// gets any more: a run asks for thousands of tags.
func (l *cacheOf[V]) put(at cacheKey, e *cached[V]) {
	if l.all == nil {
		l.all = map[cacheKey]*cached[V]{}
	}
	l.all[at] = e
	if time.Since(l.swept) < tagAge {
		return
	}
	for at, e := range l.all {
		if !e.fresh() {
			delete(l.all, at)
		}
	}
	l.swept = time.Now()
}

// readOnce returns the answer that is kept, waits for one that is on its way, or asks.
// Past the cache it asks in any case, and its answer takes the place of the other.
func readOnce[V any](ctx context.Context, c *cache, l *cacheOf[V], at cacheKey, past bool, question func(context.Context) (V, error)) (V, error) {
	for {
		e, mine := enter(c, l, at, past)
		if mine {
			e.value, e.err = question(ctx)
			e.over = ctx.Err() != nil
			leave(c, l, at, e)
			close(e.done)
			return e.value, e.err
		}
		if e.done == nil {
			return e.value, copyOf(e.err)
		}
		select {
		case <-e.done:
			if e.err == nil || !e.over {
				return e.value, copyOf(e.err)
			}
		case <-ctx.Done():
			var none V
			return none, retry.Interrupted(ctx)
		}
	}
}

// copyOf is a copy of an error that others have too: each adds a hint of its own.
func copyOf(err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // the outermost is what is added to
		mine := *e
		return &mine
	}
	return err
}

// enter returns the answer to wait for, or a new one that the caller is to find.
func enter[V any](c *cache, l *cacheOf[V], at cacheKey, past bool) (e *cached[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := l.all[at]; e != nil && !past && e.fresh() {
		return e, false
	}
	if !slices.Contains(c.sessions, at.session) {
		c.sessions = append(c.sessions, at.session)
	}
	e = &cached[V]{began: time.Now(), done: make(chan struct{})}
	l.put(at, e)
	return e, true
}

// leave keeps an answer that is worth it, unless a write or a later question has taken
// its place. A blob that is there stays there.
func leave[V any](c *cache, l *cacheOf[V], at cacheKey, e *cached[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.all[at] != e {
		return
	}
	if e.err != nil && (e.over || !errors.Is(e.err, ErrNotFound)) {
		delete(l.all, at)
		return
	}
	l.all[at] = &cached[V]{began: e.began, kept: e.err == nil && any(e.value) == any(true), value: e.value, err: e.err}
}

// keep has a manifest that was read by any name be found by its digest. It returns the
// manifest with the bytes that the cache has already.
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
	for c.kept = append(c.kept, kept{at, m.Digest}); len(c.kept) > maxKept || c.size > maxCached; {
		c.drop()
	}
	return m
}

// drop forgets the oldest manifest that is kept.
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

// wroteManifest forgets what a reference held. It is called before a write and after.
func (c *cache) wroteManifest(r *Repository, ref string) { wrote(c, &c.manifests, r, ref) }

// wroteBlob forgets whether a blob was there.
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
