package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// What a record may cost in a registry without the referrers API. Where there is a ledger already: the
// reads of its heads and of the tags, before the entry is written, after that, and after the outcome; the
// record's blob; and the two writes of the head. A ledger that begins costs its two blobs and its two empty
// heads besides, and looks whether it is lost rather than new. A blob is one request, or two on distribution
// and where it is not known yet that one is enough. While a large image is copied, the heads are read again.
const (
	recording = 10
	beginning = recording + 11
)

// mostRequests is what a promotion of the reference image may cost, tokens
// included: requests at both registries, and how many of them ask for a token. The
// image has 20 manifests, 47 blobs, 5 cosign tags and 10 referrers under 10
// fallback tags.
var mostRequests = []struct {
	name             string
	requests, tokens int
	source, target   string
	record           string // the input
}{
	{"cross-registry", 285 + beginning, 2, "S/acme/app:dev", "T/acme/app:prod", ""},
	{"again", 122, 2, "S/acme/app:dev", "T/acme/app:prod", ""},
	{"retag without a record", 11, 1, "S/acme/tagged:dev", "S/acme/tagged:qa", "none"},
	{"retag", 11 + beginning, 1, "S/acme/tagged:dev", "S/acme/tagged:prod", ""},
	{"retag of the next image", 11 + recording, 1, "S/acme/tagged:next", "S/acme/tagged:prod", ""},
	{"other repository", 170 + beginning, 1, "S/acme/app:dev", "S/acme/other:prod", ""},
}

// TestRequestCounts holds what each scenario may cost, on the registry of this
// process or, with -distribution, on CNCF distribution.
func TestRequestCounts(t *testing.T) {
	long(t)
	source, target := startCounted(t), startCounted(t)
	for _, repository := range []string{"acme/app", "acme/tagged"} {
		if err := regtest.ReferenceImage().Push(t.Context(), source.Access("ann", "secret"), repository, "dev"); err != nil {
			t.Fatal(err)
		}
	}
	next := regtest.BuildAttested(regtest.Spec{Seed: "next", Platforms: []string{"linux/amd64", "linux/arm64"}})
	if err := next.Push(t.Context(), source.Access("ann", "secret"), "acme/tagged", "next"); err != nil {
		t.Fatal(err)
	}
	place := strings.NewReplacer("S/", source.Host()+"/", "T/", target.Host()+"/").Replace
	accounts := fmt.Sprintf("- {registry: %q, username: ann, password: secret}\n- {registry: %q, username: ann, password: secret}", source.Host(), target.Host())
	for _, most := range mostRequests {
		t.Run(most.name, func(t *testing.T) {
			source.ResetRequests()
			target.ResetRequests()
			promoteOnce(t, "--source="+place(most.source), "--target="+place(most.target), "--registry-auth="+accounts, "--record="+most.record)
			kinds := countKinds(source.Requests(), target.Requests())
			expectAll(t, source, target, most.source, most.target)
			if sum := kinds.sum(); sum > most.requests {
				t.Errorf("%d requests, at most %d:\n%s", sum, most.requests, kinds)
			}
			if n := kinds["token"]; n > most.tokens {
				t.Errorf("%d requests for a token, at most %d:\n%s", n, most.tokens, kinds)
			}
		})
	}
}

func startCounted(t *testing.T) *regtest.Registry {
	t.Helper()
	o := regtest.Options{Auth: &regtest.Auth{Users: map[string]regtest.User{
		"ann": {Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}}
	if *distribution != "" {
		backend, stop, err := regtest.Spawn(context.Background(), *distribution)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stop() })
		o.Backend = backend
	}
	r, err := regtest.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// promoteOnce runs the program, which must end well.
func promoteOnce(t *testing.T, args ...string) {
	t.Helper()
	var out bytes.Buffer
	if code := run(t.Context(), nil, append(args, "--summary=false"), &out, &out); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, out.String())
	}
}

// expectAll expects everything of the source at the target: a run that did less
// would cost less.
func expectAll(t *testing.T, source, target *regtest.Registry, from, to string) {
	t.Helper()
	tree := func(place string) *regtest.Tree {
		at := source
		if strings.HasPrefix(place, "T/") {
			at = target
		}
		repository, tag, _ := strings.Cut(place[2:], ":")
		tree, err := regtest.Read(t.Context(), at.Access("ann", "secret"), repository, tag)
		if err != nil {
			t.Fatal(err)
		}
		return tree
	}
	for _, d := range regtest.Diff(tree(from), tree(to)) {
		t.Error(d)
	}
}

// kinds are numbers of requests by what they ask for.
type kinds map[string]int

func countKinds(logs ...[]regtest.Request) kinds {
	k := kinds{}
	for _, q := range slices.Concat(logs...) {
		k[kindOf(q)]++
	}
	return k
}

func (k kinds) sum() (n int) {
	for _, v := range k {
		n += v
	}
	return n
}

func (k kinds) String() string {
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(k)) {
		fmt.Fprintf(&text, "%6d  %s\n", k[name], name)
	}
	return text.String()
}

// pathKinds are what requests ask for, by the first of these that is in the path.
var pathKinds = []struct{ part, kind string }{
	{"/blobs/uploads/", "upload"},
	{"/blobs/", "blob"},
	{"/manifests/sha256:", "manifest by digest"},
	{".sig", "manifest by the tag sha256-….sig"},
	{".att", "manifest by the tag sha256-….att"},
	{".sbom", "manifest by the tag sha256-….sbom"},
	{"/manifests/sha256-", "manifest by the tag sha256-…"},
	{"/manifests/", "manifest by tag"},
	{"/referrers/", "referrers"},
	{"/tags/list", "list of tags"},
}

// kindOf names a request so that a regression shows what there is more of.
func kindOf(q regtest.Request) string {
	if q.Path == "/token" {
		return "token"
	}
	if q.Status == http.StatusUnauthorized {
		return "challenge"
	}
	kind := q.Path
	for _, k := range pathKinds {
		if strings.Contains(q.Path, k.part) {
			kind = k.kind
			break
		}
	}
	if strings.Contains(q.Query, "mount=") {
		kind = "mount"
	}
	return fmt.Sprintf("%s %s: %d", q.Method, kind, q.Status)
}
