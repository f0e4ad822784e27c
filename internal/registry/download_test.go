package registry

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const getBlob = "^GET /v2/acme/app/blobs/"

// readBlob reads a whole blob.
func readBlob(t *testing.T, r *Repository, d v1.Descriptor) ([]byte, error) {
	t.Helper()
	body := r.OpenBlob(t.Context(), d)
	b, err := io.ReadAll(body)
	if closeErr := body.Close(); closeErr != nil {
		t.Error(closeErr)
	}
	return b, err
}

// ranges records the requested ranges.
type ranges struct {
	mu    sync.Mutex
	asked []string
}

func (r *ranges) wrap(next http.Handler) http.Handler {
	match := request(getBlob)
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if match(q) {
			r.mu.Lock()
			r.asked = append(r.asked, q.Header.Get("Range"))
			r.mu.Unlock()
		}
		next.ServeHTTP(w, q)
	})
}

func TestBrokenDownloadResumes(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	cutAt := func(after ...int) func(http.Handler) http.Handler { return cuts(getBlob, after...) }
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		want []string // ranges
		most int64    // bytes sent in all
	}{
		{"whole", nil, []string{""}, 1 << 20},
		{"cut half way", cutAt(1 << 19), []string{"", "bytes=524288-"}, 1 << 20},
		{"cut twice", cutAt(1<<19, 1<<18), []string{"", "bytes=524288-", "bytes=786432-"}, 1 << 20},
		{"cut before the first byte", cutAt(0), []string{"", ""}, 1 << 20},
		{"cut before the last byte", cutAt(1<<20 - 1), []string{"", "bytes=1048575-"}, 1 << 20},
		{"reset half way", regtest.CutBody(request(getBlob), 1<<19), nil, 3 << 19},
		{"reset before", regtest.ResetBefore(request(getBlob)), []string{"", ""}, 1 << 20},
		{"closed without an answer", strikes(1, getBlob, hangup), nil, 1 << 20},
		{"503", regtest.FailOnce(request(getBlob), 503), []string{"", ""}, 1<<20 + 100},
		{"503 at the resumption", regtest.Chain(cutAt(1<<19), func(next http.Handler) http.Handler {
			failing := regtest.FailOnce(func(r *http.Request) bool { return r.Header.Get("Range") != "" }, 503)
			return failing(next)
		}), []string{"", "bytes=524288-", "bytes=524288-"}, 1<<20 + 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			seen := &ranges{}
			wraps := []func(http.Handler) http.Handler{seen.wrap}
			if test.wrap != nil {
				wraps = append(wraps, test.wrap)
			}
			reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(wraps...)})
			d := push(t, reg, "acme/app", blob)
			reg.ResetRequests()
			got, err := readBlob(t, target(t, reg, "acme/app"), d)
			if err != nil || !bytes.Equal(got, blob) {
				t.Fatalf("%d bytes, error %v", len(got), err)
			}
			if test.want != nil && fmt.Sprint(seen.asked) != fmt.Sprint(test.want) {
				t.Errorf("asked for the ranges %q, want %q", seen.asked, test.want)
			}
			var sent int64
			for _, q := range matching(reg, getBlob) {
				sent += q.Sent
			}
			// What was on its way when the connection was cut is sent again.
			if sent > test.most+128<<10 {
				t.Errorf("%d bytes sent for a blob of %d", sent, len(blob))
			}
		})
	}
}

// A download may break any number of times, as long as each attempt makes progress.
func TestDownloadThatBreaksOften(t *testing.T) {
	t.Parallel()
	blob := content(3 * retry.MinAttempts * wire.MinProgress)
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		cut := &cutting{ResponseWriter: w, left: wire.MinProgress}
		http.ServeContent(cut, r, "", time.Time{}, bytes.NewReader(blob))
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		began := time.Now()
		got, err := readBlob(t, r, descriptor(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		took(t, began, 0, 3*retry.MinAttempts*firstWait)
	})
}

func withoutRange(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	})
}

func TestRegistryWithoutRanges(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	resumed := func(r *http.Request) bool { return r.Header.Get("Range") != "" }
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		want int // requests
	}{
		{"answers the whole", withoutRange, 2},
		{"answers another range", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if resumed(r) {
					r.Header.Set("Range", "bytes=5-")
				}
				next.ServeHTTP(w, r)
			})
		}, 3},
		{"answers a range without Content-Range", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if resumed(r) {
					w.WriteHeader(http.StatusPartialContent)
					_, _ = w.Write(blob)
					return
				}
				next.ServeHTTP(w, r)
			})
		}, 3},
		{"answers 416", func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if resumed(r) {
					w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
					return
				}
				next.ServeHTTP(w, r)
			})
		}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cutOnce := regtest.CutBody(func(r *http.Request) bool { return request(getBlob)(r) && !resumed(r) }, 1<<19)
			reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(cutOnce, test.wrap)})
			d := push(t, reg, "acme/app", blob)
			got, err := readBlob(t, target(t, reg, "acme/app"), d)
			if err != nil || !bytes.Equal(got, blob) {
				t.Errorf("%d bytes, error %v", len(got), err)
			}
			wantRequests(t, reg, getBlob, test.want)
		})
	}
}

// The connection can also break while a download skips to its offset.
func TestRegistryWithoutRangesThatBreaksOffAgain(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(cuts(getBlob, 1<<19, 1<<18), withoutRange)})
	d := push(t, reg, "acme/app", blob)
	got, err := readBlob(t, target(t, reg, "acme/app"), d)
	if err != nil || !bytes.Equal(got, blob) {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
	wantRequests(t, reg, getBlob, 3)
}

// A range in answer to a request for the whole blob is refused.
func TestUnrequestedRange(t *testing.T) {
	t.Parallel()
	blob := content(100_000)
	r := target(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Range", "bytes 5-9/100000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(blob)
	}), "acme/app")
	var e *Error
	if got, err := readBlob(t, r, descriptor(blob)); !errors.As(err, &e) || e.Status != http.StatusPartialContent || len(got) != 0 {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
}

// The last byte arrives, but not the end of the body.
func TestBodyWithoutAnEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, 100_000} {
		blob := content(size)
		reg := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(blob)
			_ = http.NewResponseController(w).Flush() // chunked: the last chunk is missing
			hangup(w, r, nil)
		})
		got, err := readBlob(t, target(t, reg, "acme/app"), descriptor(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		wantRequests(t, reg, getBlob, 1)
	}
}

func TestBlobThatIsNotWhatItsDescriptorSays(t *testing.T) {
	t.Parallel()
	blob := content(100_000)
	right := descriptor(blob)
	size := func(n int64) v1.Descriptor {
		d := right
		d.Size = n
		return d
	}
	for _, test := range []struct {
		name  string
		d     v1.Descriptor
		body  []byte
		times int
	}{
		{"flipped bit", right, flip(blob), 1},
		{"another blob of that size", descriptor(flip(blob)), blob, 1},
		{"longer than it says", size(99_999), blob, 1},
		{"longer than nothing", size(0), blob, retry.MaxInvalid},
		{"longer by a byte", right, append(blob[:len(blob):len(blob)], 0), 1},
		{"nothing", descriptor(nil), []byte("x"), retry.MaxWrongSize},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(test.body) })
			r := target(t, reg, "acme/app")
			body := r.OpenBlob(t.Context(), test.d)
			defer body.Close()
			var err error
			for n, buffer := 0, make([]byte, 4096); err == nil; {
				if n, err = body.Read(buffer); n > 0 && err != nil {
					t.Errorf("%d bytes together with %v", n, err)
				}
			}
			if !errors.Is(err, ErrMismatch) || errors.Is(err, io.EOF) {
				t.Fatalf("error %v, want ErrMismatch in place of the end", err)
			}
			contains(t, err.Error(), "read blob at the target", r.Name()+"@"+test.d.Digest.String())
			if _, again := body.Read(make([]byte, 10)); !errors.Is(again, err) {
				t.Errorf("then %v, want the same error for ever", again)
			}
			wantRequests(t, reg, getBlob, test.times)
		})
	}
}

// A blob that is too short, in an answer without Content-Length, is retried: it may have been cut
// off.
func TestBlobThatStaysShort(t *testing.T) {
	t.Parallel()
	blob := content(1000)
	for name, test := range map[string]struct {
		d    v1.Descriptor
		body []byte
	}{
		"cut":              {descriptor(blob), blob[:900]},
		"by a descriptor":  {v1.Descriptor{Digest: digestOf(blob), Size: 2000}, blob},
		"nothing, by size": {v1.Descriptor{Digest: digestOf(nil), Size: 10}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			h := open200(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(test.body)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				got, err := readBlob(t, r, test.d)
				if err == nil || errors.Is(err, io.EOF) {
					t.Errorf("%d bytes, error %v, want none at the end of a part", len(got), err)
				}
			})
			if n := asked.Load(); n < retry.MinAttempts || n > 40 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestBlobsOfAllKinds(t *testing.T) {
	t.Parallel()
	blob := content(5000)
	sum := sha512.Sum512(blob)
	long := v1.Descriptor{Digest: v1.Hash{Algorithm: "sha512", Hex: hex.EncodeToString(sum[:])}, Size: int64(len(blob))}
	reg := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, descriptor(nil).Digest.String()) {
			return
		}
		_, _ = w.Write(blob)
	})
	r := target(t, reg, "acme/app")
	if got, err := readBlob(t, r, descriptor(nil)); err != nil || len(got) != 0 {
		t.Errorf("nothing: %d bytes, error %v", len(got), err)
	}
	if got, err := readBlob(t, r, long); err != nil || len(got) != len(blob) {
		t.Errorf("sha512: %d bytes, error %v", len(got), err)
	}
	long.Digest.Hex = strings.Repeat("0", 128)
	if _, err := readBlob(t, r, long); !errors.Is(err, ErrMismatch) {
		t.Errorf("another sha512: error %v", err)
	}
	if _, err := readBlob(t, r, v1.Descriptor{Digest: v1.Hash{Algorithm: "md5", Hex: "00"}}); err == nil {
		t.Error("a digest that cannot be checked was taken")
	}
}

func TestMissingBlob(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	r := target(t, reg, "acme/app")
	d := descriptor(content(10))
	if _, err := readBlob(t, r, d); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
	wantRequests(t, reg, getBlob, 1)
	if there, err := r.HasBlob(t.Context(), d.Digest); there || err != nil {
		t.Errorf("there %v, error %v", there, err)
	}
}

func TestLastAnswerToADownloadIsTheError(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		status(http.StatusBadGateway)(w, r, nil)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		for _, size := range []int{10, 100_000} {
			began := time.Now()
			_, err := readBlob(t, r, descriptor(content(size)))
			var e *Error
			if !errors.As(err, &e) || e.Status != http.StatusBadGateway || e.Code != "TOOMANYREQUESTS" {
				t.Errorf("error %v", err)
			}
			took(t, began, wire.DefaultRetryFor, wire.DefaultRetryFor+5*time.Second)
		}
	})
	if n := asked.Load(); n < 2*retry.MinAttempts || n > 80 {
		t.Errorf("asked %d times for two blobs", n)
	}
}
