package registry

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
)

func TestMountWithoutTheRightToIsTriedOnce(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{OneScope: true}, regtest.Options{})
	fill(t, reg, "a/app", "b/app")
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	if !b.CanMountFrom(a) || a.CanMountFrom(a) {
		t.Fatal("want a mount between two repositories of one registry and credential, and none within one")
	}
	blob := content(1000)
	u := upload(blob)
	u.MountFrom = a
	if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
		t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
	}
	if b.CanMountFrom(a) {
		t.Error("the mount was refused, and would be tried for every blob")
	}
	if there, err := b.HasBlob(t.Context(), u.Blob.Digest); err != nil || !there {
		t.Errorf("there %v, error %v", there, err)
	}
}

// A refused mount is remembered, even for uploads that were about to try one. It is not retried as
// a lost token, although the session was allowed to write before.
func TestRefusedMountIsRemembered(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{OneScope: true}, regtest.Options{})
	fill(t, reg, "a/app", "b/app")
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	if _, err := b.PutBlob(t.Context(), upload(content(1000))); err != nil {
		t.Fatal(err)
	}
	reg.ResetRequests()
	for n := range 20 {
		u := upload(content(2000 + n))
		u.MountFrom = a
		if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
			t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
		}
	}
	mounts := 0
	for _, r := range matching(reg, "^POST ") {
		if strings.Contains(r.Query, "mount=") {
			mounts++
		}
	}
	if tokens := len(matching(reg, "/token$")); mounts == 0 || mounts > 3 || tokens > 4 {
		t.Errorf("%d mounts were tried, with %d tokens: want one, with each kind of token", mounts, tokens)
	}
}

// If a mount gets no token, the upload goes on without it.
func TestMountThatGetsNoToken(t *testing.T) {
	t.Parallel()
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(always, "^GET /token$", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if len(r.URL.Query()["scope"]) > 1 {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})})
	c := client(t, logins("ci", secret))
	a := repository(t, c, credential.Source, reg.Host()+"/a/app", Pull)
	b := repository(t, c, credential.Target, reg.Host()+"/b/app", Push)
	u := upload(content(1000))
	u.MountFrom = a
	if mounted, err := b.PutBlob(t.Context(), u); err != nil || mounted {
		t.Fatalf("mounted %v, error %v: want an upload", mounted, err)
	}
	if b.CanMountFrom(a) {
		t.Error("the mount was refused, and would be tried for every blob")
	}
}

func TestMount(t *testing.T) {
	t.Parallel()
	const post = "^POST /v2/prod/app/blobs/uploads/"
	mount := func(r *http.Request) bool { return request(post)(r) && r.URL.Query().Get("mount") != "" }
	answer := func(code int) func(http.Handler) http.Handler {
		return regtest.Answer(mount, code, "application/json", []byte(`{"errors":[{"code":"UNSUPPORTED"}]}`))
	}
	for _, test := range []struct {
		name         string
		wrap         func(http.Handler) http.Handler
		posts, puts  int
		mounted, yet bool // yet: another mount may be tried
	}{
		{"taken", nil, 1, 0, true, true},
		{"refused with a session", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if mount(r) {
					r.URL.RawQuery = ""
				}
				next.ServeHTTP(w, r)
			})
		}, 1, 1, false, true},
		{"refused for this blob", answer(404), 2, 1, false, true},
		{"refused", answer(403), 2, 1, false, false},
		{"not supported", answer(405), 2, 1, false, false},
		{"not understood", answer(400), 2, 1, false, false},
		{"503", regtest.FailOnce(mount, 503), 2, 0, true, true},
		{"lost answer", regtest.ResetAfter(mount), 2, 0, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			blob := content(1 << 17)
			push(t, reg, "dev/app", blob)
			c := client(t, nil)
			source := repository(t, c, credential.Source, reg.Host()+"/dev/app", Pull)
			r := repository(t, c, credential.Target, reg.Host()+"/prod/app", Push)
			u, moved, opened := counted(blob)
			u.MountFrom = source
			mounted, err := r.PutBlob(t.Context(), u)
			if err != nil || mounted != test.mounted {
				t.Fatalf("mounted %v, error %v", mounted, err)
			}
			if got := stored(t, reg, "prod/app", u.Blob); !bytes.Equal(got, blob) {
				t.Errorf("%d bytes stored", len(got))
			}
			if (moved.Load() == 0) != test.mounted || (opened.Load() == 0) != test.mounted {
				t.Errorf("mounted %v: %d bytes moved, opened %d times", test.mounted, moved.Load(), opened.Load())
			}
			if r.CanMountFrom(source) != test.yet {
				t.Errorf("another mount may be tried: %v", !test.yet)
			}
			wantRequests(t, reg, post, test.posts)
			wantRequests(t, reg, "^PUT /v2/prod/app/blobs/uploads/", test.puts)
		})
	}
}
