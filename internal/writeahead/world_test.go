package writeahead

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
	late    []*request // writes whose answers were lost, and which did not take effect yet
	runs    int        // that have not ended
	noClock bool
	ahead   time.Duration // of the registry's clock
	writes  map[int][]string
	watch   func() // called after each write; nil: nothing watches
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
}

type answer struct {
	reading registry.TagReading
	err     error
	killed  bool
}

// fault is what happens to the requests of a run that are waiting.
type fault int

const (
	none     fault = iota
	kill           // the run is killed; its requests never reach the registry
	lost           // they take effect, and their answers are lost
	refused        // they do not take effect, and have no answer
	landLate       // a write has no answer, and takes effect later
	stale          // a read shows what was there before
	paused         // the run stands still for three minutes first
	faults
)

func (f fault) String() string {
	return []string{"", "kill", "lost answer", "no effect", "lands late", "stale", "paused"}[f]
}

var errNoAnswer = errors.New("no answer")

func newWorld() *world {
	return &world{tags: map[string][]registry.Manifest{}, writes: map[int][]string{}}
}

// store is the repository as one run sees it.
type store struct {
	*world
	run int
}

func (s store) Reference(tag string) string { return "registry.example/app:" + tag }

func (s store) PutBlob(context.Context, v1.Descriptor, []byte) error { return nil }

func (s store) ReadTag(ctx context.Context, tag string) (registry.TagReading, error) {
	return s.send(ctx, &request{run: s.run, tag: tag})
}

func (s store) WriteTag(ctx context.Context, tag string, m registry.Manifest, notAfter time.Time) error {
	_, err := s.send(ctx, &request{run: s.run, write: true, tag: tag, m: m, notAfter: notAfter})
	return err
}

func (s store) send(ctx context.Context, r *request) (registry.TagReading, error) {
	r.answer, r.sent = make(chan answer, 1), time.Now()
	s.mu.Lock()
	s.waiting = append(s.waiting, r)
	s.mu.Unlock()
	select {
	case a := <-r.answer:
		if a.killed {
			runtime.Goexit()
		}
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

func (w *world) put(tag string, m registry.Manifest) {
	w.tags[tag] = append(w.tags[tag], m)
	if w.watch != nil {
		w.watch()
	}
}

// apply answers a request with a fault.
func (w *world) apply(r *request, f fault) {
	if r.write {
		r.answer <- answer{err: w.applyWrite(r, f)}
		return
	}
	reading := registry.TagReading{Began: r.sent}
	if !w.noClock {
		reading.Clock = time.Now().Add(w.ahead).Truncate(time.Second)
	}
	ago := 0
	if f == stale && len(w.tags[r.tag]) > 1 {
		ago = 1
	}
	if m := w.held(r.tag, ago); m != nil {
		reading.Exists, reading.Manifest = true, *m
	}
	var err error
	if f == lost || f == refused {
		err = errNoAnswer
	}
	r.answer <- answer{reading, err, false}
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
	w.writes[r.run] = append(w.writes[r.run], r.tag)
	w.put(r.tag, r.m)
	if f == lost {
		return errNoAnswer
	}
	return nil
}

// land has the oldest late write take effect.
func (w *world) land() {
	r := w.late[0]
	w.late = w.late[1:]
	w.writes[r.run] = append(w.writes[r.run], r.tag)
	w.put(r.tag, r.m)
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
	var rest []*request
	for _, r := range w.waiting {
		switch {
		case r.run != run:
			rest = append(rest, r)
		case f == kill:
			r.answer <- answer{killed: true}
		default:
			w.apply(r, f)
			if f == stale || f == landLate { // one of them
				f = none
			}
		}
	}
	w.waiting = rest
}

// writesNow reports whether a run waits with a write.
func (w *world) writesNow(run int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.waiting, func(r *request) bool { return r.run == run && r.write })
}

// start runs something that may be killed.
func (w *world) start(do func()) {
	w.runs++
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

// drain lets every run go on to its end, without faults.
func (w *world) drain() {
	for {
		ready, over := w.await()
		if over {
			return
		}
		w.let(ready[0], none)
	}
}

// image is a manifest of some bytes.
func image(text string) registry.Manifest {
	return registry.NewManifest(string(types.OCIManifestSchema1), fmt.Appendf(nil, `{"schemaVersion":2,"annotations":{"name":%q}}`, text))
}
