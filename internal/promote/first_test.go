package promote_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// unreadable matches every read of the target that says what its tags are.
func unreadable(q *http.Request) bool {
	return (q.Method == http.MethodGet || q.Method == http.MethodHead) && strings.HasPrefix(q.URL.Path, "/v2/prod/app/") && !strings.Contains(q.URL.Path, "/blobs/")
}

// TestFirstPromotion to a repository that does not exist, on a registry that answers 403
// to reads there, as GHCR does; with a fixed tag and a moving one.
func TestFirstPromotion(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{Traits: []regtest.Trait{regtest.ForbiddenIfMissing()}})
	dry := s.bring("a", "production", fixed+"1.0")
	dry.DryRun = true
	d := run(t, dry)
	expect(t, d, document.WouldPromote)
	if notice := strings.Join(d.Notices, "|"); !strings.Contains(notice, "as if it did not exist yet. If it does exist") {
		t.Errorf("notices %q", notice)
	}
	expect(t, run(t, s.bring("a", "production", fixed+"1.0")), document.Promoted)
	s.expectHolds("production", "a")
	s.promoted("b")
	s.expectHolds("production", "b")
}

// TestTargetThatMayNotBeRead looks as if it did not exist: nothing of it is overwritten,
// whether its tags move or are fixed.
func TestTargetThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	s := newWorks(t, regtest.Options{})
	s.promoted("a", "production", "latest")
	s.refuse(http.StatusForbidden, unreadable)
	s.target.ResetRequests()
	d := run(t, s.bring("b", "production", "latest"))
	expect(t, d, document.Failed)
	for _, q := range s.target.Requests() {
		if q.Method == http.MethodPut && strings.Contains(q.Path, "/manifests/") && !strings.Contains(q.Path, "/manifests/sha256:") && q.Agent != regtest.Agent {
			t.Errorf("%s %s", q.Method, q.Path)
		}
	}
	if len(d.Faults) == 0 || !strings.Contains(d.Faults[0].Message, "403") {
		t.Errorf("faults %+v, want the refusal", d.Faults)
	}
	s.refuse(0, nil)
	s.expectHolds("production", "a")
	s.expectHolds("latest", "a")
}
