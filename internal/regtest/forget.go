package regtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
)

// serve is the registry, for everybody: lists of referrers lack what is not listed, and what is written again is.
func (c *Chaos) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	c.omission.Wrap(next).ServeHTTP(w, r)
}

// Omission leaves manifests out of the lists of referrers until they are written again.
type Omission struct{ omitted *set } // as repository@digest

// NewOmission returns one that leaves nothing out yet.
func NewOmission() *Omission { return &Omission{newSet()} }

// Wrap is the layer around a registry.
func (o *Omission) Wrap(next http.Handler) http.Handler {
	lists := onReferrers(func(t target, list []json.RawMessage) []json.RawMessage {
		return slices.DeleteFunc(list, func(entry json.RawMessage) bool { return o.omitted.has(t.repository + "@" + digestIn(entry)) })
	})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := parsePath(r.URL.Path)
		switch {
		case t.kind == "referrers":
			lists.ServeHTTP(w, r)
			return
		case t.kind == "manifests" && r.Method == http.MethodPut:
			o.omitted.remove(t.repository + "@" + digestOf(requestBody(r)))
		}
		next.ServeHTTP(w, r)
	})
}

// Take stores a manifest, and leaves it out of the lists. It reports whether it was stored.
func (o *Omission) Take(next http.Handler, w http.ResponseWriter, r *http.Request) bool {
	t, _ := parsePath(r.URL.Path)
	key := t.repository + "@" + digestOf(requestBody(r))
	k := keep(next, r)
	if k.status == http.StatusCreated {
		o.omitted.add(key)
	}
	k.send(w, r.Method)
	return k.status == http.StatusCreated
}

// requestBody reads a request's body, and puts it back.
func requestBody(r *http.Request) []byte {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(text), failingBody{err}))
		return text
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return text
}

// failingBody ends as the body did that was read.
type failingBody struct{ error }

func (b failingBody) Read([]byte) (int, error) { return 0, b.error }

func hasSubject(r *http.Request) bool {
	var m struct{ Subject *Descriptor }
	return json.Unmarshal(requestBody(r), &m) == nil && m.Subject != nil
}

// unlist takes a manifest and leaves it out of the lists.
func (h *hit) unlist(w http.ResponseWriter) {
	if h.chaos.omission.Take(h.next, w, h.request) {
		h.note("")
	}
}

// lose takes what is new, and forgets it. What was there before stays: a tag may hold it.
func (h *hit) lose(w http.ResponseWriter) {
	t, _ := parsePath(h.request.URL.Path)
	path := h.request.URL.Path
	if t.kind == "blobs" {
		path = "/v2/" + t.repository + "/blobs/" + h.request.URL.Query().Get("digest")
	}
	before := h.inside(http.MethodHead, path)
	k := h.keep()
	if before == http.StatusNotFound && k.status == http.StatusCreated {
		h.note("the registry's own answer to its deletion: %d", h.inside(http.MethodDelete, path))
	}
	k.send(w, h.request.Method)
}

// inside asks the registry itself, which asks for no credentials there.
func (h *hit) inside(method, path string) int {
	q, err := http.NewRequestWithContext(h.request.Context(), method, path, http.NoBody)
	if err != nil {
		return 0
	}
	q.Host = h.request.Host
	q.Header.Set("Accept", acceptManifests)
	return keep(h.chaos.registry.open, q).status
}
