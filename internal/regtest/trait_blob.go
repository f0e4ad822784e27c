package regtest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// isBlob says whether a request reads a blob.
func isBlob(r *http.Request) bool {
	t, ok := parsePath(r.URL.Path)
	return ok && t.kind == "blobs" && !strings.HasPrefix(t.name, "uploads/") && isRead(r)
}

// HeadBlob answers that status to the HEAD of a blob; GET works.
func HeadBlob(status int) Trait {
	return Trait{
		Name:   "no HEAD of blobs",
		Does:   fmt.Sprintf("%d to the HEAD of a blob, whether it is there or not; GET works", status),
		Source: "containerd/stargz-snapshotter#167; containerd/containerd#3556",
		layers: overStore(intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if isBlob(r) && r.Method == http.MethodHead {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, r)
		})),
	}
}

// HeadBlobRedirected sends who reads a blob to a presigned address, which is good for GET alone.
func HeadBlobRedirected() Trait {
	return Trait{
		Name:   "blobs are redirected, for GET alone",
		Does:   "redirects reads of a blob to a presigned URL; a HEAD is refused there with 403",
		Source: "pulp/pulp_container#579",
		layers: func() (front, store layer) {
			s := &presignedStore{signed: map[string]string{}}
			return s.serve, s.redirect
		},
	}
}

type presignedStore struct {
	mu     sync.Mutex
	next   http.Handler
	signed map[string]string
}

func (s *presignedStore) redirect(next http.Handler) http.Handler {
	s.next = next
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What is not there is not redirected.
		if !isBlob(r) || !exists(next, r) {
			next.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		path := presignedPath + strconv.Itoa(len(s.signed))
		s.signed[path] = r.URL.Path
		s.mu.Unlock()
		w.Header().Set("Location", path+"?Signature=abc%2Bdef%3D&Expires=1785500000")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

func exists(next http.Handler, r *http.Request) bool {
	q, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), http.MethodHead, r.URL.Path, http.NoBody)
	if err != nil {
		return false
	}
	answer := &discarded{header: http.Header{}}
	next.ServeHTTP(answer, q)
	return answer.status == http.StatusOK
}

func (s *presignedStore) serve(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		path, ok := s.signed[r.URL.Path]
		s.mu.Unlock()
		switch {
		case !ok:
			next.ServeHTTP(w, r)
		case r.Method != http.MethodGet:
			w.WriteHeader(http.StatusForbidden)
		default:
			s.next.ServeHTTP(w, to(r, path))
		}
	})
}

// GoneBlobs says 200 to the HEAD of blobs that are gone. A manifest that names one is refused until it was uploaded
// again; a lax registry takes it.
func GoneBlobs(is func(repository, digest string) bool, lax bool) Trait {
	return Trait{
		Name:   "HEAD 200 for a blob that is gone",
		Does:   "200 to the HEAD of a blob whose bytes are gone; then 400 `MANIFEST_BLOB_UNKNOWN` to the manifest, or 201 on a lax registry",
		Source: "gardener/cc-utils#1752; opencontainers/distribution-spec#569",
		layers: func() (layer, layer) {
			g := &goneBlobs{is: is, lax: lax, back: newSet()}
			return nil, g.layer
		},
	}
}

type goneBlobs struct {
	is   func(repository, digest string) bool
	lax  bool
	back *set
}

func (g *goneBlobs) gone(repository, digest string) bool {
	return g.is(repository, digest) && !g.back.has(repository+"@"+digest)
}

func (g *goneBlobs) layer(next http.Handler) http.Handler {
	put := onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
		for _, d := range p.blobs() {
			if !g.lax && g.gone(p.repository, d.Digest) {
				refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", map[string]string{"Digest": d.Digest}})
				return true
			}
		}
		return false
	})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := parsePath(r.URL.Path)
		digest := r.URL.Query().Get("digest")
		switch {
		case isBlob(r) && r.Method == http.MethodGet && g.gone(t.repository, t.name):
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		case t.kind == "blobs" && digest != "":
			next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
				if status == http.StatusCreated {
					g.back.add(t.repository + "@" + digest)
				}
			}}, r)
		case t.kind == "blobs" && r.Method == http.MethodPost && g.gone(t.repository, r.URL.Query().Get("mount")):
			q := to(r, r.URL.Path)
			q.URL.RawQuery = "" // a mount that cannot be done begins an upload
			next.ServeHTTP(w, q)
		default:
			put.ServeHTTP(w, r)
		}
	})
}

// blobs are the config and the layers that a manifest names.
func (m anyManifest) blobs() []Descriptor {
	all := append([]Descriptor(nil), m.Layers...)
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	return all
}

// BlobsCollected forgets a blob that no manifest names so long after it was uploaded.
func BlobsCollected(after time.Duration) Trait {
	return Trait{
		Name:   "unreferenced blobs are collected",
		Does:   "a blob that no manifest names is gone some time after its upload (24 h on GitLab, 1 h on zot)",
		Source: "https://docs.gitlab.com/user/packages/container_registry/delete_container_registry_images/ (24 h); https://zotregistry.dev/v2.1.14/articles/storage (1 h)",
		layers: func() (layer, layer) {
			c := &collected{after: after, uploaded: map[string]time.Time{}}
			return nil, c.layer
		},
	}
}

type collected struct {
	after    time.Duration
	mu       sync.Mutex
	uploaded map[string]time.Time // by repository and digest: those that no manifest names
}

func (c *collected) gone(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.uploaded[key]
	return ok && time.Since(at) >= c.after
}

func (c *collected) layer(next http.Handler) http.Handler {
	put := onPut(func(w http.ResponseWriter, _ *http.Request, p putting, _ http.Handler) bool {
		for _, d := range p.blobs() {
			if c.gone(p.repository + "@" + d.Digest) {
				refuseWith(w, http.StatusBadRequest, wireError{"MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", map[string]string{"Digest": d.Digest}})
				return true
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, d := range p.blobs() {
			delete(c.uploaded, p.repository+"@"+d.Digest)
		}
		return false
	})(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, _ := parsePath(r.URL.Path)
		digest := r.URL.Query().Get("digest")
		switch {
		case isBlob(r) && c.gone(t.repository+"@"+t.name):
			refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		case t.kind == "blobs" && digest != "":
			next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
				if status == http.StatusCreated {
					c.mu.Lock()
					defer c.mu.Unlock()
					c.uploaded[t.repository+"@"+digest] = time.Now()
				}
			}}, r)
		default:
			put.ServeHTTP(w, r)
		}
	})
}

// OneAtATime holds one lock over all blobs while it reads an upload.
func OneAtATime() Trait {
	return Trait{
		Name:   "a lock over uploads",
		Does:   "reads no blob out while an upload comes in: a PUT that waits for a GET of the same registry waits for ever",
		Source: "https://github.com/google/go-containerregistry/blob/main/pkg/registry/blobs.go (seen on `crane registry serve`)",
		layers: func() (layer, layer) {
			lock := make(chan struct{}, 1)
			return nil, intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if t, ok := parsePath(r.URL.Path); !ok || t.kind != "blobs" {
					next.ServeHTTP(w, r)
					return
				}
				select {
				case lock <- struct{}{}:
					defer func() { <-lock }()
					next.ServeHTTP(w, r)
				case <-r.Context().Done():
					panic(http.ErrAbortHandler)
				}
			})
		},
	}
}

// onLocation makes a layer that changes the Location of an upload.
func onLocation(change func(r *http.Request, at *url.URL)) layer {
	return intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		t, ok := parsePath(r.URL.Path)
		if !ok || t.kind != "blobs" || r.Method != http.MethodPost && r.Method != http.MethodPatch {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&onStatus{ResponseWriter: w, f: func(status int) {
			if at, err := r.URL.Parse(w.Header().Get("Location")); err == nil && status == http.StatusAccepted {
				change(r, at)
				w.Header().Set("Location", at.String())
			}
		}}, r)
	})
}

// The reports on an upload's Location behind a proxy that passes neither the scheme nor the port on.
const (
	locationScheme = "distribution/distribution#479; distribution/distribution#996"
	locationPort   = "docker-archive/docker-registry#545; moby/moby#15048"
	locationHost   = "distribution/distribution#970"
)

// PlainLocation points an upload to http, though the client came by https.
func PlainLocation() Trait {
	return Trait{
		Name: "http Location", Does: "an upload's `Location` is http:// behind a proxy that ends TLS", Source: locationScheme,
		layers: inFront(onLocation(func(r *http.Request, at *url.URL) { at.Scheme, at.Host = "http", r.Host })),
	}
}

// LocationWithoutPort points an upload to the right host, without its port.
func LocationWithoutPort() Trait {
	return Trait{
		Name: "Location without its port", Does: "an upload's `Location` has lost the port", Source: locationPort,
		layers: inFront(onLocation(func(r *http.Request, at *url.URL) {
			at.Scheme, at.Host = "http", strings.Split(r.Host, ":")[0]
			if r.TLS != nil {
				at.Scheme = "https"
			}
		})),
	}
}

// LocationAt points an upload to another address, such as a closed port.
func LocationAt(address string) Trait {
	return Trait{
		Name: "Location elsewhere", Does: "an upload's `Location` is at a host that nobody answers on", Source: locationHost,
		layers: inFront(onLocation(func(_ *http.Request, at *url.URL) { at.Scheme, at.Host = "http", address })),
	}
}

// oddState is a query that does not survive being parsed and written again.
const oddState = "_state=a%20b;c=%2F"

// OddLocationQuery gives an upload's Location a query that has to come back as it is.
func OddLocationQuery() Trait {
	return Trait{
		Name:   "odd query in Location",
		Does:   "an upload's `Location` has a query with `%20` and `;`, and 400 `BLOB_UPLOAD_INVALID` to whoever changes it",
		Source: "https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs",
		layers: inFront(func(next http.Handler) http.Handler {
			marked := onLocation(func(_ *http.Request, at *url.URL) { addQuery(at, oddState) })(next)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				t, ok := parsePath(r.URL.Path)
				if !ok || t.kind != "blobs" || r.Method != http.MethodPut && r.Method != http.MethodPatch {
					marked.ServeHTTP(w, r)
					return
				}
				if !strings.Contains(r.URL.RawQuery, oddState) {
					refuseWith(w, http.StatusBadRequest, wireError{"BLOB_UPLOAD_INVALID", "blob upload invalid", "the state was changed: " + r.URL.RawQuery})
					return
				}
				q := to(r, r.URL.Path)
				q.URL.RawQuery = strings.Trim(strings.Replace(strings.Replace(r.URL.RawQuery, oddState, "", 1), "&&", "&", 1), "&")
				marked.ServeHTTP(w, q)
			})
		}),
	}
}
