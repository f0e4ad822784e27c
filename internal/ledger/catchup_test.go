package ledger

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// outcomes are those of a page's lines.
func outcomes(p *Page) string {
	var all []string
	for _, l := range p.Lines() {
		all = append(all, string(l.Outcome))
	}
	return strings.Join(all, " ")
}

// TestRunThatCouldNotWriteItsLine: what became of its record is told by what was seen afterwards, and by nothing else.
func TestRunThatCouldNotWriteItsLine(t *testing.T) {
	for name, test := range map[string]struct {
		mode  document.Mode
		there bool   // the image was in place before
		later string // digest that the next run found; empty: there was none
		holds string // what the moving tag holds
		want  string
	}{
		"nobody knows":                    {want: "promoted unconfirmed"},
		"the tag holds it":                {holds: "image", want: "promoted promoted"},
		"the tag holds another":           {holds: "first", want: "promoted unconfirmed"},
		"it was there before":             {there: true, holds: "image", want: "promoted unconfirmed"},
		"a rollback":                      {mode: document.ModeRollback, holds: "image", want: "promoted rolled-back"},
		"the next found it":               {later: "image", want: "promoted promoted promoted"},
		"the next found what was before":  {later: "first", want: "promoted unconfirmed promoted"},
		"the next did not, the tag does":  {later: "first", holds: "image", want: "promoted unconfirmed promoted"}, // moved by hand
		"the next found it, the tag left": {later: "image", holds: "other", want: "promoted promoted promoted"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, regtest.Options{}, 3)
			digests := map[string]string{"first": g.images[0].Digest.String(), "image": g.images[1].Digest.String(), "other": digest(5)}
			g.promote(0, g.images[0], "")
			b := g.book()
			r := g.record(1, g.images[1], digests["first"])
			if test.mode != "" {
				r.Mode = test.mode
			}
			if test.there {
				r.PreviousDigest = r.Digest
			}
			lost := g.attach(b, g.read(b), r, g.images[1])
			if test.later != "" {
				g.promote(2, g.images[2], digests[test.later])
			}
			p := g.read(b)
			if p.find(lost.Digest()) >= 0 {
				t.Fatal("it is listed")
			}
			next, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: g.tags(), Holds: digests[test.holds]})
			if err != nil || outcomes(next) != test.want || len(caught.Lines) != 1 || caught.Lines[0].Moved.IsZero() == caught.Lines[0].Outcome.Good() || caught.Rebuilt || caught.Lines[0].Outcome != next.entries[1].Outcome {
				t.Errorf("outcomes %s, want %s; caught %+v, error %v", outcomes(next), test.want, caught, err)
			}
			if p.find(lost.Digest()) >= 0 || g.read(b).find(lost.Digest()) >= 0 {
				t.Error("it was written, or the old page was changed")
			}
			written, err := b.Write(t.Context(), next)
			if err != nil || outcomes(written) != test.want {
				t.Errorf("written: %s, error %v", outcomes(written), err)
			}
			again, caught, err := b.CatchUp(t.Context(), written, Sources{Tags: g.tags()})
			if err != nil || len(caught.Lines) > 0 || again.changed {
				t.Errorf("and again: %+v, error %v", caught, err)
			}
		})
	}
}

// TestOutcomeThatIsKnownLater: a line that nobody could confirm is confirmed when somebody has seen it.
func TestOutcomeThatIsKnownLater(t *testing.T) {
	g := newRig(t, regtest.Options{}, 3)
	b := g.book()
	w := g.attach(b, g.read(b), g.record(0, g.images[0], ""), g.images[0])
	p, _, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
	if err != nil {
		t.Fatal(err)
	}
	if p, err = b.Write(t.Context(), p); err != nil || outcomes(p) != "unconfirmed" {
		t.Fatal(outcomes(p), err)
	}
	second := g.attach(b, p, g.record(1, g.images[1], w.line.Digest), g.images[1])
	p = g.append(b, p, second, document.OutcomeFailed) // it has seen the first
	p, caught, err := b.CatchUp(t.Context(), p, Sources{Tags: g.tags()})
	if err != nil || outcomes(p) != "promoted failed" || len(caught.Lines) != 1 {
		t.Errorf("outcomes %s, caught %+v, error %v", outcomes(p), caught, err)
	}
}

// TestLostLedger is made again from the records: from their tags, or from what hangs on the images.
func TestLostLedger(t *testing.T) {
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		o.Delete = true
		g := newRig(t, o, 4)
		var want []string
		before := ""
		for n, image := range g.images {
			want = append(want, g.promote(n, image, before).Digest())
			before = image.Digest.String()
		}
		n := g.repo
		if err := n.DeleteTag(t.Context(), "promotion-ledger-production"); err != nil {
			t.Fatal(err)
		}
		b := g.book()
		p := g.read(b)
		if p.Exists() {
			t.Fatal("it is still there")
		}
		var hanging Sources
		for _, image := range g.images {
			found, err := referrer.NewFinder(b.repo).Find(t.Context(), image.Digest, true, nil)
			if err != nil {
				t.Fatal(err)
			}
			hanging.Referrers = append(hanging.Referrers, found.Referrers...)
		}
		for name, sources := range map[string]Sources{
			"tags": {Tags: g.tags(), Holds: before}, "referrers": {Referrers: hanging.Referrers, Holds: before},
			"both": {Tags: g.tags(), Referrers: hanging.Referrers, Holds: before},
		} {
			got, caught, err := b.CatchUp(t.Context(), p, sources)
			if err != nil || !slices.Equal(recordsOf(got.Lines()), want) || outcomes(got) != "promoted promoted promoted promoted" || !caught.Rebuilt {
				t.Errorf("%s: %v (%s), want %v; error %v", name, recordsOf(got.Lines()), outcomes(got), want, err)
			}
			if name != "tags" {
				continue
			}
			if _, err := b.Write(t.Context(), got); err != nil {
				t.Error(err)
			}
		}
		h := g.history(b)
		if !h.Rebuilt || !slices.Equal(recordsOf(h.Lines), want) || len(Check(h, nil)) > 0 {
			t.Errorf("rebuilt: %+v, found %+v", h, Check(h, nil))
		}
		_, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags(), Referrers: hanging.Referrers})
		if err != nil || len(caught.Lines) > 0 {
			t.Errorf("and again: %+v, error %v", caught, err)
		}
	})
}

// TestWhatIsNoRecord under a record's tag is told, and hinders nobody.
func TestWhatIsNoRecord(t *testing.T) {
	g := newRig(t, regtest.Options{}, 2)
	good := g.promote(0, g.images[0], "")
	b := g.book()
	tag := func(n int) string { return recordTag(env, strings.Repeat("0", hexID-1)+string(rune('0'+n))) }
	store := func(raw []byte) image {
		if err := b.put(t.Context(), blobOf(raw), raw); err != nil {
			t.Fatal(err)
		}
		i := image{ArtifactType: RecordType}
		i.Layers = append(i.Layers, blobOf(raw))
		return i
	}
	foreign := g.record(1, g.images[1], "")
	foreign.Environment, foreign.Ledger = "staging", "staging"
	elsewhere := g.record(1, g.images[1], "")
	elsewhere.Ledger, elsewhere.Repository = env, "ghcr.io/else/where"
	text := func(r document.Record) []byte {
		raw, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	g.overwrite(tag(1), garbage)
	g.overwrite(tag(2), store([]byte("no record")).manifest())
	g.overwrite(tag(3), store(text(foreign)).manifest())
	g.overwrite(tag(4), store(text(elsewhere)).manifest())
	two := store(text(elsewhere))
	two.Layers = append(two.Layers, two.Layers[0])
	g.overwrite(tag(5), two.manifest())
	p, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
	if err != nil || len(caught.Unreadable) != 5 || len(caught.Lines) > 0 || !slices.Equal(recordsOf(p.Lines()), []string{good.Digest()}) {
		t.Errorf("lines %+v, unreadable %+v, error %v", caught.Lines, caught.Unreadable, err)
	}
	for _, u := range caught.Unreadable {
		if u.Err == nil || !strings.Contains(u.Reference, recordPrefix) {
			t.Errorf("%+v", u)
		}
	}
}

// TestTroubleIsNoLoss: a registry that does not answer is an error, and nothing is taken for lost or unreadable.
func TestTroubleIsNoLoss(t *testing.T) {
	for name, part := range map[string]string{"manifest": "/manifests/promotion-record-", "blob": "/blobs/sha256:"} {
		refuse := func(r *http.Request) bool {
			return r.Method == http.MethodGet && r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, part)
		}
		armed := false
		g := newRig(t, regtest.Options{Wrap: regtest.Answer(func(r *http.Request) bool { return armed && refuse(r) }, http.StatusForbidden, "", nil)}, 1)
		b := g.book()
		g.attach(b, g.read(b), g.record(0, g.images[0], ""), g.images[0])
		armed = true
		p, caught, err := b.CatchUp(t.Context(), g.read(b), Sources{Tags: g.tags()})
		if err == nil || len(caught.Lines)+len(caught.Unreadable) > 0 || len(p.entries) > 0 || registry.HintOf(err) == "" {
			t.Errorf("%s: caught %+v, error %v", name, caught, err)
		}
	}
}
