package registry

import (
	"errors"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
)

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

// Uploads work behind a proxy that tells the registry neither of TLS nor of its port,
// and with a Location whose query must come back as it is.
func TestUploadToOddLocation(t *testing.T) {
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

// A Location that is not followed is named, without what may be a ticket.
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
	contains(t, err.Error(), `"http://inner.example:5000"`, "only https is followed")
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
		contains(t, HintOf(err), `Nothing answers at "127.0.0.1:1", where 127.0.0.1:5000 sends its clients`)
		lacks(t, err.Error()+HintOf(err), secret)
	})
}

// So does one at the storage that a read is redirected to.
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
			contains(t, err.Error(), `at "127.0.0.1:1", where the registry points`)
			lacks(t, err.Error()+HintOf(err), secret)
		}
	})
}
