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

// A proxy before a registry refuses bodies above a limit with 413, or closes the
// connection (1 MB at nginx by default, 100 MB at Cloudflare). Blobs are then sent in
// chunks of half of what was refused, and of half of that, until they are taken.
const (
	maxChunk = 64 << 20 // to begin with
	minChunk = smallBlob

	// maxClosed is the first chunk where connections are closed: what was refused so
	// was sent for nothing, for as long as nobody knows why.
	maxClosed = 16 << 20
	// closes is how many connections in a row are closed on a body until it is taken
	// for a limit.
	closes = 2
)

// bodyTooLarge is the refusal of a body for its size.
type bodyTooLarge struct {
	error
	size int64
}

func (e bodyTooLarge) Unwrap() error { return e.error }

// refuseSize is the error for a body that was refused for its size.
func (o *uploader) refuseSize(a *wire.Answer, size int64) error {
	err := o.refuse(a)
	var e *Error
	if errors.As(err, &e) {
		e.Detail = strings.TrimPrefix(e.Detail+fmt.Sprintf("; the request had %s bytes", wire.Grouped(size)), "; ")
		e.Hint = o.limitHint(size)
	}
	return bodyTooLarge{err, size}
}

// limitHint is what to do about a proxy that takes no chunk however small, or none
// that is as large as the registry wants it.
func (o *uploader) limitHint(size int64) string {
	host := o.host().Name
	hint := fmt.Sprintf("%s, or a proxy before it, takes no request of %s bytes. Raise the proxy's limit on the size of requests (nginx: client_max_body_size).", host, wire.Grouped(size))
	if o.minChunk > minChunk {
		hint += fmt.Sprintf(" The registry wants chunks of at least %s bytes.", wire.Grouped(o.minChunk))
	}
	return hint
}

// fail is the error that an upload ends with.
func (o *uploader) fail(end error) error {
	var e *Error
	err := o.repo.fail("write blob", o.Blob.Digest.String(), end)
	if o.closedInARow >= closes && errors.As(err, &e) && e.Hint == "" {
		e.Hint = fmt.Sprintf("%s, or a proxy before it, closes the connection on a request of %s bytes. It may have a limit on the size of requests (nginx: client_max_body_size), or be in trouble: see its log.", o.host().Name, wire.Grouped(o.refusedSize))
	}
	return err
}

// shrink makes chunks smaller than a body that was refused for its size, and reports
// whether there is anything smaller to try.
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
	if o.closedInARow++; o.closedInARow >= closes {
		o.refusedSize = size
		o.shrink(size, maxClosed)
	}
}

// isClosed tells a connection that ended while a body was sent. net/http has several
// words for it, not all of them exported.
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

// chunkSize is how much of the blob goes with one request.
func (o *uploader) chunkSize() int64 {
	size := o.Blob.Size
	for _, most := range []int64{o.chunk, o.supports().chunk()} {
		if most > 0 {
			size = min(size, most)
		}
	}
	return max(size, o.minChunk)
}

// noteChunkMinimum notes what size of chunks the registry asks for (distribution-spec, "Pushing
// a blob in chunks").
func (o *uploader) noteChunkMinimum(header http.Header) {
	if least, ok := digits(header.Get("OCI-Chunk-Min-Length")); ok {
		o.minChunk = min(least, o.Blob.Size)
	}
}

// patch sends the blob in chunks, and returns the session's new location. Where a
// chunk fails, the registry is asked how much has arrived, and the rest is sent.
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
	if o.refusedSize > 0 { // in vain, by closed connections: these chunks show that it was their size
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
			o.count(-n) // send has counted them
		}
		return nil, err
	}
	s.retry.Progress(n)
	return next, s.mark(n)
}

// patched judges the answer to a chunk.
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

// resume asks how much of the blob has arrived after a chunk failed, and has the rest
// sent (distribution-spec, "Pushing a blob in chunks": the Range of the session). It
// returns the failure where the session cannot go on.
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

// canResume tells a failure after which the session may go on from one of the session
// itself, of the source, or of the chunk.
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

// arrivedBytes reads the Range of a session, "0-99". A session without a byte says
// "0-0" (distribution), which is not told from one with one byte: no chunk is as small.
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

// bodySource is what an upload reads, with the slot of its target. It can be read again
// from the start of the chunk that is on its way.
type bodySource struct {
	*uploader
	retry  retry.Policy // with this session
	stop   context.CancelFunc
	source io.ReadCloser
	held   wire.Slot
	offset int64  // of the chunk
	hash   []byte // of what came before it, where the source is a download
}

// open opens the source, once the target can be asked: nobody holds a slot while
// waiting for a token. The source answers before the target is asked to take anything:
// a registry that copies to itself may hold a lock while it reads an upload, and would
// never answer (seen with "crane registry serve").
func (o *uploader) open(ctx context.Context) (*bodySource, error) {
	if err := o.repo.session.auth.Ready(ctx, o.repo.need()); err != nil {
		return nil, err
	}
	s := &bodySource{uploader: o, retry: retry.New(o.host())}
	return s, s.read(ctx, o.Open)
}

// read opens a source that ends with the supply, and takes the slot of the target
// once it has answered. After an error nothing is left to close.
func (s *bodySource) read(ctx context.Context, open func(context.Context) io.ReadCloser) (err error) {
	inner, stop := context.WithCancel(ctx)
	s.stop, s.source = stop, open(inner)
	if d, ok := s.source.(*download); ok {
		if d.repo.session.host == s.host() { // each such blob needs two connections
			s.host().ShareSlots()
		}
		if err := d.start(); err != nil {
			s.close()
			return sourceError{err}
		}
	}
	if s.held, err = s.host().Acquire(ctx, wire.Upload); err != nil {
		s.close()
	}
	return err
}

func (s *bodySource) close() {
	s.stop()
	_ = s.source.Close() // it was only read
	s.held.Release()
	s.held = wire.Slot{}
}

// mark notes that a chunk has arrived.
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

// restart reads the source again, from an offset that is not before the chunk's. Who
// waits for a slot of the source holds none of the target.
func (s *bodySource) restart(ctx context.Context, offset int64) error {
	at, open := int64(0), s.Open
	if d, ok := s.source.(*download); ok && s.hash != nil {
		at = s.offset
		open = func(ctx context.Context) io.ReadCloser { return d.from(ctx, at, s.hash) }
	}
	s.close()
	if err := s.read(ctx, open); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, s.source, offset-at); err != nil {
		return sourceError{err}
	}
	return s.mark(offset - s.offset)
}

// from is the download from an offset on, with the hash of what is before it.
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

// send sends so many bytes of the source as the body of one request.
func (s *bodySource) send(ctx context.Context, method string, u *url.URL, size int64) (*wire.Answer, error) {
	try, err := s.repo.session.prepareTransfer(ctx, s.repo.need(), u, s.held)
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
		stop = func() {} // the source is read on
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
		return nil, retry.Error{Err: errors.New("the registry took a chunk before it had all of it")}
	case err == nil && (a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden):
		try.renew(http.StatusUnauthorized, a.Header, 0) // for the next attempt: this body is gone
	}
	return a, err
}
