package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// refusal of a manifest, as registries word it.
func refusing(code int, name string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, name)
	}
}

// TestSubjectThatIsNotFound: a registry that takes no manifest with a subject says so as
// one does whose replicas lag behind. It is not waited for as long.
func TestSubjectThatIsNotFound(t *testing.T) {
	t.Parallel()
	m := referrer(NewManifest(string(types.OCIImageIndex), []byte(emptyIndex)), 1)
	for times, most := range map[int]time.Duration{retry.MaxRefused - 1: 10 * time.Second, always: 10 * time.Second} {
		var puts atomic.Int32
		taken := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
		refuse := strikes(times, putTag, refusing(404, "NOT_FOUND"))(taken)
		h := open200(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut {
				http.NotFound(w, r)
				return
			}
			puts.Add(1)
			refuse.ServeHTTP(w, r)
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			began := time.Now()
			if _, err := r.PutManifest(t.Context(), m.Digest.String(), m); (err == nil) != (times < always) || err != nil && !errors.Is(err, ErrNotFound) {
				t.Errorf("error %v after %d retry.MaxRefused", err, puts.Load())
			}
			took(t, began, 0, most)
		})
		if puts.Load() != retry.MaxRefused {
			t.Errorf("%d attempts, want %d", puts.Load(), retry.MaxRefused)
		}
	}
}

// A manifest whose bytes were hashed here cannot be wrong by itself; and what a
// lagging registry does not know yet it may know later.
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
		{500, "MANIFEST_BLOB_UNKNOWN", always, 0, false, 15 * time.Second, 19 * time.Second},
		{500, "MANIFEST_INVALID", always, retry.MaxRefused, false, 0, 10 * time.Second},
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

func withoutDigest(w http.ResponseWriter, r *http.Request, next http.Handler) {
	c := &recorded{header: http.Header{}}
	next.ServeHTTP(c, r)
	for key, values := range c.header {
		if key != "Docker-Content-Digest" {
			w.Header()[key] = values
		}
	}
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes())
}

// Bytes that nothing vouches for are believed once the registry has them by their
// own digest too.
func TestTagWithoutItsDigest(t *testing.T) {
	t.Parallel()
	const byDigest = "^GET /v2/acme/app/manifests/sha256:"
	flipped := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		withoutDigest(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { changed(flip)(w, r, next) }))
	}
	for _, test := range []struct {
		name           string
		wrap           func(http.Handler) http.Handler
		tags, digests  int
		want           error
		before, within time.Duration
	}{
		{"named", nil, 1, 0, nil, 0, 0},
		{"never named", strikes(always, getDev, withoutDigest), 1, 1, nil, 0, 0},
		{"damaged once", strikes(1, getDev, flipped), 2, 1, nil, 0, 0},
		{"damaged once, never named", regtest.Chain(strikes(1, getDev, flipped), strikes(always, getDev, withoutDigest)), 2, 2, nil, 0, 0},
		{"not found by digest", regtest.Chain(strikes(always, getDev, withoutDigest), strikes(always, byDigest, status(404))), retry.MaxDamaged, retry.MaxDamaged, ErrMismatch, 0, 0},
		{"refused by digest", regtest.Chain(strikes(always, getDev, withoutDigest), strikes(always, byDigest, status(403))), 1, 1, ErrUnauthorized, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			want := tagged(t, reg, regtest.Access{}, "acme/app", "dev")
			m, err := target(t, reg, "acme/app").GetManifest(t.Context(), "dev")
			if !errors.Is(err, test.want) || test.want == nil && m.Digest != want.Digest || test.want != nil && m.Raw != nil {
				t.Errorf("%s, error %v, want %v", m.Digest, err, test.want)
			}
			wantRequests(t, reg, getDev, test.tags)
			wantRequests(t, reg, byDigest, test.digests)
		})
	}
}

// A registry that names another digest than that of the blob it was sent is asked
// which it has.
func TestUploadThatIsNamedOtherwise(t *testing.T) {
	t.Parallel()
	other := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		c := &recorded{header: http.Header{}}
		next.ServeHTTP(c, r)
		w.Header().Set("Docker-Content-Digest", sha([]byte("other")))
		w.WriteHeader(c.status)
	}
	nothing := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Content-Digest", sha([]byte("other")))
		w.WriteHeader(http.StatusCreated)
	}
	for _, test := range []struct {
		name               string
		size               int
		wrap               func(http.Handler) http.Handler
		posts, puts, heads int
	}{
		{"stored", 100_000, strikes(1, putBlob, other), 1, 1, 1},
		{"not stored", 100_000, strikes(1, putBlob, nothing), 2, 2, 1},
		{"small, stored", 1000, strikes(1, postBlob, other), 1, 0, 1},
		{"small, not stored", 1000, strikes(1, postBlob, nothing), 2, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			u, moved, _ := counted(content(test.size))
			if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if got := stored(t, reg, "acme/app", u.Blob); len(got) != test.size || moved.Load() != u.Blob.Size {
				t.Errorf("%d bytes stored, %d said to have moved", len(got), moved.Load())
			}
			wantRequests(t, reg, postBlob, test.posts)
			wantRequests(t, reg, putBlob, test.puts)
			wantRequests(t, reg, headBlob, test.heads)
		})
	}
}

func TestSmallBlobThatIsFlipped(t *testing.T) {
	long(t)
	t.Parallel()
	blob := content(1000)
	for _, test := range []struct {
		times int
		heals bool
	}{{1, true}, {retry.MaxDamaged - 1, true}, {always, false}} {
		reg := regtest.Serve(t, regtest.Options{Wrap: strikes(test.times, getBlob, changed(flip))})
		d := push(t, reg, "acme/app", blob)
		got, err := readBlob(t, target(t, reg, "acme/app"), d)
		if test.heals && (err != nil || !bytes.Equal(got, blob)) || !test.heals && (!errors.Is(err, ErrMismatch) || len(got) != 0) {
			t.Errorf("%d times: %d bytes, error %v", test.times, len(got), err)
		}
		wantRequests(t, reg, getBlob, min(test.times+1, retry.MaxDamaged))
	}
}

// A range that is not of this blob is not glued to what came before.
func TestRangeOfAnotherBlob(t *testing.T) {
	t.Parallel()
	blob := content(200_000)
	for _, header := range []string{"bytes 100000-199999/200001", "bytes 100000-200000/*", "bytes 99999-199998/200000", "bytes 100000-199999", "bytes 100000-99999/200000"} {
		var mu sync.Mutex
		var asked []string
		h := open200(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			asked = append(asked, r.Header.Get("Range"))
			mu.Unlock()
			switch {
			case r.Header.Get("Range") != "":
				w.Header().Set("Content-Range", header)
				w.WriteHeader(http.StatusPartialContent)
				_, _ = w.Write(content(100_000))
			case len(asked) == 1:
				w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
				_, _ = (&cutting{ResponseWriter: w, left: 100_000}).Write(blob)
			default:
				_, _ = w.Write(blob)
			}
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			got, err := readBlob(t, r, descriptor(blob))
			if err != nil || !bytes.Equal(got, blob) {
				t.Errorf("%s: %d bytes, error %v", header, len(got), err)
			}
		})
		if want := "[ bytes=100000- ]"; fmt.Sprint(asked) != want {
			t.Errorf("%s: asked for %q, want the whole at last", header, asked)
		}
	}
}

func TestTagListThatIsDamaged(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"Tags":["dev"]}`, `{"tags":["d ev"]}`, `{"tags":[".dev"]}`, `{"tags":[""]}`, `{}`, `{"tags":["dev"]`, `{"tags":["` + strings.Repeat("a", 129) + `"]}`} {
		var asked atomic.Int32
		h := open200(func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				_, _ = io.WriteString(w, body)
				return
			}
			_, _ = io.WriteString(w, `{"tags":["dev"]}`)
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			if tags, all, err := r.Tags(t.Context()); err != nil || !all || fmt.Sprint(tags) != "[dev]" {
				t.Errorf("%s: %v, all %v, error %v", body, tags, all, err)
			}
		})
	}
}

func TestReferrersThatAreDamaged(t *testing.T) {
	t.Parallel()
	right := `{"manifests":[{"digest":"` + sha(nil) + `","size":0}]}`
	for _, body := range []string{`{}`, strings.Replace(right, "manifests", "Manifests", 1), strings.Replace(right, "digest", "dhgest", 1),
		strings.Replace(right, "digest", "Digest", 1), strings.Replace(right, "sha256:e", "sha256:g", 1), strings.Replace(right, "sha256:e", "sha256:", 1)} {
		var asked atomic.Int32
		h := open200(func(w http.ResponseWriter, _ *http.Request) {
			if asked.Add(1) == 1 {
				index(w, body)
				return
			}
			index(w, right)
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			if list, err := r.Referrers(t.Context(), digestOf(nil)); err != nil || len(list) != 1 || asked.Load() != 2 {
				t.Errorf("%s: %d referrers, asked %d times, error %v", body, len(list), asked.Load(), err)
			}
		})
	}
}

// One wrong answer does not mean that a registry has no referrers API.
func TestReferrersAreDoubtedTwice(t *testing.T) {
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

// That there is no API is asked once more than needed in a repository, and then
// never again.
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

// All who ask at the same time for the first time share the second question.
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

// Of a repository that does not exist yet, nothing is known.
func TestReferrersOfARepositoryThatIsYetToBeMade(t *testing.T) {
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

// A registry that says by its answer to a manifest that it has the API is believed.
func TestIndexedSubjectTellsOfTheAPI(t *testing.T) {
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

// A token service that gives none, or one that cannot be, is asked again.
func TestTokenThatIsDamaged(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, `{"tokem":"t"}`, `{"token":"t`, `{"token":"a b"}`, "{\"token\":\"a\\u0000b\"}", `{"token":""}`, `{"token":"é"}`, `<html>`} {
		var tokens, asked atomic.Int32
		answer := bearer(300, &tokens)
		h := func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" && asked.Add(1) == 1 {
				_, _ = io.WriteString(w, body)
				return
			}
			answer(w, r)
		}
		bubble(t, h, func(t *testing.T, r *Repository) {
			if there, err := r.HasBlob(t.Context(), digestOf(nil)); err != nil || !there {
				t.Errorf("%s: error %v", body, err)
			}
		})
		if asked.Load() != 2 {
			t.Errorf("%s: %d tokens asked for, want 2", body, asked.Load())
		}
	}
}

// Refused tokens are odd where the same was let through before, and final where it
// never was.
func TestOddRefusals(t *testing.T) {
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

// One odd refusal of an upload's body gets a fresh token and another attempt.
func TestUploadThatIsRefusedOddly(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		for _, size := range []int{1000, 100_000} {
			t.Run(fmt.Sprint(code, " ", size), func(t *testing.T) {
				t.Parallel()
				// Without the single POST, a small blob too has a body of its own.
				reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(1, putBlob, gone(code, "DENIED"))})
				r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
				r.session.supports.triedSinglePost(unsupported)
				u := upload(content(size))
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if code == http.StatusUnauthorized || size > smallBlob {
					wantRequests(t, reg, "/token$", 2)
				}
				wantRequests(t, reg, putBlob, 2)
			})
		}
	}
}
