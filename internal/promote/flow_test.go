package promote_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// plain is a small image of two platforms.
func plain(seed string) *regtest.Image {
	return regtest.Build(regtest.Spec{Seed: seed, Platforms: []string{"linux/amd64", "linux/arm64"}, LayerSize: 200})
}

func TestTheFlowIsOneLine(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, plain("x"), source, "acme/app", "dev")
	w := &watcher{}
	r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
	r.Reason, r.TargetEnv, r.NoGates = "because", "production", true
	d := runWith(t, t.Context(), anonymous(), r, w)
	expect(t, d, document.Promoted)
	if want := []string{"Resolve", "Inspect", "Copy", "Verify", "Record", "Move tags"}; !slices.Equal(w.steps, want) {
		t.Errorf("steps %q, want %q", w.steps, want)
	}
	if d.Reason != "because" || d.TargetEnv != "production" || !d.NoGates || d.DryRun || d.Started != r.Started || d.Ended.IsZero() {
		t.Errorf("report %+v", d)
	}
	// Every write of an image comes before the write of its tag, the pending entry too, and what comes after it is the outcome.
	all := writes(target)
	ledger := "PUT /v2/prod/app/manifests/promotion-ledger.tag.production."
	if last := all[len(all)-3:]; !slices.Equal(last, []string{ledger + "a", "PUT /v2/prod/app/manifests/production", ledger + "b"}) {
		t.Errorf("the last writes are %s", last)
	}
	untouched(t, source)
}

// TestTagsMoveLast: when the first tag is written, all is there already.
func TestTagsMoveLast(t *testing.T) {
	source := regtest.Serve(t, regtest.Options{})
	i := decorated()
	push(t, i, source, "acme/app", "dev")
	var target *regtest.Registry
	var seen []string
	target = regtest.Serve(t, regtest.Options{Wrap: forUs(hook(func(q *http.Request) bool {
		return q.Method == http.MethodPut && (strings.HasSuffix(q.URL.Path, "/manifests/production") || strings.HasSuffix(q.URL.Path, "/manifests/v1"))
	}, func() {
		tree, err := regtest.Read(t.Context(), target.Access("", ""), "prod/app", i.Root)
		if err != nil {
			seen = append(seen, err.Error())
			return
		}
		whole, err := regtest.Read(t.Context(), source.Access("", ""), "acme/app", "dev")
		if err != nil {
			seen = append(seen, err.Error())
			return
		}
		seen = append(seen, regtest.Diff(whole, tree)...)
		seen = append(seen, "moved")
	}))})
	expect(t, run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production", fixed+target.Host()+"/prod/app:v1")), document.Promoted)
	if !slices.Equal(seen, []string{"moved", "moved"}) {
		t.Errorf("when the tags moved: %q", seen)
	}
}

func TestResolveByDigest(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := plain("x")
	push(t, i, source, "acme/app", "dev")
	for _, reference := range []string{"/acme/app@" + i.Root, "/acme/app:dev@" + i.Root} {
		d := run(t, request(t, source.Host()+reference, target.Host()+"/prod/app:production"))
		if d.Result != document.Promoted && d.Result != document.Unchanged {
			t.Errorf("%s: %s %+v", reference, d.Result, d.Faults)
		}
	}
	if got := holds(t, target, "prod/app", "production"); got != i.Root {
		t.Errorf("the tag holds %s", got)
	}
}

// TestDrift: the tag no longer holds what was asked for.
func TestDrift(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	tested, moved := plain("tested"), plain("moved on")
	push(t, tested, source, "acme/app")
	push(t, moved, source, "acme/app", "dev")
	d := run(t, request(t, source.Host()+"/acme/app:dev@"+tested.Root, target.Host()+"/prod/app:production"))
	faulted(t, d, document.Denied, tested.Root, moved.Root, "source: "+source.Host()+"/acme/app@"+tested.Root)
	expectTag(t, d, ":production", document.TagPending, "", "")
	untouched(t, source)
	untouched(t, target)
}

// TestResolvedOnce: the source's tag may move while the run goes on.
func TestResolvedOnce(t *testing.T) {
	var source *regtest.Registry
	first, second := plain("first"), plain("second")
	source = regtest.Serve(t, regtest.Options{Wrap: forUs(hook(on(http.MethodGet, first.Children()[0]), func() {
		_ = regtest.PutTag(t.Context(), source.Access("", ""), "acme/app", "dev", second.Root)
	}))})
	target := regtest.Serve(t, regtest.Options{})
	push(t, second, source, "acme/app")
	push(t, first, source, "acme/app", "dev")
	expect(t, run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")), document.Promoted)
	if got := holds(t, target, "prod/app", "production"); got != first.Root {
		t.Errorf("promoted %s, want %s", got, first.Root)
	}
}

func TestMissingSource(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, plain("x"), source, "acme/app", "dev")
	for _, reference := range []string{"/acme/app:nightly", "/acme/other:dev", "/acme/app@" + digestOf("nothing")} {
		d := run(t, request(t, source.Host()+reference, target.Host()+"/prod/app:production"))
		faulted(t, d, document.Failed, source.Host()+reference, "404")
		if d.Faults[0].Hint == "" {
			t.Errorf("%s: no hint", reference)
		}
	}
	untouched(t, target)
}

// TestDryRun says what would be done and writes nothing.
func TestDryRun(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	old, i := plain("old"), plain("new")
	push(t, i, source, "acme/app", "dev")
	push(t, old, target, "prod/app", "production")
	r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production", fixed+target.Host()+"/prod/app:v1")
	r.DryRun = true
	d := run(t, r)
	expect(t, d, document.WouldPromote)
	expectTag(t, d, ":production", document.TagPending, old.Root, old.Root)
	expectTag(t, d, ":v1", document.TagPending, "", "")
	if !d.DryRun || d.Promotions[0].Digest != i.Root || d.Promotions[0].Verified != "" || d.Promotions[0].Content.Manifests == 0 {
		t.Errorf("report %+v", d)
	}
	untouched(t, source)
	untouched(t, target)

	r.DryRun = false
	expect(t, run(t, r), document.Promoted)
	target.ResetRequests()
	r.DryRun = true
	d = run(t, r)
	expect(t, d, document.Unchanged)
	expectTag(t, d, ":production", document.TagUnchanged, i.Root, i.Root)
	untouched(t, target)
}

// TestPrevious: what each tag held before, and now.
func TestPrevious(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	one, two := plain("one"), plain("two")
	push(t, one, source, "acme/app", "one")
	push(t, two, source, "acme/app", "two")
	d := run(t, request(t, source.Host()+"/acme/app:one", target.Host()+"/prod/app:production"))
	expectTag(t, d, ":production", document.TagMoved, "", one.Root)
	d = run(t, request(t, source.Host()+"/acme/app:two", target.Host()+"/prod/app:production", target.Host()+"/prod/app:canary"))
	expectTag(t, d, ":production", document.TagMoved, one.Root, two.Root)
	expectTag(t, d, ":canary", document.TagMoved, "", two.Root)
	// Back again is a promotion like any other; everything is there, so only tags move.
	target.ResetRequests()
	d = run(t, request(t, source.Host()+"/acme/app:one", target.Host()+"/prod/app:production", target.Host()+"/prod/app:canary"))
	expectTag(t, d, ":production", document.TagMoved, two.Root, one.Root)
	// The bytes of the record, its entry, two tags, and its outcome.
	if w := writes(target); len(w) != 5 {
		t.Errorf("writes %q", w)
	}
}

// TestRetag: within one repository no blob of the image is touched, and few requests are made.
func TestRetag(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{})
	i := decorated()
	old := plain("old")
	push(t, i, r, "acme/app", "dev")
	push(t, old, r, "acme/app", "production")
	r.ResetRequests()
	d := run(t, request(t, r.Host()+"/acme/app:dev", r.Host()+"/acme/app:production"))
	expect(t, d, document.Promoted)
	expectTag(t, d, ":production", document.TagMoved, old.Root, i.Root)
	for _, q := range ours(r) {
		if strings.Contains(q.Path, "/blobs/sha256:") {
			t.Errorf("%s %s", q.Method, q.Path)
		}
	}
	if n := len(ours(r)); n > retagging+recording+beginning {
		t.Errorf("%d requests, want at most %d", n, retagging+recording+beginning)
	}
	if d.Promotions[0].Verified != "manifests" || d.Promotions[0].Copied != (document.Copied{}) {
		t.Errorf("verified %q, copied %+v", d.Promotions[0].Verified, d.Promotions[0].Copied)
	}
	complete(t, r, "acme/app", "dev", r, "acme/app", "production")

	push(t, old, r, "acme/app", "production")
	r.ResetRequests()
	expect(t, run(t, request(t, r.Host()+"/acme/app:dev", r.Host()+"/acme/app:production")), document.Promoted)
	if n := len(ours(r)); n > retagging+recording {
		t.Errorf("%d requests where there is a ledger, want at most %d", n, retagging+recording)
	}
}

// What a promotion within a repository may take without the referrers API.
const (
	// retagging is the ping, the tag, four children, the old tag, the move, and its confirmation.
	retagging = 9
	// recording is the list of tags, the record, and of the ledger: both heads before, the pending entry, both heads and the
	// tag again, the outcome, and both heads again.
	recording = 12
	// beginning is what a ledger takes once: the question for its first segment, two blobs in three requests, two empty
	// heads, and both heads and the tag again before the entry.
	beginning = 9
)

// emptyBlobs are those that an empty ledger has, as an upload names them: its configuration, and its only layer.
func emptyBlobs(ledger string) []string {
	return []string{url.QueryEscape(digestOf("{}")), url.QueryEscape(digestOf(`{"ledger":"` + ledger + `"}`))}
}

// TestSeveral: several images to several places in one run, with what they share
// sent once.
func TestSeveral(t *testing.T) {
	long(t)
	source, target, other := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{Referrers: true})
	spec := regtest.Spec{Platforms: []string{"linux/amd64", "linux/arm64"}, Shared: true, Layers: 2, LayerSize: 200}
	app := regtest.Build(spec)
	spec.Labels = map[string]string{"role": "worker"}
	worker := regtest.Build(spec)
	app.Attach(app.Root, "application/vnd.example", "app")
	worker.Sign(worker.Root, ".sig", "worker")
	push(t, app, source, "acme/app", "dev")
	push(t, worker, source, "acme/worker", "dev")
	d := run(t, requestOf(
		item(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production", target.Host()+"/prod/app:latest", target.Host()+"/mirror/app:production", other.Host()+"/prod/app:production"),
		item(t, source.Host()+"/acme/worker:dev", target.Host()+"/prod/worker:production", fixed+target.Host()+"/prod/worker:v1"),
	))
	expect(t, d, document.Promoted)
	if len(d.Promotions) != 4 {
		t.Fatalf("%d promotions", len(d.Promotions))
	}
	for _, at := range []struct {
		registry          *regtest.Registry
		source, repo, tag string
	}{
		{target, "acme/app", "prod/app", "production"}, {target, "acme/app", "prod/app", "latest"},
		{target, "acme/app", "mirror/app", "production"}, {other, "acme/app", "prod/app", "production"},
		{target, "acme/worker", "prod/worker", "production"}, {target, "acme/worker", "prod/worker", "v1"},
	} {
		complete(t, source, at.source, "dev", at.registry, at.repo, at.tag)
	}
	sent := map[string]int{}
	for _, q := range ours(target) {
		if q.Method == http.MethodPut && strings.Contains(q.Path, "/uploads/") {
			_, digest, _ := strings.Cut(q.Query, "digest=")
			sent[digest]++
		}
	}
	for _, blob := range emptyBlobs("tag:production") { // which each repository's ledger has
		maps.DeleteFunc(sent, func(upload string, _ int) bool { return strings.HasPrefix(upload, blob) })
	}
	for digest, n := range sent {
		if n != 1 {
			t.Errorf("%s was sent %d times to one registry", digest, n)
		}
	}
	for _, state := range d.Promotions {
		for _, tag := range state.Tags {
			if tag.State != document.TagMoved {
				t.Errorf("%s is %s", tag.Reference, tag.State)
			}
		}
	}
}

// TestOneOfSeveralFails: then none moves.
func TestOneOfSeveralFails(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := plain("x")
	push(t, i, source, "acme/app", "dev")
	d := run(t, requestOf(
		item(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"),
		item(t, source.Host()+"/acme/app:nothing", target.Host()+"/prod/other:production"),
	))
	faulted(t, d, document.Failed, "/acme/app:nothing")
	untouched(t, target)
	expectTag(t, d, "/prod/app:production", document.TagPending, "", "")
}

// TestTwoSourcesForOneTag cannot both be meant.
func TestTwoSourcesForOneTag(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, plain("one"), source, "acme/app", "one")
	push(t, plain("two"), source, "acme/app", "two")
	d := run(t, requestOf(
		item(t, source.Host()+"/acme/app:one", target.Host()+"/prod/app:production"),
		item(t, source.Host()+"/acme/app:two", target.Host()+"/prod/app:production"),
	))
	faulted(t, d, document.Invalid, "/acme/app:one", "/acme/app:two", "/prod/app:production")
	untouched(t, target)
}

// TestOneImageTwice is no contradiction.
func TestOneImageTwice(t *testing.T) {
	t.Parallel()
	long(t)
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := decorated()
	push(t, i, source, "acme/app", "one", "two")
	d := run(t, requestOf(
		item(t, source.Host()+"/acme/app:one", target.Host()+"/prod/app:production"),
		item(t, source.Host()+"/acme/app:two", target.Host()+"/prod/app:production", target.Host()+"/prod/app:latest"),
	))
	expect(t, d, document.Promoted)
	complete(t, source, "acme/app", "one", target, "prod/app", "production")
	complete(t, source, "acme/app", "one", target, "prod/app", "latest")
	var about []string
	for _, e := range rows(t, target, "prod/app", "production") {
		for _, tag := range e.intent.Tags {
			about = append(about, tag.Name+" "+e.outcome.State)
		}
	}
	if slices.Sort(about); !slices.Equal(about, []string{"latest promoted", "production promoted"}) {
		t.Errorf("the entries are about %q", about)
	}
	for _, p := range d.Promotions {
		if p.Record == "" || !p.Recorded {
			t.Errorf("record %q, recorded %v", p.Record, p.Recorded)
		}
	}
	d = run(t, requestOf( // the second has no tag of its own
		item(t, source.Host()+"/acme/app:one", target.Host()+"/prod/twice:production"),
		item(t, source.Host()+"/acme/app:two", target.Host()+"/prod/twice:production"),
	))
	expect(t, d, document.Promoted)
	if all := rows(t, target, "prod/twice", "production"); len(all) != 1 || d.Promotions[1].Record != all[0].record || !d.Promotions[1].Recorded {
		t.Errorf("entries %v, the second names %q", all, d.Promotions[1].Record)
	}
}

// TestOneLedger_SeveralImages: promotions of one run whose tags are named by one template have one ledger, and each an entry,
// which they write one after the other. The network is slow, so that they would write at once otherwise.
func TestOneLedger_SeveralImages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t, regtest.Options{}, false)
		var items []promote.Item
		for n := range 4 {
			tag := fmt.Sprint("v", n)
			f.push(plain(tag), "acme/app", tag)
			items = append(items, item(t, f.at.Host()+"/acme/app:"+tag, fixed+f.at.Host()+"/prod/app:{{source-tag}}-{{date 'YYYY'}}"))
		}
		expect(t, runWith(t, t.Context(), f.client(), requestOf(items...), &watcher{}), document.Promoted)
		heads := ourTags(t, f.at, "prod/app")
		if len(heads) != 2 {
			t.Fatalf("heads %q", heads)
		}
		all, err := readEntriesOf(t.Context(), f.at.Access("", ""), "prod/app", [2]string(heads))
		if err != nil || len(all) != 4 {
			t.Fatalf("%d entries, %v", len(all), err)
		}
		for n, e := range all {
			if e.outcome.State != "promoted" || e.intent.Number != n+1 {
				t.Errorf("%s is %s, and number %d", e.intent.Tags[0].Name, e.outcome.State, e.intent.Number)
			}
		}
	})
}

// TestCredentialsPerSide on one host: each side uses its own, and no mount is tried.
func TestCredentialsPerSide(t *testing.T) {
	r := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Users: map[string]regtest.User{
		"reader": {Password: "r", Grants: []regtest.Grant{{Repository: "acme/app", Actions: []string{"pull"}}}},
		"writer": {Password: "w", Grants: []regtest.Grant{{Repository: "prod/app", Actions: []string{"pull", "push"}}}},
		"admin":  {Password: "a", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}})
	i := decorated()
	if err := i.Push(t.Context(), r.Access("admin", "a"), "acme/app", "dev"); err != nil {
		t.Fatal(err)
	}
	r.ResetRequests()
	client := logins(credential.Login{Username: "reader", Password: "r"}, credential.Login{Username: "writer", Password: "w"})
	d := runWith(t, t.Context(), client, request(t, r.Host()+"/acme/app:dev", r.Host()+"/prod/app:production"), &watcher{})
	expect(t, d, document.Promoted)
	tokens := 0
	for _, q := range ours(r) {
		switch {
		case q.Path == "/token":
			tokens++
		case strings.HasPrefix(q.Path, "/v2/acme/") && q.User != "reader", strings.HasPrefix(q.Path, "/v2/prod/") && q.User != "writer":
			t.Errorf("%s %s as %q", q.Method, q.Path, q.User)
		case strings.Contains(q.Query, "from="):
			t.Errorf("%s %s?%s", q.Method, q.Path, q.Query)
		}
	}
	if tokens != 2 {
		t.Errorf("%d tokens, want 2", tokens)
	}
	whole, err := regtest.Read(t.Context(), r.Access("admin", "a"), "acme/app", "dev")
	if err != nil {
		t.Fatal(err)
	}
	got, err := regtest.Read(t.Context(), r.Access("admin", "a"), "prod/app", "production")
	if err != nil {
		t.Fatal(err)
	}
	if diff := regtest.Diff(whole, got); len(diff) > 0 {
		t.Error(diff)
	}
}

// TestRefusedCredential: nothing is written, and no password is in the report.
func TestRefusedCredential(t *testing.T) {
	users := map[string]regtest.User{
		"reader": {Password: "r", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}},
		"writer": {Password: "w", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull", "push"}}}},
	}
	source := regtest.Serve(t, regtest.Options{})
	target := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Users: users}})
	push(t, plain("x"), source, "acme/app", "dev")
	for name, login := range map[string]credential.Login{
		"wrong password": {Username: "writer", Password: "not-the-password"},
		"may not write":  {Username: "reader", Password: "r"},
	} {
		target.ResetRequests()
		client := registry.New(registry.Options{Credentials: &credential.Chain{Target: login}})
		d := runWith(t, t.Context(), client, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"), &watcher{})
		faulted(t, d, document.Failed, "target", "/prod/app")
		if text := fmt.Sprintf("%+v", d); strings.Contains(text, "not-the-password") {
			t.Errorf("%s: the password is in the report", name)
		}
		for _, q := range ours(target) {
			if q.Method == http.MethodPut && q.Status == http.StatusCreated {
				t.Errorf("%s: %s %s", name, q.Method, q.Path)
			}
		}
	}
}

// TestRequests holds what a promotion costs. R's graph, with small layers: 20
// manifests, 47 blobs, attachments on five of them.
func TestRequests(t *testing.T) {
	i := regtest.Build(regtest.Spec{Seed: "R", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 10, LayerSize: 100, Provenance: true})
	for _, digest := range append([]string{i.Root}, i.Children()...) {
		i.Sign(digest, ".sig", digest)
		i.Attach(i.Attach(digest, "application/vnd.example.bundle", "bundle"), "application/vnd.example.counter", "counter")
	}
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	push(t, i, source, "acme/app", "dev")
	count := func(what string, most int, r promote.Request, want document.Result) {
		t.Helper()
		source.ResetRequests()
		target.ResetRequests()
		expect(t, run(t, r), want)
		n := len(ours(source)) + len(ours(target))
		t.Logf("%s: %d requests", what, n)
		if n > most {
			t.Errorf("%s: %d requests, want at most %d", what, n, most)
		}
	}
	across := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
	count("across registries", 330, across, document.Promoted)
	count("again", 140, across, document.Unchanged)
	within := request(t, source.Host()+"/acme/app:dev", source.Host()+"/prod/app:production")
	count("other repository, same registry", 230, within, document.Promoted)
	count("retag", retagging+recording+beginning, request(t, source.Host()+"/acme/app:dev", source.Host()+"/acme/app:staging"), document.Promoted)
}

// TestVerificationGuardsTheTag: what is wrong at the target keeps the tag where it is.
func TestVerificationGuardsTheTag(t *testing.T) {
	t.Parallel()
	i := plain("x")
	layer := i.Blobs[0]
	for name, test := range map[string]struct {
		level transfer.Level
		wrap  func(http.Handler) http.Handler
		want  document.Result
		says  string
	}{
		"a corrupt blob, all read back": {transfer.Content, regtest.Answer(on(http.MethodGet, layer.Digest), 200, "", []byte(strings.Repeat("x", int(layer.Size)))), document.Failed, layer.Digest},
		"a corrupt blob, not read":      {transfer.Blobs, regtest.Answer(on(http.MethodGet, layer.Digest), 200, "", []byte("x")), document.Promoted, ""},
		"a child that is not there":     {transfer.Manifests, regtest.Answer(on(http.MethodGet, i.Children()[1]), 404, "", nil), document.Failed, i.Children()[1]},
		"the root is not there":         {transfer.Blobs, regtest.Answer(on(http.MethodGet, i.Root), 404, "", nil), document.Failed, i.Root},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, m *regtest.Memory) {
				source, target := regtest.Serve(t, regtest.Options{Memory: m}), regtest.Serve(t, regtest.Options{Memory: m, Wrap: forUs(test.wrap)})
				push(t, i, source, "acme/app", "dev")
				r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production")
				r.Verify = test.level
				d := runWith(t, t.Context(), at(target), r, &watcher{})
				if test.want == document.Promoted {
					expect(t, d, document.Promoted)
					return
				}
				faulted(t, d, test.want, test.says, "verify")
				expectTag(t, d, ":production", document.TagPending, "", "")
				if slices.Contains(writes(target), "PUT /v2/prod/app/manifests/production") || d.Promotions[0].Verified != "" {
					t.Error("the tag moved")
				}
				if got := holds(t, target, "prod/app", "production"); got != "" {
					t.Errorf("the tag holds %s", got)
				}
			})
		})
	}
}

// TestConcurrency: one transfer at a time is enough for everything.
func TestConcurrency(t *testing.T) {
	long(t)
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := decorated()
	push(t, i, source, "acme/app", "dev")
	r := requestOf(item(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production", target.Host()+"/mirror/app:production"))
	r.Verify = transfer.Content
	d := runWith(t, t.Context(), registry.New(registry.Options{Transfers: 1}), r, &watcher{})
	expect(t, d, document.Promoted)
	complete(t, source, "acme/app", "dev", target, "prod/app", "production")
	complete(t, source, "acme/app", "dev", target, "mirror/app", "production")
	if d.Promotions[0].Verified != "content" {
		t.Errorf("verified %s", d.Promotions[0].Verified)
	}
}

// TestEndedBeforeItBegan reports all the same.
func TestEndedBeforeItBegan(t *testing.T) {
	source := regtest.Serve(t, regtest.Options{})
	push(t, plain("x"), source, "acme/app", "dev")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("SIGTERM"))
	d := runWith(t, ctx, anonymous(), request(t, source.Host()+"/acme/app:dev", source.Host()+"/prod/app:production"), &watcher{})
	faulted(t, d, document.Failed, "SIGTERM", "again")
	untouched(t, source)
}
