package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/queue"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// small has blobs that platforms share, and attachments.
func small() *regtest.Image {
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Shared: true, Layers: 3, LayerSize: 500})
	i.Attach(i.Attach(i.Root, "application/x", "x"), "application/x", "y")
	i.Sign(i.Children()[0], ".sig", "x")
	return i
}

func complete(t *testing.T, from *regtest.Registry, sourceRef string, to *regtest.Registry, repo, ref string) {
	t.Helper()
	a, err := regtest.Read(t.Context(), from.Access("", ""), sourceRepo, sourceRef)
	if err != nil {
		t.Fatal(err)
	}
	b, err := regtest.Read(t.Context(), to.Access("", ""), repo, ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range regtest.Diff(a, b) {
		t.Error(d)
	}
}

func TestCopyCounts(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Referrers: true})
	i := small()
	push(t, i, source, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	copied, _, err := r.copyAndVerify(source, target, "dev")
	if err != nil {
		t.Fatal(err)
	}
	want := document.Copied{Manifests: len(i.Manifests), Blobs: len(i.Blobs), Bytes: i.Size()}
	if copied != want {
		t.Errorf("copied %+v, want %+v", copied, want)
	}
	if p := r.Progress.Snapshot(); p.Bytes != i.Size() || p.TotalBytes != i.Size() || p.Blobs != len(i.Blobs) || p.TotalBlobs != len(i.Blobs) {
		t.Errorf("progress %+v", p)
	}
	complete(t, source, "dev", target, targetRepo, i.Root)

	target.ResetRequests()
	r = newRun(t, transfer.Blobs, 0)
	copied, _, err = r.copyAndVerify(source, target, "dev")
	if want := (document.Copied{Present: len(i.Blobs)}); err != nil || copied != want || len(writes(target)) > 0 {
		t.Errorf("again: copied %+v, error %v, writes %v", copied, err, writes(target))
	}
	if p := r.Progress.Snapshot(); p.TotalBytes != 0 || p.Blobs != len(i.Blobs) {
		t.Errorf("again: progress %+v", p)
	}
}

// TestCopyRepairs what an earlier run or a clean-up left undone.
func TestCopyRepairs(t *testing.T) {
	long(t)
	i := small()
	attached := i.Manifests[len(i.Manifests)-2].Digest
	for name, remove := range map[string]func(ctx context.Context, at regtest.Access) error{
		"the root": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, i.Root)
		},
		"a child": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, i.Children()[1])
		},
		"an attachment": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, attached)
		},
		"a blob": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteBlob(ctx, at, targetRepo, i.Blobs[0].Digest)
		},
		"a signature": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, strings.Replace(i.Children()[0], ":", "-", 1)+".sig")
		},
		"an attached list": func(ctx context.Context, at regtest.Access) error {
			return regtest.DeleteManifest(ctx, at, targetRepo, strings.Replace(i.Root, ":", "-", 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Delete: true})
			push(t, i, source, sourceRepo, "dev")
			push(t, i, target, targetRepo, "production")
			if err := remove(t.Context(), target.Access("", "")); err != nil {
				t.Fatal(err)
			}
			copied, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
			if err != nil || copied.Manifests+copied.Blobs == 0 {
				t.Errorf("copied %+v, error %v", copied, err)
			}
			complete(t, source, "dev", target, targetRepo, i.Root)
		})
	}
}

// received is how often each blob's bytes came to a registry.
func received(r *regtest.Registry) map[string]int {
	times := map[string]int{}
	for _, q := range ours(r) {
		if (q.Method == http.MethodPut || q.Method == http.MethodPatch) && strings.Contains(q.Path, "/blobs/uploads/") && q.Received > 0 {
			_, digest, _ := strings.Cut(q.Query, "digest=")
			digest, _, _ = strings.Cut(digest, "&")
			times[digest]++
		}
	}
	return times
}

// TestBlobsGoToARegistryOnce, however many of its repositories they are for, and
// the other repositories take them over from the first.
func TestBlobsGoToARegistryOnce(t *testing.T) {
	for _, concurrency := range []int{0, 1} {
		t.Run(fmt.Sprintf("concurrency %d", concurrency), func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			i := small()
			push(t, i, source, sourceRepo, "dev")
			r := newRun(t, transfer.Blobs, concurrency)
			from := r.source(source)
			g := r.walk(from, "dev")
			repos := []string{"prod/a", "prod/b", "prod/c"}
			copied := make([]document.Copied, len(repos))
			var work errgroup.Group
			for n, repo := range repos {
				to := r.open(credential.Target, target, repo)
				work.Go(func() (err error) {
					if copied[n], err = r.Copy(t.Context(), g, from, to, nil); err == nil {
						_, err = r.Verify(t.Context(), g, from, to)
					}
					return err
				})
			}
			if err := work.Wait(); err != nil {
				t.Fatal(err)
			}
			total := document.Copied{}
			for n, repo := range repos {
				complete(t, source, "dev", target, repo, i.Root)
				total.Blobs += copied[n].Blobs
				total.Mounted += copied[n].Mounted
			}
			if total.Blobs != len(i.Blobs) || total.Mounted != 2*len(i.Blobs) {
				t.Errorf("%d blobs sent and %d mounted, want %d and %d", total.Blobs, total.Mounted, len(i.Blobs), 2*len(i.Blobs))
			}
			for digest, n := range received(target) {
				if n != 1 {
					t.Errorf("%s was sent %d times", digest, n)
				}
			}
			reads := 0
			for _, q := range ours(source) {
				if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
					reads++
				}
			}
			if reads != len(i.Blobs) {
				t.Errorf("%d blobs were read at the source, want %d", reads, len(i.Blobs))
			}
		})
	}
}

// TestSharedBlobsOfImages move once a run.
func TestSharedBlobsOfImages(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	spec := regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 3, Shared: true}
	one := regtest.Build(spec)
	spec.Labels = map[string]string{"other": "configuration"}
	two := regtest.Build(spec)
	push(t, one, source, sourceRepo, "one")
	push(t, two, source, sourceRepo, "two")
	r := newRun(t, transfer.Blobs, 0)
	var work errgroup.Group
	for _, tag := range []string{"one", "two"} {
		work.Go(func() error {
			_, _, err := r.copyAndVerify(source, target, tag)
			return err
		})
	}
	if err := work.Wait(); err != nil {
		t.Fatal(err)
	}
	complete(t, source, "one", target, targetRepo, one.Root)
	complete(t, source, "two", target, targetRepo, two.Root)
	for digest, n := range received(target) {
		if n != 1 {
			t.Errorf("%s was sent %d times", digest, n)
		}
	}
}

// TestMount: within one registry no blob passes through this machine.
func TestMount(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := small()
	push(t, i, r, sourceRepo, "dev")
	r.ResetRequests()
	copied, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(r, r, "dev")
	if err != nil || copied.Mounted != len(i.Blobs) || copied.Blobs != 0 || copied.Bytes != 0 {
		t.Errorf("copied %+v, error %v", copied, err)
	}
	for _, q := range ours(r) {
		if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/") {
			t.Error("read", q.Path)
		}
		if strings.Contains(q.Path, "/uploads/") && (q.Received > 0 || q.Status != http.StatusCreated || !strings.Contains(q.Query, "from=acme%2Fapp")) {
			t.Errorf("%s %s?%s: %d bytes, status %d", q.Method, q.Path, q.Query, q.Received, q.Status)
		}
	}
	complete(t, r, "dev", r, targetRepo, i.Root)
}

// TestMountThatIsNotGranted: the bytes are then sent.
func TestMountThatIsNotGranted(t *testing.T) {
	for name, answer := range map[string]func(next http.Handler, w http.ResponseWriter, q *http.Request){
		"a session instead": func(next http.Handler, w http.ResponseWriter, q *http.Request) {
			q.URL.RawQuery = ""
			next.ServeHTTP(w, q)
		},
		"a refusal": func(next http.Handler, w http.ResponseWriter, q *http.Request) {
			if q.URL.RawQuery == "" {
				next.ServeHTTP(w, q)
				return
			}
			w.WriteHeader(http.StatusMethodNotAllowed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if q.Method == http.MethodPost && q.UserAgent() != regtest.Agent {
						answer(next, w, q)
						return
					}
					next.ServeHTTP(w, q)
				})
			}})
			i := small()
			push(t, i, r, sourceRepo, "dev")
			copied, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(r, r, "dev")
			if err != nil || copied.Blobs != len(i.Blobs) || copied.Mounted != 0 {
				t.Errorf("copied %+v, error %v", copied, err)
			}
			complete(t, r, "dev", r, targetRepo, i.Root)
		})
	}
}

// TestNoMountAcrossCredentials: the target's account may not see the source's repository.
func TestNoMountAcrossCredentials(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Users: map[string]regtest.User{
		"reader": {Password: "1", Grants: []regtest.Grant{{Repository: "acme/*", Actions: []string{"pull"}}}},
		"writer": {Password: "2", Grants: []regtest.Grant{{Repository: "prod/*", Actions: []string{"pull", "push"}}}},
		"admin":  {Password: "3", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}})
	i := small()
	if err := i.Push(t.Context(), r.Access("admin", "3"), sourceRepo, "dev"); err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	run := newRun(t, transfer.Blobs, 0)
	run.client = registry.New(registry.Options{Credentials: &credential.Chain{
		Source: credential.Login{Username: "reader", Password: "1"}, Target: credential.Login{Username: "writer", Password: "2"},
	}})
	copied, _, err := run.copyAndVerify(r, r, "dev")
	if err != nil || copied.Blobs != len(i.Blobs) {
		t.Errorf("copied %+v, error %v", copied, err)
	}
	for _, q := range ours(r) {
		if strings.Contains(q.Query, "from=") || q.Status == http.StatusForbidden {
			t.Errorf("%s %s?%s: status %d", q.Method, q.Path, q.Query, q.Status)
		}
	}
	a, err := regtest.Read(t.Context(), r.Access("admin", "3"), sourceRepo, "dev")
	if err != nil {
		t.Fatal(err)
	}
	b, err := regtest.Read(t.Context(), r.Access("admin", "3"), targetRepo, i.Root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := regtest.Diff(a, b); len(diff) > 0 {
		t.Error(diff)
	}
}

// TestNoForeignFrom: a repository of another registry is never named.
func TestNoForeignFrom(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, small(), source, sourceRepo, "dev")
	if _, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev"); err != nil {
		t.Fatal(err)
	}
	for _, q := range ours(target) {
		if strings.Contains(q.Query, "from=") {
			t.Errorf("%s %s?%s", q.Method, q.Path, q.Query)
		}
	}
}

// TestBlobThatTheSourceLost ends the copy before what names it is written.
func TestBlobThatTheSourceLost(t *testing.T) {
	h := &hurt{}
	source, target := regtest.Serve(t, regtest.Options{Wrap: h.wrap}), regtest.Serve(t, regtest.Options{})
	i := small()
	push(t, i, source, sourceRepo, "dev")
	lost := i.Blobs[0].Digest
	h.set(lost, missing)
	_, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
	var e *registry.Error
	if !errors.As(err, &e) || e.Side != credential.Source || !strings.Contains(err.Error(), lost) || !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	for _, digest := range append(i.Children()[:1:1], i.Root) {
		if slices.Contains(writes(target), "PUT /v2/"+targetRepo+"/manifests/"+digest) {
			t.Errorf("%s was written without its blob", digest)
		}
	}
}

// TestSubjectFirst: a registry that takes no manifest before its subject gets it
// again after that.
func TestSubjectFirst(t *testing.T) {
	i := small()
	var mu sync.Mutex
	there, refused := map[string]bool{}, make(chan struct{})
	var once sync.Once
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			digest := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
			if m := i.Manifest(digest); q.Method == http.MethodPut && m != nil && m.Subject != "" {
				mu.Lock()
				ok := there[m.Subject]
				mu.Unlock()
				if !ok {
					once.Do(func() { close(refused) })
					http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such subject"}]}`, http.StatusBadRequest)
					return
				}
			} else if m != nil && q.Method == http.MethodPut && q.UserAgent() != regtest.Agent {
				select { // no subject comes first
				case <-refused:
				case <-q.Context().Done():
				}
			}
			next.ServeHTTP(w, q)
			if q.Method == http.MethodPut {
				mu.Lock()
				there[digest] = true
				mu.Unlock()
			}
		})
	}})
	push(t, i, source, sourceRepo, "dev")
	if _, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev"); err != nil {
		t.Error(err)
	}
	select {
	case <-refused:
	default:
		t.Error("nothing was refused, so nothing was shown")
	}
}

// TestOrder: an index is written after its children, and a list of referrers after them.
func TestOrder(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := small()
	push(t, i, source, sourceRepo, "dev")
	if _, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev"); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for n, w := range writes(target) {
		at[w[strings.LastIndex(w, "/")+1:]] = n
	}
	for _, child := range i.Children() {
		if at[child] > at[i.Root] {
			t.Errorf("the index was written before %s", child)
		}
	}
	for _, m := range i.Manifests {
		if m.Subject != "" && at[strings.Replace(m.Subject, ":", "-", 1)] < at[m.Digest] {
			t.Errorf("%s was listed before it was written", m.Digest)
		}
	}
}

// TestSubjectsFirst: many manifests that name a later one as their subject do not wait for it for ever where the
// registry refuses them without it.
func TestSubjectsFirst(t *testing.T) {
	long(t)
	t.Parallel()
	source := regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{Seed: "subject", Platforms: []string{"linux/amd64"}})
	push(t, image, source, sourceRepo)
	const kind = "application/vnd.oci.image.manifest.v1+json"
	subject := image.Manifest(image.Children()[0])
	line := func(digest string, size int) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, kind, digest, size)
	}
	var lines []string
	for n := range 2 * queue.Width {
		body := strings.TrimSuffix(string(subject.Bytes), "}") + fmt.Sprintf(`,"annotations":{"n":"%d"},"subject":%s}`, n, line(subject.Digest, len(subject.Bytes)))
		m := registry.NewManifest(kind, []byte(body))
		if err := regtest.PutManifest(t.Context(), source.Access("", ""), sourceRepo, m.Digest.String(), kind, m.Raw); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(m.Digest.String(), len(body)))
	}
	lines = append(lines, line(subject.Digest, len(subject.Bytes)))
	index := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + strings.Join(lines, ",") + `]}`
	if err := regtest.PutManifest(t.Context(), source.Access("", ""), sourceRepo, "dev", "application/vnd.oci.image.index.v1+json", []byte(index)); err != nil {
		t.Fatal(err)
	}
	var there atomic.Bool
	target := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			isSubject := strings.HasSuffix(q.URL.Path, subject.Digest)
			if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/") && !isSubject && !there.Load() {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			next.ServeHTTP(w, q)
			if q.Method == http.MethodPut && isSubject {
				there.Store(true)
			}
		})
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := newRun(t, transfer.Blobs, 0)
	from, to := r.source(source), r.target(target)
	if _, err := r.Copy(ctx, r.walk(from, "dev"), from, to, nil); err != nil {
		t.Fatal(err)
	}
}

// TestReferrersThatAreLost by a registry that has acknowledged them are written again, in
// the same run and in a rerun of one that was ended before that.
func TestReferrersThatAreLost(t *testing.T) {
	t.Parallel()
	i := small()
	for n := range 5 {
		i.Attach(i.Root, "application/x", string(rune('a'+n)))
	}
	source := regtest.Serve(t, regtest.Options{Referrers: true})
	push(t, i, source, sourceRepo, "dev")
	racy := regtest.Options{Referrers: true, Traits: []regtest.Trait{regtest.RacyReferrers(2)}}
	t.Run("in one run", func(t *testing.T) {
		t.Parallel()
		target := regtest.Serve(t, racy)
		newRun(t, transfer.Blobs, 0).proof(source, target, "dev")
		allListed(t, target, i)
	})
	t.Run("in a rerun", func(t *testing.T) {
		t.Parallel()
		target := regtest.Serve(t, racy)
		r := newRun(t, transfer.Blobs, 0)
		from, to := r.source(source), r.target(target)
		if _, err := r.Copy(t.Context(), r.walk(from, "dev"), from, to, nil); err != nil {
			t.Fatal(err)
		}
		newRun(t, transfer.Blobs, 0).proof(source, target, "dev")
		allListed(t, target, i)
	})
}

// allListed fails unless a program's request lists all attachments of the image.
func allListed(t *testing.T, r *regtest.Registry, i *regtest.Image) {
	t.Helper()
	repo := newRun(t, transfer.Blobs, 0).target(r)
	root, err := v1.NewHash(i.Root)
	if err != nil {
		t.Fatal(err)
	}
	list, err := repo.Referrers(t.Context(), root)
	want := 0
	for _, m := range i.Manifests {
		if m.Subject == i.Root {
			want++
		}
	}
	if err != nil || len(list) != want {
		t.Errorf("%d attachments are listed, want %d; error %v", len(list), want, err)
	}
}

// lost forgets each manifest that matches when it is written first: it answers 201, and
// 404 to who reads it, until it is written again.
func lost(match func(ref string) bool) func(http.Handler) http.Handler {
	var mu sync.Mutex
	writes := map[string]int{}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			ref := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
			if q.UserAgent() == regtest.Agent || !strings.Contains(q.URL.Path, "/manifests/") || !match(ref) {
				next.ServeHTTP(w, q)
				return
			}
			mu.Lock()
			if q.Method == http.MethodPut {
				writes[ref]++
			}
			n := writes[ref]
			mu.Unlock()
			switch {
			case q.Method == http.MethodPut && n == 1:
				w.WriteHeader(http.StatusCreated)
			case n < 2:
				http.NotFound(w, q)
			default:
				next.ServeHTTP(w, q)
			}
		})
	}
}

// TestManifestsThatAreLost by a registry that has acknowledged them are written again:
// manifests, tags of cosign's scheme and lists of referrers.
func TestManifestsThatAreLost(t *testing.T) {
	long(t)
	t.Parallel()
	i := small()
	list := strings.Replace(i.Root, ":", "-", 1)
	repaired := map[string]bool{"a child": true, "a list": true} // by the first copy: the index is refused, the list is read back
	for name, match := range map[string]func(ref string) bool{
		"the root":         func(ref string) bool { return ref == i.Root },
		"a child":          func(ref string) bool { return ref == i.Children()[0] },
		"tags of cosign's": func(ref string) bool { return strings.HasPrefix(ref, "sha256-") && strings.Contains(ref, ".") },
		"a list":           func(ref string) bool { return ref == list },
	} {
		serve := func(t *testing.T, m *regtest.Memory) (source, target *regtest.Registry) {
			source, target = regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: lost(match)})
			push(t, i, source, sourceRepo, "dev")
			return source, target
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source, target := serve(t, m)
				newRunAt(t, transfer.Blobs, target).proof(source, target, "dev")
				complete(t, source, "dev", target, targetRepo, i.Root)
			})
		})
		t.Run(name+", in a rerun", func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source, target := serve(t, m)
				first := newRunAt(t, transfer.Blobs, target) // it ends before it has verified
				from, to := first.source(source), first.target(target)
				if _, err := first.Copy(t.Context(), first.walk(from, "dev"), from, to, nil); err != nil {
					t.Fatal(err)
				}
				copied, _, err := newRunAt(t, transfer.Blobs, target).copyAndVerify(source, target, "dev")
				if err != nil || copied.Manifests == 0 && !repaired[name] || copied.Blobs > 0 {
					t.Errorf("copied %+v, error %v; want what was lost, and no blob", copied, err)
				}
				complete(t, source, "dev", target, targetRepo, i.Root)
			})
		})
	}
}

// TestSharedTransferThatIsCutShort: whoever is first to tell that the copy failed, and
// whatever shared transfer was cut short by that, the copy says why it failed.
func TestSharedTransferThatIsCutShort(t *testing.T) {
	long(t)
	t.Parallel()
	i := small()
	gone, slow := i.Blobs[0].Digest, i.Blobs[len(i.Blobs)-1].Digest
	for range 20 {
		asked := make(chan struct{})
		var once sync.Once
		source := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch {
				case q.UserAgent() == regtest.Agent || q.Method != http.MethodGet:
				case strings.HasSuffix(q.URL.Path, slow):
					once.Do(func() { close(asked) })
					<-q.Context().Done()
				case strings.HasSuffix(q.URL.Path, gone):
					<-asked
					http.NotFound(w, q)
					return
				}
				next.ServeHTTP(w, q)
			})
		}})
		push(t, i, source, sourceRepo, "dev")
		target := regtest.Serve(t, regtest.Options{})
		_, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
		if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), gone) {
			t.Errorf("error %v", err)
		}
	}
}

// slowEnd holds the end of a request for one blob up, which comes a while after the run has canceled it.
type slowEnd struct {
	http.RoundTripper
	blob string
}

func (s slowEnd) RoundTrip(q *http.Request) (*http.Response, error) {
	answer, err := s.RoundTripper.RoundTrip(q)
	if err != nil && strings.HasSuffix(q.URL.Path, s.blob) {
		time.Sleep(time.Second)
	}
	return answer, err
}

// TestSiblingThatEndsFirst: the manifest waits for one blob, whose download ends because that of another one failed.
// The failure itself comes to Copy later, when a third download has ended.
func TestSiblingThatEndsFirst(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		i := regtest.Build(regtest.Spec{Layers: 3, LayerSize: 100_000}) // too large to be held in memory
		awaited, gone, late := i.Blobs[1].Digest, i.Blobs[2].Digest, i.Blobs[3].Digest
		var running sync.WaitGroup
		running.Add(2)
		source := regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				digest := q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]
				switch {
				case q.UserAgent() == regtest.Agent || q.Method != http.MethodGet:
				case digest == awaited, digest == late:
					running.Done()
					<-q.Context().Done()
					return
				case digest == gone:
					running.Wait()
					http.NotFound(w, q)
					return
				}
				next.ServeHTTP(w, q)
			})
		}})
		push(t, i, source, sourceRepo, "dev")
		target := regtest.Serve(t, regtest.Options{Memory: m})
		network := &http.Transport{DialContext: target.Dial()}
		defer network.CloseIdleConnections()
		r := run{t, registry.New(registry.Options{Transport: slowEnd{network, late}}), transfer.New(transfer.Blobs)}
		_, _, err := r.copyAndVerify(source, target, "dev")
		if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), gone) {
			t.Errorf("error %v, want that of %s", err, gone)
		}
	})
}

// TestAttachmentThatIsRefused is named, with what goes on without it.
func TestAttachmentThatIsRefused(t *testing.T) {
	t.Parallel()
	i := small()
	for name, trait := range map[string]regtest.Trait{
		"405": regtest.SubjectRefused(405), "415": regtest.SubjectRefused(415), "404": regtest.SubjectRefused(404),
		"subjects are images": regtest.SubjectsOnlyImages(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Traits: []regtest.Trait{trait}})
				push(t, i, source, sourceRepo, "dev")
				_, _, err := newRunAt(t, transfer.Blobs, target).copyAndVerify(source, target, "dev")
				if err == nil || !strings.Contains(err.Error(), "write attachment at the target") || !strings.Contains(registry.HintOf(err), "attachments: none") {
					t.Errorf("error %v, hint %s", err, registry.HintOf(err))
				}
			})
		})
	}
	t.Run("before its subject", func(t *testing.T) {
		t.Parallel()
		source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Referrers: true, Traits: []regtest.Trait{regtest.SubjectFirst()}})
		push(t, i, source, sourceRepo, "dev")
		newRun(t, transfer.Blobs, 0).proof(source, target, "dev")
	})
}

// TestRegistryThatListsNothing takes the tag of a list for the image: that is told once,
// and nobody waits for it longer than for another writer of the list.
func TestRegistryThatListsNothing(t *testing.T) {
	t.Parallel()
	i := regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}, LayerSize: 100})
	for n := range 3 {
		i.Attach(i.Root, "application/x", string(rune('a'+n)))
	}
	const waits = 4 * time.Second // five of them, each twice as long as the one before
	for _, test := range []struct{ put, puts int }{
		{201, 2}, // what the registry has acknowledged may be written once more
		{400, 6}, // it is written once, and tried as often as bytes that were damaged on the way
	} {
		t.Run(fmt.Sprint(test.put), func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Traits: []regtest.Trait{regtest.DigestTagIsImage(test.put)}})
				push(t, i, source, sourceRepo, "dev")
				r := newRunAt(t, transfer.Blobs, target)
				began := time.Now()
				r.proof(source, target, "dev")
				if took := time.Since(began); took > waits {
					t.Errorf("took %v, want at most %v", took, waits)
				}
				if n := r.Notices(); len(n) != 1 || !strings.Contains(n[0], "cannot list") {
					t.Errorf("notices %q", n)
				}
				puts := 0
				for _, w := range writes(target) {
					if strings.Contains(w, "/manifests/sha256-") {
						puts++
					}
				}
				if puts < 1 || puts > test.puts {
					t.Errorf("%d writes of the list, want at most %d", puts, test.puts)
				}
			})
		})
	}
}
