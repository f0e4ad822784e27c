package registry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/proxy"
	"github.com/google/go-containerregistry/pkg/name"
)

var update = flag.Bool("update", false, "write testdata/messages.golden")

// The hosts of the messages. The names are long on purpose: a first line must fit with them.
const (
	messageHost    = "registry.europe.example:5000"
	messageService = "auth.europe.example"
	messageStorage = "storage.europe.example"
)

// failureKind is one way in which an operation fails, and the operation that shows it.
type failureKind struct {
	name      string
	do        operation
	on        string // the requests that fail, as a pattern of "METHOD https://host/path"
	answer    answerFunc
	login     bool // a credential is given
	broken    bool // the inputs have a user name and no password
	basic     bool // the registry asks for Basic authentication
	endAfter  time.Duration
	noHint    bool // nothing is known to be wrong
	runAgain  bool // the hint is to run the promotion again
	inAnother bool // only another run succeeds: this one has learned what it must not overwrite
}

// operation is what fails, at the source or at the target.
type operation struct {
	side credential.Side
	run  func(context.Context, *Repository) error
}

// answerFunc stands for a host: its answer, or the error that net/http returns.
type answerFunc func(*http.Request) (*http.Response, error)

var messageBlob = bytes.Repeat([]byte("layer"), 300_000)

var (
	readTag = operation{credential.Source, func(ctx context.Context, r *Repository) error {
		_, err := r.GetManifest(ctx, "dev")
		return err
	}}
	readLargeBlob = operation{credential.Source, func(ctx context.Context, r *Repository) error {
		body := r.OpenBlob(ctx, descriptor(messageBlob))
		defer body.Close()
		_, err := io.Copy(io.Discard, body)
		return err
	}}
	listAllTags = operation{credential.Source, func(ctx context.Context, r *Repository) error {
		_, _, err := r.Tags(ctx)
		return err
	}}
	writeTag = operation{credential.Target, func(ctx context.Context, r *Repository) error {
		_, err := r.PutManifest(ctx, "production", NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex)))
		return err
	}}
	writeLargeBlob = operation{credential.Target, func(ctx context.Context, r *Repository) error {
		_, err := r.PutBlob(ctx, upload(messageBlob))
		return err
	}}
	firstWrite = operation{credential.Target, func(ctx context.Context, r *Repository) error {
		r = r.AllowMissing()
		if _, err := r.GetManifest(ctx, "production"); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("not assumed missing: %w", err)
		}
		_, err := r.PutManifest(ctx, "production", NewManifest("application/vnd.oci.image.index.v1+json", []byte(emptyIndex)))
		return err
	}}
	deleteTag = operation{credential.Target, func(ctx context.Context, r *Repository) error { return r.DeleteTag(ctx, "production") }}
)

func says(status int, body string, header ...string) answerFunc {
	return func(r *http.Request) (*http.Response, error) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{
			StatusCode: status, ProtoMajor: 2, Header: h, ContentLength: int64(len(body)),
			Body: io.NopCloser(strings.NewReader(body)), Request: r,
		}, nil
	}
}

func saysError(status int, code, message string) answerFunc {
	return says(status, fmt.Sprintf(`{"errors":[{"code":%q,"message":%q}]}`, code, message))
}

func failsWith(err error) answerFunc {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// saysNothing is a host that accepts the connection and never answers.
func saysNothing(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, context.Cause(r.Context())
}

// dripReader sends a byte every 20 seconds.
type dripReader struct{}

func (dripReader) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Second)
	return copy(p, "x"), nil
}

func drips(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 2, Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(dripReader{}), Request: r}, nil
}

func dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: messageAddress, Err: err}
}

func lookupError(err *net.DNSError) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

var messageAddress = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000}

func readError(err syscall.Errno) error {
	own := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: 40123}
	return &net.OpError{Op: "read", Net: "tcp", Source: own, Addr: messageAddress, Err: os.NewSyscallError("read", err)}
}

func certificateError(err error) error { return &tls.CertificateVerificationError{Err: err} }

// messageOther is the manifest that the tag production points to.
const messageOther = `{"schemaVersion":2,"manifests":[ ]}`

// healthy answers as a registry with a token service does, and has no content.
func healthy(r *http.Request, basic bool) (*http.Response, error) {
	switch {
	case r.URL.Host == messageService:
		return says(http.StatusOK, `{"token":"t","expires_in":300}`)(r)
	case r.URL.Path == "/v2/" && basic:
		return says(http.StatusUnauthorized, "", "Www-Authenticate", `Basic realm="registry"`)(r)
	case r.URL.Path == "/v2/":
		return says(http.StatusUnauthorized, "", "Www-Authenticate", `Bearer realm="https://`+messageService+`/token",service="registry"`)(r)
	case r.Method == http.MethodPost:
		return says(http.StatusAccepted, "", "Location", r.URL.Path+"1")(r)
	case r.Method == http.MethodPut:
		return says(http.StatusCreated, "")(r)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/production"):
		return says(http.StatusOK, messageOther, "Content-Type", "application/vnd.oci.image.index.v1+json", "Docker-Content-Digest", sha([]byte(messageOther)))(r)
	}
	return saysError(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")(r)
}

// message makes the kind of failure happen and returns the error. Again makes the fault pass, and does the operation
// in another run, and once more in the same one.
func (k failureKind) message(t *testing.T) (again func() error, err error) {
	t.Helper()
	failing, passed := regexp.MustCompile(k.on), false
	host := func(r *http.Request) (*http.Response, error) {
		switch {
		case passed:
			return complete(r, k.basic)
		case k.on != "" && failing.MatchString(r.Method+" "+r.URL.String()):
			return k.answer(r)
		}
		return healthy(r, k.basic)
	}
	r, err := k.open(t, host)
	if err != nil {
		return nil, err
	}
	again = func() error {
		passed = true
		other, err := k.open(t, host)
		if err == nil {
			err = k.do.run(t.Context(), other)
		}
		if err == nil && !k.inAnother {
			err = k.do.run(t.Context(), r)
		}
		return err
	}
	ctx := t.Context()
	if k.endAfter > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, k.endAfter, errors.New("the run was canceled (SIGTERM)"))
		defer cancel()
	}
	return again, k.do.run(ctx, r)
}

// open opens the repository in a new run, with the credential of the kind.
func (k failureKind) open(t *testing.T, host answerFunc) (*Repository, error) {
	t.Helper()
	chain := &credential.Chain{}
	if k.login {
		chain = logins("bob", "hunter2")
	}
	if k.broken {
		chain = logins("bob", "")
	}
	c := New(Options{Credentials: chain, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Context().Err() != nil {
			return nil, r.Context().Err()
		}
		return host(r)
	})})
	repo, err := name.NewRepository(messageHost + "/acme/app")
	if err != nil {
		t.Fatal(err)
	}
	return c.Open(t.Context(), k.do.side, repo, Delete)
}

// complete answers as healthy does, and has the content that the operations read.
func complete(r *http.Request, basic bool) (*http.Response, error) {
	switch {
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/manifests/dev"):
		return says(http.StatusOK, emptyIndex, "Content-Type", "application/vnd.oci.image.index.v1+json", "Docker-Content-Digest", sha([]byte(emptyIndex)))(r)
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+sha(messageBlob)):
		return says(http.StatusOK, string(messageBlob))(r)
	case strings.HasSuffix(r.URL.Path, "/tags/list"):
		return says(http.StatusOK, `{"name":"acme/app","tags":["dev","production"]}`)(r)
	}
	return healthy(r, basic)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

const (
	onPing     = `GET https://` + messageHost + `/v2/$`
	onToken    = messageService
	onManifest = `/manifests/`
	onReadBlob = `GET .*/blobs/sha256`
	onStorage  = messageStorage
	signInPage = "<html><head><title>Sign in to the network</title></head></html>"
)

// resetStream is the error of an HTTP/2 stream, which is not exported: an error of this shape
// stands for it.
type resetStream struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (resetStream) Error() string {
	return "stream error: stream ID 1; INTERNAL_ERROR; received from peer"
}

func (r resetStream) As(target any) bool {
	e, ok := target.(*streamError)
	if ok {
		*e = streamError(r)
	}
	return ok
}

// hiddenTag is a registry that refuses reads until the first write.
func hiddenTag() answerFunc {
	written := false
	return func(r *http.Request) (*http.Response, error) {
		written = written || r.Method == http.MethodPut
		if written {
			return healthy(r, false)
		}
		return saysError(403, "DENIED", "requested access to the resource is denied")(r)
	}
}

// toStorage redirects a blob's download to the storage, which answers in its way.
func toStorage(storage answerFunc) answerFunc {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == messageStorage {
			return storage(r)
		}
		return says(http.StatusTemporaryRedirect, "", "Location", "https://"+messageStorage+"/layer?signature=secret")(r)
	}
}

func failureKinds() []failureKind {
	timeout := dialError(os.ErrDeadlineExceeded)
	certificate := &x509.Certificate{DNSNames: []string{"internal.example"}}
	return []failureKind{
		// What the credential may do.
		{name: "anonymous access is refused", do: readTag, on: onManifest, answer: saysError(401, "UNAUTHORIZED", "authentication required")},
		{name: "the repository is hidden or misspelt", do: readTag, on: onManifest, answer: saysError(403, "DENIED", "requested access to the resource is denied")},
		{name: "the token service rejects the password", do: readTag, on: onToken, answer: saysError(401, "UNAUTHORIZED", "incorrect username or password"), login: true},
		{name: "the registry rejects the password", do: readTag, on: onManifest, answer: saysError(401, "UNAUTHORIZED", "authentication required"), login: true, basic: true},
		{name: "the right to push is missing", do: writeTag, on: "PUT", answer: saysError(403, "DENIED", "permission denied"), login: true},
		{name: "a page answers a write", do: writeTag, on: "PUT", answer: says(200, signInPage, "Content-Type", "text/html")},
		{name: "the right to pull is missing, 401", do: readTag, on: onManifest, answer: saysError(401, "UNAUTHORIZED", "insufficient scope"), login: true},
		{name: "the repository does not exist", do: readTag, on: onManifest, answer: saysError(404, "NAME_UNKNOWN", "repository name not known to registry"), login: true},
		{name: "the credential cannot be read", do: readTag, broken: true},
		{name: "the rate limit asks for hours", do: readTag, on: onManifest, answer: says(429, `{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}`, "Retry-After", "21600"), login: true, runAgain: true},

		// What the registry answers.
		{name: "the tag does not exist", do: readTag},
		{name: "a blob does not exist", do: readLargeBlob, on: onReadBlob, answer: saysError(404, "BLOB_UNKNOWN", "blob unknown to registry")},
		{name: "the tag is immutable, by its code", do: writeTag, on: "PUT.*/production", answer: saysError(400, "TAG_INVALID", "The image tag 'production' already exists and cannot be overwritten because the repository is immutable.")},
		{name: "the tag is immutable, by trial", do: writeTag, on: "PUT.*/production", answer: saysError(412, "PRECONDITION", "configured as immutable")},
		{name: "a tag that was hidden exists", do: firstWrite, on: "/manifests/|/tags/list", answer: hiddenTag(), runAgain: true, inAnother: true},
		{name: "a policy forbids the pull", do: readTag, on: onManifest, answer: saysError(412, "PROJECTPOLICYVIOLATION", "current image with 3 vulnerabilities cannot be pulled"), runAgain: true},
		{name: "a policy forbids the write", do: writeTag, on: "PUT", answer: saysError(412, "PROJECTPOLICYVIOLATION", "the project does not take this image"), runAgain: true},
		{name: "a policy forbids the upload", do: writeLargeBlob, on: "POST", answer: saysError(412, "PROJECTPOLICYVIOLATION", "the project does not take this image"), runAgain: true},
		{name: "too many requests", do: readTag, on: onManifest, answer: saysError(429, "TOOMANYREQUESTS", "slow down"), runAgain: true},
		{name: "server errors", do: readTag, on: onManifest, answer: says(503, "<html><title>503 Service Temporarily Unavailable</title></html>", "Content-Type", "text/html"), runAgain: true},
		{name: "content of a manifest is missing", do: writeTag, on: "PUT", answer: saysError(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")},
		{name: "content is rejected", do: writeTag, on: "PUT", answer: saysError(400, "MANIFEST_INVALID", "manifest invalid")},
		{name: "the content just written is not found", do: writeTag, on: "PUT", answer: saysError(404, "NOT_FOUND", "artifact not found"), runAgain: true},
		{name: "an operation is not supported", do: deleteTag, on: "DELETE", answer: saysError(405, "UNSUPPORTED", "The operation is unsupported.")},
		{name: "a manifest is too large for a proxy", do: writeTag, on: "PUT", answer: says(413, "<html><title>413 Request Entity Too Large</title></html>", "Content-Type", "text/html")},
		{name: "a blob is too large for a proxy", do: writeLargeBlob, on: "(PUT|PATCH) .*/uploads/", answer: says(413, "<html><title>413 Request Entity Too Large</title></html>", "Content-Type", "text/html")},
		{name: "connections are closed on a large body", do: writeLargeBlob, on: "(PUT|PATCH) .*/uploads/", answer: failsWith(readError(syscall.ECONNRESET))},
		{name: "a refusal of another kind", do: readTag, on: onManifest, answer: saysError(418, "TEAPOT", "short and stout")},
		{name: "a redirect in answer to a write", do: writeTag, on: "PUT", answer: says(302, "", "Location", "https://login.example/")},

		// The first request, and the token service.
		{name: "GET /v2/ is not found", do: readTag, on: onPing, answer: says(404, "")},
		{name: "GET /v2/ is forbidden", do: readTag, on: onPing, answer: says(403, "<html><title>Access denied</title></html>", "Content-Type", "text/html")},
		{name: "GET /v2/ is unavailable", do: readTag, on: onPing, answer: says(502, ""), runAgain: true},
		{name: "the token service is unavailable", do: readTag, on: onToken, answer: says(503, ""), runAgain: true},
		{name: "the token service does not have the path", do: readTag, on: onToken, answer: says(404, "")},
		{name: "the token service sends no token", do: readTag, on: onToken, answer: says(200, `{}`), runAgain: true},
		{name: "a login page in place of the token service", do: readTag, on: onToken, answer: says(200, signInPage, "Content-Type", "text/html")},
		{name: "the token service is down", do: readTag, on: onToken, answer: failsWith(dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)))},
		{name: "the token service has a private address", do: readTag, on: onPing, answer: says(401, "", "Www-Authenticate", `Bearer realm="https://10.0.0.1/token"`)},

		// Connections.
		{name: "the connection is refused", do: readTag, on: onPing, answer: failsWith(dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)))},
		{name: "there is no route", do: readTag, on: onPing, answer: failsWith(dialError(os.NewSyscallError("connect", syscall.EHOSTUNREACH)))},
		{name: "the connection times out", do: readTag, on: onPing, answer: failsWith(timeout), runAgain: true},
		{name: "connections are reset", do: readTag, on: onManifest, answer: failsWith(readError(syscall.ECONNRESET)), runAgain: true},
		{name: "connections are closed", do: readTag, on: onManifest, answer: failsWith(io.EOF), runAgain: true},
		{name: "an answer breaks off", do: readLargeBlob, on: onReadBlob, answer: says(200, "layer", "Content-Encoding", "identity"), runAgain: true},
		{name: "the registry never answers", do: readTag, on: onManifest, answer: saysNothing, runAgain: true},
		{name: "a download is too slow", do: readLargeBlob, on: onReadBlob, answer: drips, runAgain: true},
		{name: "DNS does not know the name", do: readTag, on: onPing, answer: failsWith(lookupError(&net.DNSError{Err: "no such host", Name: "registry.europe.example", Server: "192.0.2.53:53", IsNotFound: true}))},
		{name: "DNS does not answer", do: readTag, on: onPing, answer: failsWith(lookupError(&net.DNSError{Err: "i/o timeout", Name: "registry.europe.example", Server: "192.0.2.53:53", IsTimeout: true})), runAgain: true},
		{name: "the port does not speak TLS", do: readTag, on: onPing, answer: failsWith(http.ErrSchemeMismatch)},
		{name: "the certificate has an unknown authority", do: readTag, on: onPing, answer: failsWith(certificateError(x509.UnknownAuthorityError{}))},
		{name: "the certificate has expired", do: readTag, on: onPing, answer: failsWith(certificateError(x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time 2026-11-22T03:00:00Z is after 2026-11-21T00:00:00Z"}))},
		{name: "the certificate is for another name", do: readTag, on: onPing, answer: failsWith(certificateError(x509.HostnameError{Certificate: certificate, Host: "registry.europe.example"}))},
		{name: "the certificate is not for servers", do: readTag, on: onPing, answer: failsWith(certificateError(x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}))},
		{name: "the proxy requires a login", do: readTag, on: onPing, answer: failsWith(&proxy.LoginError{Host: "proxy.example:3128"})},
		{name: "the proxy rejects the login", do: readTag, on: onPing, answer: failsWith(&proxy.LoginError{Host: "proxy.example:3128", Rejected: true})},
		{name: "the proxy refuses the host", do: readTag, on: onPing, answer: failsWith(&proxy.RefusalError{Host: "proxy.example:3128", Status: 403})},
		{name: "the proxy is down", do: readTag, on: onPing, answer: failsWith(&net.OpError{Op: "proxyconnect", Net: "tcp", Err: dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED))})},

		{name: "an HTTP/2 stream is reset", do: readTag, on: onManifest, answer: failsWith(fmt.Errorf("%w", resetStream{1, 2, nil})), runAgain: true},

		{name: "the certificate of the proxy has an unknown authority", do: readTag, on: onPing, answer: failsWith(&net.OpError{Op: "proxyconnect", Net: "tcp", Err: certificateError(x509.UnknownAuthorityError{})})},

		// Redirects.
		{name: "the storage is down", do: readLargeBlob, on: onReadBlob + "|" + onStorage, answer: toStorage(failsWith(dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED))))},
		{name: "the storage has a bad certificate", do: readLargeBlob, on: onReadBlob + "|" + onStorage, answer: toStorage(failsWith(certificateError(x509.UnknownAuthorityError{})))},
		{name: "the storage refuses the signed URL", do: readLargeBlob, on: onReadBlob + "|" + onStorage, answer: toStorage(says(403, "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code></Error>", "Content-Type", "application/xml"))},
		{name: "a redirect to a private address", do: readLargeBlob, on: onReadBlob, answer: says(307, "", "Location", "https://169.254.169.254/latest/meta-data")},
		{name: "redirects in a circle", do: readLargeBlob, on: onReadBlob, answer: says(307, "", "Location", "?")},
		{name: "an upload is sent to plain http", do: writeLargeBlob, on: "POST", answer: says(202, "", "Location", "http://other.example/upload?ticket=secret")},

		// Content.
		{name: "a login page in place of a manifest", do: readTag, on: onManifest, answer: says(200, signInPage, "Content-Type", "text/html")},
		{name: "a manifest does not match its digest", do: readTag, on: onManifest, answer: says(200, emptyIndex, "Content-Type", "application/vnd.oci.image.index.v1+json", "Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))},
		{name: "a manifest is too large", do: readTag, on: onManifest, answer: says(200, strings.Repeat(" ", MaxManifest+1), "Content-Type", "application/vnd.oci.image.index.v1+json")},
		{name: "a blob does not match its digest", do: readLargeBlob, on: onReadBlob, answer: says(200, strings.Repeat("x", len(messageBlob)))},
		{name: "a blob has another size", do: readLargeBlob, on: onReadBlob, answer: says(200, "short")},
		{name: "a list of tags is not JSON", do: listAllTags, on: "/tags/list", answer: says(200, `{"tags":`), runAgain: true},

		// The end of the run.
		{name: "canceled while the registry is unavailable", do: readTag, on: onManifest, answer: says(503, ""), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled while GET /v2/ is unavailable", do: readTag, on: onPing, answer: says(503, ""), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled while the token service is unavailable", do: readTag, on: onToken, answer: says(503, ""), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled while connections are reset", do: readTag, on: onManifest, answer: failsWith(readError(syscall.ECONNRESET)), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled during an upload that is retried", do: writeLargeBlob, on: "(PUT|PATCH) .*/uploads/", answer: says(500, ""), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled during a download that is retried", do: readLargeBlob, on: onReadBlob, answer: says(500, ""), endAfter: 5 * time.Second, noHint: true},
		{name: "canceled before an answer", do: readTag, on: onManifest, answer: saysNothing, endAfter: 5 * time.Second, noHint: true},
	}
}

// longDigest matches digests, which the page leaves out.
var longDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// Bounds of the two lines that say what is wrong. The first line of the hint says it in the user's words, and is all
// that a chat message shows of it: it has fewer than 120 characters, names of hosts and repositories included. The error
// itself, which is for the log, names operation, side and full reference before the cause; without the reference it is
// bounded too.
const (
	maxFirstLine = 119
	maxError     = 210 // the cause quotes the registry's message
)

// atReference matches where an operation failed.
var atReference = regexp.MustCompile(`at the (source|target) \S+`)

// TestMessages writes down what a user reads for each kind of failure, for a reviewer to
// read on one page, and holds the bounds. Where the hint is to run again, that succeeds once the fault has passed.
func TestMessages(t *testing.T) {
	kinds := failureKinds()
	var page bytes.Buffer
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				again, err := k.message(t)
				if err == nil {
					t.Fatal("no error")
				}
				text, hint := longDigest.ReplaceAllString(err.Error(), "sha256:…"), HintOf(err)
				lacks(t, text+hint, "hunter2", "ticket", "signature=")
				fmt.Fprintf(&page, "# %s\n%s\n", k.name, text)
				for line := range strings.Lines(hint) {
					fmt.Fprintf(&page, "    %s\n", strings.TrimSuffix(line, "\n"))
				}
				page.WriteString("\n")
				k.check(t, text, hint)
				if k.runAgain {
					if err := again(); err != nil {
						t.Errorf("the hint is to run again, and that fails: %v", err)
					}
				}
			})
		})
	}
	const golden = "testdata/messages.golden"
	if *update {
		if err := os.WriteFile(golden, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(page.String(), "\n\n")
	for n, entry := range strings.Split(string(want), "\n\n") {
		if n >= len(got) || got[n] != entry {
			t.Errorf("%s differs, -update writes it.\nThe file:\n%s\nNow:\n%s", golden, entry, strings.Join(got[min(n, len(got)):min(n+1, len(got))], ""))
		}
	}
}

// check checks the rules for messages.
func (k failureKind) check(t *testing.T, text, hint string) {
	t.Helper()
	first, rest, more := strings.Cut(hint, "\n")
	switch {
	case strings.Contains(text, "\n"):
		t.Errorf("the error has several lines: %s", text)
	case len(atReference.ReplaceAllString(text, "")) > maxError:
		t.Errorf("the error is longer than %d characters and the reference: %s", maxError, text)
	case k.noHint && hint != "":
		t.Errorf("a run that was ended has a hint: %s", hint)
	case k.noHint:
		return
	case first == "":
		t.Errorf("no hint for: %s", text)
	case len(first) > maxFirstLine:
		t.Errorf("the first line has %d characters: %s", len(first), first)
	case !more || rest == "":
		t.Errorf("the hint does not say what to do: %s", hint)
	}
	if again := strings.Contains(strings.ToLower(hint), "run the promotion again"); again != k.runAgain {
		t.Errorf("the hint is to run again: %v, want %v", again, k.runAgain)
	}
}
