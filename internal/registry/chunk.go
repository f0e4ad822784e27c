package registry

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A proxy in front of a registry refuses bodies above a limit with 413, or closes the
// connection (nginx by default above 1 MB, Cloudflare above 100 MB). The blob is then sent in
// chunks of half the refused size, and of half of that, until they are accepted.
const (
	maxChunk = 64 << 20 // the first chunk
	minChunk = smallBlob

	// maxChunkAfterClose is the first chunk after connections were closed. It is smaller
	// than maxChunk, because each attempt sends its bytes before the connection is closed.
	maxChunkAfterClose = 16 << 20
	// closesForLimit is how many connections in a row are closed during a body before that
	// counts as a limit on its size.
	closesForLimit = 2
)

// bodyTooLarge is the refusal of a body for its size.
type bodyTooLarge struct {
	error
	size int64
}

func (e bodyTooLarge) Unwrap() error { return e.error }

// refuseSize makes an error of an answer that refuses a body for its size.
func (o *uploader) refuseSize(a *wire.Answer, size int64) error {
	err := o.refuse(a)
	var e *Error
	if errors.As(err, &e) {
		e.Detail = strings.TrimPrefix(e.Detail+fmt.Sprintf("; the request had %s bytes", wire.Grouped(size)), "; ")
		e.Hint = o.sizeHint(size)
	}
	return bodyTooLarge{err, size}
}

// sizeHint is what to do about a proxy that rejects even the smallest chunk, or the
// smallest one that the registry accepts.
func (o *uploader) sizeHint(size int64) string {
	hint := fmt.Sprintf("%s, or a proxy in front of it, rejects requests of %s bytes.\n", o.host().Name, wire.Grouped(size)) +
		"Raise its limit on request bodies (nginx: client_max_body_size)."
	if o.minChunk > minChunk {
		hint += fmt.Sprintf(" The registry requires chunks of at least %s bytes.", wire.Grouped(o.minChunk))
	}
	return hint
}

// fail makes the error of an upload that is not retried any more.
func (o *uploader) fail(end error) error {
	var e *Error
	err := o.repo.fail("write blob", o.Blob.Digest.String(), end)
	if o.closedInARow >= closesForLimit && errors.As(err, &e) && e.Hint == "" {
		e.Hint = fmt.Sprintf("%s, or a proxy in front of it, closes the connection during requests of %s bytes.\n", o.host().Name, wire.Grouped(o.refusedSize)) +
			"It may limit request bodies (nginx: client_max_body_size), or it may restart or crash. Check its log."
	}
	return err
}

// shrink makes chunks smaller than a body that was refused for its size. It reports false if
// a smaller chunk is not allowed.
func (o *uploader) shrink(refused, most int64) bool {
	next := max(min(refused/2, most), minChunk, o.minChunk)
	if next >= refused {
		return false
	}
	o.chunked, o.chunk = true, next
	return true
}

// countClosed counts a connection that was closed on a large body.
func (o *uploader) countClosed(err error, size int64) {
	if size < minChunk || !isClosed(err) {
		o.closedInARow = 0
		return
	}
	if o.closedInARow++; o.closedInARow >= closesForLimit {
		o.refusedSize = size
		o.shrink(size, maxChunkAfterClose)
	}
}

// isClosed reports whether a connection was closed during a body. net/http has several
// errors for that, and exports only some.
func isClosed(err error) bool {
	var source sourceError
	var e *Error
	var dial *net.OpError
	switch {
	case errors.As(err, &source), errors.As(err, &e), errors.Is(err, wire.ErrStalled), errors.Is(err, wire.ErrTooSlow):
		return false
	case errors.As(err, &dial) && dial.Op == "dial":
		return false
	}
	return retry.IsTemporary(err)
}

// chunkSize is the size in bytes of the next chunk.
func (o *uploader) chunkSize() int64 {
	size := o.Blob.Size
	for _, most := range []int64{o.chunk, o.supports().chunk()} {
		if most > 0 {
			size = min(size, most)
		}
	}
	return max(size, o.minChunk)
}

// noteChunkMinimum records the smallest chunk that the registry accepts (distribution-spec,
// "Pushing a blob in chunks").
func (o *uploader) noteChunkMinimum(header http.Header) {
	if least, ok := digits(header.Get("OCI-Chunk-Min-Length")); ok {
		o.minChunk = min(least, o.Blob.Size)
	}
}

// patch sends the blob in chunks, and returns the session's new location. If a chunk fails,
// it requests from the registry how many bytes have arrived, and sends the rest.
func (o *uploader) patch(ctx context.Context, location *url.URL) (*url.URL, error) {
	if o.small() {
		return o.patchSmall(ctx, location)
	}
	s, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for s.offset < o.Blob.Size {
		next, err := o.patchOne(ctx, s, location)
		if err != nil && s.offset > 0 {
			next, err = o.resume(ctx, s, location, err)
		}
		if err != nil {
			o.count(-s.offset)
			return nil, err
		}
		location = next
	}
	if o.refusedSize > 0 { // connections were closed because of the size: smaller chunks were accepted
		o.supports().bodyRefused(o.refusedSize, true)
	}
	return location, nil
}

func (o *uploader) patchSmall(ctx context.Context, location *url.URL) (*url.URL, error) {
	c := call{method: http.MethodPatch, body: o.bytes, need: o.repo.need(), limit: wire.MaxErrorBody,
		header: http.Header{"Content-Type": octets["Content-Type"], "Content-Range": {contentRange(0, o.Blob.Size)}}}
	a, err := o.repo.session.exchange(ctx, c, location)
	if err != nil {
		return nil, err
	}
	next, err := o.patched(a, location, 0, o.Blob.Size)
	if err == nil {
		o.count(o.Blob.Size)
	}
	return next, err
}

func contentRange(first, size int64) string {
	return fmt.Sprintf("%d-%d", first, first+max(0, size-1))
}

// patchOne sends the next chunk.
func (o *uploader) patchOne(ctx context.Context, s *bodySource, location *url.URL) (*url.URL, error) {
	n := min(o.chunkSize(), o.Blob.Size-s.offset)
	a, err := s.send(ctx, http.MethodPatch, location, n)
	if err != nil {
		if s.offset == 0 {
			o.countClosed(err, n)
		}
		return nil, err
	}
	next, err := o.patched(a, location, s.offset, n)
	if err != nil {
		if a.Status < 300 {
			o.count(-n) // counted by send
		}
		return nil, err
	}
	s.retry.Progress(n)
	return next, s.mark(n)
}

// patched returns the next location from the answer to a chunk.
func (o *uploader) patched(a *wire.Answer, location *url.URL, first, size int64) (*url.URL, error) {
	code, _ := a.Diagnosis()
	switch {
	case a.Status == http.StatusRequestEntityTooLarge && !o.small():
		o.supports().bodyRefused(size, true)
		return nil, o.refuseSize(a, size)
	case first == 0 && formRefused(a.Status) && (code == "" || code == "UNSUPPORTED"):
		o.chunked = false
		o.supports().noPatch()
		return nil, retry.Error{Err: o.refuse(a), Answer: a, Reason: retry.Refused}
	}
	if err := o.judge(a); err != nil {
		return nil, err
	}
	return uploadAt(location, a.Header.Get("Location"))
}

// resume requests how many bytes of the blob have arrived after a chunk failed, and moves
// the source there (distribution-spec, "Pushing a blob in chunks": the Range of the session).
// It returns the failure if the session cannot be resumed.
func (o *uploader) resume(ctx context.Context, s *bodySource, location *url.URL, failure error) (*url.URL, error) {
	if !canResume(failure) {
		return nil, failure
	}
	if end := s.retry.Wait(ctx, failure); end != nil {
		return nil, retry.ExhaustedError{Err: end}
	}
	a, err := o.repo.session.exchange(ctx, call{method: http.MethodGet, need: o.repo.need(), limit: wire.MaxErrorBody}, location)
	if err != nil || a.Status >= 300 {
		return nil, failure
	}
	arrived, ok := arrivedBytes(a.Header.Get("Range"))
	if !ok || arrived < s.offset || arrived > o.Blob.Size {
		return nil, failure
	}
	before := s.offset
	if err := s.restart(ctx, arrived); err != nil {
		return nil, err
	}
	o.count(s.offset - before)
	if a.Header.Get("Location") == "" {
		return location, nil
	}
	return uploadAt(location, a.Header.Get("Location"))
}

// canResume reports whether a session may be resumed after a failure: not if the source
// failed, or if the registry refused the chunk or the session.
func canResume(failure error) bool {
	var large bodyTooLarge
	var source sourceError
	var e *Error
	switch {
	case errors.As(failure, &large), errors.As(failure, &source):
		return false
	case errors.As(failure, &e):
		return wire.IsTemporary(e.Status) || e.Status == http.StatusUnauthorized || e.Status == http.StatusRequestedRangeNotSatisfiable
	}
	return retry.IsTemporary(failure)
}

// arrivedBytes reads the Range of a session, "0-99". A session without any bytes has "0-0"
// (distribution), as one with a single byte would, but no chunk is so small.
func arrivedBytes(value string) (int64, bool) {
	first, last, dash := strings.Cut(strings.TrimPrefix(value, "bytes="), "-")
	n, ok := digits(last)
	if !dash || !ok || first != "0" {
		return 0, false
	}
	if n == 0 {
		return 0, true
	}
	return n + 1, true
}

// bodySource is the source of an upload, with a slot of the target. It can be read again from
// the start of the current chunk.
type bodySource struct {
	*uploader
	retry  retry.Policy // of the chunks of this session
	stop   context.CancelFunc
	source io.ReadCloser
	slot   wire.Slot // of the target
	offset int64     // of the current chunk
	hash   []byte    // state of the hash before the chunk, if the source is a download
}

// open opens the source after the target's token is there: a request that waits for a token
// must not occupy a slot. The source answers before the upload starts: a registry that copies
// to itself may lock its storage during an upload, and would never answer the download (seen
// with "crane registry serve").
func (o *uploader) open(ctx context.Context) (*bodySource, error) {
	if err := o.repo.session.auth.Ready(ctx, o.repo.need()); err != nil {
		return nil, err
	}
	s := &bodySource{uploader: o, retry: retry.New(o.host())}
	return s, s.read(ctx, o.Open)
}

// read opens the source, and takes a slot of the target after the source has answered. After
// an error the source is closed.
func (s *bodySource) read(ctx context.Context, open func(context.Context) io.ReadCloser) (err error) {
	inner, stop := context.WithCancel(ctx)
	s.stop, s.source = stop, open(inner)
	if d, ok := s.source.(*download); ok {
		if d.repo.session.host == s.host() { // a copy within one host needs two connections
			s.host().ShareSlots()
		}
		if err := d.start(); err != nil {
			s.close()
			return sourceError{err}
		}
	}
	if s.slot, err = s.host().Acquire(ctx, wire.Upload); err != nil {
		s.close()
	}
	return err
}

func (s *bodySource) close() {
	s.stop()
	_ = s.source.Close() // it was only read
	s.slot.Release()
	s.slot = wire.Slot{}
}

// mark records that a chunk has arrived.
func (s *bodySource) mark(size int64) error {
	s.offset += size
	d, ok := s.source.(*download)
	if !ok || s.offset == s.Blob.Size {
		return nil
	}
	state, ok := d.hash.(encoding.BinaryMarshaler)
	if !ok {
		return nil
	}
	var err error
	s.hash, err = state.MarshalBinary()
	return err
}

// restart reads the source again, from an offset at or after the start of the chunk. It
// releases the target's slot first: a request that waits for a slot of the source must not
// occupy one of the target.
func (s *bodySource) restart(ctx context.Context, offset int64) error {
	start, open := int64(0), s.Open
	if d, ok := s.source.(*download); ok && s.hash != nil {
		start = s.offset
		open = func(ctx context.Context) io.ReadCloser { return d.from(ctx, start, s.hash) }
	}
	s.close()
	if err := s.read(ctx, open); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, s.source, offset-start); err != nil {
		return sourceError{err}
	}
	return s.mark(offset - s.offset)
}

// from is the same download from an offset on, with the state of the hash up to there.
func (d *download) from(ctx context.Context, offset int64, state []byte) io.ReadCloser {
	next := &download{ctx: ctx, repo: d.repo, blob: d.blob, offset: offset, noRange: d.noRange, retry: retry.New(d.repo.session.host)}
	hash, err := v1.Hasher(d.blob.Digest.Algorithm)
	if err == nil {
		next.hash = hash
		err = hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state) //nolint:forcetypeassert // as it was marshalled
	}
	if err != nil {
		next.err = d.fail(err)
	}
	return next
}

// send sends a number of bytes of the source as the body of one request.
func (s *bodySource) send(ctx context.Context, method string, u *url.URL, size int64) (*wire.Answer, error) {
	try, err := s.repo.session.prepareTransfer(ctx, s.repo.need(), u, s.slot)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPatch {
		try.header["Content-Range"] = []string{contentRange(s.offset, size)}
	}
	ctx, dog := wire.Watch(ctx)
	defer dog.Stop()
	last := s.offset+size == s.Blob.Size
	body := &wire.UploadBody{Source: s.source, Watchdog: dog, Left: size, Moved: s.Moved}
	if !last {
		body.Source = io.LimitReader(s.source, size)
	}
	a, err := s.exchange(ctx, try, method, body, size)
	good := err == nil && a.Status < 300
	stop := s.stop
	if good && !last && body.WasRead() {
		stop = func() {} // the next chunk reads on
	}
	failed := body.Stop(stop)
	if good && (last || body.WasRead()) {
		return a, nil
	}
	body.Undo()
	switch {
	case failed != nil:
		return nil, sourceError{failed}
	case good:
		return nil, retry.Error{Err: errors.New("the registry acknowledged a chunk before it had all of it")}
	case err == nil && (a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden):
		try.renew(http.StatusUnauthorized, a.Header, 0) // for the next attempt: the body of this one was read
	}
	return a, err
}
