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

// OpenBlob reads a blob. The reader takes up a broken download where it stopped,
// with the hash carried on, always from the registry's own URL: what it
// redirects to expires. At the end it fails with ErrMismatch, in place of
// io.EOF, if size or digest are not the descriptor's. A small blob is read whole
// and checked before its first byte is handed out, again if it is damaged.
//
// Nothing is asked before the first Read. A reader of a large blob keeps others
// from reading until its end or Close.
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
	noRange bool // the registry cannot be asked for a range
	renewed int  // how often a URL was refused that the registry had redirected to

	slot     wire.Slot // of the host, for as long as bytes flow
	keepSlot bool      // also while it waits to try again: it is an upload's source
	body     io.ReadCloser
	watchdog *wire.Watchdog
	err      error // final
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
		return 0, longer(d.blob)
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
	if errors.Is(err, ErrMismatch) && !errors.As(err, &size) { // what was read is handed out already
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
		return d.fail(fmt.Errorf("%w: got %s:%s", ErrMismatch, d.blob.Digest.Algorithm, got))
	}
	return io.EOF
}

func (d *download) fail(err error) error {
	return d.repo.fail("read blob", d.blob.Digest.String(), err)
}

func (d *download) refuse(a *wire.Answer) error {
	return d.repo.refuse("read blob", d.blob.Digest.String(), a)
}

// start asks for the blob before it is read, and keeps its slot until the last byte was
// read or the download is closed.
func (d *download) start() error {
	d.keepSlot = true
	for d.err == nil && d.body == nil {
		d.err = d.after(d.open())
	}
	return d.err
}

// open asks for the blob from the offset on.
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
		if u, err = d.ask(u, hop > 0); u == nil || err != nil {
			return err
		}
	}
	return wire.ErrTooManyRedirects
}

// acquire takes a slot, unless one was kept.
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

// ask asks at one URL, and returns the one that it points to, if it does.
func (d *download) ask(u *url.URL, redirected bool) (next *url.URL, err error) {
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
			return nil, retry.Error{Err: fmt.Errorf("the registry redirected to a host that answered %s", status), Answer: status}
		case status != nil:
			status.LoggedIn = try.accepts(status)
			return nil, cmp.Or(try.retryDenied(status, http.MethodGet), d.refuse(status))
		}
		return next, nil
	}
}

// send sends the request. There is a body if the answer is one to read from; or
// the answer points elsewhere; or it is a refusal.
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
		return nil, refused, err
	}
	dog.Pause()
	d.body, d.watchdog = resp.Body, dog
	return nil, nil, nil
}

// position checks that the answer's body begins at the offset, or brings it
// there; any other answer is returned. Registries serve ranges without saying so
// beforehand (anchore/stereoscope#695), so it is tried, and Content-Range decides;
// one that gives another range is asked for the whole.
func (d *download) position(resp *http.Response) (refused *wire.Answer, err error) {
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return nil, d.skip(resp.Body)
	case status == http.StatusPartialContent && d.continues(resp.Header.Get("Content-Range")):
		return nil, nil
	case d.offset > 0 && !d.noRange && (status == http.StatusPartialContent || status == http.StatusRequestedRangeNotSatisfiable):
		wire.Drain(resp)
		d.noRange = true
		return nil, errors.New("the registry gave another range than it was asked for")
	case status < 300:
		wire.Drain(resp)
		return &wire.Answer{Status: status}, nil
	}
	a, err := wire.ReadAnswer(resp, nil, wire.MaxErrorBody, nil)
	if err != nil {
		return nil, err
	}
	if wire.IsTemporary(a.Status) {
		return nil, retry.Error{Err: fmt.Errorf("the registry answered %s", a), Answer: a}
	}
	return a, nil
}

// continues reports whether a range is the rest of the blob.
func (d *download) continues(contentRange string) bool {
	r, ok := parseRange(contentRange)
	return ok && r.first == d.offset && (r.total < 0 || r.total == d.blob.Size) && r.last < d.blob.Size
}

// skip reads what was read before.
func (d *download) skip(body io.ReadCloser) error {
	_, err := io.CopyN(io.Discard, body, d.offset)
	if err != nil {
		_ = body.Close()
	}
	return err
}

// byteRange is what a Content-Range says; total is -1 where it leaves that open.
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

// digits reads a number that is nothing but digits.
func digits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// close gives back what the download holds.
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

// Close ends the download.
func (d *download) Close() error {
	d.keepSlot = false
	d.close()
	if d.err == nil {
		d.err = errors.New("download is closed")
	}
	return nil
}
