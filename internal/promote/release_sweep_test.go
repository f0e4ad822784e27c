package promote_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// successor is the run that comes after one that was cut.
type successor int

const (
	theSame successor = iota // the release again
	another                  // other images, to all of its moving tags
	oneOnly                  // another image, to one of its moving tags
	successors
)

func (s successor) String() string {
	return [...]string{"the same release", "another release", "a release of one"}[s]
}

// only is the image that the last kind of successor promotes.
const only = 1

// addNext gives every image a successor at the source, by the tag next.
func (w *world) addNext(ctx context.Context) error {
	var all []error
	for _, p := range w.parcels {
		all = append(all, nextOf(p).Push(ctx, w.at(w.source), p.from, "next"))
	}
	return errors.Join(all...)
}

func nextOf(p *parcel) *regtest.Image {
	return regtest.Build(regtest.Spec{Seed: "next " + p.repo, LayerSize: 10})
}

// succeeds is the request of a successor.
func (w *world) succeeds(s successor) promote.Request {
	if s == theSame {
		return w.request()
	}
	var items []promote.Item
	for n, p := range w.parcels {
		if s == another || n == only {
			items = append(items, item(failing{}, w.source.Host()+"/"+p.from+":next", w.target.Host()+"/"+p.repo+":production"))
		}
	}
	return requestOf(items...)
}

// together expects all tags of a release new, or all old.
func (w *world) together(ctx context.Context) (all string, err error) {
	held := map[string][]string{}
	for _, p := range w.parcels {
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			if err != nil {
				return "", err
			}
			kind := "another"
			switch now {
			case p.image.Root:
				kind = "new"
			case w.oldOf(p, tag):
				kind = "old"
			}
			held[kind] = append(held[kind], p.repo+":"+tag)
		}
	}
	for _, kind := range []string{"old", "new"} {
		if len(held) == 1 && held[kind] != nil {
			return kind, nil
		}
	}
	return "", fmt.Errorf("not together: %v", held)
}

// succeeded is what holds after a successor: the release is complete, or it is as if it had never been; and it was
// complete before where the run that was cut said so.
func (w *world) succeeded(ctx context.Context, s successor, success bool, before string) error {
	if s == theSame {
		return w.done(ctx)
	}
	var all []error
	kinds := map[string]bool{}
	for n, p := range w.parcels {
		all = append(all, w.listedSo(ctx, p, s == another || n == only))
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			all = append(all, err)
			mine := tag == "production" && (s == another || n == only)
			switch {
			case mine && now != nextOf(p).Root:
				all = append(all, fmt.Errorf("%s:%s holds %q, not the next image", p.repo, tag, now))
			case mine:
			case now == p.image.Root:
				kinds["new"] = true
			case now == w.oldOf(p, tag):
				kinds["old"] = true
			default:
				all = append(all, fmt.Errorf("%s:%s holds %q", p.repo, tag, now))
			}
		}
	}
	switch {
	case len(kinds) != 1:
		all = append(all, errors.New("some tags are new and some are old"))
	case success && !kinds["new"], before == "old" && !kinds["old"]:
		all = append(all, fmt.Errorf("after %v and %q: %v", success, before, kinds))
	}
	return errors.Join(all...)
}

// listedSo expects the ledger of a parcel to list what the release brought, if its fixed tag shows that it counts, and then
// what the successor did. Where that did nothing, the line may be yet to come.
func (w *world) listedSo(ctx context.Context, p *parcel, successor bool) error {
	now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, w.fixed)
	if err != nil {
		return err
	}
	var want []string
	if now == p.image.Root {
		want = append(want, now)
	}
	if successor {
		return w.listed(ctx, p, append(want, nextOf(p).Root)...)
	}
	if err = w.listed(ctx, p, want...); err != nil && len(want) > 0 {
		err = w.listed(ctx, p)
	}
	return err
}

// TestReleaseSweep cuts a release of three images, each to a moving and a fixed tag, at each of its requests in the ways
// of TestSweep. Afterwards all of its tags are new, or all are old, or the next run makes it so, whatever it promotes.
func TestReleaseSweep(t *testing.T) {
	long(t)
	for _, s := range atVendors([]setting{
		{name: "release", images: 3},
		{name: "release with tokens in one registry", images: 3, inside: true, auth: true, oneScope: true},
		{name: "release to the API", images: 3, targetAPI: true},
	}) {
		s.layers, s.layerSize, s.verify, s.bare = 1, 10, "blobs", true
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sweepRelease(t, s)
		})
	}
}

func sweepRelease(t *testing.T, s setting) {
	t.Helper()
	var requests []string
	t.Run("whole", func(t *testing.T) { requests = record(t, s) })
	var notMade, open atomic.Int32
	all := releaseCuts(requests)
	t.Run("cuts", func(t *testing.T) {
		for at, c := range all {
			t.Run(fmt.Sprint(c.number), func(t *testing.T) {
				t.Parallel()
				for next := range successors {
					if !*sweepAll && int(next) != at%int(successors) {
						continue
					}
					made, apart := cutRelease(t, s, c, next)
					if !made {
						notMade.Add(1)
					}
					if apart {
						open.Add(1)
					}
				}
			})
		}
	})
	t.Logf("%d requests, %d cuts, of which %d met no request, and %d left the tags apart", len(requests), len(all), notMade.Load(), open.Load())
	if *sweepAll && open.Load() == 0 {
		t.Error("no cut left anything to the next run")
	}
	if n := int(notMade.Load()); n > 2+len(all)*int(successors)/10 {
		t.Errorf("%d of %d cuts met no request", n, len(all))
	}
}

// releaseCuts are all cuts, or a sample: it has more of the tags' part, which is what is peculiar to a release.
func releaseCuts(requests []string) (all []cut) {
	number := 0
	for _, r := range requests {
		named := strings.Contains(r, "PUT") && !strings.Contains(r, "sha256") && strings.Contains(r, "/manifests/")
		for w := range ways {
			number++
			if *sweepAll || number%sweepSample == 0 || named && number%11 == 0 {
				all = append(all, cut{number, w, r})
			}
		}
	}
	return all
}

// cutRelease makes one release with one fault, and then its successor, twice. It reports whether the request was made,
// and whether the cut left some tags new and some old.
func cutRelease(t *testing.T, s setting, c cut, next successor) (made, apart bool) {
	t.Helper()
	cutting(t, s, &plan{cut: c}, func(t *testing.T, w *swept) {
		if err := w.addNext(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w.plan.end = func() {
			time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the sweep ends the run")) })
		}
		d := w.promote(ctx, w.plan)
		if made = w.plan.didStrike(); !made {
			expect(t, d, document.Promoted)
			return
		}
		var err error
		if apart, err = w.afterRelease(t.Context(), c, d, next); err != nil {
			t.Errorf("%s, then %s: %v; result %s, faults %+v, tags %+v", c, next, err, d.Result, d.Faults, d.Promotions)
		}
	})
	return made, apart
}

func (w *swept) afterRelease(ctx context.Context, c cut, d document.Report, next successor) (apart bool, err error) {
	if c.way < endBefore && d.Result != document.Promoted {
		return false, errors.New("one fault ends the release")
	}
	if err := w.honest(ctx, d); err != nil {
		return false, err
	}
	before, err := w.together(ctx)
	apart = err != nil
	for range 2 {
		again := w.promoteRequest(ctx, nil, w.succeeds(next))
		if again.Result.ExitCode() != 0 {
			return apart, fmt.Errorf("the next run ends as %s: %+v", again.Result, again.Faults)
		}
		if err := w.succeeded(ctx, next, d.Result.ExitCode() == 0, before); err != nil {
			return apart, fmt.Errorf("after the next run: %w; it told %q", err, again.Notices)
		}
	}
	return apart, nil
}

// interruptedIn makes a release of three images that ends, with everything that it could still ask, once it has
// written its first tag.
func interruptedIn(t *testing.T, run func(t *testing.T, w *swept)) {
	t.Helper()
	s := setting{name: "release", images: 3, layers: 1, layerSize: 10, verify: "blobs", bare: true}
	c := cut{0, endAfter, "target PUT /v2/prod/app0/manifests/v1 #1"}
	cutting(t, s, &plan{cut: c}, func(t *testing.T, w *swept) {
		if err := w.addNext(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w.plan.end = func() { cancel(errors.New("killed")) }
		expect(t, w.promote(ctx, w.plan), document.Failed)
		if _, err := w.together(t.Context()); err == nil {
			t.Fatal("the tags are together")
		}
		run(t, w)
	})
}

// patience is how long a release is believed to be under way, by default.
const patience = 30 * time.Second

// TestAwait: a release that may be under way is waited for, and no longer than that.
func TestAwait(t *testing.T) {
	long(t)
	for name, test := range map[string]struct {
		change      func(j *ledger.Journal) // of the head
		ask         func(r *promote.Request)
		least, most time.Duration
	}{
		"one that has just begun":        {least: patience - 10*time.Second, most: patience + 5*time.Second},
		"one that began a while ago":     {change: func(j *ledger.Journal) { j.Written = j.Written.Add(-20 * time.Second) }, least: patience - 25*time.Second, most: patience - 15*time.Second},
		"one that began long ago":        {change: func(j *ledger.Journal) { j.Written = j.Written.Add(-time.Hour) }, most: time.Second},
		"one that is yet to begin":       {change: func(j *ledger.Journal) { j.Written = j.Written.Add(time.Hour) }, least: patience - 10*time.Second, most: patience + 5*time.Second},
		"one of the end of all times":    {change: func(j *ledger.Journal) { j.Written = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }, most: patience + 5*time.Second},
		"an earlier attempt of this run": {change: func(j *ledger.Journal) { j.RunID = "7" }, ask: func(r *promote.Request) { r.Job.RunID = "7" }, most: time.Second},
		"another run's":                  {change: func(j *ledger.Journal) { j.RunID = "8" }, ask: func(r *promote.Request) { r.Job.RunID = "7" }, least: patience - 10*time.Second, most: patience + 5*time.Second},
		"for as long as is asked for":    {ask: func(r *promote.Request) { r.Settling = 5 * time.Minute }, least: 4 * time.Minute, most: 6 * time.Minute},
		"for hardly any time":            {ask: func(r *promote.Request) { r.Settling = 1 }, most: time.Second},
		"what it goes on with itself":    {ask: func(r *promote.Request) { r.Items = nil }, most: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			interruptedIn(t, func(t *testing.T, w *swept) {
				if test.change != nil {
					w.head(t, test.change)
				}
				r, next := w.succeeds(another), another
				if test.ask != nil {
					test.ask(&r)
				}
				if r.Items == nil {
					r, next = w.request(), theSame
				}
				began := time.Now()
				expect(t, w.promoteRequest(t.Context(), nil, r), document.Promoted)
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("it took %v, want %v to %v", took, test.least, test.most)
				}
				if err := w.succeeded(t.Context(), next, false, ""); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// head changes the head of the release.
func (w *swept) head(t *testing.T, change func(*ledger.Journal)) {
	t.Helper()
	transport := w.memory.Transport()
	defer transport.CloseIdleConnections()
	repo, err := w.client(transport, regtest.Agent).Open(t.Context(), "target", repository(t, w.target.Host()+"/"+w.parcels[0].repo), 1)
	if err != nil {
		t.Fatal(err)
	}
	j, err := ledger.ReadJournal(t.Context(), repo, "production")
	if err != nil || j == nil || len(j.Places) == 0 {
		t.Fatalf("the head is %+v, error %v", j, err)
	}
	change(j)
	if err := ledger.WriteJournal(t.Context(), repo, "production", *j); err != nil {
		t.Fatal(err)
	}
}

// TestAwaitedReleaseThatEnds meanwhile is not undone: what this run has seen is over.
func TestAwaitedReleaseThatEnds(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		time.AfterFunc(10*time.Second, func() { w.head(t, func(j *ledger.Journal) { j.Done = true }) })
		w.target.ResetRequests()
		d := w.promoteRequest(t.Context(), nil, w.succeeds(another))
		faulted(t, d, document.Denied, "has come to its end meanwhile", "concurrency")
		untouched(t, w.target)
	})
}

// TestAwaitedReleaseThatLives: one that another run goes on with is given its time anew.
func TestAwaitedReleaseThatLives(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		time.AfterFunc(20*time.Second, func() { w.head(t, func(j *ledger.Journal) { j.Written = time.Now() }) })
		began := time.Now()
		expect(t, w.promoteRequest(t.Context(), nil, w.succeeds(another)), document.Promoted)
		if took := time.Since(began); took < 48*time.Second || took > 60*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestAwaitEndsWithTheRun: nobody waits for the rest of the time once the run is ended.
func TestAwaitEndsWithTheRun(t *testing.T) {
	interruptedIn(t, func(t *testing.T, w *swept) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Second, errors.New("enough"))
		defer cancel()
		began := time.Now()
		faulted(t, w.promoteRequest(ctx, nil, w.succeeds(another)), document.Failed, "enough")
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
