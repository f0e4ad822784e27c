package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/olareg/olareg"
	"github.com/olareg/olareg/config"
	"golang.org/x/sync/errgroup"
)

// weather puts faults before a registry. Which request meets which is a matter of
// the seed, the request, and how often it came, never of the order in which
// requests happen to run.
type weather struct {
	next http.Handler
	seed int
	rate float64 // of each kind
	mu   sync.Mutex
	seen map[string]int
	hits [len(faults) + 1]atomic.Int32
}

type fault func(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand)

var faults = [...]fault{
	func(w http.ResponseWriter, r *http.Request, _ http.Handler, _ *rand.Rand) { status(500)(w, r, nil) },
	func(w http.ResponseWriter, r *http.Request, _ http.Handler, _ *rand.Rand) { status(502)(w, r, nil) },
	func(w http.ResponseWriter, r *http.Request, _ http.Handler, dice *rand.Rand) {
		after := []string{"", "1", time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)}[dice.IntN(3)]
		status([]int{429, 503}[dice.IntN(2)], "Retry-After", after)(w, r, nil)
	},
	hangBefore, hangAfter, cutAnywhere, flipAnswer, flipBody, cutUpload, sessionGone, refuseToken, stall, wrongDigest, noDigest,
}

func hangBefore(w http.ResponseWriter, r *http.Request, _ http.Handler, _ *rand.Rand) {
	hangup(w, r, nil)
}

func hangAfter(w http.ResponseWriter, r *http.Request, next http.Handler, _ *rand.Rand) {
	next.ServeHTTP(&recorded{header: http.Header{}}, r)
	hangup(w, r, nil)
}

func cutAnywhere(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	c := &recorded{header: w.Header()}
	next.ServeHTTP(c, r)
	if c.body.Len() == 0 {
		hangup(w, r, nil)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(c.body.Len()))
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes()[:dice.IntN(c.body.Len())])
	_ = http.NewResponseController(w).Flush()
	hangup(w, r, nil)
}

// flipped changes one bit anywhere, at one of those that make other characters of
// the text that JSON is.
func flipped(b []byte, dice *rand.Rand) []byte {
	b = bytes.Clone(b)
	if len(b) > 0 {
		b[dice.IntN(len(b))] ^= 1 << dice.IntN(8)
	}
	return b
}

func flipAnswer(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	changed(func(b []byte) []byte { return flipped(b, dice) })(w, r, next)
}

func flipBody(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	// A tag must never point to a damaged manifest, which nothing but TLS can see to.
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") || isDigest(r.URL.Path) {
		b = flipped(b, dice)
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	next.ServeHTTP(w, r)
}

func cutUpload(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	if r.ContentLength > 0 {
		_, _ = io.CopyN(io.Discard, r.Body, dice.Int64N(r.ContentLength))
	}
	hangup(w, r, nil)
}

func sessionGone(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/uploads/") {
		next.ServeHTTP(w, r)
		return
	}
	gone([]int{404, 400}[dice.IntN(2)], []string{"BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID"}[dice.IntN(2)])(w, r, nil)
}

func refuseToken(w http.ResponseWriter, r *http.Request, next http.Handler, dice *rand.Rand) {
	if r.URL.Path == "/token" { // there it is the password that is refused
		next.ServeHTTP(w, r)
		return
	}
	if r.ContentLength > 0 {
		_, _ = io.CopyN(io.Discard, r.Body, dice.Int64N(r.ContentLength))
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
	w.WriteHeader(http.StatusUnauthorized)
}

func stall(_ http.ResponseWriter, r *http.Request, _ http.Handler, _ *rand.Rand) {
	<-r.Context().Done()
}

func wrongDigest(w http.ResponseWriter, r *http.Request, next http.Handler, _ *rand.Rand) {
	c := &recorded{header: http.Header{}}
	next.ServeHTTP(c, r)
	for key, values := range c.header {
		w.Header()[key] = values
	}
	if w.Header().Get("Docker-Content-Digest") != "" {
		w.Header().Set("Docker-Content-Digest", sha([]byte("something else")))
	}
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes())
}

func noDigest(w http.ResponseWriter, r *http.Request, next http.Handler, _ *rand.Rand) {
	c := &recorded{header: http.Header{}}
	next.ServeHTTP(c, r)
	c.header.Del("Docker-Content-Digest")
	for key, values := range c.header {
		w.Header()[key] = values
	}
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes())
}

func (s *weather) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Method + " " + r.URL.Path + r.Header.Get("Range")
	if i := strings.Index(key, "/uploads/"); i > 0 {
		key = key[:i] + "?" + r.URL.Query().Get("digest") // sessions have names of their own each time
	}
	s.mu.Lock()
	s.seen[key]++
	nth := s.seen[key]
	s.mu.Unlock()
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.seed, key, nth)
	dice := rand.New(rand.NewPCG(h.Sum64(), uint64(s.seed)))
	which := int(dice.Float64() / s.rate)
	if which >= len(faults) {
		s.hits[len(faults)].Add(1)
		s.next.ServeHTTP(w, r)
		return
	}
	s.hits[which].Add(1)
	faults[which](w, r, s.next, dice)
}

// behindTokens asks for a token before anything else.
func behindTokens(next http.Handler) http.Handler {
	var n atomic.Int32
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"token":"t%d","expires_in":300}`, n.Add(1))
		case !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer t"):
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// TestWeather copies blobs and manifests between two registries that fail in every
// way at once, by seed. What is said to be done must be. At the higher rate, at
// which about every second request fails, one voyage may end with an error: which
// requests meet a fault hangs on the order in which they arrive.
func TestWeather(t *testing.T) {
	long(t)
	t.Parallel()
	for _, test := range []struct {
		rate          float64
		seeds, losses int
	}{{0.02, 10, 0}, {0.05, 20, 1}} {
		lost := 0
		for seed := range test.seeds {
			t.Run(fmt.Sprintf("rate %v seed %d", test.rate, seed), func(t *testing.T) {
				if err := voyage(t, seed, test.rate); err != nil {
					lost++
					t.Log(err)
				}
			})
		}
		if lost > test.losses {
			t.Errorf("%d of %d voyages at rate %v ended with an error, more than %d", lost, test.seeds, test.rate, test.losses)
		}
	}
}

// voyage is one copy; its error is what the copy ended with.
func voyage(t *testing.T, seed int, rate float64) (lost error) {
	t.Helper()
	var blobs [][]byte
	for i := range 24 {
		size := 500 + i
		if i%4 == 0 {
			size = smallBlob + 50_000 + i
		}
		blobs = append(blobs, content(size))
	}
	var storm *weather
	bubble(t, func(w http.ResponseWriter, r *http.Request) { storm.ServeHTTP(w, r) }, func(t *testing.T, r *Repository) {
		store := olareg.New(config.Config{Storage: config.ConfigStorage{StoreType: config.StoreMem}})
		defer store.Close()
		for _, b := range blobs {
			put := "/v2/source/app/blobs/uploads/?digest=" + digestOf(b).String()
			serveOnce(t, store, http.MethodPost, put, "application/octet-stream", b)
		}
		storm = &weather{next: behindTokens(store), seed: seed, rate: rate, seen: map[string]int{}}
		began := time.Now()
		from, to := sibling(t, r, "source/app"), sibling(t, r, "target/app")
		if err := cross(t.Context(), from, to, blobs); err != nil {
			lost = fmt.Errorf("after %v: %w", time.Since(began), err)
			return
		}
		t.Logf("%v, %d requests well", time.Since(began), storm.hits[len(faults)].Load())
		for _, b := range blobs {
			if got := serveOnce(t, store, http.MethodGet, "/v2/target/app/blobs/"+digestOf(b).String(), "", nil); !bytes.Equal(got, b) {
				t.Errorf("blob of %d bytes: %d bytes at the target", len(b), len(got))
			}
		}
	})
	return lost
}

// cross copies every blob, then writes an image of them and a tag, and reads all
// of it again.
func cross(ctx context.Context, from, to *Repository, blobs [][]byte) error {
	g, inner := errgroup.WithContext(ctx)
	for _, b := range blobs {
		d := descriptor(b)
		g.Go(func() error {
			if there, err := to.HasBlob(inner, d.Digest); there || err != nil {
				return err
			}
			var moved atomic.Int64
			u := Upload{Blob: d, Open: func(ctx context.Context) io.ReadCloser { return from.OpenBlob(ctx, d) }, Moved: func(n int64) { moved.Add(n) }}
			if _, err := to.PutBlob(inner, u); err != nil {
				return err
			}
			if moved.Load() != d.Size {
				return fmt.Errorf("%d bytes said to have moved of %d", moved.Load(), d.Size)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	image := NewManifest(string(types.OCIManifestSchema1), fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]}`,
		types.OCIManifestSchema1, types.OCIConfigJSON, digestOf(blobs[1]), len(blobs[1])))
	for _, ref := range []string{image.Digest.String(), "production"} {
		if _, err := to.PutManifest(ctx, ref, image); err != nil {
			return err
		}
		if m, err := to.GetManifest(ctx, ref); err != nil || m.Digest != image.Digest {
			return errors.Join(err, fmt.Errorf("%s is %s", ref, m.Digest))
		}
	}
	tags, all, err := to.Tags(ctx)
	if err != nil || !all || len(tags) != 1 { // nothing protects a tag's letters
		return fmt.Errorf("tags %v, all %v, error %w", tags, all, err)
	}
	return nil
}

func sibling(t *testing.T, r *Repository, path string) *Repository {
	t.Helper()
	other := *r
	other.name = r.name.Repo(strings.Split(path, "/")...)
	r.session.auth.Want(path, Push)
	return &other
}

func serveOnce(t *testing.T, h http.Handler, method, path, mediaType string, body []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://registry.example"+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", mediaType)
	resp, err := (direct{h}).RoundTrip(req)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %v, error %v", method, path, resp.Status, err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got
}
