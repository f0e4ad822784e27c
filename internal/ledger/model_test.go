package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var deep = flag.Bool("model", false, "explore more interleavings and faults")

var key = ForEnvironment("production")

var environmentTags = []string{"production", "latest"}

// runner is one promotion of an image to two tags, by the rules that the promotion follows.
type runner struct {
	n     int
	world *world
	image registry.Manifest
	mode  document.Mode
	run   Run
	after int           // it starts when the run of that number, from 1, has ended or was killed
	delay time.Duration // after that
	alone bool          // nothing that it does is faulty: it comes to look at what others left

	session  *Session
	found    map[string]string
	pointsTo map[string]string
	began    bool        // it has begun to move tags
	moved    bool        // it has moved one
	shown    [2]head     // the heads as it has read them last
	known    head        // everything that it has read
	hasRival bool        // its last look at the heads has shown another run, which came meanwhile
	alarm    string      // what its last look at the heads has shown that forbids to move tags
	over     atomic.Bool // it has ended, or was killed
	took     time.Duration
	err      error // how it ended
}

func (r *runner) String() string { return string(rune('A' + r.n)) }

func (r *runner) killed() bool {
	_, killed := r.world.killed.Load(r.n)
	return killed
}

// good is the state that the run ends with.
func (r *runner) good() document.Outcome {
	if r.mode == document.ModeRollback {
		return document.OutcomeRolledBack
	}
	return document.OutcomePromoted
}

func (r *runner) promote(ctx context.Context) error {
	s := steppedStore{r.world, r.n}
	l := Open(s, key, r.run)
	ids := 0
	newID := func() string { ids++; return fmt.Sprintf("%v%d", r, ids) }
	l.parsed, l.random = &parsed, func() float64 { return 0.5 + 0.1*float64(r.n) }
	v, err := l.Read(ctx)
	if err != nil {
		return err
	}
	r.session, err = l.Begin(ctx, v, newID(), environmentTags, r.draft, func(string) {})
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
		err = r.confirm(ctx, begun)
	}
	if err == nil {
		return r.session.Finish(ctx, r.good(), r.pointsTo)
	}
	return errors.Join(err, r.revert(ctx, s, begun))
}

func (r *runner) draft(_ context.Context, start Start) (Entry, error) {
	r.found = start.Found
	after := r.image.Digest.String()
	e := Entry{
		Record: v1.Descriptor{MediaType: document.RecordMediaType, Digest: digestOf([]byte(start.ID)), Size: 10},
		Line:   document.Line{Mode: r.mode, Digest: after, Tags: environmentTags, Time: time.Now()},
	}
	for _, tag := range environmentTags {
		e.Tags = append(e.Tags, Tag{Name: tag, Found: start.Found[tag], Back: start.Found[tag], After: after})
	}
	return e, nil
}

// move points a tag to an image, where it points to what was found.
func (r *runner) move(ctx context.Context, s Store, tag, found string, to registry.Manifest) error {
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
func (r *runner) confirm(ctx context.Context, tags []string) (err error) {
	began := time.Now()
	for nth := 0; ; nth++ {
		if r.pointsTo, err = r.session.readTags(ctx, slices.Clone(tags)); err != nil {
			return err
		}
		wrong := ""
		for _, tag := range tags {
			if r.pointsTo[tag] != r.image.Digest.String() {
				wrong = tag
			}
		}
		if wrong == "" {
			return nil
		}
		if time.Since(began) > lag {
			return errors.New(wrong + " does not point to the image")
		}
		if err := pause(ctx, nth); err != nil {
			return err
		}
	}
}

// revert makes tags what they were, where they point to this run's image and its entry is open.
func (r *runner) revert(ctx context.Context, s Store, begun []string) error {
	for _, tag := range begun {
		if err := r.session.Check(ctx); err != nil {
			break
		}
		if was := r.world.byDigest(r.found[tag]); was != nil {
			_ = r.move(ctx, s, tag, r.image.Digest.String(), *was)
		}
	}
	held, err := r.session.readTags(ctx, slices.Clone(environmentTags))
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
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, all := range w.tags {
		for _, m := range all {
			if m.Digest.String() == digest {
				return &m
			}
		}
	}
	return nil
}

// trial is one way in which runs can go on side by side.
type trial struct {
	choices []int    // taken so far, or to be taken
	options []int    // how many there were
	trace   []string // what they were
	at      int
	visited map[uint64]bool // states that were reached with as many preemptions and faults left

	bounds
	world               *world
	runners             []*runner
	used                map[fault]bool
	preempted, failures int // how often a run was
	broken              error

	finals  map[string]document.Outcome // of entries, as written first
	entered map[string]bool             // IDs of entries that were in the ledger
	edited  map[string]bool             // tags that a hand has moved, while the first run had no entry yet
	touched map[string]bool             // tags that a hand has moved
}

// bounds are what may still happen.
type bounds struct {
	preemptions, faults, kills int
	hands                      int // how often a hand moves the last tag
}

func (b bounds) String() string {
	return fmt.Sprintf("%d preemptions, %d faults, %d kills, %d hands", b.preemptions, b.faults, b.kills, b.hands)
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
			return append(slices.Clone(x.choices[:n]), x.choices[n]+1)
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
	w.put(key.head(0), head{sequence: 3}.encode(key))
	w.put(key.head(1), head{sequence: 4}.encode(key))
	return w
}

// step is one action: of one run, with or without a fault, or of a hand or the network.
type step struct {
	run int
	fault
	land, hand bool
}

func (s step) String() string {
	switch {
	case s.land:
		return "late write lands"
	case s.hand:
		return "a hand moves " + environmentTags[1]
	}
	return strings.TrimSpace(fmt.Sprintf("%c %v", 'A'+s.run, s.fault))
}

// steps are what may happen now; the first needs no preemption and no fault.
func (x *trial) steps(ready []int, current int) (all []step) {
	run := ready[max(0, slices.Index(ready, current))]
	all = append(all, step{run: run})
	if x.preemptions > 0 {
		for _, other := range ready {
			if other != run {
				all = append(all, step{run: other})
			}
		}
	}
	if len(x.world.late) > 0 {
		all = append(all, step{land: true})
	}
	if x.hands > 0 {
		all = append(all, step{hand: true})
	}
	if x.runners[run].alone {
		return all
	}
	if x.kills > 0 {
		all = append(all, step{run: run, fault: kill})
	}
	if x.faults > 0 {
		all = append(all, x.faultsOf(run)...)
	}
	return all
}

func (x *trial) faultsOf(run int) (all []step) {
	reads, writes := x.world.pending(run)
	for f := lost; f < faults; f++ {
		switch f { //nolint:exhaustive // the others need no request of a kind
		case lost, refused, landLate:
			if writes == 0 {
				continue
			}
		case stale, staleToo, allStale:
			if reads <= int(f-stale) && f != allStale || f == allStale && reads < 2 {
				continue
			}
		}
		all = append(all, step{run: run, fault: f})
	}
	return all
}

// start starts the runs that wait for another one to end.
func (x *trial) start(ctx context.Context) {
	for _, r := range x.runners {
		if r.world != nil || r.after > 0 && !x.runners[r.after-1].over.Load() {
			continue
		}
		r.world = x.world
		x.world.start(func() {
			time.Sleep(r.delay)
			began := time.Now()
			r.err = r.promote(ctx)
			r.took = time.Since(began)
			if r.over.Store(true); !r.killed() {
				x.check(r)
			}
		})
	}
}

func (x *trial) play(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x.finals, x.entered, x.used, x.edited, x.touched = map[string]document.Outcome{}, map[string]bool{}, map[fault]bool{}, map[string]bool{}, map[string]bool{}
	x.world.looked, x.world.written, x.world.lapse = x.look, x.watch, x.lapsed
	current := 0
	for n := 0; x.broken == nil; n++ {
		x.start(ctx)
		ready, over := x.world.await()
		if over {
			if x.start(ctx); x.world.left() > 0 {
				continue
			}
			break
		}
		if n > 1000 {
			x.fail("it does not end")
			break
		}
		if x.at >= len(x.choices) && x.isKnown(current) {
			x.stop()
			return
		}
		all := x.steps(ready, current)
		s := all[x.choose(len(all))]
		current = x.take(s, ready, current)
	}
	if x.broken != nil {
		x.stop()
		return
	}
	for len(x.world.late) > 0 {
		x.world.land()
	}
	x.checkAll()
}

// stop kills all runs.
func (x *trial) stop() {
	for {
		for _, r := range x.runners {
			x.world.let(r.n, kill)
		}
		if _, over := x.world.await(); over {
			return
		}
	}
}

// take does a step, and returns which run goes on if nothing preempts it.
func (x *trial) take(s step, ready []int, current int) int {
	x.trace = append(x.trace, fmt.Sprintf("%s [%s]", s, x.pending(s)))
	switch {
	case s.land:
		x.world.land()
		return current
	case s.hand:
		x.hands--
		x.moveByHand()
		return current
	case s.fault == kill:
		x.kills--
		x.runners[s.run].over.Store(true)
	case s.fault != none:
		x.faults--
		x.failures++
	case s.run != current && slices.Contains(ready, current):
		x.preemptions--
		x.preempted++
	}
	x.used[s.fault] = true
	if s.fault == paused {
		time.Sleep(3 * time.Minute)
		x.preemptions++ // the run that was paused may continue at any time
		return (s.run + 1) % len(x.runners)
	}
	x.world.let(s.run, s.fault)
	return s.run
}

func (x *trial) moveByHand() {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	tag := environmentTags[1]
	x.world.put(tag, image("hand"))
	x.touched[tag] = true
	if !x.entered["A1"] {
		x.edited[tag] = true
	}
}

// isKnown reports whether everything that can follow was explored already.
func (x *trial) isKnown(current int) bool {
	var h maphash.Hash
	h.SetSeed(seed)
	x.world.state(&h)
	maphash.WriteComparable(&h, x.bounds)
	maphash.WriteComparable(&h, current)
	maphash.WriteComparable(&h, x.preempted)
	maphash.WriteComparable(&h, x.failures)
	for _, id := range slices.Sorted(maps.Keys(x.finals)) {
		h.WriteString(id + string(x.finals[id]))
	}
	for f := range faults {
		maphash.WriteComparable(&h, x.used[f])
	}
	for _, r := range x.runners {
		maphash.WriteComparable(&h, r.over.Load())
	}
	maphash.WriteComparable(&h, x.edited[environmentTags[1]])
	state := h.Sum64()
	if x.visited[state] {
		return true
	}
	x.visited[state] = true
	return false
}

func (x *trial) pending(s step) string {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	var all []string
	for _, r := range x.world.sorted(x.world.waiting) {
		if r.run == s.run && !s.land && !s.hand {
			verb := "read"
			if r.write {
				verb = "write"
			}
			all = append(all, verb+" "+strings.TrimPrefix(r.tag, "promotion-ledger.env."))
		}
	}
	return strings.Join(all, ", ")
}

func (x *trial) fail(format string, args ...any) {
	if x.broken == nil {
		x.broken = fmt.Errorf(format, args...)
	}
}

// parsed are the heads of all trials: most trials write the same ones.
var parsed sync.Map

// heads are the two heads, and the union of them.
func (x *trial) heads() (both [2]head, u head) {
	for n := range both {
		m := x.world.held(key.head(n), 0)
		if m == nil {
			continue
		}
		both[n] = x.parse(*m)
	}
	return both, union(both[0], both[1])
}

func (x *trial) parse(m registry.Manifest) head {
	known, ok := parsed.Load(m.Digest)
	if ok {
		return *known.(*head)
	}
	h, err := parseHead(m, key)
	if err != nil {
		x.fail("%v", err)
		return head{}
	}
	parsed.Store(m.Digest, h)
	return *h
}

// lapsed: no write rests on an old read.
func (x *trial) lapsed(r *request, age time.Duration) {
	x.fail("run %v writes %s, which it read %v ago", x.runners[r.run], r.tag, age)
}

// look sees every read: what the heads show a run.
func (x *trial) look(r *request, answer registry.TagReading) {
	if !strings.HasPrefix(r.tag, ledgerPrefix) {
		return
	}
	run := x.runners[r.run]
	if answer.Exists {
		h := x.parse(answer.Manifest)
		run.known = union(run.known, h)
		run.shown[slices.Index([]string{key.head(0), key.head(1)}, r.tag)] = h
	}
	if r.tag != key.head(1) || !x.entered[run.String()+"1"] {
		return
	}
	u := union(run.shown[0], run.shown[1])
	run.alarm, run.hasRival = "its entry is not open", false
	for _, e := range u.entries {
		switch {
		case strings.HasPrefix(e.ID, run.String()) && e.IsOpen():
			run.alarm = strings.TrimPrefix(run.alarm, "its entry is not open")
		case strings.HasPrefix(e.ID, run.String()):
		case e.IsOpen() && e.Moves(environmentTags):
			run.alarm += "another run is at work"
		}
		run.hasRival = run.hasRival || !strings.HasPrefix(e.ID, run.String()) && run.session != nil && !run.session.before[e.ID]
	}
}

// watch sees every write.
func (x *trial) watch(r *request) {
	_, u := x.heads()
	if !strings.HasPrefix(r.tag, ledgerPrefix) {
		x.watchTag(r, u)
		return
	}
	if h := x.parse(r.m); !r.landed && h.lacks(x.runners[r.run].known) {
		x.fail("run %v writes less than it has seen", x.runners[r.run])
	}
	for _, e := range u.entries {
		x.entered[e.ID] = true
		was, known := x.finals[e.ID]
		switch {
		case e.Fault != "":
			x.fail("entry %s: %s", e.ID, e.Fault)
		case e.IsOpen():
		case known && was != e.State() && x.wasKilledInRace():
		case known && was != e.State():
			x.fail("the final state %s of %s became %s", was, e.ID, e.State())
		case !known:
			x.finals[e.ID] = e.State()
			x.watchEnd(r, e)
		}
	}
}

// watchEnd sees that an entry has got a final state: nobody resolves that of a run which is at work.
func (x *trial) watchEnd(r *request, e Entry) {
	for _, owner := range x.runners {
		if owner.world != nil && owner.session != nil && owner.session.id == e.ID && owner.n != r.run && !owner.over.Load() && !x.used[paused] {
			x.fail("run %v resolves the entry of run %v, which is at work", x.runners[r.run], owner)
		}
	}
}

// watchTag sees each write to an environment's tag: its run's entry is open then.
func (x *trial) watchTag(r *request, u head) {
	run := x.runners[r.run]
	if !slices.Contains(environmentTags, r.tag) {
		x.fail("run %v writes the tag %s", run, r.tag)
	}
	if r.landed {
		return
	}
	if x.edited[environmentTags[1]] && !x.usedStale() && r.run == 0 && run.found[environmentTags[1]] != image("hand").Digest.String() {
		x.fail("run %v moves a tag although another one has moved since it read them", run)
	}
	if run.alarm != "" && !run.moved {
		x.fail("run %v moves its first tag, although %s", run, run.alarm)
	}
	run.moved = true
	at := u.find(run.session.id)
	switch {
	case at >= 0 && !u.entries[at].IsOpen():
		x.fail("run %v writes %s after its entry was resolved as %s", run, r.tag, u.entries[at].State())
	case at < 0 && !x.usedStale() && !x.used[landLate] && x.preempted == 0:
		x.fail("run %v writes %s while no entry says so", run, r.tag)
	}
}

func (x *trial) usedStale() bool { return x.used[stale] || x.used[staleToo] || x.used[allStale] }

// check looks at a run that has ended of its own accord.
func (x *trial) check(r *runner) {
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	if r.err != nil {
		return
	}
	heads, u := x.heads()
	if at := u.find(r.session.id); (at < 0 || u.entries[at].State() != r.good()) && !x.used[landLate] {
		x.fail("run %v exits 0, and the ledger does not say that it promoted", r)
	}
	for n, h := range heads {
		if h.find(r.session.id) < 0 && !x.usedStale() && !x.used[landLate] && x.preempted == 0 {
			x.fail("run %v exits 0, and head %d does not name it", r, n)
		}
	}
	for _, tag := range environmentTags {
		if got := x.world.digest(tag); !x.isExpected(r, got) && !x.touched[tag] && !x.used[landLate] && !x.usedStale() {
			if x.preempted+x.failures > 2 && x.hasLoser(r) && !r.hasRival {
				continue // that one exits 1
			}
			x.fail("run %v exits 0, and %s points to %s", r, tag, got)
		}
	}
}

// hasLoser reports whether another run has moved tags, and has not ended well.
func (x *trial) hasLoser(r *runner) bool {
	return slices.ContainsFunc(x.runners, func(o *runner) bool { return o != r && o.began && (!o.over.Load() || o.err != nil) })
}

// isExpected reports whether a tag of a run that has ended well points to its image, or to one of a
// run that came after it.
func (x *trial) isExpected(r *runner, digest string) bool {
	return slices.ContainsFunc(x.runners, func(o *runner) bool {
		return o.image.Digest.String() == digest && (o == r || o.found["production"] == r.image.Digest.String() && o.found["latest"] == r.image.Digest.String())
	})
}

func (x *trial) checkAll() {
	_, u := x.heads()
	for _, r := range x.runners {
		if r.session == nil || r.killed() || x.used[landLate] || x.usedStale() && x.preempted+x.failures > 1 {
			continue
		}
		at := u.find(r.session.id)
		switch {
		case r.err == nil && at >= 0 && u.entries[at].State() != r.good() && x.preempted < 2:
			x.fail("run %v has ended well, and in the end the ledger does not say so", r)
		case (r.began || r.err == nil) && at < 0:
			x.fail("run %v has moved tags, and in the end the ledger does not name it", r)
		}
	}
	x.checkRivals()
	x.checkTags(u)
	x.checkLater()
}

// checkRivals: where two have moved the tags at the same time, one exits 1.
func (x *trial) checkRivals() {
	for _, a := range x.runners {
		for _, b := range x.runners {
			if a.n >= b.n || !a.began || !b.began || a.killed() || b.killed() || a.err != nil || b.err != nil {
				continue
			}
			if a.found["production"] != b.image.Digest.String() && b.found["production"] != a.image.Digest.String() && b.after == 0 {
				x.fail("runs %v and %v have moved the tags at the same time, and both exit 0", a, b)
			}
		}
	}
}

// checkTags: what a tag points to is named by an entry.
func (x *trial) checkTags(u head) {
	for _, tag := range environmentTags {
		digest := x.world.digest(tag)
		named := digest == image("old").Digest.String() || digest == image("hand").Digest.String()
		for _, e := range u.entries {
			for _, t := range e.Tags {
				named = named || t.Name == tag && (t.After == digest || t.Held == digest)
			}
		}
		if !named && !x.wasKilledInRace() && !x.used[landLate] && !x.usedStale() {
			x.fail("%s points to %s, which no entry names", tag, digest)
		}
	}
}

// wasKilledInRace: a rival may have overwritten an entry in the seconds in which its read counted as
// fresh, and the run whose entry it was may have been killed before it could notice. Nothing but
// compare-and-swap can exclude that; an audit tells.
func (x *trial) wasKilledInRace() bool { return x.used[kill] && x.preempted+x.failures > 1 }

// checkLater: a run that is alone, and comes after others, promotes.
func (x *trial) checkLater() {
	for _, r := range x.runners {
		if !r.alone || x.used[landLate] || r.killed() || len(x.touched) > 0 {
			continue
		}
		if r.err != nil {
			x.fail("run %v was alone, and failed: %v", r, r.err)
		}
		before := x.runners[r.after-1]
		if again := before.run.precedes(r.run); again && r.took > time.Minute {
			x.fail("run %v took %v: it has waited for its own earlier attempt", r, r.took)
		}
	}
	if x.isUndisturbed() {
		for _, r := range x.runners {
			if r.err != nil {
				x.fail("nothing disturbed run %v, and it failed: %v", r, r.err)
			}
		}
	}
}

// isUndisturbed reports whether runs went on one after the other, without any fault that a run has
// to fail of.
func (x *trial) isUndisturbed() bool {
	return !x.used[kill] && !x.used[landLate] && !x.used[paused] && !x.usedStale() && x.preempted == 0 && len(x.touched) == 0
}

// scenario is a set of runs, and what may happen to them.
type scenario struct {
	name        string
	runs        func() []*runner
	plain, deep []bounds
}

func newRun(n int, id string, attempt int) *runner {
	return &runner{n: n, image: image(string(rune('A' + n))), mode: document.ModePromote, run: Run{ID: id, Attempt: attempt, URL: "run/" + id}}
}

var scenarios = []scenario{
	{
		"two rivals",
		func() []*runner { return []*runner{newRun(0, "1", 1), newRun(1, "2", 1)} },
		[]bounds{{preemptions: 5}, {preemptions: 1, faults: 1}},
		[]bounds{{preemptions: 6}, {preemptions: 2, faults: 1}, {preemptions: 1, faults: 2}, {preemptions: 2, faults: 1, kills: 1}},
	},
	{
		"a run whose tags a hand moves",
		func() []*runner { return []*runner{newRun(0, "1", 1)} },
		[]bounds{{hands: 1}, {hands: 1, faults: 1}},
		nil,
	},
	{
		"a later run, after one that was killed",
		func() []*runner {
			later := newRun(1, "2", 1)
			later.after, later.alone = 1, true
			return []*runner{newRun(0, "1", 1), later}
		},
		[]bounds{{kills: 1}},
		[]bounds{{kills: 1, faults: 1}},
	},
	{
		"a rollback after a promotion that was killed",
		func() []*runner {
			later := newRun(1, "2", 1)
			later.after, later.alone, later.image, later.mode = 1, true, image("old"), document.ModeRollback
			return []*runner{newRun(0, "1", 1), later}
		},
		[]bounds{{kills: 1}},
		[]bounds{{kills: 1, faults: 1}},
	},
	{
		"the same run's later attempt",
		func() []*runner {
			later := newRun(1, "1", 2)
			later.after, later.alone, later.image = 1, true, image("A")
			return []*runner{newRun(0, "1", 1), later}
		},
		[]bounds{{kills: 1}},
		[]bounds{{kills: 1, faults: 1}},
	},
	{
		"two rivals after one that was killed",
		func() []*runner {
			all := []*runner{newRun(0, "1", 1), newRun(1, "2", 1), newRun(2, "3", 1)}
			all[1].after, all[2].after = 1, 1
			all[1].delay, all[2].delay = lease, lease
			return all
		},
		[]bounds{{preemptions: 1, kills: 1}},
		[]bounds{{preemptions: 2, kills: 1}, {preemptions: 1, kills: 1, faults: 1}},
	},
}

// TestModel explores how runs can go on side by side, with at most so many preemptions and faults.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, s := range scenarios {
		all := s.plain
		if testing.Short() {
			all = all[:min(1, len(all))]
		}
		if *deep {
			all = slices.Concat(s.plain, s.deep)
		}
		for _, b := range all {
			t.Run(s.name+"/"+b.String(), func(t *testing.T) {
				t.Parallel()
				explore(t, s, b)
			})
		}
	}
}

func explore(t *testing.T, s scenario, b bounds) {
	trials, visited := 0, map[uint64]bool{}
	for choices := []int{}; choices != nil; trials++ {
		x := &trial{choices: choices, bounds: b, visited: visited}
		synctest.Test(t, func(t *testing.T) {
			x.world, x.runners = seeded(), s.runs()
			x.play(t.Context())
		})
		if x.broken != nil {
			var ends []string
			for _, r := range x.runners {
				ends = append(ends, fmt.Sprintf("%v: %v", r, r.err))
			}
			t.Fatalf("trial %d: %v\n%s\n%s", trials, x.broken, strings.Join(x.trace[max(0, len(x.trace)-60):], "\n"), strings.Join(ends, "\n"))
		}
		choices = x.next()
	}
	t.Logf("%d trials, %d states", trials, len(visited))
}
