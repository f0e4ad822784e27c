package regtest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// A proxy that refuses large requests, and hides from the registry that its clients speak TLS, takes an image all
// the same.
func TestPushThroughProxy(t *testing.T) {
	long(t)
	r, err := regtest.Start(regtest.Options{TLS: true, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > 1<<20 {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			next.ServeHTTP(&plainLocation{w, r.Host}, r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	image := regtest.Build(regtest.Spec{Layers: 1, LayerSize: 3_000_000})
	if err := image.Push(t.Context(), r.Access("", ""), "acme/app", "large"); err != nil {
		t.Fatal(err)
	}
	if _, err := regtest.Read(t.Context(), r.Access("", ""), "acme/app", "large"); err != nil {
		t.Fatal(err)
	}
}

type plainLocation struct {
	http.ResponseWriter
	host string
}

func (p *plainLocation) WriteHeader(status int) {
	if at := p.Header().Get("Location"); strings.HasPrefix(at, "/") {
		p.Header().Set("Location", "http://"+p.host+at)
	}
	p.ResponseWriter.WriteHeader(status)
}
