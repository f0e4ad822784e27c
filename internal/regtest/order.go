package regtest

import (
	"bytes"
	"io"
	"net/http"
	"sync"
)

// maxManifest is more than any registry takes: the specification asks for at least 4 MiB, olareg takes 8.
const maxManifest = 16 << 20

// orderedWrites lets one manifest be written or deleted at a time. olareg v0.1.2 (referrerAdd in its referrer.go)
// reads, changes and writes a subject's list without a lock, so that of two referrers put at once one can be
// lost. No hosted registry does that: it would make tests fail for a fault that the product cannot see.
type orderedWrites struct {
	mu   sync.Mutex
	next http.Handler
}

func (o *orderedWrites) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, ok := parsePath(r.URL.Path)
	if !ok || t.kind != "manifests" || (r.Method != http.MethodPut && r.Method != http.MethodDelete) {
		o.next.ServeHTTP(w, r)
		return
	}
	// The whole body comes first, so that a slow client does not hold up the others.
	body, err := io.ReadAll(io.LimitReader(r.Body, maxManifest))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.next.ServeHTTP(w, r)
}
