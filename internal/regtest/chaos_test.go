package regtest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// victim is a client whose requests meet faults: a registry with one image under one kind of fault.
type victim struct {
	memory   *regtest.Memory
	registry *regtest.Registry
	scheme   string
	chaos    *regtest.Chaos
	image    *regtest.Image
	client   *http.Client
	token    string
}

const layerBytes = 10_000

// suffer makes a registry whose every request meets the fault that it fits: over plain HTTP, or over HTTP/2.
func suffer(t *testing.T, f regtest.Fault, seed uint64, secure bool, test func(*testing.T, *victim)) {
	t.Helper()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		everything := []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}
		r, c, err := regtest.StartChaos(
			regtest.Options{Memory: m, TLS: secure, Delete: f == regtest.Lost, Referrers: f == regtest.Unlisted || f == regtest.WebPage, Auth: &regtest.Auth{Users: map[string]regtest.User{"u": {Password: "p", Grants: everything}}}},
			regtest.ChaosOptions{Seed: seed, Side: "it", Rates: map[regtest.Fault]float64{f: 1}})
		if err != nil {
			t.Fatal(err)
		}
		v := &victim{memory: m, registry: r, chaos: c, scheme: "http://", image: regtest.Build(regtest.Spec{LayerSize: layerBytes})}
		if secure {
			v.scheme = "https://"
		}
		v.client = &http.Client{Transport: m.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		t.Cleanup(func() {
			v.client.CloseIdleConnections()
			_ = r.Close()
		})
		if err := v.image.Push(t.Context(), r.Access("u", "p"), "acme/app", "dev"); err != nil {
			t.Fatal(err)
		}
		v.login(t)
		test(t, v)
	})
}

// login gets a token in the name of Push, which no fault meets.
func (v *victim) login(t *testing.T) {
	t.Helper()
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, v.scheme+v.registry.Host()+"/token?service=registry.test&scope=repository:acme/app:pull,push", http.NoBody)
	q.SetBasicAuth("u", "p")
	q.Header.Set("User-Agent", regtest.Agent)
	a := v.send(q)
	_, token, _ := strings.Cut(string(a.body), `"access_token":"`)
	v.token, _, _ = strings.Cut(token, `"`)
	if v.token == "" {
		t.Fatalf("no token in %s", a.body)
	}
}

// reply is an answer, read as far as it goes.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error // of the request, or of the body
	took   time.Duration
}

func (v *victim) send(q *http.Request) reply {
	began := time.Now()
	resp, err := v.client.Do(q)
	if err != nil {
		return reply{err: err, took: time.Since(began)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 9<<20))
	return reply{resp.StatusCode, resp.Header, body, err, time.Since(began)}
}

func (v *victim) do(ctx context.Context, method, address string, body []byte) reply {
	if strings.HasPrefix(address, "/") {
		address = v.scheme + v.registry.Host() + address
	}
	q, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	q.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	if strings.Contains(address, v.registry.Host()) {
		q.Header.Set("Authorization", "Bearer "+v.token)
	}
	return v.send(q)
}

func (v *victim) get(ctx context.Context, path string) reply {
	return v.do(ctx, http.MethodGet, path, nil)
}

func (v *victim) layer() (path string, text []byte) {
	for _, b := range v.image.Blobs {
		if b.Size == layerBytes {
			text, _ = io.ReadAll(b.Open())
			return "/v2/acme/app/blobs/" + b.Digest, text
		}
	}
	panic("no layer")
}

func (v *victim) manifest() (path string, text []byte) {
	return "/v2/acme/app/manifests/dev", v.image.Manifest(v.image.Root).Bytes
}

// upload is a session's address with the digest of what is to come; the session is opened in the name of Push.
func (v *victim) upload(ctx context.Context, digest string) string {
	q, _ := http.NewRequestWithContext(ctx, http.MethodPost, v.scheme+v.registry.Host()+"/v2/acme/app/blobs/uploads/", http.NoBody)
	q.Header.Set("Authorization", "Bearer "+v.token)
	q.Header.Set("User-Agent", regtest.Agent)
	location := v.send(q).header.Get("Location")
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	return location + separator + "digest=" + digest
}

// has looks in the name of Push whether the registry holds a blob.
func (v *victim) has(ctx context.Context, digest string) bool {
	q, _ := http.NewRequestWithContext(ctx, http.MethodHead, v.scheme+v.registry.Host()+"/v2/acme/app/blobs/"+digest, http.NoBody)
	q.Header.Set("Authorization", "Bearer "+v.token)
	q.Header.Set("User-Agent", regtest.Agent)
	return v.send(q).status == http.StatusOK
}

// newBlob is a blob that the registry does not have.
func newBlob() (digest string, text []byte) {
	b := regtest.Build(regtest.Spec{Seed: "new", LayerSize: layerBytes}).Blobs[0]
	text, _ = io.ReadAll(b.Open())
	return b.Digest, text
}

// TestFaults: each fault does what its name says, whatever the dice.
func TestFaults(t *testing.T) {
	long(t)
	t.Parallel()
	for _, test := range []struct {
		fault regtest.Fault
		check func(*testing.T, *victim)
	}{
		{regtest.Status500, troubled(500)},
		{regtest.Status502, troubled(502)},
		{regtest.Status503, troubled(503)},
		{regtest.Status429, troubled(429)},
		{regtest.NoRequest, func(t *testing.T, v *victim) { unanswered(t, v, false) }},
		{regtest.NoAnswer, func(t *testing.T, v *victim) { unanswered(t, v, true) }},
		{regtest.CutAnswer, cutAnswers},
		{regtest.FlipAnswer, flippedAnswers},
		{regtest.FlipUpload, flippedUploads},
		{regtest.CutUpload, func(t *testing.T, v *victim) { unanswered(t, v, false) }},
		{regtest.LostUpload, lostUploads},
		{regtest.RefuseToken, func(t *testing.T, v *victim) { refused(t, v, false) }},
		{regtest.ExpireTokens, func(t *testing.T, v *victim) { refused(t, v, true) }},
		{regtest.Lag, lagging},
		{regtest.Stall, stalling},
		{regtest.Redirect, redirected},
		{regtest.NoDigest, wrongDigests},
		{regtest.Endless, endless},
		{regtest.Elsewhere, pointsElsewhere},
		{regtest.LoseConnection, loses},
		{regtest.GoAway, goesAway},
		{regtest.Unlisted, unlisted},
		{regtest.Lost, lost},
		{regtest.WebPage, webPages},
	} {
		for n := range uint64(12) {
			seed, secure := n/2, n%2 == 1
			t.Run(fmt.Sprintf("%s %d, TLS %v", test.fault, seed, secure), func(t *testing.T) {
				t.Parallel()
				suffer(t, test.fault, seed, secure, func(t *testing.T, v *victim) {
					test.check(t, v)
					if len(v.chaos.Strikes()) == 0 {
						t.Error("nothing struck")
					}
					for _, s := range v.chaos.Strikes() {
						if s.Fault != test.fault || !strings.HasPrefix(s.Request, "it ") {
							t.Errorf("struck: %s", s)
						}
					}
				})
			})
		}
	}
	if n := len(regtest.Faults()); n != 24 {
		t.Errorf("%d faults, of which 24 are tested", n)
	}
}

// unlisted: a referrer is taken and not listed; once nothing strikes any more, writing it again has it listed.
func unlisted(t *testing.T, v *victim) {
	subject := v.image.Manifest(v.image.Root)
	text := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
		"application/vnd.oci.image.manifest.v1+json", v.image.Blobs[0].Digest, v.image.Blobs[0].Size, subject.MediaType, subject.Digest, len(subject.Bytes))
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	list := "/v2/acme/app/referrers/" + v.image.Root
	put := func() { v.wrote(t, "/v2/acme/app/manifests/"+digest, []byte(text)) }
	put()
	if a := v.get(t.Context(), "/v2/acme/app/manifests/"+digest); a.status != http.StatusOK {
		t.Errorf("read: %d", a.status)
	}
	for range 2 {
		if a := v.get(t.Context(), list); a.status != http.StatusOK || strings.Contains(string(a.body), digest) {
			t.Errorf("listed: %d %s", a.status, a.body)
		}
		v.chaos.Calm() // alone it does not help
	}
	put()
	if a := v.get(t.Context(), list); !strings.Contains(string(a.body), digest) {
		t.Errorf("written again, and not listed: %d %s", a.status, a.body)
	}
}

// lost: what is new is taken and is not there; what was there stays.
func lost(t *testing.T, v *victim) {
	digest, text := newBlob()
	if a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text); a.status != http.StatusCreated {
		t.Errorf("blob: %d %s, error %v", a.status, a.body, a.err)
	}
	if v.has(t.Context(), digest) {
		t.Error("the blob is there")
	}
	root := v.image.Manifest(v.image.Root)
	v.wrote(t, "/v2/acme/app/manifests/"+root.Digest, root.Bytes)
	if a := v.get(t.Context(), "/v2/acme/app/manifests/dev"); a.status != http.StatusOK {
		t.Errorf("what was there is not: %d", a.status)
	}
	list := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	path := fmt.Sprintf("/v2/acme/app/manifests/sha256:%x", sha256.Sum256([]byte(list)))
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, v.scheme+v.registry.Host()+path, strings.NewReader(list))
	q.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	q.Header.Set("Authorization", "Bearer "+v.token)
	if a := v.send(q); a.status != http.StatusCreated {
		t.Errorf("manifest: %d %s, error %v", a.status, a.body, a.err)
	}
	if a := v.get(t.Context(), path); a.status != http.StatusNotFound {
		t.Errorf("the manifest: %d", a.status)
	}
}

func webPages(t *testing.T, v *victim) {
	for _, path := range []string{"/v2/acme/app/manifests/dev", "/v2/acme/app/tags/list", "/v2/acme/app/referrers/" + v.image.Root, "/token"} {
		a := v.get(t.Context(), path)
		if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(string(a.body), "<html>") {
			t.Errorf("%s: %d %s, error %v", path, a.status, a.body, a.err)
		}
	}
}

// wrote writes a manifest, which is taken.
func (v *victim) wrote(t *testing.T, path string, text []byte) {
	t.Helper()
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, v.scheme+v.registry.Host()+path, bytes.NewReader(text))
	q.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	q.Header.Set("Authorization", "Bearer "+v.token)
	if a := v.send(q); a.status != http.StatusCreated {
		t.Errorf("write %s: %d %s, error %v", path, a.status, a.body, a.err)
	}
}

func troubled(status int) func(*testing.T, *victim) {
	return func(t *testing.T, v *victim) {
		for _, path := range []string{"/v2/", "/v2/acme/app/manifests/dev", "/v2/acme/app/tags/list", "/token"} {
			a := v.get(t.Context(), path)
			if a.status != status || !strings.Contains(string(a.body), `"errors"`) {
				t.Errorf("%s: %d %s, error %v", path, a.status, a.body, a.err)
			}
			if after := a.header.Get("Retry-After"); after != "" && after != "1" {
				if at, err := http.ParseTime(after); err != nil || time.Until(at) > 2*time.Second {
					t.Errorf("Retry-After %q", after)
				}
			}
		}
	}
}

// unanswered: nobody hears anything, and what was asked for is done or not.
func unanswered(t *testing.T, v *victim, done bool) {
	digest, text := newBlob()
	a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text)
	if a.err == nil {
		t.Errorf("answered %d", a.status)
	}
	time.Sleep(time.Second)
	if v.has(t.Context(), digest) != done {
		t.Errorf("the blob is there: %v", !done)
	}
}

func cutAnswers(t *testing.T, v *victim) {
	seen := 0
	for range 8 {
		path, text := v.layer()
		a := v.get(t.Context(), path)
		if a.status == 0 && errors.Is(a.err, syscall.ECONNRESET) {
			continue // the reset has overtaken what was answered
		}
		seen++
		if a.status != http.StatusOK || len(a.body) >= len(text) || !bytes.HasPrefix(text, a.body) {
			t.Errorf("%d with %d bytes, error %v", a.status, len(a.body), a.err)
		}
		if whole := strconv.Itoa(len(text)); (a.err == nil) != (a.header.Get("Content-Length") != whole) {
			t.Errorf("Content-Length %s of %s, error %v", a.header.Get("Content-Length"), whole, a.err)
		}
	}
	if seen == 0 {
		t.Error("no answer was seen that was cut")
	}
}

func flippedAnswers(t *testing.T, v *victim) {
	for _, path := range []string{"/v2/acme/app/tags/list", "/v2/acme/app/manifests/dev"} {
		a, b := v.get(t.Context(), path), v.get(t.Context(), path)
		if a.status != http.StatusOK || a.err != nil || bytes.Equal(a.body, b.body) {
			t.Errorf("%s: %d %q, then %q; error %v", path, a.status, a.body, b.body, a.err)
		}
	}
	path, text := v.layer()
	if n := different(v.get(t.Context(), path).body, text); n != 1 {
		t.Errorf("%d bytes of the layer differ", n)
	}
}

func different(a, b []byte) (n int) {
	if len(a) != len(b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func flippedUploads(t *testing.T, v *victim) {
	digest, text := newBlob()
	if a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text); a.status != http.StatusBadRequest {
		t.Errorf("blob: %d %s, error %v", a.status, a.body, a.err)
	}
	path, text := v.manifest()
	if a := v.do(t.Context(), http.MethodPut, strings.Replace(path, "dev", v.image.Root, 1), text); a.status < 400 {
		t.Errorf("manifest by digest: %d", a.status)
	}
	strikes := len(v.chaos.Strikes())
	if a := v.do(t.Context(), http.MethodPut, path, text); a.status != http.StatusCreated || len(v.chaos.Strikes()) > strikes {
		t.Errorf("manifest by tag: %d %s", a.status, a.body)
	}
}

func lostUploads(t *testing.T, v *victim) {
	digest, text := newBlob()
	a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text)
	if a.status != http.StatusNotFound && a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "BLOB_UPLOAD_") {
		t.Errorf("%d %s, error %v", a.status, a.body, a.err)
	}
}

// refused: the registry asks for a token anew, and the old one is as good as before, or not. A body that was on its way
// is cut.
func refused(t *testing.T, v *victim, forgotten bool) {
	digest, text := newBlob()
	a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text)
	if a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), "realm=") {
		t.Errorf("%d %v, error %v", a.status, a.header, a.err)
	}
	if v.has(t.Context(), digest) {
		t.Error("the blob is there all the same")
	}
	path, _ := v.layer()
	if known := v.has(t.Context(), path[strings.LastIndex(path, "/")+1:]); known == forgotten {
		t.Errorf("the token is still known: %v", known)
	}
	if !forgotten {
		return
	}
	v.login(t)
	// A new token is forgotten in its turn, before the answer or in the middle of it.
	if a := v.get(t.Context(), path); a.err == nil || len(a.body) >= layerBytes {
		t.Errorf("%d with %d bytes, error %v", a.status, len(a.body), a.err)
	}
}

// lagging: what is new is not there yet, and what was there before still is; and after a while that is over.
func lagging(t *testing.T, v *victim) {
	digest, text := newBlob()
	if a := v.do(t.Context(), http.MethodPut, v.upload(t.Context(), digest), text); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	other := regtest.Build(regtest.Spec{Seed: "other", LayerSize: layerBytes})
	if err := other.Push(t.Context(), v.registry.Access("u", "p"), "acme/app"); err != nil {
		t.Fatal(err)
	}
	path, before := v.manifest()
	after := other.Manifest(other.Root).Bytes
	if a := v.do(t.Context(), http.MethodPut, path, after); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := v.get(t.Context(), path); !bytes.Equal(a.body, before) {
		t.Errorf("the tag is %d %s", a.status, a.body)
	}
	if a := v.get(t.Context(), "/v2/acme/app/blobs/"+digest); a.status != http.StatusNotFound {
		t.Errorf("the blob is %d", a.status)
	}
	if a := v.do(t.Context(), http.MethodHead, "/v2/acme/app/blobs/"+digest, nil); a.status != http.StatusNotFound {
		t.Errorf("a look for the blob says %d", a.status)
	}
	if now, _, _ := regtest.TagDigest(t.Context(), v.registry.Access("u", "p"), "acme/app", "dev"); now != other.Root {
		t.Error("the independent reader sees what is over, too")
	}
	time.Sleep(5 * time.Second)
	if a := v.get(t.Context(), path); !bytes.Equal(a.body, after) {
		t.Errorf("later the tag is %d %s", a.status, a.body)
	}
}

func stalling(t *testing.T, v *victim) {
	path, _ := v.layer()
	if a := v.get(t.Context(), path); a.took < 40*time.Second {
		t.Errorf("answered after %s: %d", a.took, a.status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if a := v.get(ctx, path); !errors.Is(a.err, context.DeadlineExceeded) {
		t.Errorf("with less patience: %v", a.err)
	}
}

func redirected(t *testing.T, v *victim) {
	path, text := v.layer()
	a := v.get(t.Context(), path)
	location := a.header.Get("Location")
	if a.status != http.StatusTemporaryRedirect || strings.Contains(location, v.registry.Host()) {
		t.Fatalf("%d to %q", a.status, location)
	}
	if a := v.do(t.Context(), http.MethodGet, location, nil); !bytes.Equal(a.body, text) {
		t.Errorf("there: %d with %d bytes, error %v", a.status, len(a.body), a.err)
	}
	if leaks := v.chaos.Leaks(); len(leaks) > 0 {
		t.Errorf("leaks %q without a leak", leaks)
	}
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, location, http.NoBody)
	q.Header.Set("Authorization", "Bearer x")
	if a := v.send(q); a.status != http.StatusBadRequest || len(v.chaos.Leaks()) != 1 {
		t.Errorf("with a token: %d, leaks %q", a.status, v.chaos.Leaks())
	}
	time.Sleep(6 * time.Second)
	if a := v.do(t.Context(), http.MethodGet, location, nil); a.status != http.StatusForbidden {
		t.Errorf("later: %d", a.status)
	}
	if a := v.get(t.Context(), strings.Replace(path, "sha256:", "sha256:0", 1)); a.status < 400 {
		t.Errorf("what is not there: %d", a.status)
	}
}

func wrongDigests(t *testing.T, v *victim) {
	path, text := v.manifest()
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a := v.do(t.Context(), method, path, nil)
		if a.status != http.StatusOK || a.header.Get("Docker-Content-Digest") == v.image.Root {
			t.Errorf("%s: %d with %q", method, a.status, a.header.Get("Docker-Content-Digest"))
		}
		if method == http.MethodGet && !bytes.Equal(a.body, text) {
			t.Error("the body is not as it was")
		}
	}
}

func endless(t *testing.T, v *victim) {
	path, _ := v.manifest()
	if a := v.get(t.Context(), path); a.status != http.StatusOK || len(a.body) != 9<<20 {
		t.Errorf("%d with %d bytes, error %v", a.status, len(a.body), a.err)
	}
}

// pointsElsewhere: to another host or with another scheme; from a challenge never to a host of ours that hears it.
func pointsElsewhere(t *testing.T, v *victim) {
	own := v.scheme + v.registry.Host()
	a := v.do(t.Context(), http.MethodPost, "/v2/acme/app/blobs/uploads/", nil)
	location := a.header.Get("Location")
	if a.status != http.StatusAccepted || strings.HasPrefix(location, own) || strings.HasPrefix(location, "/") {
		t.Errorf("%d to %q", a.status, location)
	}
	if strings.HasPrefix(location, "http://") && v.scheme == "http://" {
		if a := v.do(t.Context(), http.MethodPut, location, []byte("x")); a.status != http.StatusNotFound {
			t.Errorf("there: %d, error %v", a.status, a.err)
		}
	}
	v.token = "unknown"
	challenge := v.get(t.Context(), "/v2/").header.Get("WWW-Authenticate")
	if !strings.Contains(challenge, `realm="`) || strings.Contains(challenge, own) {
		t.Errorf("challenge %q", challenge)
	}
}

// loses: nobody hears anything on the connection any more, in whose name ever he asks.
func loses(t *testing.T, v *victim) {
	const together = 6
	before := v.registry.Connections().Accepted
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			if a := v.get(t.Context(), "/v2/"); a.err == nil {
				t.Errorf("answered %d", a.status)
			}
		})
	}
	all.Wait()
	path, text := v.layer()
	q, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, v.scheme+v.registry.Host()+path, http.NoBody)
	q.Header.Set("Authorization", "Bearer "+v.token)
	q.Header.Set("User-Agent", regtest.Agent)
	if a := v.send(q); a.err != nil || !bytes.Equal(a.body, text) {
		t.Errorf("on a new connection: %d with %d bytes, error %v", a.status, len(a.body), a.err)
	}
	if got := v.registry.Connections().Accepted; got <= before {
		t.Errorf("%d connections, as before", got)
	}
}

// goesAway: every answer is whole, and the next one comes on another connection.
func goesAway(t *testing.T, v *victim) {
	const requests = 5
	before := v.registry.Connections().Accepted
	path, text := v.layer()
	for range requests {
		if a := v.get(t.Context(), path); a.err != nil || !bytes.Equal(a.body, text) {
			t.Errorf("%d with %d bytes, error %v", a.status, len(a.body), a.err)
		}
		time.Sleep(2 * time.Second) // GOAWAY comes after the answer
	}
	if got := v.registry.Connections().Accepted - before; got < requests-1 {
		t.Errorf("%d more connections for %d requests", got, requests)
	}
}

// TestChaosBySeed: the order of requests makes no difference to what strikes, the seed and the side do, and so does how
// often a request came.
func TestChaosBySeed(t *testing.T) {
	t.Parallel()
	paths := []string{"/v2/"}
	for n := range 60 {
		paths = append(paths, fmt.Sprintf("/v2/acme/app/manifests/%d", n), "/v2/acme/app/tags/list")
	}
	backward := slices.Clone(paths)
	slices.Reverse(backward)
	first := struck(t, 1, "a", paths)
	if second := struck(t, 1, "a", backward); !slices.Equal(first, second) {
		t.Errorf("in another order other things strike:\n%q\n%q", first, second)
	}
	for name, other := range map[string][]string{"seed": struck(t, 2, "a", paths), "side": struck(t, 1, "b", paths)} {
		if slices.Equal(first, other) {
			t.Errorf("with another %s the same strikes", name)
		}
	}
	lists := slices.DeleteFunc(slices.Clone(first), func(s string) bool { return !strings.Contains(s, "tags/list") })
	if len(lists) < 6 || len(lists) > 40 {
		t.Errorf("%d of 60 requests of one name were struck, of which a third should", len(lists))
	}
}

// struck lists the strikes at those requests, made one after the other, of four faults at 10 %.
func struck(t *testing.T, seed uint64, side string, paths []string) (all []string) {
	t.Helper()
	bubble(t, func(t *testing.T, m *regtest.Memory) {
		rates := map[regtest.Fault]float64{regtest.Status500: 0.1, regtest.Status429: 0.1, regtest.NoRequest: 0.1, regtest.Stall: 0.1}
		r, c, err := regtest.StartChaos(regtest.Options{Memory: m}, regtest.ChaosOptions{Seed: seed, Side: side, Rates: rates})
		if err != nil {
			t.Fatal(err)
		}
		v := &victim{registry: r, scheme: "http://", client: &http.Client{Transport: m.Transport()}}
		defer func() {
			v.client.CloseIdleConnections()
			_ = r.Close()
		}()
		for _, path := range paths {
			v.get(t.Context(), path)
		}
		for _, s := range c.Strikes() {
			all = append(all, strings.TrimPrefix(s.Request, side)+" "+string(s.Fault))
		}
		c.Calm()
		for _, path := range paths {
			if a := v.get(t.Context(), path); a.err != nil || a.status >= 429 {
				t.Errorf("%s in the calm: %d, error %v", path, a.status, a.err)
			}
		}
	})
	slices.Sort(all)
	return all
}

// TestChaosDelay: requests that come at once arrive in an order by seed, none later than said.
func TestChaosDelay(t *testing.T) {
	t.Parallel()
	orders := map[string]bool{}
	for seed := range uint64(5) {
		bubble(t, func(t *testing.T, m *regtest.Memory) {
			var mu sync.Mutex
			order := ""
			r, _, err := regtest.StartChaos(regtest.Options{Memory: m, Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					mu.Lock()
					order += q.URL.Path
					mu.Unlock()
					next.ServeHTTP(w, q)
				})
			}}, regtest.ChaosOptions{Seed: seed, Delay: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			v := &victim{registry: r, scheme: "http://", client: &http.Client{Transport: m.Transport()}}
			var all sync.WaitGroup
			for n := range 6 {
				all.Go(func() {
					if a := v.get(t.Context(), fmt.Sprintf("/%d", n)); a.took > time.Second {
						t.Errorf("it took %s", a.took)
					}
				})
			}
			all.Wait()
			orders[order] = true
			v.client.CloseIdleConnections()
			_ = r.Close()
		})
	}
	if len(orders) < 3 {
		t.Errorf("5 seeds, orders %v", orders)
	}
}

// long skips a test that takes a good part of a second of processor time, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
