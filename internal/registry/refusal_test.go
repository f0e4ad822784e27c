package registry

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A policy may forbid pulling a new image for some seconds, until it was scanned. A read of the
// target's tag does not wait for that.
func TestFreshImageIsScanned(t *testing.T) {
	t.Parallel()
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	scanned := func(times int) http.HandlerFunc {
		return open200(strikes(times, "^GET /v2/acme/app/manifests/", refusing(412, "PROJECTPOLICYVIOLATION"))(manifestOf(m.Raw, m.Digest.String())).ServeHTTP)
	}
	for ref, side := range map[string]credential.Side{m.Digest.String(): credential.Target, "dev": credential.Source} {
		bubble(t, scanned(5), func(t *testing.T, r *Repository) {
			r.side = side
			if got, err := r.GetManifest(t.Context(), ref); err != nil || got.Digest != m.Digest {
				t.Errorf("%s at the %s: error %v", ref, side, err)
			}
		})
		bubble(t, scanned(always), func(t *testing.T, r *Repository) {
			r.side = side
			began := time.Now()
			if _, err := r.GetManifest(t.Context(), ref); !errors.Is(err, ErrPolicy) {
				t.Errorf("%s at the %s: error %v", ref, side, err)
			}
			took(t, began, 15*time.Second, 19*time.Second)
		})
	}
	bubble(t, scanned(always), func(t *testing.T, r *Repository) {
		r.side = credential.Target
		began := time.Now()
		if _, err := r.GetManifest(t.Context(), "production"); !errors.Is(err, ErrPolicy) {
			t.Errorf("error %v", err)
		}
		took(t, began, 0, time.Second)
	})
}

// The refusal of a later attempt does not show whether the first one, without an answer, succeeded.
func TestRefusalAfterUnanswered(t *testing.T) {
	t.Parallel()
	for _, lost := range []bool{true, false} {
		first := !lost
		reg := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if !first {
				first = true
				hangup(w, r, nil)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		})
		_, err := target(t, reg, "acme/app").PutManifest(t.Context(), "dev", NewManifest(string(types.OCIImageIndex), []byte(emptyIndex)))
		var e *Error
		if !errors.As(err, &e) || e.Status != http.StatusForbidden || e.Unanswered != lost {
			t.Errorf("lost %v: %+v", lost, err)
		}
	}
}

// refusal of a manifest, as registries word it.
func refusing(code int, name string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, name)
	}
}

// A 404 for a manifest with a subject, and a refusal that names its subject, may mean lagging
// replicas, or that the registry takes no such subject. It is retried for a shorter time than a
// refusal that names other content.
func TestManifestWithSubjectIsRefused(t *testing.T) {
	t.Parallel()
	image := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	m := referrer(image, 1)
	other := digestOf([]byte("other"))
	for _, test := range []struct {
		name, body string
		status     int
		missing    bool // the error is ErrNotFound
		fewer      bool
	}{
		{"404", `{"errors":[{"code":"NOT_FOUND"}]}`, 404, true, true},
		{"the subject is unknown", fmt.Sprintf(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry","detail":%q}]}`, image.Digest), 400, false, true},
		{"the subject is unknown, an object", fmt.Sprintf(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","detail":{"Digest":%q}}]}`, image.Digest), 404, true, true},
		{"other content is unknown", fmt.Sprintf(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry","detail":%q}]}`, other), 400, false, false},
		{"unnamed content is unknown", `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`, 400, false, false},
	} {
		for _, times := range []int{retry.MaxRefused - 1, always} {
			t.Run(fmt.Sprint(test.name, times), func(t *testing.T) {
				var puts atomic.Int32
				taken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
				refuse := strikes(times, putTag, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(test.status)
					_, _ = io.WriteString(w, test.body)
				})(taken)
				h := open200(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPut {
						http.NotFound(w, r)
						return
					}
					puts.Add(1)
					refuse.ServeHTTP(w, r)
				})
				bubble(t, h, func(t *testing.T, r *Repository) {
					_, err := r.PutManifest(t.Context(), m.Digest.String(), m)
					if (err == nil) != (times < always) || err != nil && errors.Is(err, ErrNotFound) != test.missing {
						t.Errorf("error %v after %d attempts", err, puts.Load())
					}
				})
				if got := int(puts.Load()); (test.fewer || times < always) != (got == retry.MaxRefused) {
					t.Errorf("%d attempts; as many as for a refusal (%d): want %v", got, retry.MaxRefused, test.fewer)
				}
			})
		}
	}
}

// A refusal of a digest is retried, because the bytes were hashed here. A refusal of content that
// was just written is retried, because replicas may lag; not under 500, which is how some refuse
// what they never take (distribution#2795).
func TestManifestThatIsRefused(t *testing.T) {
	t.Parallel()
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	for _, test := range []struct {
		status      int
		code        string
		times       int // of the refusal; how many of them are survived
		puts        int // 0: any number
		heals       bool
		least, most time.Duration
	}{
		{400, "DIGEST_INVALID", 1, 2, true, 0, time.Second},
		{400, "MANIFEST_INVALID", 3, 4, true, 0, 2 * time.Second},
		{400, "SIZE_INVALID", 1, 2, true, 0, time.Second},
		{400, "MANIFEST_INVALID", always, retry.MaxRefused, false, 0, 10 * time.Second},
		{404, "MANIFEST_BLOB_UNKNOWN", 5, 6, true, 0, 10 * time.Second},
		{400, "BLOB_UNKNOWN", 5, 6, true, 0, 10 * time.Second},
		{404, "MANIFEST_BLOB_UNKNOWN", always, 0, false, 15 * time.Second, 19 * time.Second},
		{400, "NAME_INVALID", 1, 1, false, 0, 0},
		{404, "NAME_UNKNOWN", 5, 6, true, 0, 10 * time.Second},
		{404, "NOT_FOUND", 5, 6, true, 0, 10 * time.Second},
		{404, "", 5, 6, true, 0, 10 * time.Second},
		{404, "UNSUPPORTED", 1, 1, false, 0, 0},
		{500, "MANIFEST_BLOB_UNKNOWN", always, 1, false, 0, 0},
		{500, "MANIFEST_INVALID", always, 1, false, 0, 0},
		{500, "UNKNOWN", 5, 6, true, 0, 10 * time.Second},
		{403, "DENIED", 1, 1, false, 0, 0},
	} {
		t.Run(fmt.Sprint(test.status, test.code, test.times), func(t *testing.T) {
			var puts atomic.Int32
			taken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
			refuse := strikes(test.times, putTag, refusing(test.status, test.code))(taken)
			h := open200(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPut {
					http.NotFound(w, r) // the tag is not there
					return
				}
				puts.Add(1)
				refuse.ServeHTTP(w, r)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				_, err := r.PutManifest(t.Context(), "dev", m)
				var e *Error
				if test.heals != (err == nil) || !test.heals && (!errors.As(err, &e) || e.Status != test.status || e.Code != test.code) {
					t.Errorf("error %v", err)
				}
				took(t, began, test.least, test.most)
			})
			if test.puts != 0 && int(puts.Load()) != test.puts {
				t.Errorf("%d attempts, want %d", puts.Load(), test.puts)
			}
		})
	}
}

// A 401 is retried if the same kind of request was allowed before, and otherwise final.
func TestUnexpectedRefusals(t *testing.T) {
	t.Parallel()
	blob := content(100_000)
	for _, test := range []struct {
		name  string
		times int32 // that everything is refused, after a first success
		first bool  // it is refused before there was any
		heals bool
	}{
		{"once", 1, false, true},
		{"three times", 3, false, true},
		{"five times", 5, false, true},
		{"for ever", always, false, false},
		{"before it was let do anything", 1, true, true},
		{"always", always, true, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var tokens, left, refused atomic.Int32
			answer := bearer(300, &tokens)
			h := func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/token" || r.URL.Path == "/v2/" || r.Header.Get("Authorization") == "":
					answer(w, r)
				case left.Add(-1) >= 0:
					refused.Add(1)
					w.WriteHeader(http.StatusUnauthorized)
				case strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet:
					_, _ = w.Write(blob)
				default:
					manifestAnswer(w)
				}
			}
			for _, do := range []func(t *testing.T, r *Repository) error{
				func(t *testing.T, r *Repository) error {
					_, err := r.Uncached().GetManifest(t.Context(), "dev")
					return err
				},
				func(t *testing.T, r *Repository) error { _, err := readBlob(t, r, descriptor(blob)); return err },
			} {
				bubble(t, h, func(t *testing.T, r *Repository) {
					left.Store(0)
					if !test.first {
						if err := do(t, r); err != nil {
							t.Fatal(err)
						}
					}
					left.Store(test.times)
					refused.Store(0)
					began := time.Now()
					if err := do(t, r); test.heals != (err == nil) || err != nil && !errors.Is(err, ErrUnauthorized) {
						t.Errorf("error %v", err)
					}
					took(t, began, 0, 20*time.Second)
					if n := refused.Load(); test.first && !test.heals && n > 2*retry.MaxDenied || n > 3*retry.MaxTokenLoss {
						t.Errorf("refused %d times: it was asked again and again", n)
					}
				})
			}
		})
	}
}
