package credential

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// TestProxyThatWantsALogin: a login goes by a forward proxy that answers 407. Each cloud's is asked once, and the message
// names the proxy and what to do, and neither the proxy's password nor the environment's variables as the fault.
func TestProxyThatWantsALogin(t *testing.T) {
	secret := servicePrincipal.with(environment{"AZURE_CLIENT_SECRET": "hunter2"})
	job := servicePrincipal.with(environment{"ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/id", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "hunter2"})
	webIdentity := environment{
		"AWS_ROLE_ARN":                "arn:aws:iam::123456789012:role/promote",
		"AWS_WEB_IDENTITY_TOKEN_FILE": writeFile(t, "token", "jwt", 0o600),
	}
	for _, test := range []struct {
		name, repo string
		env        environment
	}{
		{"Google, key", googleRepository, environment{"GOOGLE_APPLICATION_CREDENTIALS": serviceAccount(t)}},
		{"Google, federation", googleRepository, environment{"GOOGLE_GHA_CREDS_PATH": federation(t)}},
		{"Azure, secret", azureRepository, secret},
		{"Azure, job", azureRepository, job},
		{"Amazon", privateAmazon, amazonKeys},
		{"Amazon, public", publicAmazon, amazonKeys},
		{"Amazon, web identity", privateAmazon, webIdentity},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := amazonEnvironment(t, test.env)
			for _, user := range []*url.Userinfo{nil, url.UserPassword("bob", "hunter2")} {
				proxy, asked := refusingProxy(t, http.StatusProxyAuthRequired, user)
				chain := &Chain{Getenv: env.get, proxyFor: http.ProxyURL(proxy)}
				_, err := chain.Find(t.Context(), Target, repository(t, test.repo))
				if err == nil || asked.Load() != 1 {
					t.Fatalf("error %v after %d requests, want one", err, asked.Load())
				}
				for _, part := range []string{"the proxy " + proxy.Host, "user and password", "(407)", "HTTPS_PROXY", "NO_PROXY"} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q lacks %q", err, part)
					}
				}
				for _, part := range []string{"hunter2", "bob", "variables, and", "\n"} {
					if strings.Contains(err.Error(), part) {
						t.Errorf("%q has %q", err, part)
					}
				}
			}
		})
	}
}

// TestProxyThatRefusesTheHost: the proxy is at fault, not the variables of the cloud. Such a refusal may pass: it is
// tried again.
func TestProxyThatRefusesTheHost(t *testing.T) {
	if testing.Short() {
		t.Skip("long: it waits for a second")
	}
	t.Parallel()
	for _, test := range []struct {
		name, repo string
		env        environment
	}{
		{"Google", googleRepository, environment{"GOOGLE_APPLICATION_CREDENTIALS": serviceAccount(t)}},
		{"Azure", azureRepository, servicePrincipal.with(environment{"AZURE_CLIENT_SECRET": "hunter2"})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy, asked := refusingProxy(t, http.StatusForbidden, nil)
			chain := &Chain{Getenv: test.env.get, proxyFor: http.ProxyURL(proxy)}
			_, err := chain.Find(t.Context(), Target, repository(t, test.repo))
			if err == nil || asked.Load() < 2 {
				t.Fatalf("error %v after %d requests, want several", err, asked.Load())
			}
			for _, part := range []string{"the proxy " + proxy.Host + " refused to connect: 403 Forbidden; ", "does not connect to the login service (403).", "NO_PROXY"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

// refusingProxy is a forward proxy that connects nobody.
func refusingProxy(t *testing.T, status int, user *url.Userinfo) (*url.URL, *atomic.Int32) {
	t.Helper()
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Proxy-Authenticate", `Basic realm="proxy"`)
		http.Error(w, "no", status)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	at.User = user
	return at, &asked
}
