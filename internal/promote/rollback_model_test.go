package promote_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

var (
	storySeeds = flag.Int("stories", 4, "sequences of promotions, failures and rollbacks that are compared with the model")
	storyFirst = flag.Uint64("story", 1, "the first of their seeds")
)

// model is what one environment is said to hold, without a registry: written anew from the words of the design.
type model struct {
	tags   map[string]string // what its moving tags hold when nothing is under way
	trail  []string          // images that were brought, each on top of what it replaced
	left   map[string]string // of tags that a run which was ended midway has moved: what they held before it
	bad    map[string]bool   // images that were rolled back from
	base   string            // what the first promotion replaced
	first  bool              // nothing was ever brought
	told   []string          // "a promoted", of what succeeded, oldest first
	open   string            // what a run was bringing when it was ended midway, and production shows
	was    string            // what production held before that run
	undo   bool              // that was a rollback
	owed   document.Job      // the last run whose outcome could not be written
	undone bool              // it was a rollback
}

func (m *model) top() string {
	if len(m.trail) == 0 {
		return ""
	}
	return m.trail[len(m.trail)-1]
}

// brought notes that an image is there.
func (m *model) brought(image string, rollback bool) {
	outcome := " promoted"
	if rollback {
		outcome = " rolled-back"
	}
	m.told = append(m.told, image+outcome)
	if m.first && !rollback {
		m.base = m.tags["production"]
		if m.open != "" {
			m.base = m.was
		}
	}
	top, at := m.top(), -1
	if rollback && top != "" && top != image {
		m.bad[top] = true
		for n, one := range m.trail {
			if one == image {
				at = n
			}
		}
	}
	switch {
	case top == image:
	case at >= 0:
		m.trail = m.trail[:at+1]
	default:
		m.trail = append(m.trail, image)
	}
	m.first = false
	delete(m.bad, image)
	clear(m.left)
	for tag := range m.tags {
		m.tags[tag] = image
	}
}

// target is where a rollback goes; empty: nowhere.
func (m *model) target() string {
	switch top := m.top(); {
	case m.open != "" && m.undo:
		return m.open
	case m.open != "" && top != "", top != "" && m.tags["production"] != top:
		return top
	case m.open != "" && m.was != "":
		return m.was
	}
	for n := len(m.trail) - 2; n >= 0; n-- {
		if one := m.trail[n]; one != m.top() && !m.bad[one] {
			return one
		}
	}
	if len(m.trail) == 1 && strings.HasSuffix(m.told[0], "promoted") && m.base != m.trail[0] {
		return m.base
	}
	return ""
}

// story is one random sequence, on one registry and in the model.
type story struct {
	*works
	model
	dice  *rand.Rand
	tags  []string
	dated bool
	log   []string
	last  promote.Request // that did not succeed
	to    string          // where it was going; empty: there is none to run again
	tried map[string]bool // images that a run failed to bring: their records may be there
	asks  *registry.Client
}

// TestStories plays random sequences of promotions, failures, reruns, rollbacks and moves by hand.
func TestStories(t *testing.T) {
	long(t)
	t.Parallel()
	lot := make(chan bool, 6) // each has many connections
	for n := range *storySeeds {
		seed := *storyFirst + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			lot <- true
			t.Cleanup(func() { <-lot })
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				transport := m.Transport()
				defer transport.CloseIdleConnections()
				dice := rand.New(rand.NewPCG(seed, 7))
				s := &story{works: newWorks(t, regtest.Options{Referrers: dice.IntN(2) == 0}), dice: dice, dated: dice.IntN(3) == 0, tried: map[string]bool{}}
				s.asks = registry.New(registry.Options{Transport: transport})
				s.model = model{tags: map[string]string{"production": "", "latest": ""}, left: map[string]string{}, bad: map[string]bool{}, first: true}
				s.tags = []string{"production", "latest"}
				if s.dated {
					s.tags = append(s.tags, dated)
				}
				if dice.IntN(2) == 0 {
					s.byHand("production", "old")
				}
				for range 14 {
					s.step()
					if t.Failed() {
						t.Logf("the story of seed %d, dated %v:\n%s", seed, s.dated, strings.Join(s.log, "\n"))
						return
					}
				}
			})
		})
	}
}

func (s *story) byHand(tag, name string) {
	s.hand(tag, name)
	s.model.tags[tag] = name
	s.log = append(s.log, fmt.Sprintf("by hand %s = %s", tag, name))
}

func (s *story) step() {
	name := string(rune('a' + s.dice.IntN(5)))
	s.image(name)
	switch what := s.dice.IntN(20); {
	case what < 7:
		s.plays(s.bring(name, s.tags...), name, false, "promote "+name)
	case what < 13:
		s.plays(s.back("", s.tags...), s.target(), true, "roll back")
	case what < 15:
		s.denied(name)
	case what < 17 && s.open == "" && !s.owes() && !s.tried[name]:
		s.byHand([]string{"production", "latest"}[s.dice.IntN(2)], name)
	case s.to != "":
		s.plays(again(s.last), s.to, s.last.Mode == promote.Rollback, "run again")
	}
	s.compare()
}

func (s *story) target() string {
	if s.owes() && s.undone { // it is run again by hand, and goes to the same image
		return s.top()
	}
	return s.model.target()
}

func (s *story) denied(name string) {
	r := s.bring(name, s.tags...)
	r.Gates = &promote.Gates{Policy: gate.Policy{Deny: []gate.Denial{{Digest: s.image(name).Root, Reason: "bad"}}}}
	s.works.target.ResetRequests()
	d := runWith(s, s.Context(), s.asks, r, &watcher{})
	if d.Result == document.Denied {
		untouched(s, s.works.target)
	}
	s.log = append(s.log, fmt.Sprintf("promote %s, which is denied: %s", name, d.Result))
	if d.Result != document.Denied && d.Result != document.Unchanged {
		s.Errorf("a denied image: %s", d.Result)
	}
}

// trouble makes one write fail, or all from one on, as if the run had been killed; or none.
func (s *story) trouble() string {
	kind, at, seen := s.dice.IntN(3), 1+s.dice.IntN(14), 0
	if s.dice.IntN(2) == 0 {
		s.refuse(0, nil)
		return "no trouble"
	}
	s.refuse(http.StatusForbidden, func(q *http.Request) bool {
		if q.Method == http.MethodGet || q.Method == http.MethodHead {
			return false
		}
		seen++
		return seen == at || kind == 0 && seen > at
	})
	return fmt.Sprintf("refused at write %d, all after: %v", at, kind == 0)
}

// plays runs something that goes to an image, with trouble or without.
func (s *story) plays(r promote.Request, to string, rollback bool, what string) {
	trouble, owes := s.trouble(), s.owes()
	d := runWith(s, s.Context(), s.asks, r, &watcher{})
	s.refuse(0, nil)
	s.log = append(s.log, fmt.Sprintf("%s to %q, %s: %s, %v", what, to, trouble, d.Result, d.Promotions[0].Tags))
	rerun := s.to != "" && s.last.Job.RunID == r.Job.RunID
	moves := s.dated && (!rerun || !owes) || s.model.tags["production"] != to || s.model.tags["latest"] != to
	switch d.Result {
	case document.Promoted, document.RolledBack, document.Unchanged, document.Unrecorded:
		if to == "" {
			s.Errorf("there is nowhere to go, and the run says %s", d.Result)
			return
		}
		if moves {
			s.brought(to, rollback)
		}
		for tag := range s.model.tags {
			s.model.tags[tag] = to
		}
		s.open, s.last, s.to = "", r, ""
		if d.Result == document.Unrecorded {
			s.owed, s.undone, s.to = r.Job, rollback, to
		}
	case document.Failed:
		s.last, s.to, s.tried[to] = r, to, true
		s.ended(to, rollback)
	default:
		s.Errorf("result %s: %+v", d.Result, d.Faults)
	}
}

// ended takes what a run has left that failed: each tag holds what it held, or what the run was bringing.
func (s *story) ended(to string, rollback bool) {
	was := s.model.tags["production"]
	for tag, name := range s.model.tags {
		switch now := s.holds(tag); {
		case name == "" && now == "", name != "" && now == s.image(name).Root:
		case to != "" && now == s.image(to).Root:
			if _, is := s.left[tag]; !is {
				s.left[tag] = name
			}
			s.model.tags[tag] = to
		case s.isLeft(tag, now): // it went back to what was there before the one that was interrupted
			s.model.tags[tag] = s.left[tag]
			delete(s.left, tag)
		default:
			s.Errorf("%s holds %s, and held %q", tag, s.named(now), name)
		}
	}
	switch now := s.model.tags["production"]; {
	case now == to && was != to:
		if s.open == "" {
			s.was = was
		}
		s.open, s.undo = to, rollback
	case s.open != "" && now != s.open:
		s.open = ""
	}
}

// isLeft reports whether a digest is what a tag held before the run that was ended midway and has moved it.
func (s *story) isLeft(tag, digest string) bool {
	name, is := s.left[tag]
	return is && (name == "" && digest == "" || name != "" && s.image(name).Root == digest)
}

// owes reports whether the ledger does not say yet how the last run has ended that moved its tags.
func (s *story) owes() bool {
	return slices.ContainsFunc(s.rows(), func(e entry) bool {
		return e.outcome.State == "pending" && e.intent.Run.ID == s.owed.RunID && fmt.Sprint(e.intent.Run.Attempt) == s.owed.Attempt
	})
}

// compare holds the registry against the model.
func (s *story) compare() {
	for tag, name := range s.model.tags {
		s.expectHolds(tag, name)
	}
	var told []string
	for _, l := range slices.Backward(s.story()) {
		name, outcome, _ := strings.Cut(l, " ")
		if outcome == "promoted" || outcome == "rolled-back" {
			told = append(told, name+" "+outcome)
		}
	}
	if s.owes() && len(s.told) > 0 { // the next run says it
		told = append(told, s.told[len(s.told)-1])
	}
	if !slices.Equal(told, s.told) {
		s.Errorf("the history is %q, the model's %q", told, s.told)
	}
}

func (s *story) story() []string { return s.works.story() }
