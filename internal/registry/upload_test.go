package registry

import (
	"bytes"
	"context"
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
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	postBlob  = "^POST /v2/acme/app/blobs/uploads/"
	putBlob   = "^PUT /v2/acme/app/blobs/uploads/"
	patchBlob = "^PATCH /v2/acme/app/blobs/uploads/"
	headBlob  = "^HEAD /v2/acme/app/blobs/"
)

// counted is an upload that counts what it says has moved, and how often it is
// opened.
func counted(b []byte) (u Upload, moved *atomic.Int64, opened *atomic.Int32) {
	u, moved, opened = upload(b), &atomic.Int64{}, &atomic.Int32{}
	read := u.Open
	u.Moved = func(n int64) { moved.Add(n) }
	u.Open = func(ctx context.Context) io.ReadCloser {
		opened.Add(1)
		return read(ctx)
	}
	return u, moved, opened
}

func TestUploadIsTwoRequests(t *testing.T) {
	t.Parallel()
	absolute := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := &recorded{header: w.Header()}
			next.ServeHTTP(c, r)
			if to := w.Header().Get("Location"); strings.HasPrefix(to, "/") {
				w.Header().Set("Location", "http://"+r.Host+to)
			}
			w.WriteHeader(c.status)
			_, _ = w.Write(c.body.Bytes())
		})
	}
	for _, test := range []struct {
		name string
		size int
		wrap func(http.Handler) http.Handler
	}{
		{"relative Location", 1 << 20, nil},
		{"absolute Location", 1 << 20, absolute},
		{"nothing", 0, nil},
		{"a byte more than is held in memory", smallBlob + 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			blob := content(test.size)
			u, moved, _ := counted(blob)
			mounted, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
			if err != nil || mounted {
				t.Fatalf("mounted %v, error %v", mounted, err)
			}
			if got := stored(t, reg, "acme/app", u.Blob); got == nil || !bytes.Equal(got, blob) {
				t.Errorf("%d bytes stored", len(got))
			}
			if moved.Load() != int64(test.size) {
				t.Errorf("%d bytes said to have moved", moved.Load())
			}
			wantRequests(t, reg, postBlob, 1)
			wantRequests(t, reg, putBlob, 1)
			wantRequests(t, reg, "^(HEAD|PATCH) ", 0)
		})
	}
}

// gone answers as registries do whose upload session is no more.
func gone(code int, name string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q}]}`, name)
	}
}

// halfway reads half of the body and resets the connection.
func halfway(w http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
	hangup(w, r, nil)
}

// corrupt flips a bit of the request's body on its way.
func corrupt(w http.ResponseWriter, r *http.Request, next http.Handler) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(flip(b)))
	next.ServeHTTP(w, r)
}

// ends matches the PUT that ends a chunked session.
func ends(r *http.Request) bool { return request(putBlob)(r) && r.ContentLength == 0 }

func TestUploadAfterAFault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name             string
		wrap             func(http.Handler) http.Handler
		posts, puts, off int // off: bodies that are sent by PATCH
	}{
		{"503 to POST", regtest.FailOnce(request(postBlob), 503), 2, 1, 0},
		{"reset before POST", regtest.ResetBefore(request(postBlob)), 2, 1, 0},
		{"lost answer to POST", regtest.ResetAfter(request(postBlob)), 2, 1, 0},
		{"429 to PUT", regtest.FailOnce(request(putBlob), 429), 2, 2, 0},
		{"500 to PUT", regtest.FailOnce(request(putBlob), 500), 2, 2, 0},
		{"reset before PUT", regtest.ResetBefore(request(putBlob)), 2, 2, 0},
		{"closed before PUT is answered", strikes(1, putBlob, hangup), 2, 2, 0},
		{"cut half way", strikes(1, putBlob, halfway), 2, 2, 0},
		{"lost answer to PUT", regtest.ResetAfter(request(putBlob)), 1, 1, 0},
		{"cut answer to PUT", strikes(1, putBlob, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&recorded{header: http.Header{}}, r)
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(http.StatusCreated)
			_ = http.NewResponseController(w).Flush()
			hangup(w, r, nil)
		}), 1, 1, 0},
		{"session gone, 404", strikes(1, putBlob, gone(404, "BLOB_UPLOAD_UNKNOWN")), 2, 2, 0},
		{"session gone, 404 without a code", strikes(1, putBlob, gone(404, "")), 2, 2, 0},
		{"session gone, 400 unknown", strikes(1, putBlob, gone(400, "BLOB_UPLOAD_UNKNOWN")), 2, 2, 0},
		{"session gone, 400 invalid", strikes(1, putBlob, gone(400, "BLOB_UPLOAD_INVALID")), 2, 2, 1},
		{"corrupt on its way", strikes(1, putBlob, corrupt), 2, 2, 1},
		{"accepted but not stored", strikes(1, putBlob, gone(202, "")), 2, 2, 0},
		{"accepted and stored", strikes(1, putBlob, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			next.ServeHTTP(&recorded{header: http.Header{}}, r)
			w.WriteHeader(http.StatusAccepted)
		}), 1, 1, 0},
		{"too large", strikes(1, putBlob, gone(413, "")), 2, 2, 2},
		{"one PUT not taken", strikes(1, putBlob, gone(400, "")), 2, 2, 1},
		{"one PUT not supported", strikes(1, putBlob, gone(405, "UNSUPPORTED")), 2, 2, 1},
		{"PATCH fails", regtest.Chain(strikes(1, putBlob, gone(413, "")), regtest.FailOnce(request(patchBlob), 503)), 3, 2, 3},
		{"PATCH cut half way", regtest.Chain(strikes(1, putBlob, gone(413, "")), strikes(1, patchBlob, halfway)), 3, 2, 3},
		{"the PUT after PATCH fails", regtest.Chain(strikes(1, putBlob, gone(413, "")), regtest.FailOnce(ends, 503)), 3, 3, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			blob := content(1 << 20)
			u, moved, _ := counted(blob)
			mounted, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
			if err != nil || mounted {
				t.Fatalf("mounted %v, error %v", mounted, err)
			}
			if got := stored(t, reg, "acme/app", u.Blob); !bytes.Equal(got, blob) {
				t.Errorf("%d bytes stored", len(got))
			}
			if moved.Load() != int64(len(blob)) {
				t.Errorf("%d bytes said to have moved, want %d", moved.Load(), len(blob))
			}
			wantRequests(t, reg, postBlob, test.posts)
			wantRequests(t, reg, putBlob, test.puts)
			wantRequests(t, reg, patchBlob, test.off)
		})
	}
}

// The answer to the PUT that ends a chunked session is lost: the blob is there.
func TestLostAnswerAfterPatch(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(strikes(1, putBlob, gone(413, "")), regtest.ResetAfter(ends))})
	u, moved, _ := counted(content(1 << 17))
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if moved.Load() != u.Blob.Size {
		t.Errorf("%d bytes said to have moved", moved.Load())
	}
	wantRequests(t, reg, patchBlob, 2)
	wantRequests(t, reg, headBlob, 1)
}

func TestUploadThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, pattern string
		status        int
		code          string
		requests      int
	}{
		{"POST denied", postBlob, 403, "DENIED", 1},
		{"POST without a repository", postBlob, 404, "NAME_UNKNOWN", 1},
		{"POST unusual", postBlob, 200, "", 1},
		{"PUT denied", putBlob, 403, "DENIED", retry.MaxRefused},
		{"PUT refused for its content", putBlob, 400, "NAME_INVALID", 1},
		{"PUT redirected", putBlob, 307, "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, test.pattern, gone(test.status, test.code))})
			u, moved, _ := counted(content(100_000))
			_, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
			var e *Error
			if !errors.As(err, &e) || e.Status != test.status || e.Code != test.code {
				t.Fatalf("error %v", err)
			}
			contains(t, err.Error(), "write blob at the target", u.Blob.Digest.String())
			if moved.Load() != 0 {
				t.Errorf("%d bytes said to have moved", moved.Load())
			}
			wantRequests(t, reg, test.pattern, test.requests)
		})
	}
}

// uploads is a registry that has nothing, starts every upload, and hands the
// bodies to a function.
func uploads(body http.HandlerFunc) http.HandlerFunc {
	return open200(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1?state=x")
			w.WriteHeader(http.StatusAccepted)
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		default:
			body(w, r)
		}
	})
}

func TestUploadThatNeverWorks(t *testing.T) {
	t.Parallel()
	for name, chunked := range map[string]bool{"one PUT": false, "PATCH and PUT": true} {
		t.Run(name, func(t *testing.T) {
			var puts, patches atomic.Int32
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				switch {
				case r.Method == http.MethodPatch:
					patches.Add(1)
					w.Header().Set("Location", r.URL.String())
					w.WriteHeader(http.StatusAccepted)
				case chunked && r.ContentLength > 0:
					w.WriteHeader(http.StatusRequestEntityTooLarge)
				default:
					puts.Add(1)
					status(http.StatusServiceUnavailable)(w, r, nil)
				}
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				u, moved, _ := counted(content(100_000))
				_, err := r.PutBlob(t.Context(), u)
				var e *Error
				if !errors.As(err, &e) || e.Status != http.StatusServiceUnavailable || e.Code != "TOOMANYREQUESTS" {
					t.Errorf("error %v", err)
				}
				took(t, began, wire.DefaultRetryFor, wire.DefaultRetryFor+5*time.Second)
				if moved.Load() != 0 {
					t.Errorf("%d bytes said to have moved", moved.Load())
				}
			})
			if n := puts.Load(); n < retry.MinAttempts || n > 40 {
				t.Errorf("%d attempts to end an upload", n)
			}
			if chunked && patches.Load() != 2*puts.Load() {
				t.Errorf("%d chunks, want two for each of %d uploads", patches.Load(), puts.Load())
			}
		})
	}
}

// URLs that storage is reached by are tickets: they are in no error.
func TestURLOfStorageIsNotInTheError(t *testing.T) {
	t.Parallel()
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/ticket":
			hangup(w, r, nil)
		case r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", "http://127.0.0.1:9000/ticket?signature="+secret)
			w.WriteHeader(http.StatusAccepted)
		default:
			http.Redirect(w, r, "http://127.0.0.1:9000/ticket?signature="+secret, http.StatusTemporaryRedirect)
		}
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		_, up := r.PutBlob(t.Context(), upload(content(1000)))
		_, down := readBlob(t, r, descriptor(content(1000)))
		_, small := r.GetManifest(t.Context(), "dev")
		for _, err := range []error{up, down, small} {
			if err == nil {
				t.Fatal("no error")
			}
			lacks(t, err.Error(), secret)
		}
	})
}

// A wait for a token between the start of an upload and its body is no stall.
func TestUploadThatWaitsForAToken(t *testing.T) {
	t.Parallel()
	var tokens, puts atomic.Int32
	answer := bearer(15, &tokens)
	h := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && tokens.CompareAndSwap(1, 2):
			status(http.StatusTooManyRequests, "Retry-After", "45")(w, r, nil)
		case r.Method == http.MethodPost && r.Header.Get("Authorization") != "":
			time.Sleep(12 * time.Second)
			w.Header().Set("Location", r.URL.Path+"1")
			w.WriteHeader(http.StatusAccepted)
		case r.Method == http.MethodPut:
			puts.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusCreated)
		default:
			answer(w, r)
		}
	}
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, err := r.PutBlob(t.Context(), upload(content(1000))); err != nil {
			t.Error(err)
		}
		took(t, began, 57*time.Second, 57*time.Second)
	})
	if puts.Load() != 1 {
		t.Errorf("%d bodies", puts.Load())
	}
}

func TestUploadWaitsAsAsked(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := uploads(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if asked.Add(1) == 1 {
			status(http.StatusTooManyRequests, "Retry-After", "20")(w, r, nil)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		if _, err := r.PutBlob(t.Context(), upload(content(1000))); err != nil {
			t.Error(err)
		}
		took(t, began, 20*time.Second, 20*time.Second)
	})
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

// An upload's Location may be on another host, which gets the bytes and nothing
// else.
func TestLocationOnAnotherHost(t *testing.T) {
	t.Parallel()
	var got bytes.Buffer
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if value := r.Header.Get("Authorization"); value != "" {
			t.Errorf("the storage got the authorization %q", value)
		}
		_, _ = got.ReadFrom(r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	elsewhere := strikes(1, postBlob, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == "" {
			t.Error("the registry was asked without authorization")
		}
		w.Header().Set("Location", "http://"+storage.Host()+"/put?signature=a%2Bb")
		w.WriteHeader(http.StatusAccepted)
	})
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: elsewhere})
	r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
	blob := content(1 << 16)
	if _, err := r.PutBlob(t.Context(), upload(blob)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), blob) {
		t.Errorf("the storage got %d bytes", got.Len())
	}
	put := matching(storage, "^PUT /put$")
	if len(put) != 1 || !strings.Contains(put[0].Query, "signature=a%2Bb") || !strings.Contains(put[0].Query, "digest=sha256%3A") {
		t.Errorf("requests %+v, want the query with the digest added", put)
	}
}

func TestLocationThatIsNotUsed(t *testing.T) {
	t.Parallel()
	for _, location := range []string{"", "http://registry.example:5000/up", "http://storage.example/up", "https://10.0.0.1/up",
		"https://169.254.169.254/up", "https://127.0.0.1/up", "ftp://storage.example/up", ":"} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: open200(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{location}
				w.WriteHeader(http.StatusAccepted)
			})})
			w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
			r := repository(t, w.client(t, logins("ci", secret), pool(t, reg)), credential.Target, "registry.example/acme/app", Push)
			u, _, opened := counted(content(100_000))
			_, err := r.PutBlob(t.Context(), u)
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), "registry.example/acme/app")
			if len(w.refuse) != 0 || opened.Load() != 0 {
				t.Errorf("dialled %s, opened %d times", w.refuse, opened.Load())
			}
			wantRequests(t, reg, ".", 1+retry.MaxInvalid)
		})
	}
}

// The new Location after a PATCH is a stranger's too.
func TestLocationAfterPatchThatIsNotUsed(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: uploads(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		w.Header().Set("Location", "http://registry.example:5000/up")
		w.WriteHeader(http.StatusAccepted)
	})})
	w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
	r := repository(t, w.client(t, nil, pool(t, reg)), credential.Target, "registry.example/acme/app", Push)
	for _, size := range []int{10, 200_000} {
		u, moved, _ := counted(content(size))
		_, err := r.PutBlob(t.Context(), u)
		if err == nil || len(w.refuse) != 0 || moved.Load() != 0 {
			t.Fatalf("error %v, dialled %s, %d bytes said to have moved", err, w.refuse, moved.Load())
		}
		contains(t, err.Error(), "only https is followed")
	}
}

// source is an upload whose bytes come from a repository.
func source(r *Repository, blob []byte) (Upload, *atomic.Int64) {
	u, moved, _ := counted(blob)
	d := u.Blob
	u.Open = func(ctx context.Context) io.ReadCloser { return r.OpenBlob(ctx, d) }
	return u, moved
}

func TestFlippedByteAtTheSource(t *testing.T) {
	t.Parallel()
	blob := content(1 << 18)
	for _, test := range []struct {
		name  string
		times int
		heals bool
	}{
		{"once", 1, true},
		{"twice", 2, true},
		{"always", always, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			from := regtest.Serve(t, regtest.Options{Wrap: strikes(test.times, getBlob, changed(flip))})
			d := push(t, from, "acme/app", blob)
			to := regtest.Serve(t, regtest.Options{})
			u, moved := source(target(t, from, "acme/app"), blob)
			_, err := target(t, to, "acme/app").PutBlob(t.Context(), u)
			if test.heals && (err != nil || moved.Load() != d.Size) {
				t.Errorf("error %v, %d bytes said to have moved", err, moved.Load())
			}
			if !test.heals {
				if !errors.Is(err, ErrMismatch) || moved.Load() != 0 {
					t.Errorf("error %v, %d bytes said to have moved, want ErrMismatch", err, moved.Load())
				}
				wantRequests(t, from, getBlob, retry.MaxDamaged)
			}
			if got := stored(t, to, "acme/app", d); test.heals != bytes.Equal(got, blob) {
				t.Errorf("%d bytes stored", len(got))
			}
			for _, put := range matching(to, putBlob) {
				if put.Received == d.Size && put.Status != http.StatusCreated {
					t.Error("all of a wrong blob was sent")
				}
			}
		})
	}
}

func TestSourceThatFails(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	from := regtest.Serve(t, regtest.Options{})
	blob := content(100_000)
	u, moved := source(target(t, from, "acme/app"), blob)
	_, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
	if !errors.Is(err, ErrNotFound) || moved.Load() != 0 {
		t.Fatalf("error %v, %d bytes said to have moved", err, moved.Load())
	}
	contains(t, err.Error(), "read blob", from.Host())
	wantRequests(t, reg, postBlob, 1)

	more := upload(blob)
	more.Open = func(context.Context) io.ReadCloser {
		return io.NopCloser(bytes.NewReader(append(blob[:100_000:100_000], 1)))
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), more); !errors.Is(err, ErrMismatch) {
		t.Errorf("more bytes than it says: error %v, want ErrMismatch", err)
	}
	if got := stored(t, reg, "acme/app", more.Blob); got != nil {
		t.Error("a blob of another length was stored")
	}
}

// blocking gives some bytes, then waits for its context or for word to go on.
type blocking struct {
	ctx   context.Context
	first []byte
	rest  []byte
	go_   chan struct{}
	mu    sync.Mutex
	shut  bool
}

func (b *blocking) Read(p []byte) (int, error) {
	if len(b.first) > 0 {
		n := copy(p, b.first)
		b.first = b.first[n:]
		return n, nil
	}
	select {
	case <-b.go_:
	case <-b.ctx.Done():
		return 0, context.Cause(b.ctx)
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *blocking) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	return nil
}

// The target says no while the source is waited for: the source is stopped, and
// its being stopped is not taken for its own failure.
func TestTargetFailsWhileTheSourceIsWaitedFor(t *testing.T) {
	t.Parallel()
	blob := content(200_000)
	reg := regtest.Serve(t, regtest.Options{Wrap: strikes(1, putBlob, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, 100_000)
		w.Header().Set("Connection", "close") // or net/http waits for the rest of the body
		w.WriteHeader(http.StatusServiceUnavailable)
	})})
	var opened []*blocking
	u, moved, _ := counted(blob)
	u.Open = func(ctx context.Context) io.ReadCloser {
		b := &blocking{ctx: ctx, first: blob[:100_000], rest: blob[100_000:], go_: make(chan struct{})}
		if len(opened) > 0 {
			close(b.go_)
		}
		opened = append(opened, b)
		return b
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	if len(opened) != 2 || !opened[0].shut || !opened[1].shut || moved.Load() != u.Blob.Size {
		t.Errorf("opened %d times, %d bytes said to have moved", len(opened), moved.Load())
	}
}

// A registry may say that it has the blob before it has read all of it.
func TestAnswerBeforeTheEndOfTheBody(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	h := uploads(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<19)
		w.Header().Set("Connection", "close") // or net/http waits for the rest of the body
		w.WriteHeader(http.StatusCreated)
	})
	reg := regtest.Serve(t, regtest.Options{Backend: h})
	u := upload(blob)
	u.Open = func(ctx context.Context) io.ReadCloser {
		var mu sync.Mutex
		reading, closed := false, false
		b := &blocking{ctx: ctx, first: blob[:1<<19], go_: make(chan struct{})}
		return watcher{b, func() {
			mu.Lock()
			defer mu.Unlock()
			reading = !reading
			if closed {
				t.Error("read after it was closed")
			}
		}, func() {
			mu.Lock()
			defer mu.Unlock()
			if closed = true; reading {
				t.Error("closed while it was read")
			}
		}}
	}
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Error(err)
	}
	wantRequests(t, reg, putBlob, 1)
}

type watcher struct {
	io.ReadCloser
	read, close func()
}

func (w watcher) Read(p []byte) (int, error) {
	w.read()
	defer w.read()
	return w.ReadCloser.Read(p)
}

func (w watcher) Close() error {
	w.close()
	return w.ReadCloser.Close()
}

func TestStalledUpload(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	for name, read := range map[string]int64{"at once": 0, "half way": 1 << 19} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					_, _ = io.CopyN(io.Discard, r.Body, read)
					<-r.Context().Done()
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				u, moved, _ := counted(blob)
				if _, err := r.PutBlob(t.Context(), u); err != nil || moved.Load() != u.Blob.Size {
					t.Errorf("error %v, %d bytes said to have moved", err, moved.Load())
				}
				took(t, began, wire.StallTimeout, wire.StallTimeout+time.Second)
			})
		})
	}
}

// Once it has all of a large blob, a registry takes its time to check and store
// it, after one PUT as after PATCH and PUT.
func TestRegistryThatTakesItsTimeToStore(t *testing.T) {
	t.Parallel()
	const size = 16 << 20 // bytes that are expected to be stored in a second
	blob := make([]byte, size)
	if wire.CommitTime(size) != wire.StallTimeout+time.Second {
		t.Fatalf("commit time %v", wire.CommitTime(size))
	}
	for _, test := range []struct {
		name    string
		chunked bool
		after   time.Duration
		want    int32 // requests with which an upload ends
	}{
		{"one PUT", false, wire.StallTimeout + time.Second/2, 1},
		{"one PUT, too long", false, wire.StallTimeout + 2*time.Second, 2},
		{"PATCH and PUT", true, wire.StallTimeout + time.Second/2, 1},
		{"PATCH and PUT, too long", true, wire.StallTimeout + 2*time.Second, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ends atomic.Int32
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				if test.chunked && r.Method == http.MethodPut && r.ContentLength > 0 {
					w.WriteHeader(http.StatusRequestEntityTooLarge)
					return
				}
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Method == http.MethodPatch {
					w.Header().Set("Location", r.URL.String())
					w.WriteHeader(http.StatusAccepted)
					return
				}
				if ends.Add(1) == 1 {
					select {
					case <-time.After(test.after):
					case <-r.Context().Done():
					}
				}
				w.WriteHeader(http.StatusCreated)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				u := upload(nil)
				u.Blob = descriptor(blob)
				u.Open = func(context.Context) io.ReadCloser { return io.NopCloser(bytes.NewReader(blob)) }
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Error(err)
				}
			})
			if ends.Load() != test.want {
				t.Errorf("%d uploads ended, want %d", ends.Load(), test.want)
			}
		})
	}
}

// A source that takes its time does not make the target look stalled.
func TestSlowSource(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	var asked atomic.Int32
	h := uploads(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		u := upload(blob)
		u.Open = func(ctx context.Context) io.ReadCloser {
			b := &blocking{ctx: ctx, first: blob[:500], rest: blob[500:], go_: make(chan struct{})}
			time.AfterFunc(3*wire.StallTimeout, func() { close(b.go_) })
			return b
		}
		if _, err := r.PutBlob(t.Context(), u); err != nil || asked.Load() != 1 {
			t.Errorf("error %v, %d uploads", err, asked.Load())
		}
	})
}

func TestUploadThatIsEnded(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	h := uploads(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	bubble(t, h, func(t *testing.T, r *Repository) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(errTimeUp) })
		began := time.Now()
		var b *blocking
		u, moved, _ := counted(blob)
		u.Open = func(ctx context.Context) io.ReadCloser {
			b = &blocking{ctx: ctx, first: blob[:500], go_: make(chan struct{})}
			return b
		}
		_, err := r.PutBlob(ctx, u)
		took(t, began, 3*time.Second, 3*time.Second)
		if !errors.Is(err, errTimeUp) || errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's cause", err)
		}
		if !b.shut || moved.Load() != 0 {
			t.Errorf("closed %v, %d bytes said to have moved", b.shut, moved.Load())
		}
	})
}

// What a request within an upload was tried for in vain, the upload does not try
// again from its start: an answer that drips would last eight times as long.
func TestAttemptsOfAnUploadDoNotMultiply(t *testing.T) {
	t.Parallel()
	var starts atomic.Int32
	bubble(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			starts.Add(1)
			<-r.Context().Done()
			return
		}
		open200(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })(w, r)
	}, func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.PutBlob(t.Context(), upload(content(100_000)))
		if !errors.Is(err, wire.ErrStalled) {
			t.Errorf("error %v, want a stall", err)
		}
		contains(t, err.Error(), "write blob at the source "+r.Name())
		if n := starts.Load(); n != retry.MinAttempts {
			t.Errorf("%d starts, want %d", n, retry.MinAttempts)
		}
		took(t, began, retry.MinAttempts*wire.StallTimeout, 2*retry.MinAttempts*wire.StallTimeout)
	})
}
