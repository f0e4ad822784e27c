package regtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// fits says which requests a fault can meet.
func (h *hit) fits(f Fault) bool {
	r := h.request
	t, _ := parsePath(r.URL.Path)
	upload := t.kind == "blobs" && strings.HasPrefix(t.name, "uploads/")
	read := r.Method == http.MethodGet
	switch f {
	case CutAnswer, FlipAnswer:
		return read
	case FlipUpload, CutUpload:
		return r.ContentLength > 0 && (upload || t.kind == "manifests" && !t.isTag())
	case LostUpload:
		return upload && r.Method != http.MethodPost
	case RefuseToken, ExpireTokens:
		_, bearing := bearer(r)
		return bearing && t.kind != ""
	case Lag:
		return r.Method == http.MethodPut || r.Method == http.MethodPost && upload
	case Redirect:
		return read && t.kind == "blobs"
	case NoDigest:
		return t.kind == "manifests" || t.kind == "blobs" && !upload
	case Endless:
		return read && t.kind == "manifests"
	case Unlisted:
		return r.Method == http.MethodPut && t.kind == "manifests" && h.chaos.api && hasSubject(r)
	case Lost:
		return r.Method == http.MethodPut && (t.kind == "manifests" && !t.isTag() || upload && r.URL.Query().Get("digest") != "")
	case WebPage:
		return read && (t.kind == "manifests" || t.kind == "referrers" || t.kind == "tags" || r.URL.Path == tokenPath)
	case Elsewhere:
		return t.kind == "" && r.URL.Path != tokenPath || upload && r.Method != http.MethodPut
	default:
		return true
	}
}

// strike answers the request as its fault has it.
func (h *hit) strike(w http.ResponseWriter) {
	switch h.fault {
	case Status500, Status502, Status503, Status429:
		h.trouble(w)
	case NoRequest:
		h.note("")
		reset(w)
	case NoAnswer:
		h.note("")
		h.next.ServeHTTP(&discarded{header: http.Header{}}, h.request)
		reset(w)
	case CutAnswer:
		h.cutAnswer(w)
	case FlipAnswer:
		h.flipAnswer(w)
	case FlipUpload:
		at, mask := h.dice.Int64N(h.request.ContentLength), h.mask()
		h.note("byte %d of %d", at, h.request.ContentLength)
		h.request.Body = &flippedBody{h.request.Body, at, mask}
		h.next.ServeHTTP(w, h.request)
	case CutUpload:
		h.cutUpload(w)
	case LostUpload:
		h.lostUpload(w)
	case RefuseToken:
		h.note("")
		h.unauthorized(w)
	case ExpireTokens:
		h.expire(w)
	case Lag:
		h.lag(w)
	case Stall:
		h.stall(w)
	case Redirect:
		h.redirect(w)
	case NoDigest:
		h.noDigest(w)
	case Endless:
		h.endless(w)
	case Elsewhere:
		h.pointElsewhere(w)
	case LoseConnection:
		h.loseConnection()
	case GoAway:
		h.note("")
		w.Header().Set("Connection", "close")
		h.next.ServeHTTP(w, h.request)
	case Unlisted:
		h.unlist(w)
	case Lost:
		h.lose(w)
	case WebPage:
		h.note("")
		webPage(w)
	}
}

func (h *hit) mask() byte { return byte(1 + h.dice.IntN(255)) }

func (h *hit) trouble(w http.ResponseWriter) {
	after := ""
	switch h.dice.IntN(3) {
	case 0:
		after = "1"
	case 1:
		after = time.Now().Add(2 * time.Second).UTC().Format(http.TimeFormat)
	}
	if after != "" {
		w.Header().Set("Retry-After", after)
	}
	h.note("%s", after)
	status, _ := strconv.Atoi(string(h.fault))
	code := "UNKNOWN"
	if status == http.StatusTooManyRequests {
		code = "TOOMANYREQUESTS"
	}
	refuse(w, status, code, http.StatusText(status))
}

// held is an answer that is held back whole, to be changed.
type held struct {
	discarded
	body bytes.Buffer
}

func (k *held) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(p)
}

func keep(next http.Handler, r *http.Request) *held {
	k := &held{discarded: discarded{header: http.Header{}}}
	next.ServeHTTP(k, r)
	k.WriteHeader(http.StatusOK)
	return k
}

func (k *held) send(w http.ResponseWriter, method string) {
	for key, values := range k.header {
		w.Header()[key] = values
	}
	w.WriteHeader(k.status)
	if method != http.MethodHead {
		_, _ = w.Write(k.body.Bytes())
	}
}

func (h *hit) keep() *held { return keep(h.next, h.request) }

func (h *hit) cutAnswer(w http.ResponseWriter) {
	k := h.keep()
	size := k.body.Len()
	if size == 0 {
		k.send(w, h.request.Method)
		return
	}
	at, silent := h.dice.IntN(size), h.dice.IntN(2) == 0
	h.note("after %d of %d bytes of a %d, silently: %v", at, size, k.status, silent)
	k.body.Truncate(at)
	k.header.Set("Content-Length", strconv.Itoa(size))
	if silent {
		k.header.Set("Content-Length", strconv.Itoa(at))
	}
	k.send(w, h.request.Method)
	if !silent {
		_ = http.NewResponseController(w).Flush()
		reset(w)
	}
}

func (h *hit) flipAnswer(w http.ResponseWriter) {
	k := h.keep()
	if size := k.body.Len(); size > 0 && k.status < 300 {
		at := h.dice.IntN(size)
		k.body.Bytes()[at] ^= h.mask()
		h.note("byte %d of %d", at, size)
	}
	k.send(w, h.request.Method)
}

// flippedBody changes one byte of what is sent.
type flippedBody struct {
	io.ReadCloser
	left int64 // bytes before it
	mask byte
}

func (b *flippedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if 0 <= b.left && b.left < int64(n) {
		p[b.left] ^= b.mask
	}
	b.left -= int64(n)
	return n, err
}

func (h *hit) cutUpload(w http.ResponseWriter) {
	size := h.request.ContentLength
	at := h.dice.Int64N(size)
	h.note("after %d of %d bytes", at, size)
	h.request.Body = &endingBody{io.LimitReader(h.request.Body, at)}
	func() {
		defer func() { _ = recover() }() // a handler may abort over it: it is aborted anyway
		h.next.ServeHTTP(&discarded{header: http.Header{}}, h.request)
	}()
	reset(w)
}

// endingBody ends as a body does whose sender is gone.
type endingBody struct{ io.Reader }

func (b *endingBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (*endingBody) Close() error { return nil }

func (h *hit) lostUpload(w http.ResponseWriter) {
	kind := []struct {
		status int
		code   string
	}{{http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN"}, {http.StatusBadRequest, "BLOB_UPLOAD_INVALID"}, {http.StatusBadRequest, "BLOB_UPLOAD_UNKNOWN"}}[h.dice.IntN(3)]
	h.note("%d %s", kind.status, kind.code)
	refuse(w, kind.status, kind.code, "the upload session is not known")
}

// unauthorized answers as the registry does to a token that it does not know.
func (h *hit) unauthorized(w http.ResponseWriter) {
	r := h.request.Clone(h.request.Context())
	r.Header.Set("Authorization", "Bearer refused")
	h.next.ServeHTTP(w, r)
}

// expire forgets all tokens: in the middle of an upload, in the middle of an answer's body, or else at once.
func (h *hit) expire(w http.ResponseWriter) {
	size := h.request.ContentLength
	if size > 0 {
		_, _ = io.CopyN(io.Discard, h.request.Body, size/2)
		h.note("after %d of %d bytes of the upload", size/2, size)
		h.chaos.registry.RevokeTokens()
		h.unauthorized(w)
		return
	}
	if h.request.Method != http.MethodGet {
		h.note("")
		h.chaos.registry.RevokeTokens()
		h.unauthorized(w)
		return
	}
	k := h.keep()
	half := k.body.Len() / 2
	h.note("after %d of %d bytes of the answer", half, k.body.Len())
	h.chaos.registry.RevokeTokens()
	k.header.Set("Content-Length", strconv.Itoa(k.body.Len()))
	k.body.Truncate(half)
	k.send(w, h.request.Method)
	_ = http.NewResponseController(w).Flush()
	reset(w)
}

func (h *hit) stall(w http.ResponseWriter) {
	switch way := h.dice.IntN(3); {
	case way == 0:
		h.note("before the deed, which is not done")
		sleep(h.request, h.chaos.options.Stall)
	case way == 1 || h.request.Method != http.MethodGet:
		h.note("after the deed")
		k := h.keep()
		if sleep(h.request, h.chaos.options.Stall) {
			k.send(w, h.request.Method)
			return
		}
	default:
		k := h.keep()
		size := k.body.Len()
		h.note("after %d of %d bytes", size/2, size)
		k.header.Set("Content-Length", strconv.Itoa(size))
		k.body.Truncate(size / 2)
		k.send(w, h.request.Method)
		_ = http.NewResponseController(w).Flush()
		sleep(h.request, h.chaos.options.Stall)
	}
	reset(w)
}

// redirect looks first whether the registry would serve the blob to this client.
func (h *hit) redirect(w http.ResponseWriter) {
	k := h.keep()
	if k.status >= 300 {
		k.send(w, h.request.Method)
		return
	}
	h.note("")
	h.chaos.elsewhere.redirect(w, h.request)
}

func (h *hit) noDigest(w http.ResponseWriter) {
	k := h.keep()
	const header = "Docker-Content-Digest"
	if k.header.Get(header) != "" {
		sum := sha256.Sum256([]byte(h.name))
		value := []string{"", "sha256:" + hex.EncodeToString(sum[:]), "sha256:none"}[h.dice.IntN(3)]
		k.header.Set(header, value)
		if value == "" {
			k.header.Del(header)
		}
		h.note("%q", value)
	}
	k.send(w, h.request.Method)
}

// endlessBytes is where even an endless answer ends, so that a client that reads all of it fails its test in the end.
const endlessBytes = 64 << 20

// endless sends blanks, of which none is wrong in JSON: with a false length, or with none.
func (h *hit) endless(w http.ResponseWriter) {
	w.Header().Set("Content-Type", ociIndex)
	announced := h.dice.IntN(2) == 0
	if announced {
		w.Header().Set("Content-Length", strconv.FormatInt(10<<30, 10))
	}
	w.WriteHeader(http.StatusOK)
	chunk := bytes.Repeat([]byte(" "), 64<<10)
	h.note("announced: %v", announced)
	for range endlessBytes / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			break
		}
	}
	reset(w)
}

// pointElsewhere changes where an answer sends the client: to where no credential may go.
func (h *hit) pointElsewhere(w http.ResponseWriter) {
	k := h.keep()
	if location := k.header.Get("Location"); location != "" {
		other := elsewhereFor(h.dice, h.request, h.chaos.elsewhere.host) + location[strings.Index(location, "/v2/"):]
		k.header.Set("Location", other)
		h.note("Location %s", other)
	}
	if challenge := k.header.Get("WWW-Authenticate"); strings.Contains(challenge, "realm=") {
		// A realm on another host is everyday life; one without encryption far away, or of another scheme, is none.
		other := elsewhereFor(h.dice, h.request, FarHost) + tokenPath
		k.header.Set("WWW-Authenticate", challengeField.ReplaceAllStringFunc(challenge, func(field string) string {
			if strings.HasPrefix(field, "realm=") {
				return `realm="` + other + `"`
			}
			return field
		}))
		h.note("realm %s", other)
	}
	k.send(w, h.request.Method)
}

// FarHost is a host that is not on loopback: nobody may be sent there without encryption.
const FarHost = "elsewhere.example"

func elsewhereFor(dice *rand.Rand, r *http.Request, host string) string {
	other := "https://"
	if r.TLS != nil {
		other = "http://"
	}
	return []string{"http://" + host, other + r.Host, "ftp://" + r.Host}[dice.IntN(3)]
}

func (h *hit) loseConnection() {
	done := h.dice.IntN(2) == 0
	h.note("after the deed: %v", done)
	if done {
		h.next.ServeHTTP(&discarded{header: http.Header{}}, h.request)
	}
	lose(h.request)
}

// lag serves the request, and hides for a while what it has written.
func (h *hit) lag(w http.ResponseWriter) {
	lasts := time.Duration(h.dice.Int64N(int64(h.chaos.options.Lag)))
	done := h.chaos.lags.hide(h.next, h.request)
	k := h.keep()
	if k.status == http.StatusCreated && done != nil {
		h.note("%s", lasts.Round(time.Millisecond))
		done(time.Now().Add(lasts))
	}
	k.send(w, h.request.Method)
}
