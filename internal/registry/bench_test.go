package registry

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// shelf answers what a registry would, at next to no cost: what is measured is
// the client. It asks for a token, as registries do.
type shelf struct {
	manifest []byte
	blob     []byte
	requests atomic.Int64
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	switch {
	case r.URL.Path == "/token":
		_, _ = io.WriteString(w, `{"token":"t","expires_in":3600}`)
	case r.Header.Get("Authorization") == "":
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method == http.MethodPost:
		w.Header().Set("Location", "/v2/acme/app/blobs/uploads/1")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodPut:
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusCreated)
	case r.URL.Path == "/v2/acme/app/manifests/dev":
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		w.Header().Set("Docker-Content-Digest", digestOf(s.manifest).String())
		_, _ = w.Write(s.manifest)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(s.blob)))
		_, _ = w.Write(s.blob)
	}
}

// direct hands requests to the handler without a connection.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if r.Host == "" {
		r.Host = r.URL.Host
	}
	d.h.ServeHTTP(w, r)
	return w.Result(), nil
}

const kib = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}`

// over runs a benchmark by both ways: without a connection, which shows what the
// client itself costs, and over loopback.
func over(b *testing.B, s *shelf, size int64, do func(b *testing.B, r *Repository)) {
	b.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	network := wire.NewTransport(&tls.Config{}, nil, 64)
	defer network.CloseIdleConnections()
	for _, way := range []struct {
		name, host string
		transport  http.RoundTripper
	}{{"direct", "127.0.0.1:5000", direct{s}}, {"loopback", server.Listener.Addr().String(), network}} {
		b.Run(way.name, func(b *testing.B) {
			n, err := name.NewRepository(way.host + "/acme/app")
			if err != nil {
				b.Fatal(err)
			}
			r, err := New(Options{Transport: way.transport, UserAgent: "bench"}).Open(b.Context(), credential.Target, n, Push)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			before := s.requests.Load()
			for b.Loop() {
				do(b, r)
			}
			b.ReportMetric(float64(s.requests.Load()-before)/float64(b.N), "requests/op")
		})
	}
}

func BenchmarkGetManifest(b *testing.B) {
	over(b, &shelf{manifest: []byte(kib)}, 0, func(b *testing.B, r *Repository) {
		if _, err := r.GetManifest(b.Context(), "dev"); err != nil {
			b.Fatal(err)
		}
	})
}

func BenchmarkHasBlob(b *testing.B) {
	d := digestOf(nil)
	over(b, &shelf{}, 0, func(b *testing.B, r *Repository) {
		if there, err := r.HasBlob(b.Context(), d); err != nil || !there {
			b.Fatal(err)
		}
	})
}

func BenchmarkPutBlob(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			blob := content(size)
			u := upload(blob)
			over(b, &shelf{}, int64(size), func(b *testing.B, r *Repository) {
				if _, err := r.PutBlob(b.Context(), u); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

func BenchmarkOpenBlob(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 20} {
		b.Run(strconv.Itoa(size>>10)+"KiB", func(b *testing.B) {
			blob := content(size)
			d := descriptor(blob)
			over(b, &shelf{blob: blob}, int64(size), func(b *testing.B, r *Repository) { drainBlob(b, r, d) })
		})
	}
}

func drainBlob(b *testing.B, r *Repository, d v1.Descriptor) {
	b.Helper()
	body := r.OpenBlob(b.Context(), d)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, make([]byte, 32<<10)) // as net/http would
	if err != nil || n != d.Size {
		b.Fatalf("%d bytes, error %v", n, err)
	}
	_ = body.Close()
}

// BenchmarkCopy is a blob from one repository to another, as a promotion moves it.
func BenchmarkCopy(b *testing.B) {
	blob := content(64 << 20)
	d := descriptor(blob)
	over(b, &shelf{blob: blob}, d.Size, func(b *testing.B, r *Repository) {
		u := Upload{Blob: d, Open: func(ctx context.Context) io.ReadCloser { return r.OpenBlob(ctx, d) }}
		if _, err := r.PutBlob(b.Context(), u); err != nil {
			b.Fatal(err)
		}
	})
}
