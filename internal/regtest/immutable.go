package regtest

import (
	"context"
	"net/http"
)

// immutable refuses to write a tag again, in the way of ECR: with TAG_INVALID, for the same digest too.
type immutable struct {
	is   func(repository, tag string) bool
	next http.Handler
}

func (i *immutable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, ok := parsePath(r.URL.Path)
	if ok && r.Method == http.MethodPut && t.isTag() && i.is(t.repository, t.name) && i.exists(r.Context(), r.URL.Path) {
		refuse(w, http.StatusBadRequest, "TAG_INVALID",
			"The image tag already exists and cannot be overwritten because the repository is immutable.")
		return
	}
	i.next.ServeHTTP(w, r)
}

func (i *immutable) exists(ctx context.Context, path string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, path, http.NoBody)
	if err != nil {
		return false
	}
	r.Header.Set("Accept", acceptManifests)
	answer := &discarded{header: http.Header{}}
	i.next.ServeHTTP(answer, r)
	return answer.status == http.StatusOK
}

// discarded is an answer of which only the status is kept.
type discarded struct {
	header http.Header
	status int
}

func (d *discarded) Header() http.Header { return d.header }

func (d *discarded) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

func (d *discarded) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return len(p), nil
}
