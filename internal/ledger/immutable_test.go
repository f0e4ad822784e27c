package ledger

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// immutables are repositories whose tags cannot be changed: none of them, or none but a few.
var immutables = map[string]func(repository, tag string) bool{
	"all tags":             func(string, string) bool { return true },
	"all but the ledger's": func(_, tag string) bool { return !strings.HasPrefix(tag, "promotion-ledger-") },
}

// caughtUp is the ledger as a run sees it that knows the repository's tags.
func (g *rig) caughtUp(b *Book) (*Page, CaughtUp) {
	g.Helper()
	p, caught, err := b.CatchUp(g.Context(), g.read(b), Sources{Tags: g.tags()})
	if err != nil {
		g.Fatal(err, registry.HintOf(err))
	}
	return p, caught
}

// TestImmutableRepository: what each run writes is found by the next, chained, in order, and its user is told what to set.
func TestImmutableRepository(t *testing.T) {
	long(t)
	for name, is := range immutables {
		t.Run(name, func(t *testing.T) {
			withAndWithout(t, func(t *testing.T, o regtest.Options) {
				o.Immutable = is
				g := newRig(t, o, 2)
				var want []string
				for n := range 30 {
					b := g.book()
					p, caught := g.caughtUp(b)
					if len(caught.Lines) > 0 || caught.Rebuilt {
						t.Fatalf("run %d: caught up %+v", n, caught)
					}
					image, before := g.images[n%2], ""
					if n > 0 {
						before = g.images[(n+1)%2].Digest.String()
					}
					w := g.attach(b, p, g.record(n, image, before), image)
					p = g.append(b, p, w, document.OutcomePromoted)
					if p.Last() != w.Digest() || len(p.entries) != n+1 {
						t.Fatalf("run %d: %d lines, the last %s", n, len(p.entries), p.Last())
					}
					want = append(want, w.Digest())
					told := strings.Join(b.Notices(), " ")
					if ledger := name == "all tags" && n > 0; strings.Contains(told, "promotion-ledger*") != ledger {
						t.Errorf("run %d: notices %q", n, told)
					}
					if list := !o.Referrers && n > 1; strings.Contains(told, "not listed") != list {
						t.Errorf("run %d: notices %q", n, told)
					}
				}
				b := g.book()
				p, _ := g.caughtUp(b)
				h, err := b.History(t.Context(), p, 0)
				if got := recordsOf(h.Lines); err != nil || !slices.Equal(got, want) || !h.Whole || h.Rebuilt {
					t.Errorf("%d lines of %d, whole %v, rebuilt %v, error %v", len(got), len(want), h.Whole, h.Rebuilt, err)
				}
				raws := map[string][]byte{}
				for _, line := range h.Lines {
					if _, raws[line.Record], err = b.Record(t.Context(), line); err != nil {
						t.Error(err)
					}
				}
				if findings := Check(h, raws); len(findings) > 0 {
					t.Errorf("findings %+v", findings)
				}
			})
		})
	}
}

// TestNewestVersionIsNotTheLedgers: who has not caught up loses nothing by it, and writes behind what is there.
func TestNewestVersionIsNotTheLedgers(t *testing.T) {
	long(t)
	g := newRig(t, regtest.Options{Immutable: immutables["all tags"], Delete: true}, 1)
	var want []string
	for n := range 5 { // each with the page that is under the ledger's tag
		want = append(want, g.promote(n, g.images[0], "").Digest())
	}
	p, caught := g.caughtUp(g.book())
	if got := recordsOf(p.Lines()); !slices.Equal(got, want) || len(caught.Lines) > 0 {
		t.Errorf("lines %v, want %v, caught %+v", got, want, caught)
	}
	b := g.book() // read anew after it has caught up
	p, _ = g.caughtUp(b)
	if err := regtest.DeleteManifest(t.Context(), g.at.Access("", ""), path, versionTag(env, version{1, 1})); err != nil {
		t.Fatal(err)
	}
	w := g.attach(b, p, g.record(9, g.images[0], ""), g.images[0])
	p = g.append(b, g.read(b), w, document.OutcomePromoted)
	if len(p.entries) != 6 || p.Last() != w.Digest() {
		t.Errorf("%d lines", len(p.entries))
	}
	if lines := g.read(b).Lines(); len(lines) != 1 {
		t.Errorf("under the ledger's tag are %d lines", len(lines))
	}
}

// TestOutcomeOfAnotherAttempt is written although the number of lines stays.
func TestOutcomeOfAnotherAttempt(t *testing.T) {
	g := newRig(t, regtest.Options{Immutable: immutables["all tags"]}, 2)
	g.promote(0, g.images[0], "")
	before := g.images[0].Digest.String()
	for attempt, outcome := range []document.Outcome{document.OutcomeFailed, document.OutcomePromoted} {
		b, r := g.book(), g.record(1, g.images[1], before)
		r.Job.Attempt = fmt.Sprint(attempt + 1)
		p, _ := g.caughtUp(b)
		w := g.attach(b, p, r, g.images[1])
		if w.Reused != (attempt > 0) {
			t.Errorf("attempt %d: reused %v", attempt, w.Reused)
		}
		g.append(b, p, w, outcome)
	}
	if p, _ := g.caughtUp(g.book()); outcomes(p) != "promoted promoted" {
		t.Errorf("outcomes %s", outcomes(p))
	}
}

// TestUnionOfVersions has all lines of the newer, and is more where what is there has been added to already.
func TestUnionOfVersions(t *testing.T) {
	one, two := &Page{serial: 1, entries: []entry{testEntry(0)}}, &Page{serial: 2, entries: []entry{testEntry(0)}}
	for _, u := range []*Page{union(one, two), union(two, one)} {
		if u.serial != 2 || u.changed {
			t.Errorf("version %d, changed %v", u.serial, u.changed)
		}
	}
	if u := union(&Page{part: 2, serial: 1, older: digest(1)}, &Page{serial: 9}); u.serial != 1 {
		t.Errorf("version %d of another part", u.serial)
	}
	if u := union(one.with(testEntry(1)), two); !u.changed {
		t.Error("what was added is forgotten")
	}
}

// TestImmutabilityThatEnds: once the ledger's tag can be changed it has every line, and versions are not read any more.
func TestImmutabilityThatEnds(t *testing.T) {
	fixed := true
	g := newRig(t, regtest.Options{Immutable: func(string, string) bool { return fixed }}, 1)
	run := func(n int) {
		b := g.book()
		p, _ := g.caughtUp(b)
		w := g.attach(b, p, g.record(n, g.images[0], ""), g.images[0])
		g.append(b, p, w, document.OutcomePromoted)
	}
	for n := range 4 {
		if n == 3 {
			fixed = false
		}
		run(n)
	}
	b := g.book()
	if lines := g.read(b).Lines(); len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	tags := g.tags()
	p := g.read(b)
	g.at.ResetRequests()
	if _, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: tags}); err != nil || len(caught.Lines) > 0 || len(g.requests()) > 0 {
		t.Errorf("caught %+v, error %v, requests %v", caught, err, g.requests())
	}
	fixed = true // and begins again
	run(4)
	run(5)
	if p, caught := g.caughtUp(g.book()); len(p.entries) != 6 || len(caught.Lines) > 0 || len(g.read(b).Lines()) != 4 {
		t.Errorf("%d lines, caught %+v", len(p.entries), caught)
	}
}

// TestImmutableParts: parts roll over, and rivals at the edge lose nothing.
func TestImmutableParts(t *testing.T) {
	long(t)
	g := newRig(t, regtest.Options{Referrers: true, Immutable: immutables["all tags"]}, 2)
	b := g.book()
	g.fill(b, g.read(b), 0, 3)
	p, _ := g.caughtUp(b)
	p = g.fill(b, p, 3, maxLines-1)
	var written []string
	for n := range 4 { // each with the page as it was before
		b := g.book()
		w := g.attach(b, p, g.record(maxLines+n, g.images[0], ""), g.images[0])
		written = append(written, w.Digest())
		g.append(b, p, w, document.OutcomePromoted)
	}
	p, caught := g.caughtUp(g.book())
	h, err := b.History(t.Context(), p, 0)
	if err != nil || len(missing(written, h.Lines)) > 0 || len(h.Lines) != maxLines+3 || p.part != 2 || len(caught.Lines) > 0 {
		t.Errorf("%d lines, part %d, caught %+v, error %v", len(h.Lines), p.part, caught, err)
	}
	for _, f := range Check(h, nil) {
		if f.Damage != Forked {
			t.Errorf("found %+v", f)
		}
	}
}

// TestFiveWritersInAnImmutableRepository at once lose nothing.
func TestFiveWritersInAnImmutableRepository(t *testing.T) {
	long(t)
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		for seed := range uint64(4) {
			o.Immutable = immutables["all tags"]
			synctest.Test(t, func(t *testing.T) { manyFixed(t, o, seed, 5) })
		}
	})
}

func manyFixed(t *testing.T, o regtest.Options, seed uint64, writers int) {
	memory := regtest.NewMemory()
	o.Memory, o.Wrap = memory, slow(seed)
	at, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{T: t, at: at}
	g.push(2)
	var transports []*http.Transport
	newBook := func() *Book {
		transports = append(transports, memory.Transport())
		return g.bookOf(registry.New(registry.Options{Transport: transports[len(transports)-1]}))
	}
	var written []string
	for round := range 6 {
		wrote := make([]string, writers)
		var all sync.WaitGroup
		for n := range writers {
			b, image := newBook(), g.images[n%2]
			all.Go(func() {
				p, _ := g.caughtUp(b)
				w := g.attach(b, p, g.record(round*writers+n, image, ""), image)
				g.append(b, p, w, document.OutcomePromoted)
				wrote[n] = w.Digest()
			})
		}
		all.Wait()
		written = append(written, wrote...)
	}
	b := newBook()
	p, caught := g.caughtUp(b)
	h, err := b.History(t.Context(), p, 0)
	if still := missing(written, h.Lines); err != nil || len(still) > 0 || len(h.Lines) != len(written) {
		t.Errorf("%d lines, without %v, error %v", len(h.Lines), still, err)
	}
	for _, f := range Check(h, nil) {
		if f.Damage != Forked {
			t.Errorf("found %+v", f)
		}
	}
	t.Logf("%d of %d lines had to be found again", len(caught.Lines), len(written))
	for _, tr := range transports {
		tr.CloseIdleConnections()
	}
	memory.Close()
	if err := at.Close(); err != nil {
		t.Error(err)
	}
}

// TestVersionsThatAreNone: what stands where a version should be is an error, as under the ledger's tag.
func TestVersionsThatAreNone(t *testing.T) {
	for name, m := range map[string]registry.Manifest{
		"no ledger": garbage, "another ledger": (&Page{}).manifest("staging"), "another part": (&Page{part: 3, older: digest(1)}).manifest(env),
	} {
		g := newRig(t, regtest.Options{}, 1)
		g.promote(0, g.images[0], "")
		g.overwrite(versionTag(env, version{2, 7}), m)
		b := g.book()
		p, _, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
		if err == nil || registry.HintOf(err) == "" || len(p.entries) != 1 {
			t.Errorf("%s: error %v", name, err)
		}
	}
	full := &Page{serial: maxSerial, entries: []entry{testEntry(0)}}
	g := newRig(t, regtest.Options{Immutable: immutables["all tags"]}, 1)
	g.promote(0, g.images[0], "")
	if _, err := g.book().Write(t.Context(), full.with(testEntry(1))); err == nil || errors.Is(err, errTaken) || !strings.Contains(err.Error(), "versions") {
		t.Errorf("error %v", err)
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
