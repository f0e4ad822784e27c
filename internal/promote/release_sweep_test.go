package promote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
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

// moment is what the tags of a world hold at one time: repository and tag to digest.
type moment map[string]string

func (w *world) moment(ctx context.Context) (moment, error) {
	held := moment{}
	for _, p := range w.parcels {
		for _, tag := range w.tags() {
			now, _, err := regtest.TagDigest(ctx, w.at(w.target), p.repo, tag)
			if err != nil {
				return nil, err
			}
			held[p.repo+":"+tag] = now
		}
	}
	return held, nil
}

// succeeded is what holds after a successor: its own tags have moved, no other tag has, and what the ledgers say of the
// release that was cut is true of what its tags held before.
func (w *world) succeeded(ctx context.Context, s successor, success bool, before moment) error {
	if s == theSame {
		return w.done(ctx)
	}
	now, err := w.moment(ctx)
	if err != nil {
		return err
	}
	var all []error
	for n, p := range w.parcels {
		asked := s == another || n == only
		for _, tag := range w.tags() {
			want := before[p.repo+":"+tag]
			if tag == "production" && asked {
				want = nextOf(p).Root
			}
			if got := now[p.repo+":"+tag]; got != want {
				all = append(all, fmt.Errorf("%s:%s holds %q, not %q", p.repo, tag, got, want))
			}
		}
		all = append(all, w.listedSo(ctx, p, s, success, before))
	}
	return errors.Join(all...)
}

// listedSo expects the ledger of a parcel to say of the release what its tags told before the successor, and then what the
// successor did.
func (w *world) listedSo(ctx context.Context, p *parcel, s successor, success bool, before moment) error {
	a, err := readAnnals(ctx, w.at(w.target), p.repo, "production")
	if err != nil {
		return err
	}
	err = a.sound(ctx, w, p.repo)
	lines := a.lines
	if asked := s == another || p == w.parcels[only]; asked {
		if len(lines) == 0 || lines[len(lines)-1].result != "promoted" || lines[len(lines)-1].digest != nextOf(p).Root {
			return errors.Join(err, fmt.Errorf("the ledger of %s does not list the successor: %q", p.repo, a.all()))
		}
		lines = lines[:len(lines)-1]
	}
	if len(lines) > 1 || len(lines) == 1 && lines[0].digest != p.image.Root {
		return errors.Join(err, fmt.Errorf("the ledger of %s lists %q", p.repo, a.all()))
	}
	state := ""
	if len(lines) == 1 {
		state = lines[0].result
	}
	if !w.isTrue(p, s, state, success, before) {
		err = errors.Join(err, fmt.Errorf("the ledger of %s says %q of a release that reported success: %v, whose tags held %v", p.repo, state, success, before))
	}
	return err
}

// isTrue compares what a ledger says of a release that was cut with what its tags held; without an entry it says nothing.
func (w *world) isTrue(p *parcel, s successor, state string, success bool, before moment) bool {
	complete, untouched := true, true
	for _, other := range w.parcels {
		for _, tag := range w.tags() {
			now := before[other.repo+":"+tag]
			complete = complete && now == other.image.Root
			untouched = untouched && (other != p || now == w.oldOf(p, tag))
		}
	}
	switch state {
	case "promoted":
		return complete
	case "interrupted": // a successor in one repository cannot tell what the others hold
		return !success && !untouched && (!complete || s == oneOnly)
	case "pending":
		return !success && s == oneOnly && p != w.parcels[only]
	case "failed", "":
		return !success && untouched
	default:
		return false
	}
}

// TestReleaseSweep cuts a release of three images, each to a moving and a fixed tag, at each of its requests in the ways
// of TestSweep. Afterwards the same release completes it; and any other moves the tags that it was asked to move, no other,
// and says of the release in the ledgers what is true of it.
func TestReleaseSweep(t *testing.T) {
	long(t)
	for _, s := range atVendors([]setting{
		{name: "release", images: 3},
		{name: "release with tokens in one registry", images: 3, inside: true, auth: true, oneScope: true},
		{name: "release to the API", images: 3, targetAPI: true},
	}, vendorsInBubble) {
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
			if *sweepAll || number%*sweepSample == 0 || named && number%11 == 0 {
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
	_, err = w.together(ctx)
	apart = err != nil
	before, err := w.moment(ctx)
	if err != nil {
		return apart, err
	}
	// A ledger of which no tag can be seen yet is taken for one that does not exist.
	time.Sleep(time.Second)
	w.target.ResetRequests()
	for range 2 {
		again := w.promoteRequest(ctx, nil, w.succeeds(next))
		if again.Result.ExitCode() != 0 {
			return apart, fmt.Errorf("the next run ends as %s: %+v", again.Result, again.Faults)
		}
		if err := w.succeeded(ctx, next, d.Result.ExitCode() == 0, before); err != nil {
			return apart, fmt.Errorf("after the next run: %w; it told %q", err, again.Notices)
		}
		for _, write := range writes(w.target) {
			if strings.HasPrefix(write, http.MethodDelete) {
				return apart, fmt.Errorf("the next run has deleted: %s", write)
			}
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
