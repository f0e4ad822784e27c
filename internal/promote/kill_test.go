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
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

const (
	jobVariable = "PROMOTE_TEST_JOB" // has a process promote, and run no tests
	kills       = 50
	killSeed    = 1
)

// job is what such a process promotes.
type job struct {
	Agent  string
	Auth   bool
	Source []string
	Target [][]string // of each source
}

// work does a job and is its process's exit code.
func work(text string) int {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		fmt.Println(err)
		return 2
	}
	w := &world{setting: setting{auth: j.Auth}}
	var items []promote.Item
	for n, source := range j.Source {
		items = append(items, item(failing{}, source, j.Target[n]...))
	}
	d := promote.Run(context.Background(), w.client(nil, j.Agent), requestOf(items...), &watcher{})
	fmt.Printf("%s: %+v\n", d.Result, d.Faults)
	return d.Result.ExitCode()
}

// TestKill promotes in a process of its own, which is killed without warning as its n-th request arrives or a little
// after: n is spread over the whole of the run. Then every tag is the old digest, or the new one with everything below
// it; and the next run completes what is missing.
func TestKill(t *testing.T) {
	var all []setting
	for _, s := range settings() {
		s.layers, s.images = 2, min(2, s.images)
		switch s.name {
		case "across", "across with the API and tokens", "merge", "several images":
			all = append(all, s)
		}
	}
	all = append(all, setting{name: "release", images: 3, layers: 1, layerSize: 10, verify: "blobs", bare: true})
	for n, s := range all {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			share := kills / len(all)
			if n == 0 {
				share += kills % len(all)
			}
			if s.bare {
				share *= 3 // one for each kind of run that may come next
			}
			newMurder(t, s).run(t, share)
		})
	}
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
		return start(t, o), nil
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
	process := m.process(t.Context(), w, name)
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
	if err := w.either(t.Context(), !killed); err != nil {
		return killed, err
	}
	before, _ := w.together(t.Context())
	if next != theSame {
		if err := w.addNext(t.Context()); err != nil {
			return killed, err
		}
	}
	request := w.succeeds(next)
	request.Settling = settle
	d := promote.Run(t.Context(), w.client(nil, "again"), request, &watcher{})
	if d.Result.ExitCode() != 0 {
		return killed, fmt.Errorf("the next run ends as %s: %+v", d.Result, d.Faults)
	}
	if err := w.succeeded(t.Context(), next, !killed, before); err != nil {
		return killed, fmt.Errorf("after the next run: %w", err)
	}
	return killed, nil
}

// either expects of every tag the old digest, or the new one and all of it; only the new one after a success.
func (w *world) either(ctx context.Context, success bool) error {
	if success {
		return w.done(ctx)
	}
	var all []error
	for _, p := range w.parcels {
		moved := false
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			switch {
			case err != nil:
				all = append(all, err)
			case now == p.image.Root:
				moved = true
			case now != w.oldOf(p, tag):
				all = append(all, fmt.Errorf("tag %s:%s holds %q", p.repo, tag, now))
			}
		}
		if moved {
			all = append(all, w.intact(ctx, p))
		}
		all = append(all, w.kept(ctx, p))
	}
	return errors.Join(all...)
}

// oldOf is what a tag of a parcel held before.
func (w *world) oldOf(p *parcel, tag string) string {
	if tag == "production" {
		return p.old
	}
	return "" // a fixed tag did not exist
}

// kept expects that what the target had attached of its own is there, at every moment.
func (w *world) kept(ctx context.Context, p *parcel) error {
	if p.theirs == nil {
		return nil
	}
	tree, err := regtest.Read(ctx, w.at(w.target), p.repo, p.image.Root)
	if err != nil {
		return err
	}
	lines := append(lostLayers(p.theirs, tree), regtest.Diff(withoutSignatures(p.theirs), tree)...)
	if len(lines) > 0 {
		return fmt.Errorf("of the target's own: %s", strings.Join(lines, "; "))
	}
	return nil
}
