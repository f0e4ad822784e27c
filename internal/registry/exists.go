package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// HasBlob reports whether the repository holds a blob. It asks as often as
// GetManifest does.
//
// Some registries refuse the HEAD of a blob, or send it to storage whose addresses
// are good for GET alone (Harbor, Artifactory, Nexus): they are asked for the blob's
// first byte. Where that is refused too, the error is ErrUnclear.
func (r *Repository) HasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	c := r.session.cache
	there, err := readOnce(ctx, c, &c.blobs, r.cacheKey(digest.String()), r.uncached, func(ctx context.Context) (bool, error) {
		return r.lookForBlob(ctx, digest)
	})
	return there, r.fail(lookForBlob, digest.String(), err)
}

const lookForBlob = "look for blob"

func (r *Repository) lookForBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	head := r.session.supports.answersHead()
	if head {
		there, err := r.askForBlob(ctx, digest, r.call(http.MethodHead, "blobs/"+digest.String()))
		if !errors.Is(err, ErrUnclear) {
			return there, err
		}
	}
	c := r.call(http.MethodGet, "blobs/"+digest.String())
	c.header, c.limit, c.peek = http.Header{"Range": {"bytes=0-0"}}, 1, true
	there, err := r.askForBlob(ctx, digest, c)
	if head && err == nil {
		r.session.supports.refusedHead()
	}
	return there, err
}

func (r *Repository) askForBlob(ctx context.Context, digest v1.Hash, c call) (bool, error) {
	a, err := r.session.send(ctx, c)
	switch {
	case err != nil:
		return false, r.unclear(digest, err)
	case a.Status == http.StatusOK && !a.IsHTML(), a.Status == http.StatusPartialContent:
		return true, nil
	case a.Status == http.StatusNotFound:
		return false, nil
	case a.Status == http.StatusUnauthorized, wire.IsTemporary(a.Status):
		return false, r.refuse(lookForBlob, digest.String(), a)
	default:
		return false, r.unclear(digest, r.refuse(lookForBlob, digest.String(), a))
	}
}

// unclear marks the error of an answer that tells nothing of the blob: a refusal, or
// a redirect that is not followed.
func (r *Repository) unclear(digest v1.Hash, err error) error {
	var refused wire.Refusal
	var e *Error
	err = r.fail(lookForBlob, digest.String(), err)
	if errors.As(err, &e) && (e.Status != 0 && e.Err == nil || errors.As(err, &refused)) {
		e.unclear = true
	}
	return err
}
