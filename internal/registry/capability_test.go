package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// A small blob goes with the POST that starts its upload where that works. It is
// tried once for each host; a registry that answers with a session gets the blob
// there.
func TestSinglePost(t *testing.T) {
	t.Parallel()
	single := func(r *http.Request) bool { return request(postBlob)(r) && r.URL.Query().Get("digest") != "" }
	every := func(fault func(http.ResponseWriter, *http.Request, http.Handler)) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if single(r) {
					fault(w, r, next)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	for _, test := range []struct {
		name        string
		wrap        func(http.Handler) http.Handler
		posts, puts [2]int // for the first blob, and for the three after it
	}{
		{"taken", nil, [2]int{1, 3}, [2]int{0, 0}},
		{"not taken, with a session", every(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			_, _ = io.Copy(io.Discard, r.Body)
			r.URL.RawQuery, r.Body, r.ContentLength = "", http.NoBody, 0
			next.ServeHTTP(w, r)
		}), [2]int{1, 3}, [2]int{1, 3}},
		{"refused", every(status(http.StatusMethodNotAllowed)), [2]int{2, 3}, [2]int{1, 3}},
		{"refused as not found", every(status(http.StatusNotFound)), [2]int{2, 3}, [2]int{1, 3}},
		{"503", regtest.FailOnce(single, 503), [2]int{2, 3}, [2]int{0, 0}},
		{"lost answer", regtest.ResetAfter(single), [2]int{2, 3}, [2]int{0, 0}},
		{"corrupt on its way", strikes(1, postBlob, corrupt), [2]int{2, 3}, [2]int{1, 3}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			r := target(t, reg, "acme/app")
			for i, sizes := range [][]int{{smallBlob}, {1, 1000, smallBlob - 1}} {
				reg.ResetRequests()
				for _, size := range sizes {
					blob := content(size)
					u, moved, opened := counted(blob)
					if mounted, err := r.PutBlob(t.Context(), u); err != nil || mounted {
						t.Fatalf("mounted %v, error %v", mounted, err)
					}
					if moved.Load() != u.Blob.Size || opened.Load() != 1 {
						t.Errorf("%d bytes said to have moved of %d, opened %d times", moved.Load(), size, opened.Load())
					}
					if got := stored(t, reg, "acme/app", u.Blob); !bytes.Equal(got, blob) {
						t.Errorf("%d bytes stored of %d", len(got), size)
					}
				}
				wantRequests(t, reg, postBlob, test.posts[i])
				wantRequests(t, reg, putBlob, test.puts[i])
			}
		})
	}
}

// Larger blobs never go that way: their bodies could not be sent again.
func TestSinglePostIsForSmallBlobs(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	r := target(t, reg, "acme/app")
	for _, size := range []int{10, smallBlob + 1, 0} {
		if _, err := r.PutBlob(t.Context(), upload(content(size))); err != nil {
			t.Fatal(err)
		}
	}
	wantRequests(t, reg, postBlob, 3)
	wantRequests(t, reg, putBlob, 2)
}

// What was refused in one PUT is remembered for the host, where a second refusal
// or the registry's word confirm it, and forgotten when a PUT as large is taken.
func TestLargeBodiesByPatch(t *testing.T) {
	t.Parallel()
	const limit = 200_000
	refuse := func(code int) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPut && r.ContentLength > limit {
					_, _ = io.Copy(io.Discard, r.Body)
					w.WriteHeader(code)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	for _, test := range []struct {
		code int
		want [4]int // PUTs with a body, for each of 4 blobs
	}{{http.StatusRequestEntityTooLarge, [4]int{1, 0, 1, 0}}, {http.StatusBadRequest, [4]int{1, 1, 1, 0}}} {
		t.Run(fmt.Sprint(test.code), func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: refuse(test.code)})
			r := target(t, reg, "acme/app")
			for i, size := range []int{limit + 1, limit + 2, limit - 1, limit + 3} {
				reg.ResetRequests()
				if i == 2 { // a smaller one tells nothing of larger ones
					r.session.supports.bodyRefused(limit+1, false)
				}
				u := upload(content(size))
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				puts := 0
				for _, q := range matching(reg, putBlob) {
					if q.Received > 0 {
						puts++
					}
				}
				if puts != test.want[i] {
					t.Errorf("%d bytes: %d PUTs with a body, want %d", size, puts, test.want[i])
				}
			}
		})
	}
	var h capabilities
	h.bodyRefused(1000, true)
	if !h.bodiesByPatch(1000) || h.bodiesByPatch(999) {
		t.Error("from the size refused on, blobs are sent by PATCH")
	}
	h.bodyTaken(500)
	if !h.bodiesByPatch(1000) {
		t.Error("a smaller blob that was taken tells nothing")
	}
	if h.bodyTaken(2000); h.bodiesByPatch(1000) {
		t.Error("a larger blob was taken, so that size was not the reason")
	}
	h.bodyRefused(1000, true)
	if h.noPatch(); h.bodiesByPatch(1000) {
		t.Error("a host that takes no PATCH is sent none")
	}
}

// A host that takes neither is asked in both ways a few times, and no more.
func TestHostThatTakesNoBody(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(strikes(always, putBlob, gone(405, "UNSUPPORTED")), strikes(always, patchBlob, gone(405, "UNSUPPORTED")))})
	_, err := target(t, reg, "acme/app").PutBlob(t.Context(), upload(content(100_000)))
	if err == nil || !strings.Contains(err.Error(), "405 Method Not Allowed: UNSUPPORTED") {
		t.Errorf("error %v", err)
	}
	wantRequests(t, reg, putBlob, retry.MaxRefused/2)
	wantRequests(t, reg, patchBlob, retry.MaxRefused/2)
}

// A mount from the repository itself answers whether the blob is there, and is
// used only at a host that has shown to mount.
func TestMountFromItself(t *testing.T) {
	t.Parallel()
	blob, other := content(1<<17), content(1<<17+1)
	reg := regtest.Serve(t, regtest.Options{})
	push(t, reg, "acme/app", blob)
	push(t, reg, "dev/app", other)
	c := client(t, nil)
	r := repository(t, c, credential.Target, reg.Host()+"/acme/app", Push)
	u := upload(blob)
	u.MountFrom = r
	if mounted, err := r.PutBlob(t.Context(), u); err != nil || mounted || r.SupportsSelfMount() {
		t.Errorf("mounted %v, error %v: nothing is known of the host yet", mounted, err)
	}
	elsewhere := upload(other)
	elsewhere.MountFrom = repository(t, c, credential.Source, reg.Host()+"/dev/app", Pull)
	if mounted, err := r.PutBlob(t.Context(), elsewhere); err != nil || !mounted || !r.SupportsSelfMount() {
		t.Fatalf("mounted %v, error %v", mounted, err)
	}
	reg.ResetRequests()
	if mounted, err := r.PutBlob(t.Context(), u); err != nil || !mounted {
		t.Errorf("mounted %v, error %v", mounted, err)
	}
	wantRequests(t, reg, ".", 1)
}
