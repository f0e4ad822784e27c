package promote_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

// TestKill promotes in a process of its own, which is killed without warning as its n-th request arrives or a little
// after: n is spread over the whole of the run. Then every tag is the old digest, or the new one with everything below
// it; and the next run completes what is missing.
func TestKill(t *testing.T) {
	t.Parallel()
	long(t)
	var all []setting
	for _, s := range settings() {
		s.layers, s.images = 2, min(2, s.images)
		switch s.name {
		case "across", "across with the API and tokens", "merge", "several images":
			all = append(all, s)
		}
	}
	all = append(all, setting{name: "release", images: 3, layers: 1, layerSize: 10, verify: "blobs", bare: true})
	all = atVendors(all, vendorsFor)
	for n, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			share := *kills / len(all)
			if n == 0 {
				share += *kills % len(all)
			}
			if s.bare {
				share *= 3 // one for each kind of run that may come next
			}
			newMurder(t, s).run(t, share)
		})
	}
}

// TestKillRollback rolls a release of two images back in a process that is killed like those of TestKill. Then every tag
// holds what it held, or what the rollback goes to, and of that there is an entry. The same run once more completes it; a
// rollback in a new run does so too, and goes further back only if the ledgers say that the one that was killed had come
// to its end; and another promotion moves its own tags. What the ledger lists is what has happened.
func TestKillRollback(t *testing.T) {
	long(t)
	t.Parallel()
	s := setting{name: "rollback", images: 2, layers: 1, layerSize: 10, verify: "blobs", bare: true, vendor: vendorsCut[false][0]}
	m := newMurder(t, s)
	whole := m.backWhole(t)
	dice := rand.New(rand.NewPCG(killSeed, 1))
	var g errgroup.Group
	g.SetLimit(4)
	killedRollbacks := max(*kills/4, 4)
	for n := range killedRollbacks {
		at := 1 + (n*whole+dice.IntN(whole))/killedRollbacks
		after := time.Duration(dice.Int64N(int64(5 * time.Millisecond)))
		g.Go(func() error {
			next := sequel(n % int(sequels))
			if next == anew {
				next = backward
			}
			if err := m.killBack(t, fmt.Sprintf("back-%d-", n), int32(at), after, next); err != nil {
				t.Errorf("killed %s after request %d of %d, then %s: %v", after, at, whole, next, err)
			}
			return nil
		})
	}
	_ = g.Wait()
}

// promoted is a world of which everything is promoted, in two runs: from what was there to the next images, and to ours.
func (m *murder) promoted(t *testing.T, prefix string) *world {
	t.Helper()
	w := m.world(t, prefix)
	w.fixed = ""
	if err := w.addNext(t.Context()); err != nil {
		t.Error(err)
	}
	for _, r := range []promote.Request{w.succeeds(another), w.request()} {
		r.Lease = settle
		expect(t, promote.Run(t.Context(), w.client(nil, "before"), r, &watcher{}), document.Promoted)
	}
	return w
}

func (m *murder) backWhole(t *testing.T) int {
	t.Helper()
	w, v := m.promoted(t, "back-whole-"), &victim{at: -1}
	m.victims.Store("back-whole-", v)
	if out, err := m.back(t.Context(), w, "back-whole-").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range w.parcels {
		if err := w.listed(t.Context(), p, nextOf(p).Root, p.image.Root, nextOf(p).Root); err != nil {
			t.Fatal(err)
		}
	}
	return int(v.count.Load())
}

func (m *murder) back(ctx context.Context, w *world, agent string) *exec.Cmd {
	j := job{Agent: agent, Auth: w.auth, Run: agent, Back: true}
	for _, p := range w.parcels {
		to := w.target.Host() + "/" + p.repo
		j.Source, j.Target = append(j.Source, to), append(j.Target, []string{to + ":production"})
	}
	return m.start(ctx, j)
}

func (m *murder) killBack(t *testing.T, name string, at int32, after time.Duration, next sequel) error {
	w, v := m.promoted(t, name), &victim{at: at, now: make(chan struct{})}
	m.victims.Store(name, v)
	if _, err := m.strike(m.back(t.Context(), w, name), v, after); err != nil {
		return err
	}
	l, err := w.leftBack(t.Context(), name)
	if err != nil {
		return err
	}
	r := w.back()
	switch r.Lease = settle; next {
	case rerun:
		r.Job.RunID, r.Job.Attempt = name, "2"
	case onwards:
		r = w.again()
		r.Lease = settle
	default:
		r.Job.RunID = "another"
	}
	d := promote.Run(t.Context(), w.client(nil, "again"), r, &watcher{})
	var all []error
	for _, p := range w.parcels {
		lines, err := w.linesBack(t.Context(), p, name, next, l)
		if err != nil {
			return err
		}
		now, _, err := regtest.TagDigest(t.Context(), w.at(w.target), p.repo, "production")
		if holds := lines[len(lines)-1]; err == nil && now != holds {
			err = fmt.Errorf("%s:production holds %s, not %s", p.repo, now, holds)
		}
		all = append(all, err, w.listed(t.Context(), p, lines...))
	}
	if err := errors.Join(all...); err != nil || d.Result.ExitCode() != 0 {
		return fmt.Errorf("%+v is left, the next run ends as %s: %+v, %q: %w", l, d.Result, d.Faults, d.Notices, err)
	}
	return nil
}

// leftBack is what a rollback has left that was killed.
type leftBack struct {
	moved, good, open int // repositories whose tag has gone back, and whose entries say so, and say nothing yet
}

func (w *world) leftBack(ctx context.Context, run string) (l leftBack, err error) {
	if l.moved, err = w.backMoved(ctx); err != nil {
		return l, err
	}
	for _, p := range w.parcels {
		good, open, err := w.entryBack(ctx, p, run)
		if err != nil {
			return l, err
		}
		if good {
			l.good++
		}
		if open {
			l.open++
		}
	}
	return l, nil
}

// entryBack reports whether an entry of a run says that it has gone back, or says nothing yet.
func (w *world) entryBack(ctx context.Context, p *parcel, run string) (good, open bool, err error) {
	entries, err := readEntries(ctx, w.at(w.target), p.repo, "production")
	for _, e := range entries {
		if e.intent.Run.ID == run {
			good, open = good || e.good(), open || e.outcome.State == "pending"
		}
	}
	return good, open, err
}

// linesBack is what the ledger lists after the next run. A rollback over one that did not come to its end finishes that,
// which is an entry of its own where it had something left to write.
func (w *world) linesBack(ctx context.Context, p *parcel, run string, next sequel, l leftBack) ([]string, error) {
	ours, before := p.image.Root, nextOf(p).Root
	lines := []string{before, ours}
	counts, _, err := w.entryBack(ctx, p, run)
	if err != nil {
		return nil, err
	}
	if counts && next != rerun {
		lines = append(lines, before)
	}
	another, _, err := w.entryBack(ctx, p, "another")
	switch {
	case next == onwards:
		return append(lines, thirdOf(p).Root), err
	case next == backward && l.good == len(w.parcels):
		return append(lines, p.old), err
	case next == rerun || another || !counts:
		return append(lines, before), err
	default:
		return lines, err
	}
}

// thirdOf is an image that nothing was told of yet.
func thirdOf(p *parcel) *regtest.Image {
	return regtest.Build(regtest.Spec{Seed: "third " + p.repo, LayerSize: 10})
}

// again promotes third images.
func (w *world) again() promote.Request {
	var items []promote.Item
	for _, p := range w.parcels {
		if err := thirdOf(p).Push(context.Background(), w.at(w.source), p.from, "third"); err != nil {
			panic(err)
		}
		items = append(items, item(failing{}, w.source.Host()+"/"+p.from+":third", w.target.Host()+"/"+p.repo+":production"))
	}
	return requestOf(items...)
}

// backMoved is how many tags have gone back. The others hold what they held; and of what has gone back there are records
// of both times.
func (w *world) backMoved(ctx context.Context) (n int, err error) {
	for _, p := range w.parcels {
		now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, "production")
		switch {
		case err != nil:
			return n, err
		case now == p.image.Root:
			continue
		case now != nextOf(p).Root:
			return n, fmt.Errorf("tag %s:production holds %q", p.repo, now)
		}
		n++
		records, err := readRecords(ctx, w.at(w.target), p.repo, "production")
		if err != nil {
			return n, err
		}
		if len(records) != 3 {
			return n, fmt.Errorf("%s has gone back, and there are the records %+v", p.repo, records)
		}
	}
	return n, nil
}

// murder is one setting on registries that serve all its processes; each has repositories of its own.
type murder struct {
	base    *world
	victims sync.Map // by User-Agent
}

// victim is a process that is killed some time after its n-th request.
type victim struct {
	count atomic.Int32
	at    int32
	now   chan struct{}
}

func newMurder(t *testing.T, s setting) *murder {
	t.Helper()
	m := &murder{}
	empty := s
	empty.images = 0
	var err error
	m.base, err = newWorld(t.Context(), empty, "", func(_ string, o regtest.Options) (*regtest.Registry, error) {
		o.Network = &regtest.Network{RTT: 4 * time.Millisecond}
		o.Wrap = m.watch
		return regtest.Serve(t, o), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	m.base.setting = s
	return m
}

// watch counts the requests of each process.
func (m *murder) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if found, ok := m.victims.Load(r.UserAgent()); ok {
			v := found.(*victim)
			if v.count.Add(1) == v.at {
				close(v.now)
			}
		}
		next.ServeHTTP(w, r)
	})
}

func (m *murder) run(t *testing.T, times int) {
	whole := m.whole(t)
	dice := rand.New(rand.NewPCG(killSeed, 0))
	var g errgroup.Group
	g.SetLimit(4)
	var survived atomic.Int32
	for n := range times {
		at := 1 + (n*whole+dice.IntN(whole))/times
		after := time.Duration(dice.Int64N(int64(5 * time.Millisecond)))
		g.Go(func() error {
			next := theSame
			if m.base.bare {
				next = successor(n % int(successors))
			}
			killed, err := m.kill(t, fmt.Sprintf("kill-%d-", n), int32(at), after, next)
			if !killed {
				survived.Add(1)
			}
			if err != nil {
				t.Errorf("killed %s after request %d of %d, then %s: %v", after, at, whole, next, err)
			}
			return nil
		})
	}
	_ = g.Wait()
	t.Logf("%d requests, %d kills, %d too late", whole, times, survived.Load())
	if int(survived.Load()) > 1+times/5 { // the last moments are those after the last request
		t.Errorf("%d of %d processes had ended before they were killed", survived.Load(), times)
	}
}

// whole counts the requests of a run that nobody kills.
func (m *murder) whole(t *testing.T) int {
	t.Helper()
	w, v := m.world(t, "whole-"), &victim{at: -1}
	m.victims.Store("whole-", v)
	if out, err := m.process(t.Context(), w, "whole-").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := w.done(t.Context()); err != nil {
		t.Fatal(err)
	}
	return int(v.count.Load())
}

// world gives a process repositories of its own.
func (m *murder) world(t *testing.T, prefix string) *world {
	t.Helper()
	w := &world{setting: m.base.setting, source: m.base.source, target: m.base.target, fixed: "v1"}
	for n := range w.images {
		if err := w.fill(t.Context(), prefix, prefix+fmt.Sprint(n), fmt.Sprint(n)); err != nil {
			t.Error(err)
		}
	}
	return w
}

func (m *murder) process(ctx context.Context, w *world, agent string) *exec.Cmd {
	j := job{Agent: agent, Auth: w.auth}
	for _, p := range w.parcels {
		to := w.target.Host() + "/" + p.repo
		j.Source = append(j.Source, w.source.Host()+"/"+p.from+p.reference)
		j.Target = append(j.Target, []string{to + ":production", fixed + to + ":" + w.fixed})
	}
	return m.start(ctx, j)
}

// start is a process that is to do a job.
func (m *murder) start(ctx context.Context, j job) *exec.Cmd {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	c := exec.CommandContext(ctx, os.Args[0])
	c.Env = append(os.Environ(), jobVariable+"="+string(text))
	return c
}

// kill makes one run that is killed, if it does not end before, and one that is not.
func (m *murder) kill(t *testing.T, name string, at int32, after time.Duration, next successor) (killed bool, err error) {
	w, v := m.world(t, name), &victim{at: at, now: make(chan struct{})}
	m.victims.Store(name, v)
	killed, err = m.strike(m.process(t.Context(), w, name), v, after)
	if err != nil {
		return killed, err
	}
	if err := w.either(t.Context(), !killed); err != nil {
		return killed, err
	}
	before, err := w.moment(t.Context())
	if err != nil {
		return killed, err
	}
	if next != theSame {
		if err := w.addNext(t.Context()); err != nil {
			return killed, err
		}
	}
	request := w.succeeds(next)
	request.Lease = settle
	d := promote.Run(t.Context(), w.client(nil, "again"), request, &watcher{})
	if d.Result.ExitCode() != 0 {
		return killed, fmt.Errorf("the next run ends as %s: %+v", d.Result, d.Faults)
	}
	if err := w.succeeded(t.Context(), next, !killed, before); err != nil {
		return killed, fmt.Errorf("after the next run: %w", err)
	}
	return killed, nil
}

// strike starts a process and kills it some time after the victim's request, if it does not end before.
func (m *murder) strike(process *exec.Cmd, v *victim, after time.Duration) (killed bool, err error) {
	var out bytes.Buffer
	process.Stdout, process.Stderr = &out, &out
	if err := process.Start(); err != nil {
		return false, err
	}
	over := make(chan error, 1)
	go func() { over <- process.Wait() }()
	select {
	case <-v.now:
		time.Sleep(after)
		_ = process.Process.Kill()
		err = <-over
	case err = <-over:
	}
	killed = process.ProcessState.ExitCode() == -1
	if !killed && err != nil {
		return false, fmt.Errorf("the run failed by itself: %w: %s", err, out.String())
	}
	return killed, nil
}
