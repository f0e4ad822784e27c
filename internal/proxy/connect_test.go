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

// TestCheckConnect: a refusal of the proxy becomes an error of its own that names the proxy and not the password. Only
// that of a 407 is final.
func TestCheckConnect(t *testing.T) {
	for name, test := range map[string]struct {
		user          *url.Userinfo
		status        int
		final         bool
		message, hint string
	}{
		"no login":       {nil, 407, true, "the proxy HOST requires a user and password (407)", "Set HTTPS_PROXY to http://user:password@HOST, "},
		"a wrong login":  {url.UserPassword("bob", "hunter2"), 407, true, "the proxy HOST rejects the user and password of HTTPS_PROXY (407)", "Check both. "},
		"another status": {url.UserPassword("bob", "hunter2"), 403, false, "the proxy HOST refused to connect: 403 Forbidden", "does not connect to api.example (403)."},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.WriteHeader(test.status)
			}))
			defer server.Close()
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			at.User = test.user
			transport := &http.Transport{Proxy: http.ProxyURL(at), OnProxyConnectResponse: CheckConnect}
			defer transport.CloseIdleConnections()
			_, err = (&http.Client{Transport: transport}).Get("https://api.example/") //nolint:bodyclose // there is no answer
			found := Find(err)
			if found == nil || asked.Load() != 1 {
				t.Fatalf("error %v after %d requests", err, asked.Load())
			}
			if want := strings.ReplaceAll(test.message, "HOST", at.Host); found.Error() != want {
				t.Errorf("error %q, want %q", found, want)
			}
			var final interface{ Final() }
			if errors.As(err, &final) != test.final {
				t.Errorf("final: %v, want %v", !test.final, test.final)
			}
			hint := Hint("api.example", err)
			for _, part := range []string{strings.ReplaceAll(test.hint, "HOST", at.Host), "HTTPS_PROXY", "If the runner reaches api.example without the proxy", "NO_PROXY"} {
				if !strings.Contains(hint, part) {
					t.Errorf("hint %q lacks %q", hint, part)
				}
			}
			if text := err.Error() + hint; strings.Contains(text, "hunter2") || strings.Contains(text, "bob") {
				t.Errorf("%s shows the login", text)
			}
		})
	}
}

func TestOtherErrorsAreNotOfTheProxy(t *testing.T) {
	if err := errors.New("Forbidden"); Find(err) != nil || Hint("api.example", err) != "" {
		t.Errorf("%v, hint %q", Find(err), Hint("api.example", err))
	}
}

func TestLongHostIsCut(t *testing.T) {
	if got := cut(strings.Repeat("ü", 200)); len(got) > maxHost+len("…") || !strings.HasSuffix(got, "ü…") {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}
