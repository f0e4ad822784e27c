package promote

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// shelf is a repository as the stages that are kept there share it: what one of them
// has asked, the others need not.
type shelf struct {
	repo   *registry.Repository
	finder *referrer.Finder
	list   func() tagList
	tagged memo[string, tagged]      // by tag
	blobs  memo[v1.Hash, blob]       // by digest
	images memo[v1.Hash, completion] // by digest
}

// tagList is a repository's list of tags.
type tagList struct {
	tags []string
	all  bool // they are every tag
	err  error
}

// memo keeps answers, so that nothing is asked twice. Its zero value is empty.
type memo[K comparable, V any] struct {
	mu      sync.Mutex
	answers map[K]func() V
}

// get is the answer to a question, which is asked if nobody has asked it yet.
func (m *memo[K, V]) get(key K, ask func() V) V {
	m.mu.Lock()
	answer := m.answers[key]
	if answer == nil {
		if m.answers == nil {
			m.answers = map[K]func() V{}
		}
		answer = sync.OnceValue(ask)
		m.answers[key] = answer
	}
	m.mu.Unlock()
	return answer()
}

// station is one stage as its registry shows it.
type station struct {
	Stage
	*shelf        // nil: it could not be opened
	openErr error // why
	ledger  *ledger.Ledger
	held    []transfer.Observation // one for each moving tag
	heldErr error
	view    ledger.View
	viewErr error
}

// stations opens stages, all before the first request, so that a host is asked for
// one token.
func (r *run) stations(ctx context.Context, stages []Stage, access func(Stage) registry.Access) []*station {
	side := sideOf(stages)
	shelves := map[string]*shelf{}
	var all []*station
	for _, stage := range stages {
		s := &station{Stage: stage}
		all = append(all, s)
		repo, err := r.client.Open(ctx, side(stage), stage.Repository, access(stage))
		if err != nil {
			s.openErr = err
			continue
		}
		r.credentialNotice(repo)
		if s.shelf = shelves[repo.Name()]; s.shelf == nil {
			s.shelf = newShelf(ctx, repo)
			shelves[repo.Name()] = s.shelf
		}
		s.ledger = r.openLedger(s.repo, ledgerKey(stage.Environment, false, stage.Ledger)).WithVersions()
	}
	return all
}

// sideOf says whose credentials a stage is read with. Those that are given for the
// target are for the registry of what was asked for, if that is one: no other may see
// them.
func sideOf(stages []Stage) func(Stage) credential.Side {
	asked := map[string]bool{}
	for _, s := range stages {
		if s.Asked {
			asked[s.Repository.RegistryStr()] = true
		}
	}
	return func(s Stage) credential.Side {
		if len(asked) == 1 && asked[s.Repository.RegistryStr()] {
			return sideTarget
		}
		return credential.Elsewhere
	}
}

func newShelf(ctx context.Context, repo *registry.Repository) *shelf {
	finder := referrer.NewFinder(repo)
	return &shelf{repo: repo, finder: finder, list: sync.OnceValue(func() tagList {
		tags, all, err := finder.Tags(ctx)
		return tagList{tags, all, err}
	})}
}

// stagesAtOnce is how many stages are read at the same time.
const stagesAtOnce = 8

// each does something for all, some of them at once.
func each[T any](all []T, do func(T)) {
	var g errgroup.Group
	g.SetLimit(stagesAtOnce)
	for _, one := range all {
		g.Go(func() error { do(one); return nil })
	}
	_ = g.Wait() // no one of them ends the others
}

// look reads the heads of the ledger, and what the moving tags point to, all at once.
func (s *station) look(ctx context.Context) {
	var tags errgroup.Group
	s.held = make([]transfer.Observation, len(s.Tags))
	for n, tag := range s.Tags {
		tags.Go(func() (err error) {
			s.held[n], err = transfer.Observe(ctx, s.repo, tag)
			return err
		})
	}
	s.view, s.viewErr = s.ledger.Read(ctx)
	s.heldErr = tags.Wait()
}

// holds is the digest that the first moving tag holds; empty if it does not exist, or
// could not be read.
func (s *station) holds() string {
	if len(s.held) == 0 {
		return ""
	}
	return digestText(s.held[0])
}

// read reads at least so many entries of the ledger, 0 for all, and more until they are enough.
func (s *station) read(ctx context.Context, least int, enough func([]document.Line) bool) (ledger.History, error) {
	for {
		h, err := s.ledger.History(ctx, s.view, least)
		if err != nil || h.Whole || least == 0 || enough(ledger.Lines(h.Entries)) {
			return h, err
		}
		least = 4 * max(len(h.Entries), 1) // what is read again is a fraction of it
	}
}

// maxLineage bounds how many lines are read only to say since when an environment
// holds what it holds.
const maxLineage = 2000

// begun reports whether lines show how the stay began of what is held now.
func begun(lines []document.Line) bool {
	current := ""
	for _, line := range slices.Backward(lines) {
		if line.Fault != "" || !line.Outcome.Good() {
			continue
		}
		if current == "" {
			current = line.Digest
		}
		if line.Digest != current || line.PreviousDigest != line.Digest {
			return true
		}
	}
	return false
}

// holding is what the stage holds now, and what the records say of that.
func (s *station) holding(h ledger.History, now time.Time) document.Holding {
	lines := ledger.Lines(h.Entries)
	d := document.Holding{Environment: s.Environment, Image: s.Image, From: s.From, Reference: s.reference(), Digest: s.holds()}
	state := ledger.Replay(lines)
	current, known := state.Current()
	if len(s.Tags) == 0 { // they are named anew each time: only the records tell
		d.Digest = current.Digest
	}
	if d.Recorded = known && d.Digest == current.Digest; !d.Recorded {
		return d
	}
	d.Actor = current.Actor
	if h.Whole || begun(lines) {
		d.Since, _ = state.Occupancy(d.Digest, now)
	}
	return d
}

// reference is that of the first moving tag.
func (s *station) reference() string {
	if len(s.Tags) == 0 {
		return s.Repository.Name()
	}
	return s.Repository.Name() + ":" + s.Tags[0]
}

// faulty is a stage that could not be read.
func (s *station) faulty(err error) document.Holding {
	return document.Holding{
		Environment: s.Environment, Image: s.Image, From: s.From, Reference: s.reference(), Digest: s.holds(),
		Fault: registry.Cut(err.Error(), maxFault),
	}
}

// maxFault is how much of an error a station of the lineage shows, in bytes.
const maxFault = 300

// called is how a stage is named in a sentence.
func (s *station) called() string {
	name := s.Environment
	if name == "" {
		return s.reference()
	}
	if s.Image != "" {
		return fmt.Sprintf("%s (%s)", name, s.Image)
	}
	return name
}
