package registry

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
)

// A forward proxy that wants a login is asked once, and named. The password is not.
func TestProxyThatWantsALogin(t *testing.T) {
	t.Parallel()
	for name, user := range map[string]*url.Userinfo{"none": nil, "wrong": url.UserPassword("bob", "hunter2")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
				http.Error(w, "no", http.StatusProxyAuthRequired)
			}))
			t.Cleanup(proxy.Close)
			address, err := url.Parse(proxy.URL)
			if err != nil {
				t.Fatal(err)
			}
			address.User = user
			c := client(t, nil)
			for _, transport := range []http.RoundTripper{c.transports.Small, c.transports.Download, c.transports.Upload} {
				transport.(*http.Transport).Proxy = http.ProxyURL(address) //nolint:forcetypeassert // it is one
			}
			r := repository(t, c, credential.Source, "registry.example/acme/app", Pull)
			_, err = r.GetManifest(t.Context(), "dev")
			if err == nil || asked.Load() != 1 {
				t.Fatalf("error %v after %d requests, want one", err, asked.Load())
			}
			contains(t, err.Error(), "the proxy "+address.Host, "user and password", "407")
			contains(t, HintOf(err), "The proxy asks for a user and password; check HTTPS_PROXY")
			lacks(t, err.Error()+HintOf(err), "hunter2", "bob")
		})
	}
}
