package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
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

// counted is an upload that counts its bytes of Moved, and how often its source is opened.
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

// gone is the answer of a registry that lost an upload session.
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

// corrupt flips a bit of the request's body.
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
	long(t)
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

// The answer to the PUT that ends a session is lost, but the blob was stored.
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

// uploads is an empty registry that starts every upload, and passes the bodies to a function.
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

// If a registry states another digest than that of the upload, the client checks whether it has the
// blob.
func TestUploadWithAnotherStatedDigest(t *testing.T) {
	t.Parallel()
	other := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		c := &recorded{header: http.Header{}}
		next.ServeHTTP(c, r)
		w.Header().Set("Docker-Content-Digest", sha([]byte("other")))
		w.WriteHeader(c.status)
	}
	nothing := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Content-Digest", sha([]byte("other")))
		w.WriteHeader(http.StatusCreated)
	}
	for _, test := range []struct {
		name               string
		size               int
		wrap               func(http.Handler) http.Handler
		posts, puts, heads int
	}{
		{"stored", 100_000, strikes(1, putBlob, other), 1, 1, 1},
		{"not stored", 100_000, strikes(1, putBlob, nothing), 2, 2, 1},
		{"small, stored", 1000, strikes(1, postBlob, other), 1, 0, 1},
		{"small, not stored", 1000, strikes(1, postBlob, nothing), 2, 0, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Wrap: test.wrap})
			u, moved, _ := counted(content(test.size))
			if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			if got := stored(t, reg, "acme/app", u.Blob); len(got) != test.size || moved.Load() != u.Blob.Size {
				t.Errorf("%d bytes stored, %d said to have moved", len(got), moved.Load())
			}
			wantRequests(t, reg, postBlob, test.posts)
			wantRequests(t, reg, putBlob, test.puts)
			wantRequests(t, reg, headBlob, test.heads)
		})
	}
}

// A single 401 or 403 for the body of an upload is retried with a fresh token.
func TestUnexpectedRefusalOfABody(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		for _, size := range []int{1000, 100_000} {
			t.Run(fmt.Sprint(code, " ", size), func(t *testing.T) {
				t.Parallel()
				// Without the single POST, a small blob too has a body of its own.
				reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(1, putBlob, gone(code, "DENIED"))})
				r := repository(t, client(t, logins("ci", secret)), credential.Target, reg.Host()+"/acme/app", Push)
				r.session.supports.triedSinglePost(unsupported)
				u := upload(content(size))
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if code == http.StatusUnauthorized || size > smallBlob {
					wantRequests(t, reg, "/token$", 2)
				}
				wantRequests(t, reg, putBlob, 2)
			})
		}
	}
}
