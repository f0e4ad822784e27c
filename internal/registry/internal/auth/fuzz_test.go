package auth

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/registry/internal/wire"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// A challenge names a scheme or none; where it leads, plain http and private
// addresses are not, and nothing is sent there.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{`Bearer realm="https://tokens.example/token",service="x"`, `Basic realm="x"`, `bearer`, `Bearer realm="http://tokens.example/"`,
		`Bearer realm="https://169.254.169.254/"`, `Bearer realm="https://10.0.0.1/",service="a`, `Bearer realm=https://tokens.example, scope="a,b"`, `Negotiate, Basic realm="x"`, ``, `,,=`, `Bearer realm="https://a\"b"`,
		`Bearer realm="https://10.0.0.1rvice="`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		registry, err := name.NewRegistry("registry.example")
		if err != nil {
			t.Fatal(err)
		}
		sent := func(r *http.Request) (*http.Response, error) {
			if wire.CheckDestination(&url.URL{Scheme: "https", Host: "registry.example"}, r.URL) != nil {
				t.Errorf("%q has %s asked", value, r.URL)
			}
			return nil, wire.Refusal("no network here")
		}
		s := New(registry, credential.Credential{}, roundTripper(sent), wire.NewHosts(0, time.Nanosecond))
		s.Want("acme/app", Pull)
		open := &transport.Challenge{}
		s.challenge = open
		if !s.learn(open, http.StatusUnauthorized, http.Header{"Www-Authenticate": {value}}) || !isBearer(s.known()) {
			return
		}
		if g, err := s.grant(t.Context(), Need{Repository: "acme/app"}); err == nil || g.token != "" {
			t.Errorf("%q gives the token %q, error %v", value, g.token, err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
