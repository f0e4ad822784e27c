package registry

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const getBlob = "^GET /v2/acme/app/blobs/"

// download reads a blob whole, and closes it.
func readBlob(t *testing.T, r *Repository, d v1.Descriptor) ([]byte, error) {
	t.Helper()
	body := r.OpenBlob(t.Context(), d)
	b, err := io.ReadAll(body)
	if closeErr := body.Close(); closeErr != nil {
		t.Error(closeErr)
	}
	return b, err
}

// ranges notes what ranges are asked for.
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

// As long as something comes each time, a download may break any number of times.
func TestDownloadThatBreaksOftenGetsThere(t *testing.T) {
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

// Skipping what was read before can break off too.
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

// Whoever answers part of a blob to a request for all of it is not believed.
func TestRangeThatNobodyAskedFor(t *testing.T) {
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

// The last byte has come, the end of the body has not.
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

// A blob that is too short, of an answer that says no size, is asked for again: that is
// how a cut one looks.
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

// Registries redirect blobs to storage on another host, by URLs that expire.
func TestRedirectedBlob(t *testing.T) {
	t.Parallel()
	blob := content(1 << 20)
	var used sync.Map
	storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, seen := used.LoadOrStore(r.URL.String(), true); seen {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		if value := r.Header.Get("Authorization"); value != "" {
			t.Errorf("the storage got the authorization %q", value)
		}
		if r.Header.Get("Range") == "" {
			_, _ = w.Write(blob[:300_000])
			_ = http.NewResponseController(w).Flush()
			hangup(w, r, nil)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
	})
	var ticket atomic.Int32
	redirect := strikes(always, getBlob, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("Authorization") == "" {
			next.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("http://%s/blob?ticket=%d", storage.Host(), ticket.Add(1)), http.StatusTemporaryRedirect)
	})
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: redirect})
	r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	got, err := readBlob(t, r, descriptor(blob))
	if err != nil || !bytes.Equal(got, blob) {
		t.Fatalf("%d bytes, error %v", len(got), err)
	}
	if ticket.Load() != 2 {
		t.Errorf("%d URLs given out, want a fresh one to go on with", ticket.Load())
	}
}

// TestRedirectedBlob_Expired: a URL that the registry redirects to may have expired when its turn comes; the registry gives
// a fresh one. One that refuses every URL is believed soon.
func TestRedirectedBlob_Expired(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1000, smallBlob + 1} {
		for _, status := range []int{http.StatusForbidden, http.StatusBadRequest} {
			for refusals, want := range map[int32]string{2: "", 1000: strconv.Itoa(status)} {
				t.Run(fmt.Sprint(size, " ", status, " ", refusals), func(t *testing.T) {
					t.Parallel()
					blob := content(size)
					var asked atomic.Int32
					storage := serve(t, func(w http.ResponseWriter, r *http.Request) {
						if asked.Add(1) <= refusals {
							w.WriteHeader(status)
							return
						}
						http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
					})
					reg := regtest.Serve(t, regtest.Options{Wrap: strikes(always, getBlob, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
						http.Redirect(w, r, fmt.Sprintf("http://%s/blob?ticket=%d", storage.Host(), asked.Load()), http.StatusTemporaryRedirect)
					})})
					r := repository(t, client(t, nil), credential.Source, reg.Host()+"/acme/app", Pull)
					got, err := readBlob(t, r, descriptor(blob))
					switch {
					case want == "" && (err != nil || !bytes.Equal(got, blob)):
						t.Errorf("%d bytes, error %v", len(got), err)
					case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
						t.Errorf("error %v, want %s", err, want)
					}
					if n := asked.Load(); n != 3 {
						t.Errorf("the storage was asked %d times, want 3", n)
					}
				})
			}
		}
	}
}

// Where a registry must not lead: to plain http, to private or link-local
// addresses, to another protocol.
func TestRedirectThatIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, location := range []string{
		"http://registry.example/x",
		"http://storage.example/x",
		"https://10.0.0.1/x",
		"https://192.168.0.1:8443/x",
		"https://127.0.0.1/x",
		"https://127.1/x",
		"https://2130706433/x",
		"https://0x7f000001/x",
		"https://0.0.0.0/x",
		"https://[::1]/x",
		"https://[::ffff:10.0.0.1]/x",
		"https://localhost/x",
		"https://LOCALHOST./x",
		"https://169.254.169.254/latest/meta-data",
		"https://[fd00:ec2::254]/latest",
		"https://[fe80::1%25eth0]/x",
		"https://user:pw@storage.example/x",
		"ftp://storage.example/x",
		"file:///etc/passwd",
		"https://storage.example:port/x",
		"",
	} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: open200(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Location"] = []string{location}
				w.WriteHeader(http.StatusTemporaryRedirect)
			})})
			w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
			r := repository(t, w.client(t, nil, pool(t, reg)), credential.Source, "registry.example/acme/app", Pull)
			_, err := readBlob(t, r, descriptor(content(10)))
			if err == nil {
				t.Fatal("no error")
			}
			if _, err = r.GetManifest(t.Context(), "dev"); err == nil {
				t.Fatal("no error")
			}
			if len(w.refuse) != 0 {
				t.Errorf("dialled %s", w.refuse)
			}
			wantRequests(t, reg, ".", 1+2*retry.MaxInvalid)
		})
	}
}

func TestStalledDownload(t *testing.T) {
	t.Parallel()
	blob := content(400_000)
	for name, before := range map[string]int{"before the answer": -1, "before the first byte": 0, "half way": 200_000} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			h := open200(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(blob))
					return
				}
				if before >= 0 {
					w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
					_, _ = w.Write(blob[:before])
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				began := time.Now()
				got, err := readBlob(t, r, descriptor(blob))
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("%d bytes, error %v", len(got), err)
				}
				took(t, began, wire.StallTimeout, wire.StallTimeout+time.Second)
			})
		})
	}
}

func TestDownloadThatStallsEveryTime(t *testing.T) {
	t.Parallel()
	bubble(t, open200(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), func(t *testing.T, r *Repository) {
		_, err := readBlob(t, r, descriptor(content(100_000)))
		if !errors.Is(err, wire.ErrStalled) {
			t.Errorf("error %v, want that of a stall", err)
		}
	})
}

// Slow is not stalled: neither while reading, nor while what was read before is
// skipped.
func TestSlowDownload(t *testing.T) {
	t.Parallel()
	const piece = wire.MinProgress
	blob := content(10 * piece)
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		first := asked.Add(1) == 1
		for i := 0; i < len(blob); i += piece {
			if first && i == 8*piece {
				hangup(w, r, nil)
				return
			}
			_, _ = w.Write(blob[i : i+piece])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(wire.StallTimeout - time.Second)
		}
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		got, err := readBlob(t, r, descriptor(blob))
		if err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	})
	if asked.Load() != 2 {
		t.Errorf("asked %d times, want 2", asked.Load())
	}
}

// A reader that takes its time does not make the registry look stalled.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	blob := content(300_000)
	var asked atomic.Int32
	h := open200(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write(blob)
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		body := r.OpenBlob(t.Context(), descriptor(blob))
		defer body.Close()
		var got []byte
		for buffer := make([]byte, 100_000); ; time.Sleep(2 * wire.StallTimeout) {
			n, err := body.Read(buffer)
			got = append(got, buffer[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, blob) || asked.Load() != 1 {
			t.Errorf("%d bytes by %d requests", len(got), asked.Load())
		}
	})
}

func TestClosedDownload(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{})
	d := push(t, reg, "acme/app", content(1<<20))
	body := target(t, reg, "acme/app").OpenBlob(t.Context(), d)
	if n, err := body.Read(nil); n != 0 || err != nil {
		t.Errorf("a read of nothing: %d, %v", n, err)
	}
	if n, err := body.Read(make([]byte, 10)); n == 0 || err != nil {
		t.Errorf("%d bytes, error %v", n, err)
	}
	for range 2 {
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	}
	if n, err := body.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("after Close: %d bytes, error %v", n, err)
	}
}

func TestDownloadThatIsEnded(t *testing.T) {
	t.Parallel()
	blob := content(100_000)
	h := open200(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		_, _ = w.Write(blob[:50_000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	bubble(t, h, func(t *testing.T, r *Repository) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(errTimeUp) })
		began := time.Now()
		got, err := io.ReadAll(r.OpenBlob(ctx, descriptor(blob)))
		took(t, began, 3*time.Second, 3*time.Second)
		if len(got) != 50_000 || !errors.Is(err, errTimeUp) || errors.Is(err, context.Canceled) {
			t.Errorf("%d bytes, error %v, want the context's cause", len(got), err)
		}
	})
}
