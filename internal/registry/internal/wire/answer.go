package wire

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Limits of an answer.
const (
	MaxErrorBody = 64 << 10 // bytes to read of an error's body
	MaxRedirects = 5        // of one request

	ErrTooManyRedirects = Refusal("the registry redirects more than 5 times in a row")
)

// Answer is a response with its body in memory.
type Answer struct {
	Status     int
	Header     http.Header
	Body       []byte
	URL        *url.URL // of the request, after redirects
	Unanswered bool     // an earlier attempt of the same request got no answer

	LoggedIn bool   // the credential itself was accepted, whatever the answer is
	By       string // who answered in the registry's place: the token service, or a host; empty: the registry itself
}

// Describe is a clause for a message: who answered, and what.
func (a *Answer) Describe() string { return cmp.Or(a.By, "the registry") + " answered " + a.String() }

// String is the status with the error code and message of the body.
func (a *Answer) String() string {
	code, detail := a.Diagnosis()
	return Quote(a.Status, code, detail)
}

// LimitBody ends a body after n bytes.
func LimitBody(resp *http.Response, n int64) {
	resp.Body = partialBody{io.LimitReader(resp.Body, n), resp.Body}
}

// partialBody is the start of a body, or its decoded content.
type partialBody struct {
	io.Reader
	io.Closer
}

// ErrTooLarge says that an answer exceeds the limit of its request.
var ErrTooLarge = errors.New("answer too large")

// InvalidError says that an answer is one that no healthy host sends.
type InvalidError struct{ Err error }

func (e InvalidError) Error() string { return e.Err.Error() }
func (e InvalidError) Unwrap() error { return e.Err }

// Extract reads a body as a stream and returns the part to keep.
type Extract = func(body io.Reader) ([]byte, error)

// ReadAnswer reads and closes a body of at most limit bytes. If keep is given, the answer to a
// status below 300 has only what keep returns. It returns an answer with an error too, with
// the part of the body that was read.
func ReadAnswer(resp *http.Response, from *url.URL, limit int64, keep Extract) (*Answer, error) {
	defer resp.Body.Close() //nolint:errcheck // it was only read
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, URL: from}
	if a.Status >= 300 {
		return a, a.readRefusal(resp)
	}
	if keep != nil {
		return a, a.readExtract(resp, limit, keep)
	}
	var err error
	if a.Body, err = readAll(resp, limit+1); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	if int64(len(a.Body)) > limit {
		return a, tooLarge(limit)
	}
	return a, nil
}

// readRefusal reads the first MaxErrorBody bytes of an error's body.
func (a *Answer) readRefusal(resp *http.Response) (err error) {
	if a.Body, err = readAll(resp, MaxErrorBody+1); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	a.Body = a.Body[:min(len(a.Body), MaxErrorBody)]
	return nil
}

// Decode decompresses a body that a proxy or a content delivery network compressed without a
// request (nginx with gzip_proxied): digests are of the stored bytes. It reads at most the
// given number of compressed bytes.
func Decode(resp *http.Response, most int64) error {
	encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding")))
	switch {
	case resp.Body == http.NoBody, resp.Request != nil && resp.Request.Method == http.MethodHead, encoding == "", encoding == "identity":
		return nil
	case encoding != "gzip" && encoding != "x-gzip":
		_ = resp.Body.Close()
		return InvalidError{fmt.Errorf("the answer has the Content-Encoding %q, which was not requested", Cut(encoding, MaxCode))}
	}
	text := bufio.NewReader(io.LimitReader(resp.Body, most+1))
	resp.ContentLength = -1
	if magic, _ := text.Peek(2); string(magic) != "\x1f\x8b" { // the body is not compressed, in spite of its header
		resp.Body = partialBody{text, resp.Body}
		return nil
	}
	z, err := gzip.NewReader(text)
	if err != nil {
		_ = resp.Body.Close()
		return fmt.Errorf("decompress answer: %w", err)
	}
	resp.Body = partialBody{z, resp.Body}
	return nil
}

func tooLarge(limit int64) error {
	return InvalidError{fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
}

// readExtract reads a body of which keep returns a part.
func (a *Answer) readExtract(resp *http.Response, limit int64, keep Extract) (err error) {
	body := &io.LimitedReader{R: resp.Body, N: limit + 1}
	if a.Body, err = keep(body); body.N <= 0 {
		return tooLarge(limit)
	}
	return err
}

// maxPreallocated is how many bytes are allocated for a body because of its Content-Length,
// which is untrusted.
const maxPreallocated = 64 << 10

// readAll reads at most the given number of bytes of a body. It allocates the memory for
// Content-Length first, up to maxPreallocated.
func readAll(resp *http.Response, most int64) ([]byte, error) {
	if resp.Body == http.NoBody {
		return nil, nil
	}
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && resp.Request != nil && resp.Request.Method != http.MethodHead {
		b.Grow(int(min(n, most, maxPreallocated)) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, most))
	return b.Bytes(), err
}

// Redirect is the URL that a GET or HEAD is redirected to; nil: it is not. Writes never are.
func (a *Answer) Redirect(method string) (*url.URL, error) {
	switch a.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if method != http.MethodGet && method != http.MethodHead {
		return nil, nil
	}
	return ResolveLocation(a.URL, a.Header.Get("Location"))
}

// ResolveLocation resolves a Location and checks that it is allowed.
func ResolveLocation(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, Refusal("the registry redirects without a readable Location")
	}
	to := from.ResolveReference(ref)
	return to, CheckDestination(from, to)
}

// IsTemporary reports whether the same request may succeed later. Proxies in front of a
// registry use statuses above 504.
func IsTemporary(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		(status >= 500 && status != http.StatusNotImplemented)
}

// Drain reads and closes a small body, so that its connection can be reused.
func Drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// IsHTML reports whether the header says that an answer is a web page and not a blob. Registries
// and storages send blobs as application/octet-stream.
func (a *Answer) IsHTML() bool {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	return err == nil && kind == "text/html" && a.Header.Get("Docker-Content-Digest") == ""
}
