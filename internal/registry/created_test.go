package registry

import (
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

const readsOfApp = "^(GET|HEAD) /v2/acme/app/(manifests|tags|referrers)/"

var denied = func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`))
}

// A repository that does not exist answers 403 to reads. The promotion writes to it, and reads the
// tag again before it writes the tag.
func TestFirstWriteToARepository(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ForbiddenIfMissing()}})
	r := target(t, reg, "acme/app").AllowMissing()
	m := NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex))
	for _, tag := range []string{"production", "stable"} {
		if _, err := r.GetManifest(t.Context(), tag); !errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized) {
			t.Fatalf("reading %s: error %v, want ErrNotFound", tag, err)
		}
	}
	if there, err := r.HasManifest(t.Context(), m.Digest); there || err != nil {
		t.Errorf("manifest there %v, error %v", there, err)
	}
	if _, err := r.Referrers(t.Context(), m.Digest); !errors.Is(err, ErrNoReferrersAPI) {
		t.Errorf("referrers: error %v", err)
	}
	if !r.AssumedMissing() {
		t.Error("it is not said to be missing")
	}
	reg.ResetRequests()
	if _, err := r.PutManifest(t.Context(), "production", m); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, reg, "^PUT .*/manifests/sha256:", 1)
	wantRequests(t, reg, "^GET .*/manifests/(production|stable)$", 2)
	if _, err := r.PutManifest(t.Context(), "stable", m); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, reg, "^GET .*/manifests/(production|stable)$", 2)
	if got, err := r.Uncached().GetManifest(t.Context(), "production"); err != nil || got.Digest != m.Digest || r.AssumedMissing() {
		t.Errorf("got %v, error %v", got.Digest, err)
	}
}

// A repository that exists, and refuses reads, looks the same at first. Its tags do not change.
func TestTagThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		refused int // reads
		pattern string
		first   error // of the first read; nil: it is answered
		last    error // of the write
		puts    int   // by digest
	}{
		{"ever", always, readsOfApp, ErrNotFound, ErrUnauthorized, 1},
		{"at first", 2, readsOfApp, ErrNotFound, errWasHidden, 1},
		{"one of two", always, "^GET /v2/acme/app/(manifests/production|tags/list)$", ErrNotFound, ErrUnauthorized, 1},
		{"the list is not refused", always, "^GET /v2/acme/app/manifests/production$", ErrUnauthorized, nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: strikes(test.refused, test.pattern, denied)})
			old := tagged(t, reg, regtest.Access{}, "acme/app", "production")
			r := target(t, reg, "acme/app").AllowMissing()
			if _, err := r.GetManifest(t.Context(), "production"); !errors.Is(err, test.first) {
				t.Fatalf("reading: error %v, want %v", err, test.first)
			}
			if test.last == nil {
				return // nobody writes a tag that could not be read
			}
			m := NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex+"\n"))
			if m.Digest == old.Digest {
				t.Fatal("the tag is what is to be written")
			}
			for _, tag := range []string{"production", "other", "production"} { // not even with the second attempt
				if _, err := r.PutManifest(t.Context(), tag, m); !errors.Is(err, test.last) {
					t.Errorf("writing %s: error %v, want %v", tag, err, test.last)
				}
			}
			wantRequests(t, reg, "^PUT .*/manifests/(production|other)$", 0)
			if got, _, err := regtest.TagDigest(t.Context(), reg.Access("", ""), "acme/app", "production"); err != nil || got != old.Digest.String() {
				t.Errorf("the tag points to %s, error %v", got, err)
			}
		})
	}
}

// Without AllowMissing a refused read is a refusal.
func TestReadThatIsRefused(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ForbiddenIfMissing()}})
	r := target(t, reg, "acme/app")
	if _, err := r.GetManifest(t.Context(), "production"); !errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrUnauthorized", err)
	}
}

// If the write is refused too, the refusal is the error.
func TestRepositoryThatMayNotBeWritten(t *testing.T) {
	t.Parallel()
	var writes atomic.Int32
	r := target(t, serve(t, func(w http.ResponseWriter, q *http.Request) {
		if q.Method == http.MethodPut {
			writes.Add(1)
		}
		denied(w, q, nil)
	}), "acme/app").AllowMissing()
	if _, err := r.GetManifest(t.Context(), "production"); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
	m := NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex))
	if _, err := r.PutManifest(t.Context(), "production", m); !errors.Is(err, ErrUnauthorized) || writes.Load() != 1 {
		t.Errorf("error %v after %d writes", err, writes.Load())
	}
}
