package registry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/retry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// A challenge with a token service that is not allowed is not kept: the ping is retried a few
// times.
func TestInvalidRealmIsRetried(t *testing.T) {
	t.Parallel()
	for _, realm := range []string{"http://tokens.example/token", "ftp://tokens.example/token", "https://169.254.169.254/token"} {
		for _, times := range []int{1, always} {
			odd := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="registry.test"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
			reg := guardedRegistry(t, regtest.Auth{}, regtest.Options{Wrap: strikes(times, "^GET /v2/$", odd)})
			fill(t, reg, "acme/app")
			r := repository(t, client(t, logins("ci", secret)), credential.Source, reg.Host()+"/acme/app", Pull)
			reg.ResetRequests()
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != (times == 1) {
				t.Errorf("%s, %d times: error %v", realm, times, err)
			}
			if err != nil {
				contains(t, HintOf(err), "its token service")
				wantRequests(t, reg, ".", retry.MaxInvalid)
			}
		}
	}
}

func TestHostThatIsNoRegistry(t *testing.T) {
	t.Parallel()
	reg := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, strings.Repeat("<html>\n", 1000))
	})})
	r := repository(t, client(t, nil), credential.Source, reg.Host()+"/acme/app", Pull)
	_, err := r.GetManifest(t.Context(), "dev")
	if err == nil || errors.Is(err, ErrNotFound) {
		t.Fatalf("error %v: the host has no registry, which is not a missing manifest", err)
	}
	contains(t, err.Error(), reg.Host(), "GET /v2/", "404 Not Found")
	lacks(t, err.Error(), "<html>", "\n")
}

// A token service at plain http or at a private address never gets the credential.
func TestRealmThatMustNotGetTheCredential(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, host string
		tls        bool
		realm      string // of the token service
	}{
		{"http from https, same host", "registry.example:443", true, "http://registry.example:443/token"},
		{"http from https", "registry.example:443", true, "http://tokens.example/token"},
		{"http from https, loopback", "registry.example:443", true, "http://127.0.0.1:7777/token"},
		{"http on the network from loopback", "127.0.0.1:5000", false, "http://tokens.example/token"},
		{"private address", "registry.example:443", true, "https://10.0.0.1/token"},
		{"private address, short", "registry.example:443", true, "https://10.1/token"},
		{"loopback by name", "registry.example:443", true, "https://localhost/token"},
		{"metadata", "registry.example:443", true, "https://169.254.169.254/token"},
		{"another protocol", "registry.example:443", true, "ftp://tokens.example/token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var thief atomic.Int32
			there := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				thief.Add(1)
				_, _ = io.WriteString(w, `{"token":"t"}`)
			}))
			t.Cleanup(there.Close)
			reg := regtest.Serve(t, regtest.Options{TLS: test.tls, Backend: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+test.realm+`",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
			})})
			address := there.Listener.Addr().String()
			w := &world{hosts: map[string]string{test.host: reg.Host(), "tokens.example:80": address, "tokens.example:443": address,
				"127.0.0.1:7777": address, "10.0.0.1:443": address, "10.1:443": address, "localhost:443": address, "169.254.169.254:443": address}}
			if test.tls {
				w.hosts["registry.example:443"] = reg.Host()
			}
			c := w.client(t, logins("ci", secret), trustAny(t, reg))
			r := repository(t, c, credential.Source, test.host+"/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if err == nil {
				t.Fatal("no error")
			}
			contains(t, err.Error(), "get token")
			if thief.Load() != 0 {
				t.Errorf("the realm got %d requests", thief.Load())
			}
			wantRequests(t, reg, "/token", 0)
		})
	}
}

// A redirect of GET /v2/ does not redirect later requests, and never to plain http.
func TestChallengeThatIsRedirected(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, to string
		want     bool
	}{
		{"https, another path", "https://registry.example/v2/x/", true},
		{"http, same host", "http://registry.example/v2/", false},
		{"http, another host", "http://other.example/v2/", false},
		{"private address", "https://10.0.0.1/v2/", false},
		{"metadata", "https://169.254.169.254/v2/", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			reg := regtest.Serve(t, regtest.Options{TLS: true, Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v2/":
					http.Redirect(w, r, test.to, http.StatusFound)
				case "/v2/x/":
				default:
					_, _ = io.WriteString(w, emptyIndex)
				}
			})})
			w := &world{hosts: map[string]string{"registry.example:443": reg.Host()}}
			r := repository(t, w.client(t, logins("ci", secret), pool(t, reg)), credential.Source, "registry.example/acme/app", Pull)
			_, err := r.GetManifest(t.Context(), "dev")
			if (err == nil) != test.want || len(w.refuse) != 0 {
				t.Errorf("error %v, dialled %s", err, w.refuse)
			}
		})
	}
}

// Nor does a redirect of a loopback registry to https, where it does not listen.
func TestChallengeThatIsRedirectedToHTTPS(t *testing.T) {
	t.Parallel()
	elsewhere := regtest.Serve(t, regtest.Options{TLS: true, Backend: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	reg := regtest.Serve(t, regtest.Options{Backend: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			http.Redirect(w, r, "https://other.example/v2/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, emptyIndex)
	})})
	w := &world{hosts: map[string]string{"127.0.0.1:5000": reg.Host(), "other.example:443": elsewhere.Host()}}
	r := repository(t, w.client(t, nil, pool(t, elsewhere)), credential.Source, "127.0.0.1:5000/acme/app", Pull)
	if _, err := r.GetManifest(t.Context(), "dev"); err != nil {
		t.Error(err)
	}
	wantRequests(t, elsewhere, ".", 1)
}
