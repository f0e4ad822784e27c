package promote_test

import (
	"crypto/x509"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// far is a registry at a distance, on a network within the process: what takes time there is the way alone.
type far struct {
	*testing.T
	memory *regtest.Memory
	at     *regtest.Registry
	login  credential.Login
}

func newFar(t *testing.T, o regtest.Options, auth bool) *far {
	t.Helper()
	f := &far{T: t, memory: regtest.NewMemory()}
	o.Memory, o.Network, o.TLS, o.Name = f.memory, &wideArea, true, "registry.example"
	if auth {
		f.login = credential.Login{Username: user, Password: password}
		o.Auth = &regtest.Auth{Users: map[string]regtest.User{user: {Password: password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}}}}
	}
	f.at = regtest.Serve(t, o)
	t.Cleanup(f.memory.Close) // before the registry, which waits for its connections
	return f
}

func (f *far) push(i *regtest.Image, repo string, tags ...string) {
	f.Helper()
	if err := i.Push(f.Context(), f.at.Access(f.login.Username, f.login.Password), repo, tags...); err != nil {
		f.Fatal(err)
	}
}

// client is a client with connections of its own.
func (f *far) client() *registry.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(f.at.CAPEM())
	o := registry.Options{Dial: f.memory.DialContext, Roots: roots}
	if f.login.Username != "" {
		o.Credentials = &credential.Chain{Source: f.login, Target: f.login}
	}
	return registry.New(o)
}

// run makes a run with connections of its own. It returns how long it took, and how long of that came after the tag had
// moved.
func (f *far) run(r promote.Request, want document.Result) (took, after time.Duration) {
	f.Helper()
	client := f.client()
	defer client.Close()
	f.at.ResetRequests()
	began := time.Now()
	expect(f.T, runWith(f.T, f.Context(), client, r, &watcher{}), want)
	ended := time.Now()
	for _, q := range ours(f.at) {
		if q.Method == http.MethodPut && strings.HasSuffix(q.Path, "/manifests/production") {
			after = ended.Sub(q.Ended) - wideArea.RTT/2 // until its answer is here
		}
	}
	return ended.Sub(began), after
}

// TestDistance holds how many round trips a rollback, a promotion within a repository and one to another repository take
// over TLS and HTTP/2, as the clock of that network counts, and that three come after the tag has moved, at most. Of each
// two are the connection's, one the challenge's.
func TestDistance(t *testing.T) {
	long(t)
	t.Parallel()
	const aTrip = 40 * time.Millisecond
	for name, test := range map[string]struct {
		build                  func(regtest.Spec) *regtest.Image
		auth, api              bool
		bring, retag, rollback time.Duration
	}{
		"alone":                          {build: regtest.Build, bring: 21 * aTrip, retag: 13 * aTrip, rollback: 14 * aTrip},
		"alone, with tokens":             {build: regtest.Build, auth: true, bring: 22 * aTrip, retag: 14 * aTrip, rollback: 15 * aTrip},
		"attested":                       {build: regtest.BuildAttested, bring: 23 * aTrip, retag: 12 * aTrip, rollback: 16 * aTrip},
		"attested, with tokens":          {build: regtest.BuildAttested, auth: true, bring: 24 * aTrip, retag: 13 * aTrip, rollback: 17 * aTrip},
		"attested, with tokens, by API":  {build: regtest.BuildAttested, auth: true, api: true, bring: 23 * aTrip, retag: 13 * aTrip, rollback: 17 * aTrip},
		"alone, with tokens, by the API": {build: regtest.Build, auth: true, api: true, bring: 21 * aTrip, retag: 13 * aTrip, rollback: 15 * aTrip},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t, regtest.Options{Referrers: test.api}, test.auth)
				for _, seed := range []string{"good", "bad"} {
					f.push(test.build(regtest.Spec{Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 10, LayerSize: 1000, Provenance: true}), "acme/dev", seed)
				}
				check := func(what string, r promote.Request, want document.Result, trips time.Duration) {
					t.Helper()
					took, after := f.run(r, want)
					t.Logf("%s: %v, %v after the tag", what, took, after)
					if took < trips-aTrip/2 || took > trips+aTrip/2 {
						t.Errorf("%s: %v, %.1f round trips, expected %d", what, took, float64(took)/float64(aTrip), trips/aTrip)
					}
					if after <= 0 || after > aTrip*7/2 {
						t.Errorf("%s: %v after the tag had moved", what, after)
					}
				}
				dev, repo := f.at.Host()+"/acme/dev", f.at.Host()+"/acme/app"
				bring := func(from, env string) promote.Request {
					r := requestOf(item(t, from, repo+":"+env))
					r.TargetEnv = env
					return r
				}
				check("the first", bring(dev+":good", "production"), document.Promoted, test.bring)
				f.run(bring(dev+":bad", "staging"), document.Promoted)
				check("within the repository", bring(repo+":staging", "production"), document.Promoted, test.retag)
				check("back", rollback(t, repo+":production"), document.RolledBack, test.rollback)
			})
		})
	}
}

// TestDistance_Recorded holds what the ledger adds to a promotion within a repository: requests and round trips more than
// where nothing is recorded, which takes eight: two of the connection, the challenge, the token, the names, what is below
// the image, the tag, and the tag again.
func TestDistance_Recorded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		api             bool
		requests, trips int
	}{
		"referrers API": {api: true, requests: 13, trips: 5},
		"fallback list": {requests: 11, trips: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recorded, plain := distanceOf(t, test.api, promote.RecordRequired), distanceOf(t, test.api, promote.RecordNone)
			if plain.trips != 8 || plain.requests != 10 {
				t.Errorf("without a record: %d round trips, %d requests", plain.trips, plain.requests)
			}
			if requests, trips := recorded.requests-plain.requests, recorded.trips-plain.trips; requests != test.requests || trips != test.trips {
				t.Errorf("the record takes %d requests and %d round trips, want %d and %d", requests, trips, test.requests, test.trips)
			}
		})
	}
}

// distance is what a promotion within a repository takes.
type distance struct{ requests, trips int }

func distanceOf(t *testing.T, api bool, record promote.Recording) (d distance) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t, regtest.Options{Referrers: api}, true)
		f.push(regtest.BuildAttested(regtest.Spec{Seed: "old", Platforms: []string{"linux/amd64"}, Layers: 2, LayerSize: 100}), "acme/app", "production")
		f.push(regtest.BuildAttested(regtest.Spec{Seed: "new", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 10, LayerSize: 1000, Provenance: true}), "acme/app", "staging")
		repo := f.at.Host() + "/acme/app"
		r := request(t, repo+":staging", repo+":production")
		r.TargetEnv, r.Record = "production", promote.RecordRequired
		f.run(r, document.Promoted) // the ledger is there from then on
		f.push(regtest.BuildAttested(regtest.Spec{Seed: "old", Platforms: []string{"linux/amd64"}, Layers: 2, LayerSize: 100}), "acme/app", "production")
		r.Record = record
		took, _ := f.run(r, document.Promoted)
		d = distance{len(ours(f.at)), int(math.Round(float64(took) / float64(wideArea.RTT)))}
	})
	return d
}
