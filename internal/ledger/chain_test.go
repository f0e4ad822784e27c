package ledger

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestTampering: what somebody who may push does to a ledger is found by reading it again, or by the records' tags.
func TestTampering(t *testing.T) {
	type found struct {
		damage Damage
		line   int // of the untouched ledger, from 0
	}
	edit := func(line int, name, text string) func(*Page) {
		return func(p *Page) { p.entries[line].layer.Annotations[notes+name] = text }
	}
	for name, test := range map[string]struct {
		tamper  func(p *Page)
		want    []found
		missing []int // lines that only the records' tags show
	}{
		"nothing":           {tamper: func(*Page) {}},
		"one dropped":       {func(p *Page) { p.entries = slices.Delete(p.entries, 2, 3) }, []found{{Removed, 3}}, []int{2}},
		"two dropped":       {func(p *Page) { p.entries = slices.Delete(p.entries, 1, 3) }, []found{{Removed, 3}}, []int{1, 2}},
		"the first dropped": {func(p *Page) { p.entries = p.entries[1:] }, []found{{Removed, 1}}, []int{0}},
		"all dropped":       {func(p *Page) { p.entries = nil }, nil, []int{0, 1, 2, 3, 4}},
		"the end cut off":   {func(p *Page) { p.entries = p.entries[:3] }, nil, []int{3, 4}},
		"two swapped":       {func(p *Page) { p.entries[1], p.entries[2] = p.entries[2], p.entries[1] }, []found{{Disordered, 2}, {Disordered, 1}}, nil},
		"one twice":         {func(p *Page) { p.entries = append(p.entries, p.entries[1]) }, []found{{Forked, 1}}, nil},
		"another digest":    {edit(1, "digest", digest(7)), []found{{Altered, 1}}, nil},
		"another record": {func(p *Page) {
			p.entries[2].layer.Digest = p.entries[1].layer.Digest
			p.entries[2].layer.Size = p.entries[1].layer.Size
		}, []found{{Forked, 1}, {Altered, 1}, {Removed, 3}}, nil},
		"another repository":  {edit(1, "repository", "ghcr.io/evil/app"), []found{{Altered, 1}}, nil},
		"another actor":       {edit(1, "actor", "eve"), []found{{Altered, 1}}, nil},
		"another reason":      {edit(1, "reason", ""), []found{{Altered, 1}}, nil},
		"another time":        {edit(4, "time", "2030-01-01T00:00:00Z"), []found{{Altered, 4}}, nil},
		"no time":             {edit(1, "time", ""), []found{{Altered, 1}, {Altered, 1}}, nil},
		"another release":     {edit(1, "release", digest(7)), []found{{Altered, 1}}, nil},
		"other tags":          {edit(1, "tags", "canary"), []found{{Altered, 1}}, nil},
		"a false rollback":    {edit(1, "result", "rolled-back"), []found{{Altered, 1}}, nil},
		"no result":           {edit(1, "result", ""), []found{{Altered, 1}}, nil},
		"follows another":     {edit(3, "previous-record", digest(7)), []found{{Removed, 3}, {Altered, 3}}, nil},
		"follows its second":  {edit(3, "previous-record", "its second"), []found{{Forked, 3}, {Altered, 3}}, nil},
		"follows a later one": {edit(1, "previous-record", "its last"), []found{{Disordered, 1}, {Altered, 1}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, regtest.Options{}, 5)
			before, records := "", []string(nil)
			for n, image := range g.images {
				records = append(records, g.promote(n, image, before).Digest())
				before = image.Digest.String()
			}
			b := g.book()
			p := g.read(b)
			test.tamper(p)
			for _, e := range p.entries {
				switch e.layer.Annotations[notes+"previous-record"] {
				case "its second":
					e.layer.Annotations[notes+"previous-record"] = records[1]
				case "its last":
					e.layer.Annotations[notes+"previous-record"] = records[4]
				}
			}
			g.overwrite("promotion-ledger-production", p.manifest(env))

			h := g.history(b)
			raws := map[string][]byte{}
			for _, line := range h.Lines {
				_, raw, err := b.Record(t.Context(), line)
				if err != nil {
					t.Fatal(err)
				}
				raws[line.Record] = raw
			}
			var got []found
			for _, f := range Check(h, raws) {
				got = append(got, found{f.Damage, slices.Index(records, f.Record)})
				if f.Message == "" {
					t.Errorf("%+v says nothing", f)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", got, test.want)
			}
			_, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
			var behind []int
			for _, line := range caught.Lines {
				behind = append(behind, slices.Index(records, line.Record))
			}
			if err != nil || !slices.Equal(behind, test.missing) {
				t.Errorf("missing %v, want %v, error %v", behind, test.missing, err)
			}
		})
	}
}

// TestForgedRecord: one that is written like any other, and follows one that has been followed already.
func TestForgedRecord(t *testing.T) {
	for name, test := range map[string]struct {
		cut     bool // what came after the one that it follows is taken away
		missing int  // lines that only the records' tags show
		found   bool // without them
	}{
		"beside the true ones":      {false, 0, true},
		"in the place of true ones": {true, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, regtest.Options{Referrers: true}, 5)
			before := ""
			for n, image := range g.images[:4] {
				g.promote(n, image, before)
				before = image.Digest.String()
			}
			b := g.book()
			now := g.read(b)
			old := *now
			old.entries = slices.Clone(now.entries[:2])
			forged := g.attach(b, &old, g.record(9, g.images[4], before), g.images[4])
			if test.cut {
				now = &old
			}
			e, err := newEntry(forged.Line(document.OutcomePromoted), nil)
			if err != nil {
				t.Fatal(err)
			}
			g.overwrite("promotion-ledger-production", now.with(e).manifest(env))

			forks := func(p *Page) (forks int) {
				h, err := b.History(t.Context(), p, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range Check(h, nil) {
					if f.Damage != Forked {
						t.Errorf("found %+v", f)
					}
					forks++
				}
				return forks
			}
			if n := forks(g.read(b)); n > 0 != test.found {
				t.Errorf("%d forks", n)
			}
			p, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
			if err != nil || len(caught.Lines) != test.missing || forks(p) != 1 {
				t.Errorf("caught %+v, %d forks, error %v", caught, forks(p), err)
			}
		})
	}
}

// TestBytesOfARecord that are not its own are found.
func TestBytesOfARecord(t *testing.T) {
	g := newRig(t, regtest.Options{}, 1)
	w := g.promote(0, g.images[0], "")
	b := g.book()
	h := g.history(b)
	_, raw, err := b.Record(t.Context(), h.Lines[0])
	if err != nil || len(Check(h, map[string][]byte{w.Digest(): raw})) > 0 {
		t.Fatal(err, Check(h, map[string][]byte{w.Digest(): raw}))
	}
	for name, bad := range map[string][]byte{"altered": bytes.Replace(raw, []byte("ada"), []byte("eve"), 1), "empty": {}} {
		if f := Check(h, map[string][]byte{w.Digest(): bad}); len(f) != 1 || f[0].Damage != Altered {
			t.Errorf("%s: %+v", name, f)
		}
	}
	none := []byte("no record")
	line := h.Lines[0]
	line.Record = blobOf(none).Digest.String()
	if f := Check(History{Lines: []document.Line{line}, Whole: true}, map[string][]byte{line.Record: none}); len(f) != 1 || f[0].Damage != Altered {
		t.Errorf("%+v", f)
	}
}

// TestForks: two runs that followed the same record, at the start too.
func TestForks(t *testing.T) {
	line := func(n int, previous string) document.Line {
		return document.Line{Record: digest(n), PreviousRecord: previous, Time: noon.Add(time.Duration(n) * time.Second)}
	}
	for name, test := range map[string]struct {
		lines []document.Line
		h     History
		want  string
	}{
		"a chain":                    {[]document.Line{line(1, ""), line(2, digest(1)), line(3, digest(2))}, History{Whole: true}, ""},
		"two firsts":                 {[]document.Line{line(1, ""), line(2, "")}, History{Whole: true}, "forked 2"},
		"two that follow one":        {[]document.Line{line(1, ""), line(2, digest(1)), line(3, digest(1)), line(4, digest(3))}, History{Whole: true}, "forked 3"},
		"the older part is not read": {[]document.Line{line(5, digest(4)), line(6, digest(5))}, History{}, ""},
		"its beginning is gone":      {[]document.Line{line(5, digest(4)), line(6, digest(5))}, History{Whole: true}, "removed 5"},
		"it was rebuilt":             {[]document.Line{line(5, digest(4)), line(6, digest(5))}, History{Whole: true, Rebuilt: true}, ""},
		"rebuilt with a hole":        {[]document.Line{line(5, digest(4)), line(7, digest(6))}, History{Whole: true, Rebuilt: true}, "removed 7"},
		"older than the one before":  {[]document.Line{line(5, ""), line(4, digest(5))}, History{Whole: true}, "disordered 4"},
	} {
		test.h.Lines = test.lines
		var got []string
		for _, f := range Check(test.h, nil) {
			for i := range 10 {
				if digest(i) == f.Record {
					got = append(got, fmt.Sprint(f.Damage, " ", i))
				}
			}
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: found %v, want %q", name, got, test.want)
		}
	}
}

// TestHostileLines are read, say what is wrong with them, and count for nothing.
func TestHostileLines(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for name, change := range map[string]func(*entry){
		"another type":        func(e *entry) { e.layer.MediaType = "text/plain" },
		"no size":             func(e *entry) { e.layer.Size = 0 },
		"a great size":        func(e *entry) { e.layer.Size = 1 << 40 },
		"no annotations":      func(e *entry) { e.layer.Annotations = nil },
		"a time that is none": func(e *entry) { e.layer.Annotations[notes+"time"] = "yesterday" },
		"a time before time":  func(e *entry) { e.layer.Annotations[notes+"time"] = "0001-01-01T00:00:00Z" },
		"a move at no time":   func(e *entry) { e.layer.Annotations[notes+"moved"] = "later" },
		"no repository":       func(e *entry) { delete(e.layer.Annotations, notes+"repository") },
		"a digest as a path":  func(e *entry) { e.layer.Annotations[notes+"digest"] = "../../v2/evil" },
		"a long digest":       func(e *entry) { e.layer.Annotations[notes+"previous-digest"] = "sha256:" + long },
		"a release as a path": func(e *entry) { e.layer.Annotations[notes+"release"] = "../x" },
		"a tag as a path":     func(e *entry) { e.layer.Annotations[notes+"record-tag"] = "../blobs" },
		"a name of no tag":    func(e *entry) { e.layer.Annotations[notes+"tags"] = "production,a b" },
	} {
		e := testEntry(1)
		change(&e)
		m := (&Page{entries: []entry{testEntry(0), e, testEntry(2)}}).manifest(env)
		p, err := parsePage(m, env)
		if err != nil {
			t.Fatal(name, err)
		}
		lines := p.Lines()
		if lines[1].Fault == "" || lines[0].Fault != "" || lines[2].Fault != "" || len(lines[1].Fault) > 1000 {
			t.Errorf("%s: %+v", name, lines[1])
		}
		if len(Replay(lines).stack) != 2 {
			t.Errorf("%s counts", name)
		}
		if f := Check(History{Lines: lines, Whole: true}, nil); len(f) == 0 || f[0].Damage != Altered {
			t.Errorf("%s: found %+v", name, f)
		}
	}
	for name, raw := range map[string]string{
		"nothing": "", "no JSON": "ledger", "another type": `{"artifactType":"` + long + `"}`, "no list": `{"artifactType":"` + Type + `","layers":7,"annotations":{"` + notes + `ledger":"production","` + notes + `part":"1"}}`,
		"lines of nothing": `{"artifactType":"` + Type + `","layers":[{}],"annotations":{"` + notes + `ledger":"production","` + notes + `part":"1"}}`,
		"a great part":     `{"artifactType":"` + Type + `","annotations":{"` + notes + `ledger":"production","` + notes + `part":"1001","` + notes + `older":"` + digest(1) + `"}}`,
		"another ledger":   `{"artifactType":"` + Type + `","annotations":{"` + notes + `ledger":"` + long + `","` + notes + `part":"1"}}`,
		"too many lines":   `{"artifactType":"` + Type + `","layers":[` + strings.Repeat(`{"digest":"`+digest(1)+`"},`, mostLines) + `{"digest":"` + digest(1) + `"}],"annotations":{"` + notes + `ledger":"production","` + notes + `part":"1"}}`,
	} {
		if p, err := parsePage(registry.NewManifest("", []byte(raw)), env); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: %+v, error %.2000v", name, p, err)
		}
	}
}
