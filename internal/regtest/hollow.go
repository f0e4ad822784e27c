package regtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Hollow is a registry's backend that holds no blob: what is read is made anew each time, what is written is hashed
// and forgotten. A layer of any size takes neither memory nor disk. Manifests are kept. It has no referrers API and
// mounts nothing.
type Hollow struct {
	mu        sync.Mutex
	manifests map[string]kept  // by repository and reference
	blobs     map[string]*Blob // by repository and digest; without open when it was written
	uploads   map[string]*swallowed
}

type kept struct {
	mediaType, digest string
	text              []byte
}

// swallowed is what an upload has brought so far.
type swallowed struct {
	mu   sync.Mutex
	hash hash.Hash
	size int64
}

// NewHollow makes an empty one, for Options.Backend.
func NewHollow() *Hollow {
	return &Hollow{manifests: map[string]kept{}, blobs: map[string]*Blob{}, uploads: map[string]*swallowed{}}
}

// Hold puts an image into a repository and gives it a tag.
func (h *Hollow) Hold(i *Image, repository, tag string) {
	for _, b := range i.Blobs {
		h.blobs[repository+"@"+b.Digest] = b
	}
	for _, m := range i.Manifests {
		k := kept{m.MediaType, m.Digest, m.Bytes}
		h.manifests[repository+"@"+m.Digest] = k
		if m.Tag != "" {
			h.manifests[repository+"@"+m.Tag] = k
		}
		if m.Digest == i.Root {
			h.manifests[repository+"@"+tag] = k
		}
	}
}

func (h *Hollow) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, ok := parsePath(r.URL.Path)
	switch {
	case r.URL.Path == "/v2/":
		w.WriteHeader(http.StatusOK)
	case ok && t.kind == "manifests" && r.Method == http.MethodPut:
		h.putManifest(w, r, t)
	case ok && t.kind == "manifests":
		h.getManifest(w, t)
	case ok && t.kind == "blobs" && strings.HasPrefix(t.name, "uploads/"):
		h.upload(w, r, t)
	case ok && t.kind == "blobs":
		h.getBlob(w, r, t)
	case ok && t.kind == "tags":
		h.listTags(w, t)
	default:
		http.NotFound(w, r)
	}
}

// listTags has one page for all.
func (h *Hollow) listTags(w http.ResponseWriter, t target) {
	list := struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{t.repository, []string{}}
	h.mu.Lock()
	for key := range h.manifests {
		if repository, reference, _ := strings.Cut(key, "@"); repository == t.repository && !strings.Contains(reference, ":") {
			list.Tags = append(list.Tags, reference)
		}
	}
	h.mu.Unlock()
	slices.Sort(list.Tags)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(marshal(list))
}

func (h *Hollow) putManifest(w http.ResponseWriter, r *http.Request, t target) {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxManifest))
	if err != nil {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", err.Error())
		return
	}
	k := kept{r.Header.Get("Content-Type"), digestOf(text), text}
	h.mu.Lock()
	h.manifests[t.repository+"@"+t.name] = k
	h.manifests[t.repository+"@"+k.digest] = k
	h.mu.Unlock()
	w.Header().Set("Docker-Content-Digest", k.digest)
	w.Header().Set("Location", r.URL.Path)
	w.WriteHeader(http.StatusCreated)
}

// getManifest answers HEAD too: net/http leaves the body out.
func (h *Hollow) getManifest(w http.ResponseWriter, t target) {
	h.mu.Lock()
	k, ok := h.manifests[t.repository+"@"+t.name]
	h.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")
		return
	}
	w.Header().Set("Content-Type", k.mediaType)
	w.Header().Set("Docker-Content-Digest", k.digest)
	w.Header().Set("Content-Length", strconv.Itoa(len(k.text)))
	_, _ = w.Write(k.text)
}

func (h *Hollow) getBlob(w http.ResponseWriter, r *http.Request, t target) {
	h.mu.Lock()
	b := h.blobs[t.repository+"@"+t.name]
	h.mu.Unlock()
	if b == nil || b.open == nil && r.Method != http.MethodHead {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "no such blob, or written and forgotten")
		return
	}
	w.Header().Set("Docker-Content-Digest", b.Digest)
	w.Header().Set("Content-Type", "application/octet-stream")
	from, status := int64(0), http.StatusOK
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && from > 0 && from < b.Size {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, b.Size-1, b.Size))
		status = http.StatusPartialContent
	} else {
		from = 0
	}
	w.Header().Set("Content-Length", strconv.FormatInt(b.Size-from, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	made := b.open()
	if _, err := io.CopyN(io.Discard, made, from); err == nil {
		_, _ = io.CopyBuffer(struct{ io.Writer }{w}, made, make([]byte, 256<<10))
	}
}

// upload is POST, PATCH, PUT and GET of an upload, in one piece or in several.
func (h *Hollow) upload(w http.ResponseWriter, r *http.Request, t target) {
	s, place := h.session(r, t)
	if s == nil {
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "no such upload")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := io.CopyBuffer(struct{ io.Writer }{s.hash}, struct{ io.Reader }{r.Body}, make([]byte, 256<<10))
	s.size += n
	if err != nil {
		refuse(w, http.StatusBadRequest, "BLOB_UPLOAD_INVALID", err.Error())
		return
	}
	digest := r.URL.Query().Get("digest")
	if digest != "" && r.Method != http.MethodPatch {
		h.complete(w, t, s, digest)
		return
	}
	w.Header().Set("Location", place)
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(s.size-1, 0)))
	status := http.StatusAccepted
	if r.Method == http.MethodGet {
		status = http.StatusNoContent
	}
	w.WriteHeader(status)
}

// session finds an upload, or begins one; nil when it is unknown.
func (h *Hollow) session(r *http.Request, t target) (s *swallowed, place string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Method != http.MethodPost {
		return h.uploads[r.URL.Path], r.URL.Path
	}
	place = fmt.Sprintf("/v2/%s/blobs/uploads/%d", t.repository, len(h.uploads)+1)
	h.uploads[place] = &swallowed{hash: sha256.New()}
	return h.uploads[place], place
}

func (h *Hollow) complete(w http.ResponseWriter, t target, s *swallowed, digest string) {
	if got := "sha256:" + hex.EncodeToString(s.hash.Sum(nil)); got != digest {
		refuse(w, http.StatusBadRequest, "DIGEST_INVALID", "the bytes hash to "+got)
		return
	}
	h.mu.Lock()
	key := t.repository + "@" + digest
	if h.blobs[key] == nil {
		h.blobs[key] = &Blob{Digest: digest, Size: s.size}
	}
	h.mu.Unlock()
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Location", "/v2/"+t.repository+"/blobs/"+digest)
	w.WriteHeader(http.StatusCreated)
}
