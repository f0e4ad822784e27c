package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestMain fails if goroutines are left after every client and registry of the tests was closed. It lets eight tests run at
// the same time, on a machine with fewer processors too: much of each is waiting.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // -parallel on the command line comes after it
	flag.Parse()
	debug.SetGCPercent(400) // a fifth of the processor time goes to collecting otherwise
	before := runtime.NumGoroutine()
	code := m.Run()
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" && !settled(before) {
		fmt.Fprintf(os.Stderr, "%d goroutines before the tests, and after:\n%s\n", before, stacks())
		code = 1
	}
	os.Exit(code)
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}

// settled waits for goroutines to end, of which nothing tells. It leaves them the processor meanwhile.
func settled(goroutines int) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if runtime.NumGoroutine() <= goroutines {
			return true
		}
	}
	return false
}

func stacks() []byte {
	text := make([]byte, 1<<20)
	return text[:runtime.Stack(text, true)]
}

// serve starts a handler as a registry without storage. GET /v2/ has no challenge.
func serve(t *testing.T, h http.HandlerFunc) *regtest.Registry {
	t.Helper()
	return regtest.Serve(t, regtest.Options{Backend: open200(h)})
}

func open200(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		h(w, r)
	}
}

// client makes a client whose connections are closed at the end of the test.
func client(t *testing.T, chain *credential.Chain) *Client {
	t.Helper()
	c := New(Options{Credentials: chain, UserAgent: "promote-test", RetryFor: 2 * time.Second})
	t.Cleanup(c.Close)
	return c
}

// logins are the same login for both sides.
func logins(user, password string) *credential.Chain {
	login := credential.Login{Username: user, Password: password}
	return &credential.Chain{Source: login, Target: login}
}

func repository(t *testing.T, c *Client, side credential.Side, full string, access Access) *Repository {
	t.Helper()
	n, err := name.NewRepository(full)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open(t.Context(), side, n, access)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// target opens a repository on the registry for Push, without a credential.
func target(t *testing.T, reg *regtest.Registry, path string) *Repository {
	t.Helper()
	return repository(t, client(t, nil), credential.Target, reg.Host()+"/"+path, Push)
}

// matching lists the requests of the client under test whose "METHOD path" the
// pattern matches.
func matching(reg *regtest.Registry, pattern string) []regtest.Request {
	re := regexp.MustCompile(pattern)
	var found []regtest.Request
	for _, r := range reg.Requests() {
		if r.Agent != regtest.Agent && re.MatchString(r.Method+" "+r.Path) {
			found = append(found, r)
		}
	}
	return found
}

func wantRequests(t *testing.T, reg *regtest.Registry, pattern string, want int) {
	t.Helper()
	if got := matching(reg, pattern); len(got) != want {
		t.Errorf("%d requests match %q, want %d: %+v", len(got), pattern, want, got[:min(len(got), 4)])
	}
}

func request(pattern string) func(*http.Request) bool {
	re := regexp.MustCompile(pattern)
	return func(r *http.Request) bool {
		return r.UserAgent() != regtest.Agent && re.MatchString(r.Method+" "+r.URL.Path)
	}
}

// strikes injects a fault into the first n requests that match.
func strikes(n int, pattern string, fault func(http.ResponseWriter, *http.Request, http.Handler)) func(http.Handler) http.Handler {
	match := request(pattern)
	return func(next http.Handler) http.Handler {
		var mu sync.Mutex
		left := n
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			hit := left > 0 && match(r)
			if hit {
				left--
			}
			mu.Unlock()
			if hit {
				fault(w, r, next)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

const always = 1 << 30

func status(code int, header ...string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"come back later"}]}`)
	}
}

// changed passes the request on and the answer's body through a function.
func changed(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		c := &recorded{header: w.Header()}
		next.ServeHTTP(c, r)
		w.Header().Del("Content-Length")
		w.WriteHeader(c.status)
		_, _ = w.Write(change(c.body.Bytes()))
	}
}

type recorded struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (c *recorded) Header() http.Header { return c.header }

func (c *recorded) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
}

func (c *recorded) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(p)
}

// flip changes one bit in the middle.
func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

// hangup closes the connection without an answer and without a reset.
func hangup(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

// cuts answers the first requests that match, and closes the connection of each after that many
// bytes of the body. It does not reset the connection, which would lose some of these bytes.
func cuts(pattern string, after ...int) func(http.Handler) http.Handler {
	var n atomic.Int32
	return strikes(len(after), pattern, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&cutting{ResponseWriter: w, left: after[n.Add(1)-1]}, r)
	})
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	if c.left -= n; c.left > 0 || err != nil {
		return n, err
	}
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	hangup(c.ResponseWriter, nil, nil)
	return n, net.ErrClosed
}

func content(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(b)
	return b
}

func descriptor(b []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: types.OCILayer, Digest: digestOf(b), Size: int64(len(b))}
}

func sha(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// upload is an upload of bytes in memory.
func upload(b []byte) Upload {
	return Upload{Blob: descriptor(b), Open: func(context.Context) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }}
}

// push uploads a blob with another client.
func push(t *testing.T, reg *regtest.Registry, path string, b []byte) v1.Descriptor {
	t.Helper()
	if _, err := regtest.PutBlob(t.Context(), reg.Access("", ""), path, b); err != nil {
		t.Fatal(err)
	}
	return descriptor(b)
}

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`

// tagged pushes an empty index to a tag, and returns it.
func tagged(t *testing.T, reg *regtest.Registry, at regtest.Access, path, tag string) Manifest {
	t.Helper()
	if at.Host == "" {
		at = reg.Access("", "")
	}
	if err := regtest.PutManifest(t.Context(), at, path, tag, string(types.OCIImageIndex), []byte(emptyIndex)); err != nil {
		t.Fatal(err)
	}
	return NewManifest(string(types.OCIImageIndex), []byte(emptyIndex))
}

// stored reads a blob at the registry, nil if it is not there.
func stored(t *testing.T, reg *regtest.Registry, path string, d v1.Descriptor) []byte {
	t.Helper()
	resp, err := http.Get("http://" + reg.Host() + "/v2/" + path + "/blobs/" + d.Digest.String())
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	return b
}

// contains fails unless the text has every part and none of the secrets.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not contain %q", text, part)
		}
	}
}

func lacks(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(text, part) {
			t.Errorf("%q contains %q", text, part)
		}
	}
}

// bubble runs a test in virtual time, with a repository on a registry that the handler is.
func bubble(t *testing.T, h http.HandlerFunc, test func(t *testing.T, r *Repository)) {
	t.Helper()
	bubbleWithout(t, "", h, test)
}

// bubbleWithout is bubble, with an address where nothing listens.
func bubbleWithout(t *testing.T, closed string, h http.HandlerFunc, test func(t *testing.T, r *Repository)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := regtest.NewPipes()
		ctx, cancel := context.WithCancel(t.Context())
		server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), BaseContext: func(net.Listener) context.Context { return ctx }}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = server.Serve(network)
		}()
		transport := wire.NewTransport(&tls.Config{}, func(ctx context.Context, kind, address string) (net.Conn, error) {
			if address == closed {
				return nil, &net.OpError{Op: "dial", Net: kind, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
			}
			return network.DialContext(ctx, kind, address)
		}, 0)
		defer func() {
			cancel() // a handler that does not read the body does not see the client go
			transport.CloseIdleConnections()
			_ = server.Close()
			<-served
			time.Sleep(30 * time.Second) // longer than net/http lingers on a connection, and handlers in a sleep
		}()
		c := New(Options{Transport: transport})
		test(t, repository(t, c, credential.Source, "127.0.0.1:5000/acme/app", Push))
	})
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// took fails unless the time since then is within the bounds.
func took(t *testing.T, since time.Time, least, most time.Duration) {
	t.Helper()
	if d := time.Since(since); d < least || d > most {
		t.Errorf("took %v, want between %v and %v", d, least, most)
	}
}
