package registry

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// Signed URLs of a storage are secrets, and never in an error.
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

// The Location of an upload may be on another host, which gets the bytes, but no token.
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

// The new Location after a PATCH is checked too.
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
		contains(t, err.Error(), "only https is allowed")
	}
}

func TestUploadAt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ from, location, want string }{
		{"https://registry.example/v2/", "http://registry.example/up?a=%20b;c", "https://registry.example/up?a=%20b;c"},
		{"https://registry.example/v2/", "http://REGISTRY.example:80/up", "https://registry.example/up"},
		{"https://registry.example/v2/", "http://registry.example:443/up", "https://registry.example/up"},
		{"https://registry.example:5443/v2/", "http://registry.example:5443/up", "https://registry.example:5443/up"},
		{"https://registry.example:5443/v2/", "http://registry.example/up", "https://registry.example:5443/up"},
		{"https://registry.example:5443/v2/", "https://registry.example/up", "https://registry.example:5443/up"},
		{"http://localhost:5000/v2/", "http://localhost/up", "http://localhost:5000/up"},
		{"http://localhost:5000/v2/", "http://localhost:9000/up", "http://localhost:9000/up"},
		{"https://registry.example/v2/", "https://storage.example/up", "https://storage.example/up"},
		{"https://registry.example/v2/", "/up", "https://registry.example/up"},
		{"https://registry.example/v2/", "http://registry.example:5000/up", ""},
		{"https://registry.example/v2/", "http://registry.example.evil/up", ""},
		{"https://registry.example/v2/", "http://storage.example/up", ""},
		{"https://registry.example/v2/", "ftp://registry.example/up", ""},
		{"https://registry.example/v2/", "", ""},
	} {
		to, err := uploadAt(mustURL(t, test.from), test.location)
		var refused wire.Refusal
		switch {
		case test.want == "" && !errors.As(err, &refused):
			t.Errorf("%s from %s: error %v, want a refusal", test.location, test.from, err)
		case test.want != "" && (err != nil || to.String() != test.want):
			t.Errorf("%s from %s: %s, error %v, want %s", test.location, test.from, to, err, test.want)
		}
	}
}

func TestWithDigest(t *testing.T) {
	t.Parallel()
	d := digestOf(nil)
	const digest = "digest=sha256%3Ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for query, want := range map[string]string{
		"": digest, "_state=a%20b;c=%2F+d": "_state=a%20b;c=%2F+d&" + digest, "digest=other&a=1": "a=1&" + digest,
	} {
		if got := withDigest(mustURL(t, "https://registry.example/up?"+query), d).RawQuery; got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

// Uploads work behind a proxy that passes on neither TLS nor the port, and with a Location whose
// query must not change.
func TestUploadToInvalidLocation(t *testing.T) {
	t.Parallel()
	for _, trait := range []regtest.Trait{regtest.PlainLocation(), regtest.LocationWithoutPort(), regtest.OddLocationQuery()} {
		t.Run(trait.Name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{TLS: true, Traits: []regtest.Trait{trait}})
			w := &world{hosts: map[string]string{"registry.example:5443": reg.Host()}}
			r := repository(t, w.client(t, nil, pool(t, reg)), credential.Target, "registry.example:5443/acme/app", Push)
			blob := content(1 << 17)
			for _, b := range [][]byte{blob, blob[:10]} {
				if _, err := r.PutBlob(t.Context(), upload(b)); err != nil {
					t.Fatal(err)
				}
				there, err := r.HasBlob(t.Context(), digestOf(b))
				if err != nil || !there || len(w.refuse) != 0 {
					t.Errorf("there %v, error %v, dialled %s", there, err, w.refuse)
				}
			}
		})
	}
}

// The error for a Location that is not allowed names its host, but no signature.
func TestLocationIsNamed(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: open200(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://inner.example:5000/up?signature="+secret)
		w.WriteHeader(http.StatusAccepted)
	})})
	w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
	r := repository(t, w.client(t, nil, pool(t, reg)), credential.Target, "registry.example/acme/app", Push)
	_, err := r.PutBlob(t.Context(), upload(content(100_000)))
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), `"http://inner.example:5000"`, "only https is allowed")
	contains(t, HintOf(err), "X-Forwarded-Proto")
	lacks(t, err.Error()+HintOf(err), secret)
}

// A refused connection at the Location of an upload ends within seconds, and the
// message names the address.
func TestLocationAtClosedPort(t *testing.T) {
	t.Parallel()
	away := open200(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://127.0.0.1:1/up?signature="+secret)
		w.WriteHeader(map[string]int{http.MethodPost: http.StatusAccepted, http.MethodHead: http.StatusNotFound}[r.Method])
	})
	bubbleWithout(t, "127.0.0.1:1", away, func(t *testing.T, r *Repository) {
		began := time.Now()
		_, err := r.PutBlob(t.Context(), upload(content(100_000)))
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("error %v, want a refused connection", err)
		}
		took(t, began, time.Second, 10*time.Second+5*time.Second)
		contains(t, err.Error(), "127.0.0.1:1")
		contains(t, HintOf(err), `Nothing listens at "127.0.0.1:1", where the registry redirects its clients`)
		lacks(t, err.Error()+HintOf(err), secret)
	})
}

// So does a refused connection at the host of a redirect.
func TestRedirectToClosedPort(t *testing.T) {
	t.Parallel()
	bubbleWithout(t, "127.0.0.1:1", open200(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/blob?signature="+secret, http.StatusTemporaryRedirect)
	}), func(t *testing.T, r *Repository) {
		for _, size := range []int{10, 100_000} {
			began := time.Now()
			_, err := readBlob(t, r, descriptor(content(size)))
			if !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("error %v, want a refused connection", err)
			}
			took(t, began, time.Second, 10*time.Second+5*time.Second)
			contains(t, err.Error(), `redirected to "127.0.0.1:1"`)
			lacks(t, err.Error()+HintOf(err), secret)
		}
	})
}
