package github

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestProxyThatWantsALogin: GitHub lies behind a forward proxy that answers 407. Each question is asked once, and the
// error names the proxy, what to do, and no password.
func TestProxyThatWantsALogin(t *testing.T) {
	t.Parallel()
	for kind, user := range map[string]*url.Userinfo{"requires": nil, "rejects": url.UserPassword("bob", "hunter2")} {
		for name, question := range ask {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				var asked atomic.Int32
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					asked.Add(1)
					w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
					http.Error(w, "no", http.StatusProxyAuthRequired)
				}))
				t.Cleanup(server.Close)
				at, err := url.Parse(server.URL)
				if err != nil {
					t.Fatal(err)
				}
				at.User = user
				transport := newTransport(nil)
				transport.Proxy = http.ProxyURL(at)
				t.Cleanup(transport.CloseIdleConnections)
				c, err := New(Options{Token: secret, Transport: transport, Patience: time.Second})
				if err != nil {
					t.Fatal(err)
				}
				err = question(t.Context(), c)
				wantError(t, err, "the proxy "+at.Host+" "+kind, "user and password", "(407)")
				want := int32(1)
				if name == "Checks" {
					want = 2 // check runs and commit statuses are two questions
				}
				if asked.Load() != want {
					t.Errorf("%d requests, want %d", asked.Load(), want)
				}
				for _, part := range []string{"HTTPS_PROXY", "api.github.com", "NO_PROXY"} {
					if !strings.Contains(HintOf(err), part) {
						t.Errorf("hint %q lacks %q", HintOf(err), part)
					}
				}
				if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "bob") {
					t.Errorf("error %q", err)
				}
			})
		}
	}
}
