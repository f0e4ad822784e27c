package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// world is a repository in memory, whose every request waits until the test lets it go on. It runs
// in a bubble: time passes only where every run waits.
type world struct {
	mu      sync.Mutex
	tags    map[string][]registry.Manifest // all that a tag ever pointed to, the newest last
	waiting []*request
	late    []*request                          // writes whose answers were lost, and which did not take effect yet
	runs    int                                 // that have not ended
	looked  func(*request, registry.TagReading) // called after each read; nil: nothing watches
	written func(*request)                      // called after each write; nil: nothing watches
	lapse   func(*request, time.Duration)       // called if a write rests on a read that is too old

	killed   sync.Map // none of their requests reaches the registry any more
	lastRead map[runTag]time.Time
	seen     map[int]uint64 // hash of everything that a run has been answered: what it does next depends on nothing else
}

type runTag struct {
	run int
	tag string
}

// request is one that a run has sent.
type request struct {
	run      int
	write    bool
	tag      string
	m        registry.Manifest
	notAfter time.Time
	answer   chan answer // has room
	sent     time.Time
	landed   bool // it took effect after its run was told that it has no answer
}

type answer struct {
	reading registry.TagReading
	err     error
}

// fault is what happens to the requests of a run that are waiting.
type fault int

const (
	none     fault = iota
	kill           // the run is killed; its requests never reach the registry
	lost           // they take effect, and their answers are lost
	refused        // they do not take effect, and have no answer
	landLate       // a write has no answer, and takes effect later
	stale          // the first read shows what was there before
	staleToo       // the second read does
	allStale       // all reads do
	paused         // the run stands still for three minutes, and its requests with it
	faults
)

func (f fault) String() string {
	return []string{"", "kill", "lost answer", "no effect", "lands late", "stale", "second is stale", "all stale", "paused"}[f]
}

var (
	errNoAnswer = errors.New("no answer")
	errKilled   = errors.New("killed")
)

func newWorld() *world {
	return &world{tags: map[string][]registry.Manifest{}, lastRead: map[runTag]time.Time{}, seen: map[int]uint64{}}
}

// steppedStore is the repository as one run sees it.
type steppedStore struct {
	*world
	run int
}

func (s steppedStore) Reference(tag string) string { return "registry.example/app:" + tag }

func (s steppedStore) PutBlob(context.Context, v1.Descriptor, []byte) error { return nil }

func (s steppedStore) ReadTag(ctx context.Context, tag string) (registry.TagReading, error) {
	return s.send(ctx, &request{run: s.run, tag: tag})
}

func (s steppedStore) WriteTag(ctx context.Context, tag string, m registry.Manifest, notAfter time.Time) error {
	_, err := s.send(ctx, &request{run: s.run, write: true, tag: tag, m: m, notAfter: notAfter})
	return err
}

func (s steppedStore) send(ctx context.Context, r *request) (registry.TagReading, error) {
	r.answer, r.sent = make(chan answer, 1), time.Now()
	s.mu.Lock()
	if _, killed := s.killed.Load(r.run); killed {
		s.mu.Unlock()
		return registry.TagReading{}, errKilled
	}
	s.waiting = append(s.waiting, r)
	s.mu.Unlock()
	select {
	case a := <-r.answer:
		return a.reading, a.err
	case <-ctx.Done():
		return registry.TagReading{}, context.Cause(ctx)
	}
}

// held is what a tag points to; nil: it does not exist.
func (w *world) held(tag string, ago int) *registry.Manifest {
	all := w.tags[tag]
	if len(all) <= ago {
		return nil
	}
	return &all[len(all)-1-ago]
}

func (w *world) digest(tag string) string {
	if m := w.held(tag, 0); m != nil {
		return m.Digest.String()
	}
	return ""
}

func (w *world) put(tag string, m registry.Manifest) { w.tags[tag] = append(w.tags[tag], m) }

// apply answers a request with a fault.
func (w *world) apply(r *request, f fault) {
	var a answer
	if r.write {
		a.err = w.applyWrite(r, f)
	} else {
		a.reading = registry.TagReading{Began: r.sent, Clock: time.Now().Truncate(time.Second)}
		ago := 0
		if f == stale && len(w.tags[r.tag]) > 1 {
			ago = 1
		}
		if m := w.held(r.tag, ago); m != nil {
			a.reading.Exists, a.reading.Manifest = true, *m
		}
		w.lastRead[runTag{r.run, r.tag}] = r.sent
		if w.looked != nil {
			w.looked(r, a.reading)
		}
	}
	w.note(r, a)
	r.answer <- a
}

var seed = maphash.MakeSeed()

// note adds an answer to all that its run has seen.
func (w *world) note(r *request, a answer) {
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, w.seen[r.run])
	maphash.WriteComparable(&h, r.write)
	h.WriteString(r.tag)
	h.WriteString(a.reading.Manifest.Digest.Hex)
	maphash.WriteComparable(&h, a.err)
	maphash.WriteComparable(&h, time.Now().UnixNano())
	maphash.WriteComparable(&h, r.sent.UnixNano())
	w.seen[r.run] = h.Sum64()
}

// state is a hash of the repository and of all that the runs have seen.
func (w *world) state(h *maphash.Hash) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, tag := range slices.Sorted(maps.Keys(w.tags)) {
		h.WriteString(tag)
		for _, m := range w.tags[tag] {
			h.WriteString(m.Digest.Hex)
		}
	}
	for _, run := range slices.Sorted(maps.Keys(w.seen)) {
		maphash.WriteComparable(h, run)
		maphash.WriteComparable(h, w.seen[run])
	}
	for _, all := range [][]*request{w.sorted(w.waiting), w.late} {
		maphash.WriteComparable(h, len(all))
		for _, r := range all {
			maphash.WriteComparable(h, r.run)
			h.WriteString(r.tag)
			h.WriteString(r.m.Digest.Hex)
		}
	}
	maphash.WriteComparable(h, w.runs)
	maphash.WriteComparable(h, time.Now().UnixNano())
}

func (w *world) applyWrite(r *request, f fault) error {
	switch {
	case time.Now().After(r.notAfter):
		return registry.ErrOutdated
	case f == refused:
		return errNoAnswer
	case f == landLate:
		w.late = append(w.late, r)
		return errNoAnswer
	}
	if age := time.Since(w.lastRead[runTag{r.run, r.tag}]); age > fresh && w.lapse != nil {
		w.lapse(r, age)
	}
	w.take(r)
	if f == lost {
		return errNoAnswer
	}
	return nil
}

func (w *world) take(r *request) {
	w.put(r.tag, r.m)
	if w.written != nil {
		w.written(r)
	}
}

// land has the oldest late write take effect.
func (w *world) land() {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.late[0]
	w.late, r.landed = w.late[1:], true
	w.take(r)
}

// sorted are requests in an order that does not depend on the scheduler.
func (w *world) sorted(all []*request) []*request {
	return slices.SortedFunc(slices.Values(all), func(a, b *request) int {
		return cmp.Or(a.run-b.run, cmp.Compare(a.tag, b.tag))
	})
}

// ready are the runs that wait for an answer, lowest first.
func (w *world) ready() (runs []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.waiting {
		if !slices.Contains(runs, r.run) {
			runs = append(runs, r.run)
		}
	}
	slices.Sort(runs)
	return runs
}

// let answers all waiting requests of a run.
func (w *world) let(run int, f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f == kill {
		w.killed.Store(run, true)
	}
	all := w.sorted(w.waiting)
	w.waiting = slices.DeleteFunc(w.waiting, func(r *request) bool { return r.run == run })
	nth := 0
	for _, r := range all {
		switch {
		case r.run != run:
			continue
		case f == kill:
			r.answer <- answer{err: errKilled}
		case f == allStale, f == stale && nth == 0, f == staleToo && nth == 1:
			w.apply(r, stale)
		case f == stale || f == staleToo || f == landLate && nth > 0:
			w.apply(r, none)
		default:
			w.apply(r, f)
		}
		nth++
	}
}

// pending are how many reads and writes a run waits for.
func (w *world) pending(run int) (reads, writes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.waiting {
		switch {
		case r.run != run:
		case r.write:
			writes++
		default:
			reads++
		}
	}
	return reads, writes
}

// start runs something that may be killed.
func (w *world) start(do func()) {
	w.mu.Lock()
	w.runs++
	w.mu.Unlock()
	go func() {
		defer func() {
			w.mu.Lock()
			w.runs--
			w.mu.Unlock()
		}()
		do()
	}()
}

// await waits until runs wait for answers or have ended.
func (w *world) await() (ready []int, over bool) {
	for {
		synctest.Wait()
		if ready = w.ready(); len(ready) > 0 {
			return ready, false
		}
		w.mu.Lock()
		ended := w.runs == 0
		w.mu.Unlock()
		if ended {
			return nil, true
		}
		time.Sleep(500 * time.Millisecond) // all runs wait for time to pass
	}
}

// image is a manifest of some bytes.
func image(text string) registry.Manifest {
	return registry.NewManifest(string(types.OCIManifestSchema1), fmt.Appendf(nil, `{"schemaVersion":2,"annotations":{"name":%q}}`, text))
}

// left is how many runs have not ended.
func (w *world) left() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs
}
