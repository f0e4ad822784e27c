package promote_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestTagsReadBesideVerification: a registry that is slow to say what the tags hold does not end the run once the images
// are verified.
func TestTagsReadBesideVerification(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var copied, slow atomic.Bool
		f := newFar(t, regtest.Options{Wrap: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				switch manifest := strings.Contains(q.URL.Path, "/prod/app/manifests/"); {
				case manifest && q.Method == http.MethodPut:
					copied.Store(true)
				case manifest && strings.HasSuffix(q.URL.Path, "/production") && copied.Load() && slow.CompareAndSwap(false, true):
					time.Sleep(5 * time.Second)
				}
				next.ServeHTTP(w, q)
			})
		}}, false)
		f.push(regtest.Build(regtest.Spec{Platforms: []string{"linux/amd64"}, LayerSize: 100}), "acme/app", "dev")
		f.run(requestOf(item(t, f.at.Host()+"/acme/app:dev", f.at.Host()+"/prod/app:production")), document.Promoted)
		if !slow.Load() {
			t.Error("the tag was not read after the copy")
		}
	})
}
