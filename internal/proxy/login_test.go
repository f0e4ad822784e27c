package proxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestCheckConnect: a 407 becomes an error of its own that names the proxy and not the password. Other answers are
// net/http's to judge.
func TestCheckConnect(t *testing.T) {
	for name, user := range map[string]*url.Userinfo{"no login": nil, "a wrong login": url.UserPassword("bob", "hunter2")} {
		for _, status := range []int{http.StatusProxyAuthRequired, http.StatusForbidden} {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.WriteHeader(status)
			}))
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			at.User = user
			transport := &http.Transport{Proxy: http.ProxyURL(at), OnProxyConnectResponse: CheckConnect}
			_, err = (&http.Client{Transport: transport}).Get("https://api.example/") //nolint:bodyclose // there is no answer
			transport.CloseIdleConnections()
			server.Close()
			var login *LoginError
			if got := errors.As(err, &login); got != (status == http.StatusProxyAuthRequired) || asked.Load() != 1 {
				t.Fatalf("%s, %d: error %v after %d requests", name, status, err, asked.Load())
			}
			if login == nil {
				continue
			}
			text := err.Error() + login.Hint("api.example")
			if login.Host != at.Host || login.Refused != (user != nil) || strings.Contains(text, "hunter2") || strings.Contains(text, "bob") {
				t.Errorf("%s: %+v, %s", name, login, text)
			}
			for _, part := range []string{at.Host, "407", "check HTTPS_PROXY", "api.example", "NO_PROXY"} {
				if !strings.Contains(text, part) {
					t.Errorf("%s: %q lacks %q", name, text, part)
				}
			}
		}
	}
}

func TestLongHostIsCut(t *testing.T) {
	if got := cut(strings.Repeat("ü", 200)); len(got) > maxHost+len("…") || !strings.HasSuffix(got, "ü…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
