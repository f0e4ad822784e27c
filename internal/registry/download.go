package registry

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// HasBlob reports whether the repository holds a blob.
func (r *Repository) HasBlob(ctx context.Context, digest v1.Hash) (bool, error) {
	return r.has(ctx, r.call(http.MethodHead, "blobs/"+digest.String()), digest.String(), "look for blob")
}

// OpenBlob reads a blob. The reader takes up a broken download where it stopped,
// with the hash carried on, always from the registry's own URL: what it
// redirects to expires. At the end it fails with ErrMismatch, in place of
// io.EOF, if size or digest are not the descriptor's.
func (r *Repository) OpenBlob(ctx context.Context, blob v1.Descriptor) io.ReadCloser {
	d := &download{ctx: ctx, repo: r, blob: blob}
	var err error
	if d.hash, err = v1.Hasher(blob.Digest.Algorithm); err != nil {
		d.err = d.fail(err)
	}
	return d
}

type download struct {
	ctx      context.Context // of the transfer; a reader has no other way to end with it
	repo     *Repository
	blob     v1.Descriptor
	hash     hash.Hash
	offset   int64
	failures int  // since the last byte
	whole    bool // the registry cannot be asked for a range

	body io.ReadCloser
	dog  *watchdog
	err  error // final
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil && len(p) > 0 {
		n, err := d.read(p)
		if n > 0 {
			d.failures = 0
			return n, nil
		}
		d.err = d.after(err)
	}
	return 0, d.err
}

// errEnd says that the last byte has come. It is not io.EOF, which is also what
// skipping says of a body that is too short for it.
var errEnd = errors.New("end of blob")

// read reads once from wherever the download stands.
func (d *download) read(p []byte) (int, error) {
	if d.body == nil {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	n, err := d.body.Read(p)
	if left := d.blob.Size - d.offset; int64(n) > left {
		return 0, fmt.Errorf("%w: more than the %d bytes of its descriptor", ErrMismatch, d.blob.Size)
	}
	d.offset += int64(n)
	d.hash.Write(p[:n])
	switch {
	case err != nil && d.offset == d.blob.Size: // also where only the body's end got lost
		err = errEnd
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// after decides what an unsuccessful read means: nil to go on.
func (d *download) after(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errEnd):
		return d.check()
	case d.ctx.Err() != nil:
		return d.fail(context.Cause(d.ctx))
	}
	d.close()
	d.failures++
	var refused *Error
	switch {
	case errors.As(err, &refused), errors.Is(err, ErrMismatch), !temporary(err):
		return d.fail(err)
	case d.failures >= attempts && answerOf(err) != nil:
		return d.refuse(answerOf(err))
	case d.failures >= attempts:
		return d.fail(err)
	}
	if err := wait(d.ctx, d.failures-1, err); err != nil {
		return d.fail(err)
	}
	return nil
}

func (d *download) check() error {
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != d.blob.Digest.Hex {
		return d.fail(fmt.Errorf("%w: got %s:%s", ErrMismatch, d.blob.Digest.Algorithm, got))
	}
	return io.EOF
}

func (d *download) fail(err error) error {
	return d.repo.fail("read blob", d.blob.Digest.String(), err)
}

func (d *download) refuse(a *answer) error {
	return d.repo.refuse("read blob", d.blob.Digest.String(), a)
}

// open asks for the blob from the offset on.
func (d *download) open() error {
	base, err := d.repo.session.ready(d.ctx, d.repo.need())
	if err != nil {
		return err
	}
	ctx, dog := watch(withNeed(d.ctx, d.repo.need()))
	resp, err := d.request(ctx, base)
	if err == nil {
		resp.Body = &watched{resp.Body, dog}
		err = d.position(resp)
	}
	if err != nil {
		err = cause(ctx, err)
		dog.end()
		return err
	}
	dog.pause()
	d.body, d.dog = resp.Body, dog
	return nil
}

func (d *download) request(ctx context.Context, base *url.URL) (*http.Response, error) {
	u := base.ResolveReference(d.repo.path("blobs/" + d.blob.Digest.String()))
	for range maxRedirects + 1 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, err
		}
		if d.offset > 0 && !d.whole {
			req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.offset))
		}
		resp, err := d.repo.session.once.Do(req)
		if err != nil {
			return nil, err
		}
		a := &answer{status: resp.StatusCode, header: resp.Header, url: u}
		next, err := a.redirect(http.MethodGet)
		if next == nil && err == nil {
			return resp, nil
		}
		drain(resp)
		if err != nil {
			return nil, err
		}
		u = next
	}
	return nil, tooManyRedirects
}

// position checks that the answer's body begins at the offset, or brings it
// there. Registries serve ranges without saying so beforehand
// (anchore/stereoscope#695), so it is tried, and Content-Range decides; one that
// gives another range is asked for the whole.
func (d *download) position(resp *http.Response) error {
	switch {
	case resp.StatusCode == http.StatusOK:
		return d.skip(resp.Body)
	case resp.StatusCode == http.StatusPartialContent && startsAt(resp.Header.Get("Content-Range"), d.offset):
		return nil
	case d.offset > 0 && !d.whole &&
		(resp.StatusCode == http.StatusPartialContent || resp.StatusCode == http.StatusRequestedRangeNotSatisfiable):
		drain(resp)
		d.whole = true
		return errors.New("the registry gave another range than it was asked for")
	}
	if resp.StatusCode < 300 {
		drain(resp)
		return d.refuse(&answer{status: resp.StatusCode})
	}
	a := &answer{}
	if err := a.take(resp, call{limit: maxErrorBody}); err != nil {
		return err
	}
	return d.refuse(a)
}

// skip reads what was read before.
func (d *download) skip(body io.ReadCloser) error {
	_, err := io.CopyN(io.Discard, body, d.offset)
	if err != nil {
		_ = body.Close()
	}
	return err
}

// startsAt reports whether a Content-Range begins at an offset (RFC 9110 §14.4).
func startsAt(contentRange string, offset int64) bool {
	rest, ok := strings.CutPrefix(contentRange, "bytes ")
	first, _, dash := strings.Cut(rest, "-")
	return ok && dash && first == fmt.Sprint(offset)
}

func (d *download) close() {
	if d.body == nil {
		return
	}
	_ = d.body.Close()
	d.dog.end()
	d.body = nil
}

// Close ends the download.
func (d *download) Close() error {
	d.close()
	if d.err == nil {
		d.err = errors.New("download is closed")
	}
	return nil
}
