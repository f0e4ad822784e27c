package regtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"
)

// lags are the reads that lag behind writes: of tags, manifests, blobs, and of a subject's list of referrers.
type lags struct {
	mu   sync.Mutex
	over bool
	old  map[string]lagging // by path
}

// lagging is what a path answers until a time: what it held before.
type lagging struct {
	until  time.Time
	answer *held
}

func newLags() *lags { return &lags{old: map[string]lagging{}} }

// hide reads what a write is about to change. The function that it returns hides the change until a time; it
// is nil when nothing can be read that changes.
func (l *lags) hide(next http.Handler, r *http.Request) func(until time.Time) {
	before := map[string]*held{}
	for _, path := range written(r) {
		q, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), http.MethodGet, path, http.NoBody)
		if err != nil {
			continue
		}
		q.Host = r.Host
		q.Header.Set("Accept", acceptManifests)
		q.Header["Authorization"] = r.Header["Authorization"]
		before[path] = keep(next, q)
	}
	if len(before) == 0 {
		return nil
	}
	return func(until time.Time) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for path, answer := range before {
			if answer.status == http.StatusOK || answer.status == http.StatusNotFound {
				l.old[path] = lagging{until, answer}
			}
		}
	}
}

// written lists what a write changes. The body of a manifest is read for it, and put back.
func written(r *http.Request) []string {
	t, _ := parsePath(r.URL.Path)
	repository := "/v2/" + t.repository
	switch t.kind {
	case "blobs":
		query := r.URL.Query()
		for _, key := range []string{"digest", "mount"} {
			if digest := query.Get(key); digest != "" {
				return []string{repository + "/blobs/" + digest}
			}
		}
		return nil
	case "manifests":
		text, err := io.ReadAll(io.LimitReader(r.Body, maxManifest))
		r.Body = io.NopCloser(bytes.NewReader(text))
		if err != nil {
			r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(text), &endingBody{bytes.NewReader(nil)}))
			return nil
		}
		paths := []string{r.URL.Path, repository + "/manifests/" + digestOf(text)}
		var m anyManifest
		if json.Unmarshal(text, &m) == nil && m.Subject != nil {
			paths = append(paths, repository+"/referrers/"+m.Subject.Digest)
		}
		return paths
	}
	return nil
}

// serve answers a read of what is hidden.
func (l *lags) serve(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.URL.RawQuery != "" {
		return false
	}
	l.mu.Lock()
	old, ok := l.old[r.URL.Path]
	over := l.over
	l.mu.Unlock()
	if !ok || over || !time.Now().Before(old.until) {
		return false
	}
	old.answer.send(w, r.Method)
	return true
}

// end shows everything.
func (l *lags) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
}

// keep hides what a path holds, until that time.
func (l *lags) keep(path string, old lagging) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.old[path] = old
}
