package referrer_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// reads counts how often the program reads a subject's list.
func reads(r *regtest.Registry) (n int) {
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent && q.Method == http.MethodGet && strings.Contains(q.Path, "/manifests/sha256-") {
			n++
		}
	}
	return n
}

// TestReadAhead: a list that is there is read while the registry is still asked whether it has the referrers API, and
// that reading serves what is attached then.
func TestReadAhead(t *testing.T) {
	var once sync.Once
	read := make(chan struct{})
	r := regtest.Serve(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			switch {
			case q.UserAgent() == regtest.Agent:
			case strings.Contains(q.URL.Path, "/manifests/sha256-"):
				once.Do(func() { close(read) })
			case strings.Contains(q.URL.Path, "/referrers/"):
				select {
				case <-read:
				case <-time.After(time.Minute):
					t.Error("the list waits for the answer about the API")
				}
			}
			next.ServeHTTP(w, q)
		})
	}})
	digest, all := subject(t, r, 2)
	list(t, r, digest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	f := finder(t, r)
	<-f.ReadAhead(t.Context(), digest)
	if n := reads(r); n != 1 {
		t.Errorf("the list was read %d times ahead", n)
	}
	if _, err := f.Begin(t.Context(), digest, all); err != nil {
		t.Fatal(err)
	}
	if n := reads(r); n != 1 {
		t.Errorf("the list was read %d times", n)
	}
	if _, digests := listed(t, r, digest); len(digests) != len(all) {
		t.Errorf("%v are listed", digests)
	}
}

// TestReadAheadWithTheAPI: where the registry has it, no list is read, unless there seems to be one; and that counts for
// nothing then.
func TestReadAheadWithTheAPI(t *testing.T) {
	for name, test := range map[string]struct {
		listed bool
		reads  int
	}{"no list": {false, 0}, "a list": {true, 1}} {
		t.Run(name, func(t *testing.T) {
			r := regtest.Serve(t, regtest.Options{Referrers: true})
			digest, all := subject(t, r, 2)
			if test.listed {
				list(t, r, digest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			}
			r.ResetRequests()
			f := finder(t, r)
			<-f.ReadAhead(t.Context(), digest)
			wrote, err := f.Attach(t.Context(), digest, all)
			if err != nil || wrote || len(writes(r)) > 0 || reads(r) != test.reads {
				t.Errorf("wrote %v, error %v, %d reads, %q", wrote, err, reads(r), writes(r))
			}
		})
	}
}

// TestAttachLater: what this run wrote a while ago is read again before it is written again.
func TestAttachLater(t *testing.T) {
	for name, test := range map[string]struct {
		wait  time.Duration
		reads int
	}{"at once": {0, 1}, "later": {2 * time.Second, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := regtest.NewMemory()
				r := regtest.Serve(t, regtest.Options{Memory: memory})
				t.Cleanup(memory.Close)
				s, all := subject(t, r, 2)
				client := registry.New(registry.Options{Dial: memory.DialContext})
				defer client.Close()
				f := finderOf(t, client, r)
				if _, err := f.Begin(t.Context(), s, all[:1]); err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.wait)
				if _, err := f.Begin(t.Context(), s, all[1:]); err != nil {
					t.Fatal(err)
				}
				if n := reads(r); n != test.reads {
					t.Errorf("the list was read %d times", n)
				}
			})
		})
	}
}
