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

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

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

// Bytes without a stated digest are accepted if the registry has them by their digest too.
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

// A range of another blob is not appended to the bytes before it.
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
