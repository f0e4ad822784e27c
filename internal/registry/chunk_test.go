package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// If a proxy refuses large bodies, by an answer or by closing the connection, chunks are halved
// until it accepts them. The accepted size is remembered.
func TestChunks(t *testing.T) {
	long(t)
	t.Parallel()
	for name, answers := range map[string]bool{"413": true, "closed": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.BodyLimit(1<<20, answers)}})
			r := target(t, reg, "acme/app")
			for i, size := range []int{5 << 20, 6 << 20, 100_000} {
				reg.ResetRequests()
				blob := content(size)
				u, moved, _ := counted(blob)
				if _, err := r.PutBlob(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if got := stored(t, reg, "acme/app", u.Blob); !bytes.Equal(got, blob) || moved.Load() != int64(size) {
					t.Errorf("%d bytes: %d stored, %d said to have moved", size, len(got), moved.Load())
				}
				puts := len(matching(reg, putBlob)) - 1                     // one ends the session
				if i == 0 && puts > closesForLimit || i == 1 && puts != 0 { // a connection that is closed may lose the 413
					t.Errorf("%d bytes: %d in one piece", size, puts)
				}
			}
			if n := len(matching(reg, patchBlob)); n != 0 {
				t.Errorf("a small blob was sent in %d chunks", n)
			}
		})
	}
}

// A registry may require a minimum size of chunks.
func TestChunks_Minimum(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ChunkMinimum(900_000), regtest.BodyLimit(1<<20, true)}})
	blob := content(1_100_000)
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), upload(blob)); err != nil {
		t.Fatal(err)
	}
	if sent := matching(reg, patchBlob); len(sent) != 2 || sent[0].Received != 900_000 {
		t.Errorf("chunks %+v", sent)
	}
}

// If no chunk is small enough, the message names the size and the limit of the proxy.
func TestChunks_NoneIsTaken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limit int64
		least int64
		want  []string
	}{
		"limit":   {10_000, 0, []string{"the request had 65,536 bytes"}},
		"minimum": {100_000, 400_000, []string{"the request had 400,000 bytes", "at least 400,000 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.ChunkMinimum(test.least), regtest.BodyLimit(test.limit, true)}})
			_, err := target(t, reg, "acme/app").PutBlob(t.Context(), upload(content(1<<20)))
			var e *Error
			if !errors.As(err, &e) || e.Status != http.StatusRequestEntityTooLarge {
				t.Fatalf("error %v", err)
			}
			contains(t, err.Error()+HintOf(err), append(test.want, "413 Request Entity Too Large", "client_max_body_size", "a proxy in front of it")...)
		})
	}
}

// If the connection is closed during every chunk, the message says so.
func TestChunks_AlwaysClosed(t *testing.T) {
	long(t)
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.BodyLimit(10_000, false)}})
	_, err := target(t, reg, "acme/app").PutBlob(t.Context(), upload(content(1<<20)))
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, HintOf(err), "a proxy in front of it, closes the connection during requests of", "client_max_body_size")
}

// sessions is a registry that keeps chunks, and refuses bodies above a limit.
type sessions struct {
	limit int64
	fault func(w http.ResponseWriter, r *http.Request, s *sessions) bool // of a chunk; true: it has answered

	mu      sync.Mutex
	posts   int
	commits int
	chunks  []string // Content-Range
	bytes   bytes.Buffer
	stored  []byte
}

func (s *sessions) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Location", fmt.Sprintf("/v2/acme/app/blobs/uploads/%d?at=%d", s.posts, s.bytes.Len()))
	switch {
	case r.Method == http.MethodPost:
		s.posts++
		s.bytes.Reset()
		w.Header().Set("Location", fmt.Sprintf("/v2/acme/app/blobs/uploads/%d", s.posts))
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodHead:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet:
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, s.bytes.Len()-1)))
		w.WriteHeader(http.StatusNoContent)
	case r.ContentLength > s.limit:
		_, _ = io.Copy(io.Discard, r.Body) // or the connection's end may lose the answer
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case r.Method == http.MethodPatch:
		s.patch(w, r)
	default:
		s.commit(w, r)
	}
}

func (s *sessions) commit(w http.ResponseWriter, r *http.Request) {
	s.commits++
	if sha(s.bytes.Bytes()) != r.URL.Query().Get("digest") {
		gone(http.StatusBadRequest, "DIGEST_INVALID")(w, r, nil)
		return
	}
	s.stored = bytes.Clone(s.bytes.Bytes())
	w.WriteHeader(http.StatusCreated)
}

func (s *sessions) patch(w http.ResponseWriter, r *http.Request) {
	s.chunks = append(s.chunks, r.Header.Get("Content-Range"))
	if s.fault != nil && s.fault(w, r, s) {
		return
	}
	if !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("%d-", s.bytes.Len())) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	_, _ = s.bytes.ReadFrom(r.Body)
	w.WriteHeader(http.StatusAccepted)
}

// nth injects a fault into the n-th chunk.
func nth(n int, fault func(w http.ResponseWriter, r *http.Request, s *sessions)) func(http.ResponseWriter, *http.Request, *sessions) bool {
	return func(w http.ResponseWriter, r *http.Request, s *sessions) bool {
		if len(s.chunks) == n {
			fault(w, r, s)
		}
		return len(s.chunks) == n
	}
}

// After a failed chunk, the upload resumes at the offset of the session.
func TestChunks_Resume(t *testing.T) {
	t.Parallel()
	const half = 200_000
	for name, test := range map[string]struct {
		fault  func(w http.ResponseWriter, r *http.Request, s *sessions)
		posts  int
		chunks []string
	}{
		"nothing arrived": {func(w http.ResponseWriter, r *http.Request, _ *sessions) {
			status(http.StatusServiceUnavailable)(w, r, nil)
		}, 2, []string{"0-199999", "200000-399999", "200000-399999"}},
		"half of it arrived": {func(w http.ResponseWriter, r *http.Request, s *sessions) {
			_, _ = io.CopyN(&s.bytes, r.Body, half/2)
			hangup(w, r, nil)
		}, 2, []string{"0-199999", "200000-399999", "300000-399999"}},
		"all of it arrived": {func(w http.ResponseWriter, r *http.Request, s *sessions) {
			_, _ = s.bytes.ReadFrom(r.Body)
			hangup(w, r, nil)
		}, 2, []string{"0-199999", "200000-399999"}},
		"the session is gone": {func(w http.ResponseWriter, r *http.Request, _ *sessions) {
			gone(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")(w, r, nil)
		}, 3, []string{"0-199999", "200000-399999", "0-199999", "200000-399999"}},
	} {
		for _, from := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, from a registry %v", name, from), func(t *testing.T) {
				t.Parallel()
				blob := content(2 * half)
				s := &sessions{limit: half, fault: nth(2, test.fault)}
				reg := serve(t, s.serve)
				u, moved, _ := counted(blob)
				if from {
					at := regtest.Serve(t, regtest.Options{})
					push(t, at, "dev/app", blob)
					u.From = repository(t, client(t, nil), credential.Source, at.Host()+"/dev/app", Pull)
				}
				if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(s.stored, blob) || moved.Load() != u.Blob.Size {
					t.Errorf("%d bytes stored, %d said to have moved", len(s.stored), moved.Load())
				}
				if s.posts != test.posts || !slices.Equal(s.chunks, test.chunks) {
					t.Errorf("%d sessions, chunks %q; want %d, %q", s.posts, s.chunks, test.posts, test.chunks)
				}
			})
		}
	}
}

// A second chunk that always fails ends the upload: the first chunk does not count as progress of
// an upload that starts over.
func TestChunks_SecondAlwaysFails(t *testing.T) {
	t.Parallel()
	for code, name := range map[int]string{404: "BLOB_UPLOAD_UNKNOWN", 503: "UNAVAILABLE"} {
		t.Run(name, func(t *testing.T) {
			s := &sessions{limit: 200_000, fault: func(w http.ResponseWriter, r *http.Request, _ *sessions) bool {
				if strings.HasPrefix(r.Header.Get("Content-Range"), "0-") {
					return false
				}
				gone(code, name)(w, r, nil)
				return true
			}}
			bubble(t, open200(s.serve), func(t *testing.T, r *Repository) {
				u, moved, _ := counted(content(400_000))
				_, err := r.PutBlob(t.Context(), u)
				var e *Error
				if !errors.As(err, &e) || e.Status != code || moved.Load() != 0 {
					t.Errorf("error %v, %d bytes said to have moved", err, moved.Load())
				}
			})
		})
	}
}

// A source that does not match its digest never completes a blob, not even after a fault in
// between.
func TestChunks_DamagedSource(t *testing.T) {
	t.Parallel()
	const half = 200_000
	blob := content(2 * half)
	wrong := bytes.Clone(blob)
	wrong[half+10] ^= 1
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request, s *sessions){
		"nothing arrived": func(w http.ResponseWriter, r *http.Request, _ *sessions) {
			status(http.StatusServiceUnavailable)(w, r, nil)
		},
		"all of it arrived": func(w http.ResponseWriter, r *http.Request, s *sessions) {
			_, _ = s.bytes.ReadFrom(r.Body)
			hangup(w, r, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sessions{limit: half, fault: nth(2, fault)}
			reg := serve(t, s.serve)
			at := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(wrong) })
			u := upload(blob)
			u.From = repository(t, client(t, nil), credential.Source, at.Host()+"/dev/app", Pull)
			_, err := target(t, reg, "acme/app").PutBlob(t.Context(), u)
			if !errors.Is(err, ErrMismatch) || s.commits != 0 {
				t.Errorf("error %v, %d uploads ended", err, s.commits)
			}
		})
	}
}

// A refusal after a lost answer may be due to the first attempt, which is still being
// stored: the client checks whether the blob exists before the upload fails.
func TestRefusedAfterALostAnswer(t *testing.T) {
	t.Parallel()
	for _, lands := range []bool{true, false} {
		t.Run(fmt.Sprint(lands), func(t *testing.T) {
			var mu sync.Mutex
			puts, looks := 0, 0
			h := uploads(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				_, _ = io.Copy(io.Discard, r.Body)
				if puts++; puts == 1 {
					hangup(w, r, nil)
					return
				}
				gone(http.StatusConflict, "DENIED")(w, r, nil)
			})
			bubble(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				if r.Method == http.MethodHead {
					looks++
				}
				there := lands && r.Method == http.MethodHead && looks > 3
				mu.Unlock()
				if !there {
					h(w, r)
				}
			}, func(t *testing.T, r *Repository) {
				_, err := r.PutBlob(t.Context(), upload(content(100_000)))
				var e *Error
				if lands && err != nil || !lands && (!errors.As(err, &e) || e.Status != http.StatusConflict) {
					t.Errorf("error %v", err)
				}
			})
			if looks < 4 {
				t.Errorf("the blob was looked for %d times", looks)
			}
		})
	}
}

// With Insist a blob is uploaded although the registry says that it has it.
func TestUploadInsists(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.FailOnce(request(putBlob), 503)})
	blob := content(100_000)
	push(t, reg, "acme/app", blob)
	u := upload(blob)
	u.Insist = true
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, reg, putBlob, 2)
	wantRequests(t, reg, "^(HEAD|GET) /v2/acme", 0)
}
