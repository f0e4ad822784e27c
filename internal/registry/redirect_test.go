package registry

import (
	"bytes"
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
	"github.com/artifact-promotion/promote/internal/regtest"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

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

// A signed URL may have expired before it is used. The registry is asked for a fresh one, a few
// times.
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

// Redirects to plain http, to private or link-local addresses, and to another protocol are refused.
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

func TestManifestThatRedirects(t *testing.T) {
	t.Parallel()
	there := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the other host got the authorization")
		}
		_, _ = io.WriteString(w, emptyIndex)
	})
	reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(1, getDev, status(http.StatusTemporaryRedirect, "Location", "http://"+there.Host()+"/x"))})
	fill(t, reg, "acme/app")
	r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
	m, err := r.GetManifest(t.Context(), "dev")
	if err != nil || string(m.Raw) != emptyIndex {
		t.Errorf("%q, error %v", m.Raw, err)
	}
	wantRequests(t, there, "^GET /x$", 1)
}

func TestRedirectLoop(t *testing.T) {
	t.Parallel()
	reg := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	r := target(t, reg, "acme/app")
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "more than 5 times")
	wantRequests(t, reg, "manifests/dev", 6)
	_, err = io.ReadAll(r.OpenBlob(t.Context(), v1.Descriptor{Digest: digestOf(nil), Size: 1}))
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "more than 5 times")
	wantRequests(t, reg, "blobs/", 6)
}
