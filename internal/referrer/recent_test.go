package referrer_test

import (
	"net/http"
	"strings"
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

// TestSupportsAPI: where a list of the subject seems to be there, the registry is not asked.
func TestSupportsAPI(t *testing.T) {
	for name, test := range map[string]struct {
		api, listed bool
		want        bool
		asked       int
	}{
		"with the API":        {api: true, want: true, asked: 1},
		"a list":              {listed: true},
		"a list, and the API": {api: true, listed: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := regtest.Serve(t, regtest.Options{Referrers: test.api})
			digest, _ := subject(t, r, 2)
			if test.listed {
				list(t, r, digest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
			}
			r.ResetRequests()
			got, err := finder(t, r).SupportsAPI(t.Context(), digest)
			if err != nil || got != test.want || asked(r) != test.asked {
				t.Errorf("%v, error %v, asked %d times", got, err, asked(r))
			}
		})
	}
}

func asked(r *regtest.Registry) (n int) {
	for _, q := range r.Requests() {
		if strings.Contains(q.Path, "/referrers/") {
			n++
		}
	}
	return n
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
