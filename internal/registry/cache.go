package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	// tagAge is how long a read by tag is believed, and one that found nothing: who
	// reads the same again within a step gets the same answer.
	tagAge = 2 * time.Second
	// maxCached bounds the bytes of manifests that are kept. What is beyond is read
	// again when it is asked for again.
	maxCached = 16 << 20
)

// cache keeps what a run has read, by repository and session. A read by digest is
// made once, one by tag once within tagAge; who asks while a read is on its way waits
// for its answer. A write forgets what was read of that reference, whoever read it.
// An error is shared with those who wait for it, and not kept.
type cache struct {
	mu        sync.Mutex
	manifests reads[Manifest]
	blobs     reads[bool]
	bytes     map[v1.Hash][]byte // of manifests, each once whatever repository it was read from
	size      int
}

func newCache() *cache {
	return &cache{manifests: reads[Manifest]{}, blobs: reads[bool]{}, bytes: map[v1.Hash][]byte{}}
}

// place is a tag or digest of a repository, "host/path@ref".
type place string

func (r *Repository) place(ref string) place { return place(r.Name() + "@" + ref) }

// reads are the answers by place, and by the session that asked: what one credential
// may not see another may.
type reads[V any] map[place]map[*session]*read[V]

// read is one answer, or the question that is on its way.
type read[V any] struct {
	began time.Time
	kept  bool // for the whole run
	done  chan struct{}
	value V
	err   error // also ErrNotFound, which is kept for as long as a tag
	over  bool  // its asker's context ended: whoever waits asks for himself
}

// fresh reports whether the answer may be given to who asks now.
func (e *read[V]) fresh() bool {
	select {
	case <-e.done:
		return e.kept || time.Since(e.began) < tagAge
	default:
		return true
	}
}

// ask returns the answer that is kept, waits for one that is on its way, or asks.
// Past the cache it asks in any case, and its answer takes the place of the other.
func ask[V any](ctx context.Context, c *cache, all reads[V], at place, r *Repository, question func(context.Context) (V, error)) (V, error) {
	for {
		e, mine := enter(c, all, at, r)
		if mine {
			e.value, e.err = question(ctx)
			e.over = ctx.Err() != nil
			e.kept = e.err == nil && any(e.value) == any(true) // a blob that is there stays there
			if e.err != nil && (e.over || !errors.Is(e.err, ErrNotFound)) {
				forget(c, all, at, r.session, e)
			}
			close(e.done)
			return e.value, e.err
		}
		select {
		case <-e.done:
			if e.err == nil || !e.over {
				return e.value, own(e.err)
			}
		case <-ctx.Done():
			var none V
			return none, endedBy(ctx)
		}
	}
}

// own is a copy of an error that others have too: each adds a hint of its own.
func own(err error) error {
	if e, ok := err.(*Error); ok { //nolint:errorlint // the outermost is what is added to
		mine := *e
		return &mine
	}
	return err
}

// enter returns the answer to wait for, or a new one that the caller is to find.
func enter[V any](c *cache, all reads[V], at place, r *Repository) (e *read[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := all[at][r.session]; e != nil && !r.uncached && e.fresh() {
		return e, false
	}
	e = &read[V]{began: time.Now(), done: make(chan struct{})}
	if all[at] == nil {
		all[at] = map[*session]*read[V]{}
	}
	all[at][r.session] = e
	return e, true
}

// forget drops one answer, if it is still the one that is kept.
func forget[V any](c *cache, all reads[V], at place, s *session, e *read[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if all[at][s] == e {
		delete(all[at], s)
	}
}

// keep has a manifest that was read by any name be found by its digest, for the whole
// run. It returns the manifest with the bytes that the cache has already. Where there
// is no room, nothing is kept of this read.
func (c *cache) keep(r *Repository, ref string, m Manifest) Manifest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.bytes[m.Digest]; ok {
		m.Raw = known
	} else if c.size+len(m.Raw) <= maxCached {
		c.bytes[m.Digest] = m.Raw
		c.size += len(m.Raw)
	} else {
		delete(c.manifests[r.place(ref)], r.session)
		return m
	}
	e := &read[Manifest]{kept: true, done: closed, value: m}
	at := r.place(m.Digest.String())
	if c.manifests[at] == nil {
		c.manifests[at] = map[*session]*read[Manifest]{}
	}
	c.manifests[at][r.session] = e
	return m
}

// closed is the channel of an answer that is there.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// wroteManifest forgets what a reference held. It is called before a write and after.
func (c *cache) wroteManifest(r *Repository, ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.manifests, r.place(ref))
}

// wroteBlob forgets whether a blob was there.
func (c *cache) wroteBlob(r *Repository, digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.blobs, r.place(digest))
}
