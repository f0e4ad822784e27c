package promote_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// deed is one run in the story of an environment: it promotes what a tag at the source names, or rolls back if that is
// empty.
type deed struct {
	brings  string
	run     string
	attempt string
	stays   bool // a rollback over what was ended midway: it goes to what the ledger says was held
}

// scene is a run that is cut, and what happened before it.
type scene struct {
	setting
	single bool // the moving tag alone
	before []deed
	cut    deed
}

// scenes are what the records of an environment are swept in. Nothing is recorded of what it held at first.
func scenes() []scene {
	a, b := deed{brings: "a", run: "1"}, deed{brings: "b", run: "2"}
	cutOf := func(brings string) deed { return deed{brings: brings, run: "100"} }
	all := []scene{
		{setting: setting{name: "into a ledger"}, before: []deed{a}, cut: cutOf("b")},
		{setting: setting{name: "first of all"}, cut: cutOf("b")},
		{setting: setting{name: "retag with the API", inside: true, retag: true, sourceAPI: true, targetAPI: true}, before: []deed{a}, cut: cutOf("b")},
		{setting: setting{name: "one tag alone"}, single: true, before: []deed{a}, cut: cutOf("b")},
		{setting: setting{name: "one tag alone, by the API", inside: true, sourceAPI: true}, single: true, before: []deed{a}, cut: cutOf("b")},
		{setting: setting{name: "release", images: 3}, before: []deed{a}, cut: cutOf("b")},
		{setting: setting{name: "rollback"}, before: []deed{a, b}, cut: cutOf("")},
		{setting: setting{name: "rollback of one tag", targetAPI: true}, single: true, before: []deed{a, b}, cut: cutOf("")},
		{setting: setting{name: "rollback of a release", images: 3}, before: []deed{a, b}, cut: cutOf("")},
		{setting: setting{name: "second attempt"}, before: []deed{a, {brings: "b", run: "100", attempt: "halted"}}, cut: deed{brings: "b", run: "100", attempt: "2"}},
		{setting: setting{name: "second attempt of a rollback"}, before: []deed{a, b, {run: "100", attempt: "halted"}}, cut: deed{run: "100", attempt: "2"}},
	}
	for n := range all {
		s := &all[n]
		s.images, s.layers, s.layerSize, s.verify, s.bare = max(1, s.images), 1, 10, "blobs", true
	}
	var at []scene
	for n, s := range all {
		for _, vendor := range vendorsInBubble(s.atTarget(), n) {
			s := s
			s.name, s.vendor = s.name+" at "+vendor, vendor
			at = append(at, s)
		}
	}
	return at
}

// TestRecordSweep cuts a run at each of its requests, in the ways of TestSweep and by letting all requests fail that go
// where one went, and then lets another run follow, and a rollback.
//
// A tag moves only after the run's own pending entry that names it is in the ledger, and is reverted only while that is
// open; no tag ever points to what no entry names. Success is said only of what the ledger lists as done, and what an
// entry says that its tags held is what they hold. A final state is never replaced, and no entry is ever lost. A denied
// run, which comes first, changes nothing. The next run, whichever it is, resolves the entry that was cut, or finishes
// what it was about: the ledger then lists every promotion that moved all its tags once, and none that did not; the
// environment holds what the ledger says; the chain is whole; and a rollback goes to what was held before.
func TestRecordSweep(t *testing.T) {
	long(t)
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sweepRecords(t, s)
		})
	}
}

func sweepRecords(t *testing.T, s scene) {
	t.Helper()
	var requests []string
	t.Run("whole", func(t *testing.T) {
		s.play(t, &plan{}, func(t *testing.T, w *theatre) {
			d := w.do(t.Context(), w.plan, s.cut)
			if err := errors.Join(w.whole(d), w.writtenAhead(), w.told(t.Context(), w.after(s.cut))); err != nil {
				t.Error(err)
			}
			requests = w.plan.order
		})
	})
	var notMade, counted atomic.Int32
	all := recordCuts(requests)
	t.Run("cuts", func(t *testing.T) {
		for at, c := range all {
			t.Run(fmt.Sprint(c.number), func(t *testing.T) {
				t.Parallel()
				next := sequel(at % int(sequels)) // the ways are seven: each meets every sequel
				if c.parts() {
					next = backward
				}
				s.cutAt(t, c, next, &notMade, &counted)
			})
		}
	})
	t.Logf("%d requests, %d cuts, of which %d met no request; after %d what was cut counted", len(requests), len(all), notMade.Load(), counted.Load())
	if n := int(notMade.Load()); n > 2+len(all)/10 {
		t.Errorf("%d of %d cuts met no request", n, len(all))
	}
}

// touchesRecords reports whether the request is for a ledger or for a tag that moves.
func (c cut) touchesRecords() bool {
	return strings.Contains(c.request, "/promotion-") || strings.Contains(c.request, "/manifests/production") || strings.Contains(c.request, "/manifests/v-")
}

// parts reports whether the cut may leave a release of which one tag has moved and another has not.
func (c cut) parts() bool {
	return c.way == pathAfter && strings.Contains(c.request, "PUT /v2/prod/app1/manifests/production") || c.way == endAfter && strings.Contains(c.request, "PUT /v2/prod/app0/manifests/production")
}

// recordCuts are all cuts, or a sample, which has more of those that this is about.
func recordCuts(requests []string) (all []cut) {
	number := 0
	for _, r := range requests {
		for w := range waysAndPaths {
			number++
			c := cut{number, w, r}
			if *sweepAll || number%*sweepSample == 0 || c.touchesRecords() && number%min(163, *sweepSample) == 0 || c.parts() {
				all = append(all, c)
			}
		}
	}
	return all
}

// theatre is a world in which a scene is played.
type theatre struct {
	*swept
	scene  scene
	latest string                      // the run that was made last
	final  map[string]map[string]entry // those that had ended when they were seen last, by repository and ID
}

func (s scene) play(t *testing.T, p *plan, run func(*testing.T, *theatre)) {
	t.Helper()
	cutting(t, s.setting, p, func(t *testing.T, w *swept) {
		g := &theatre{swept: w, scene: s, final: map[string]map[string]entry{}}
		w.fixed = ""
		for _, p := range w.parcels {
			for _, letter := range []string{"a", "b", "c"} {
				picture := pictureOf(p, letter)
				w.plan.know(picture)
				if err := picture.Push(t.Context(), w.at(w.source), p.from, letter); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, d := range s.before {
			g.prepare(t, d)
		}
		for _, p := range w.parcels {
			if err := regtest.PutTag(t.Context(), w.at(w.target), p.repo, "taken", p.old); err != nil {
				t.Fatal(err)
			}
			g.final[p.repo] = map[string]entry{}
		}
		if err := g.keepsFinal(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.plan.mu.Lock()
		w.plan.order, w.plan.times = nil, nil
		w.plan.mu.Unlock()
		run(t, g)
	})
}

// prepare makes a run without faults; one that is halted ends as it is about to move the first tag.
func (g *theatre) prepare(t *testing.T, d deed) {
	t.Helper()
	if d.attempt != "halted" {
		if err := g.whole(g.do(t.Context(), nil, d)); err != nil {
			t.Fatal(err)
		}
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	transport := g.memory.Transport()
	defer transport.CloseIdleConnections()
	d.attempt = "1"
	r := promote.Run(ctx, g.client(transport, ""), g.ask(d), &watcher{onStep: func(title string) {
		if title == "Move tags" {
			cancel()
		}
	}})
	expect(t, r, document.Failed)
}

func pictureOf(p *parcel, letter string) *regtest.Image {
	return regtest.Build(regtest.Spec{Seed: letter + " of " + p.repo, LayerSize: 10})
}

// digest is what a letter stands for in a parcel; none for what was there at first.
func (g *theatre) digest(p *parcel, letter string) string {
	if letter == "" {
		return p.old
	}
	return pictureOf(p, letter).Root
}

// ask is the request of a run.
func (g *theatre) ask(d deed) promote.Request {
	var items []promote.Item
	for _, p := range g.parcels {
		to, from := g.target.Host()+"/"+p.repo, g.source.Host()+"/"+p.from+":"+d.brings
		if d.brings == "" {
			from = to
		}
		targets := []string{to + ":production"}
		if !g.scene.single {
			targets = append(targets, fixed+to+":v-"+d.run+"-{{date 'HHmmss'}}")
		}
		items = append(items, item(failing{}, from, targets...))
	}
	r := requestOf(items...)
	r.TargetEnv, r.Started, r.Reason = "production", time.Now().UTC(), "TICKET-"+d.run
	r.Job = document.Job{Repository: "acme/app", RunID: d.run, Attempt: cmp.Or(d.attempt, "1"), Name: "promote", Actor: "someone"}
	if d.brings == "" {
		r.Mode = promote.Rollback
	}
	return r
}

// do makes a run, some seconds after the one before.
func (g *theatre) do(ctx context.Context, p *plan, d deed) document.Report {
	time.Sleep(5 * time.Second) // of the bubble's time: a date is then in one run's tags alone
	return g.promoteRequest(ctx, p, g.ask(d))
}

// whole expects a run to have done all that it was to do.
func (g *theatre) whole(d document.Report) error {
	want := document.Promoted
	if d.Mode == string(promote.Rollback) {
		want = document.RolledBack
	}
	if d.Result != want {
		return fmt.Errorf("%s, want %s: %+v", d.Result, want, d.Faults)
	}
	return nil
}

// after are the deeds that count once another is done.
func (g *theatre) after(more ...deed) (all []deed) {
	for _, d := range g.scene.before {
		if d.attempt != "halted" {
			all = append(all, d)
		}
	}
	return append(all, more...)
}

// letters are what the environment holds once deeds are done, on top of what it can go back to.
func letters(deeds []deed) []string {
	stack := []string{""}
	for _, d := range deeds {
		switch top := len(stack) - 1; {
		case d.stays:
		case d.brings == "":
			stack = stack[:top]
		case stack[top] != d.brings:
			stack = append(stack, d.brings)
		}
	}
	return stack
}

// told is toldOf for every parcel alike.
func (g *theatre) told(ctx context.Context, deeds []deed) error {
	var all []error
	for _, p := range g.parcels {
		all = append(all, g.toldOf(ctx, p, deeds))
	}
	return errors.Join(all...)
}

// toldOf expects the ledger to list those deeds as done, each once and in this order, and no others, the environment to
// hold what the last brought, and the chain to be whole.
func (g *theatre) toldOf(ctx context.Context, p *parcel, deeds []deed) error {
	a, err := readAnnals(ctx, g.at(g.target), p.repo, "production")
	if err != nil {
		return err
	}
	all := []error{a.sound(ctx, g.world, p.repo), g.namesAll(ctx, p)}
	var want []string
	for n, d := range deeds {
		stack := letters(deeds[:n+1])
		outcome := "promoted "
		if d.brings == "" {
			outcome = "rolled-back "
		}
		want = append(want, outcome+g.digest(p, stack[len(stack)-1])+" by "+d.run)
	}
	if got := a.good(); !slices.Equal(got, want) {
		all = append(all, fmt.Errorf("%s: the ledger lists\n\t%s\nand not\n\t%s", p.repo, strings.Join(a.all(), "\n\t"), strings.Join(want, "\n\t")))
	}
	for _, l := range a.lines {
		if !l.good() && l.run != g.scene.cut.run {
			all = append(all, fmt.Errorf("%s: nothing went wrong with %s", p.repo, l))
		}
		touched := len(deeds) > 0 && (deeds[len(deeds)-1].run == g.latest || deeds[len(deeds)-1].run == g.scene.cut.run)
		if l.result == "pending" && g.latest != "" && touched {
			all = append(all, fmt.Errorf("%s: nobody resolved %s", p.repo, l))
		}
	}
	return errors.Join(append(all, g.holds(ctx, p, letters(deeds)))...)
}

func (g *theatre) holds(ctx context.Context, p *parcel, stack []string) error {
	now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, "production")
	if want := g.digest(p, stack[len(stack)-1]); err == nil && now != want {
		err = fmt.Errorf("%s holds %s, and not %s", p.repo, now, want)
	}
	return err
}

// cutAt makes the run with one fault, and what follows.
func (s scene) cutAt(t *testing.T, c cut, next sequel, notMade, counted *atomic.Int32) {
	t.Helper()
	s.play(t, &plan{cut: c}, func(t *testing.T, g *theatre) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		g.plan.end = func() {
			if c.way < pathBefore {
				time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the sweep ends the run")) })
			}
		}
		d := g.do(ctx, g.plan, s.cut)
		if !g.plan.didStrike() {
			notMade.Add(1)
			return
		}
		counts, err := g.follow(t.Context(), c, d, next)
		if err != nil {
			t.Errorf("%s, then %s: %v\nresult %s, faults %+v, notices %q, tags %+v", c, next, err, d.Result, d.Faults, d.Notices, d.Promotions)
		}
		if counts {
			counted.Add(1)
		}
	})
}

// follow is what holds after a cut, and after what follows.
func (g *theatre) follow(ctx context.Context, c cut, d document.Report, next sequel) (counts bool, err error) {
	if c.way < endBefore {
		if err := g.whole(d); err != nil {
			return false, fmt.Errorf("one fault ends it: %w", err)
		}
	}
	time.Sleep(lateAtMost) // of the bubble's time: what a vendor shows late is there
	l, err := g.look(ctx, d)
	if err := errors.Join(err, g.writtenAhead(), g.keepsFinal(ctx), g.truthful(ctx, d, l)); err != nil {
		return false, err
	}
	if err := g.denied(ctx); err != nil {
		return false, fmt.Errorf("a denied run: %w", err)
	}
	return l.counts(g), g.converges(ctx, next, l)
}

// denied makes a run whose fixed tag points to something else, and expects that it changes nothing.
func (g *theatre) denied(ctx context.Context) error {
	before, err := g.everything(ctx)
	if err != nil {
		return err
	}
	r := g.ask(deed{brings: "c", run: "150"})
	for n, p := range g.parcels {
		to := g.target.Host() + "/" + p.repo
		r.Items[n] = item(failing{}, g.source.Host()+"/"+p.from+":c", to+":production", fixed+to+":taken")
	}
	d := g.promoteRequest(ctx, nil, r)
	if d.Result != document.Denied {
		return fmt.Errorf("it ends as %s: %+v", d.Result, d.Faults)
	}
	after, err := g.everything(ctx)
	if err == nil && !maps.Equal(before, after) {
		err = fmt.Errorf("the target's tags were %v and are %v", before, after)
	}
	return err
}

// everything is what each tag of the targets points to.
func (g *theatre) everything(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for _, p := range g.parcels {
		tags, err := regtest.Tags(ctx, g.at(g.target), p.repo)
		if err != nil {
			return nil, err
		}
		for _, tag := range tags {
			if all[p.repo+":"+tag], _, err = regtest.TagDigest(ctx, g.at(g.target), p.repo, tag); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// lateAtMost is how long a registry may show what was there before a write.
const lateAtMost = 15 * time.Second

// left is what a run that was cut has left.
type left struct {
	success bool
	moved   map[string]bool   // repositories whose moving tag points to what the run was to bring
	entries map[string]*entry // of the run, by repository; nil: there is none
	whole   bool              // every tag of the run points to that
}

// counts reports whether the run counts that was cut: its entries say so, or will be resolved so.
func (l left) counts(g *theatre) bool {
	return !slices.ContainsFunc(g.parcels, func(p *parcel) bool { return !l.countsIn(p) })
}

func (l left) countsIn(p *parcel) bool {
	e := l.entries[p.repo]
	return e != nil && (e.good() || e.outcome.State == "pending" && l.whole)
}

func (g *theatre) look(ctx context.Context, d document.Report) (left, error) {
	l := left{success: succeeded(d), moved: map[string]bool{}, entries: map[string]*entry{}, whole: true}
	stack := letters(g.after(g.scene.cut))
	for _, p := range g.parcels {
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, "production")
		if err != nil {
			return l, err
		}
		l.moved[p.repo] = now == g.digest(p, stack[len(stack)-1])
		entries, err := readEntries(ctx, g.at(g.target), p.repo, "production")
		if err != nil {
			return l, err
		}
		for _, e := range entries {
			if e.intent.Run.ID == g.scene.cut.run && fmt.Sprint(e.intent.Run.Attempt) == cmp.Or(g.scene.cut.attempt, "1") {
				l.entries[p.repo] = &e
			}
		}
		whole, err := g.inPlace(ctx, p, l.entries[p.repo])
		if err != nil {
			return l, err
		}
		l.whole = l.whole && whole
	}
	return l, nil
}

// inPlace reports whether every tag of an entry points to what it was to be moved to.
func (g *theatre) inPlace(ctx context.Context, p *parcel, e *entry) (bool, error) {
	if e == nil {
		return false, nil
	}
	for _, t := range e.intent.Tags {
		if now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, t.Name); err != nil || now != t.After {
			return false, err
		}
	}
	return true, nil
}

func succeeded(d document.Report) bool {
	return d.Result.ExitCode() == 0 || d.Result == document.Unrecorded
}

// converges makes the next run, and a rollback after it.
func (g *theatre) converges(ctx context.Context, next sequel, l left) error {
	fixedBefore := g.fixedOf(ctx)
	last := g.deedOf(next)
	g.latest = last.run
	again := g.do(ctx, nil, last)
	deeds, err := map[string][]deed{}, error(nil)
	deepest, shallowest := 0, len(g.scene.before)+9
	for _, p := range g.parcels {
		if deeds[p.repo], err = g.counting(ctx, p, next, l); err != nil {
			return err
		}
		for n := range deeds[p.repo] {
			shallowest = min(shallowest, len(letters(deeds[p.repo][:n+1])))
		}
		deepest = max(deepest, len(letters(deeds[p.repo])))
	}
	if shallowest == 0 {
		if again.Result != document.Failed {
			return fmt.Errorf("rolled back to nothing: %s", again.Result)
		}
		return nil
	}
	err = errors.Join(g.toldEach(ctx, deeds), g.writtenAhead(), g.keepsFinal(ctx))
	if again.Result.ExitCode() != 0 {
		err = errors.Join(fmt.Errorf("it ends as %s: %+v", again.Result, again.Faults), err)
	}
	if n := g.fixedOf(ctx); !g.scene.single && next != rerun && n != fixedBefore {
		err = errors.Join(err, fmt.Errorf("%d fixed tags of the run that was cut, and there were %d: only that run may write or delete them", n, fixedBefore))
	} else if !g.scene.single && next == rerun && n != len(g.parcels) {
		err = errors.Join(err, fmt.Errorf("%d fixed tags of the run that was cut", n))
	}
	if err != nil {
		return fmt.Errorf("the next run, %s, notices %q: %w", again.Result, again.Notices, err)
	}
	if deepest < 2 || next == backward {
		return nil
	}
	back := deed{run: "300"}
	for _, p := range g.parcels {
		deeds[p.repo] = append(deeds[p.repo], back)
	}
	g.latest = back.run
	r := g.do(ctx, nil, back)
	if err := errors.Join(g.whole(r), g.toldEach(ctx, deeds), g.writtenAhead(), g.keepsFinal(ctx)); err != nil {
		return fmt.Errorf("a rollback after it, notices %q: %w", r.Notices, err)
	}
	return nil
}

func (g *theatre) toldEach(ctx context.Context, deeds map[string][]deed) error {
	var all []error
	for _, p := range g.parcels {
		all = append(all, g.toldOf(ctx, p, deeds[p.repo]))
	}
	return errors.Join(all...)
}

func (g *theatre) deedOf(next sequel) deed {
	c := g.scene.cut
	switch next {
	case rerun:
		return deed{brings: c.brings, run: c.run, attempt: "3"}
	case anew:
		return deed{brings: c.brings, run: "200"}
	case onwards:
		return deed{brings: "c", run: "200"}
	default:
		return deed{run: "200"}
	}
}

// counting are the deeds of a parcel that count after the next run.
func (g *theatre) counting(ctx context.Context, p *parcel, next sequel, l left) ([]deed, error) {
	c, last := g.scene.cut, g.deedOf(next)
	begun := slices.Contains(slices.Collect(maps.Values(l.moved)), true)
	switch counts := l.countsIn(p); {
	case c.brings == "" && last.brings == "" && begun && !l.ended(g):
		return g.countingBack(ctx, p, next)
	case next == rerun, next == anew && c.brings != "" && g.scene.single && counts: // nothing is left to do
		return g.after(c), nil
	case counts:
		return g.after(c, last), nil
	case last.brings != "", !begun:
		return g.after(last), nil
	case l.moved[p.repo]:
		last.stays = true
		return g.after(last), nil
	default: // of a release that was ended midway, what has not moved stays
		return g.after(), nil
	}
}

// ended reports whether every entry of the run says that it has done what it was to do.
func (l left) ended(g *theatre) bool {
	return !slices.ContainsFunc(g.parcels, func(p *parcel) bool { return l.entries[p.repo] == nil || !l.entries[p.repo].good() })
}

// countingBack are those after a rollback over one that did not come to its end: it finishes that, and goes no further
// back. Which of the two the ledger says it was depends on what the second could read, and had to write.
func (g *theatre) countingBack(ctx context.Context, p *parcel, next sequel) ([]deed, error) {
	c, last := g.scene.cut, g.deedOf(next)
	entries, err := readEntries(ctx, g.at(g.target), p.repo, "production")
	by := map[string]bool{}
	for _, e := range entries {
		by[e.intent.Run.ID] = by[e.intent.Run.ID] || e.good()
	}
	switch {
	case !by[c.run]:
		return g.after(last), err
	case next != rerun && by[last.run]:
		last.stays = true
		return g.after(c, last), err
	default:
		return g.after(c), err
	}
}

// fixedOf is how many fixed tags there are that the run that was cut wrote.
func (g *theatre) fixedOf(ctx context.Context) (n int) {
	for _, p := range g.parcels {
		tags, err := regtest.Tags(ctx, g.at(g.target), p.repo)
		if err != nil {
			panic(err)
		}
		for _, tag := range tags {
			if strings.HasPrefix(tag, "v-"+g.scene.cut.run+"-") {
				n++
			}
		}
	}
	return n
}

// writtenAhead expects of every tag that any run wrote so far that the newest entry about it was pending in the ledger,
// and named what was written: what the run brings, or what it goes back to when it fails. A run deletes a tag only that
// it made.
func (g *theatre) writtenAhead() error {
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	heads := map[string]map[string][]entry{}
	for _, w := range g.plan.wrote {
		switch {
		case isHead(w.tag) && w.digest == "":
			return fmt.Errorf("%s:%s was deleted", w.repo, w.tag)
		case isHead(w.tag):
			entries, err := entriesIn(w.manifest)
			if err != nil {
				return err
			}
			if heads[w.repo] == nil {
				heads[w.repo] = map[string][]entry{}
			}
			heads[w.repo][w.tag] = entries
		case w.tag == "production" || strings.HasPrefix(w.tag, "v-"):
			if err := named(w, unionOf(slices.Collect(maps.Values(heads[w.repo]))...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// named expects that the newest entry about a tag is pending, and names what is written there.
func named(w tagged, entries []entry) error {
	for _, e := range slices.Backward(entries) {
		for _, t := range e.intent.Tags {
			if t.Name != w.tag {
				continue
			}
			if e.outcome.State != "pending" || w.digest != t.After && w.digest != t.Back || w.digest == "" && !t.Fixed {
				return fmt.Errorf("%s:%s became %q, while the entry of run %s said %s, %+v", w.repo, w.tag, w.digest, e.intent.Run.ID, e.outcome.State, t)
			}
			return nil
		}
	}
	return fmt.Errorf("%s:%s was written, and no entry names it", w.repo, w.tag)
}

// namesAll expects that an entry names what each tag points to that a run wrote.
func (g *theatre) namesAll(ctx context.Context, p *parcel) error {
	entries, err := readEntries(ctx, g.at(g.target), p.repo, "production")
	if err != nil {
		return err
	}
	tags, err := regtest.Tags(ctx, g.at(g.target), p.repo)
	if err != nil {
		return err
	}
	var all []error
	for _, tag := range tags {
		if tag != "production" && !strings.HasPrefix(tag, "v-") {
			continue
		}
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, tag)
		known := slices.ContainsFunc(entries, func(e entry) bool {
			return slices.ContainsFunc(e.intent.Tags, func(t entryTag) bool { return t.Name == tag && (t.After == now || t.Back == now) })
		})
		if err != nil || !known && (tag != "production" || now != p.old) {
			all = append(all, fmt.Errorf("no entry says that %s:%s points to %s: %w", p.repo, tag, now, err))
		}
	}
	return errors.Join(all...)
}

// keepsFinal expects that what had ended when this was called last is in the ledger as it was then.
func (g *theatre) keepsFinal(ctx context.Context) error {
	var all []error
	for _, p := range g.parcels {
		entries, err := readEntries(ctx, g.at(g.target), p.repo, "production")
		if err != nil {
			return err
		}
		now := map[string]entry{}
		for _, e := range entries {
			if e.outcome.State != "pending" {
				now[e.intent.ID] = e
			}
		}
		for id, was := range g.final[p.repo] {
			if !reflect.DeepEqual(was, now[id]) {
				all = append(all, fmt.Errorf("%s: what had ended as %+v is now %+v", p.repo, was, now[id]))
			}
		}
		g.final[p.repo] = now
	}
	return errors.Join(all...)
}

// truthful compares what a run says, and what its entries say, with what is there.
func (g *theatre) truthful(ctx context.Context, d document.Report, l left) error {
	var all []error
	switch {
	case d.Result.ExitCode() == 0:
		all = append(all, g.told(ctx, g.after(g.scene.cut)))
	case d.Result == document.Unrecorded && !l.whole:
		all = append(all, errors.New("unrecorded, and not every tag has moved"))
	case len(d.Faults) == 0:
		all = append(all, errors.New("it fails without a reason"))
	}
	for n, p := range g.parcels {
		all = append(all, g.namesAll(ctx, p), g.entryTrue(ctx, p, d, l.entries[p.repo]))
		if n >= len(d.Promotions) {
			continue
		}
		said := d.Promotions[n]
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, "production")
		all = append(all, err, truth(said, "production", now))
		if e := l.entries[p.repo]; said.Recorded && d.Result != document.Unchanged && (e == nil || e.record != said.Record || !e.good()) {
			all = append(all, fmt.Errorf("%s: the record %s is said to be listed, but the entry is %+v", p.repo, said.Record, e))
		}
	}
	return errors.Join(all...)
}

// entryTrue compares the outcome of an entry with what its tags point to, and with the result of its run.
func (g *theatre) entryTrue(ctx context.Context, p *parcel, d document.Report, e *entry) error {
	if e == nil || e.outcome.State == "pending" {
		return nil
	}
	var all []error
	for _, t := range e.intent.Tags {
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, t.Name)
		switch {
		case err != nil:
			all = append(all, err)
		case now != e.outcome.Held[t.Name],
			e.good() && now != t.After,
			e.outcome.State == "failed" && now != t.Found && now != t.Back:
			all = append(all, fmt.Errorf("%s:%s points to %q, and the entry says %+v", p.repo, t.Name, now, e.outcome))
		}
	}
	if e.good() && !succeeded(d) || d.Result.ExitCode() == 0 && !e.good() {
		all = append(all, fmt.Errorf("%s: the run ends as %s, and its entry as %s", p.repo, d.Result, e.outcome.State))
	}
	return errors.Join(all...)
}
