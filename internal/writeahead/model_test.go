package writeahead

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var deep = flag.Bool("model", false, "explore more interleavings and faults")

var key = ForEnvironment("production")

// runner is one promotion of an image to two tags, by the rules that the promotion follows.
type runner struct {
	n     int
	world *world
	image registry.Manifest
	run   Run

	session  *Session
	found    map[string]string
	began    bool  // it has begun to move tags
	ended    bool  // it was not killed
	err      error // how it ended
	pointsTo map[string]string
}

var environmentTags = []string{"production", "latest"}

func (r *runner) promote(ctx context.Context) error {
	s := store{r.world, r.n}
	l := Open(s, key, r.run)
	v, err := l.Read(ctx)
	if err != nil {
		return err
	}
	r.session, err = l.Begin(ctx, v, environmentTags, r.draft, func(string) {})
	if err != nil {
		return err
	}
	var begun []string
	for _, tag := range environmentTags {
		if err = r.session.Check(ctx); err != nil {
			break
		}
		if !r.session.MayWrite() {
			err = errors.New("the lease is too old to begin")
			break
		}
		r.began = true
		begun = append(begun, tag)
		if err = r.move(ctx, s, tag, r.found[tag], r.image); err != nil {
			break
		}
	}
	if err == nil {
		err = r.confirm(ctx, s, begun)
	}
	if err == nil {
		return r.session.Finish(ctx, document.OutcomePromoted, r.pointsTo)
	}
	return errors.Join(err, r.revert(ctx, s, begun))
}

func (r *runner) draft(_ context.Context, start Start) (Entry, error) {
	r.found = start.Found
	after := r.image.Digest.String()
	e := Entry{
		Record: v1.Descriptor{MediaType: document.RecordMediaType, Digest: digestOf([]byte(start.ID)), Size: 10},
		Line:   document.Line{Mode: document.ModePromote, Digest: after, Tags: environmentTags, Time: time.Now()},
	}
	for _, tag := range environmentTags {
		e.Tags = append(e.Tags, Tag{Name: tag, Found: start.Found[tag], Back: start.Found[tag], After: after})
	}
	return e, nil
}

// move points a tag to an image, where it points to what was found.
func (r *runner) move(ctx context.Context, s store, tag, found string, to registry.Manifest) error {
	for nth := range tries {
		now, err := s.ReadTag(ctx, tag)
		if err != nil {
			return err
		}
		held := ""
		if now.Exists {
			held = now.Manifest.Digest.String()
		}
		switch held {
		case to.Digest.String():
			return nil
		case found:
		default:
			return errors.New("taken")
		}
		if !r.session.MayWrite() {
			return errors.New("the lease is too old to write")
		}
		if err = s.WriteTag(ctx, tag, to, now.Began.Add(fresh)); err == nil {
			return nil
		}
		if err := pause(ctx, nth); err != nil {
			return err
		}
	}
	return errors.New("no answer")
}

// confirm reads the tags until they point to the image.
func (r *runner) confirm(ctx context.Context, s store, tags []string) (err error) {
	began := time.Now()
	for nth := 0; ; nth++ {
		if r.pointsTo, err = r.session.readTags(ctx, append([]string(nil), tags...)); err != nil {
			return err
		}
		wrong := ""
		for _, tag := range tags {
			if r.pointsTo[tag] != r.image.Digest.String() {
				wrong = tag
			}
		}
		if wrong == "" || time.Since(began) > lag {
			if wrong != "" {
				err = errors.New(wrong + " does not point to the image")
			}
			return err
		}
		if err := pause(ctx, nth); err != nil {
			return err
		}
	}
}

// revert makes tags what they were, where they point to this run's image and its entry is open.
func (r *runner) revert(ctx context.Context, s store, begun []string) error {
	for _, tag := range begun {
		if err := r.session.Check(ctx); err != nil {
			break
		}
		if was := r.world.byDigest(r.found[tag]); was != nil {
			_ = r.move(ctx, s, tag, r.image.Digest.String(), *was)
		}
	}
	held, err := r.session.readTags(ctx, append([]string(nil), environmentTags...))
	if err != nil {
		return err
	}
	state := document.OutcomeFailed
	for tag, digest := range held {
		if digest == r.image.Digest.String() && r.found[tag] != digest {
			state = document.OutcomeInterrupted
		}
	}
	return r.session.Finish(ctx, state, held)
}

func (w *world) byDigest(digest string) *registry.Manifest {
	for _, all := range w.tags {
		for _, m := range all {
			if m.Digest.String() == digest {
				return &m
			}
		}
	}
	return nil
}

// trial is one way in which two runs can go on side by side.
type trial struct {
	choices []int    // taken so far, or to be taken
	options []int    // how many there were
	trace   []string // what they were
	at      int

	preemptions, faults int // that are still allowed
	world               *world
	runners             []*runner
	finals              map[string]document.Outcome
	broken              error
}

// choose takes one of n options.
func (x *trial) choose(n int) int {
	if x.at == len(x.choices) {
		x.choices = append(x.choices, 0)
	}
	x.options = append(x.options[:x.at], n)
	c := x.choices[x.at]
	x.at++
	return c
}

// next is the choices of the next trial; nil: there is none.
func (x *trial) next() []int {
	for n := len(x.options) - 1; n >= 0; n-- {
		if x.choices[n]+1 < x.options[n] {
			return append(append([]int(nil), x.choices[:n]...), x.choices[n]+1)
		}
	}
	return nil
}

// seeded is a world with a ledger and an old image.
func seeded() *world {
	w := newWorld()
	old := image("old")
	for _, tag := range environmentTags {
		w.put(tag, old)
	}
	w.put(key.head(0), head{sequence: 1}.encode(key))
	w.put(key.head(1), head{sequence: 2}.encode(key))
	return w
}

// step is one action: of one run, with or without a fault.
type step struct {
	run int
	fault
	land bool
}

func (s step) String() string {
	if s.land {
		return "late write lands"
	}
	return strings.TrimSpace(fmt.Sprintf("%c %v", 'A'+s.run, s.fault))
}

// steps are what may happen now; the first needs no preemption and no fault.
func (x *trial) steps(ready []int, current int) (all []step) {
	at := 0
	for n, run := range ready {
		if run == current {
			at = n
		}
	}
	all = append(all, step{run: ready[at]})
	for n, run := range ready {
		if n != at && x.preemptions > 0 {
			all = append(all, step{run: run})
		}
	}
	if len(x.world.late) > 0 {
		all = append(all, step{land: true})
	}
	if x.faults == 0 {
		return all
	}
	run := ready[at]
	for f := kill; f < faults; f++ {
		if (f == lost || f == refused || f == landLate) && !x.world.writesNow(run) || f == stale && x.world.writesNow(run) {
			continue
		}
		all = append(all, step{run: run, fault: f})
	}
	return all
}

func (x *trial) play(t *testing.T) {
	x.finals = map[string]document.Outcome{}
	x.world.watch = x.watch
	for _, r := range x.runners {
		x.world.start(func() {
			r.err = r.promote(t.Context())
			r.ended = true
			if r.err == nil {
				x.check(r)
			}
		})
	}
	current := 0
	for n := 0; ; n++ {
		ready, over := x.world.await()
		if over {
			break
		}
		if n > 400 {
			x.broken = errors.New("it does not end")
			for _, run := range ready {
				x.world.let(run, kill)
			}
			continue
		}
		all := x.steps(ready, current)
		s := all[x.choose(len(all))]
		x.trace = append(x.trace, fmt.Sprintf("%s [%s]", s, x.pending(s)))
		switch {
		case s.land:
			x.world.land()
			continue
		case s.fault != none:
			x.faults--
		case s.run != current && contains(ready, current):
			x.preemptions--
		}
		current = s.run
		if s.fault == paused {
			time.Sleep(3 * time.Minute)
			s.fault = none
			for len(x.world.late) > 0 {
				x.world.land()
			}
			x.yield(s.run)
		}
		x.world.let(s.run, s.fault)
	}
	for len(x.world.late) > 0 {
		x.world.land()
	}
	x.checkAll(t)
}

// yield lets the other runs end while one is paused.
func (x *trial) yield(but int) {
	for {
		synctest.Wait()
		ready := x.world.ready()
		at := -1
		for _, run := range ready {
			if run != but {
				at = run
			}
		}
		if at >= 0 {
			x.world.let(at, none)
			continue
		}
		others := 0
		for _, r := range x.runners {
			if r.n != but && !r.ended && r.err == nil {
				others++
			}
		}
		if others == 0 || x.world.alone(but) {
			return
		}
		time.Sleep(time.Second)
	}
}

// alone reports whether no other run is left.
func (w *world) alone(int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.runs <= 1
}

func (x *trial) pending(s step) string {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	var all []string
	for _, r := range x.world.waiting {
		if r.run == s.run && !s.land {
			verb := "read"
			if r.write {
				verb = "write"
			}
			all = append(all, verb+" "+strings.TrimPrefix(r.tag, "promotion-ledger.env."))
		}
	}
	return strings.Join(all, ", ")
}

func contains(all []int, n int) bool {
	for _, one := range all {
		if one == n {
			return true
		}
	}
	return false
}

// union is what the two heads say now.
func (w *world) union() (u head, err error) {
	for n := range 2 {
		m := w.held(key.head(n), 0)
		if m == nil {
			continue
		}
		h, err := parseHead(*m, key)
		if err != nil {
			return u, err
		}
		u = union(u, *h)
	}
	return u, nil
}

// watch sees every write: a final state is never replaced.
func (x *trial) watch() {
	u, err := x.world.union()
	if err != nil {
		x.broken = err
		return
	}
	for _, e := range u.entries {
		if e.Fault != "" {
			x.broken = errors.New(e.Fault)
		}
		was, known := x.finals[e.ID]
		switch {
		case e.IsOpen():
		case known && was != e.State():
			x.broken = fmt.Errorf("the final state %s of %s became %s", was, e.ID, e.State())
		default:
			x.finals[e.ID] = e.State()
		}
	}
}

// check looks at a run that says that all is done.
func (x *trial) check(r *runner) {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	u, err := x.world.union()
	if err != nil {
		x.broken = err
		return
	}
	at := u.find(r.session.id)
	if at < 0 || u.entries[at].State() != document.OutcomePromoted {
		x.broken = fmt.Errorf("run %c exits 0, and the ledger does not say that it promoted", 'A'+r.n)
	}
}

func (x *trial) checkAll(t *testing.T) {
	if x.broken != nil {
		return
	}
	moved, exits := 0, 0
	overlapped := true
	for _, r := range x.runners {
		if r.began && r.ended {
			moved++
			if r.err == nil {
				exits++
			}
		}
		for _, other := range x.runners {
			if other != r && r.found != nil && r.found["production"] == other.image.Digest.String() {
				overlapped = false // one after the other
			}
		}
	}
	if moved == 2 && exits == 2 && overlapped {
		x.broken = errors.New("both runs have moved the tags at the same time, and both exit 0")
	}
	for _, tag := range environmentTags {
		known := x.world.digest(tag) == image("old").Digest.String()
		for _, r := range x.runners {
			known = known || x.world.digest(tag) == r.image.Digest.String()
		}
		if !known {
			x.broken = fmt.Errorf("tag %s points to something that no run has moved it to", tag)
		}
	}
	for _, r := range x.runners {
		for _, tag := range x.world.writes[r.n] {
			if !Reserved(tag) && !contains([]int{0, 1}, indexOf(environmentTags, tag)) {
				x.broken = fmt.Errorf("run %c wrote the tag %s", 'A'+r.n, tag)
			}
		}
	}
}

func indexOf(all []string, one string) int {
	for n, s := range all {
		if s == one {
			return n
		}
	}
	return -1
}

// TestModel explores how two runs can go on side by side, with at most so many preemptions and
// faults.
func TestModel(t *testing.T) {
	t.Parallel()
	bounds := []struct{ preemptions, faults int }{{2, 0}, {1, 1}}
	if *deep {
		bounds = append(bounds, struct{ preemptions, faults int }{4, 0}, struct{ preemptions, faults int }{2, 1}, struct{ preemptions, faults int }{1, 2})
	}
	for _, b := range bounds {
		t.Run(fmt.Sprintf("%d preemptions, %d faults", b.preemptions, b.faults), func(t *testing.T) {
			t.Parallel()
			trials := 0
			for choices := []int{}; choices != nil; trials++ {
				x := &trial{choices: choices, preemptions: b.preemptions, faults: b.faults}
				synctest.Test(t, func(t *testing.T) {
					x.world = seeded()
					x.runners = []*runner{
						{n: 0, world: x.world, image: image("A"), run: Run{ID: "1", Attempt: 1, URL: "run/1"}},
						{n: 1, world: x.world, image: image("B"), run: Run{ID: "2", Attempt: 1, URL: "run/2"}},
					}
					x.play(t)
				})
				if x.broken != nil {
					t.Fatalf("%v\n%s\nA: %v\nB: %v", x.broken, strings.Join(x.trace, "\n"), x.runners[0].err, x.runners[1].err)
				}
				choices = x.next()
			}
			t.Logf("%d trials", trials)
		})
	}
}
