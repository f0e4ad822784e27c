package regtest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
)

// LoginPage answers requests that match with status 200 and a page to log in on.
func LoginPage(match func(*http.Request) bool) Trait {
	return Trait{
		Name: "a login page", Does: "200 with a proxy's HTML in place of a manifest, a list or a token",
		Source: "cesanta/docker_auth#174; coder/coder#8297",
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if match(r) {
				page(w, http.StatusOK, "Sign in to continue")
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// ZippedAnswers sends manifests and lists with Content-Encoding gzip, whether or not the client asked for it.
func ZippedAnswers() Trait {
	return Trait{
		Name: "gzip unasked", Does: "`Content-Encoding: gzip` on manifests and lists, unasked",
		Source: "RFC 9110, section 12.5.3; quay/quay#1310",
		layers: inFront(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			t, ok := parsePath(r.URL.Path)
			if !ok || t.kind == "blobs" || r.Method != http.MethodGet {
				next.ServeHTTP(w, r)
				return
			}
			answer := keep(next, r)
			if answer.status == http.StatusOK {
				var zipped bytes.Buffer
				z := gzip.NewWriter(&zipped)
				_, _ = z.Write(answer.body.Bytes())
				_ = z.Close()
				answer.replace(zipped.Bytes())
				answer.header.Set("Content-Encoding", "gzip")
			}
			answer.send(w, r.Method)
		})),
	}
}

// UntypedChildren serves a manifest that does not say its own type as that, when it is asked for by its digest.
func UntypedChildren(mediaType string) Trait {
	return Trait{
		Name: "untyped manifests", Does: "serves a manifest without `mediaType` as " + mediaType,
		Source: "https://github.com/opencontainers/image-spec/blob/main/manifest.md#image-manifest-property-descriptions",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			t, ok := parsePath(r.URL.Path)
			if !ok || t.kind != "manifests" || t.isTag() || !isRead(r) {
				next.ServeHTTP(w, r)
				return
			}
			answer := inside(r.Context(), next, r.URL.Path)
			var m struct{ MediaType string }
			if json.Unmarshal(answer.body.Bytes(), &m) == nil && m.MediaType == "" && answer.status == http.StatusOK {
				answer.header.Set("Content-Type", mediaType)
			}
			answer.send(w, r.Method)
		})),
	}
}
