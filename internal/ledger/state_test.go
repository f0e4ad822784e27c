package ledger

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// script makes lines of words: +a promotes a, -a rolls back to a, !a fails, ?a is unconfirmed, *a is damaged, ~a promotes
// a where the tag had been moved by hand. The nth comes n hours after noon.
func script(words string) []document.Line {
	var lines []document.Line
	holds := ""
	for n, word := range strings.Fields(words) {
		line := document.Line{Digest: word[1:], PreviousDigest: holds, Time: noon.Add(time.Duration(n) * time.Hour), Mode: document.ModePromote, Outcome: document.OutcomePromoted}
		switch word[0] {
		case '-':
			line.Mode, line.Outcome = document.ModeRollback, document.OutcomeRolledBack
		case '!':
			line.Outcome = document.OutcomeFailed
		case '?':
			line.Outcome = document.OutcomeUnconfirmed
		case '*':
			line.Fault = "damaged"
		case '~':
			line.PreviousDigest = "by hand"
		case '%':
			line.Outcome = "of a newer version"
		}
		if line.Outcome.Good() && line.Fault == "" {
			holds = line.Digest
		}
		lines = append(lines, line)
	}
	return lines
}

func TestState(t *testing.T) {
	for words, want := range map[string]struct {
		current string
		since   int // hours after noon
		earlier string
	}{
		"":                  {"", 0, ""},
		"+a":                {"a", 0, ""},
		"+a +b":             {"b", 1, "a"},
		"+a +b +c":          {"c", 2, "b a"},
		"+a !b":             {"a", 0, ""},
		"+a !b +c":          {"c", 2, "a"},
		"+a ?b *c %d":       {"a", 0, ""},
		"!a ?b":             {"", 0, ""},
		"+a +b -a":          {"a", 2, ""},
		"+a +b +c -b":       {"b", 3, "a"},
		"+a +b +c -b -a":    {"a", 4, ""}, // further back, not forth and back
		"+a +b +c -a":       {"a", 3, ""},
		"+a +b -a +c":       {"c", 3, "a"},
		"+a +b -a +b":       {"b", 3, "a"},
		"+a +b -a +c -a +d": {"d", 5, "a"},
		"+a +b -x":          {"x", 2, "a"}, // nobody goes back to what was rolled back from
		"+a +b -x +c":       {"c", 3, "x a"},
		"+a +b -x +c +b +d": {"d", 5, "b c x a"}, // but where somebody brought it anew
		"+a +b -a -b +c":    {"c", 4, "b"},
		"-a":                {"a", 0, ""},
		"-a +b":             {"b", 1, "a"},
		"+a +b +a":          {"a", 2, "b"}, // each once
		"+a +b +a +c":       {"c", 3, "a b"},
		"+a +b +a -b":       {"b", 3, ""},
		"+a +a +a":          {"a", 0, ""}, // it only stays
		"+a +b +b":          {"b", 1, "a"},
		"+a ~a":             {"a", 1, ""}, // but where something else was there
		"+a +b !b -b":       {"b", 1, "a"},
		"+a +b -a +b -a -a": {"a", 4, ""},
	} {
		s := Replay(script(words))
		current, known := s.Current()
		if current.Digest != want.current || known != (want.current != "") {
			t.Errorf("%q: holds %q (%v), want %q", words, current.Digest, known, want.current)
		}
		if got := digestsOf(s.Earlier()); got != want.earlier {
			t.Errorf("%q: can go back to %q, want %q", words, got, want.earlier)
		}
		previous, known := s.Previous()
		if first, _, _ := strings.Cut(want.earlier, " "); previous.Digest != first || known != (first != "") {
			t.Errorf("%q: goes back to %q (%v), want %q", words, previous.Digest, known, first)
		}
		now := noon.Add(100 * time.Hour)
		since, holds := s.Occupancy(want.current, now)
		if holds != (want.current != "") || holds && !since.Equal(noon.Add(time.Duration(want.since)*time.Hour)) {
			t.Errorf("%q: held %v since %v, want %d h", words, holds, since, want.since)
		}
		if _, holds := s.Occupancy("another", now); holds {
			t.Errorf("%q: holds another", words)
		}
		if since, _ := s.Occupancy(want.current, noon.Add(-time.Hour)); want.current != "" && !since.Equal(noon.Add(-time.Hour)) {
			t.Errorf("%q: since %v, which is not yet", words, since)
		}
	}
}

// TestSinceItMoved: a record that an earlier attempt wrote long before its tags moved is not held since then.
func TestSinceItMoved(t *testing.T) {
	for moved, want := range map[time.Duration]time.Duration{0: 0, -time.Hour: 0, 24 * time.Hour: 24 * time.Hour} {
		lines := script("+a")
		if moved != 0 {
			lines[0].Moved = noon.Add(moved)
		}
		if since, holds := Replay(lines).Occupancy("a", noon.Add(100*time.Hour)); !holds || !since.Equal(noon.Add(want)) {
			t.Errorf("moved %v later: held %v since %v", moved, holds, since)
		}
	}
}

func digestsOf(lines []document.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Digest)
	}
	return strings.Join(all, " ")
}

// TestStays: who brought a digest first is remembered, by whatever line it came last.
func TestStays(t *testing.T) {
	for words, want := range map[string]string{ // digest: first line, last line, held since that hour
		"":                     "",
		"!a":                   "",
		"+a":                   "a:0,0,0",
		"+a +b":                "b:1,1,1 a:0,0,0",
		"+a +a":                "a:0,1,0",
		"+a ~a":                "a:0,1,1",
		"+a +b -a":             "a:0,2,2",
		"+a +b -a -a":          "a:0,3,2",
		"+a +b -a +b":          "b:3,3,3 a:0,2,2",
		"+a +b +c -b -a":       "a:0,4,4",
		"+a +b -a !c +b +c -b": "b:4,6,6 a:0,2,2",
		"+a +b +a -b":          "b:1,3,3",
		"+a +b +a":             "a:2,2,2 b:1,1,1", // brought once more
		"-x +b -x":             "x:0,2,2",
	} {
		hour := func(at time.Time) int { return int(at.Sub(noon) / time.Hour) }
		var got []string
		s := Replay(script(words))
		for _, stay := range s.Stays() {
			got = append(got, fmt.Sprintf("%s:%d,%d,%d", stay.Line.Digest, hour(stay.Brought.Time), hour(stay.Line.Time), hour(stay.Since)))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %v, want %s", words, got, want)
		}
		top, known := s.Top()
		if known != (want != "") || known && !strings.HasPrefix(want, top.Line.Digest+":") {
			t.Errorf("%q: top %+v (%v)", words, top, known)
		}
	}
}

// visit is one of a tree of what was held: each hangs below what it replaced, and going back is going up.
type visit struct {
	digest  string
	parent  *visit
	brought time.Time
}

// model is what an environment holds, told by following every line.
type model struct {
	at   *visit
	bad  []string // what was left by a rollback, oldest first, until it came back
	from time.Time
}

func (m *model) take(line document.Line) {
	if line.Outcome != document.OutcomePromoted && line.Outcome != document.OutcomeRolledBack || line.Fault != "" {
		return
	}
	moved := m.at == nil || m.at.digest != line.Digest
	if moved || line.PreviousDigest != line.Digest {
		m.from = line.Time
	}
	m.bad = slices.DeleteFunc(m.bad, func(d string) bool { return d == line.Digest })
	if !moved {
		return
	}
	if line.Outcome == document.OutcomeRolledBack && m.at != nil {
		m.bad = append(m.bad, m.at.digest)
		for up := m.at.parent; up != nil; up = up.parent {
			if up.digest == line.Digest {
				m.at = up
				return
			}
		}
	}
	m.at = &visit{line.Digest, m.at, line.Time}
}

// previous is the nearest above that is another and good.
func (m *model) previous() string {
	if m.at == nil {
		return ""
	}
	for up := m.at.parent; up != nil; up = up.parent {
		if up.digest != m.at.digest && !slices.Contains(m.bad, up.digest) {
			return up.digest
		}
	}
	return ""
}

// brought are all that can be gone back to, the current one first, and when each first came.
func (m *model) brought() string {
	var all []string
	seen := slices.Clone(m.bad)
	for up := m.at; up != nil; up = up.parent {
		if !slices.Contains(seen, up.digest) {
			seen = append(seen, up.digest)
			all = append(all, fmt.Sprint(up.digest, " ", up.brought.Unix()))
		}
	}
	return strings.Join(all, ", ")
}

func broughtOf(s State) string {
	var all []string
	for _, stay := range s.Stays() {
		all = append(all, fmt.Sprint(stay.Brought.Digest, " ", stay.Brought.Time.Unix()))
	}
	return strings.Join(all, ", ")
}

// TestStateAgainstAModel: random promotions, failures and rollbacks, most of them to where a rollback goes by itself.
func TestStateAgainstAModel(t *testing.T) {
	long(t)
	for seed := range uint64(3000) {
		dice := rand.New(rand.NewPCG(seed, 2))
		var words []string
		m := &model{}
		for n := range 1 + dice.IntN(30) {
			word := string("++++!?*~-%"[dice.IntN(10)]) + string(rune('a'+dice.IntN(5)))
			if back := m.previous(); back != "" && dice.IntN(3) == 0 {
				word = "-" + back
			}
			words = append(words, word)
			text := strings.Join(words, " ")
			lines := script(text)
			m.take(lines[n])
			s := Replay(lines)
			current, known := s.Current()
			previous, _ := s.Previous()
			if known != (m.at != nil) || known && current.Digest != m.at.digest || previous.Digest != m.previous() {
				t.Fatalf("%s: holds %q, goes back to %q; the model %+v, %q", text, current.Digest, previous.Digest, m.at, m.previous())
			}
			if top, _ := s.Top(); known && (!top.Brought.Time.Equal(m.at.brought) || top.Brought.Digest != m.at.digest || top.Line.Digest != m.at.digest || !top.Since.Equal(m.from)) {
				t.Fatalf("%s: %+v, the model says that it was brought at %v, and is there since %v", text, top, m.at.brought, m.from)
			}
			if got, want := broughtOf(s), m.brought(); got != want {
				t.Fatalf("%s: brought %s, the model %s", text, got, want)
			}
			if since, holds := s.Occupancy(current.Digest, noon.Add(1000*time.Hour)); holds != known || holds && !since.Equal(m.from) {
				t.Fatalf("%s: since %v, the model %v", text, since, m.from)
			}
		}
	}
}

// TestRollingBackToTheEnd: from any state, going back again and again never comes back to what was left, and ends.
func TestRollingBackToTheEnd(t *testing.T) {
	for seed := range uint64(500) {
		dice := rand.New(rand.NewPCG(seed, 3))
		var words []string
		for range 1 + dice.IntN(20) {
			words = append(words, string("++++!?-"[dice.IntN(7)])+string(rune('a'+dice.IntN(8))))
		}
		seen := map[string]bool{}
		for steps := 0; ; steps++ {
			s := Replay(script(strings.Join(words, " ")))
			current, _ := s.Current()
			previous, known := s.Previous()
			seen[current.Digest] = true
			if !known {
				break
			}
			if seen[previous.Digest] || steps > 20 {
				t.Fatalf("%v goes back to %q again", words, previous.Digest)
			}
			words = append(words, "-"+previous.Digest)
		}
	}
}

// TestUnion: whatever two writers have, the union has all of it, each once, what follows another behind it, and to join
// it again changes nothing.
func TestUnion(t *testing.T) {
	for seed := range uint64(500) {
		dice := rand.New(rand.NewPCG(seed, 4))
		some := func() *Page {
			p := &Page{}
			for _, n := range dice.Perm(12)[:dice.IntN(12)] {
				e := testEntry(n)
				e.Outcome = []document.Outcome{document.OutcomePromoted, document.OutcomeFailed, document.OutcomeUnconfirmed}[dice.IntN(3)]
				p = p.with(e)
			}
			return p
		}
		a, b := some(), some()
		a.changed, b.changed = false, false
		u := union(a, b)
		want := map[string]int{}
		for _, e := range append(slices.Clone(a.entries), b.entries...) {
			want[e.Record] = max(want[e.Record], rank(e.Line))
		}
		got := map[string]int{}
		for i, e := range u.entries {
			got[e.Record] = rank(e.Line)
			if i > 0 && e.Time.Before(u.entries[i-1].Time) {
				t.Errorf("seed %d: line %d is older than the one before", seed, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || len(u.entries) != len(want) {
			t.Errorf("seed %d: %v, want %v", seed, got, want)
		}
		if more := fmt.Sprint(outcomes(a), recordsOf(a.Lines())) != fmt.Sprint(outcomes(u), recordsOf(u.Lines())); u.changed != more {
			t.Errorf("seed %d: the union says that it is more: %v, and is: %v", seed, u.changed, more)
		}
		u.changed = false
		if again := union(union(u, a), b); again.changed {
			t.Errorf("seed %d: joined again it changes", seed)
		}
	}
}

// TestRebuiltStays: a ledger that was made again says so, whoever writes it next.
func TestRebuiltStays(t *testing.T) {
	lines := []entry{testEntry(0)}
	for _, test := range []struct{ there, more, changed bool }{{false, true, true}, {true, false, false}, {true, true, false}} {
		u := union(&Page{entries: lines, rebuilt: test.there}, &Page{entries: lines, rebuilt: test.more})
		if !u.rebuilt || u.changed != test.changed {
			t.Errorf("%+v: rebuilt %v, changed %v", test, u.rebuilt, u.changed)
		}
	}
}

// TestFollowers stand behind what they follow, whatever their clocks say.
func TestFollowers(t *testing.T) {
	first, second, third := testEntry(0), testEntry(1), testEntry(2)
	second.Time = noon.Add(-time.Hour)
	p := (&Page{}).with(first).with(second).with(third)
	if got := recordsOf(p.Lines()); !slices.Equal(got, []string{digest(0), digest(1), digest(2)}) {
		t.Errorf("order %v", got)
	}
}
