package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"golang.org/x/sync/errgroup"
)

// One wrong answer does not mean that a registry has no referrers API.
func TestNoReferrersAPIIsConfirmed(t *testing.T) {
	t.Parallel()
	for _, code := range []int{400, 404, 405, 501} {
		reg, r, subject := attached(t, 2, regtest.Options{Referrers: true, Wrap: strikes(1, getReferrers, status(code))})
		if list, err := r.Referrers(t.Context(), subject.Digest); err != nil || len(list) != 2 {
			t.Errorf("%d: %d referrers, error %v", code, len(list), err)
		}
		wantRequests(t, reg, getReferrers, 2)
	}
	// Where it answered before, several.
	reg, r, subject := attached(t, 2, regtest.Options{Referrers: true, Wrap: func(next http.Handler) http.Handler {
		odd := strikes(3, getReferrers, status(404))(next)
		var n atomic.Int32
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if request(getReferrers)(r) && n.Add(1) > 1 {
				odd.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	for range 2 {
		if list, err := r.Referrers(t.Context(), subject.Digest); err != nil || len(list) != 2 {
			t.Errorf("%d referrers, error %v", len(list), err)
		}
	}
	wantRequests(t, reg, getReferrers, 5)
}

// The answer that there is no API is confirmed once, and then remembered.
func TestNoReferrersAPIIsRemembered(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	subject := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	c := client(t, nil)
	r := repository(t, c, credential.Target, reg.Host()+"/acme/app", Push)
	if _, err := r.Referrers(t.Context(), subject.Digest); !errors.Is(err, ErrNoReferrersAPI) {
		t.Fatal(err)
	}
	wantRequests(t, reg, getReferrers, 2)
	var g errgroup.Group
	for range 10 {
		g.Go(func() error {
			_, err := r.Referrers(t.Context(), subject.Digest)
			if !errors.Is(err, ErrNoReferrersAPI) {
				return fmt.Errorf("error %w", err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, getReferrers, 2)
	r.session.referrersOf(r).learn(supported) // as a manifest does that the registry has indexed
	if _, err := r.Referrers(t.Context(), subject.Digest); !errors.Is(err, ErrNoReferrersAPI) {
		t.Fatal(err)
	}
	wantRequests(t, reg, getReferrers, 2+retry.MaxRefused)
}

// Simultaneous first requests share the confirmation.
func TestNoReferrersAPIAskedByMany(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		time.Sleep(100 * time.Millisecond)
		w.WriteHeader(http.StatusNotFound)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		var g errgroup.Group
		for range 10 {
			g.Go(func() error {
				if _, err := r.Referrers(t.Context(), digestOf(nil)); !errors.Is(err, ErrNoReferrersAPI) {
					return fmt.Errorf("error %w", err)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	if asked.Load() != 11 {
		t.Errorf("asked %d times, want 11", asked.Load())
	}
}

// A repository that does not exist yet does not show whether there is an API.
func TestReferrersOfAMissingRepository(t *testing.T) {
	t.Parallel()
	var made atomic.Bool
	h := open200(func(w http.ResponseWriter, _ *http.Request) {
		if made.Load() {
			index(w, `{"manifests":[]}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		if _, err := r.Referrers(t.Context(), digestOf(nil)); !errors.Is(err, ErrNoReferrersAPI) {
			t.Errorf("error %v", err)
		}
		made.Store(true)
		if _, err := r.Referrers(t.Context(), digestOf(nil)); err != nil {
			t.Errorf("error %v", err)
		}
	})
}

// The header OCI-Subject shows that the registry has the API.
func TestIndexedSubjectShowsTheAPI(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Referrers: true})
	subject := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
	r := target(t, reg, "acme/app")
	r.session.referrersOf(r).learn(unsupported)
	m := referrer(subject, 1)
	if indexed, err := r.PutManifest(t.Context(), m.Digest.String(), m); err != nil || !indexed {
		t.Fatalf("indexed %v, error %v", indexed, err)
	}
	if list, err := r.Referrers(t.Context(), subject.Digest); err != nil || len(list) != 1 {
		t.Errorf("%d referrers, error %v", len(list), err)
	}
}
