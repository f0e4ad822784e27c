package registry

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const loginPage = "<!DOCTYPE html>\n<html><head><title>Sign in\nto continue</title></head><body></body></html>"

// A page is never accepted as a manifest, whether or not its digest is stated, and although a read
// by that digest returns it too.
func TestPageForAManifest(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]struct{ kind, body string }{
		"a page":            {"text/html; charset=utf-8", loginPage},
		"a page as a list":  {string(types.OCIImageIndex), loginPage},
		"a page of text":    {"text/html", "please sign in"},
		"an object of JSON": {"application/json", `{"error":"login_required"}`},
		"a list of JSON":    {"application/json", `[]`},
	} {
		for _, header := range []string{"", sha([]byte(answer.body)), sha(nil)} {
			h := open200(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", answer.kind)
				if header != "" {
					w.Header().Set("Docker-Content-Digest", header)
				}
				_, _ = io.WriteString(w, answer.body)
			})
			bubble(t, h, func(t *testing.T, r *Repository) {
				_, err := r.GetManifest(t.Context(), "dev")
				if header == sha(nil) && errors.Is(err, ErrMismatch) {
					return // also well
				}
				if !errors.Is(err, wire.ErrPage) {
					t.Errorf("%s: error %v", name, err)
				}
				contains(t, HintOf(err), "proxy", "login page")
				lacks(t, HintOf(err), "elete", "spelling")
				if strings.HasPrefix(answer.body, "<") {
					contains(t, err.Error(), `"Sign in to continue"`)
				}
			})
		}
	}
	bubble(t, open200(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, loginPage) }), func(t *testing.T, r *Repository) {
		if _, err := r.GetManifest(t.Context(), sha(nil)); !errors.Is(err, wire.ErrPage) {
			t.Errorf("by digest: %v", err)
		}
	})
}

// The page of a proxy is not a manifest, although it has a digest. It is retried.
func TestManifestThatIsAPage(t *testing.T) {
	t.Parallel()
	for pages, heals := range map[int]bool{2: true, always: false} {
		page := strikes(pages, getDev, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<html>Sign in</html>")
		})
		reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: page})
		fill(t, reg, "acme/app")
		r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
		m, err := r.GetManifest(t.Context(), "dev")
		switch {
		case heals && (err != nil || string(m.Raw) != emptyIndex):
			t.Errorf("%q, error %v", m.Raw, err)
		case !heals && (err == nil || !strings.Contains(err.Error(), "a web page")):
			t.Errorf("%q, error %v", m.Raw, err)
		}
	}
}
