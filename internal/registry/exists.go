package registry

import (
	"context"
	"errors"
	"mime"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// HasBlob reports whether the repository holds a blob. It asks as often as
// GetManifest does.
//
// Some registries refuse the HEAD of a blob, or send it to storage whose addresses
// are good for GET alone (Harbor, Artifactory, Nexus): they are asked for the blob's
// first byte. Where that is refused too, the error is ErrUnclear.
func (r *Repository) HasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	c := r.session.hosts.cache
	there, err := ask(ctx, c, &c.blobs, r.place(digest.String()), r.uncached, func(ctx context.Context) (bool, error) {
		return r.lookForBlob(ctx, digest)
	})
	return there, r.fail(lookForBlob, digest.String(), err)
}

const lookForBlob = "look for blob"

func (r *Repository) lookForBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	head := r.session.at.answersHead()
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
		r.session.at.refusedHead()
	}
	return there, err
}

func (r *Repository) askForBlob(ctx context.Context, digest v1.Hash, c call) (bool, error) {
	a, err := r.session.send(ctx, c)
	switch {
	case err != nil:
		return false, r.unclear(digest, err)
	case a.status == http.StatusOK && !a.isHTML(), a.status == http.StatusPartialContent:
		return true, nil
	case a.status == http.StatusNotFound:
		return false, nil
	case a.status == http.StatusUnauthorized, temporaryStatus(a.status):
		return false, r.refuse(lookForBlob, digest.String(), a)
	default:
		return false, r.unclear(digest, r.refuse(lookForBlob, digest.String(), a))
	}
}

// unclear marks the error of an answer that tells nothing of the blob: a refusal, or
// a redirect that is not followed.
func (r *Repository) unclear(digest v1.Hash, err error) error {
	var refused refusal
	var e *Error
	err = r.fail(lookForBlob, digest.String(), err)
	if errors.As(err, &e) && (e.Status != 0 && e.Err == nil || errors.As(err, &refused)) {
		e.unclear = true
	}
	return err
}

// isHTML tells by its header alone an answer that is a login page or a proxy's error
// and no blob. What type a blob has nobody says; storage sends octets.
func (a *answer) isHTML() bool {
	kind, _, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	return err == nil && kind == "text/html" && a.header.Get("Docker-Content-Digest") == ""
}
