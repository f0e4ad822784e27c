package promote_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// applying asks for exactly what a plan says, as it was read.
func applying(t testing.TB, plan document.Plan) promote.Request {
	t.Helper()
	read, err := document.ParsePlan(plan.Encode())
	if err != nil {
		t.Fatal(err)
	}
	var items []promote.Item
	for _, p := range read.Promotions {
		i := promote.Item{Image: p.Image, Source: promote.Source{Text: p.Source.Reference, Repository: repository(t, p.Source.Repository), Tag: p.Source.Tag, Digest: pinned(t, p.Digest)}}
		target := promote.Target{Repository: repository(t, p.Repository)}
		for _, tag := range p.Tags {
			parsed, err := template.Parse(tag.Name)
			if err != nil {
				t.Fatal(err)
			}
			target.Tags = append(target.Tags, promote.Tag{Template: parsed, Fixed: tag.Fixed, Pinned: true, Before: pinned(t, tag.Before)})
		}
		i.Targets = []promote.Target{target}
		items = append(items, i)
	}
	r := requestOf(items...)
	r.Mode, r.Plan = promote.Apply, &read
	r.Attachments, r.Verify = read.Attachments, transfer.Level(read.Verify)
	r.Lease = settle
	return r
}

func repository(t testing.TB, text string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pinned(t testing.TB, digest string) v1.Hash {
	t.Helper()
	if digest == "" {
		return v1.Hash{}
	}
	h, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// makePlan makes a plan, which writes nothing.
func makePlan(t testing.TB, r promote.Request, targets ...*regtest.Registry) document.Plan {
	t.Helper()
	for _, at := range targets {
		at.ResetRequests()
	}
	r.Mode, r.ValidFor = promote.Plan, 7*24*time.Hour
	d := run(t, r)
	expect(t, d, document.Planned)
	for _, at := range targets {
		untouched(t, at)
		at.ResetRequests()
	}
	if d.Plan == nil {
		t.Fatal("no plan")
	}
	return *d.Plan
}

func TestPlanAndApply(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	r := f.request(t, "dev")
	r.Reason, r.TargetEnv, r.Job.URL = "because", "production", "https://github.com/acme/app/actions/runs/7"
	plan := makePlan(t, r, f.source, f.target)
	if plan.Schema != document.PlanSchema || !plan.Created.Equal(r.Started) || !plan.Expires.Equal(r.Started.Add(7*24*time.Hour)) || plan.Environment != "production" ||
		plan.Reason != "because" || plan.Job.URL != r.Job.URL || !plan.Attachments || plan.Verify != "blobs" || len(plan.Promotions) != ships {
		t.Errorf("plan %+v", plan)
	}
	for n, p := range plan.Promotions {
		tags := []document.PlannedTag{{Name: "production", Before: f.old[n].Root}, {Name: "v1", Fixed: true}}
		if p.Digest != f.new[n].Root || p.Source.Tag != "dev" || p.Repository != f.target.Host()+"/"+repoOf(n) || !slices.Equal(p.Tags, tags) {
			t.Errorf("planned %+v", p)
		}
		if p.Missing.Manifests != 1 || p.Missing.Blobs != len(f.new[n].Blobs) || p.Missing.Bytes != f.new[n].Size() {
			t.Errorf("missing %+v", p.Missing)
		}
	}
	d := run(t, applying(t, plan))
	expect(t, d, document.Promoted)
	f.expect(t, "applied", f.new, f.new)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
	f.target.ResetRequests()
	expect(t, run(t, applying(t, plan)), document.Unchanged) // as all tags hold what they are to become
	untouched(t, f.target)
}

// TestDrift: what has changed between a plan and its application, and what becomes of it.
func TestDriftAfterThePlan(t *testing.T) {
	long(t)
	point := func(tag string, image func(f *fleet) *regtest.Image) func(t *testing.T, f *fleet) {
		return func(t *testing.T, f *fleet) {
			t.Helper()
			if err := regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), tag, image(f).Root); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(at func(f *fleet) *regtest.Registry, repo, reference string) func(t *testing.T, f *fleet) {
		return func(t *testing.T, f *fleet) {
			t.Helper()
			if reference == "the image" {
				reference = f.new[1].Root
			}
			if err := regtest.DeleteManifest(t.Context(), at(f).Access("", ""), repo, reference); err != nil {
				t.Fatal(err)
			}
		}
	}
	third := func(f *fleet) *regtest.Image { return f.third[1] }
	source := func(f *fleet) *regtest.Registry { return f.source }
	target := func(f *fleet) *regtest.Registry { return f.target }
	for name, test := range map[string]struct {
		change func(t *testing.T, f *fleet)
		says   []string // of a refusal
		notice string
	}{
		"nothing":                {change: func(*testing.T, *fleet) {}},
		"a tag that moved":       {change: point("production", third), says: []string{"app1:production has moved since the plan was made", "mode: plan"}},
		"a tag that was removed": {change: remove(target, repoOf(1), "production"), says: []string{"app1:production has moved since the plan was made", "does not exist now"}},
		"a tag that was made":    {change: point("canary", third), says: []string{"app1:canary has moved since the plan was made", "it did not exist"}},
		"a fixed tag":            {change: point("v1", third), says: []string{"app1:v1"}},
		"an image that is gone":  {change: remove(source, "acme/app1", "the image"), says: []string{"is gone", "make a plan"}},
		"a tag that holds what it is to": {change: func(t *testing.T, f *fleet) {
			push(t, f.new[1], f.target, repoOf(1), "production")
		}},
		"a source tag that moved on": {change: func(t *testing.T, f *fleet) { push(t, f.next[1], f.source, "acme/app1", "dev") }, notice: "has moved on to"},
		"a source tag that is gone":  {change: remove(source, "acme/app1", "dev"), notice: "is gone since the plan was made"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, regtest.Options{Delete: true})
			r := f.request(t, "dev")
			r.Items[1] = item(t, f.source.Host()+"/acme/app1:dev", f.target.Host()+"/prod/app1:production", f.target.Host()+"/prod/app1:canary", fixed+f.target.Host()+"/prod/app1:v1")
			plan := makePlan(t, r, f.target)
			test.change(t, f)
			f.target.ResetRequests()
			d := run(t, applying(t, plan))
			if test.says != nil {
				faulted(t, d, document.Denied, test.says...)
				untouched(t, f.target)
				f.expectOne(t, "refused", 0, f.old[0], nil)
				return
			}
			expect(t, d, document.Promoted)
			f.expect(t, "applied", f.new, f.new)
			if (test.notice != "") != (len(d.Notices) > 0) || !told(d, test.notice) && test.notice != "" {
				t.Errorf("told %q, want %q", d.Notices, test.notice)
			}
		})
	}
}

// TestDriftWhileItIsApplied: what moves while the images are copied is refused as well.
func TestDriftWhileItIsApplied(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	plan := makePlan(t, f.request(t, "dev"), f.target)
	f.notice(func(q *http.Request) {
		if q.Method == http.MethodPost {
			_ = regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(1), "production", f.third[1].Root)
		}
	})
	faulted(t, run(t, applying(t, plan)), document.Denied, "app1:production has moved since the plan was made")
	f.expect(t, "refused", []*regtest.Image{f.old[0], f.third[1], f.old[2]}, nil)
}

// TestPlanMayOnlyRead: it asks for no right to write, also where the ledger has an entry that a dead run left open. A
// promotion resolves that, and what was planned is applied.
func TestPlanMayOnlyRead(t *testing.T) {
	t.Parallel()
	target := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Users: map[string]regtest.User{
		"reader": {Password: "secret", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull"}}}},
		user:     {Password: password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}})
	source := regtest.Serve(t, regtest.Options{})
	created := plain("new")
	push(t, created, source, "acme/app", "dev")
	reader := logins(credential.Login{}, credential.Login{Username: "reader", Password: "secret"})
	writer := logins(credential.Login{}, credential.Login{Username: user, Password: password})
	for repo, gates := range map[string]*promote.Gates{"prod/app": nil, "prod/gated": {}} {
		dead := leaveOpen(t, target, repo, plain("old"))
		target.ResetRequests()
		r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/"+repo+":production")
		r.Mode, r.TargetEnv, r.Gates, r.NoGates, r.ValidFor = promote.Plan, "production", gates, gates == nil, time.Hour
		d := runWith(t, t.Context(), reader, r, &watcher{})
		expect(t, d, document.Planned)
		want := dead.intent.Tags[0].After
		if gates != nil { // the ledger tells what the tag held before that run
			want = ""
		}
		if d.Plan == nil || d.Plan.Promotions[0].Tags[0].Before != want {
			t.Errorf("%s: planned %+v", repo, d.Plan)
		}
		untouched(t, target)
		for _, q := range ours(target) {
			if q.Path == "/token" && strings.Contains(q.Query, "push") {
				t.Errorf("asked for %s", q.Query)
			}
		}
		a := applying(t, *d.Plan)
		a.TargetEnv, a.Gates, a.NoGates, a.Lease = r.TargetEnv, r.Gates, r.NoGates, settle
		expect(t, runWith(t, t.Context(), writer, a, &watcher{}), document.Promoted)
		if now, _, err := regtest.TagDigest(t.Context(), target.Access(user, password), repo, "production"); err != nil || now != created.Root {
			t.Errorf("%s holds %s, %v", repo, now, err)
		}
	}
}

// leaveOpen has the tag production point to an image as a run has moved it that died before it moved its other tag, in a
// ledger of the environment and in one of the tag.
func leaveOpen(t *testing.T, at *regtest.Registry, repo string, image *regtest.Image) entry {
	t.Helper()
	access := at.Access(user, password)
	if err := image.Push(t.Context(), access, repo, "production"); err != nil {
		t.Fatal(err)
	}
	e := entry{record: digestOf("record"), size: 6}
	e.intent = entryIntent{
		ID: "dead", Number: 1, Begun: time.Now().Add(-time.Hour), Tags: []entryTag{{Name: "production", After: image.Root}, {Name: "beside", After: image.Root}},
		Line: entryLine{Mode: "promote", Digest: image.Root, Tags: []string{"production", "beside"}},
	}
	e.outcome = entryOutcome{Record: e.record, State: "pending", Renewed: e.intent.Begun}
	for _, blob := range []string{"{}", "record"} {
		if _, err := regtest.PutBlob(t.Context(), access, repo, []byte(blob)); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"env", "tag"} {
		for n, tag := range ledgerTags(kind, "production") {
			text := headWith(t, kind, "production", n+1, []entry{e})
			if err := regtest.PutManifest(t.Context(), access, repo, tag, manifestOCI, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	return e
}

var propertySeeds = flag.Int("plans", 12, "how many random requests are planned and applied")

// TestPlanAndApplyIsPromote: whatever is asked for, a plan that is applied leaves the target as a promotion would.
func TestPlanAndApplyIsPromote(t *testing.T) {
	long(t)
	for seed := range uint64(*propertySeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			compare(t, rand.New(rand.NewPCG(seed, 4)))
		})
	}
}

func compare(t *testing.T, dice *rand.Rand) {
	t.Helper()
	source := regtest.Serve(t, regtest.Options{})
	targets := []*regtest.Registry{regtest.Serve(t, regtest.Options{Delete: true}), regtest.Serve(t, regtest.Options{Delete: true})}
	var lines [][]string // source and targets, without the target's host
	images := 1 + dice.IntN(3)
	for n := range images {
		lines = append(lines, draw(t, dice, n, source, targets))
	}
	requests := make([]promote.Request, 2)
	for at, target := range targets {
		var items []promote.Item
		for _, line := range lines {
			var to []string
			for _, tag := range line[1:] {
				if text, isFixed := strings.CutPrefix(tag, fixed); isFixed {
					to = append(to, fixed+target.Host()+"/"+text)
					continue
				}
				to = append(to, target.Host()+"/"+tag)
			}
			items = append(items, item(t, line[0], to...))
		}
		requests[at] = requestOf(items...)
	}
	promoted := run(t, requests[0])
	requests[1].Mode, requests[1].ValidFor = promote.Plan, time.Hour
	applied := run(t, requests[1])
	if applied.Result == document.Planned {
		applied = run(t, applying(t, *applied.Plan))
	}
	t.Logf("%s", promoted.Result)
	if promoted.Result != applied.Result {
		t.Errorf("promote ends as %s, plan and apply as %s: %q", promoted.Result, applied.Result, lines)
	}
	for _, repo := range []string{"prod/app0", "prod/app1", "prod/app2", "prod/all"} {
		same(t, targets, repo)
	}
	for at, p := range promoted.Promotions {
		for n, tag := range p.Tags {
			if other := applied.Promotions[at].Tags[n]; tag.State != other.State || tag.Before != other.Before || tag.After != other.After || tag.Fixed != other.Fixed {
				t.Errorf("promote says %+v, apply says %+v", tag, other)
			}
		}
	}
}

// draw makes an image and what the targets have of it, and says where it is to go.
func draw(t *testing.T, dice *rand.Rand, n int, source *regtest.Registry, targets []*regtest.Registry) []string {
	t.Helper()
	build := func(seed string) *regtest.Image {
		return regtest.Build(regtest.Spec{Seed: fmt.Sprint(seed, n), LayerSize: 10, Base: "base", Layers: 2, BaseLayers: 1})
	}
	image, from := build("new"), fmt.Sprint("acme/app", n)
	if dice.IntN(2) == 0 {
		image.Sign(image.Root, ".sig", "x")
	}
	push(t, image, source, from, "dev")
	line := []string{source.Host() + "/" + from + ":dev"}
	if dice.IntN(3) == 0 {
		line[0] = source.Host() + "/" + from + "@" + image.Root
	}
	repo, suffix := repoOf(n), ""
	if dice.IntN(4) == 0 {
		repo, suffix = "prod/all", fmt.Sprint("-", n)
	}
	for _, tag := range []string{"production", "canary", "{{digest}}", fixed + "v1", fixed + "v2"} {
		text, isFixed := strings.CutPrefix(tag, fixed)
		if dice.IntN(2) == 0 && tag != "production" {
			continue
		}
		held := []*regtest.Image{nil, nil, image, build("old")}[dice.IntN(4)]
		if isFixed && dice.IntN(3) > 0 { // else most would be refused
			held = nil
		}
		for _, target := range targets {
			if held != nil && !strings.Contains(tag, "{{") {
				push(t, held, target, repo, text+suffix)
			}
		}
		if text = repo + ":" + text + suffix; isFixed {
			text = fixed + text
		}
		line = append(line, text)
	}
	return line
}

const own = "one of ours, "

// unrecorded is everything below a tag but for records.
func unrecorded(t *testing.T, at *regtest.Registry, repo, tag string) *regtest.Tree {
	t.Helper()
	tree, err := regtest.Read(t.Context(), at.Access("", ""), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Without(inToto)
}

// same expects two registries to hold the same under every tag of a repository. Journals, records and ledgers say who
// wrote them, and when, and so do the lists that have records in them.
func same(t *testing.T, targets []*regtest.Registry, repo string) {
	t.Helper()
	var held [2]map[string]string
	for at, target := range targets {
		held[at] = map[string]string{}
		tags, err := regtest.Tags(t.Context(), target.Access("", ""), repo)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			switch {
			case strings.HasPrefix(tag, "promotion-record-"):
				held[at][tag[:len(tag)-32]] += own
			case ledger.Reserved(tag), strings.HasPrefix(tag, "sha256-") && !strings.Contains(tag, "."):
				held[at][tag] = own
			default:
				held[at][tag] = holds(t, target, repo, tag)
			}
		}
	}
	if !maps.Equal(held[0], held[1]) {
		t.Errorf("%s holds after promote %v, after plan and apply %v", repo, held[0], held[1])
	}
	for tag, digest := range held[0] {
		if strings.HasPrefix(digest, own) || held[1][tag] != digest {
			continue
		}
		if diff := regtest.Diff(unrecorded(t, targets[0], repo, tag), unrecorded(t, targets[1], repo, tag)); len(diff) > 0 {
			t.Errorf("%s:%s: %s", repo, tag, strings.Join(diff, "\n"))
		}
	}
}
