package registry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	maxErrorBody = 64 << 10
	maxRedirects = 5

	tooManyRedirects = refusal("registry points elsewhere again and again: more than 5 redirects")
)

// call is a request whose body and answer are small: they are held in memory,
// and the whole of it is tried again until it succeeds or is refused.
type call struct {
	method string
	path   string // on the session's host
	query  string
	url    *url.URL // whole, in place of both; nil: none
	header http.Header
	body   []byte
	need   need
	limit  int64 // bytes of the answer's body
	raw    bool  // the body is left in the encoding that it came in
	peek   bool  // no more than limit is read of the body, whatever there is

	// extract keeps of a body below 300 what is wanted, while it comes; nil: all of it.
	extract func(body io.Reader) ([]byte, error)
	// blob is what the answer is to be, where it is one.
	blob *v1.Descriptor

	// whole reports whether a body that broke off had all come; nil: it had not.
	whole func(body []byte) bool
	// check is asked about every answer below 300; an error has it asked for again.
	check func(a *answer) error
	// judge is asked about every other that is not temporary; nil: it is final.
	judge func(a *answer) error
}

// answer is what came back, its body read whole.
type answer struct {
	status int
	header http.Header
	body   []byte
	url    *url.URL // that was asked, after redirects
	lost   bool     // an attempt before it had no answer

	loggedIn bool // the credential itself was accepted, whatever the answer is

	extract func(body io.Reader) ([]byte, error) // see call
}

// String is the status with what the registry says of it.
func (a *answer) String() string {
	code, detail := diagnose(a)
	return quote(a.status, code, detail)
}

// assess decides what an answer is worth.
func (c *call) assess(a *answer) error {
	switch {
	case temporaryStatus(a.status) && !c.refusedContent(a):
		return errAgain{error: fmt.Errorf("the registry answered %s", a), answer: a}
	case a.status < 300 && c.check != nil:
		return c.check(a)
	case a.status >= 300 && c.judge != nil:
		return c.judge(a)
	}
	return nil
}

// refusedContent reports whether an answer of a host in trouble says that what was
// written is not right. Nothing mends that (distribution#2795: 500 for foreign layers).
func (c *call) refusedContent(a *answer) bool {
	if c.method != http.MethodPut || c.judge == nil || a.status < 500 {
		return false
	}
	code, _ := diagnose(a)
	return isContentCode(code)
}

// follow sends a call one time, and again where a read is redirected: always from
// the registry's own URL, for what it redirects to expires. One that has expired
// is asked for again; but a URL that is signed for GET refuses every HEAD.
func (s *session) follow(ctx context.Context, c call) (*answer, error) {
	for renewed := 0; ; renewed++ {
		a, hops, err := s.followOnce(ctx, c)
		if err != nil || hops == 0 || renewed == maxRenewals || c.method != http.MethodGet || !mayHaveExpired(a.status) {
			return a, err
		}
	}
}

func (s *session) followOnce(ctx context.Context, c call) (a *answer, hops int, err error) {
	u, err := s.whole(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	for hops := range maxRedirects + 1 {
		a, err := s.exchange(ctx, c, u)
		if err != nil {
			return nil, hops, err
		}
		next, err := a.redirect(c.method)
		if next == nil || err != nil {
			return a, hops, err
		}
		u = next
	}
	return nil, 0, tooManyRedirects
}

// maxRenewals is how often a URL that a registry redirects to is asked for again,
// after the host that it leads to has refused it.
const maxRenewals = 2

// mayHaveExpired reports whether storage answers so to a URL whose time is over: S3
// and Azure with 403, Google with 400 (ExpiredToken).
func mayHaveExpired(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusUnauthorized || status == http.StatusForbidden
}

// whole is the call's URL.
func (s *session) whole(ctx context.Context, c call) (*url.URL, error) {
	if c.url != nil {
		return c.url, nil
	}
	challenge, err := s.challenged(ctx)
	if err != nil {
		return nil, err
	}
	u := s.base(challenge)
	u.Path, u.RawQuery = c.path, c.query
	return u, nil
}

// exchange sends a call to one URL. Where the token may be what is too long, it sends it
// once more with one for this request alone.
func (s *session) exchange(ctx context.Context, c call, u *url.URL) (*answer, error) {
	a, used, err := s.exchangeRenewed(ctx, c, u)
	if err != nil || !s.mayBeTooLong(c, a, used) {
		return a, err
	}
	c.need.alone = true
	shorter, _, err := s.exchangeRenewed(ctx, c, u)
	if err == nil {
		s.judgeLength(a, shorter)
	}
	return shorter, err
}

// exchangeRenewed sends a call to one URL, with a fresh token if the first is refused.
func (s *session) exchangeRenewed(ctx context.Context, c call, u *url.URL) (*answer, grant, error) {
	for nth := 0; ; nth++ {
		try, err := s.prepare(ctx, c.need, u)
		if err != nil {
			return nil, grant{}, err
		}
		a, err := try.exchange(ctx, c)
		if err != nil {
			return nil, grant{}, err
		}
		if try.renew(a.status, a.header, nth) {
			continue
		}
		return a, try.used, try.refusedOddly(a, c.method)
	}
}

// exchange makes the attempt and reads its answer, all within one time limit.
func (a *attempt) exchange(ctx context.Context, c call) (*answer, error) {
	defer a.leave()
	ctx, cancel := context.WithTimeoutCause(ctx, attemptTimeout, errStalled)
	defer cancel()
	for key, values := range c.header {
		a.header[key] = values
	}
	var body io.ReadCloser
	var again func() (io.ReadCloser, error)
	if c.body != nil {
		again = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.body)), nil }
		body, _ = again()
	}
	resp, err := a.send(ctx, c.method, body, int64(len(c.body)), again)
	if err != nil {
		return nil, err
	}
	if c.blob != nil {
		if err := checkSize(resp, *c.blob); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	got := &answer{url: a.url, extract: c.extract}
	switch {
	case c.peek:
		resp.Body = peeked{io.LimitReader(resp.Body, c.limit), resp.Body}
	case !c.raw || resp.StatusCode >= 300:
		if err := decode(resp, max(c.limit, maxErrorBody)); err != nil {
			return nil, cause(ctx, err)
		}
	}
	if err := got.read(resp, c.limit); err != nil && (c.whole == nil || !c.whole(got.body)) {
		return nil, cause(ctx, err)
	}
	got.loggedIn = a.loggedIn(got)
	return got, nil
}

// peeked is the beginning of a body, or what was made of it.
type peeked struct {
	io.Reader
	io.Closer
}

// read reads the body, bounded.
func (a *answer) read(resp *http.Response, limit int64) error {
	defer resp.Body.Close() //nolint:errcheck // nothing of it is needed any more
	a.status, a.header = resp.StatusCode, resp.Header
	if resp.StatusCode >= 300 {
		limit = maxErrorBody
	}
	if a.extract != nil && resp.StatusCode < 300 {
		return a.readExtract(resp, limit)
	}
	var err error
	if a.body, err = readAll(resp, limit+1); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if int64(len(a.body)) > limit {
		if resp.StatusCode < 300 {
			return tooLarge(limit)
		}
		a.body = a.body[:limit]
	}
	return nil
}

// decode undoes an encoding that was not asked for: proxies and content networks
// compress what is text (nginx with gzip_proxied). The bytes that a digest is of are
// those that were stored. No more than most bytes are read that are encoded, whatever
// comes out of them.
func decode(resp *http.Response, most int64) error {
	encoding := strings.ToLower(strings.TrimSpace(resp.Header.Get("Content-Encoding")))
	switch {
	case resp.Body == http.NoBody, resp.Request != nil && resp.Request.Method == http.MethodHead, encoding == "", encoding == "identity":
		return nil
	case encoding != "gzip" && encoding != "x-gzip":
		_ = resp.Body.Close()
		return errAgain{error: fmt.Errorf("the answer is encoded as %q, which was not asked for", Cut(encoding, maxCode)), reason: wasOdd}
	}
	text := bufio.NewReader(io.LimitReader(resp.Body, most+1))
	resp.ContentLength = -1
	if magic, _ := text.Peek(2); string(magic) != "\x1f\x8b" { // the header alone stayed
		resp.Body = peeked{text, resp.Body}
		return nil
	}
	z, err := gzip.NewReader(text)
	if err != nil {
		_ = resp.Body.Close()
		return fmt.Errorf("decompress answer: %w", err)
	}
	resp.Body = peeked{z, resp.Body}
	return nil
}

func tooLarge(limit int64) error {
	return errAgain{error: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit), reason: wasOdd}
}

// readExtract reads a body of which only a part is kept.
func (a *answer) readExtract(resp *http.Response, limit int64) (err error) {
	body := &io.LimitedReader{R: resp.Body, N: limit + 1}
	if a.body, err = a.extract(body); body.N <= 0 {
		return tooLarge(limit)
	}
	return err
}

// readAll reads at most that many bytes of a body, into as much memory as the
// answer says that it needs, if it does.
func readAll(resp *http.Response, most int64) ([]byte, error) {
	if resp.Body == http.NoBody {
		return nil, nil
	}
	var b bytes.Buffer
	if n := resp.ContentLength; n > 0 && resp.Request != nil && resp.Request.Method != http.MethodHead {
		b.Grow(int(min(n, most, smallBlob)) + bytes.MinRead) // no more on its word alone
	}
	_, err := b.ReadFrom(io.LimitReader(resp.Body, most))
	return b.Bytes(), err
}

// redirect is where the answer points to, nil if it does not. Only reads follow.
func (a *answer) redirect(method string) (*url.URL, error) {
	switch a.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if method != http.MethodGet && method != http.MethodHead {
		return nil, nil
	}
	return elsewhere(a.url, a.header.Get("Location"))
}

// elsewhere resolves a Location and decides whether it may be used.
func elsewhere(from *url.URL, location string) (*url.URL, error) {
	ref, err := url.Parse(location)
	if err != nil || location == "" {
		return nil, refusal("registry points elsewhere without a Location that can be read")
	}
	to := from.ResolveReference(ref)
	return to, checkElsewhere(from, to)
}
