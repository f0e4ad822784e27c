package regtest

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// presignedFor is how long a URL is good that a blob was redirected to.
const presignedFor = 5 * time.Second

// elsewhere is the host that blobs are redirected to. As storage with presigned URLs does, it refuses requests that
// bring an Authorization of their own, and it remembers them.
type elsewhere struct {
	host string
	next http.Handler // the registry, which asks for no token here

	mu     sync.Mutex
	signed map[string]presigned
	leaks  []string
}

// presigned is a blob that anybody may read for a while.
type presigned struct {
	path  string
	until time.Time
}

func newElsewhere() *elsewhere { return &elsewhere{signed: map[string]presigned{}} }

const presignedPath = "/presigned/"

func (e *elsewhere) redirect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	path := fmt.Sprint(presignedPath, len(e.signed))
	e.signed[path] = presigned{r.URL.Path, time.Now().Add(presignedFor)}
	e.mu.Unlock()
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	http.Redirect(w, r, scheme+e.host+path, http.StatusTemporaryRedirect)
}

// path is the path of a request, or of what it stands for here.
func (e *elsewhere) path(r *http.Request) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s, ok := e.signed[r.URL.Path]; ok {
		return "elsewhere " + s.path
	}
	return r.URL.Path
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	s, ok := e.signed[r.URL.Path]
	if r.Header.Get("Authorization") != "" {
		e.leaks = append(e.leaks, r.Method+" "+r.URL.Path)
	}
	e.mu.Unlock()
	switch {
	case r.Header.Get("Authorization") != "":
		refuse(w, http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed")
	case !ok && strings.Contains(r.URL.Path, "/uploads/"):
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN", "there are no uploads here")
	case !ok || !time.Now().Before(s.until):
		refuse(w, http.StatusForbidden, "AccessDenied", "Request has expired")
	default:
		q := r.Clone(r.Context())
		q.URL.Path = s.path
		e.next.ServeHTTP(w, q)
	}
}

func (e *elsewhere) leaked() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string(nil), e.leaks...)
}
