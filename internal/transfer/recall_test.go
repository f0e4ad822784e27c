package transfer_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// hash is a digest, or none.
func hash(t *testing.T, text string) v1.Hash {
	t.Helper()
	if text == "" {
		return v1.Hash{}
	}
	h, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// point makes the tag hold a digest, or removes it, as somebody else.
func (s *tagged) point(digest string) {
	s.t.Helper()
	aside(s.t, func(ctx context.Context) error {
		if digest == "" {
			return regtest.DeleteManifest(ctx, s.at.Access("", ""), targetRepo, "production")
		}
		return regtest.PutTag(ctx, s.at.Access("", ""), targetRepo, "production", digest)
	})
}

// TestRecall: a tag counts as what it held before, and can be put back to it.
func TestRecall(t *testing.T) {
	for _, exists := range []bool{true, false} {
		s := newTagged(t, exists, regtest.Options{Delete: true})
		s.point(s.new)
		o, err := transfer.Recall(t.Context(), s.repo, "production", hash(t, s.old))
		if err != nil || o.Digest() != hash(t, s.old) || o.Reference() != s.repo.Reference("production") {
			t.Fatalf("recalled %s of %s, error %v", o.Digest(), o.Reference(), err)
		}
		if m, existed := o.Held(); existed != exists || exists && (m.Digest.String() != s.old || len(m.Raw) == 0) {
			t.Errorf("held %s, existed %v", m.Digest, existed)
		}
		if w := writes(s.at); len(w) > 0 {
			t.Errorf("written: %q", w)
		}
		if state, err := transfer.PutBack(t.Context(), s.proof, o, false); state != transfer.Back || err != nil {
			t.Errorf("put back: %v, %v", state, err)
		}
		if got := holds(t, s.at, "production"); got != s.old {
			t.Errorf("the tag holds %q, want %q", got, s.old)
		}
	}
}

// TestRecallOfWhatIsGone is no absence of the tag: it would then be removed.
func TestRecallOfWhatIsGone(t *testing.T) {
	s := newTagged(t, true, regtest.Options{})
	if o, err := transfer.Recall(t.Context(), s.repo, "production", hash(t, digestOfNothing)); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("recalled %s, error %v", o.Digest(), err)
	}
}

const digestOfNothing = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"

func TestUndo(t *testing.T) {
	for name, test := range map[string]struct {
		exists bool
		now    func(s *tagged) string // what the tag holds by now
		before func(s *tagged) string // what the journal says, if not the truth
		state  transfer.Restored
		want   func(s *tagged) string
		writes int
	}{
		"a tag that moved":                 {exists: true, now: newOne, state: transfer.Back, want: oldOne, writes: 1},
		"a new tag":                        {now: newOne, state: transfer.Back, want: oldOne, writes: 1},
		"a tag that never moved":           {exists: true, now: oldOne, state: transfer.Unmoved, want: oldOne},
		"a tag that was never made":        {now: oldOne, state: transfer.Unmoved, want: oldOne},
		"a tag that somebody else moved":   {exists: true, now: thirdOne, state: transfer.Taken, want: thirdOne},
		"a tag that somebody else made":    {now: thirdOne, state: transfer.Taken, want: thirdOne},
		"a tag that somebody else removed": {exists: true, now: func(*tagged) string { return "" }, state: transfer.Taken, want: func(*tagged) string { return "" }},
		"a tag whose image is gone":        {exists: true, now: newOne, before: func(*tagged) string { return digestOfNothing }, state: transfer.Left, want: newOne},
		"a tag that did not move anywhere": {exists: true, now: newOne, before: newOne, state: transfer.Unmoved, want: newOne},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTagged(t, test.exists, regtest.Options{Delete: true})
			if now := test.now(s); now != s.old {
				s.point(now)
			}
			before := s.old
			if test.before != nil {
				before = test.before(s)
			}
			s.at.ResetRequests()
			state, err := transfer.Undo(t.Context(), s.repo, "production", hash(t, before), hash(t, s.new))
			if state != test.state {
				t.Errorf("%v, error %v; want %v", state, err, test.state)
			}
			var taken *transfer.TakenError
			var gone *transfer.GoneError
			if errors.As(err, &taken) != (test.state == transfer.Taken) || errors.As(err, &gone) != (test.state == transfer.Left) ||
				(err == nil) != (test.state == transfer.Back || test.state == transfer.Unmoved) {
				t.Errorf("error %v with %v", err, state)
			}
			if taken != nil && (taken.Reference != s.repo.Reference("production") || taken.Holds != hash(t, test.want(s))) {
				t.Errorf("error %+v", taken)
			}
			if gone != nil && (gone.Digest.String() != digestOfNothing || gone.Reference != s.repo.Reference("production")) {
				t.Errorf("error %+v", gone)
			}
			if w := writes(s.at); len(w) != test.writes {
				t.Errorf("written: %q, want %d", w, test.writes)
			}
			if got := holds(t, s.at, "production"); got != test.want(s) {
				t.Errorf("the tag holds %q, want %q", got, test.want(s))
			}
		})
	}
}

func oldOne(s *tagged) string   { return s.old }
func newOne(s *tagged) string   { return s.new }
func thirdOne(s *tagged) string { return s.third.Root }

// TestUndoWhereNothingCanBeDeleted leaves a new tag and says so.
func TestUndoWhereNothingCanBeDeleted(t *testing.T) {
	s := newTagged(t, false, regtest.Options{})
	s.point(s.new)
	state, err := transfer.Undo(t.Context(), s.repo, "production", v1.Hash{}, hash(t, s.new))
	if state != transfer.Left || !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("%v, %v", state, err)
	}
	if got := holds(t, s.at, "production"); got != s.new {
		t.Errorf("the tag holds %q", got)
	}
}

// TestUndoWhereNothingCanBeWritten leaves the tag: that its manifest is no longer there is something else.
func TestUndoWhereNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		for _, status := range []int{http.StatusForbidden, http.StatusNotFound} {
			s := newTagged(t, true, regtest.Options{Memory: m, Wrap: onTag("production", func(next http.Handler, w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodPut {
					w.WriteHeader(status)
					return
				}
				next.ServeHTTP(w, q)
			})})
			s.point(s.new)
			state, err := transfer.Undo(t.Context(), s.repo, "production", hash(t, s.old), hash(t, s.new))
			var gone *transfer.GoneError
			if state != transfer.Left || err == nil || errors.As(err, &gone) {
				t.Errorf("status %d: %v, %v", status, state, err)
			}
		}
	})
}

// TestUndoOfWhatCannotBeRead says that nobody knows.
func TestUndoOfWhatCannotBeRead(t *testing.T) {
	s := newTagged(t, true, regtest.Options{Wrap: onTag("production", func(_ http.Handler, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})})
	if state, err := transfer.Undo(t.Context(), s.repo, "production", hash(t, s.old), hash(t, s.new)); state != transfer.Unknown || !errors.Is(err, registry.ErrUnauthorized) {
		t.Errorf("%v, %v", state, err)
	}
}

// TestUndoThroughReadsThatLag: the tag shows for a while what it was moved to, after it was put back.
func TestUndoThroughReadsThatLag(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		for _, exists := range []bool{true, false} {
			l := &lagging{}
			s := newTagged(t, exists, regtest.Options{Memory: m, Delete: true, Wrap: onTag("production", l.handle)})
			s.point(s.new)
			s.observe() // what every read that lags shows
			l.stale.Store(3)
			if state, err := transfer.Undo(t.Context(), s.repo, "production", hash(t, s.old), hash(t, s.new)); state != transfer.Back || err != nil {
				t.Errorf("exists %v: %v, %v", exists, state, err)
			}
			if l.stale.Load() > 0 {
				t.Error("no read lagged")
			}
			if got := holds(t, s.at, "production"); got != s.old {
				t.Errorf("the tag holds %q, want %q", got, s.old)
			}
		}
	})
}
