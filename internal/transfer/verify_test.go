package transfer_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// hurt answers wrongly what a test names, for the program alone.
type hurt struct {
	mu      sync.Mutex
	answers map[string]func(http.ResponseWriter)
}

func (h *hurt) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		h.mu.Lock()
		answer := h.answers[q.URL.Path[strings.LastIndex(q.URL.Path, "/")+1:]]
		h.mu.Unlock()
		if answer == nil || q.UserAgent() == regtest.Agent || q.Method != http.MethodGet && q.Method != http.MethodHead {
			next.ServeHTTP(w, q)
			return
		}
		answer(w)
	})
}

func (h *hurt) set(reference string, answer func(http.ResponseWriter)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answers == nil {
		h.answers = map[string]func(http.ResponseWriter){}
	}
	h.answers[reference] = answer
}

func missing(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }

func bytesOf(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Docker-Content-Digest", registry.NewManifest("", []byte(text)).Digest.String())
		_, _ = w.Write([]byte(text))
	}
}

// verified is a small image with attachments, and what of it can go wrong.
type verified struct {
	*regtest.Image
	child, layer, attached, list string
}

func newVerified() verified {
	v := verified{Image: regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}, LayerSize: 100})}
	v.child, v.layer = v.Children()[0], v.Blobs[0].Digest
	v.attached = v.Attach(v.Root, "application/x", "x")
	v.list = strings.Replace(v.Root, ":", "-", 1)
	return v
}

var levels = []transfer.Level{transfer.Manifests, transfer.Blobs, transfer.Content}

// TestVerifyWhatIsSaidToBeThere: what each level sees of what is wrong at the target.
func TestVerifyWhatIsSaidToBeThere(t *testing.T) {
	t.Parallel()
	v := newVerified()
	tests := []struct {
		name, hurt string
		answer     func(http.ResponseWriter)
		seen       []transfer.Level // by which levels
		not        []transfer.Level
		says       string
	}{
		{name: "nothing is wrong", not: levels},
		{"a child is missing", v.child, missing, levels[:1], nil, v.child},
		{"an attachment is missing", v.attached, missing, levels[:1], nil, v.attached},
		{"an attachment is not listed", v.list, bytesOf(`{"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), levels[:1], nil, v.attached + " is stored but not listed"},
		{"a blob is missing", v.layer, missing, levels[1:], levels[:1], v.layer},
		{"a blob is corrupt", v.layer, bytesOf(strings.Repeat("x", 100)), levels[2:], levels[:2], v.layer},
		{"a blob is cut", v.layer, bytesOf(strings.Repeat("x", 99)), levels[2:], levels[:2], v.layer},
		{"a manifest is another", v.child, bytesOf(`{}`), levels[:1], nil, v.child},
	}
	for _, test := range tests {
		for _, level := range slices.Concat(test.seen, test.not) {
			t.Run(test.name+" at level "+string(level), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, m *regtest.Memory) {
					h := &hurt{}
					source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: h.wrap})
					push(t, v.Image, source, sourceRepo, "dev")
					push(t, v.Image, target, targetRepo)
					if test.hurt != "" {
						h.set(test.hurt, test.answer)
					}
					r := newRunAt(t, level, target)
					from, to := r.source(source), r.target(target)
					proof, err := r.Verify(t.Context(), r.walk(from, "dev"), from, to)
					check(t, proof, err, level, slices.Contains(test.seen, level), test.says)
					for _, w := range writes(target) { // it may be one that was acknowledged and lost
						if test.hurt == "" || w != "PUT /v2/"+targetRepo+"/manifests/"+test.hurt {
							t.Error("writes:", w)
						}
					}
				})
			})
		}
	}
}

func check(t *testing.T, proof transfer.Proof, err error, level transfer.Level, seen bool, says string) {
	t.Helper()
	switch {
	case seen && (err == nil || !strings.Contains(err.Error(), says)):
		t.Errorf("error %v, want one about %q", err, says)
	case seen && transfer.Move(t.Context(), proof, transfer.Observation{}) == nil, seen && proof.Level() != "":
		t.Error("a proof in spite of it")
	case !seen && err != nil:
		t.Error(err)
	case !seen && proof.Level() != level:
		t.Errorf("proof of level %q", proof.Level())
	}
}

// TestVerifyAfterACopy: what went wrong since is seen as well.
func TestVerifyAfterACopy(t *testing.T) {
	t.Parallel()
	v := newVerified()
	v.Sign(v.Root, ".sig", "x")
	for name, test := range map[string]struct {
		hurt   string
		answer func(http.ResponseWriter)
		level  transfer.Level
		says   string
	}{
		"the root is missing":        {v.Root, missing, transfer.Blobs, v.Root},
		"a child is missing":         {v.child, missing, transfer.Blobs, v.child},
		"a cosign tag is missing":    {v.list + ".sig", missing, transfer.Blobs, v.list + ".sig"},
		"a cosign tag holds another": {v.list + ".sig", bytesOf(`{"layers":[]}`), transfer.Blobs, "in place of"},
		"a blob is corrupt":          {v.layer, bytesOf(strings.Repeat("x", 100)), transfer.Content, v.layer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				h := &hurt{}
				source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: h.wrap})
				push(t, v.Image, source, sourceRepo, "dev")
				r := newRunAt(t, test.level, target)
				from, to := r.source(source), r.target(target)
				g := r.walk(from, "dev")
				if _, err := r.Copy(t.Context(), g, from, to, nil); err != nil {
					t.Fatal(err)
				}
				h.set(test.hurt, test.answer)
				proof, err := r.Verify(t.Context(), g, from, to)
				check(t, proof, err, test.level, true, test.says)
			})
		})
	}
}

// TestVerifyWaitsForReadsThatLag behind the copy.
func TestVerifyWaitsForReadsThatLag(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		v := newVerified()
		h := &hurt{}
		source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: h.wrap})
		push(t, v.Image, source, sourceRepo, "dev")
		push(t, v.Image, target, targetRepo)
		for _, ref := range []string{v.child, v.layer, v.list} {
			h.set(ref, missing)
		}
		time.AfterFunc(700*time.Millisecond, func() {
			for _, ref := range []string{v.child, v.layer, v.list} {
				h.set(ref, nil)
			}
		})
		r := newRunAt(t, transfer.Blobs, target)
		from, to := r.source(source), r.target(target)
		if _, err := r.Verify(t.Context(), r.walk(from, "dev"), from, to); err != nil {
			t.Error(err)
		}
	})
}

// TestVerifyEndsWithItsContext also while it waits for reads that lag.
func TestVerifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		v := newVerified()
		h := &hurt{}
		source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: h.wrap})
		push(t, v.Image, source, sourceRepo, "dev")
		h.set(v.child, missing)
		push(t, v.Image, target, targetRepo)
		r := newRunAt(t, transfer.Blobs, target)
		from, to := r.source(source), r.target(target)
		g := r.walk(from, "dev")
		why := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, why)
		defer cancel()
		began := time.Now()
		if _, err := r.Verify(ctx, g, from, to); !errors.Is(err, why) || time.Since(began) > 3*time.Second {
			t.Errorf("error %v after %v", err, time.Since(began))
		}
	})
}

// TestVerifyInOneRepository reads blobs only where all of them are asked for.
func TestVerifyInOneRepository(t *testing.T) {
	v := newVerified()
	for level, want := range map[transfer.Level]transfer.Level{
		transfer.Manifests: transfer.Manifests, transfer.Blobs: transfer.Manifests, transfer.Content: transfer.Content,
	} {
		at := regtest.Serve(t, regtest.Options{})
		push(t, v.Image, at, sourceRepo, "dev")
		r := newRun(t, level, 0)
		from, to := r.source(at), r.open(credential.Target, at, sourceRepo)
		g := r.walk(from, "dev")
		at.ResetRequests()
		copied, err := r.Copy(t.Context(), g, from, to, nil)
		if err != nil || copied != (document.Copied{}) {
			t.Errorf("copied %+v, error %v", copied, err)
		}
		proof, err := r.Verify(t.Context(), g, from, to)
		if err != nil || proof.Level() != want {
			t.Errorf("level %s: proof of %q, error %v", level, proof.Level(), err)
		}
		wanted := 0
		if level == transfer.Content {
			wanted = len(g.Blobs())
		}
		if n := len(ours(at)); n != wanted {
			t.Errorf("level %s: %d requests, want %d", level, n, wanted)
		}
	}
}

// TestVerifyReadsABlobOnce however many images have it.
func TestVerifyReadsABlobOnce(t *testing.T) {
	v := newVerified()
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, v.Image, source, sourceRepo, "dev")
	r := newRun(t, transfer.Content, 0)
	from, to := r.source(source), r.target(target)
	g := r.walk(from, "dev")
	for range 2 {
		if _, err := r.Copy(t.Context(), g, from, to, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Verify(t.Context(), g, from, to); err != nil {
			t.Fatal(err)
		}
	}
	reads := map[string]int{}
	for _, q := range ours(target) {
		if q.Method == http.MethodGet && strings.Contains(q.Path, "/blobs/sha256:") {
			reads[q.Path]++
		}
	}
	for path, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", path, n)
		}
	}
	if len(reads) != len(g.Blobs()) {
		t.Errorf("%d of %d blobs were read", len(reads), len(g.Blobs()))
	}
}

// TestReadBackAgain: a byte that was changed once on the way is not the
// registry's fault; one that always is, is.
func TestReadBackAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, m *regtest.Memory) {
		v := verified{Image: regtest.Build(regtest.Spec{LayerSize: 100_000})} // too large to be held in memory
		layer := v.Blobs[0].Digest
		for times, seen := range map[int32]bool{1: false, 1000: true} {
			var reads atomic.Int32
			source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if q.Method == http.MethodGet && q.UserAgent() != regtest.Agent && strings.HasSuffix(q.URL.Path, layer) && reads.Add(1) <= times {
						_, _ = w.Write(bytes.Repeat([]byte("x"), 100_000))
						return
					}
					next.ServeHTTP(w, q)
				})
			}})
			push(t, v.Image, source, sourceRepo, "dev")
			_, proof, err := newRunAt(t, transfer.Content, target).copyAndVerify(source, target, "dev")
			check(t, proof, err, transfer.Content, seen, layer)
			if n := reads.Load(); n < 2 || n > 4 {
				t.Errorf("it was read %d times", n)
			}
		}
	})
}
