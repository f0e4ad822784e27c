package ledger

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestMain collects garbage rarely.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // a fifth of the processor time goes to collecting otherwise
	os.Exit(m.Run())
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}

// roundTrip is how long each request to a memoryStore takes.
const roundTrip = 40 * time.Millisecond

// memoryStore is a repository in memory that answers by itself, after a round trip.
type memoryStore struct {
	mu        sync.Mutex
	tags      map[string][]writing
	blobs     map[v1.Hash]bool
	lag       time.Duration // after which reads show a write
	ahead     time.Duration // of the registry's clock
	noClock   bool
	immutable bool
	before    func(write bool, tag string) error // called before each request takes effect; an error is the answer
	after     func(write bool, tag string) error // called when it has
	requests  []string
}

type writing struct {
	at time.Time
	m  *registry.Manifest // nil: it was deleted
}

func newStore() *memoryStore {
	return &memoryStore{tags: map[string][]writing{}, blobs: map[v1.Hash]bool{}}
}

// refusal is what a registry answers that does not take a write.
func refusal(status int, code string) error {
	return &registry.Error{Op: "write manifest", Ref: "registry.example/app", Status: status, Code: code}
}

func (s *memoryStore) Reference(tag string) string { return "registry.example/app:" + tag }

func (s *memoryStore) PutBlob(_ context.Context, d v1.Descriptor, _ []byte) error {
	return s.do("PUT blob", true, "", func() error {
		s.blobs[d.Digest] = true
		return nil
	})
}

// do has a request take effect after half a round trip.
func (s *memoryStore) do(text string, write bool, tag string, effect func() error) error {
	time.Sleep(roundTrip / 2)
	defer time.Sleep(roundTrip / 2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		if err := s.before(write, tag); err != nil {
			return err
		}
	}
	s.requests = append(s.requests, text)
	return effect()
}

func (s *memoryStore) ReadTag(_ context.Context, tag string) (registry.TagReading, error) {
	r := registry.TagReading{Began: time.Now()}
	err := s.do("GET "+tag, false, tag, func() error {
		if !s.noClock {
			r.Clock = time.Now().Add(s.ahead).Truncate(time.Second)
		}
		for _, w := range s.tags[tag] {
			if time.Since(w.at) >= s.lag {
				if r.Exists = w.m != nil; r.Exists {
					r.Manifest = *w.m
				}
			}
		}
		return nil
	})
	return r, err
}

func (s *memoryStore) WriteTag(_ context.Context, tag string, m registry.Manifest, notAfter time.Time) error {
	if time.Now().After(notAfter) {
		return registry.ErrOutdated
	}
	return s.do("PUT "+tag, true, tag, func() error {
		all := s.tags[tag]
		if s.immutable && strings.HasPrefix(tag, ledgerPrefix) && len(all) > 0 && all[len(all)-1].m != nil {
			return refusal(http.StatusBadRequest, "TAG_INVALID")
		}
		s.tags[tag] = append(all, writing{time.Now(), &m})
		if s.after != nil {
			return s.after(true, tag)
		}
		return nil
	})
}

// set points a tag to an image, for all to see at once.
func (s *memoryStore) set(tag string, m registry.Manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[tag] = append(s.tags[tag], writing{time.Now().Add(-s.lag), &m})
}

func (s *memoryStore) remove(tags ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, tag := range tags {
		s.tags[tag] = append(s.tags[tag], writing{time.Now().Add(-s.lag), nil})
	}
}

// held is what a tag points to in truth.
func (s *memoryStore) held(tag string) *registry.Manifest {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.tags[tag]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1].m
}

func (s *memoryStore) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *memoryStore) resetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// promotion is one that a test makes.
type promotion struct {
	run     Run
	image   registry.Manifest
	tags    []string
	mode    document.Mode
	reason  string
	release string
	dies    func(moved int) bool // it ends without a word once so many tags have moved; nil: it does not
	members Members
	said    []string

	starts []Start // what it knew each time it made its entry
}

func promotionOf(n int) *promotion {
	return &promotion{
		run: Run{Repository: "acme/app", ID: fmt.Sprint(n), Attempt: 1, URL: fmt.Sprint("run/", n)}, image: image(fmt.Sprint(n)),
		tags: []string{"production"}, mode: document.ModePromote,
	}
}

// do promotes, as a run does that has no other cares.
func (p *promotion) do(t testing.TB, s Store) (*Session, error) {
	t.Helper()
	ctx := t.Context()
	l := Open(s, key, p.run).WithMembers(p.members)
	v, err := l.Read(ctx)
	if err != nil {
		return nil, err
	}
	if v, err = l.Create(ctx, v); err != nil {
		return nil, err
	}
	session, err := l.Begin(ctx, v, NewID(), p.tags, p.draft, func(text string) { p.said = append(p.said, text) })
	if err != nil {
		return nil, err
	}
	for n, tag := range p.tags {
		if p.dies != nil && p.dies(n) {
			return session, nil
		}
		if err := session.Check(ctx); err != nil {
			return session, err
		}
		if err := s.WriteTag(ctx, tag, p.image, time.Now().Add(fresh)); err != nil {
			return session, err
		}
	}
	if p.dies != nil && p.dies(len(p.tags)) {
		return session, nil
	}
	held := map[string]string{}
	for _, tag := range p.tags {
		held[tag] = p.image.Digest.String()
	}
	state := document.OutcomePromoted
	if p.mode == document.ModeRollback {
		state = document.OutcomeRolledBack
	}
	return session, session.Finish(ctx, state, held)
}

func (p *promotion) draft(_ context.Context, start Start) (Entry, error) {
	p.starts = append(p.starts, start)
	after := p.image.Digest.String()
	e := Entry{
		Record: v1.Descriptor{MediaType: document.RecordMediaType, Digest: digestOf([]byte(start.ID)), Size: int64(len(start.ID))},
		Line:   document.Line{Mode: p.mode, Digest: after, Tags: p.tags, Time: time.Now(), Reason: p.reason, Release: p.release},
	}
	for _, tag := range p.tags {
		e.Tags = append(e.Tags, Tag{Name: tag, Found: start.Found[tag], Back: start.Found[tag], After: after})
	}
	return e, nil
}

// mustDo promotes without an error.
func (p *promotion) mustDo(t testing.TB, s Store) *Session {
	t.Helper()
	session, err := p.do(t, s)
	if err != nil {
		t.Fatalf("run %s: %v", p.run.ID, err)
	}
	return session
}

// readLedger is what the ledger says, and the ledger as a run sees it that comes to look.
func readLedger(t testing.TB, s Store) (*Ledger, View) {
	t.Helper()
	l := Open(s, key, Run{ID: "reader"})
	v, err := l.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l, v
}

func statesOf(entries []Entry) (all []string) {
	for _, e := range entries {
		all = append(all, fmt.Sprint(e.Run.ID, " ", e.State()))
	}
	return all
}
