package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/auth"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Upload describes one blob to upload.
type Upload struct {
	Blob      v1.Descriptor
	From      *Repository                         // the source of the blob; nil: Open is used
	Open      func(context.Context) io.ReadCloser // reads the blob from its start; its errors are final
	MountFrom *Repository                         // the repository to mount it from; nil: none
	Insist    bool                                // upload even if the registry says that it has the blob
	Moved     func(bytes int64)                   // receives the bytes sent; negative if they must be sent again
}

// PutBlob uploads a blob, or mounts it, and reports whether it was mounted. It waits for a
// slot of the host.
//
// After a failure it checks whether the registry has the blob, and otherwise starts a new
// upload session, because the state of the old one is unreliable. If the bytes of the source
// do not match the digest, it reads the source again a few times: they may have been damaged
// in transit.
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

// sourceError is an error of the source of an upload. The source has retried it.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }
func (sourceError) Final()          {}

type uploader struct {
	repo *Repository
	Upload
	retry        retry.Policy
	mayBeStored  bool   // a request was sent that may have completed the blob
	unanswered   bool   // such a request got no answer
	chunked      bool   // PATCH, then PUT: some registries refuse a large body in one PUT
	chunk        int64  // most bytes of a PATCH; 0: the whole blob
	minChunk     int64  // fewest bytes of a PATCH, except for the last one
	closedInARow int    // connections in a row that were closed during a large body
	refusedSize  int64  // bytes of the last of these bodies
	bytes        []byte // of a small blob, after it was read
	loaded       bool   // bytes is set
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
				o.count(o.Blob.Size) // it was subtracted when the answer was lost
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

// afterFailure waits for the next attempt, or returns the final error. If an answer was lost, a
// later refusal may be due to the first attempt, whose blob may still be stored: it waits for
// that too.
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

// attempt makes one upload session.
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
		o.count(-o.Blob.Size) // counted by patch
	}
	return false, err
}

// start opens a session and returns its location. The location is nil if the blob was stored
// already, by a mount or by a single POST.
func (o *uploader) start(ctx context.Context) (location *url.URL, mounted bool, err error) {
	if o.MountFrom != nil && !o.repo.session.mayMount(o.mounting()) { // the mount of another blob was refused
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

// mount requests a mount of the blob. After a refusal it sets MountFrom to nil, and no later
// blob tries a mount from that repository.
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
	case a.Status != http.StatusNotFound: // 404 concerns this blob alone
		o.repo.session.noteRefusedMount(c.need)
	}
	o.MountFrom = nil
	return nil, nil
}

func (o *uploader) mounting() auth.Need {
	return auth.Need{Repository: o.repo.name.RepositoryStr(), From: o.MountFrom.name.RepositoryStr()}
}

// singlePost sends a small blob in the POST that starts its upload (distribution-spec, "Single
// POST"). A registry without support ignores the body and answers with a session.
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

// startSession opens a session by a POST without a body.
func (o *uploader) startSession(ctx context.Context) (*url.URL, error) {
	a, err := o.repo.session.send(ctx, o.repo.call(http.MethodPost, "blobs/uploads/"))
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusAccepted {
		return nil, o.refuseSession(a)
	}
	o.noteChunkMinimum(a.Header)
	return uploadAt(a.URL, a.Header.Get("Location"))
}

// refuseSession is the error where no upload starts. Gitea answers 404 without a code where
// the owner in the name of the repository does not exist.
func (o *uploader) refuseSession(a *wire.Answer) error {
	e := o.repo.refusal("write blob", o.Blob.Digest.String(), a)
	if e.Status == http.StatusNotFound && e.Code == "" && e.Hint == "" {
		e.Hint = credential.Hint(o.repo.side, o.repo.name, o.repo.credential, credential.Refusal{Status: e.Status, LoggedIn: a.LoggedIn})
	}
	return e
}

// loadSmall reads a small blob into memory before it is sent.
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
		if code, _ := a.Diagnosis(); code != "BLOB_UPLOAD_INVALID" { // it may concern this session alone
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
		o.supports().bodyAccepted(o.Blob.Size)
	} else if a.Status < 300 {
		o.count(-o.Blob.Size) // counted by body
	}
	return err
}

// wantsChunks reports whether a registry, or a proxy in front of it, refuses the body for its
// form or size, and not for its content.
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

// commit ends a session after all chunks were sent. It is not retried alone: the registry takes
// its time to store a large blob, and a session cannot be ended twice.
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

// judgeCommit is judge for the request that ends a session: 201 says that the blob is stored.
// After any other success the retry checks whether it exists.
func (o *uploader) judgeCommit(a *wire.Answer) error {
	if a.Status < 300 && a.Status != http.StatusCreated {
		return retry.Error{Err: o.refuse(a)}
	}
	if a.Status == http.StatusCreated {
		return o.checkDigestHeader(a)
	}
	return o.judge(a)
}

// checkDigestHeader returns an error to retry if the registry states another digest: the retry
// checks whether the blob exists.
func (o *uploader) checkDigestHeader(a *wire.Answer) error {
	got := a.Header.Get("Docker-Content-Digest")
	if o.mayBeStored = true; got == "" || o.Blob.Digest.Algorithm != algorithm(got) || got == o.Blob.Digest.String() {
		return nil
	}
	return retry.AfterDamage(fmt.Errorf("%w: the registry states %s, the blob has %s", ErrMismatch, wire.Cut(got, 80), o.Blob.Digest))
}

// judge makes an error of an answer. It is retried if the session was lost, the token was
// refused, or the registry failed. A 401 or 403 for the body of a session that was allowed to
// start is retried a few times with a fresh token.
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

// octets is the header of every body.
var octets = http.Header{"Content-Type": {"application/octet-stream"}}

// body sends the blob in one PUT, from memory if it is small.
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

// exchange sends the request and reads the answer. The watchdog of its caller limits the time
// of each step, not of the whole.
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
	a.LoggedIn, a.By = try.accepts(a), try.answeredBy()
	return a, nil
}
