package promote_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// stage is a source with a new image, and a target whose tags hold an old one.
type stage struct {
	source, target *regtest.Registry
	old, new       *regtest.Image
}

// newStage gives the target's repository those tags on the old image.
func newStage(t testing.TB, o regtest.Options, tags ...string) *stage {
	t.Helper()
	s := &stage{source: regtest.Serve(t, regtest.Options{Memory: o.Memory}), target: regtest.Serve(t, o), old: plain("old"), new: plain("new")}
	push(t, s.new, s.source, "acme/app", "dev")
	push(t, s.old, s.target, "prod/app", tags...)
	s.target.ResetRequests()
	return s
}

// to is the target's reference of a tag.
func (s *stage) to(tag string) string {
	if name, ok := strings.CutPrefix(tag, fixed); ok {
		return fixed + s.target.Host() + "/prod/app:" + name
	}
	return s.target.Host() + "/prod/app:" + tag
}

func (s *stage) promote(t testing.TB, tags ...string) document.Report {
	t.Helper()
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	return run(t, request(t, s.source.Host()+"/acme/app:dev", targets...))
}

// whole expects that a tag holds the new image, with everything.
func (s *stage) whole(t testing.TB, tag string) {
	t.Helper()
	complete(t, s.source, "acme/app", "dev", s.target, "prod/app", tag)
}

// TestFixedTagThatExists with another digest is denied before anything is written.
func TestFixedTagThatExists(t *testing.T) {
	s := newStage(t, regtest.Options{}, "v1", "production")
	d := s.promote(t, "production", fixed+"v1")
	faulted(t, d, document.Denied, s.old.Root, s.new.Root, "prod/app:v1", "never changes")
	expectTag(t, d, ":v1", document.TagPending, s.old.Root, s.old.Root)
	expectTag(t, d, ":production", document.TagPending, s.old.Root, s.old.Root)
	untouched(t, s.target)
}

// TestFixedTagThatIsRight: on a repository where no tag can be written twice as well.
func TestFixedTagThatIsRight(t *testing.T) {
	s := newStage(t, regtest.Options{Immutable: func(_, tag string) bool { return strings.HasPrefix(tag, "v") }}, "production")
	d := s.promote(t, "production", fixed+"v1")
	expect(t, d, document.Promoted)
	expectTag(t, d, ":v1", document.TagMoved, "", s.new.Root)
	if !tag(t, d, ":v1").Fixed || tag(t, d, ":production").Fixed {
		t.Errorf("tags %+v", d.Promotions[0].Tags)
	}
	s.target.ResetRequests()
	d = s.promote(t, "production", fixed+"v1")
	expect(t, d, document.Unchanged)
	expectTag(t, d, ":v1", document.TagUnchanged, s.new.Root, s.new.Root)
	untouched(t, s.target)
}

// TestFixedTagWrittenMeanwhile: while the image was copied, somebody wrote it.
func TestFixedTagWrittenMeanwhile(t *testing.T) {
	var s *stage
	var once sync.Once
	s = newStage(t, regtest.Options{Wrap: forUs(hook(func(q *http.Request) bool { return q.Method == http.MethodPut }, func() {
		once.Do(func() {
			_ = regtest.PutTag(t.Context(), s.target.Access("", ""), "prod/app", "v1", s.old.Root)
		})
	}))}, "production")
	d := s.promote(t, "production", fixed+"v1")
	faulted(t, d, document.Denied, "prod/app:v1", s.old.Root)
	for _, tag := range []string{"v1", "production"} {
		expectTag(t, d, ":"+tag, document.TagPending, s.old.Root, s.old.Root)
		if got := holds(t, s.target, "prod/app", tag); got != s.old.Root {
			t.Errorf("%s holds %s", tag, got)
		}
	}
}

// TestTagThatCannotBeReadAgain: what was read before the copy is still told.
func TestTagThatCannotBeReadAgain(t *testing.T) {
	var copying atomic.Bool
	s := newStage(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPut {
				copying.Store(true)
			}
			if copying.Load() && on(http.MethodGet, "/manifests/production")(q) {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	})}, "production")
	d := s.promote(t, "production")
	faulted(t, d, document.Failed, "403", "prod/app:production")
	expectTag(t, d, ":production", document.TagPending, s.old.Root, s.old.Root)
	if got := holds(t, s.target, "prod/app", "production"); got != s.old.Root {
		t.Errorf("the tag holds %s", got)
	}
}

// TestFixedTagsMoveFirst: one that cannot be written then moves nothing.
func TestFixedTagsMoveFirst(t *testing.T) {
	s := newStage(t, regtest.Options{}, "production")
	expect(t, s.promote(t, "production", "latest", fixed+"v1"), document.Promoted)
	var order []string
	for _, w := range writes(s.target) {
		if name := w[strings.LastIndex(w, "/")+1:]; !strings.HasPrefix(name, "sha256") && !ledger.Reserved(name) && strings.Contains(w, "/manifests/") {
			order = append(order, name)
		}
	}
	if len(order) != 3 || order[0] != "v1" {
		t.Errorf("order %q: the fixed tag is not the first", order)
	}
}

// TestMovingTagThatCannotBeChanged says what to do, and nothing else moves.
func TestMovingTagThatCannotBeChanged(t *testing.T) {
	s := newStage(t, regtest.Options{Immutable: func(_, tag string) bool { return tag == "production" }}, "production", "latest")
	d := s.promote(t, "latest", "production")
	faulted(t, d, document.Failed, "TAG_INVALID", "prod/app:production", "fixed-tags")
	expectTag(t, d, ":latest", document.TagPutBack, s.old.Root, s.old.Root)
	expectTag(t, d, ":production", document.TagPending, s.old.Root, s.old.Root)
	if note := tag(t, d, ":production").Note; note != "the registry refused the write" {
		t.Errorf("note %q", note)
	}
	for _, tag := range []string{"production", "latest"} {
		if got := holds(t, s.target, "prod/app", tag); got != s.old.Root {
			t.Errorf("%s holds %s", tag, got)
		}
	}
}

// TestSecondTagFails: the first is put back.
func TestSecondTagFails(t *testing.T) {
	long(t)
	refuse := func(tag string) func(http.Handler) http.Handler {
		return forUs(regtest.Answer(on(http.MethodPut, "/manifests/"+tag), http.StatusForbidden, "application/json", []byte(`{"errors":[{"code":"DENIED"}]}`)))
	}
	t.Run("which existed", func(t *testing.T) {
		s := newStage(t, regtest.Options{Wrap: refuse("second")}, "first", "second", "third")
		d := s.promote(t, "first", "second", "third")
		faulted(t, d, document.Failed, "prod/app:second", "403")
		expectTag(t, d, ":first", document.TagPutBack, s.old.Root, s.old.Root)
		expectTag(t, d, ":second", document.TagPending, s.old.Root, s.old.Root)
		// The third moves beside the second: it is put back, or never began.
		if third := tag(t, d, ":third"); third.State != document.TagPutBack && third.State != document.TagPending || third.After != s.old.Root {
			t.Errorf("the third tag is %+v", third)
		}
		for _, tag := range []string{"first", "second", "third"} {
			if got := holds(t, s.target, "prod/app", tag); got != s.old.Root {
				t.Errorf("%s holds %s", tag, got)
			}
		}
	})
	t.Run("which was new, and can be deleted", func(t *testing.T) {
		s := newStage(t, regtest.Options{Wrap: refuse("second"), Delete: true})
		d := s.promote(t, "first", "second")
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagPutBack, "", "")
		if got := holds(t, s.target, "prod/app", "first"); got != "" {
			t.Errorf("first holds %s", got)
		}
	})
	t.Run("which was new, and cannot be deleted", func(t *testing.T) {
		s := newStage(t, regtest.Options{Wrap: refuse("second")})
		d := s.promote(t, "first", "second")
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagLeft, "", s.new.Root)
		s.whole(t, "first")
	})
	t.Run("which somebody moved meanwhile", func(t *testing.T) {
		var s *stage
		third := plain("third")
		s = newStage(t, regtest.Options{Wrap: regtest.Chain(forUs(hook(on(http.MethodPut, "/manifests/second"), func() {
			_ = regtest.PutTag(t.Context(), s.target.Access("", ""), "prod/app", "first", third.Root)
		})), refuse("second"))}, "first", "second")
		push(t, third, s.target, "prod/app")
		d := s.promote(t, "first", "second")
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagTaken, s.old.Root, third.Root)
		if got := holds(t, s.target, "prod/app", "first"); got != third.Root {
			t.Errorf("first holds %s, want what somebody else gave it", got)
		}
	})
	t.Run("which cannot be read any more", func(t *testing.T) {
		var down atomic.Bool
		s := newStage(t, regtest.Options{Wrap: regtest.Chain(
			forUs(hook(on(http.MethodPut, "/manifests/second"), func() { down.Store(true) })),
			forUs(regtest.Answer(func(q *http.Request) bool { return down.Load() && on(http.MethodGet, "/manifests/first")(q) }, http.StatusForbidden, "", nil)),
			refuse("second"),
		)}, "first", "second")
		d := s.promote(t, "first", "second")
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagUnknown, s.old.Root, "")
	})
	t.Run("in another registry", func(t *testing.T) {
		s := newStage(t, regtest.Options{Wrap: refuse("second")}, "second")
		other := regtest.Serve(t, regtest.Options{})
		push(t, s.old, other, "prod/app", "first")
		d := run(t, requestOf(item(t, s.source.Host()+"/acme/app:dev", other.Host()+"/prod/app:first", s.to("second"))))
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagPutBack, s.old.Root, s.old.Root)
		if got := holds(t, other, "prod/app", "first"); got != s.old.Root {
			t.Errorf("first holds %s", got)
		}
	})
}

// TestLostAnswer to the tag's PUT: it has moved, and that is what is reported.
func TestLostAnswer(t *testing.T) {
	for name, o := range map[string]regtest.Options{
		"a moving tag":                       {},
		"a tag that cannot be written twice": {Immutable: func(_, tag string) bool { return tag == "v1" }},
	} {
		t.Run(name, func(t *testing.T) {
			o.Wrap = forUs(regtest.ResetAfter(on(http.MethodPut, "/manifests/v1")))
			s := newStage(t, o, "production")
			d := s.promote(t, "production", fixed+"v1")
			expect(t, d, document.Promoted)
			expectTag(t, d, ":v1", document.TagMoved, "", s.new.Root)
			s.whole(t, "v1")
		})
	}
}

// TestReadsThatLag: the tag's old value for some reads is no failure.
func TestReadsThatLag(t *testing.T) {
	long(t)
	t.Parallel()
	for _, tags := range [][]string{{"production"}, nil} {
		var moved atomic.Bool
		var left atomic.Int32
		left.Store(3)
		var s *stage
		stale := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if on(http.MethodGet, "/manifests/production")(q) && moved.Load() && left.Add(-1) >= 0 {
					if len(tags) == 0 {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					q.URL.Path = "/v2/prod/app/manifests/" + s.old.Root
				}
				next.ServeHTTP(w, q)
				if on(http.MethodPut, "/manifests/production")(q) {
					moved.Store(true)
				}
			})
		}
		s = newStage(t, regtest.Options{Wrap: forUs(stale)}, tags...)
		d := s.promote(t, "production")
		expect(t, d, document.Promoted)
		if left.Load() >= 0 {
			t.Error("no read lagged")
		}
		s.whole(t, "production")
	}
}

// TestTakenAfterTheMove: the run does not say that it left there what it did not.
func TestTakenAfterTheMove(t *testing.T) {
	var s *stage
	third := plain("third")
	s = newStage(t, regtest.Options{Wrap: forUs(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			next.ServeHTTP(w, q)
			if on(http.MethodPut, "/manifests/latest")(q) { // the last to move
				_ = regtest.PutTag(t.Context(), s.target.Access("", ""), "prod/app", "production", third.Root)
			}
		})
	})}, "production", "latest")
	push(t, third, s.target, "prod/app")
	d := s.promote(t, "production", "latest")
	faulted(t, d, document.Failed, "somebody else moved tag", third.Root)
	expectTag(t, d, ":production", document.TagTaken, s.old.Root, third.Root)
	expectTag(t, d, ":latest", document.TagPutBack, s.old.Root, s.old.Root)
}

// TestTwoPromotionsAtOnce: whoever reports success left its image there, or it
// was overwritten by the other that says so too.
func TestTwoPromotionsAtOnce(t *testing.T) {
	long(t)
	t.Parallel()
	for range 5 {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			target := regtest.Serve(t, regtest.Options{Memory: m})
			images := []*regtest.Image{plain("one"), plain("two")}
			source := regtest.Serve(t, regtest.Options{Memory: m})
			push(t, images[0], source, "acme/app", "0")
			push(t, images[1], source, "acme/app", "1")
			reports := make([]document.Report, 2)
			var wg sync.WaitGroup
			for n, tag := range []string{"0", "1"} {
				r := request(t, source.Host()+"/acme/app:"+tag, target.Host()+"/prod/app:production")
				wg.Go(func() { reports[n] = run(t, r) })
			}
			wg.Wait()
			held := holds(t, target, "prod/app", "production")
			for n, d := range reports {
				got := tag(t, d, ":production")
				switch {
				case d.Result == document.Promoted && got.After != images[n].Root:
					t.Errorf("%d promoted, and says that the tag holds %s", n, got.After)
				case d.Result != document.Promoted && got.State == document.TagPending: // it gave way before it moved anything
					if d.Result != document.Failed && d.Result != document.Denied {
						t.Errorf("%d ended %s", n, d.Result)
					}
					faulted(t, d, d.Result, "concurrency")
				case d.Result != document.Promoted && got.State != document.TagTaken && got.State != document.TagPutBack:
					t.Errorf("%d ended %s with the tag %+v", n, d.Result, got)
				}
			}
			if held != images[0].Root && held != images[1].Root && reports[0].Result == document.Promoted && reports[1].Result == document.Promoted {
				t.Errorf("the tag holds %q after two successes", held)
			}
		})
	}
}

// TestTroubleWithATag: a registry that has passing trouble is asked again.
func TestTroubleWithATag(t *testing.T) {
	s := newStage(t, regtest.Options{Wrap: forUs(regtest.Chain(
		regtest.FailOnce(on(http.MethodPut, "/manifests/production"), http.StatusServiceUnavailable),
		regtest.ResetBefore(on(http.MethodPut, "/manifests/production")),
		regtest.FailOnce(on(http.MethodGet, "/manifests/production"), http.StatusTooManyRequests),
	))}, "production")
	expect(t, s.promote(t, "production"), document.Promoted)
	s.whole(t, "production")
}

// TestCancelled at every step, and in the middle of some: no tag moves after, what
// was moved is put back, and the report is there in time.
func TestCancelled(t *testing.T) {
	t.Parallel()
	why := errors.New("SIGTERM")
	for name, test := range map[string]struct {
		step    string                   // cancelled when it begins
		request func(*http.Request) bool // or when this is asked
		hangs   func(*http.Request) bool // and what never answers from then on
		moved   bool                     // whether all tags may have moved
		states  map[string][]document.TagState
	}{
		"when it resolves":   {step: "Resolve"},
		"when it inspects":   {step: "Inspect"},
		"when it copies":     {step: "Copy"},
		"when it verifies":   {step: "Verify"},
		"when it moves tags": {step: "Move tags"},
		"in the middle of a blob": {request: func(q *http.Request) bool {
			return strings.Contains(q.URL.Path, "/uploads/")
		}},
		"while a manifest hangs":       {request: on(http.MethodPut, ""), hangs: on(http.MethodPut, "")},
		"at the first tag":             {request: on(http.MethodPut, "/manifests/first")},
		"at the first tag, hanging":    {request: on(http.MethodPut, "/manifests/first"), hangs: on(http.MethodPut, "/manifests/first")},
		"at the second tag":            {request: on(http.MethodPut, "/manifests/second"), moved: true},
		"at the second tag, hanging":   {request: on(http.MethodPut, "/manifests/second"), hangs: on(http.MethodPut, "/manifests/second")},
		"and nothing answers any more": {request: on(http.MethodPut, "/manifests/second"), hangs: func(*http.Request) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var ended atomic.Pointer[time.Time]
				end := func() {
					now := time.Now()
					ended.CompareAndSwap(nil, &now)
					cancel(why)
				}
				s := newStage(t, regtest.Options{Memory: m, Wrap: forUs(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						if test.request != nil && test.request(q) {
							end()
						}
						if ended.Load() != nil && test.hangs != nil && test.hangs(q) {
							<-q.Context().Done()
							return
						}
						next.ServeHTTP(w, q)
					})
				})}, "first", "second")
				w := &watcher{onStep: func(title string) {
					if title == test.step {
						end()
					}
				}}
				d := runWith(t, ctx, at(s.target), request(t, s.source.Host()+"/acme/app:dev", s.to("first"), s.to("second")), w)
				took := time.Since(*ended.Load())
				if took > 7*time.Second {
					t.Errorf("the report came after %v", took)
				}
				s.judge(t, d, test.moved)
			})
		})
	}
}

// judge holds a report against what the tags hold.
func (s *stage) judge(t *testing.T, d document.Report, mayBeDone bool) {
	t.Helper()
	if d.Result == document.Promoted {
		if !mayBeDone {
			t.Error("promoted")
		}
		s.whole(t, "first")
		s.whole(t, "second")
		return
	}
	faulted(t, d, document.Failed, "SIGTERM")
	for _, name := range []string{"first", "second"} {
		got, now := tag(t, d, ":"+name), holds(t, s.target, "prod/app", name)
		switch {
		case now != s.old.Root && now != s.new.Root:
			t.Errorf("%s holds %s", name, now)
		case got.State == document.TagUnknown:
			if got.Note == "" {
				t.Errorf("%s is unknown without a note", name)
			}
		case got.After != now && got.Before != "":
			t.Errorf("%s is said to hold %q (%s) and holds %s", name, got.After, got.State, now)
		case got.State == document.TagMoved:
			t.Errorf("%s is %s after a failure", name, got.State)
		}
	}
}

// TestCancelledWhilePuttingBack: what takes its time is cut short then.
func TestCancelledWhilePuttingBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var ended atomic.Pointer[time.Time]
		s := newStage(t, regtest.Options{Memory: m, Wrap: forUs(func(next http.Handler) http.Handler {
			var puts atomic.Int32
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case on(http.MethodPut, "/manifests/second")(q):
					w.WriteHeader(http.StatusForbidden)
				case on(http.MethodPut, "/manifests/first")(q) && puts.Add(1) == 2:
					now := time.Now()
					ended.Store(&now)
					cancel(errors.New("SIGTERM"))
					<-q.Context().Done()
				default:
					next.ServeHTTP(w, q)
				}
			})
		})}, "first", "second")
		d := runWith(t, ctx, at(s.target), request(t, s.source.Host()+"/acme/app:dev", s.to("first"), s.to("second")), &watcher{})
		if took := time.Since(*ended.Load()); took > 7*time.Second {
			t.Errorf("the report came after %v", took)
		}
		expect(t, d, document.Failed)
		expectTag(t, d, ":first", document.TagLeft, s.old.Root, s.new.Root)
	})
}

// slowToPutBack is a stage whose target never answers the write of the tag second, and takes so long to put back first.
func slowToPutBack(t *testing.T, m *regtest.Memory, takes time.Duration) *stage {
	t.Helper()
	return newStage(t, regtest.Options{Memory: m, Wrap: forUs(func(next http.Handler) http.Handler {
		var puts atomic.Int32
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case on(http.MethodPut, "/manifests/second")(q):
				<-q.Context().Done()
				return
			case on(http.MethodPut, "/manifests/first")(q) && puts.Add(1) == 2:
				select {
				case <-time.After(takes):
				case <-q.Context().Done():
					return
				}
			}
			next.ServeHTTP(w, q)
		})
	})}, "first", "second")
}

// TestTimedOutWhilePuttingBack: the run's own timeout leaves time for a slow registry.
// zot answers writes after 10 to 20 s while it walks through a large store, which it does after each start.
func TestTimedOutWhilePuttingBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		s := slowToPutBack(t, m, 15*time.Second)
		ctx, cancel := promote.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		d := runWith(t, ctx, at(s.target), request(t, s.source.Host()+"/acme/app:dev", s.to("first"), s.to("second")), &watcher{})
		faulted(t, d, document.Failed, "the timeout of 20s has passed")
		expectTag(t, d, ":first", document.TagPutBack, s.old.Root, s.old.Root)
		if got := holds(t, s.target, "prod/app", "first"); got != s.old.Root {
			t.Errorf("the tag holds %s", got)
		}
	})
}

// TestSignalWhilePuttingBackAfterTheTimeout: a signal that follows the run's own timeout leaves as little time as one
// that precedes it: the runner kills the run ten seconds after.
func TestSignalWhilePuttingBackAfterTheTimeout(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		s := slowToPutBack(t, m, 50*time.Second)
		signal, end := context.WithCancelCause(t.Context())
		defer end(nil)
		ctx, cancel := promote.WithTimeout(signal, 20*time.Second)
		defer cancel()
		var ended time.Time
		time.AfterFunc(30*time.Second, func() {
			ended = time.Now()
			end(errors.New("SIGTERM"))
		})
		d := runWith(t, ctx, at(s.target), request(t, s.source.Host()+"/acme/app:dev", s.to("first"), s.to("second")), &watcher{})
		if took := time.Since(ended); ended.IsZero() || took > 7*time.Second {
			t.Errorf("the report came %v after the signal", took)
		}
		faulted(t, d, document.Failed, "the timeout of 20s has passed")
		expectTag(t, d, ":first", document.TagLeft, s.old.Root, s.new.Root)
	})
}

// TestTagReadAgainBeforeItMoves: a large image is verified for long, and somebody
// may write a fixed tag meanwhile.
func TestTagReadAgainBeforeItMoves(t *testing.T) {
	t.Parallel()
	long(t)
	var target *regtest.Registry
	third := plain("third")
	var once sync.Once
	source := regtest.Serve(t, regtest.Options{})
	target = regtest.Serve(t, regtest.Options{Wrap: forUs(hook(func(q *http.Request) bool {
		return q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/")
	}, func() {
		once.Do(func() {
			time.Sleep(1500 * time.Millisecond) // the tags were read beside this
			_ = regtest.PutTag(context.Background(), target.Access("", ""), "prod/app", "v1", third.Root)
			time.Sleep(time.Second)
		})
	}))})
	push(t, plain("new"), source, "acme/app", "dev")
	push(t, third, target, "prod/app")
	target.ResetRequests()
	r := request(t, source.Host()+"/acme/app:dev", fixed+target.Host()+"/prod/app:v1")
	r.Verify = transfer.Content
	faulted(t, run(t, r), document.Denied, "the fixed tag", third.Root)
	if got := holds(t, target, "prod/app", "v1"); got != third.Root {
		t.Errorf("the tag holds %s", got)
	}
}
