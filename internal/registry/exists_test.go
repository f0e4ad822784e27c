package registry

import (
	"bytes"
	"errors"
	"net/http"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// If HEAD of a blob gets an unexpected answer, its first byte is requested, for all later blobs
// too.
func TestHasBlob_UnexpectedHead(t *testing.T) {
	t.Parallel()
	for name, trait := range map[string]regtest.Trait{
		"400": regtest.HeadBlob(http.StatusBadRequest), "403": regtest.HeadBlob(http.StatusForbidden),
		"405": regtest.HeadBlob(http.StatusMethodNotAllowed), "501": regtest.HeadBlob(http.StatusNotImplemented),
		"redirected": regtest.HeadBlobRedirected(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{trait}})
			large, small := content(1<<20), content(10)
			push(t, reg, "acme/app", large)
			push(t, reg, "acme/app", small)
			r := target(t, reg, "acme/app")
			for _, b := range [][]byte{large, small} {
				if there, err := r.HasBlob(t.Context(), digestOf(b)); err != nil || !there {
					t.Errorf("%d bytes: there %v, error %v", len(b), there, err)
				}
			}
			if there, err := r.HasBlob(t.Context(), digestOf([]byte("absent"))); err != nil || there {
				t.Errorf("there %v, error %v, want that it is absent", there, err)
			}
			wantRequests(t, reg, headBlob, 1)
			for _, q := range matching(reg, getBlob) {
				if q.Sent > 1000 {
					t.Errorf("%d bytes were read", q.Sent)
				}
			}
		})
	}
}

// If HEAD and GET are both refused, or answered with a page, the error is ErrUnclear.
func TestHasBlob_Unclear(t *testing.T) {
	t.Parallel()
	page := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html>log in</html>"))
	}
	away := status(http.StatusTemporaryRedirect, "Location", "https://127.0.0.1.nip.example\u3002/")
	for name, test := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request, http.Handler)
		unclear bool
	}{
		"403":              {status(http.StatusForbidden), true},
		"405":              {status(http.StatusMethodNotAllowed), true},
		"a page":           {page, true},
		"redirect refused": {away, true},
		"401":              {status(http.StatusUnauthorized), false},
		"404":              {status(http.StatusNotFound), false},
		"503":              {status(http.StatusServiceUnavailable), false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, open200(func(w http.ResponseWriter, r *http.Request) { test.answer(w, r, nil) }), func(t *testing.T, r *Repository) {
				there, err := r.HasBlob(t.Context(), digestOf(nil))
				if there || errors.Is(err, ErrUnclear) != test.unclear {
					t.Errorf("there %v, error %v", there, err)
				}
			})
		})
	}
}

// A failed upload is retried if the registry does not say whether the blob arrived.
func TestUploadAfterAFault_UnexpectedHead(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Wrap: regtest.Chain(
		strikes(always, "^(HEAD|GET) /v2/acme/app/blobs/sha256", status(http.StatusForbidden)), regtest.FailOnce(request(putBlob), 503))})
	if _, err := target(t, reg, "acme/app").PutBlob(t.Context(), upload(content(100_000))); err != nil {
		t.Fatal(err)
	}
	wantRequests(t, reg, putBlob, 2)
}

// A registry may lock its storage for uploads and reads. A copy within it starts the PUT after the
// answer to the GET (seen with "crane registry serve").
func TestUploadWithinALockedRegistry(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{regtest.OneAtATime()}})
	blob := content(1 << 17)
	d := push(t, reg, "dev/app", blob)
	c := client(t, nil)
	from := repository(t, c, credential.Source, reg.Host()+"/dev/app", Pull)
	to := repository(t, c, credential.Target, reg.Host()+"/prod/app", Push)
	if _, err := to.PutBlob(t.Context(), Upload{Blob: d, From: from}); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, reg, "prod/app", d); !bytes.Equal(got, blob) {
		t.Errorf("%d bytes stored", len(got))
	}
}
