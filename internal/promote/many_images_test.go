package promote_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// manyImages is how many images are released at once: one token for all their repositories has 11 KB, and proxies take
// headers of 8 (regclient/regclient#797, openshift/oc#761).
const manyImages = 100

// TestManyImagesBehindAProxyWithShortHeaders releases them. No request is refused for its token, and there are few
// tokens: one for 30 repositories, where the source and the target of an image count as two.
func TestManyImagesBehindAProxyWithShortHeaders(t *testing.T) {
	long(t)
	t.Parallel()
	for name, test := range map[string]struct {
		status int
		one    bool // registry for source and target
		tokens int  // a registry
	}{
		"400, from registry to registry":  {http.StatusBadRequest, false, 4},
		"431, from repository to another": {http.StatusRequestHeaderFieldsTooLarge, true, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source := shortHeaders(t, m, test.status)
				target := source
				if !test.one {
					target = shortHeaders(t, m, test.status)
				}
				ask, images := manyPromotions(t, source, target)
				d := runWith(t, t.Context(), pusher(target), ask, &watcher{})
				expect(t, d, document.Promoted)
				for n, image := range images {
					digest, _, err := regtest.TagDigest(t.Context(), target.Access("ci", "secret"), fmt.Sprintf("prod/app%03d", n), "production")
					if err != nil || digest != image.Root {
						t.Errorf("image %d: the tag holds %q, want %s, error %v", n, digest, image.Root, err)
					}
				}
				fewTokens(t, source, test.status, test.tokens)
				fewTokens(t, target, test.status, test.tokens)
			})
		})
	}
}

// shortHeaders is a registry with a token service, behind a proxy that refuses an Authorization above 8 KB.
func shortHeaders(t testing.TB, m *regtest.Memory, status int) *regtest.Registry {
	t.Helper()
	return regtest.Serve(t, regtest.Options{
		Memory: m, Referrers: true, Traits: []regtest.Trait{regtest.HeaderLimit(8<<10, status)},
		Auth: &regtest.Auth{Users: map[string]regtest.User{"ci": {Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}}}},
	})
}

// pusher is a client with the account of shortHeaders on both sides.
func pusher(r *regtest.Registry) *registry.Client {
	ci := credential.Login{Username: "ci", Password: "secret"}
	return registry.New(registry.Options{Dial: r.Dial(), Credentials: &credential.Chain{Source: ci, Target: ci}})
}

func manyPromotions(t testing.TB, source, target *regtest.Registry) (promote.Request, []*regtest.Image) {
	t.Helper()
	var images []*regtest.Image
	var items []promote.Item
	for n := range manyImages {
		i := plain(fmt.Sprint(n))
		if err := i.Push(t.Context(), source.Access("ci", "secret"), fmt.Sprintf("acme/app%03d", n), "dev"); err != nil {
			t.Fatal(err)
		}
		images = append(images, i)
		items = append(items, item(t, fmt.Sprintf("%s/acme/app%03d:dev", source.Host(), n), fmt.Sprintf("%s/prod/app%03d:production", target.Host(), n)))
	}
	source.ResetRequests()
	target.ResetRequests()
	return requestOf(items...), images
}

// fewTokens counts what the run itself asked for.
func fewTokens(t testing.TB, r *regtest.Registry, refused, most int) {
	t.Helper()
	tokens := 0
	for _, q := range ours(r) {
		if q.Status == refused {
			t.Errorf("%s %s was refused", q.Method, q.Path)
		}
		if q.Path != "/token" {
			continue
		}
		tokens++
		if n := strings.Count(q.Query, "scope="); n > 30 {
			t.Errorf("a token for %d repositories", n)
		}
	}
	if tokens == 0 || tokens > most {
		t.Errorf("%d tokens, want at most %d", tokens, most)
	}
}
