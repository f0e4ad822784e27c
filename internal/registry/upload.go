package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// mismatches is how often a blob is read anew at the source because its bytes
// did not have its digest: a flipped bit on the way heals, a broken store does not.
const mismatches = 3

// Upload is one blob on its way into a repository.
type Upload struct {
	Blob      v1.Descriptor
	Open      func(context.Context) io.ReadCloser // reads the blob from its start; its errors are final
	MountFrom *Repository                         // where the registry may take it over from; nil: nowhere
	Moved     func(bytes int64)                   // called as bytes go out, with negative numbers when they went for nothing
}

// PutBlob brings a blob into the repository, and reports whether the registry
// took it over from another repository without a byte being sent.
//
// After a failure it looks whether the blob arrived after all, and else starts a
// new session: what is left of an old one cannot be relied on.
func (r *Repository) PutBlob(ctx context.Context, u Upload) (mounted bool, err error) {
	op := &uploading{repo: r, Upload: u}
	for failures := 0; ; failures++ {
		mounted, err := op.attempt(ctx)
		if err == nil {
			return mounted, nil
		}
		if ctx.Err() != nil {
			return false, r.fail("write blob", u.Blob.Digest.String(), context.Cause(ctx))
		}
		if !op.again(err) || failures+1 >= attempts {
			return false, r.fail("write blob", u.Blob.Digest.String(), err)
		}
		if err := wait(ctx, failures, err); err != nil {
			return false, r.fail("write blob", u.Blob.Digest.String(), err)
		}
		there, err := r.HasBlob(ctx, u.Blob.Digest)
		if there {
			op.count(u.Blob.Size) // which was taken back when the answer did not come
		}
		if there || err != nil {
			return false, err
		}
	}
}

type uploading struct {
	repo *Repository
	Upload
	chunked    bool // PATCH, then PUT: some registries refuse a large body in one PUT
	mismatches int
}

func (o *uploading) again(err error) bool {
	if errors.Is(err, ErrMismatch) {
		o.mismatches++
		return o.mismatches < mismatches
	}
	var again errAgain
	return errors.As(err, &again)
}

// attempt is one upload session from its start to its end.
func (o *uploading) attempt(ctx context.Context) (mounted bool, err error) {
	location, err := o.start(ctx)
	if err != nil || location == nil {
		return err == nil, err
	}
	if !o.chunked {
		return false, o.put(ctx, location)
	}
	if location, err = o.patch(ctx, location); err != nil {
		return false, err
	}
	if err = o.commit(ctx, location); err != nil {
		o.count(-o.Blob.Size) // patch has counted them
	}
	return false, err
}

func (o *uploading) count(bytes int64) {
	if o.Moved != nil {
		o.Moved(bytes)
	}
}

// start opens a session and returns its location; nil if the blob was mounted.
func (o *uploading) start(ctx context.Context) (*url.URL, error) {
	c := o.repo.call(http.MethodPost, "blobs/uploads/")
	if o.MountFrom != nil {
		c.need.from = o.MountFrom.name.RepositoryStr()
		c.url.RawQuery = url.Values{"mount": {o.Blob.Digest.String()}, "from": {c.need.from}}.Encode()
	}
	a, err := o.repo.session.send(ctx, c)
	var denied *tokenError
	switch {
	case errors.As(err, &denied) && denied.refused() && o.MountFrom != nil:
		o.repo.session.refuseMount(c.need)
		return o.startAlone(ctx)
	case err != nil:
		return nil, err
	case a.status == http.StatusCreated && o.MountFrom != nil:
		return nil, nil
	case a.status == http.StatusAccepted:
		return elsewhere(a.url, a.header.Get("Location"))
	case o.MountFrom != nil:
		if a.status != http.StatusNotFound { // which is of this blob alone
			o.repo.session.refuseMount(c.need)
		}
		return o.startAlone(ctx)
	default:
		return nil, o.refuse(a)
	}
}

// startAlone starts without the mount for whose sake it was refused.
func (o *uploading) startAlone(ctx context.Context) (*url.URL, error) {
	o.MountFrom = nil
	return o.start(ctx)
}

func (o *uploading) refuse(a *answer) error {
	return o.repo.refuse("write blob", o.Blob.Digest.String(), a)
}

// put sends the blob in one request.
func (o *uploading) put(ctx context.Context, location *url.URL) error {
	a, err := o.stream(ctx, http.MethodPut, withDigest(location, o.Blob.Digest))
	if err != nil {
		return err
	}
	if o.wantsChunks(a) {
		o.chunked = true
		return errAgain{o.refuse(a), a}
	}
	if err = o.stored(a); err != nil && a.status < 300 {
		o.count(-o.Blob.Size) // stream has counted them
	}
	return err
}

// wantsChunks tells a refusal of the body's form from one of its content:
// a registry or a proxy before it that takes no such body in one PUT.
func (o *uploading) wantsChunks(a *answer) bool {
	switch a.status {
	case http.StatusBadRequest, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		code, _ := diagnose(a)
		return code == "" || code == "UNSUPPORTED" || code == "SIZE_INVALID" || code == "BLOB_UPLOAD_INVALID"
	}
	return false
}

// patch sends the blob and returns the session's new location.
func (o *uploading) patch(ctx context.Context, location *url.URL) (*url.URL, error) {
	a, err := o.stream(ctx, http.MethodPatch, location)
	if err != nil {
		return nil, err
	}
	if err := o.judge(a); err != nil {
		return nil, err
	}
	return elsewhere(location, a.header.Get("Location"))
}

// commit ends a session whose blob was sent. It is not tried again by itself: a
// large blob takes the registry its time, and a session that ended is gone.
func (o *uploading) commit(ctx context.Context, location *url.URL) error {
	ctx, dog := watch(withNeed(ctx, o.repo.need()))
	defer dog.end()
	dog.expect(patience(o.Blob.Size))
	a, err := o.exchange(ctx, http.MethodPut, withDigest(location, o.Blob.Digest), http.NoBody, 0)
	if err != nil {
		return again(ctx, err)
	}
	return o.stored(a)
}

// stored is judge for the request that ends a session: only 201 says that the
// blob is there, after anything like it a look tells.
func (o *uploading) stored(a *answer) error {
	if a.status < 300 && a.status != http.StatusCreated {
		return errAgain{error: o.refuse(a)}
	}
	return o.judge(a)
}

// again marks a failure of the connection that another attempt may not meet.
func again(ctx context.Context, err error) error {
	if err = cause(ctx, err); temporary(err) {
		return errAgain{error: err}
	}
	return err
}

// judge turns an answer into an error: one to try again after if the session is
// gone or spoilt, the token was refused, or the registry has trouble.
func (o *uploading) judge(a *answer) error {
	if a.status < 300 {
		return nil
	}
	err := o.refuse(a)
	code, _ := diagnose(a)
	switch {
	case temporaryStatus(a.status), a.status == http.StatusUnauthorized, a.status == http.StatusNotFound,
		a.status == http.StatusRequestedRangeNotSatisfiable,
		code == "BLOB_UPLOAD_UNKNOWN", code == "BLOB_UPLOAD_INVALID", code == "DIGEST_INVALID", code == "SIZE_INVALID":
		return errAgain{err, a}
	}
	return err
}

func withDigest(location *url.URL, digest v1.Hash) *url.URL {
	u := *location
	query := u.Query()
	query.Set("digest", digest.String())
	u.RawQuery = query.Encode()
	return &u
}

// stream sends the blob as the body of one request.
func (o *uploading) stream(ctx context.Context, method string, u *url.URL) (*answer, error) {
	if _, err := o.repo.session.ready(ctx, o.repo.need()); err != nil {
		return nil, err
	}
	ctx, dog := watch(withNeed(ctx, o.repo.need()))
	defer dog.end()
	source := o.Open(ctx)
	defer source.Close() //nolint:errcheck // it was only read
	body := &outgoing{inner: source, dog: dog, left: o.Blob.Size, moved: o.Moved}
	a, err := o.exchange(ctx, method, u, body, o.Blob.Size)
	if err != nil {
		err = again(ctx, err)
	}
	failed := body.end()
	if err == nil && a.status < 300 {
		return a, nil
	}
	body.undo()
	if failed != nil {
		return nil, failed
	}
	return a, err
}

func (o *uploading) exchange(ctx context.Context, method string, u *url.URL, body io.Reader, size int64) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	if size == 0 {
		req.Body = http.NoBody
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if method == http.MethodPatch && size > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("0-%d", size-1))
	}
	resp, err := o.repo.session.once.Do(req)
	if err != nil {
		return nil, err
	}
	a := &answer{url: u}
	return a, a.read(resp, call{limit: maxErrorBody})
}
