package promote_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// lateStage is a stage whose target cuts off the first writes of the tag production, and does them so long after.
func lateStage(t testing.TB, m *regtest.Memory, after []time.Duration, tags ...string) *stage {
	t.Helper()
	production := func(_, tag string) bool { return tag == "production" }
	return newStage(t, regtest.Options{
		Memory: m, Delete: true, Traits: []regtest.Trait{regtest.LateWrite(production, http.StatusForbidden, after...)},
	}, tags...)
}

func (s *stage) promoteLate(t testing.TB, ctx context.Context, tags ...string) document.Report { //nolint:revive // the test comes first
	t.Helper()
	var targets []string
	for _, tag := range tags {
		targets = append(targets, s.to(tag))
	}
	return runWith(t, ctx, at(s.target), request(t, s.source.Host()+"/acme/app:dev", targets...), &watcher{})
}

// TestLateWriteIsReverted: an attempt at a tag has no answer and lands seconds later, while the registry refuses the next
// attempts. The run waits for it and reverts it, as often as one lands; the release's other tags are reverted meanwhile.
func TestLateWriteIsReverted(t *testing.T) {
	long(t)
	t.Parallel()
	seconds := time.Second
	for name, after := range map[string][]time.Duration{
		"after 3 s":              {3 * seconds},
		"after 14 s":             {14 * seconds},
		"two, after 4 and 12 s":  {4 * seconds, 12 * seconds},
		"two, after 3 and 4.5 s": {3 * seconds, 4500 * time.Millisecond},
	} {
		for _, before := range [][]string{{"production", "latest"}, nil} {
			t.Run(name+", tags before: "+strings.Join(before, " "), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, m *regtest.Memory) {
					s := lateStage(t, m, after, before...)
					was := holds(t, s.target, "prod/app", "production")
					d := s.promoteLate(t, t.Context(), "latest", "production")
					faulted(t, d, document.Failed, "403")
					expectTag(t, d, ":production", document.TagPutBack, was, was)
					time.Sleep(time.Minute) // nothing is on its way any more
					for _, tag := range []string{"production", "latest"} {
						if got := holds(t, s.target, "prod/app", tag); got != was {
							t.Errorf("%s holds %q, want %q", tag, got, was)
						}
					}
					expect(t, s.promoteLate(t, t.Context(), "latest", "production"), document.Promoted)
					s.whole(t, "production")
				})
			})
		}
	}
}

// TestLateWriteThatIsNotSeen: the run says that it may still land and what to do; it does, and a rerun keeps it, as the
// message says.
func TestLateWriteThatIsNotSeen(t *testing.T) {
	t.Parallel()
	for _, before := range [][]string{{"production"}, nil} {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			s := lateStage(t, m, []time.Duration{40 * time.Second}, before...)
			was := holds(t, s.target, "prod/app", "production")
			d := s.promoteLate(t, t.Context(), "production")
			what := "delete the tag"
			if was != "" {
				what = "point it to " + was
			}
			faulted(t, d, document.Failed, "403", ":production may still move", s.new.Root, "promote again", what)
			expectTag(t, d, ":production", document.TagPending, was, was)
			if note := tag(t, d, ":production").Note; !strings.Contains(note, "may still land") {
				t.Errorf("note %q", note)
			}
			time.Sleep(time.Minute)
			if got := holds(t, s.target, "prod/app", "production"); got != s.new.Root {
				t.Fatalf("the tag holds %q: the write did not land", got)
			}
			expect(t, s.promoteLate(t, t.Context(), "production"), document.Unchanged)
			s.whole(t, "production")
		})
	}
}

// TestLateWriteThatSomebodyReplaces: what somebody else wrote meanwhile stays.
func TestLateWriteThatSomebodyReplaces(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		s := lateStage(t, m, []time.Duration{4 * time.Second}, "production")
		third := plain("third")
		push(t, third, s.target, "prod/app")
		begun := make(chan struct{})
		go func() {
			defer close(begun)
			for len(refusedWrites(s.target)) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(1500 * time.Millisecond)
			_ = regtest.PutTag(t.Context(), s.target.Access("", ""), "prod/app", "production", third.Root)
		}()
		d := s.promoteLate(t, t.Context(), "production")
		<-begun
		expect(t, d, document.Failed)
		expectTag(t, d, ":production", document.TagTaken, s.old.Root, third.Root)
		time.Sleep(time.Minute)
	})
}

// TestLateWriteOfARunThatIsEnded: there is no time to wait, and the report says so.
func TestLateWriteOfARunThatIsEnded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		s := lateStage(t, m, []time.Duration{20 * time.Second}, "production")
		var ended time.Time
		go func() {
			for len(refusedWrites(s.target)) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(1500 * time.Millisecond)
			ended = time.Now()
			cancel(errors.New("SIGTERM"))
		}()
		d := s.promoteLate(t, ctx, "production")
		if took := time.Since(ended); took > 7*time.Second {
			t.Errorf("the report came after %v", took)
		}
		faulted(t, d, document.Failed, ":production may still move")
		time.Sleep(time.Minute)
	})
}

// TestRefusedWriteIsNotWaitedFor: where every attempt was answered there is nothing to look for.
func TestRefusedWriteIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		refused := regtest.Answer(on(http.MethodPut, "/manifests/production"), http.StatusForbidden, "application/json", []byte(`{"errors":[{"code":"DENIED"}]}`))
		s := newStage(t, regtest.Options{Memory: m, Wrap: forUs(refused)}, "production")
		d := s.promoteLate(t, t.Context(), "production")
		faulted(t, d, document.Failed, "403")
		if got := tag(t, d, ":production"); got.State != document.TagPending || got.Note != "the registry refused the write" {
			t.Errorf("%+v", got)
		}
		last := refusedWrites(s.target)
		if waited := time.Since(last[len(last)-1].Ended); waited > 2*time.Second {
			t.Errorf("the run went on for %v", waited)
		}
	})
}

// refusedWrites are the attempts at the tag production that the registry refused.
func refusedWrites(r *regtest.Registry) []regtest.Request {
	return slices.DeleteFunc(r.Requests(), func(q regtest.Request) bool {
		return q.Method != http.MethodPut || !strings.HasSuffix(q.Path, "/manifests/production") || q.Status != http.StatusForbidden
	})
}
