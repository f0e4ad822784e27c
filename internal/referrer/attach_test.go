package referrer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/referrer"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

const repo = "acme/app"

// finder is a new run's finder.
func finder(t *testing.T, r *regtest.Registry) *referrer.Finder {
	t.Helper()
	client := registry.New(registry.Options{Dial: r.Dial()})
	t.Cleanup(client.Close)
	return finderOf(t, client, r)
}

// inBubble runs a test where time passes as soon as everybody waits, and gives it a network within the process.
func inBubble(t *testing.T, test func(t *testing.T, m *regtest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := regtest.NewMemory()
		defer m.Close() // before the registries, which wait for their connections
		test(t, m)
	})
}

func finderOf(t *testing.T, c *registry.Client, r *regtest.Registry) *referrer.Finder {
	t.Helper()
	return referrer.NewFinder(open(t, c, r))
}

func open(t *testing.T, c *registry.Client, r *regtest.Registry) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository(r.Host() + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := c.Open(t.Context(), credential.Target, n, registry.Push)
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// subject is an image with attachments that are stored and not listed anywhere,
// unless the registry lists them by itself.
func subject(t *testing.T, r *regtest.Registry, attachments int) (v1.Hash, []v1.Descriptor) {
	t.Helper()
	image := regtest.Build(regtest.Spec{})
	for n := range attachments {
		image.Attach(image.Root, "application/vnd.example.bundle", fmt.Sprint(n))
	}
	if err := image.Push(t.Context(), r.Access("", ""), repo, "dev"); err != nil {
		t.Fatal(err)
	}
	var all []v1.Descriptor
	for _, m := range image.Manifests {
		if m.Subject != "" {
			all = append(all, describe(t, m.MediaType, m.Bytes))
		}
	}
	digest := parse(t, image.Root)
	if _, exists, err := regtest.TagDigest(t.Context(), r.Access("", ""), repo, referrer.FallbackTag(digest)); err == nil && exists {
		list(t, r, digest, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[]}`)
	}
	r.ResetRequests()
	return digest, all
}

func parse(t *testing.T, digest string) v1.Hash {
	t.Helper()
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func describe(t *testing.T, mediaType string, body []byte) v1.Descriptor {
	t.Helper()
	m := registry.NewManifest(mediaType, body)
	return v1.Descriptor{
		MediaType: types.MediaType(mediaType), Digest: m.Digest, Size: int64(len(body)),
		ArtifactType: "application/vnd.example.bundle", Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope"},
	}
}

// list writes the fallback tag.
func list(t *testing.T, r *regtest.Registry, subject v1.Hash, body string) {
	t.Helper()
	if err := regtest.PutManifest(t.Context(), r.Access("", ""), repo, referrer.FallbackTag(subject), string(types.OCIImageIndex), []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func listed(t *testing.T, r *regtest.Registry, subject v1.Hash) (raw []byte, digests []v1.Hash) {
	t.Helper()
	mediaType, raw, err := regtest.GetManifest(t.Context(), r.Access("", ""), repo, referrer.FallbackTag(subject))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Manifests []v1.Descriptor }
	if err := json.Unmarshal(raw, &index); err != nil || mediaType != string(types.OCIImageIndex) {
		t.Fatalf("the fallback tag holds %s: %v: %s", mediaType, err, raw)
	}
	for _, d := range index.Manifests {
		digests = append(digests, d.Digest)
	}
	return raw, digests
}

func writes(r *regtest.Registry) (all []string) {
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent && q.Method != http.MethodGet && q.Method != http.MethodHead {
			all = append(all, q.Method+" "+q.Path)
		}
	}
	return all
}

func TestAttachWithTheAPI(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Referrers: true})
	s, all := subject(t, r, 3)
	wrote, err := finder(t, r).Attach(t.Context(), s, all)
	if wrote || err != nil {
		t.Errorf("wrote %v, error %v", wrote, err)
	}
	if w := writes(r); len(w) > 0 {
		t.Error("writes:", w)
	}
}

func TestAttachByFallbackTag(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	s, all := subject(t, r, 3)
	if wrote, err := finder(t, r).Attach(t.Context(), s, all); !wrote || err != nil {
		t.Errorf("wrote %v, error %v", wrote, err)
	}
	raw, digests := listed(t, r, s)
	if len(digests) != 3 || !bytes.Contains(raw, []byte(`"artifactType":"application/vnd.example.bundle"`)) ||
		!bytes.Contains(raw, []byte(`"dev.sigstore.bundle.content":"dsse-envelope"`)) {
		t.Errorf("list %s", raw)
	}
	r.ResetRequests()
	if wrote, err := finder(t, r).Attach(t.Context(), s, all); wrote || err != nil || len(writes(r)) > 0 {
		t.Errorf("again: wrote %v, error %v, %v", wrote, err, writes(r))
	}
}

// TestAttachMerges: lines and members that are not ours stay.
func TestAttachMerges(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	s, all := subject(t, r, 3)
	foreign := `{"mediaType":"` + string(types.OCIManifestSchema1) + `","digest":"` + all[0].Digest.String() + `","size":` + fmt.Sprint(all[0].Size) + `,"com.example":{"kept":[1,2]}}`
	list(t, r, s, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","annotations":{"a":"b"},"x-unknown":{"y":9007199254740993},"manifests":[`+foreign+`]}`)
	if wrote, err := finder(t, r).Attach(t.Context(), s, all[1:]); !wrote || err != nil {
		t.Errorf("wrote %v, error %v", wrote, err)
	}
	raw, digests := listed(t, r, s)
	if !slices.Equal(digests, []v1.Hash{all[0].Digest, all[1].Digest, all[2].Digest}) {
		t.Errorf("listed %v", digests)
	}
	for _, want := range []string{foreign, `"annotations":{"a":"b"}`, `"x-unknown":{"y":9007199254740993}`} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s is gone from %s", want, raw)
		}
	}
}

// TestAttachToATagThatIsTaken: a list takes the place of the image itself, and
// of nothing else.
func TestAttachToATagThatIsTaken(t *testing.T) {
	t.Run("by the image", func(t *testing.T) {
		r := regtest.Serve(t, regtest.Options{})
		s, all := subject(t, r, 1)
		if err := regtest.PutTag(t.Context(), r.Access("", ""), repo, referrer.FallbackTag(s), "dev"); err != nil {
			t.Fatal(err)
		}
		if wrote, err := finder(t, r).Attach(t.Context(), s, all); !wrote || err != nil {
			t.Errorf("wrote %v, error %v", wrote, err)
		}
		if _, digests := listed(t, r, s); len(digests) != 1 || digests[0] != all[0].Digest {
			t.Errorf("listed %v", digests)
		}
	})
	t.Run("by the image, an index", func(t *testing.T) {
		r := regtest.Serve(t, regtest.Options{})
		image := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
		image.Attach(image.Root, "application/x", "x")
		if err := image.Push(t.Context(), r.Access("", ""), repo, "dev", strings.Replace(image.Root, ":", "-", 1)); err != nil {
			t.Fatal(err)
		}
		s, attached := parse(t, image.Root), image.Manifests[len(image.Manifests)-1]
		found, err := finder(t, r).Find(t.Context(), s, true, nil)
		if err != nil || len(found.Referrers) > 0 {
			t.Errorf("the image's own children are found as attached: %v, %v", found.Referrers, err)
		}
		if wrote, err := finder(t, r).Attach(t.Context(), s, []v1.Descriptor{describe(t, attached.MediaType, attached.Bytes)}); !wrote || err != nil {
			t.Errorf("wrote %v, error %v", wrote, err)
		}
		if raw, digests := listed(t, r, s); len(digests) != 1 || digests[0].String() != attached.Digest {
			t.Errorf("listed %s", raw)
		}
	})
	for _, mediaType := range []types.MediaType{types.OCIManifestSchema1, types.DockerManifestList} {
		t.Run("by something else of type "+string(mediaType), func(t *testing.T) {
			r := regtest.Serve(t, regtest.Options{})
			s, all := subject(t, r, 1)
			other := regtest.Build(regtest.Spec{Seed: "other", Docker: mediaType == types.DockerManifestList, Platforms: []string{"linux/amd64"}})
			if mediaType == types.OCIManifestSchema1 {
				other = regtest.Build(regtest.Spec{Seed: "other"})
			}
			if err := other.Push(t.Context(), r.Access("", ""), repo, referrer.FallbackTag(s)); err != nil {
				t.Fatal(err)
			}
			r.ResetRequests()
			_, err := finder(t, r).Attach(t.Context(), s, all)
			var refused *registry.Error
			if !errors.As(err, &refused) || !strings.Contains(refused.Hint, "reserved") || !strings.Contains(refused.Ref, referrer.FallbackTag(s)) {
				t.Errorf("error %v", err)
			}
			if w := writes(r); len(w) > 0 {
				t.Error("writes:", w)
			}
		})
	}
}

func TestAttachToAListThatCannotBeRead(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	s, all := subject(t, r, 1)
	broken := regtest.Serve(t, regtest.Options{Wrap: regtest.Answer(func(q *http.Request) bool {
		return strings.HasSuffix(q.URL.Path, referrer.FallbackTag(s))
	}, http.StatusOK, string(types.OCIImageIndex), []byte(`{"manifests":7}`))})
	other := regtest.Build(regtest.Spec{Seed: "other"}) // else the repository has no tags, and its list nothing to lose
	if err := other.Push(t.Context(), broken.Access("", ""), repo, "dev"); err != nil {
		t.Fatal(err)
	}
	_, err := finder(t, broken).Attach(t.Context(), s, all)
	if hint := registry.HintOf(err); !strings.Contains(hint, "attachments: none") || strings.Contains(hint, "elete") {
		t.Errorf("error %v, hint %q", err, hint)
	}
	if _, err := finder(t, broken).Find(t.Context(), s, true, nil); err == nil {
		t.Error("a list that cannot be read passed for an empty one")
	}
	if w := writes(broken); len(w) > 0 {
		t.Error("writes:", w)
	}
}

// strict refuses an index that names a manifest that is not there, as distribution does.
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.Method != http.MethodPut || q.Header.Get("Content-Type") != string(types.OCIImageIndex) {
			next.ServeHTTP(w, q)
			return
		}
		var body bytes.Buffer
		_, _ = body.ReadFrom(q.Body)
		var index struct{ Manifests []v1.Descriptor }
		_ = json.Unmarshal(body.Bytes(), &index)
		for _, d := range index.Manifests {
			if d.Digest.Hex == strings.Repeat("0", 64) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"gone"}]}`))
				return
			}
		}
		q.Body = http.NoBody
		again := q.Clone(q.Context())
		again.Body, again.ContentLength = readCloser{&body}, int64(body.Len())
		next.ServeHTTP(w, again)
	})
}

type readCloser struct{ *bytes.Buffer }

func (readCloser) Close() error { return nil }

// TestAttachToAListWithLinesOfWhatIsGone: a clean-up that deletes untagged
// manifests must not block every later promotion.
func TestAttachToAListWithLinesOfWhatIsGone(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		var written atomic.Bool
		var stale string
		r := regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
			next = strict(next)
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.Contains(q.URL.Path, "/manifests/sha256-") && q.UserAgent() != regtest.Agent {
					switch {
					case q.Method == http.MethodGet && !written.Load():
						w.Header().Set("Content-Type", string(types.OCIImageIndex))
						w.Header().Set("Docker-Content-Digest", registry.NewManifest("", []byte(stale)).Digest.String())
						_, _ = w.Write([]byte(stale))
						return
					case q.Method == http.MethodPut:
						defer written.Store(true)
						answer := &status{ResponseWriter: w}
						next.ServeHTTP(answer, q)
						written.Store(answer.code == http.StatusCreated)
						return
					}
				}
				next.ServeHTTP(w, q)
			})
		}})
		s, all := subject(t, r, 2)
		gone := `{"mediaType":"` + string(types.OCIManifestSchema1) + `","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}`
		kept, _ := json.Marshal(all[0])
		stale = `{"schemaVersion":2,"manifests":[` + gone + `,` + string(kept) + `]}`
		if wrote, err := finder(t, r).Attach(t.Context(), s, all); !wrote || err != nil {
			t.Errorf("wrote %v, error %v", wrote, err)
		}
		if raw, digests := listed(t, r, s); !slices.Equal(digests, []v1.Hash{all[0].Digest, all[1].Digest}) {
			t.Errorf("listed %s", raw)
		}
	})
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// TestConcurrentAttachers: of runs at the same time one can lose its line to
// another that read before; each one's next run repairs that. What was there
// before all of them is never lost.
func TestConcurrentAttachers(t *testing.T) {
	long(t)
	t.Parallel()
	const attachers = 6
	r := regtest.Serve(t, regtest.Options{})
	s, all := subject(t, r, attachers)
	first, _ := json.Marshal(all[0])
	list(t, r, s, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+string(first)+`]}`)
	var g errgroup.Group
	for _, d := range all[1:] {
		f := finder(t, r)
		g.Go(func() error {
			_, err := f.Attach(t.Context(), s, []v1.Descriptor{d})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if _, digests := listed(t, r, s); len(digests) < 2 || digests[0] != all[0].Digest {
		t.Errorf("listed %v", digests)
	}
	for _, d := range all[1:] {
		if _, err := finder(t, r).Attach(t.Context(), s, []v1.Descriptor{d}); err != nil {
			t.Error(err)
		}
	}
	if _, digests := listed(t, r, s); len(digests) != attachers {
		t.Errorf("%d of %d are listed", len(digests), attachers)
	}
}

// TestOneRunIsNotItsOwnRival: promotions of one run share a finder.
func TestOneRunIsNotItsOwnRival(t *testing.T) {
	t.Parallel()
	const attachers = 6
	r := regtest.Serve(t, regtest.Options{})
	s, all := subject(t, r, attachers)
	f := finder(t, r)
	var g errgroup.Group
	for _, d := range all {
		g.Go(func() error {
			_, err := f.Attach(t.Context(), s, []v1.Descriptor{d})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if _, digests := listed(t, r, s); len(digests) != attachers || len(writes(r)) > attachers {
		t.Errorf("%d of %d are listed after %d writes", len(digests), attachers, len(writes(r)))
	}
}

// TestAttachOneAfterTheOther: what a run has just written it does not read again before it adds to it, unless that
// failed.
func TestAttachOneAfterTheOther(t *testing.T) {
	for name, test := range map[string]struct {
		fails         bool
		reads, writes int
	}{"written": {false, 1, 2}, "refused": {true, 3, 3}} {
		t.Run(name, func(t *testing.T) {
			var refuse atomic.Bool
			r := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if refuse.Load() && q.Method == http.MethodPut {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, q)
				})
			}})
			s, all := subject(t, r, 3)
			first, _ := json.Marshal(all[0])
			list(t, r, s, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+string(first)+`]}`)
			r.ResetRequests()
			f := finder(t, r)
			refuse.Store(test.fails)
			one, err := f.Begin(t.Context(), s, all[:2])
			refuse.Store(false)
			if test.fails != (err != nil) {
				t.Fatal(err)
			}
			two, err := f.Begin(t.Context(), s, all[2:])
			if err != nil {
				t.Fatal(err)
			}
			if reads(r) != test.reads || len(writes(r)) != test.writes {
				t.Errorf("%d reads, %q", reads(r), writes(r))
			}
			for _, a := range []*referrer.Attaching{one, two} {
				if a == nil {
					continue
				}
				if wrote, err := a.Settle(t.Context()); err != nil || !wrote {
					t.Errorf("wrote %v, error %v", wrote, err)
				}
			}
			if _, digests := listed(t, r, s); len(digests) != len(all) {
				t.Errorf("listed %v", digests)
			}
			before := reads(r)
			if again, err := f.Attach(t.Context(), s, all[:1]); err != nil || again {
				t.Errorf("what was listed before was added: %v, error %v", again, err)
			}
			if reads(r) == before {
				t.Error("nobody has looked whether it is there still")
			}
		})
	}
}

// TestAttachTwoAtOnce: both read before either writes, and both write before
// either reads again. The one whose line is lost sees that.
func TestAttachTwoAtOnce(t *testing.T) {
	long(t)
	t.Parallel()
	var read, written barrier
	r := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			next.ServeHTTP(w, q)
			if !strings.Contains(q.URL.Path, "/manifests/sha256-") || q.UserAgent() == regtest.Agent {
				return
			}
			if q.Method == http.MethodGet {
				read.pass()
			} else {
				written.pass()
			}
		})
	}})
	s, all := subject(t, r, 2)
	var g errgroup.Group
	for _, d := range all {
		f := finder(t, r)
		g.Go(func() error {
			wrote, err := f.Attach(t.Context(), s, []v1.Descriptor{d})
			if !wrote {
				t.Error("nothing written")
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, digests := listed(t, r, s); len(digests) != 2 || len(writes(r)) != 3 {
		t.Errorf("listed %v after %d writes", digests, len(writes(r)))
	}
}

// barrier holds the first two until both are there.
type barrier struct {
	mu    sync.Mutex
	count int
	both  chan struct{}
}

func (b *barrier) pass() {
	b.mu.Lock()
	if b.both == nil {
		b.both = make(chan struct{})
	}
	b.count++
	if b.count == 2 {
		close(b.both)
	}
	b.mu.Unlock()
	<-b.both
}

// TestAttachGivesUp: a rival that always takes our line away.
func TestAttachGivesUp(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/sha256-") {
					w.WriteHeader(http.StatusCreated) // and it is gone again
					return
				}
				next.ServeHTTP(w, q)
			})
		}})
		s, all := subject(t, r, 1)
		began := time.Now()
		wrote, err := finder(t, r).Attach(t.Context(), s, all)
		if took := time.Since(began); took < 2*time.Second || took > 15*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if !wrote || err == nil || !strings.Contains(err.Error(), "stored but not listed") || !strings.Contains(registry.HintOf(err), "again") {
			t.Errorf("wrote %v, error %v", wrote, err)
		}
		if n := len(writes(r)); n < 3 || n > 10 {
			t.Errorf("%d writes", n)
		}
	})
}

// TestAttachWaitsForTheAPI: a registry's own index may lag behind.
func TestAttachWaitsForTheAPI(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		var asked atomic.Int32
		r := regtest.Serve(t, regtest.Options{Memory: m, Referrers: true, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.Contains(q.URL.Path, "/referrers/") && asked.Add(1) <= 3 {
					w.Header().Set("Content-Type", string(types.OCIImageIndex))
					_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
					return
				}
				next.ServeHTTP(w, q)
			})
		}})
		s, all := subject(t, r, 1)
		if wrote, err := finder(t, r).Attach(t.Context(), s, all); wrote || err != nil || len(writes(r)) > 0 {
			t.Errorf("wrote %v, error %v, writes %v", wrote, err, writes(r))
		}
	})
}

// TestAttachEndsWithItsContext also while it waits.
func TestAttachEndsWithItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		r := regtest.Serve(t, regtest.Options{Memory: m, Referrers: true, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				if strings.Contains(q.URL.Path, "/referrers/") {
					w.Header().Set("Content-Type", string(types.OCIImageIndex))
					_, _ = w.Write([]byte(`{"manifests":[]}`))
					return
				}
				next.ServeHTTP(w, q)
			})
		}})
		s, all := subject(t, r, 1)
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 400*time.Millisecond, why)
		defer cancel()
		began := time.Now()
		if _, err := finder(t, r).Attach(ctx, s, all); !errors.Is(err, why) || time.Since(began) > 3*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// TestTheAPIIsAskedForOnce, and once more to be sure that there is none, however
// many want to know at once.
func TestTheAPIIsAskedForOnce(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	s, _ := subject(t, r, 0)
	f := finder(t, r)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if api, err := f.HasAPI(t.Context(), s); api || err != nil {
				t.Errorf("API %v, error %v", api, err)
			}
		})
	}
	wg.Wait()
	asked := 0
	for _, q := range r.Requests() {
		if strings.Contains(q.Path, "/referrers/") {
			asked++
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// TestFindUnitesBothLists: what was attached before a registry had the API is
// in the fallback tag alone.
func TestFindUnitesBothLists(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Wrap: regtest.Answer(func(q *http.Request) bool {
		return strings.Contains(q.URL.Path, "/referrers/") && q.UserAgent() != regtest.Agent
	}, http.StatusOK, string(types.OCIImageIndex), []byte(`{"manifests":[{"digest":"sha256:`+strings.Repeat("1", 64)+`","size":1}]}`))})
	s, all := subject(t, r, 1)
	first, _ := json.Marshal(all[0])
	list(t, r, s, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+string(first)+`]}`)
	found, err := finder(t, r).Find(t.Context(), s, false, nil)
	if err != nil || len(found.Referrers) != 2 || found.Referrers[1].Digest != all[0].Digest {
		t.Errorf("found %v, error %v", found.Referrers, err)
	}
}

// TestFindTaggedArtifacts: a list of tags that is complete spares the questions
// for all but a root's.
func TestFindTaggedArtifacts(t *testing.T) {
	image := regtest.Build(regtest.Spec{})
	for _, suffix := range referrer.Suffixes {
		image.Sign(image.Root, suffix, "x")
	}
	for _, root := range []bool{true, false} {
		r := regtest.Serve(t, regtest.Options{})
		if err := image.Push(t.Context(), r.Access("", ""), repo, "dev"); err != nil {
			t.Fatal(err)
		}
		r.ResetRequests()
		s := parse(t, image.Root)
		f := finder(t, r)
		found, err := f.Find(t.Context(), s, root, nil)
		if err != nil || len(found.Tagged) != 3 {
			t.Fatalf("root %v: found %v, error %v", root, found.Tagged, err)
		}
		for i, tagged := range found.Tagged {
			if tagged.Tag != referrer.FallbackTag(s)+referrer.Suffixes[i] || image.Manifest(tagged.Manifest.Digest.String()) == nil {
				t.Errorf("found %s with %s", tagged.Tag, tagged.Manifest.Digest)
			}
		}
		before := len(r.Requests())
		if found, err = f.Find(t.Context(), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}, root, nil); err != nil || len(found.Tagged) != 0 {
			t.Errorf("root %v: found %v, error %v", root, found.Tagged, err)
		}
		want := 0
		if root {
			want = 4
		}
		if n := len(r.Requests()) - before; n != want {
			t.Errorf("root %v: %d requests for a digest without attachments, want %d", root, n, want)
		}
	}
}

func TestSuffix(t *testing.T) {
	for tag, want := range map[string]string{"sha256-00.sig": ".sig", "sha256-00.att": ".att", "sha256-00.sbom": ".sbom", "v1.4": "", "sha256-00": ""} {
		if got := referrer.Suffix(tag); got != want {
			t.Errorf("suffix of %s is %q, want %q", tag, got, want)
		}
	}
}

// serves answers every read of a fallback tag with the same list.
func serves(body string) func(http.Handler) http.Handler {
	m := registry.NewManifest("", []byte(body))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			_, tag, _ := strings.Cut(q.URL.Path, "/manifests/sha256-")
			if q.Method != http.MethodGet || q.UserAgent() == regtest.Agent || len(tag) != 64 {
				next.ServeHTTP(w, q)
				return
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			w.Header().Set("Docker-Content-Digest", m.Digest.String())
			_, _ = w.Write(m.Raw)
		})
	}
}

// TestAttachToAListThatIsFull: no list is written that no registry has to take.
func TestAttachToAListThatIsFull(t *testing.T) {
	long(t)
	var lines []string
	for n := range 27_776 {
		lines = append(lines, fmt.Sprintf(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064x","size":1}`, n))
	}
	full := `{"schemaVersion":2,"manifests":[` + strings.Join(lines, ",") + `]}`
	if len(full) > registry.MaxManifest {
		t.Fatal("it is too long already")
	}
	r := regtest.Serve(t, regtest.Options{Wrap: serves(full)})
	s, all := subject(t, r, 1)
	_, err := finder(t, r).Attach(t.Context(), s, all)
	if err == nil || !strings.Contains(err.Error(), "at most 4194304") || !strings.Contains(registry.HintOf(err), "attachments: none") {
		t.Errorf("error %.500v", err)
	}
	if w := writes(r); len(w) > 0 {
		t.Error("writes:", w)
	}
}

// TestAttachAnIndex: where a list may not name an index, the message says which attachment is one.
func TestAttachAnIndex(t *testing.T) {
	long(t)
	r := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ImagesOnlyInIndex()}})
	s, all := subject(t, r, 2)
	index := describe(t, string(types.OCIImageIndex), []byte(`{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[]}`))
	_, err := finder(t, r).Attach(t.Context(), s, append(all, index))
	hint := registry.HintOf(err)
	if err == nil || !strings.Contains(err.Error(), "MANIFEST_INVALID") || !strings.Contains(hint, index.Digest.String()) || !strings.Contains(hint, "attachments: none") {
		t.Errorf("error %v, hint %q", err, hint)
	}
	_, err = finder(t, r).Attach(t.Context(), s, all)
	if err != nil {
		t.Errorf("without it: %v", err)
	}
}

// TestAttachLooksAgain: where somebody else writes too, it does so once more as a rule.
func TestAttachLooksAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		var s v1.Hash
		var all []v1.Descriptor
		var rival func() // after our nth read that follows a write
		var armed, puts atomic.Int32
		r := regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				next.ServeHTTP(w, q)
				if q.UserAgent() == regtest.Agent || !strings.Contains(q.URL.Path, "/manifests/sha256-") {
					return
				}
				switch {
				case q.Method == http.MethodPut && puts.Add(1) == 1:
					rival() // it read before, and takes our line away
				case q.Method == http.MethodGet && puts.Load() == 2 && armed.Add(1) == 1:
					rival() // and once more, after we saw our line
				}
			})
		}})
		s, all = subject(t, r, 2)
		theirs, _ := json.Marshal(all[1])
		rival = func() {
			list(t, r, s, `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+string(theirs)+`]}`)
		}
		f := finder(t, r)
		if _, err := f.Attach(t.Context(), s, all[:1]); err != nil {
			t.Fatal(err)
		}
		if _, digests := listed(t, r, s); len(digests) != 2 {
			t.Errorf("listed %v", digests)
		}
		if !f.Rivalled(s) || armed.Load() < 2 {
			t.Errorf("a rival was seen: %v; %d looks", f.Rivalled(s), armed.Load())
		}
	})
}

// TestFallbackListOfNothings is refused, and not held.
func TestFallbackListOfNothings(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Wrap: serves(`{"manifests":[` + strings.Repeat("{},", 90_000) + `{}]}`)})
	s, _ := subject(t, r, 1)
	_, err := finder(t, r).Find(t.Context(), s, true, nil)
	if err == nil || !strings.Contains(err.Error(), "cannot be read") || !strings.Contains(registry.HintOf(err), "attachments: none") {
		t.Errorf("error %.500v", err)
	}
}

// TestAttachWritesAgain what the registry has taken and does not list, as it does not
// list it until then: in the run that wrote it, and in a rerun.
func TestAttachWritesAgain(t *testing.T) {
	t.Parallel()
	r := regtest.Serve(t, regtest.Options{Referrers: true, Traits: []regtest.Trait{regtest.RacyReferrers(2)}})
	s, all := subject(t, r, 4)
	c := registry.New(registry.Options{})
	for _, d := range all { // as the copy does
		repo := open(t, c, r)
		m, err := repo.GetManifest(t.Context(), d.Digest.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.PutManifest(t.Context(), d.Digest.String(), m); err != nil {
			t.Fatal(err)
		}
	}
	lost, err := finder(t, r).Missing(t.Context(), s, all)
	if err != nil || len(lost) != 2 {
		t.Fatalf("%d are not listed, error %v: that is no test", len(lost), err)
	}
	before := len(writes(r))
	if wrote, err := finder(t, r).Attach(t.Context(), s, all); wrote || err != nil {
		t.Errorf("wrote %v, error %v", wrote, err)
	}
	if n := len(writes(r)) - before; n != len(lost) {
		t.Errorf("%d writes for %d that were lost", n, len(lost))
	}
	if lost, err = finder(t, r).Missing(t.Context(), s, all); err != nil || len(lost) > 0 {
		t.Errorf("%d are not listed, error %v", len(lost), err)
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
