package regtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// wireError is one error of an answer (distribution specification, "Error Codes").
type wireError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  any    `json:"detail,omitempty"`
}

func refuseWith(w http.ResponseWriter, status int, errors ...wireError) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(marshal(map[string][]wireError{"errors": errors}))
}

// page is what a proxy or a login service answers.
func page(w http.ResponseWriter, status int, title string) {
	text := "<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n"
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// intercept makes a layer of a function that answers a request, or hands it on.
func intercept(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) layer {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f(w, r, next) })
	}
}

// putting is a manifest that is being written.
type putting struct {
	target
	anyManifest
	mediaType string
	text      []byte
}

func (p putting) isIndex() bool { return p.mediaType == ociIndex || p.mediaType == dockerList }

// onPut makes a layer that looks at each manifest before it is written. It answers, or returns false.
func onPut(refuses func(w http.ResponseWriter, r *http.Request, p putting, next http.Handler) bool) layer {
	return intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		t, ok := parsePath(r.URL.Path)
		if !ok || t.kind != "manifests" || r.Method != http.MethodPut {
			next.ServeHTTP(w, r)
			return
		}
		p := putting{target: t, mediaType: r.Header.Get("Content-Type"), text: takeBody(r)}
		_ = json.Unmarshal(p.text, &p.anyManifest) // the registry itself says so when it is none
		if !refuses(w, r, p, next) {
			next.ServeHTTP(w, r)
		}
	})
}

// takeBody reads a manifest that a request brings, and puts it back.
func takeBody(r *http.Request) []byte {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxManifest))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return text
}

// maxManifest is more than any registry takes: the specification asks for at least 4 MiB, olareg takes 8.
const maxManifest = 16 << 20

// inside asks what is below a layer.
func inside(ctx context.Context, next http.Handler, path string) *held {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		return &held{discarded: discarded{header: http.Header{}, status: http.StatusBadRequest}}
	}
	r.Header.Set("Accept", acceptManifests)
	return keep(next, r)
}

func (t target) manifest(reference string) string {
	return "/v2/" + t.repository + "/manifests/" + reference
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// to is the request with another path.
func to(r *http.Request, path string) *http.Request {
	q := r.Clone(r.Context())
	q.URL.Path, q.URL.RawPath = path, ""
	return q
}

// replace sends another body in place of an answer's.
func (k *held) replace(text []byte) {
	k.body.Reset()
	_, _ = k.body.Write(text)
	k.header.Set("Content-Length", strconv.Itoa(len(text)))
}

// counter is true for every n-th call.
func counter(every int) func() bool {
	var mu sync.Mutex
	n := 0
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		n++
		return n%every == 0
	}
}

// set is a set of texts.
type set struct {
	mu  sync.Mutex
	all map[string]bool
}

func newSet() *set { return &set{all: map[string]bool{}} }

func (s *set) has(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[key]
}

func (s *set) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[key] = true
}

func (s *set) remove(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, key)
}

// onStatus calls f with an answer's status before the client can have seen it; f may change the header.
type onStatus struct {
	http.ResponseWriter
	f    func(status int)
	done bool
}

func (o *onStatus) WriteHeader(status int) {
	if !o.done && status >= http.StatusOK {
		o.done = true
		o.f(status)
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *onStatus) Write(p []byte) (int, error) {
	if !o.done {
		o.WriteHeader(http.StatusOK)
	}
	return o.ResponseWriter.Write(p)
}

func (o *onStatus) Unwrap() http.ResponseWriter { return o.ResponseWriter }
