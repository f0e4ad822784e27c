package wire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const (
	MaxErrorBody = 64 << 10
	MaxRedirects = 5

	ErrTooManyRedirects = Refusal("registry points elsewhere again and again: more than 5 redirects")
)

// Answer is what came back, its body read whole.
type Answer struct {
	Status     int
	Header     http.Header
	Body       []byte
	URL        *url.URL // that was asked, after redirects
	Unanswered bool     // an attempt before it had no answer

	LoggedIn bool // the credential itself was accepted, whatever the answer is
}

// String is the status with what the registry says of it.
func (a *Answer) String() string {
	code, detail := a.Diagnosis()
	return Quote(a.Status, code, detail)
}

// LimitBody has no more than n bytes of a body be read.
func LimitBody(resp *http.Response, n int64) {
	resp.Body = partialBody{io.LimitReader(resp.Body, n), resp.Body}
}

// partialBody is the beginning of a body, or what was made of it.
type partialBody struct {
	io.Reader
	io.Closer
}

var ErrTooLarge = errors.New("answer too large")

// InvalidError is of an answer that no healthy host sends.
type InvalidError struct{ Err error }

func (e InvalidError) Error() string { return e.Err.Error() }
func (e InvalidError) Unwrap() error { return e.Err }

// Extract keeps of a body what is wanted, while it comes.
type Extract = func(body io.Reader) ([]byte, error)

// ReadAnswer reads a body of at most limit bytes, and closes it; of a status below 300
// only what extract keeps, where there is one. Also with an error it returns the answer,
// with what came of its body.
func ReadAnswer(resp *http.Response, from *url.URL, limit int64, keep Extract) (*Answer, error) {
	defer resp.Body.Close() //nolint:errcheck // nothing of it is needed any more
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

// readRefusal reads the beginning of a body that says why there is nothing else.
func (a *Answer) readRefusal(resp *http.Response) (err error) {
	if a.Body, err = readAll(resp, MaxErrorBody+1); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	a.Body = a.Body[:min(len(a.Body), MaxErrorBody)]
	return nil
}

// Decode undoes an encoding that was not asked for: proxies and content networks
// compress what is text (nginx with gzip_proxied). The bytes that a digest is of are
// those that were stored. No more than most bytes are read that are encoded, whatever
// comes out of them.
func Decode(resp *http.Response, most int64) error {
	encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding")))
	switch {
	case resp.Body == http.NoBody, resp.Request != nil && resp.Request.Method == http.MethodHead, encoding == "", encoding == "identity":
		return nil
	case encoding != "gzip" && encoding != "x-gzip":
		_ = resp.Body.Close()
		return InvalidError{fmt.Errorf("the answer is encoded as %q, which was not asked for", Cut(encoding, MaxCode))}
	}
	text := bufio.NewReader(io.LimitReader(resp.Body, most+1))
	resp.ContentLength = -1
	if magic, _ := text.Peek(2); string(magic) != "\x1f\x8b" { // the header alone stayed
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

// readExtract reads a body of which only a part is kept.
func (a *Answer) readExtract(resp *http.Response, limit int64, keep Extract) (err error) {
	body := &io.LimitedReader{R: resp.Body, N: limit + 1}
	if a.Body, err = keep(body); body.N <= 0 {
		return tooLarge(limit)
	}
	return err
}

// maxPreallocated is how many bytes are set aside for a body on the word of its header.
const maxPreallocated = 64 << 10

// readAll reads at most that many bytes of a body, into as much memory as the
// answer says that it needs, if it does.
func readAll(resp *http.Response, most int64) ([]byte, error) {
	if resp.Body == http.NoBody {
		return nil, nil
	}
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && resp.Request != nil && resp.Request.Method != http.MethodHead {
		b.Grow(int(min(n, most, maxPreallocated)) + bytes.MinRead) // no more on its word alone
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, most))
	return b.Bytes(), err
}

// Redirect is where the answer points to, nil if it does not. Only reads follow.
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

// ResolveLocation resolves a Location and decides whether it may be used.
func ResolveLocation(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, Refusal("registry points elsewhere without a Location that can be read")
	}
	to := from.ResolveReference(ref)
	return to, CheckDestination(from, to)
}

// IsTemporary reports whether the same request may succeed later. Proxies
// before a registry have statuses of their own above 504.
func IsTemporary(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests ||
		(status >= 500 && status != http.StatusNotImplemented)
}

// Drain empties a small body and closes it, so that its connection is used again.
func Drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// IsHTML tells by its header alone an answer that is a login page or a proxy's error
// and no blob. What type a blob has nobody says; storage sends octets.
func (a *Answer) IsHTML() bool {
	kind, _, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
	return err == nil && kind == "text/html" && a.Header.Get("Docker-Content-Digest") == ""
}
