package transfer_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// signed is the same image, signed by somebody under a tag of cosign's.
func signed(suffix string, who ...string) (image *regtest.Image, tag string) {
	image = regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}})
	for _, w := range who {
		image.Sign(image.Root, suffix, w)
	}
	return image, strings.Replace(image.Root, ":", "-", 1) + suffix
}

// artifact is what a cosign tag holds.
type artifact struct {
	MediaType string
	Config    struct {
		MediaType, Digest string
	}
	Layers []struct {
		Digest      string
		Annotations map[string]string
	}
	Annotations map[string]string
}

func readArtifact(t *testing.T, at *regtest.Registry, tag string) artifact {
	t.Helper()
	_, raw, err := regtest.GetManifest(t.Context(), at.Access("", ""), targetRepo, tag)
	if err != nil {
		t.Fatal(err)
	}
	var a artifact
	if err := json.Unmarshal(raw, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a artifact) digests() (all []string) {
	for _, l := range a.Layers {
		all = append(all, l.Digest)
	}
	return all
}

func layersOf(i *regtest.Image, tag string) (all []string) {
	for _, m := range i.Manifests {
		if m.Tag == tag {
			var a artifact
			_ = json.Unmarshal(m.Bytes, &a)
			all = append(all, a.digests()...)
		}
	}
	return all
}

// TestMerge: the target's signatures stay, the source's come to them, and the
// second time there is nothing to do.
func TestMerge(t *testing.T) {
	for _, suffix := range []string{".sig", ".att"} {
		t.Run(suffix, func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			ours, tag := signed(suffix, "alice")
			theirs, _ := signed(suffix, "bob")
			ours.Sign(ours.Manifests[len(ours.Manifests)-1].Digest, ".sig", "on the source's own") // stays findable by its digest
			push(t, ours, source, sourceRepo, "dev")
			push(t, theirs, target, targetRepo, "old")

			copied, _, err := newRun(t, transfer.Content, 0).copyAndVerify(source, target, "dev")
			if err != nil {
				t.Fatal(err)
			}
			if copied.Manifests < 2 {
				t.Errorf("copied %+v", copied)
			}
			merged := readArtifact(t, target, tag)
			want := append(layersOf(theirs, tag), layersOf(ours, tag)...)
			if !slices.Equal(merged.digests(), want) {
				t.Errorf("layers %v, want %v", merged.digests(), want)
			}
			for _, l := range merged.Layers {
				if _, ok := l.Annotations["dev.cosignproject.cosign/signature"]; !ok {
					t.Errorf("layer %s lost its annotations", l.Digest)
				}
			}
			checkConfig(t, target, merged)
			a, err := regtest.Read(t.Context(), source.Access("", ""), sourceRepo, "dev")
			if err != nil {
				t.Fatal(err)
			}
			b, err := regtest.Read(t.Context(), target.Access("", ""), targetRepo, "old")
			if err != nil {
				t.Fatal(err)
			}
			// The source's own artifact lies under no tag here any more, and is there by its digest.
			own, err := regtest.Read(t.Context(), target.Access("", ""), targetRepo, a.DigestTags[tag])
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(b.Nodes, own.Nodes)
			maps.Copy(b.Blobs, own.Blobs)
			maps.Copy(b.DigestTags, own.DigestTags)
			if diff := regtest.Diff(a, b); len(diff) != 1 || !strings.HasPrefix(diff[0], "tag "+tag) {
				t.Error(diff)
			}

			target.ResetRequests()
			copied, _, err = newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
			if err != nil || copied.Manifests+copied.Blobs+copied.Mounted != 0 || len(writes(target)) > 0 {
				t.Errorf("again: copied %+v, error %v, writes %v", copied, err, writes(target))
			}
		})
	}
}

// checkConfig: cosign reads layers by the configuration's diff_ids.
func checkConfig(t *testing.T, at *regtest.Registry, a artifact) {
	t.Helper()
	text, err := regtest.GetBlob(t.Context(), at.Access("", ""), targetRepo, a.Config.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		RootFS struct {
			Type    string
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	if config.RootFS.Type != "layers" || !slices.Equal(config.RootFS.DiffIDs, a.digests()) || a.Config.MediaType != "application/vnd.oci.image.config.v1+json" {
		t.Errorf("configuration %+v of type %s for layers %v", config, a.Config.MediaType, a.digests())
	}
}

// TestMergeOfTwoKeysAndOnePayload: what tells the layers apart is an annotation.
func TestMergeOfTwoKeysAndOnePayload(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	image, tag := signed(".sig", "one")
	push(t, image, source, sourceRepo, "dev")
	push(t, image, target, targetRepo, "old")
	var raw []byte
	for _, m := range image.Manifests {
		if m.Tag == tag {
			raw = []byte(strings.Replace(string(m.Bytes), `"dev.cosignproject.cosign/signature":"`, `"dev.cosignproject.cosign/signature":"other`, 1))
		}
	}
	if err := regtest.PutManifest(t.Context(), target.Access("", ""), targetRepo, tag, "application/vnd.oci.image.manifest.v1+json", raw); err != nil {
		t.Fatal(err)
	}
	if _, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev"); err != nil {
		t.Fatal(err)
	}
	merged := readArtifact(t, target, tag)
	if len(merged.Layers) != 2 || merged.Layers[0].Digest != merged.Layers[1].Digest ||
		merged.Layers[0].Annotations["dev.cosignproject.cosign/signature"] == merged.Layers[1].Annotations["dev.cosignproject.cosign/signature"] {
		t.Errorf("layers %+v", merged.Layers)
	}
}

// TestMergeRefused: what cannot be one is not overwritten, and nothing is written.
func TestMergeRefused(t *testing.T) {
	long(t)
	index := func(t *testing.T, target *regtest.Registry, tag string) {
		other := regtest.Build(regtest.Spec{Seed: "other", Platforms: []string{"linux/amd64"}})
		push(t, other, target, targetRepo, tag)
	}
	full := func(t *testing.T, target *regtest.Registry, tag string) {
		theirs, _ := signed(".sig", "bob")
		push(t, theirs, target, targetRepo)
		config, _ := json.Marshal(readArtifact(t, target, tag).Config)
		body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + string(config) + `,"layers":[],"annotations":{"a":"` + strings.Repeat("x", registry.MaxManifest-400) + `"}}`
		if err := regtest.PutManifest(t.Context(), target.Access("", ""), targetRepo, tag, "application/vnd.oci.image.manifest.v1+json", []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		suffix string
		occupy func(t *testing.T, target *regtest.Registry, tag string)
		says   string
	}{
		"another SBOM": {".sbom", func(t *testing.T, target *regtest.Registry, _ string) {
			theirs, _ := signed(".sbom", "bob")
			push(t, theirs, target, targetRepo)
		}, "another SBOM"},
		"an index":         {".sig", index, "not an artifact"},
		"one that is full": {".sig", full, "at most 4194304"},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			ours, tag := signed(test.suffix, "alice")
			push(t, ours, source, sourceRepo, "dev")
			test.occupy(t, target, tag)
			_, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
			var refused *registry.Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), tag) || !strings.Contains(refused.Hint, "attachments: none") {
				t.Errorf("error %v", err)
			}
			if err != nil && strings.Count(err.Error(), test.says) != 1 {
				t.Errorf("said more than once: %v", err)
			}
			if w := writes(target); len(w) > 0 {
				t.Error("writes:", w)
			}
		})
	}
}

// TestMergeIntoTagsThatCannotBeChanged says what to exclude.
func TestMergeIntoTagsThatCannotBeChanged(t *testing.T) {
	source := regtest.Serve(t, regtest.Options{})
	target := regtest.Serve(t, regtest.Options{Immutable: func(string, string) bool { return true }})
	ours, _ := signed(".sig", "alice")
	theirs, _ := signed(".sig", "bob")
	push(t, ours, source, sourceRepo, "dev")
	push(t, theirs, target, targetRepo)
	_, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "dev")
	if !errors.Is(err, registry.ErrTagImmutable) || !strings.Contains(registry.HintOf(err), "sha256-*") {
		t.Errorf("error %v, hint %q", err, registry.HintOf(err))
	}
}

// TestMergeOfManyLayers takes time in proportion to them.
func TestMergeOfManyLayers(t *testing.T) {
	t.Parallel()
	const many = 6000
	list := func(from int) []byte {
		var lines []string
		for n := range many {
			lines = append(lines, fmt.Sprintf(`{"mediaType":"a/b","size":1,"digest":"sha256:%064x"}`, from+n))
		}
		return []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[` + strings.Join(lines, ",") + `]}`)
	}
	defer time.AfterFunc(2*time.Minute, func() { panic("6000 layers are merged for longer than two minutes") }).Stop()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		source, h := regtest.Serve(t, regtest.Options{Memory: m}), &hurt{}
		target := regtest.Serve(t, regtest.Options{Memory: m, Wrap: h.wrap})
		ours, tag := signed(".sig", "alice")
		push(t, ours, source, sourceRepo, "dev")
		h.set(tag, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write(list(0))
		})
		r := newRunAt(t, transfer.Blobs, target)
		from, to := r.source(source), r.target(target)
		g := r.walk(from, "dev")
		for _, n := range g.Nodes {
			if len(n.Children) == 0 && n.Digest.String() != ours.Children()[0] {
				n.Raw = list(many)
			}
		}
		_, _ = r.Copy(t.Context(), g, from, to, nil)
	})
}

// TestMergeWithARival: somebody else writes the tag after the copy did, after the first repair, and after
// the second was seen to hold.
func TestMergeWithARival(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]bool{"the tag was new": true, "the tag was merged": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				var rival atomic.Pointer[func()]
				var puts atomic.Int32
				source := regtest.Serve(t, regtest.Options{Memory: m})
				target := regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
						next.ServeHTTP(w, q)
						again := rival.Load()
						if again == nil || q.UserAgent() == regtest.Agent || !strings.HasSuffix(q.URL.Path, ".sig") {
							return
						}
						switch {
						case q.Method == http.MethodPut && puts.Add(1) == 1:
							(*again)()
						case q.Method == http.MethodGet && puts.Load() == 2:
							rival.Store(nil)
							(*again)() // after the run saw that all is well
						}
					})
				}})
				ours, tag := signed(".sig", "alice")
				theirs, _ := signed(".sig", "bob")
				other, _ := signed(".sig", "carol")
				push(t, ours, source, sourceRepo, "dev")
				if !first {
					push(t, theirs, target, targetRepo)
				}
				r := newRunAt(t, transfer.Blobs, target)
				from, to := r.source(source), r.target(target)
				g := r.walk(from, "dev")
				if _, err := r.Copy(t.Context(), g, from, to, nil); err != nil {
					t.Fatal(err)
				}
				overwrite := func() { push(t, other, target, targetRepo) }
				overwrite()
				rival.Store(&overwrite)
				if _, err := r.Verify(t.Context(), g, from, to); err != nil {
					t.Fatal(err)
				}
				got := readArtifact(t, target, tag)
				for _, want := range append(layersOf(ours, tag), layersOf(other, tag)...) {
					if !slices.Contains(got.digests(), want) {
						t.Errorf("layers %v lack %s", got.digests(), want)
					}
				}
				checkConfig(t, target, got)
			})
		})
	}
}

// TestMergedByARival: what holds the source's layers and others is complete; nothing is written.
func TestMergedByARival(t *testing.T) {
	long(t)
	t.Parallel()
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	ours, _ := signed(".sig", "alice")
	push(t, ours, source, sourceRepo, "dev")
	r := newRun(t, transfer.Blobs, 0)
	from, to := r.source(source), r.target(target)
	g := r.walk(from, "dev")
	if _, err := r.Copy(t.Context(), g, from, to, nil); err != nil {
		t.Fatal(err)
	}
	theirs, _ := signed(".sig", "bob")
	push(t, theirs, source, sourceRepo, "other")
	if _, _, err := newRun(t, transfer.Blobs, 0).copyAndVerify(source, target, "other"); err != nil {
		t.Fatal(err)
	}
	target.ResetRequests()
	if _, err := r.Verify(t.Context(), g, from, to); err != nil || len(writes(target)) > 0 {
		t.Errorf("error %v, writes %v", err, writes(target))
	}
}
