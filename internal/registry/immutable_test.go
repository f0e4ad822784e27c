package registry

import (
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestImmutableTag(t *testing.T) {
	t.Parallel()
	everyTag := func(string, string) bool { return true }
	first := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))

	reg := regtest.Serve(t, regtest.Options{Immutable: everyTag})
	r := target(t, reg, "acme/app")
	if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
		t.Errorf("the tag holds that digest already: %v", err)
	}
	_, err := r.PutManifest(t.Context(), "v1", second)
	if !errors.Is(err, ErrTagImmutable) {
		t.Errorf("error %v, want ErrTagImmutable", err)
	}

	// The first attempt wrote the tag, its answer was lost, and the second is refused.
	lost := regtest.Serve(t, regtest.Options{Immutable: everyTag, Wrap: regtest.ResetAfter(request(putTag))})
	if _, err := target(t, lost, "acme/app").PutManifest(t.Context(), "v1", first); err != nil {
		t.Errorf("the write whose answer was lost: %v", err)
	}
	wantRequests(t, lost, putTag, 2)
}

// Whatever status a registry refuses a tag with, the tag is immutable if it exists and the same
// manifest is accepted by its digest. No report tells how GitLab (protected tags), Quay and Artifact
// Registry (immutable tags) word it: 409 and 422 stand for them, and for whatever a vendor changes.
func TestImmutableTagByBehaviour(t *testing.T) {
	t.Parallel()
	first := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))
	every := func(string, string) bool { return true }
	for _, how := range []regtest.Immutability{
		regtest.ECRImmutable, regtest.HarborImmutable, regtest.ACRImmutable, regtest.NexusImmutable,
		regtest.ArtifactoryImmutable, regtest.ArtifactoryImmutable400, regtest.HubImmutable,
		{Status: 409, Code: "CONFLICT"}, {Status: 422},
	} {
		t.Run(fmt.Sprint(how.Status, how.Code), func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ImmutableTags(how, every)}})
			r := target(t, reg, "acme/app")
			for range 2 { // equal digest is success
				if _, err := r.PutManifest(t.Context(), "v1", first); err != nil {
					t.Fatal(err)
				}
			}
			_, err := r.PutManifest(t.Context(), "v1", second)
			if !errors.Is(err, ErrTagImmutable) || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrUnsupported) {
				t.Fatalf("error %v", err)
			}
			contains(t, err.Error(), "immutable", how.Code)
			contains(t, HintOf(err), "immutab")
			lacks(t, HintOf(err), "login-action")
		})
	}
}

// A refusal that is not about the tag is not ErrTagImmutable, although the tag exists.
func TestRefusalThatIsNotOfTheTag(t *testing.T) {
	t.Parallel()
	second := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex+"\n"))
	for _, test := range []struct {
		status int
		code   string
	}{{403, "DENIED"}, {401, "UNAUTHORIZED"}, {400, "MANIFEST_INVALID"}, {413, ""}, {400, "MANIFEST_BLOB_UNKNOWN"}} {
		t.Run(fmt.Sprint(test.status, test.code), func(t *testing.T) {
			t.Parallel()
			// Every write is refused, by digest as well.
			reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, putTag, refusing(test.status, test.code))})
			tagged(t, reg, regtest.Access{}, "acme/app", "v1")
			var e *Error
			_, err := target(t, reg, "acme/app").PutManifest(t.Context(), "v1", second)
			if !errors.As(err, &e) || e.Status != test.status || errors.Is(err, ErrTagImmutable) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An attempt whose answer was lost has written the manifest: the refusal of the next one is a
// success.
func TestRefusalAfterALostAnswer(t *testing.T) {
	t.Parallel()
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	for _, ref := range []string{"v1", m.Digest.String()} {
		var puts atomic.Int32
		reg := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case q.Method != http.MethodPut || q.UserAgent() == regtest.Agent:
					next.ServeHTTP(w, q)
				case puts.Add(1) == 1:
					next.ServeHTTP(&recorded{header: http.Header{}}, q)
					hangup(w, q, next)
				default:
					refusing(409, "CONFLICT")(w, q, next)
				}
			})
		}})
		if _, err := target(t, reg, "acme/app").PutManifest(t.Context(), ref, m); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
