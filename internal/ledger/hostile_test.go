package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/template"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// randomHead is a head as some runs could have left it, of few entries, so that two of them meet.
func randomHead(dice *rand.Rand) head {
	h := head{sequence: 1 + dice.IntN(6), closed: dice.IntN(3)}
	if h.closed > 0 {
		h.previous = digestOf([]byte(fmt.Sprint("segment", h.closed))).String()
		for n := range h.closed { // what is in a segment is the same for all
			h.moved = append(h.moved, fmt.Sprint("entry", n+1))
		}
	}
	for n := range 5 {
		if dice.IntN(3) == 0 || slices.Contains(h.moved, fmt.Sprint("entry", n)) {
			continue
		}
		h.entries = append(h.entries, randomEntry(dice, n))
	}
	slices.SortFunc(h.entries, byNumber)
	return h
}

var states = []document.Outcome{document.OutcomePending, document.OutcomePromoted, document.OutcomeRolledBack, document.OutcomeFailed, document.OutcomeInterrupted}

func randomEntry(dice *rand.Rand, n int) Entry {
	p := promotionOf(n)
	begun := time.Unix(1e9, 0).UTC()
	e, _ := p.draft(context.Background(), Start{ID: fmt.Sprint("entry", n)})
	e.ID, e.Run, e.Begun, e.Number = fmt.Sprint("entry", n), p.run, begun, 1+n/2
	e.Renewed, e.Line.Time, e.Line.Outcome = begun.Add(time.Duration(dice.IntN(3))*time.Second), begun, states[dice.IntN(len(states))]
	e = newEntry(e)
	if !e.IsOpen() {
		e = e.end(e.State(), map[string]string{"production": image(fmt.Sprint(dice.IntN(2))).Digest.String()}, begun.Add(time.Duration(dice.IntN(2))*time.Minute), "")
		e.Sequence = 1 + dice.IntN(3)
		e = e.withOutcome()
	}
	if dice.IntN(10) == 0 {
		e.layer.Annotations[outcomeAnnotation] = "{}"
	}
	return readEntry(e.layer)
}

func says(h head) string {
	h.digest = v1.Hash{}
	return string(h.encode(key).Raw)
}

// The union says the same whoever makes it, in whichever order, and however often.
func TestUnion_Laws(t *testing.T) {
	long(t)
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		a, b, c := randomHead(dice), randomHead(dice), randomHead(dice)
		ab := union(a, b)
		switch {
		case says(ab) != says(union(b, a)):
			t.Fatalf("a and b are\n%s\nb and a are\n%s", says(ab), says(union(b, a)))
		case says(union(ab, c)) != says(union(a, union(b, c))):
			t.Fatalf("(a, b), c are\n%s\na, (b, c) are\n%s", says(union(ab, c)), says(union(a, union(b, c))))
		case says(union(a, a)) != says(a), says(union(ab, b)) != says(ab):
			t.Fatalf("again it is another: %s", says(a))
		case ab.lacks(a) || ab.lacks(b):
			t.Fatalf("the union lacks something of\n%s\n%s", says(a), says(b))
		}
	}
}

// Of two final states, the one that was written first counts; an interruption that was seen at the
// same time is what the other one's run has left.
func TestFirst(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	entry := func(state document.Outcome, sequence int) Entry {
		e := randomEntry(dice, 1)
		e.Fault, e.Line.Outcome, e.Sequence = "", state, sequence
		return e
	}
	open, early, late := entry(document.OutcomePending, 0), entry(document.OutcomeInterrupted, 3), entry(document.OutcomePromoted, 4)
	faulty := entry(document.OutcomePromoted, 1)
	faulty.Fault = "no record"
	same := entry(document.OutcomePromoted, 3)
	for _, test := range [][2]Entry{{early, late}, {early, open}, {late, open}, {open, faulty}, {late, faulty}, {same, early}} {
		for _, got := range []Entry{first(test[0], test[1]), first(test[1], test[0])} {
			if got.State() != test[0].State() || got.Sequence != test[0].Sequence || got.Fault != test[0].Fault {
				t.Errorf("got %s of %d, want %s of %d", got.State(), got.Sequence, test[0].State(), test[0].Sequence)
			}
		}
	}
}

// Something else under a head's tag is said, with what to do.
func TestRead_ForeignManifest(t *testing.T) {
	t.Parallel()
	other := ForEnvironment("staging")
	for name, test := range map[string]struct {
		m    registry.Manifest
		want string
	}{
		"an image":           {image("foreign"), "it is not a ledger"},
		"another ledger":     {head{sequence: 9}.encode(other), `it is the ledger of "env:staging", not of "env:production"`},
		"no JSON":            {registry.NewManifest(string(types.OCIManifestSchema1), []byte("x")), "it is not an image manifest"},
		"a bad sequence":     {replaced(`"`+sequenceAnnotation+`":"9"`, `"`+sequenceAnnotation+`":"-1"`), sequenceAnnotation},
		"a layer's digest":   {replaced(`"digest":"`+emptyNameDigest()+`"`, `"digest":""`), ""},
		"a huge sequence":    {replaced(`"`+sequenceAnnotation+`":"9"`, `"`+sequenceAnnotation+`":"99999999999999999999"`), sequenceAnnotation},
		"a segment's number": {replaced(`"`+closedAnnotation+`":"0"`, `"`+closedAnnotation+`":"1e9"`), closedAnnotation},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *memoryStore) {
				promotionOf(1).mustDo(t, s)
				s.set(key.head(0), test.m)
				_, err := Open(s, key, Run{}).Read(t.Context())
				var e *Error
				if !errors.As(err, &e) || !strings.Contains(err.Error(), test.want) || !strings.Contains(e.Hint, "move or delete it") || !strings.Contains(err.Error(), key.head(0)) {
					t.Fatalf("error %v", err)
				}
				s.remove(key.head(0)) // as the hint says
				promotionOf(2).mustDo(t, s)
				wantStates(t, s, "1 promoted", "2 promoted")
			})
		})
	}
}

func emptyNameDigest() string {
	d, _ := nameBlob(key)
	return d.Digest.String()
}

// replaced is an empty head with a part of its text replaced.
func replaced(text, by string) registry.Manifest {
	m := head{sequence: 9}.encode(key)
	raw := bytes.Replace(m.Raw, []byte(text), []byte(by), 1)
	if bytes.Equal(raw, m.Raw) {
		panic(text + " is not in " + string(m.Raw))
	}
	return registry.NewManifest(m.MediaType, raw)
}

// A faulty entry counts for nothing, keeps no other from being read, and is not lost.
func TestRead_FaultyEntry(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		dead := promotionOf(1)
		dead.dies = func(int) bool { return true }
		dead.mustDo(t, s)
		for n := range 2 {
			if m := s.held(key.head(n)); bytes.Contains(m.Raw, []byte("pending")) {
				s.set(key.head(n), registry.NewManifest(m.MediaType, bytes.Replace(m.Raw, []byte("pending"), []byte("unheard"), 1)))
			}
		}
		began := time.Now()
		promotionOf(2).mustDo(t, s)
		_, v := readLedger(t, s)
		if len(v.Entries()) != 2 || time.Since(began) > 2*time.Second {
			t.Fatalf("%d entries after %v", len(v.Entries()), time.Since(began))
		}
		faults := 0
		for _, e := range v.Entries() {
			if e.Fault != "" && strings.Contains(e.Fault, "unheard") && !e.IsOpen() {
				faults++
			}
		}
		if faults != 1 {
			t.Errorf("entries %+v", v.Entries())
		}
	})
}

// A faulty entry goes into a segment like others, once.
func TestSegments_FaultyEntry(t *testing.T) {
	bubble(t, func(t *testing.T, s *memoryStore) {
		fill(t, s, 0, 10, nil)
		for n := range 2 {
			m := s.held(key.head(n))
			s.set(key.head(n), registry.NewManifest(m.MediaType, bytes.Replace(m.Raw, []byte("promoted"), []byte("unheard!"), 1)))
		}
		fill(t, s, 10, 200, nil)
		l, v := readLedger(t, s)
		h, err := l.History(t.Context(), v, 0)
		if err != nil || len(h.Lost) > 0 || len(h.Entries) != 200 {
			t.Errorf("%d entries, lost %v, error %v", len(h.Entries), h.Lost, err)
		}
	})
}

// checkSound fails if an entry without a fault has what nobody may rely on.
func checkSound(t *testing.T, e Entry) {
	t.Helper()
	if e.Fault != "" {
		if e.IsOpen() {
			t.Errorf("a faulty entry is open")
		}
		return
	}
	digests := []string{e.Record.Digest.String(), e.Line.Digest, e.Line.PreviousDigest, e.Line.PreviousRecord, e.Line.Release}
	for _, tag := range e.Tags {
		digests = append(digests, tag.After, tag.Found, tag.Back, tag.Held)
		if !template.ValidTag(tag.Name) || tag.After == "" {
			t.Errorf("tag %+v is taken", tag)
		}
	}
	for _, d := range digests {
		if d != "" && !isDigest(d) {
			t.Errorf("%q is taken for a digest", d)
		}
	}
	switch {
	case len(strings.Fields(e.ID)) != 1, e.Number < 1, e.Number > maxNumber, e.Record.Size < 1, e.Record.Size > document.MaxRecord, e.Line.Digest == "":
		t.Errorf("%+v is taken", e)
	case e.IsOpen() != (e.State() == document.OutcomePending), e.IsOpen() != (e.Sequence == 0), !isState(e.State()):
		t.Errorf("state %s with sequence %d is taken", e.State(), e.Sequence)
	}
}

// Whatever stands under a ledger's tag is read without a panic, and taken for no more than it is.
func FuzzParseHead(f *testing.F) {
	dice := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		f.Add(randomHead(dice).encode(key).Raw)
	}
	f.Add(head{}.encode(key).Raw)
	f.Add(replaced("sha256", "sha512").Raw)
	f.Add([]byte(`{"artifactType":"` + artifactType + `","annotations":{"` + ledgerAnnotation + `":"env:production"},"layers":[{"digest":"sha256:","annotations":null}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := parseHead(registry.NewManifest(string(types.OCIManifestSchema1), raw), key)
		if err != nil {
			return
		}
		if len(h.entries) > maxLayers || h.sequence < 0 || h.sequence > maxSequence || h.closed < 0 || h.closed > maxSegments {
			t.Errorf("%d entries, sequence %d, %d segments", len(h.entries), h.sequence, h.closed)
		}
		for _, e := range h.entries {
			checkSound(t, e)
			checkSound(t, e.resolve(map[string]string{}, true, time.Unix(1e9, 0), "run"))
		}
		again, err := parseHead(union(*h, *h).encode(key), key)
		if err != nil {
			t.Fatalf("what was read cannot be read again once it is written: %v", err)
		}
		if says(union(*again, *h)) != says(union(*h, *h)) {
			t.Errorf("%s is read again as %s", says(*h), says(*again))
		}
	})
}

// Whatever stands in a layer is read without a panic.
func FuzzReadEntry(f *testing.F) {
	dice := rand.New(rand.NewPCG(1, 2))
	for n := range 10 {
		e := randomEntry(dice, n)
		f.Add(string(e.layer.MediaType), e.layer.Size, e.layer.Annotations[intentAnnotation], e.layer.Annotations[outcomeAnnotation])
	}
	f.Fuzz(func(t *testing.T, mediaType string, size int64, intent, outcome string) {
		d := v1.Descriptor{MediaType: types.MediaType(mediaType), Size: size, Digest: digestOf([]byte("record")),
			Annotations: map[string]string{intentAnnotation: intent, outcomeAnnotation: outcome}}
		checkSound(t, readEntry(d))
		d.Annotations[outcomeAnnotation] = strings.ReplaceAll(outcome, "RECORD", d.Digest.String())
		checkSound(t, readEntry(d))
	})
}
