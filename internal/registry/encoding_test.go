package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// zipped compresses the answers of a handler.
func zipped(of func(path string) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &recorded{header: w.Header()}
		next.ServeHTTP(c, r)
		if r.Method != http.MethodGet || !of(r.URL.Path) {
			w.WriteHeader(c.status)
			_, _ = w.Write(c.body.Bytes())
			return
		}
		w.Header().Del("Content-Length")
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(c.status)
		z := gzip.NewWriter(w)
		_, _ = z.Write(c.body.Bytes())
		_ = z.Close()
	})
}

// An answer that a proxy compressed is decompressed; a blob only if its digest does not match the
// compressed bytes.
func TestUnaskedEncoding(t *testing.T) {
	t.Parallel()
	text := bytes.Repeat([]byte("text "), 200)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write(text)
	_ = z.Close()
	layer := b.Bytes()
	reg := regtest.Serve(t, regtest.Options{Referrers: true, Wrap: func(next http.Handler) http.Handler {
		asSent := strings.TrimPrefix(sha(layer), "sha256:")
		marked := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, asSent) && r.Method == http.MethodGet {
				w.Header().Set("Content-Encoding", "gzip") // as object storage does
			}
			next.ServeHTTP(w, r)
		})
		return zipped(func(path string) bool {
			return path != "/v2/" && !strings.HasSuffix(path, asSent) && !strings.HasSuffix(path, "/token")
		}, marked)
	}})
	whole := repository(t, client(t, nil), credential.Target, reg.Host()+"/acme/app", Push)
	m := NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
	if _, err := whole.PutManifest(t.Context(), "dev", m); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"dev", m.Digest.String()} {
		if got, err := whole.GetManifest(t.Context(), ref); err != nil || got.Digest != m.Digest {
			t.Errorf("%s is %s, error %v", ref, got.Digest, err)
		}
	}
	if list, err := whole.Referrers(t.Context(), m.Digest); err != nil || len(list) != 0 {
		t.Errorf("%d referrers, error %v", len(list), err)
	}
	if tags, _, err := whole.Tags(t.Context()); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, error %v", tags, err)
	}
	for _, blob := range [][]byte{text, layer} {
		d := descriptor(blob)
		if _, err := whole.PutBlob(t.Context(), upload(blob)); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(whole.OpenBlob(t.Context(), d)); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes of %d, error %v", len(got), len(blob), err)
		}
	}
}

// Decompression is bounded, and an unknown encoding is refused.
func TestEncodingWithoutEnd(t *testing.T) {
	long(t)
	t.Parallel()
	for encoding, want := range map[string]error{"gzip": ErrTooLarge, "br": nil} {
		h := open200(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", encoding)
			z := gzip.NewWriter(w)
			_, _ = z.Write(make([]byte, 4*MaxManifest))
			_ = z.Close()
		})
		bubble(t, h, func(t *testing.T, r *Repository) {
			if _, err := r.GetManifest(t.Context(), "dev"); err == nil || want != nil && !errors.Is(err, want) {
				t.Errorf("%s: error %v", encoding, err)
			}
		})
	}
}
