package registry

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// OpenBlob returns a reader of a blob. The reader resumes a broken download at its offset,
// always from the registry's own URL, because the URL of a redirect expires. It ends with
// ErrMismatch in place of io.EOF if the size or the digest is not that of the descriptor. A
// small blob is downloaded and checked before the first Read returns, and retried if it is
// damaged.
//
// The first Read sends the first request. A reader of a large blob occupies one of the host's
// slots until its end or Close.
func (r *Repository) OpenBlob(ctx context.Context, blob v1.Descriptor) io.ReadCloser {
	hash, err := v1.Hasher(blob.Digest.Algorithm)
	if err == nil && blob.Size <= smallBlob {
		return &smallBlobReader{ctx: ctx, repo: r, blob: blob}
	}
	d := &download{ctx: ctx, repo: r, blob: blob, hash: hash, retry: retry.New(r.session.host)}
	if err != nil {
		d.err = d.fail(err)
	}
	return d
}

type download struct {
	ctx     context.Context // of the transfer; a reader has no other way to end with it
	repo    *Repository
	blob    v1.Descriptor
	hash    hash.Hash
	offset  int64
	retry   retry.Policy
	noRange bool // the registry does not support Range
	renewed int  // how often the storage refused the URL of a redirect

	slot     wire.Slot // of the host, taken while data flows
	keepSlot bool      // keep the slot during a backoff too: this is the source of an upload
	body     io.ReadCloser
	watchdog *wire.Watchdog
	err      error // of every later Read
}

func (d *download) Read(p []byte) (int, error) {
	for d.err == nil && len(p) > 0 {
		n, err := d.read(p)
		if n > 0 {
			d.retry.Progress(int64(n))
			return n, nil
		}
		d.err = d.after(err)
	}
	return 0, d.err
}

// errEnd says that the last byte was read. io.EOF would be ambiguous: skip returns it for a
// body that is too short.
var errEnd = errors.New("end of blob")

var errCutOff = fmt.Errorf("the answer was cut off: %w", io.ErrUnexpectedEOF)

// read reads once at the offset.
func (d *download) read(p []byte) (int, error) {
	if d.body == nil {
		if err := d.open(); err != nil {
			return 0, err
		}
	}
	n, err := d.body.Read(p)
	if left := d.blob.Size - d.offset; int64(n) > left {
		return 0, longer(d.blob)
	}
	d.offset += int64(n)
	d.hash.Write(p[:n])
	switch {
	case err != nil && d.offset == d.blob.Size: // even if the connection broke after the last byte
		err = errEnd
	case err == io.EOF:
		err = errCutOff
	}
	return n, err
}

// after returns nil if the download goes on after a failed read.
func (d *download) after(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errEnd) {
		d.keepSlot = false
		d.close()
		return d.check()
	}
	d.close()
	var size wire.SizeError
	if errors.Is(err, ErrMismatch) && !errors.As(err, &size) { // the caller has read the wrong bytes already
		return d.fail(err)
	}
	end := d.retry.Wait(d.ctx, err)
	if a := retry.AnswerOf(end); a != nil && d.ctx.Err() == nil {
		return d.refuse(a)
	}
	return d.fail(end)
}

func (d *download) check() error {
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != d.blob.Digest.Hex {
		return d.fail(fmt.Errorf("%w: the bytes have %s:%s", ErrMismatch, d.blob.Digest.Algorithm, got))
	}
	return io.EOF
}

func (d *download) fail(err error) error {
	return d.repo.fail("read blob", d.blob.Digest.String(), err)
}

func (d *download) refuse(a *wire.Answer) error {
	return d.repo.refuse("read blob", d.blob.Digest.String(), a)
}

// start requests the blob before the first Read, and keeps the slot until the last byte was
// read or the download is closed.
func (d *download) start() error {
	d.keepSlot = true
	for d.err == nil && d.body == nil {
		d.err = d.after(d.open())
	}
	return d.err
}

// open requests the blob from the offset on.
func (d *download) open() error {
	if err := d.acquire(); err != nil {
		return err
	}
	u, err := d.repo.session.auth.BaseURL(d.ctx)
	if err != nil {
		return err
	}
	u.Path = d.repo.path("blobs/" + d.blob.Digest.String())
	for hop := range wire.MaxRedirects + 1 {
		if u, err = d.request(u, hop > 0); u == nil || err != nil {
			return err
		}
	}
	return wire.ErrTooManyRedirects
}

// acquire takes a slot, unless the download kept one.
func (d *download) acquire() (err error) {
	if d.slot.Host != nil {
		return nil
	}
	if err := d.repo.session.auth.Ready(d.ctx, d.repo.need()); err != nil {
		return err
	}
	d.slot, err = d.repo.session.host.Acquire(d.ctx, wire.Download)
	return err
}

// request sends the request to one URL, and returns the URL of a redirect, or nil.
func (d *download) request(u *url.URL, redirected bool) (next *url.URL, err error) {
	for nth := 0; ; nth++ {
		try, err := d.repo.session.prepareTransfer(d.ctx, d.repo.need(), u, d.slot)
		if err != nil {
			return nil, err
		}
		ctx, dog := wire.Watch(d.ctx)
		next, status, err := d.send(ctx, dog, try)
		if err != nil {
			err = wire.Cause(ctx, err)
		}
		if d.body == nil {
			dog.Stop()
		}
		switch {
		case err != nil:
			return nil, err
		case status != nil && try.renew(status.Status, status.Header, nth):
			continue
		case status != nil && redirected && d.renewed < maxRenewals && mayHaveExpired(status.Status):
			d.renewed++
			return nil, retry.Error{Err: errors.New(status.Describe()), Answer: status}
		case status != nil:
			status.LoggedIn = try.accepts(status)
			return nil, cmp.Or(try.retryDenied(status, http.MethodGet), d.refuse(status))
		}
		return next, nil
	}
}

// send sends the request. After it, either d.body is set, or next is the URL of a redirect, or
// refused is the answer.
func (d *download) send(ctx context.Context, dog *wire.Watchdog, try *attempt) (next *url.URL, refused *wire.Answer, err error) {
	if d.offset > 0 && !d.noRange {
		try.header["Range"] = []string{"bytes=" + strconv.FormatInt(d.offset, 10) + "-"}
	}
	resp, err := try.send(ctx, http.MethodGet, nil, 0, nil)
	if err != nil {
		return nil, nil, err
	}
	resp.Body = &wire.WatchedBody{ReadCloser: resp.Body, Watchdog: dog}
	a := &wire.Answer{Status: resp.StatusCode, Header: resp.Header, URL: try.url}
	if next, err := a.Redirect(http.MethodGet); next != nil || err != nil {
		wire.Drain(resp)
		return next, nil, err
	}
	if err := wire.CheckSize(resp, d.blob.Size); err != nil {
		_ = resp.Body.Close()
		return nil, nil, err
	}
	if refused, err = d.position(resp); refused != nil || err != nil {
		_ = resp.Body.Close()
		for _, a := range []*wire.Answer{refused, retry.AnswerOf(err)} {
			if a != nil {
				a.By = try.answeredBy()
			}
		}
		return nil, refused, err
	}
	dog.Pause()
	d.body, d.watchdog = resp.Body, dog
	return nil, nil, nil
}

// position checks that the body begins at the offset, or skips to it. It returns any answer
// without such a body. Registries serve ranges without announcing it
// (anchore/stereoscope#695), so Range is always tried, and Content-Range decides. After a
// wrong range the next request is for the whole blob.
func (d *download) position(resp *http.Response) (refused *wire.Answer, err error) {
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return nil, d.skip(resp.Body)
	case status == http.StatusPartialContent && d.continues(resp.Header.Get("Content-Range")):
		return nil, nil
	case d.offset > 0 && !d.noRange && (status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable):
		wire.Drain(resp)
		d.noRange = true
		return nil, errors.New("the registry sent another range than the requested one")
	case status < 300:
		wire.Drain(resp)
		return &wire.Answer{Status: status}, nil
	}
	a, err := wire.ReadAnswer(resp, nil, wire.MaxErrorBody, nil)
	if err != nil {
		return nil, err
	}
	if wire.IsTemporary(a.Status) {
		return nil, retry.Error{Err: errors.New(a.Describe()), Answer: a}
	}
	return a, nil
}

// continues reports whether a Content-Range starts at the offset.
func (d *download) continues(contentRange string) bool {
	r, ok := parseRange(contentRange)
	return ok && r.first == d.offset && (r.total < 0 || r.total == d.blob.Size) && r.last < d.blob.Size
}

// skip reads up to the offset.
func (d *download) skip(body io.ReadCloser) error {
	_, err := io.CopyN(io.Discard, body, d.offset)
	if err != nil {
		_ = body.Close()
	}
	return err
}

// byteRange is a Content-Range; total is -1 if it is not stated.
type byteRange struct{ first, last, total int64 }

// parseRange reads a Content-Range (RFC 9110 §14.4): "bytes 5-9/10", "bytes 5-9/*".
func parseRange(s string) (r byteRange, ok bool) {
	rest, unit := strings.CutPrefix(s, "bytes ")
	span, total, slash := strings.Cut(rest, "/")
	first, last, dash := strings.Cut(span, "-")
	r.first, ok = digits(first)
	if !unit || !slash || !dash || !ok {
		return byteRange{}, false
	}
	if r.last, ok = digits(last); !ok || r.last < r.first {
		return byteRange{}, false
	}
	if r.total = -1; total != "*" {
		if r.total, ok = digits(total); !ok || r.last >= r.total {
			return byteRange{}, false
		}
	}
	return r, true
}

// digits reads a number that has only digits.
func digits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// close closes the connection's body and releases the slot, unless the download keeps it.
func (d *download) close() {
	if d.body != nil {
		_ = d.body.Close()
		d.watchdog.Stop()
		d.body = nil
	}
	if !d.keepSlot {
		d.slot.Release()
		d.slot = wire.Slot{}
	}
}

// Close ends the download and releases its slot.
func (d *download) Close() error {
	d.keepSlot = false
	d.close()
	if d.err == nil {
		d.err = errors.New("the download is closed")
	}
	return nil
}
