package transfer_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// impatient is a run that waits half a second for a registry that lags.
func impatient(t *testing.T, level transfer.Level) run {
	return run{t, registry.New(registry.Options{RetryFor: 2 * time.Second}), transfer.New(level)}
}

// uploadsOf counts the uploads of a blob that the program made to the target.
func uploadsOf(r *regtest.Registry, digest string) (n int) {
	for _, q := range ours(r) {
		if (q.Method == http.MethodPut || q.Method == http.MethodPost) && strings.HasPrefix(q.Path, "/v2/"+targetRepo+"/blobs/uploads/") &&
			strings.Contains(q.Query, "digest="+strings.Replace(digest, ":", "%3A", 1)) {
			n++
		}
	}
	return n
}

// A blob that the registry says it has, and lacks, is sent once its manifest was
// refused; where the registry takes the manifest, once it cannot be read back.
func TestBlobThatIsOnlySaidToBeThere(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		level transfer.Level
		lax   bool
	}{"refused": {transfer.Blobs, false}, "taken by a lax registry": {transfer.Content, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVerified()
			gone := regtest.GoneBlobs(func(_, digest string) bool { return digest == v.layer }, test.lax)
			from, to := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Traits: []regtest.Trait{gone}})
			push(t, v.Image, from, sourceRepo, "staging")
			push(t, regtest.Build(regtest.Spec{Seed: "other"}), to, targetRepo, "old") // so that it is worth asking
			for _, b := range v.Blobs {
				body, err := io.ReadAll(b.Open())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := regtest.PutBlob(t.Context(), to.Access("", ""), targetRepo, body); err != nil {
					t.Fatal(err)
				}
			}
			copied, _, err := impatient(t, test.level).copyAndVerify(from, to, "staging")
			if err != nil {
				t.Fatal(err)
			}
			if n := uploadsOf(to, v.layer); n != 1 {
				t.Errorf("the blob was uploaded %d times", n)
			}
			if !test.lax && (copied.Blobs == 0 || copied.Bytes == 0) {
				t.Errorf("counted %+v", copied)
			}
		})
	}
}

// collecting forgets a blob when the first manifest that is written names it.
type collecting struct {
	digest string
	mu     sync.Mutex
	asked  int
	gone   bool
}

func (c *collecting) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case q.UserAgent() == regtest.Agent:
		case q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/"):
			body, _ := io.ReadAll(q.Body)
			q.Body = io.NopCloser(bytes.NewReader(body))
			if !bytes.Contains(body, []byte(c.digest)) {
				break
			}
			if c.asked++; c.asked == 1 {
				c.gone = true
			}
			if c.gone {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","detail":{"Digest":%q}}]}`, c.digest)
				return
			}
		case q.URL.Query().Get("digest") == c.digest:
			c.gone = false
		case c.gone && strings.HasSuffix(q.URL.Path, "/blobs/"+c.digest):
			w.WriteHeader(http.StatusNotFound)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// A blob that was sent, and collected before its manifest came, is sent again; the
// others are not.
func TestBlobThatWasCollected(t *testing.T) {
	t.Parallel()
	v := newVerified()
	c := &collecting{digest: v.layer}
	from, to := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Wrap: c.wrap})
	push(t, v.Image, from, sourceRepo, "staging")
	if _, _, err := impatient(t, transfer.Blobs).copyAndVerify(from, to, "staging"); err != nil {
		t.Fatal(err)
	}
	for _, b := range v.Blobs {
		want := 1
		if b.Digest == v.layer {
			want = 2
		}
		if n := uploadsOf(to, b.Digest); n != want {
			t.Errorf("%s was uploaded %d times, want %d", b.Digest, n, want)
		}
	}
}

// A registry that never finds the blob is not sent it again and again.
func TestBlobThatIsNeverFound(t *testing.T) {
	long(t)
	t.Parallel()
	v := newVerified()
	refuse := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}`)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	from, to := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Wrap: refuse})
	push(t, v.Image, from, sourceRepo, "staging")
	_, _, err := impatient(t, transfer.Blobs).copyAndVerify(from, to, "staging")
	if err == nil || !strings.Contains(err.Error(), "MANIFEST_BLOB_UNKNOWN") {
		t.Errorf("error %v", err)
	}
	for _, b := range v.Blobs {
		if n := uploadsOf(to, b.Digest); n > 1 {
			t.Errorf("%s was uploaded %d times", b.Digest, n)
		}
	}
}

// A registry that answers the HEAD and the GET of a blob with a refusal is sent it.
func TestBlobThatIsNotKnownToBeThere(t *testing.T) {
	t.Parallel()
	v := newVerified()
	refuse := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() != regtest.Agent && (q.Method == http.MethodGet || q.Method == http.MethodHead) && strings.Contains(q.URL.Path, "/blobs/sha256:") {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	from, to := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Wrap: refuse})
	push(t, v.Image, from, sourceRepo, "staging")
	push(t, regtest.Build(regtest.Spec{Seed: "other"}), to, targetRepo, "old")
	copied, _, err := impatient(t, transfer.Blobs).copyAndVerify(from, to, "staging")
	if err != nil || copied.Blobs != len(v.Blobs) {
		t.Errorf("copied %+v, error %v", copied, err)
	}
}
