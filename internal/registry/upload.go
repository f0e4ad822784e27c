package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Upload is one blob on its way into a repository.
type Upload struct {
	Blob      v1.Descriptor
	From      *Repository                         // where it is read; nil: Open says
	Open      func(context.Context) io.ReadCloser // reads the blob from its start; its errors are final
	MountFrom *Repository                         // where the registry may take it over from; nil: nowhere
	Insist    bool                                // it is sent, though the registry may say that it has it
	Moved     func(bytes int64)                   // called as bytes go out, with negative numbers when they went for nothing
}

// PutBlob brings a blob into the repository, and reports whether the registry
// took it over from another repository without a byte being sent. It takes its
// place among the host's transfers itself.
//
// After a failure it looks whether the blob arrived after all, and else starts a
// new session: what is left of an old one cannot be relied on. A source whose
// bytes do not have the digest is read anew a few times: a flipped bit on the way
// heals, a broken store does not.
func (r *Repository) PutBlob(ctx context.Context, u Upload) (mounted bool, err error) {
	op := &uploader{repo: r, Upload: u, retry: retry.New(r.session.host)}
	r.session.cache.wroteBlob(r, u.Blob.Digest.String())
	defer r.session.cache.wroteBlob(r, u.Blob.Digest.String())
	if u.From != nil {
		op.Open = func(ctx context.Context) io.ReadCloser { return u.From.OpenBlob(ctx, u.Blob) }
	}
	if op.MountFrom != nil && op.MountFrom.Same(r) && !r.SupportsSelfMount() {
		op.MountFrom = nil
	}
	if op.small() {
		memory := r.session.memory
		if err := memory.Acquire(ctx, u.Blob.Size); err != nil {
			return false, r.fail("write blob", u.Blob.Digest.String(), retry.Interrupted(ctx))
		}
		defer memory.Release(u.Blob.Size)
	}
	return op.run(ctx)
}

// sourceError is that of what an upload reads. The source has retried it.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }
func (sourceError) Final()          {}

type uploader struct {
	repo *Repository
	Upload
	retry        retry.Policy
	unanswered   bool   // an answer to such a thing did not come
	mayBeStored  bool   // the host was sent something that may have completed the blob
	chunked      bool   // PATCH, then PUT: some registries refuse a large body in one PUT
	chunk        int64  // bytes of a PATCH at the most; 0: all
	minChunk     int64  // bytes of a PATCH but the last, at the least
	closedInARow int    // connections in a row that were closed on a large body
	refusedSize  int64  // bytes of the last of these
	bytes        []byte // of a small blob, once it was read
	loaded       bool
}

func (o *uploader) run(ctx context.Context) (mounted bool, err error) {
	for {
		mounted, err := o.attempt(ctx)
		if err == nil {
			return mounted, nil
		}
		var large bodyTooLarge
		if errors.As(err, &large) && o.shrink(large.size, maxChunk) {
			continue
		}
		end := o.afterFailure(ctx, err)
		if o.mayBeStored && !o.Insist && (end == nil || o.unanswered && ctx.Err() == nil) {
			there, err := o.repo.Uncached().HasBlob(ctx, o.Blob.Digest)
			if there {
				o.count(o.Blob.Size) // which was taken back when the answer did not come
			}
			if there || err != nil && !errors.Is(err, ErrUnclear) {
				return false, err
			}
		}
		if end != nil {
			return false, o.fail(end)
		}
	}
}

// afterFailure decides whether there is another attempt, and waits for it. What refuses the
// blob after an answer was lost may do so because of the first attempt, which may
// still be stored: that is waited for.
func (o *uploader) afterFailure(ctx context.Context, err error) (end error) {
	var source sourceError
	var e *Error
	answered := errors.As(err, &e) && e.Status != 0
	o.unanswered = o.unanswered || o.mayBeStored && !answered && !errors.As(err, &source)
	end = o.retry.Wait(ctx, err)
	if end != nil && o.unanswered && ctx.Err() == nil && answered && e.Status >= 400 && e.Status < 500 && !errors.As(err, &source) {
		return o.retry.Wait(ctx, retry.Error{Err: end, Reason: retry.Lagging})
	}
	return end
}

func (o *uploader) host() *wire.Host { return o.repo.session.host }

func (o *uploader) supports() *capabilities { return o.repo.session.supports }

func (o *uploader) small() bool { return o.Blob.Size <= smallBlob }

func (o *uploader) count(bytes int64) {
	if o.Moved != nil {
		o.Moved(bytes)
	}
}

func (o *uploader) refuse(a *wire.Answer) error {
	return o.repo.refuse("write blob", o.Blob.Digest.String(), a)
}

// attempt is one upload session from its start to its end.
func (o *uploader) attempt(ctx context.Context) (mounted bool, err error) {
	location, mounted, err := o.start(ctx)
	if err != nil || location == nil {
		return mounted, err
	}
	if err := o.loadSmall(ctx); err != nil {
		return false, err
	}
	o.mayBeStored = true
	if !o.chunked && !o.supports().bodiesByPatch(o.Blob.Size) {
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

// start opens a session and returns its location; nil if the blob is there: by a
// mount, or because it is small and went with the first request.
func (o *uploader) start(ctx context.Context) (location *url.URL, mounted bool, err error) {
	if o.MountFrom != nil && !o.repo.session.mayMount(o.mounting()) { // another blob's was refused meanwhile
		o.MountFrom = nil
	}
	if o.MountFrom != nil {
		location, err = o.mount(ctx)
		if location != nil || err != nil || o.MountFrom != nil {
			return location, err == nil && location == nil, err
		}
	}
	if err := o.loadSmall(ctx); err != nil {
		return nil, false, err
	}
	if o.small() && o.Blob.Size > 0 && o.supports().trySinglePost() {
		if location, done, err := o.singlePost(ctx); done || location != nil || err != nil {
			return location, false, err
		}
	}
	location, err = o.startSession(ctx)
	return location, false, err
}

// mount asks the registry to take the blob over. Where it refuses to, it is not
// asked again, and the upload starts without.
func (o *uploader) mount(ctx context.Context) (*url.URL, error) {
	c := o.repo.call(http.MethodPost, "blobs/uploads/")
	c.need = o.mounting()
	c.query = url.Values{"mount": {o.Blob.Digest.String()}, "from": {c.need.From}}.Encode()
	a, err := o.repo.session.send(ctx, c)
	var denied *auth.Error
	switch {
	case errors.As(err, &denied) && denied.Refused():
		o.repo.session.noteRefusedMount(c.need)
	case err != nil:
		return nil, err
	case a.Status == http.StatusCreated:
		o.supports().learnMount()
		return nil, o.checkDigestHeader(a)
	case a.Status == http.StatusAccepted:
		o.noteChunkMinimum(a.Header)
		return uploadAt(a.URL, a.Header.Get("Location"))
	case a.Status != http.StatusNotFound: // which is of this blob alone
		o.repo.session.noteRefusedMount(c.need)
	}
	o.MountFrom = nil
	return nil, nil
}

func (o *uploader) mounting() auth.Need {
	return auth.Need{Repository: o.repo.name.RepositoryStr(), From: o.MountFrom.name.RepositoryStr()}
}

// singlePost sends a small blob within the POST that starts its upload
// (distribution-spec, "POST then PUT" and "Single POST"). A registry that does not
// take it so answers with a session as if there had been no body.
func (o *uploader) singlePost(ctx context.Context) (location *url.URL, done bool, err error) {
	c := o.repo.call(http.MethodPost, "blobs/uploads/")
	c.query = url.Values{"digest": {o.Blob.Digest.String()}}.Encode()
	c.header, c.body = octets, o.bytes
	o.mayBeStored = true
	a, err := o.repo.session.send(ctx, c)
	switch {
	case err == nil && a.Status == http.StatusCreated:
		o.supports().triedSinglePost(supported)
		if err = o.checkDigestHeader(a); err == nil {
			o.count(o.Blob.Size)
		}
		return nil, true, err
	case err == nil && a.Status == http.StatusAccepted:
		o.supports().triedSinglePost(unsupported)
		location, err = uploadAt(a.URL, a.Header.Get("Location"))
		return location, false, err
	default:
		o.supports().triedSinglePost(unsupported)
		return nil, false, err
	}
}

// startSession opens a session and nothing else.
func (o *uploader) startSession(ctx context.Context) (*url.URL, error) {
	a, err := o.repo.session.send(ctx, o.repo.call(http.MethodPost, "blobs/uploads/"))
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusAccepted {
		return nil, o.refuse(a)
	}
	o.noteChunkMinimum(a.Header)
	return uploadAt(a.URL, a.Header.Get("Location"))
}

// loadSmall reads a small blob into memory, before anything is sent of it.
func (o *uploader) loadSmall(ctx context.Context) (err error) {
	if o.loaded || !o.small() {
		return nil
	}
	if o.bytes, err = readSource(ctx, o.Upload); err != nil {
		return sourceError{err}
	}
	o.loaded = true
	return nil
}

// put sends the blob in one request.
func (o *uploader) put(ctx context.Context, location *url.URL) error {
	a, err := o.body(ctx, withDigest(location, o.Blob.Digest))
	if err != nil {
		o.countClosed(err, o.Blob.Size)
		return err
	}
	o.closedInARow = 0
	if o.wantsChunks(a) {
		o.chunked = true
		if code, _ := a.Diagnosis(); code != "BLOB_UPLOAD_INVALID" { // which may be of this session alone
			o.supports().bodyRefused(o.Blob.Size, a.Status == http.StatusRequestEntityTooLarge)
		}
		err := o.refuse(a)
		if a.Status == http.StatusRequestEntityTooLarge {
			err = o.refuseSize(a, o.Blob.Size)
		}
		if a.Status == http.StatusRequestEntityTooLarge && !o.small() {
			return err
		}
		return retry.Error{Err: err, Answer: a, Reason: retry.Refused}
	}
	if err = o.judgeCommit(a); err == nil {
		o.supports().bodyTaken(o.Blob.Size)
	} else if a.Status < 300 {
		o.count(-o.Blob.Size) // body has counted them
	}
	return err
}

// wantsChunks tells a refusal of the body's form from one of its content:
// a registry or a proxy before it that takes no such body in one PUT.
func (o *uploader) wantsChunks(a *wire.Answer) bool {
	code, _ := a.Diagnosis()
	return formRefused(a.Status) && (code == "" || code == "UNSUPPORTED" || code == "SIZE_INVALID" || code == "BLOB_UPLOAD_INVALID")
}

func formRefused(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusLengthRequired, http.StatusRequestEntityTooLarge,
		http.StatusUnsupportedMediaType, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// commit ends a session whose blob was sent. It is not tried again by itself: a
// large blob takes the registry its time, and a session that ended is gone.
func (o *uploader) commit(ctx context.Context, location *url.URL) error {
	for nth := 0; ; nth++ {
		try, err := o.repo.session.prepare(ctx, o.repo.need(), withDigest(location, o.Blob.Digest))
		if err != nil {
			return err
		}
		a, err := o.end(ctx, try)
		if err != nil {
			return err
		}
		if !try.renew(a.Status, a.Header, nth) {
			return o.judgeCommit(a)
		}
	}
}

func (o *uploader) end(ctx context.Context, try *attempt) (*wire.Answer, error) {
	defer try.Release()
	ctx, dog := wire.Watch(ctx)
	defer dog.Stop()
	dog.Expect(wire.CommitTime(o.Blob.Size))
	return o.exchange(ctx, try, http.MethodPut, nil, 0)
}

// judgeCommit is judge for the request that ends a session: only 201 says that the
// blob is there, after anything like it a look tells.
func (o *uploader) judgeCommit(a *wire.Answer) error {
	if a.Status < 300 && a.Status != http.StatusCreated {
		return retry.Error{Err: o.refuse(a)}
	}
	if a.Status == http.StatusCreated {
		return o.checkDigestHeader(a)
	}
	return o.judge(a)
}

// checkDigestHeader has a look decide where the registry says that it has stored another blob.
func (o *uploader) checkDigestHeader(a *wire.Answer) error {
	got := a.Header.Get("Docker-Content-Digest")
	if o.mayBeStored = true; got == "" || o.Blob.Digest.Algorithm != algorithm(got) || got == o.Blob.Digest.String() {
		return nil
	}
	return retry.AfterDamage(fmt.Errorf("%w: the registry names %s, the blob is %s", ErrMismatch, wire.Cut(got, 80), o.Blob.Digest))
}

// judge turns an answer into an error: one to try again after if the session is
// gone or spoilt, the token was refused, or the registry has trouble. Authority
// that let the session start and then refuses its body is asked again a few times,
// with a fresh token.
func (o *uploader) judge(a *wire.Answer) error {
	if a.Status < 300 {
		return nil
	}
	err := o.refuse(a)
	code, _ := a.Diagnosis()
	switch {
	case a.Status == http.StatusUnauthorized && o.repo.session.auth.WasAllowed(http.MethodPut):
		return retry.Error{Err: err, Answer: a, Reason: retry.TokenLost}
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return retry.Error{Err: err, Answer: a, Reason: retry.Refused}
	case code == "DIGEST_INVALID", code == "SIZE_INVALID":
		return retry.Error{Err: err, Answer: a, Reason: retry.Damaged}
	case wire.IsTemporary(a.Status), a.Status == http.StatusNotFound, a.Status == http.StatusRequestedRangeNotSatisfiable,
		code == "BLOB_UPLOAD_UNKNOWN", code == "BLOB_UPLOAD_INVALID":
		return retry.Error{Err: err, Answer: a}
	}
	return err
}

// octets are the headers of every body.
var octets = http.Header{"Content-Type": {"application/octet-stream"}}

// body sends the blob as the body of one PUT, from memory if it is small.
func (o *uploader) body(ctx context.Context, u *url.URL) (*wire.Answer, error) {
	if !o.small() {
		s, err := o.open(ctx)
		if err != nil {
			return nil, err
		}
		defer s.close()
		return s.send(ctx, http.MethodPut, u, o.Blob.Size)
	}
	c := call{method: http.MethodPut, header: octets, body: o.bytes, need: o.repo.need(), limit: wire.MaxErrorBody}
	a, err := o.repo.session.exchange(ctx, c, u)
	if err == nil && a.Status < 300 {
		o.count(o.Blob.Size)
	}
	return a, err
}

// exchange makes the attempt. Only its steps are limited in time.
func (o *uploader) exchange(ctx context.Context, try *attempt, method string, body io.Reader, size int64) (*wire.Answer, error) {
	try.header["Content-Type"] = octets["Content-Type"]
	var closer io.ReadCloser
	if body != nil {
		closer = io.NopCloser(body)
	}
	resp, err := try.send(ctx, method, closer, size, nil)
	if err != nil {
		return nil, err
	}
	a, err := wire.ReadAnswer(resp, try.url, wire.MaxErrorBody, nil)
	if err != nil {
		return nil, wire.Cause(ctx, err)
	}
	a.LoggedIn = try.accepts(a)
	return a, nil
}
