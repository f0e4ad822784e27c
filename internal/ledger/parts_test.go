package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// fill appends many lines at once, as many runs would have. Their records are stored, and in no tag.
func (g *rig) fill(b *Book, p *Page, from, to int) *Page {
	g.Helper()
	for n := from; n < to; n++ {
		r := g.record(n, g.images[n%len(g.images)], g.images[(n+1)%len(g.images)].Digest.String())
		r.Ledger, r.PreviousRecord = env, p.Last()
		raw, err := r.Encode()
		if err != nil {
			g.Fatal(err)
		}
		if err := b.put(g.Context(), blobOf(raw), raw); err != nil {
			g.Fatal(err)
		}
		line := document.LineOf(r, blobOf(raw).Digest.String(), int64(len(raw)), document.OutcomePromoted)
		line.RecordTag = recordTag(env, identity(r))
		e, err := newEntry(line, nil)
		if err != nil {
			g.Fatal(err)
		}
		p = p.with(e)
	}
	if err := b.put(g.Context(), empty, []byte(emptyConfig)); err != nil {
		g.Fatal(err)
	}
	p, err := b.Write(g.Context(), p)
	if err != nil {
		g.Fatal(err)
	}
	return p
}

// TestParts: a ledger goes on in a new part when one is full, and the older ones stay.
func TestParts(t *testing.T) {
	long(t)
	g := newRig(t, regtest.Options{Referrers: true}, 3)
	b := g.book()
	p := g.fill(b, g.read(b), 0, maxLines)
	if p.part != 1 || len(p.entries) != maxLines || p.older != "" {
		t.Fatalf("part %d with %d lines, older %q", p.part, len(p.entries), p.older)
	}
	p = g.fill(b, p, maxLines, maxLines+1)
	if p.part != 2 || len(p.entries) != 1 {
		t.Fatalf("part %d with %d lines", p.part, len(p.entries))
	}
	p = g.fill(b, p, maxLines+1, 2*maxLines+50) // over the edge within one write
	if p.part != 3 || len(p.entries) != 50 {
		t.Fatalf("part %d with %d lines", p.part, len(p.entries))
	}
	h := g.history(b)
	if len(h.Lines) != 2*maxLines+50 || !h.Whole || len(Check(h, nil)) > 0 {
		t.Fatalf("%d lines, whole %v, found %+v", len(h.Lines), h.Whole, Check(h, nil))
	}
	for n, line := range h.Lines {
		if line.Reason != fmt.Sprint("TICKET-", n) {
			t.Fatalf("line %d is %+v", n, line)
		}
	}
	g.at.ResetRequests()
	some, err := b.History(t.Context(), p, 60)
	if len(some.Lines) != maxLines+50 || some.Whole || err != nil || len(g.requests()) != 1 || len(Check(some, nil)) > 0 {
		t.Errorf("%d lines, whole %v, error %v, %v, found %v", len(some.Lines), some.Whole, err, g.requests(), Check(some, nil))
	}
	t.Run("nothing behind takes no request", func(t *testing.T) {
		tags := g.tags()
		for _, line := range h.Lines {
			tags = append(tags, line.RecordTag)
		}
		g.at.ResetRequests()
		_, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: tags})
		if len(caught.Lines) > 0 || err != nil || len(g.requests()) > 0 {
			t.Errorf("caught %+v, error %v, requests %v", caught, err, g.requests())
		}
	})
	t.Run("one behind is found among all", func(t *testing.T) {
		w := g.attach(b, p, g.record(1000, g.images[0], ""), g.images[0])
		tags := g.tags()
		for _, line := range h.Lines[:maxLines+9] {
			tags = append(tags, line.RecordTag)
		}
		next, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: tags})
		if err != nil || len(caught.Lines) != 1 || caught.Lines[0].Record != w.Digest() || next.Last() != w.Digest() {
			t.Errorf("caught %+v, error %v", caught, err)
		}
	})
	t.Run("one behind in the place of one whose tag is gone", func(t *testing.T) {
		tags := recordTagsOf(g.tags())
		for _, line := range h.Lines[1:] {
			tags = append(tags, line.RecordTag)
		}
		_, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: tags})
		if err != nil || len(caught.Lines) != 1 {
			t.Errorf("caught %+v, error %v", caught, err)
		}
	})
	t.Run("what hangs on an image and is in an older part", func(t *testing.T) {
		hangs := v1.Descriptor{ArtifactType: RecordType, Digest: g.images[0].Digest, Annotations: map[string]string{notes + "ledger": env, notes + "record": h.Lines[3].Record}}
		_, caught, err := b.CatchUp(t.Context(), p, Sources{Referrers: []v1.Descriptor{hangs}})
		if err != nil || len(caught.Lines)+len(caught.Unreadable) > 0 {
			t.Errorf("caught %+v, error %v", caught, err)
		}
	})
	t.Run("the newest part is lost", func(t *testing.T) {
		next, caught, err := b.CatchUp(t.Context(), &Page{}, Sources{Tags: g.tags()})
		if err != nil || next.part != 3 || next.older != p.older || len(caught.Lines) != 1 || !caught.Rebuilt {
			t.Errorf("part %d after %q with %d lines (%v), error %v", next.part, next.older, len(caught.Lines), caught.Rebuilt, err)
		}
	})
	t.Run("an older part is lost", func(t *testing.T) {
		middle, err := b.before(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		lost := *p
		lost.older = digest(9)
		h, err := b.History(t.Context(), &lost, 0)
		if err == nil || len(h.Lines) != 50 || h.Whole || !strings.Contains(err.Error(), "part 2") || registry.HintOf(err) == "" {
			t.Errorf("%d lines, error %v", len(h.Lines), err)
		}
		lost.older, lost.part = middle.digest.String(), 2
		if _, err = b.History(t.Context(), &lost, 0); err == nil || !strings.Contains(err.Error(), "comes after part 2") {
			t.Errorf("error %v", err)
		}
	})
}

// TestThousandRecords are listed in time over a distance of 40 ms, and only as far as they are asked for.
func TestThousandRecords(t *testing.T) {
	long(t)
	synctest.Test(t, func(t *testing.T) {
		memory := regtest.NewMemory()
		at, err := regtest.Start(regtest.Options{Memory: memory, Network: &regtest.Network{RTT: 40 * time.Millisecond, BytesPerSecond: 25 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		g := &rig{T: t, at: at}
		g.push(2)
		transport := memory.Transport()
		b := g.bookOf(registry.New(registry.Options{Transport: transport}))
		g.fill(b, g.read(b), 0, 1000)
		for least, most := range map[int]time.Duration{0: time.Second, 100: 150 * time.Millisecond} {
			began := time.Now()
			h, err := b.History(t.Context(), g.read(b), least)
			if took := time.Since(began); err != nil || took > most || len(h.Lines) < max(least, 200) || h.Whole != (least == 0) {
				t.Errorf("%d lines in %v, error %v", len(h.Lines), took, err)
			}
		}
		transport.CloseIdleConnections()
		memory.Close()
		if err := at.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestTwoBeginANewPart: two writers at the edge of a part lose nothing.
func TestTwoBeginANewPart(t *testing.T) {
	g := newRig(t, regtest.Options{Referrers: true}, 2)
	b := g.book()
	p := g.fill(b, g.read(b), 0, maxLines-1)
	var written []string
	for n := range 4 { // each with the page as it was before
		w := g.attach(b, p, g.record(maxLines+n, g.images[0], ""), g.images[0])
		written = append(written, w.Digest())
	}
	tags := g.tags()
	left, _, err := b.CatchUp(t.Context(), p, Sources{Tags: slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return tag == g.tagOf(b, written[2]) || tag == g.tagOf(b, written[3]) })})
	if err != nil {
		t.Fatal(err)
	}
	right, _, err := b.CatchUp(t.Context(), p, Sources{Tags: slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return tag == g.tagOf(b, written[0]) || tag == g.tagOf(b, written[1]) })})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write(t.Context(), left); err != nil { // part 1 ends with the first of left
		t.Fatal(err)
	}
	one := settling{Book: b, want: right}
	if _, err := one.write(t.Context()); err != nil { // and now with the first of right
		t.Fatal(err)
	}
	now, err := b.join(t.Context(), g.read(b), left)
	if err != nil {
		t.Fatal(err)
	}
	now, err = b.Write(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	h, err := b.History(t.Context(), now, 0)
	if still := missing(written, h.Lines); err != nil || len(still) > 0 || len(h.Lines) != maxLines+3 || now.part != 2 {
		t.Errorf("%d lines without %v, part %d, error %v", len(h.Lines), still, now.part, err)
	}
}

// tagOf is the tag of a record's manifest.
func (g *rig) tagOf(b *Book, record string) string {
	for _, tag := range recordTagsOf(g.tags()) {
		if f, err := b.lookUp(g.Context(), tag); err == nil && f.blob.Digest.String() == record {
			return tag
		}
	}
	return ""
}

// TestLongLines of a version that says more fill a part before it has 200 of them.
func TestLongLines(t *testing.T) {
	p := &Page{}
	for n := range 30 {
		e := testEntry(n)
		e.layer.Annotations["org.example.long"] = strings.Repeat("x", 200<<10)
		p = p.with(e)
	}
	pages := p.split()
	lines := 0
	for n, page := range pages {
		if size := len(page.manifest(env).Raw); size > registry.MaxManifest || page.number() != n+1 {
			t.Errorf("part %d has %d bytes", page.number(), size)
		}
		lines += len(page.entries)
	}
	if len(pages) < 3 || lines != 30 {
		t.Errorf("%d parts with %d lines", len(pages), lines)
	}
}

// testEntry is the nth of a ledger in which each follows the one before.
func testEntry(n int) entry {
	line := document.Line{
		Time: noon.Add(time.Duration(n) * time.Minute), Environment: env, Mode: document.ModePromote, Outcome: document.OutcomePromoted,
		From: "staging", Repository: "ghcr.io/prod/app", Digest: digest(1000 + n), PreviousDigest: digest(999 + n), Tags: []string{env},
		Actor: "ada", Reason: "TICKET-1", Run: "https://github.com/acme/app/actions/runs/1", Record: digest(n), Size: 1000,
		RecordTag: recordTag(env, fmt.Sprintf("%032x", n)), Release: digest(5000 + n),
	}
	if n > 0 {
		line.PreviousRecord = digest(n - 1)
	}
	e, err := newEntry(line, nil)
	if err != nil {
		panic(err)
	}
	return e
}

// TestUnknownAnnotations of a newer version stay, whoever writes.
func TestUnknownAnnotations(t *testing.T) {
	g := newRig(t, regtest.Options{}, 2)
	g.promote(0, g.images[0], "")
	b := g.book()
	p := g.read(b)
	newer := *p
	newer.extra["org.example.page"] = "kept"
	newer.entries[0].layer.Annotations["org.example.line"] = "kept too"
	newer.entries[0].layer.Annotations[notes+"weather"] = "fair"
	g.overwrite("promotion-ledger-production", newer.manifest(env))
	g.promote(1, g.images[1], "")
	p = g.read(b)
	failed := p.entries[0].Line
	failed.Outcome = document.OutcomeUnconfirmed
	e, err := newEntry(failed, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.entries {
		for name, text := range e.layer.Annotations {
			if text == "" {
				t.Errorf("%s is empty", name)
			}
		}
	}
	poor := *p
	failed.Outcome = document.OutcomeFailed
	worse, err := newEntry(failed, p.entries[0].layer.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	poor.entries = []entry{worse}
	rich, err := newEntry(p.entries[0].Line, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]*Page{
		"bettered": poor.with(rich), "appended": p, "joined": union(p, &Page{entries: []entry{e}}), "outdone": union(&Page{entries: []entry{e}, extra: p.extra}, p),
	} {
		if a := got.entries[0].layer.Annotations; a["org.example.line"] != "kept too" || a[notes+"weather"] != "fair" || got.extra["org.example.page"] != "kept" {
			t.Errorf("%s: %v, %v", name, got.extra, a)
		}
	}
}

func TestSeal(t *testing.T) {
	tag := func(n int) string { return recordTag(env, fmt.Sprintf("%032x", n)) }
	some := seal{}.with([]string{tag(1), tag(2)}).with([]string{tag(4)})
	if other := (seal{}).with([]string{tag(4), tag(2), tag(1)}); other != some || readSeal(some.String()) != some {
		t.Errorf("%v, %v, read as %v", some, other, readSeal(some.String()))
	}
	for name, other := range map[string]seal{
		"nothing": {}, "one less": seal{}.with([]string{tag(1), tag(2)}), "another": seal{}.with([]string{tag(1), tag(2), tag(5)}),
		"sum": seal{}.with([]string{tag(1), tag(2), tag(4), tag(8), tag(8)}), "no tag": some.with([]string{""}),
	} {
		if other == some {
			t.Errorf("%s has the same seal", name)
		}
	}
	for _, text := range []string{"", "3", "3-", "x-00", "1-00", "1-" + strings.Repeat("0", 34), "-"} {
		if s := readSeal(text); s != (seal{}) {
			t.Errorf("%q is read as %v", text, s)
		}
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("e", 128)
	names := map[string]string{}
	for _, key := range []string{env, "production-1", "1-production", "a", "-a", ".a", "a/b", long, long[1:], strings.Repeat("e", maxKey), "Production"} {
		id := strings.Repeat("0a", 16)
		for kind, tag := range map[string]string{"ledger": ledgerTag(key), "part": partTag(key, 1), "last": partTag(key, maxParts), "version": versionTag(key, version{1, 1}), "last version": versionTag(key, version{maxParts, maxSerial}), "record": recordTag(key, id)} {
			if other, twice := names[tag]; twice || !template.ValidTag(tag) || !Reserved(tag) {
				t.Errorf("the %s of %q is kept under %q, like %s", kind, key, tag, other)
			}
			names[tag] = kind + " of " + key
			if isRecordTag(key, tag) != (kind == "record") || (partOf(key, tag) > 0) != (kind == "part" || kind == "last") {
				t.Errorf("%s of %q: a record's tag: %v, a part's: %d", tag, key, isRecordTag(key, tag), partOf(key, tag))
			}
			if (versionOf(key, tag) != version{}) != strings.Contains(kind, "version") {
				t.Errorf("%s of %q: a version: %v", tag, key, versionOf(key, tag))
			}
			if isRecordTag("other", tag) || versionOf("other", tag).part > 0 || partOf("other", tag) > 0 {
				t.Errorf("%s is taken for one of other's", tag)
			}
		}
	}
	for _, tag := range []string{"promotion-record-production-", "promotion-record-production-" + strings.Repeat("0A", 16), "promotion-record-production-" + strings.Repeat("x", 32), env} {
		if isRecordTag(env, tag) {
			t.Errorf("%s is taken for a record's tag", tag)
		}
	}
	for _, tag := range []string{"promotion-ledger.0.1-production", "promotion-ledger.1.0-production", "promotion-ledger.01.1-production", "promotion-ledger.1.1.1-production", "promotion-ledger.1.-production", "promotion-ledger.1.100001-production", "promotion-ledger.1001.1-production"} {
		if (versionOf(env, tag) != version{}) || partOf(env, tag) != 0 {
			t.Errorf("%s is taken for a version's tag", tag)
		}
	}
	for _, tag := range []string{"promotion-ledger.0-production", "promotion-ledger.01-production", "promotion-ledger.-1-production", "promotion-ledger.x-production", "promotion-ledger.1001-production", "promotion-ledger.1"} {
		if partOf(env, tag) != 0 {
			t.Errorf("%s is taken for a part's tag", tag)
		}
	}
}
