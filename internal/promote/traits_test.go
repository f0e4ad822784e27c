package promote_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// promoteWith promotes an image in a bubble between registries that have those ways.
func promoteWith(t *testing.T, image *regtest.Image, source, target regtest.Options, look func(t *testing.T, s *stage, d document.Report, took time.Duration)) {
	t.Helper()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		source.Memory, target.Memory = m, m
		s := &stage{source: regtest.Serve(t, source), target: regtest.Serve(t, target), old: plain("old"), new: image}
		push(t, image, s.source, "acme/app", "dev")
		push(t, s.old, s.target, "prod/app", "production")
		s.target.ResetRequests()
		began := time.Now()
		d := s.promoteLate(t, t.Context(), "production")
		look(t, s, d, time.Since(began))
	})
}

func traits(all ...regtest.Trait) regtest.Options { return regtest.Options{Traits: all} }

// stays expects that the run has failed, and that the tag was not touched.
func (s *stage) stays(t testing.TB, d document.Report, says ...string) {
	t.Helper()
	faulted(t, d, document.Failed, says...)
	if got := holds(t, s.target, "prod/app", "production"); got != s.old.Root {
		t.Errorf("the tag holds %s", got)
	}
}

// TestRepositoryThatNobodyMade: it is not waited for, and the name is what to look at.
func TestRepositoryThatNobodyMade(t *testing.T) {
	t.Parallel()
	elsewhere := func(repository string) bool { return repository != "prod/app" }
	promoteWith(t, plain("new"), regtest.Options{}, traits(regtest.MissingRepository(elsewhere)), func(t *testing.T, s *stage, d document.Report, took time.Duration) {
		s.stays(t, d, "NAME_UNKNOWN", "check the name "+s.target.Host()+"/prod/app", "it must be created first")
		nothingNamed(t, s.target)
		if took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestThrottledForSeconds: each registry answers 429 to every fifth request.
func TestThrottledForSeconds(t *testing.T) {
	t.Parallel()
	promoteWith(t, plain("new"), traits(regtest.Throttled(5, regtest.RetrySeconds)), traits(regtest.Throttled(5, regtest.RetrySeconds)),
		func(t *testing.T, s *stage, d document.Report, _ time.Duration) {
			expect(t, d, document.Promoted)
			s.whole(t, "production")
		})
}

// TestThrottledForHours ends at once, on either side, with what helps.
func TestThrottledForHours(t *testing.T) {
	t.Parallel()
	hours := traits(regtest.Throttled(5, regtest.RetryHours))
	for _, sides := range [][]regtest.Options{{hours, {}}, {{}, hours}} {
		promoteWith(t, plain("new"), sides[0], sides[1], func(t *testing.T, s *stage, d document.Report, took time.Duration) {
			s.stays(t, d, "429", "for 6 h", "log in")
			if took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestUploadToAClosedPort ends within seconds, and names the port.
func TestUploadToAClosedPort(t *testing.T) {
	t.Parallel()
	large := regtest.Build(regtest.Spec{Seed: "new", LayerSize: 200_000}) // a small one goes in one request, without a Location
	promoteWith(t, large, regtest.Options{}, traits(regtest.LocationAt("127.0.0.1:1")), func(t *testing.T, s *stage, d document.Report, took time.Duration) {
		s.stays(t, d, `at "127.0.0.1:1", where the registry points`, `Nothing answers at "127.0.0.1:1"`)
		if took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// TestBlobCollectedBesideALongCopy: what was uploaded first is collected before the manifest comes that names it. It is
// uploaded again.
func TestBlobCollectedBesideALongCopy(t *testing.T) {
	t.Parallel()
	long := regtest.Build(regtest.Spec{Seed: "long", LayerSize: 2 << 20})
	slow := regtest.Options{Network: &regtest.Network{BytesPerSecond: 20 << 10}}
	promoteWith(t, long, slow, traits(regtest.BlobsCollected(time.Minute)), func(t *testing.T, s *stage, d document.Report, took time.Duration) {
		expect(t, d, document.Promoted)
		s.whole(t, "production")
		config := 0
		for _, q := range ours(s.target) {
			if strings.Contains(q.Path, "/blobs/uploads/") && strings.Contains(q.Query, "digest=") && q.Received < 2<<20 {
				config++
			}
		}
		if took < time.Minute || config < 2 {
			t.Errorf("after %v, %d uploads of what is small: nothing was collected", took, config)
		}
	})
}

// TestLoginPageForContent: a page with status 200 is never taken for a manifest, a list or a blob.
func TestLoginPageForContent(t *testing.T) {
	t.Parallel()
	blobs := func(q *http.Request) bool {
		return q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/sha256:")
	}
	for name, test := range map[string]struct {
		source, target func(*http.Request) bool
		says           string
	}{
		"the source's manifest":     {source: on(http.MethodGet, "/manifests/dev"), says: "something in between answers"},
		"what the tag holds":        {target: on(http.MethodGet, "/manifests/production"), says: "something in between answers"},
		"a blob":                    {source: blobs, says: "127.0.0.1"},
		"everything of the target":  {target: func(*http.Request) bool { return true }, says: "something in between answers"},
		"everything of the source":  {source: func(*http.Request) bool { return true }, says: "something in between answers"},
		"the answer to a tag's PUT": {target: on(http.MethodPut, "/manifests/production"), says: "production"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var source, target regtest.Options
			if test.source != nil {
				source = traits(regtest.LoginPage(test.source))
			}
			if test.target != nil {
				target = traits(regtest.LoginPage(test.target))
			}
			promoteWith(t, plain("new"), source, target, func(t *testing.T, s *stage, d document.Report, _ time.Duration) {
				s.stays(t, d, test.says)
			})
		})
	}
}

// TestLoginPageForTheTags: the list is a help and no need, which is said.
func TestLoginPageForTheTags(t *testing.T) {
	t.Parallel()
	list := traits(regtest.LoginPage(on(http.MethodGet, "/tags/list")))
	promoteWith(t, plain("new"), list, list, func(t *testing.T, s *stage, d document.Report, _ time.Duration) {
		expect(t, d, document.Promoted)
		s.whole(t, "production")
		if !strings.Contains(strings.Join(d.Notices, "\n"), "could not be listed") {
			t.Errorf("notices %q", d.Notices)
		}
	})
}

// TestUntypedChild: a child without a type of its own, which the source serves as text, has the type that its index says.
func TestUntypedChild(t *testing.T) {
	t.Parallel()
	for _, served := range []string{"text/plain", "application/octet-stream"} {
		inBubble(t, func(t *testing.T, m *regtest.Memory) {
			o := traits(regtest.UntypedChildren(served))
			o.Memory = m
			s := &stage{source: regtest.Serve(t, o), target: regtest.Serve(t, regtest.Options{Memory: m})}
			child := s.pushUntyped(t)
			expect(t, s.promoteLate(t, t.Context(), "production"), document.Promoted)
			n := read(t, s.target, "prod/app", "production").Nodes[child]
			if n == nil || n.MediaType != manifestOCI {
				t.Errorf("served as %s, the child arrived as %+v", served, n)
			}
		})
	}
}

// pushUntyped gives the source an index of one manifest that does not say what it is.
func (s *stage) pushUntyped(t testing.TB) (child string) {
	t.Helper()
	at := s.source.Access("", "")
	blob := func(text, mediaType string) map[string]any {
		if _, err := regtest.PutBlob(t.Context(), at, "acme/app", []byte(text)); err != nil {
			t.Fatal(err)
		}
		return describe(text, mediaType)
	}
	untyped := encoded(t, map[string]any{
		"schemaVersion": 2, "config": blob(`{"architecture":"amd64","os":"linux"}`, "application/vnd.oci.image.config.v1+json"),
		"layers": []any{blob("layer", "application/vnd.oci.image.layer.v1.tar")},
	})
	index := encoded(t, map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{describe(string(untyped), manifestOCI)},
	})
	child = digestOf(string(untyped))
	if err := regtest.PutManifest(t.Context(), at, "acme/app", child, manifestOCI, untyped); err != nil {
		t.Fatal(err)
	}
	if err := regtest.PutManifest(t.Context(), at, "acme/app", "dev", "application/vnd.oci.image.index.v1+json", index); err != nil {
		t.Fatal(err)
	}
	return child
}

func describe(text, mediaType string) map[string]any {
	sum := sha256.Sum256([]byte(text))
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + hex.EncodeToString(sum[:]), "size": len(text)}
}

// TestBlobThatIsGoneAndHardToSend: the registry says that it has a blob which is gone, and the first attempt to send it
// again breaks off. That the registry says so once more is not believed either.
func TestBlobThatIsGoneAndHardToSend(t *testing.T) {
	t.Parallel()
	image := regtest.Build(regtest.Spec{Seed: "gone", LayerSize: 200_000}) // large enough for an upload of several requests
	layer, text := "", []byte(nil)
	for _, b := range image.Blobs {
		if b.Size < 200_000 {
			continue
		}
		var err error
		if text, err = io.ReadAll(b.Open()); err != nil {
			t.Fatal(err)
		}
		layer = b.Digest
	}
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		gone := regtest.GoneBlobs(func(_, digest string) bool { return digest == layer }, false)
		broken := regtest.ResetBefore(func(q *http.Request) bool { return q.Method == http.MethodPut && q.URL.Query().Get("digest") == layer })
		s := newStage(t, regtest.Options{Memory: m, Traits: []regtest.Trait{gone}, Wrap: forUs(broken)}, "production")
		s.new = image
		push(t, image, s.source, "acme/app", "dev")
		if _, err := regtest.PutBlob(t.Context(), s.target.Access("", ""), "prod/app", text); err != nil {
			t.Fatal(err)
		}
		expect(t, s.promoteLate(t, t.Context(), "production"), document.Promoted)
		s.whole(t, "production")
		uploads := 0
		for _, q := range ours(s.target) {
			if q.Method == http.MethodPut && strings.Contains(q.Path, "/blobs/uploads/") && strings.Contains(q.Query, layer[7:]) {
				uploads++
			}
		}
		if uploads != 2 {
			t.Errorf("%d attempts at the upload, want two", uploads)
		}
	})
}
