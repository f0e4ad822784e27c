package promote_test

import (
	"crypto/x509"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestDistance_AcrossRegistries holds how many round trips an attested image takes from one registry to another, over TLS and
// HTTP/2 with tokens: at first, where nothing is left to do, and where all is there but the tag.
func TestDistance_AcrossRegistries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const aTrip = 40 * time.Millisecond
		memory := regtest.NewMemory()
		start := func(name string) *regtest.Registry {
			return regtest.Serve(t, regtest.Options{
				Memory: memory, Network: &wideArea, TLS: true, Name: name,
				Auth: &regtest.Auth{Users: map[string]regtest.User{user: {Password: password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}}}},
			})
		}
		source, target := start("source.example"), start("target.example")
		t.Cleanup(memory.Close)
		i := regtest.BuildAttested(regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 10, LayerSize: 1000, Provenance: true})
		if err := i.Push(t.Context(), source.Access(user, password), "acme/app", "dev"); err != nil {
			t.Fatal(err)
		}
		login := credential.Login{Username: user, Password: password}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(source.CAPEM())
		for _, test := range []struct {
			what, env string
			want      document.Result
			trips     time.Duration
		}{
			{"at first", "production", document.Promoted, 25},
			{"nothing to do", "production", document.Unchanged, 12},
			{"a new tag", "next", document.Promoted, 21},
		} {
			client := registry.New(registry.Options{Dial: memory.DialContext, Roots: roots, Credentials: &credential.Chain{Source: login, Target: login}})
			r := requestOf(item(t, source.Host()+"/acme/app:dev", target.Host()+"/acme/app:"+test.env))
			r.TargetEnv = test.env
			began := time.Now()
			expect(t, runWith(t, t.Context(), client, r, &watcher{}), test.want)
			if took := time.Since(began); (took - test.trips*aTrip).Abs() > aTrip/2 {
				t.Errorf("%s: %.1f round trips, expected %d", test.what, float64(took)/float64(aTrip), test.trips)
			}
			client.Close()
		}
	})
}
