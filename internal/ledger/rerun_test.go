package ledger

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestAnotherAttempt of a run has the record of the first, and the line says what became of the last.
func TestAnotherAttempt(t *testing.T) {
	withAndWithout(t, func(t *testing.T, o regtest.Options) {
		g, began := newRig(t, o, 2), time.Now()
		g.promote(0, g.images[0], "")
		image, before := g.images[1], g.images[0].Digest.String()
		b := g.book()
		first := g.attach(b, g.read(b), g.record(1, image, before), image)
		g.append(b, g.read(b), first, document.OutcomeFailed)

		again := g.record(1, image, before)
		again.Job.Attempt, again.Started, again.Ended = "2", again.Started.Add(time.Hour), again.Ended.Add(time.Hour)
		b = g.book()
		p := g.read(b)
		earlier, err := b.Earlier(t.Context(), p, again.Job, again.Mode)
		if err != nil || earlier == nil || !earlier.Started.Equal(noon.Add(time.Minute)) || earlier.PreviousDigest != before {
			t.Errorf("the earlier attempt: %+v, error %v", earlier, err)
		}
		asked := len(g.requests())
		second := g.attach(b, p, again, image)
		for _, q := range g.requests()[asked:] {
			if strings.Contains(q, "GET") && strings.Contains(q, recordPrefix) {
				t.Error("asked again:", q)
			}
		}
		if !second.Reused || first.Reused || second.Digest() != first.Digest() {
			t.Errorf("the second attempt wrote %+v, the first %+v", second, first)
		}
		p = g.append(b, g.read(b), second, document.OutcomePromoted)
		lines := p.Lines()
		if len(lines) != 2 || lines[1].Record != first.Digest() || lines[1].Outcome != document.OutcomePromoted || lines[1].Moved.Before(began) {
			t.Errorf("lines %+v", lines)
		}
		p = g.append(b, g.read(b), second, document.OutcomeFailed) // what failed later was put back
		if lines := p.Lines(); lines[1].Outcome != document.OutcomePromoted {
			t.Errorf("lines %+v", lines)
		}
		if n := len(recordTagsOf(g.tags())); n != 2 {
			t.Errorf("%d records, want 2", n)
		}
	})
}

func recordTagsOf(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return !isRecordTag(env, tag) })
}

// TestNotTheSamePromotion: what only looks like an earlier attempt has a record of its own, and the earlier one stays.
func TestNotTheSamePromotion(t *testing.T) {
	for name, test := range map[string]struct {
		between func(g *rig)             // what happens after the first attempt
		change  func(r *document.Record) // how the second differs
	}{
		"another image":                    {change: func(r *document.Record) { r.Digest = digest(7); r.Tags[0].After, r.Tags[1].After = r.Digest, r.Digest }},
		"another run":                      {change: func(r *document.Record) { r.Job.RunID = "77" }},
		"another job":                      {change: func(r *document.Record) { r.Job.Name = "other" }},
		"another mode":                     {change: func(r *document.Record) { r.Mode = document.ModeRollback }},
		"other tags":                       {change: func(r *document.Record) { r.Tags[0].Name = "v2" }},
		"no run":                           {change: func(r *document.Record) { r.Job.RunID = "" }},
		"tags moved meanwhile":             {change: func(r *document.Record) { r.PreviousDigest = digest(8) }},
		"another was promoted meanwhile":   {between: func(g *rig) { g.promote(5, g.images[1], g.images[0].Digest.String()) }},
		"something else stands in its way": {between: func(g *rig) { g.overwrite(recordTagsOf(g.tags())[0], garbage) }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, regtest.Options{}, 2)
			image := g.images[0]
			first := g.promote(0, image, "")
			if test.between != nil {
				test.between(g)
			}
			r := g.record(0, image, "")
			if test.change != nil {
				test.change(&r)
			}
			r.Ended = r.Ended.Add(time.Hour)
			b := g.book()
			second := g.attach(b, g.read(b), r, image)
			if second.Reused || second.Digest() == first.Digest() {
				t.Errorf("it has the record of the first: %+v", second)
			}
			p := g.append(b, g.read(b), second, document.OutcomePromoted)
			lines := recordsOf(p.Lines())
			if !slices.Contains(lines, first.Digest()) || lines[len(lines)-1] != second.Digest() {
				t.Errorf("lines %v, want the first %s and at last %s", lines, first.Digest(), second.Digest())
			}
			if tag := second.line.RecordTag; tag == first.line.RecordTag {
				t.Errorf("both are under %s", tag)
			}
		})
	}
}

var garbage = image{ArtifactType: "application/vnd.example", Layers: nil, Annotations: map[string]string{}}.manifest()

// TestAttemptThatWasCut before the record was listed: the next one lists it.
func TestAttemptThatWasCut(t *testing.T) {
	armed := true
	g := newRig(t, regtest.Options{Wrap: regtest.Answer(func(r *http.Request) bool {
		return armed && r.Method == http.MethodPut && r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, "/manifests/sha256-")
	}, http.StatusForbidden, "", nil)}, 1)
	b := g.book()
	if _, err := attach(t.Context(), b, g.read(b), g.record(0, g.images[0], ""), g.images[0]); err == nil {
		t.Fatal("no error")
	}
	armed = false
	b = g.book()
	again := g.record(0, g.images[0], "")
	again.Job.Attempt = "2"
	w := g.attach(b, g.read(b), again, g.images[0])
	found, err := b.finder.Find(t.Context(), g.images[0].Digest, true, nil)
	if err != nil || !w.Reused || len(found.Referrers) != 1 || found.Referrers[0].Annotations[notes+"record"] != w.Digest() {
		t.Errorf("reused %v, attached %+v, error %v", w.Reused, found, err)
	}
}

// TestNoEarlierAttempt: what is not one is not taken for it.
func TestNoEarlierAttempt(t *testing.T) {
	g := newRig(t, regtest.Options{}, 2)
	first := g.record(0, g.images[0], "")
	g.promote(0, g.images[0], "")
	second := first.Job
	second.Attempt = "2"
	for name, test := range map[string]struct {
		change func(*document.Job)
		mode   document.Mode
		then   bool // somebody else has promoted since
	}{
		"the same attempt": {func(j *document.Job) { j.Attempt = "1" }, document.ModePromote, false},
		"another run":      {func(j *document.Job) { j.RunID = "77" }, document.ModePromote, false},
		"another job":      {func(j *document.Job) { j.Name = "other" }, document.ModePromote, false},
		"no run":           {func(j *document.Job) { j.RunID = "" }, document.ModePromote, false},
		"another mode":     {func(*document.Job) {}, document.ModeRollback, false},
		"not the newest":   {func(*document.Job) {}, document.ModePromote, true},
	} {
		b, job := g.book(), second
		p := g.read(b)
		test.change(&job)
		if test.then {
			p = p.with(testEntry(500))
		}
		if r, err := b.Earlier(t.Context(), p, job, test.mode); r != nil || err != nil {
			t.Errorf("%s: %+v, error %v", name, r, err)
		}
	}
	b := g.book()
	if r, err := b.Earlier(t.Context(), g.read(b), second, document.ModePromote); r == nil || err != nil {
		t.Errorf("%+v, error %v", r, err)
	}
}

// TestClocksThatDiffer: what follows another record is not older, unless that one's clock was far off.
func TestClocksThatDiffer(t *testing.T) {
	for _, test := range []struct{ last, now, want time.Duration }{
		{0, time.Minute, time.Minute},
		{time.Minute, 0, time.Minute + time.Millisecond},
		{time.Minute, time.Minute, time.Minute + time.Millisecond},
		{59 * time.Minute, 0, 59*time.Minute + time.Millisecond},
		{time.Hour, 0, 0},
		{1000 * time.Hour, 0, 0},
	} {
		if got := notBefore(noon.Add(test.last), noon.Add(test.now)); !got.Equal(noon.Add(test.want)) {
			t.Errorf("after %v, at %v: %v, want %v", test.last, test.now, got.Sub(noon), test.want)
		}
	}
	g := newRig(t, regtest.Options{}, 2)
	g.promote(9, g.images[0], "")
	g.promote(8, g.images[1], g.images[0].Digest.String())
	h := g.history(g.book())
	if findings := Check(h, nil); len(findings) > 0 || h.Lines[1].Digest != g.images[1].Digest.String() {
		t.Errorf("found %+v in %+v", findings, h.Lines)
	}
}

// TestNothingIsListedThatCannotBeWritten: where the registry refuses a part of the record, Attach fails.
func TestNothingIsListedThatCannotBeWritten(t *testing.T) {
	for name, part := range map[string]string{
		"blob": "/blobs/uploads/", "record": "/manifests/promotion-record-", "list of referrers": "/manifests/sha256-",
	} {
		refuse := func(r *http.Request) bool {
			return r.Method != http.MethodGet && r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, part)
		}
		g := newRig(t, regtest.Options{Wrap: regtest.Answer(refuse, http.StatusForbidden, "", nil)}, 1)
		b := g.book()
		if w, err := attach(t.Context(), b, g.read(b), g.record(0, g.images[0], ""), g.images[0]); !errors.Is(err, registry.ErrUnauthorized) {
			t.Errorf("%s: wrote %+v, error %v", name, w, err)
		}
	}
}

// TestRecordThatCannotBeRead is not written.
func TestRecordThatCannotBeRead(t *testing.T) {
	g := newRig(t, regtest.Options{}, 1)
	for name, change := range map[string]func(*document.Record){
		"another environment": func(r *document.Record) { r.Environment = "staging" },
		"too long":            func(r *document.Record) { r.Reason = strings.Repeat("x", document.MaxRecord) },
		"no tags":             func(r *document.Record) { r.Tags = nil },
	} {
		r := g.record(0, g.images[0], "")
		change(&r)
		b := g.book()
		p := g.read(b)
		g.at.ResetRequests()
		if _, err := attach(t.Context(), b, p, r, g.images[0]); err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(g.requests()) > 0 {
			t.Errorf("%s: %v", name, g.requests())
		}
	}
}

// TestSomethingElseUnderTheLedgersTag is an error that says what to do.
func TestSomethingElseUnderTheLedgersTag(t *testing.T) {
	other := (&Page{}).manifest("staging")
	for name, m := range map[string]registry.Manifest{
		"an image": garbage, "another ledger": other,
		"a part that is none":       image{ArtifactType: Type, Annotations: map[string]string{notes + "ledger": env, notes + "part": "x"}}.manifest(),
		"a second without first":    image{ArtifactType: Type, Annotations: map[string]string{notes + "ledger": env, notes + "part": "2"}}.manifest(),
		"a first after another":     image{ArtifactType: Type, Annotations: map[string]string{notes + "ledger": env, notes + "part": "1", notes + "older": digest(1)}}.manifest(),
		"an older one that is none": image{ArtifactType: Type, Annotations: map[string]string{notes + "ledger": env, notes + "part": "2", notes + "older": "../x"}}.manifest(),
	} {
		if p, err := parsePage(m, env); err == nil {
			t.Errorf("%s: page %+v", name, p)
		}
	}
	g := newRig(t, regtest.Options{}, 1)
	g.promote(0, g.images[0], "") // so that there is a configuration
	g.overwrite("promotion-ledger-production", garbage)
	b := g.book()
	_, err := b.Read(t.Context())
	if err == nil || !strings.Contains(err.Error(), b.Reference()) || !strings.Contains(registry.HintOf(err), "rename it") {
		t.Errorf("error %v, hint %q", err, registry.HintOf(err))
	}
}
