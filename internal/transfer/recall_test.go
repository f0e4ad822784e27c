package transfer_test

import (
	"context"
	"errors"
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
		now, err := transfer.Observe(t.Context(), s.repo, "production")
		if err != nil {
			t.Fatal(err)
		}
		o, err := transfer.Recall(t.Context(), now, hash(t, s.old))
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
	now, err := transfer.Observe(t.Context(), s.repo, "production")
	if err != nil {
		t.Fatal(err)
	}
	if o, err := transfer.Recall(t.Context(), now, hash(t, digestOfNothing)); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("recalled %s, error %v", o.Digest(), err)
	}
}

const digestOfNothing = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"
