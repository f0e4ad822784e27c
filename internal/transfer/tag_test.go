package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// tagged is a target whose tag "production" holds an old image, or nothing, and
// that has a verified new one.
type tagged struct {
	run
	at       *regtest.Registry
	old, new string
	third    *regtest.Image
	proof    transfer.Proof
	repo     *registry.Repository
}

func newTagged(t *testing.T, exists bool, o regtest.Options) *tagged {
	t.Helper()
	source, at := regtest.Serve(t, regtest.Options{Memory: o.Memory}), regtest.Serve(t, o)
	s := &tagged{run: newRunAt(t, transfer.Blobs, at), at: at, third: regtest.Build(regtest.Spec{Seed: "third"})}
	image := regtest.Build(regtest.Spec{Seed: "new"})
	push(t, image, source, sourceRepo, "dev")
	s.new = image.Root
	if exists {
		old := regtest.Build(regtest.Spec{Seed: "old"})
		push(t, old, s.at, targetRepo, "production")
		s.old = old.Root
	}
	s.proof = s.run.proof(source, s.at, "dev")
	s.repo = s.target(s.at)
	push(t, s.third, s.at, targetRepo)
	s.at.ResetRequests()
	return s
}

func (s *tagged) observe() transfer.Observation {
	s.t.Helper()
	o, err := transfer.Observe(s.t.Context(), s.repo, "production")
	if err != nil {
		s.t.Fatal(err)
	}
	return o
}

// taken is somebody else's move.
func (s *tagged) taken() {
	s.t.Helper()
	aside(s.t, func(ctx context.Context) error {
		return regtest.PutTag(ctx, s.at.Access("", ""), targetRepo, "production", s.third.Root)
	})
}

func TestMove(t *testing.T) {
	for _, exists := range []bool{true, false} {
		s := newTagged(t, exists, regtest.Options{Delete: true})
		o := s.observe()
		if got := o.Digest(); exists && got.String() != s.old || !exists && got.Hex != "" {
			t.Errorf("observed %s, want %q", got, s.old)
		}
		if o.Reference() != s.at.Host()+"/"+targetRepo+":production" {
			t.Error("reference:", o.Reference())
		}
		if err := transfer.Move(t.Context(), s.proof, o); err != nil {
			t.Fatal(err)
		}
		if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
			t.Error(err)
		}
		if got := holds(t, s.at, "production"); got != s.new {
			t.Errorf("the tag holds %s, want %s", got, s.new)
		}
		if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Back || err != nil {
			t.Errorf("put back: %v, %v", state, err)
		}
		if got := holds(t, s.at, "production"); got != s.old {
			t.Errorf("the tag holds %q again, want %q", got, s.old)
		}
	}
}

// TestNothingMovesWithoutProof: neither zero values, nor a proof of another repository.
func TestNothingMovesWithoutProof(t *testing.T) {
	s := newTagged(t, true, regtest.Options{})
	other, err := transfer.Observe(t.Context(), s.source(s.at), "production")
	if err != nil {
		t.Fatal(err)
	}
	s.at.ResetRequests()
	for name, pair := range map[string]struct {
		p transfer.Proof
		o transfer.Observation
	}{
		"nothing":           {},
		"no proof":          {o: s.observe()},
		"no observation":    {p: s.proof},
		"of another's tags": {p: s.proof, o: other},
	} {
		if err := transfer.Move(t.Context(), pair.p, pair.o); err == nil {
			t.Errorf("%s: a tag was moved", name)
		}
		if err := transfer.Confirm(t.Context(), pair.p, pair.o); err == nil {
			t.Errorf("%s: a tag was confirmed", name)
		}
		if state, err := transfer.PutBack(t.Context(), pair.p, pair.o, true); err == nil || state != transfer.Unknown {
			t.Errorf("%s: a tag was put back", name)
		}
	}
	if w := writes(s.at); len(w) > 0 {
		t.Error("writes:", w)
	}
}

// TestMoveWithALostAnswer to a tag that can be written once: the second attempt
// is refused, and it was ours.
func TestMoveWithALostAnswer(t *testing.T) {
	s := newTagged(t, false, regtest.Options{
		Immutable: func(_, tag string) bool { return tag == "production" },
		Wrap: regtest.ResetAfter(func(q *http.Request) bool {
			return q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, "/manifests/production")
		}),
	})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Error(err)
	}
	if got := holds(t, s.at, "production"); got != s.new {
		t.Errorf("the tag holds %q", got)
	}
}

func TestMoveOfATagThatCannotBeChanged(t *testing.T) {
	s := newTagged(t, true, regtest.Options{Immutable: func(_, tag string) bool { return tag == "production" }})
	o := s.observe()
	err := transfer.Move(t.Context(), s.proof, o)
	if !errors.Is(err, registry.ErrTagImmutable) || !strings.Contains(registry.HintOf(err), "fixed-tags") {
		t.Errorf("error %v, hint %q", err, registry.HintOf(err))
	}
	if state, err := transfer.PutBack(t.Context(), s.proof, o, false); state != transfer.Unmoved || err != nil {
		t.Errorf("put back: %v, %v", state, err)
	}
}

// TestMoveOutlivesTheRun by a little: cut off, nobody would know what the tag holds.
func TestMoveOutlivesTheRun(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		slow := onTag("production", func(next http.Handler, w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPut {
				cancel()
				time.Sleep(300 * time.Millisecond)
			}
			next.ServeHTTP(w, q)
		})
		s := newTagged(t, true, regtest.Options{Memory: m, Wrap: slow})
		o := s.observe()
		if err := transfer.Move(ctx, s.proof, o); err != nil {
			t.Error(err)
		}
		if err := transfer.Confirm(ctx, s.proof, o); err != nil {
			t.Error(err)
		}
		if got := holds(t, s.at, "production"); got != s.new {
			t.Errorf("the tag holds %s", got)
		}
	})
}

// TestMoveThatHangs ends soon after the run.
func TestMoveThatHangs(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := newTagged(t, true, regtest.Options{Memory: m, Wrap: onTag("production", func(next http.Handler, w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPut {
				cancel(why)
				<-q.Context().Done()
				return
			}
			next.ServeHTTP(w, q)
		})})
		o := s.observe()
		began := time.Now()
		if err := transfer.Move(ctx, s.proof, o); !errors.Is(err, why) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// TestConfirmAcceptsReadsThatLag behind the write.
func TestConfirmAcceptsReadsThatLag(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		for _, exists := range []bool{true, false} {
			l := &lagging{}
			s := newTagged(t, exists, regtest.Options{Memory: m, Wrap: onTag("production", l.handle)})
			o := s.observe()
			l.stale.Store(3)
			if err := transfer.Move(t.Context(), s.proof, o); err != nil {
				t.Fatal(err)
			}
			if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
				t.Errorf("exists %v: %v", exists, err)
			}
			if l.stale.Load() > 0 {
				t.Error("no read lagged")
			}
		}
	})
}

// TestTagsThatAreSeenLate, as late as has been seen, are confirmed, put back and confirmed again, each with one write.
func TestTagsThatAreSeenLate(t *testing.T) {
	t.Parallel()
	for _, exists := range []bool{true, false} {
		t.Run(fmt.Sprintf("exists %v", exists), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				s := newTagged(t, exists, regtest.Options{Memory: m, Delete: true, Traits: []regtest.Trait{regtest.TagsLate(15 * time.Second)}})
				time.Sleep(time.Minute) // the first write is seen
				o := s.observe()
				if got := o.Digest(); got.Hex != "" && got.String() != s.old {
					t.Fatalf("observed %s, want %q", got, s.old)
				}
				if err := transfer.Move(t.Context(), s.proof, o); err != nil {
					t.Fatal(err)
				}
				if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
					t.Error(err)
				}
				if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Back || err != nil {
					t.Errorf("put back: %v, %v", state, err)
				}
				if w := writes(s.at); len(w) != 2 {
					t.Errorf("writes %v, want a move and what puts it back", w)
				}
			})
		})
	}
}

// lagging answers some reads of a tag as the first one was answered.
type lagging struct {
	first atomic.Pointer[recorded]
	stale atomic.Int32 // how many more
}

func (l *lagging) handle(next http.Handler, w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet {
		next.ServeHTTP(w, q)
		return
	}
	if l.first.Load() != nil && l.stale.Add(-1) >= 0 {
		l.first.Load().replay(w)
		return
	}
	a := &recorded{header: http.Header{}}
	next.ServeHTTP(a, q)
	l.first.CompareAndSwap(nil, a)
	a.replay(w)
}

// recorded is an answer that can be given again.
type recorded struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorded) Header() http.Header { return r.header }
func (r *recorded) WriteHeader(s int)   { r.status = s }
func (r *recorded) Write(p []byte) (int, error) {
	r.body = append(r.body, p...)
	return len(p), nil
}

func (r *recorded) replay(w http.ResponseWriter) {
	for key, values := range r.header {
		w.Header()[key] = values
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	_, _ = w.Write(r.body)
}

// TestConfirmWritesAgain what the registry has acknowledged and lost.
func TestConfirmWritesAgain(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(func(*http.Request) bool) func(http.Handler) http.Handler{"lost": regtest.LoseOnce, "a web page": regtest.WebPageOnce} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				var armed atomic.Bool
				s := newTagged(t, true, regtest.Options{Memory: m, Wrap: lose(func(q *http.Request) bool {
					return armed.Load() && q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, "/manifests/production")
				})})
				o := s.observe()
				armed.Store(true)
				if err := transfer.Move(t.Context(), s.proof, o); err != nil {
					t.Fatal(err)
				}
				if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestConfirmGivesUp on a tag that never shows the new digest, also where it is written again.
func TestConfirmGivesUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		l := &lagging{}
		s := newTagged(t, true, regtest.Options{Memory: m, Wrap: onTag("production", l.handle)})
		o := s.observe()
		l.stale.Store(1000)
		if err := transfer.Move(t.Context(), s.proof, o); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err := transfer.Confirm(t.Context(), s.proof, o)
		if err == nil || !strings.Contains(err.Error(), "shows the old one") || registry.HintOf(err) == "" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took < 20*time.Second || took > 60*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if !strings.Contains(registry.HintOf(err), "run the promotion again") {
			t.Errorf("hint %q", registry.HintOf(err))
		}
		l.stale.Store(0) // the hint is to run again: the old digest is shown, and then the new one
		l.first.Store(nil)
		putOld(t, s)
		o = s.observe()
		if err := transfer.Move(t.Context(), s.proof, o); err != nil {
			t.Error(err)
		}
		if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
			t.Error(err)
		}
		if got := holds(t, s.at, "production"); got != s.new {
			t.Errorf("the tag holds %s", got)
		}
	})
}

// putOld makes the tag what it was before, as a registry does that has lost the move.
func putOld(t *testing.T, s *tagged) {
	t.Helper()
	if err := regtest.PutTag(t.Context(), s.at.Access("", ""), targetRepo, "production", s.old); err != nil {
		t.Fatal(err)
	}
}

func TestConfirmSeesOthers(t *testing.T) {
	s := newTagged(t, true, regtest.Options{Delete: true})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Fatal(err)
	}
	s.taken()
	var taken *transfer.TakenError
	if err := transfer.Confirm(t.Context(), s.proof, o); !errors.As(err, &taken) || taken.Holds.String() != s.third.Root || !strings.Contains(err.Error(), s.third.Root) {
		t.Errorf("error %v", err)
	}
	if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Taken || !errors.As(err, &taken) {
		t.Errorf("put back: %v, %v", state, err)
	}
	if got := holds(t, s.at, "production"); got != s.third.Root {
		t.Errorf("somebody else's %s was overwritten with %s", s.third.Root, got)
	}
	aside(t, func(ctx context.Context) error {
		return regtest.DeleteManifest(ctx, s.at.Access("", ""), targetRepo, "production")
	})
	if err := transfer.Confirm(t.Context(), s.proof, o); !errors.As(err, &taken) || taken.Holds.Hex != "" || !strings.Contains(err.Error(), "removed") {
		t.Errorf("error %v", err)
	}
	if state, _ := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Taken {
		t.Errorf("put back: %v", state)
	}
}

// TestPutBackWhereNothingCanBeDeleted leaves a new tag and says so.
func TestPutBackWhereNothingCanBeDeleted(t *testing.T) {
	s := newTagged(t, false, regtest.Options{})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Fatal(err)
	}
	state, err := transfer.PutBack(t.Context(), s.proof, o, true)
	if state != transfer.Left || !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("put back: %v, %v", state, err)
	}
	if got := holds(t, s.at, "production"); got != s.new {
		t.Errorf("the tag holds %q", got)
	}
}

// TestPutBackThroughReadsThatLag: what the registry acknowledged did move,
// whatever a read says.
func TestPutBackThroughReadsThatLag(t *testing.T) {
	for _, exists := range []bool{true, false} {
		l := &lagging{}
		s := newTagged(t, exists, regtest.Options{Delete: true, Wrap: onTag("production", l.handle)})
		o := s.observe()
		if err := transfer.Move(t.Context(), s.proof, o); err != nil {
			t.Fatal(err)
		}
		l.stale.Store(1)
		if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Back || err != nil {
			t.Errorf("put back: %v, %v", state, err)
		}
		if got := holds(t, s.at, "production"); got != s.old {
			t.Errorf("the tag holds %q, want %q", got, s.old)
		}
	}
}

// TestPutBackConfirmsThroughReadsThatLag behind its own write.
func TestPutBackConfirmsThroughReadsThatLag(t *testing.T) {
	l := &lagging{}
	s := newTagged(t, true, regtest.Options{Wrap: onTag("production", l.handle)})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Fatal(err)
	}
	l.first.Store(nil) // from here on the new digest is what lags
	l.stale.Store(2)
	if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Back || err != nil {
		t.Errorf("put back: %v, %v", state, err)
	}
	if l.stale.Load() > 0 {
		t.Error("no read lagged")
	}
}

// TestPutBackOfWhatNeverMoved writes nothing.
func TestPutBackOfWhatNeverMoved(t *testing.T) {
	for _, exists := range []bool{true, false} {
		s := newTagged(t, exists, regtest.Options{})
		o := s.observe()
		if state, err := transfer.PutBack(t.Context(), s.proof, o, false); state != transfer.Unmoved || err != nil {
			t.Errorf("put back: %v, %v", state, err)
		}
		if w := writes(s.at); len(w) > 0 {
			t.Error("writes:", w)
		}
	}
}

// TestPutBackThatCannotRead does not guess.
func TestPutBackThatCannotRead(t *testing.T) {
	var down atomic.Bool
	s := newTagged(t, true, regtest.Options{Wrap: onTag("production", func(next http.Handler, w http.ResponseWriter, q *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, q)
	})})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Unknown || err == nil {
		t.Errorf("put back: %v, %v", state, err)
	}
}

// TestPutBackAndThenTaken: somebody else moves the tag right after.
func TestPutBackAndThenTaken(t *testing.T) {
	var s *tagged
	var armed atomic.Bool
	s = newTagged(t, true, regtest.Options{Wrap: onTag("production", func(next http.Handler, w http.ResponseWriter, q *http.Request) {
		next.ServeHTTP(w, q)
		if q.Method == http.MethodPut && armed.Load() {
			s.taken()
		}
	})})
	o := s.observe()
	if err := transfer.Move(t.Context(), s.proof, o); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	var taken *transfer.TakenError
	if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Taken || !errors.As(err, &taken) || taken.Holds.String() != s.third.Root {
		t.Errorf("put back: %v, %v", state, err)
	}
}

// TestObserveUnderAPolicy that forbids to pull what the tag holds: its digest is told where
// a HEAD tells it, and else it is said which policy it is.
func TestObserveUnderAPolicy(t *testing.T) {
	t.Parallel()
	old := regtest.Build(regtest.Spec{Seed: "old"}).Root
	var lifted atomic.Bool
	kept := func(_, ref string) bool { return !lifted.Load() && (ref == "production" || ref == old) }
	t.Run("HEAD is let through", func(t *testing.T) {
		policy := strictGet(kept)
		s := newTagged(t, true, regtest.Options{Wrap: policy})
		o := s.observe()
		if got := o.Digest().String(); got != s.old || got != old {
			t.Fatalf("observed %s, want %s", got, s.old)
		}
		if err := transfer.Move(t.Context(), s.proof, o); err != nil {
			t.Fatal(err)
		}
		lifted.Store(true)
		defer lifted.Store(false)
		if err := transfer.Confirm(t.Context(), s.proof, o); err != nil {
			t.Error(err)
		}
		if state, err := transfer.PutBack(t.Context(), s.proof, o, true); state != transfer.Back || err != nil {
			t.Errorf("put back: %v, %v", state, err)
		}
		if got := holds(t, s.at, "production"); got != s.old {
			t.Errorf("the tag holds %q again, want %q", got, s.old)
		}
	})
	t.Run("HEAD is refused too", func(t *testing.T) {
		s := newTagged(t, true, regtest.Options{Traits: []regtest.Trait{regtest.PolicyViolation(kept, -1)}})
		_, err := transfer.Observe(t.Context(), s.repo, "production")
		if !errors.Is(err, registry.ErrPolicy) || !strings.Contains(err.Error(), "7 vulnerabilities") || !strings.Contains(registry.HintOf(err), "policy") {
			t.Errorf("error %v, hint %s", err, registry.HintOf(err))
		}
	})
}

// strictGet refuses to send what is kept back, and names its digest all the same.
func strictGet(kept func(repository, ref string) bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			ref := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
			if q.Method == http.MethodGet && q.UserAgent() != regtest.Agent && strings.Contains(q.URL.Path, "/manifests/") && kept("", ref) {
				w.WriteHeader(http.StatusPreconditionFailed)
				_, _ = w.Write([]byte(`{"errors":[{"code":"PROJECTPOLICYVIOLATION","message":"kept back"}]}`))
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}
