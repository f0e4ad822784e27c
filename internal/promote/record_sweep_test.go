package promote_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
}

// scene is a run that is cut, and what happened before it.
type scene struct {
	setting
	single bool // the moving tag alone: there is no journal
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
		for _, vendor := range vendorsFor(s.atTarget(), n) {
			s := s
			s.name, s.vendor = s.name+" at "+vendor, vendor
			at = append(at, s)
		}
	}
	return at
}

// sequel is the run after the one that was cut.
type sequel int

const (
	rerun    sequel = iota // the same run, once more
	anew                   // the same promotion, as a run of its own
	onwards                // a promotion of another image
	backward               // a rollback
	sequels
)

func (s sequel) String() string {
	return [...]string{"the run again", "the same in a new run", "another promotion", "a rollback"}[s]
}

// TestRecordSweep cuts a run at each of its requests, in the ways of TestSweep and by letting all requests fail that go
// where one went, and then lets another run follow, and a rollback.
//
// At no time a tag moves to an image of which the run has written no record. Success is said only of what the ledger
// lists; that it is not listed yet, only of what has moved. After the next run, whichever it is, the ledger lists every
// promotion that moved the tags once, with the right outcome, and none that did not; the environment holds what the
// ledger says; the chain is whole; and a rollback goes to what was there before.
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
			if err := errors.Join(w.whole(d), w.justified(), w.told(t.Context(), w.after(s.cut))); err != nil {
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
					next = rerun
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

// touchesRecords reports whether the request is for a record, a ledger, a journal or a tag.
func (c cut) touchesRecords() bool {
	return strings.Contains(c.request, "/promotion-") || strings.Contains(c.request, "/manifests/production") || strings.Contains(c.request, "/manifests/v-")
}

// parts reports whether the cut leaves a release of which one record is written and another is not.
func (c cut) parts() bool {
	return c.way == pathBefore && strings.Contains(c.request, "PUT /v2/prod/app1/manifests/promotion-record-")
}

// recordCuts are all cuts, or a sample, which has more of those that this is about.
func recordCuts(requests []string) (all []cut) {
	number := 0
	for _, r := range requests {
		for w := range waysAndPaths {
			number++
			c := cut{number, w, r}
			if *sweepAll || number%sweepSample == 0 || c.touchesRecords() && number%61 == 0 || c.parts() {
				all = append(all, c)
			}
		}
	}
	return all
}

// theatre is a world in which a scene is played.
type theatre struct {
	*swept
	scene scene
	seen  bool                  // what was cut has been seen in place, and is put back: the ledger may say so or not
	had   map[string][]recordOf // records in each repository before the run that is cut
}

func (s scene) play(t *testing.T, p *plan, run func(*testing.T, *theatre)) {
	t.Helper()
	cutting(t, s.setting, p, func(t *testing.T, w *swept) {
		g := &theatre{swept: w, scene: s, had: map[string][]recordOf{}}
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
			records, err := readRecords(t.Context(), w.at(w.target), p.repo, "production")
			if err != nil {
				t.Fatal(err)
			}
			for n, r := range records {
				if records[n].run, err = runOf(t.Context(), w.at(w.target), p.repo, r.record); err != nil {
					t.Fatal(err)
				}
			}
			g.had[p.repo] = records
		}
		w.plan.mu.Lock()
		w.plan.order, w.plan.times, w.plan.wrote = nil, nil, nil
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
	all := []error{a.sound(ctx, g.world, p.repo)}
	var want []string
	for n, d := range deeds {
		stack := letters(deeds[:n+1])
		outcome := "promoted "
		if d.brings == "" {
			outcome = "rolled-back "
		}
		want = append(want, outcome+g.digest(p, stack[len(stack)-1])+" by "+d.run)
	}
	if g.seen && !slices.ContainsFunc(a.good(), func(l string) bool { return strings.HasSuffix(l, " by "+g.scene.cut.run) }) {
		want = slices.DeleteFunc(want, func(l string) bool { return strings.HasSuffix(l, " by "+g.scene.cut.run) })
	}
	if got := a.good(); !slices.Equal(got, want) {
		all = append(all, fmt.Errorf("%s: the ledger lists\n\t%s\nand not\n\t%s", p.repo, strings.Join(a.all(), "\n\t"), strings.Join(want, "\n\t")))
	}
	for _, l := range a.lines {
		if !l.good() && l.run != g.scene.cut.run {
			all = append(all, fmt.Errorf("%s: nothing went wrong with %s", p.repo, l))
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
	l, err := g.look(ctx, d)
	if err := errors.Join(err, g.justified(), g.truthful(ctx, d, l)); err != nil {
		return false, err
	}
	return l.counts(g.scene), g.converges(ctx, next, l)
}

// left is what a run that was cut has left.
type left struct {
	success bool
	moved   map[string]bool // repositories whose moving tag holds what the run was to bring
	all     bool            // of them
	open    bool            // there is a journal that says that the tags are moving
}

// counts reports whether the run counts that was cut. One that is under way is put back by the next, unless that is the
// same.
func (l left) counts(s scene) bool { return l.success || l.all && (s.single || !l.open) }

func (g *theatre) look(ctx context.Context, d document.Report) (left, error) {
	l := left{success: succeeded(d), moved: map[string]bool{}}
	stack := letters(g.after(g.scene.cut))
	for _, p := range g.parcels {
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, "production")
		if err != nil {
			return l, err
		}
		if now == g.digest(p, stack[len(stack)-1]) {
			l.moved[p.repo] = true
		}
	}
	l.all = len(l.moved) == len(g.parcels)
	var err error
	l.open, err = g.underWay(ctx)
	return l, err
}

// underWay reports whether there is a journal which says that tags are moving.
func (w *world) underWay(ctx context.Context) (bool, error) {
	const head = "promotion-journal-production"
	repo := w.parcels[0].repo
	if _, exists, err := regtest.TagDigest(ctx, w.at(w.target), repo, head); err != nil || !exists {
		return false, err
	}
	_, text, err := regtest.GetManifest(ctx, w.at(w.target), repo, head)
	if err != nil {
		return false, err
	}
	var m manifestOf
	var journal struct{ Done bool }
	err = errors.Join(json.Unmarshal(text, &m), json.Unmarshal([]byte(m.Annotations[annotated+"journal"]), &journal))
	return !journal.Done, err
}

func succeeded(d document.Report) bool {
	return d.Result.ExitCode() == 0 || d.Result == document.Unrecorded
}

// converges makes the next run, and a rollback after it.
func (g *theatre) converges(ctx context.Context, next sequel, l left) error {
	again := g.do(ctx, nil, g.deedOf(next))
	g.seen = next == backward && l.open && !l.success && g.scene.cut.brings != ""
	deeds := map[string][]deed{}
	deepest, shallowest := 0, len(g.scene.before)+9
	for _, p := range g.parcels {
		deeds[p.repo] = g.counting(p, next, l)
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
	err := g.toldEach(ctx, deeds)
	if again.Result.ExitCode() != 0 {
		err = errors.Join(fmt.Errorf("it ends as %s: %+v", again.Result, again.Faults), err)
	}
	if !g.scene.single && (g.fixedOf(ctx) > 0) != (next == rerun || l.counts(g.scene)) {
		err = errors.Join(err, fmt.Errorf("%d fixed tags of the run that was cut, which counts: %v", g.fixedOf(ctx), l.counts(g.scene)))
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
	r := g.do(ctx, nil, back)
	if err := errors.Join(g.whole(r), g.toldEach(ctx, deeds)); err != nil {
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
func (g *theatre) counting(p *parcel, next sequel, l left) []deed {
	c, last := g.scene.cut, g.deedOf(next)
	switch {
	case next == rerun, next == anew && c.brings != "" && g.scene.single && l.counts(g.scene): // nothing is left to do
		return g.after(c)
	case last.brings == "" && l.open && !l.success:
		return g.countingBack(p, l)
	case l.counts(g.scene):
		return g.after(c, last)
	default:
		return g.after(last)
	}
}

// countingBack are those after a rollback where a release was ended while its tags moved. What it brought is undone,
// which the ledger may say where somebody could see it; the others, of which nothing moved, stay. A rollback that was ended
// is not counted, and gone on with.
func (g *theatre) countingBack(p *parcel, l left) []deed {
	c, last := g.scene.cut, deed{run: "200"}
	switch {
	case c.brings == "" || len(l.moved) == 0:
		return g.after(last)
	case l.moved[p.repo]:
		return g.after(c, last)
	default:
		return g.after()
	}
}

// fixedOf is how many fixed tags there are that the run that was cut wrote.
func (g *theatre) fixedOf(ctx context.Context) (n int) {
	p := g.parcels[0]
	tags, err := regtest.Tags(ctx, g.at(g.target), p.repo)
	if err != nil {
		panic(err)
	}
	for _, tag := range tags {
		if strings.HasPrefix(tag, "v-"+g.scene.cut.run+"-") {
			n++
		}
	}
	return n
}

// justified expects that the run wrote no tag, but to put it back, before there was a record of its own that has the
// image for its subject.
func (g *theatre) justified() error {
	g.plan.mu.Lock()
	defer g.plan.mu.Unlock()
	stack := letters(g.after(g.scene.cut))
	recorded := map[string]bool{}
	for _, p := range g.parcels {
		recorded[p.repo] = slices.ContainsFunc(g.had[p.repo], func(r recordOf) bool {
			return r.run == g.scene.cut.run && r.subject == g.digest(p, stack[len(stack)-1])
		})
	}
	for _, w := range g.plan.wrote {
		for _, p := range g.parcels {
			brings := g.digest(p, stack[len(stack)-1])
			switch {
			case w.repo != p.repo:
			case strings.HasPrefix(w.tag, "promotion-record-production-"):
				recorded[p.repo] = recorded[p.repo] || w.subject == brings
			case (w.tag == "production" || strings.HasPrefix(w.tag, "v-")) && w.digest == brings && !recorded[p.repo]:
				return fmt.Errorf("%s:%s was written before its record", p.repo, w.tag)
			}
		}
	}
	return nil
}

// truthful compares what a run says with what is there.
func (g *theatre) truthful(ctx context.Context, d document.Report, l left) error {
	var all []error
	switch {
	case d.Result.ExitCode() == 0:
		all = append(all, g.told(ctx, g.after(g.scene.cut)))
	case d.Result == document.Unrecorded && !l.all:
		all = append(all, errors.New("unrecorded, and not every tag has moved"))
	case len(d.Faults) == 0:
		all = append(all, errors.New("it fails without a reason"))
	}
	for n, p := range g.parcels {
		a, err := readAnnals(ctx, g.at(g.target), p.repo, "production")
		if err != nil {
			return err
		}
		all = append(all, a.sound(ctx, g.world, p.repo))
		if n >= len(d.Promotions) {
			continue
		}
		said := d.Promotions[n]
		now, _, err := regtest.TagDigest(ctx, g.at(g.target), p.repo, "production")
		all = append(all, err, truth(said, "production", now))
		listed := slices.ContainsFunc(a.lines, func(l annal) bool {
			return l.record == said.Record && l.good() == succeeded(d) && l.run == g.scene.cut.run
		})
		if said.Recorded && !listed {
			all = append(all, fmt.Errorf("%s: the record %s is said to be listed, but the ledger has\n\t%s", p.repo, said.Record, strings.Join(a.all(), "\n\t")))
		}
		if !succeeded(d) && slices.ContainsFunc(a.lines, func(l annal) bool { return l.run == g.scene.cut.run && l.good() }) {
			all = append(all, fmt.Errorf("%s: the run failed, and the ledger has\n\t%s", p.repo, strings.Join(a.all(), "\n\t")))
		}
	}
	return errors.Join(all...)
}
