package input

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/transfer"
)

// planned is a plan for production of the config acme, with changes made to it.
func planned(change func(*document.Plan)) document.Plan {
	p := document.Plan{
		Schema: document.PlanSchema, Created: now.Add(-time.Hour), Expires: now.Add(time.Hour),
		Environment: "production", Config: &document.Config{Path: config.Default, Digest: digestA},
		Verify: "manifests", Reason: "CHG-1",
		Promotions: []document.PlannedPromotion{{
			Source:     document.Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
			Digest:     digestB,
			Repository: "registry.acme.example/prod/app",
			Tags: []document.PlannedTag{
				{Name: "production", Before: digestA}, {Name: "1.4.2"}, {Name: "release-20261122", Fixed: true}, {Name: "v1", Fixed: true},
			},
			From: &document.Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: digestB},
		}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

// handed is the inputs of a run that applies the plan.
func handed(p document.Plan, changes env) env {
	e := env{"mode": "apply", "plan": document.Pack(p.Encode())}
	for k, v := range changes {
		e[k] = v
	}
	return e
}

func TestApply(t *testing.T) {
	plan := planned(nil)
	settings, err := settle(acme(), handed(plan, nil))
	if err != nil {
		t.Fatal(err)
	}
	r := settings.Request
	want := "ghcr.io/acme/app:staging@" + digestB + " => registry.acme.example/prod/app[production 1.4.2 release-20261122! v1!] from staging ghcr.io/acme/app:staging"
	if got := detail(r.Items); got != want {
		t.Errorf("items are\n%s\nwant\n%s", got, want)
	}
	for i, tag := range r.Items[0].Targets[0].Tags {
		before := ""
		if tag.Before.Hex != "" {
			before = tag.Before.String()
		}
		if !tag.Pinned || before != plan.Promotions[0].Tags[i].Before {
			t.Errorf("tag %d is %+v", i, tag)
		}
	}
	if held := r.Items[0].From.Held.String(); held != digestB {
		t.Errorf("the environment before held %s", held)
	}
	if r.Mode != promote.Apply || r.Attachments || r.Verify != transfer.Manifests || r.Reason != "CHG-1" || r.TargetEnv != "production" || r.NoGates ||
		r.Gates == nil || r.Gates.Policy.MaxAge != time.Hour || r.Config == nil || r.Plan == nil || string(r.Plan.Encode()) != string(plan.Encode()) {
		t.Errorf("request is %+v", r)
	}
	settings, err = settle(acme(), handed(plan, env{"reason": "CHG-2", "target-env": "production", "override-gates": "freeze", "dry-run": "true"}))
	if err != nil || settings.Request.Reason != "CHG-2" || !reflect.DeepEqual(settings.Request.Gates.Overrides, []string{"freeze"}) || !settings.Request.DryRun {
		t.Errorf("request is %+v, error %v", settings.Request, err)
	}
}

func TestApplyWithoutEnvironment(t *testing.T) {
	change := func(p *document.Plan) {
		p.Environment, p.Config, p.Promotions[0].From = "", nil, nil
		p.Promotions[0].Tags = p.Promotions[0].Tags[:1]
		p.Promotions[0].Repository = "a.io/x"
		twin := p.Promotions[0]
		twin.Repository = "b.io/x"
		other := twin
		other.Digest = digestA
		p.Promotions = append(p.Promotions, twin, other)
		p.Promotions[2].Repository = "c.io/x"
	}
	const source = "ghcr.io/acme/app:staging@"
	want := source + digestB + " => a.io/x[production]; " + source + digestB + " => b.io/x[production]; " + source + digestA + " => c.io/x[production]"
	for _, c := range []*config.Config{nil, acme()} {
		settings, err := settle(c, handed(planned(change), nil))
		if err != nil {
			t.Fatal(err)
		}
		if got := detail(settings.Request.Items); got != want || settings.Request.Gates != nil {
			t.Errorf("items are\n%s\nwant\n%s", got, want)
		}
	}
	ungated := func(p *document.Plan) { change(p); p.NoGates, p.Environment = true, "qa" }
	settings, err := settle(nil, handed(planned(ungated), env{"config": "none"}))
	if err != nil || !settings.Request.NoGates || settings.Request.TargetEnv != "qa" || detail(settings.Request.Items) != want {
		t.Errorf("request is %+v, error %v", settings.Request, err)
	}
}

// Several images, and the tags that their environment owns.
func TestApplyARelease(t *testing.T) {
	release := func(p *document.Plan) {
		p.Promotions[0].Image = "app"
		worker := p.Promotions[0]
		worker.Image, worker.Repository = "worker", "registry.acme.example/prod/worker"
		worker.From = &document.Held{Environment: "staging", Reference: "ghcr.io/acme/worker:staging"}
		p.Promotions = append(p.Promotions, worker)
	}
	settings, err := settle(fleet(), handed(planned(release), nil))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(settings.Request.Items); n != 2 || settings.Request.Items[1].Image != "worker" || settings.Request.Items[1].From.Repository.Name() != "ghcr.io/acme/worker" {
		t.Errorf("items are %s", detail(settings.Request.Items))
	}
	crossed := func(p *document.Plan) { release(p); p.Promotions[1].Image = "app" }
	_, err = settle(fleet(), handed(planned(crossed), nil))
	expectDenial(t, err, `the repository "registry.acme.example/prod/worker"`)
}

func expectDenial(t *testing.T, err error, want ...string) {
	t.Helper()
	var denied *DeniedError
	if !errors.As(err, &denied) {
		t.Fatalf("error is %v, want a denial", err)
	}
	expectText(t, denied.Message, want...)
	if denied.Hint == "" || strings.ContainsAny(denied.Message, "\n\x1b") {
		t.Errorf("denial is %q, hint %q", denied.Message, denied.Hint)
	}
}

func TestDeniedPlans(t *testing.T) {
	moved := acme()
	moved.Digest = digestB
	first := func(change func(*document.PlannedPromotion)) func(*document.Plan) {
		return func(p *document.Plan) { change(&p.Promotions[0]) }
	}
	tests := []struct {
		name   string
		config *config.Config
		change func(*document.Plan)
		env    env
		want   []string
	}{
		{"expired", acme(), func(p *document.Plan) { p.Expires = now.Add(-time.Second) }, nil, []string{"expired at 2026-11-22 14:29:59 UTC; it is 2026-11-22 14:30:00 UTC"}},
		{"from the future", acme(), func(p *document.Plan) { p.Created = now.Add(maxSkew + time.Second) }, nil, []string{"created at 2026-11-22 14:35:01 UTC, which has not come yet"}},
		{"config changed", moved, nil, nil, []string{"the config changed", ".github/promotion.yml has the digest " + digestB, digestA}},
		{"made without gates", acme(), func(p *document.Plan) { p.NoGates = true }, nil, []string{"made with config: none", "applied with the config .github/promotion.yml"}},
		{"applied without gates", nil, nil, env{"config": "none"}, []string{"made without config: none"}},
		{"environment without config", acme(), func(p *document.Plan) { p.Config = nil }, nil, []string{"names no config"}},
		{"another repository", acme(), first(func(p *document.PlannedPromotion) { p.Repository = "evil.example/x" }), nil, []string{`the repository "evil.example/x", which is not what .github/promotion.yml says`}},
		{"a fixed tag as a moving one", stricter(), first(func(p *document.PlannedPromotion) { p.Tags[2].Fixed = false; p.Tags = p.Tags[2:3] }), nil, []string{"release-20261122"}},
		{"a moving tag that nobody owns", stricter(), first(func(p *document.PlannedPromotion) { p.Tags[0].Name = "qa" }), nil, []string{`the tag "registry.acme.example/prod/app:qa"`}},
		{"an image of no name", acme(), first(func(p *document.PlannedPromotion) { p.Image = "x\x1b" }), nil, []string{`the image "x\x1b"`}},
		{"nothing before it", acme(), first(func(p *document.PlannedPromotion) { p.From = nil }), nil, []string{"another environment before it"}},
		{"another before it", acme(), first(func(p *document.PlannedPromotion) { p.From.Environment = "dev" }), nil, []string{"another environment before it"}},
		{"another tag before it", acme(), first(func(p *document.PlannedPromotion) { p.From.Reference = "ghcr.io/acme/app:dev" }), nil, []string{"another environment before it"}},
		{"another repository before it", acme(), first(func(p *document.PlannedPromotion) { p.From.Reference = "ghcr.io/acme/ap:staging" }), nil, []string{"another environment before it"}},
		{"a tag of another environment", shared(), first(func(p *document.PlannedPromotion) {
			p.Repository, p.Tags = "ghcr.io/acme/app", []document.PlannedTag{{Name: "staging", Fixed: true}}
		}), nil, []string{`the tag "ghcr.io/acme/app:staging"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(tt.config, handed(planned(tt.change), tt.env))
			expectDenial(t, err, tt.want...)
		})
	}
}

// stricter has no moving tag of the image's label.
func stricter() *config.Config {
	c := acme()
	c.Environments[2].Tags = templates("production")
	return c
}

// shared has all environments in one repository.
func shared() *config.Config {
	c := acme()
	c.Environments[2].Repository = "ghcr.io/acme/app"
	return c
}

func TestPlanFaults(t *testing.T) {
	first := func(change func(*document.PlannedPromotion)) document.Plan {
		return planned(func(p *document.Plan) { change(&p.Promotions[0]) })
	}
	packed := document.Pack(planned(nil).Encode())
	tests := []struct {
		name  string
		env   env
		input string
		want  []string
	}{
		{"no plan", env{"mode": "apply"}, "plan", []string{"nothing, but apply needs a plan", "mode: plan"}},
		{"no plan and no digest", env{"mode": "apply", "plan": "@"}, "plan", []string{"nothing, but apply needs a plan"}},
		{"a digest alone", env{"mode": "apply", "plan": "@" + digestA}, "plan", []string{"nothing, but apply needs a plan"}},
		{"an empty digest", env{"mode": "apply", "plan": packed + "@"}, "plan", []string{"an empty digest after @"}},
		{"a bad digest", env{"mode": "apply", "plan": packed + "@sha256:12"}, "plan", []string{`digest "sha256:12" after the plan`}},
		{"an upper-case digest", env{"mode": "apply", "plan": packed + "@" + strings.Replace(digestA, "a", "A", 1)}, "plan", []string{"64 lower-case"}},
		{"a digest of no kind", env{"mode": "apply", "plan": packed + "@x"}, "plan", []string{`digest "x" after the plan`}},
		{"plan with another mode", good(env{"mode": "plan", "plan": packed}), "plan", []string{"a plan together with mode: plan"}},
		{"plan without a mode", good(env{"plan": packed}), "plan", []string{"a plan together with mode: promote"}},
		{"cut", env{"mode": "apply", "plan": packed[:len(packed)-9]}, "plan", []string{"text that is no whole plan"}},
		{"no plan in it", env{"mode": "apply", "plan": document.Pack([]byte(`{"schema":"x"}`))}, "plan", []string{"text that is no plan"}},
		{"JSON", env{"mode": "apply", "plan": "{}"}, "plan", []string{"neither a packed plan nor a path"}},
		{"no file", env{"mode": "apply", "plan": "plan.json"}, "plan", []string{`"plan.json", a file that is not in /`, "actions/download-artifact"}},
		{"source", handed(planned(nil), env{"source": "a.io/x:1"}), "source", []string{`"a.io/x:1" together with mode: apply`}},
		{"digest", handed(planned(nil), env{"digest": digestA}), "digest", []string{"together with mode: apply"}},
		{"metadata", handed(planned(nil), env{"metadata": "{}"}), "metadata", []string{"together with mode: apply"}},
		{"target", handed(planned(nil), env{"target": "x"}), "target", []string{"together with mode: apply"}},
		{"fixed-tags", handed(planned(nil), env{"fixed-tags": "x"}), "fixed-tags", []string{"together with mode: apply"}},
		{"images", handed(planned(nil), env{"images": "x"}), "images", []string{"together with mode: apply"}},
		{"attachments", handed(planned(nil), env{"attachments": "none"}), "attachments", []string{"together with mode: apply"}},
		{"verify", handed(planned(nil), env{"verify": "content"}), "verify", []string{"together with mode: apply"}},
		{"another environment", handed(planned(nil), env{"target-env": "staging"}), "target-env", []string{`"staging", but the plan is for "production"`}},
		{"an environment for none", handed(planned(func(p *document.Plan) { p.Environment = "" }), env{"target-env": "staging"}), "target-env", []string{"the plan is for no environment"}},
		{"an unknown environment", handed(planned(func(p *document.Plan) { p.Environment = "prod" }), nil), "target-env", []string{`"prod"; expected an environment`}},
		{"override of what cannot be", handed(planned(nil), env{"override-gates": "deny", "reason": "x"}), "override-gates", []string{`"deny"; expected gates that`}},
		{"override without a reason", handed(planned(nil), env{"override-gates": "freeze"}), "reason", []string{"override-gates is given"}},
		{"override for none", handed(planned(func(p *document.Plan) { p.Environment = "" }), env{"override-gates": "freeze", "reason": "x"}), "override-gates", []string{"no environment"}},
		{"verify of the plan", handed(planned(func(p *document.Plan) { p.Verify = "" }), nil), "plan", []string{`verify is ""`}},
		{"source of the plan", handed(first(func(p *document.PlannedPromotion) { p.Source.Repository = "a.io/../x" }), nil), "plan", []string{`a source that cannot be: repository "a.io/../x"`}},
		{"another source than was asked for", handed(first(func(p *document.PlannedPromotion) { p.Source.Reference = "ghcr.io/acme/other:1" }), nil), "plan", []string{`a source that cannot be: "ghcr.io/acme/other:1" of the repository "ghcr.io/acme/app"`}},
		{"tag of its source", handed(first(func(p *document.PlannedPromotion) { p.Source.Tag = "\x1b" }), nil), "plan", []string{"a source that cannot be", `\x1b`}},
		{"digest of the plan", handed(first(func(p *document.PlannedPromotion) { p.Digest = "sha512:" + strings.Repeat("a1", 64) }), nil), "plan", []string{"an image that cannot be: digest"}},
		{"target of the plan", handed(first(func(p *document.PlannedPromotion) { p.Repository = "A/b" }), nil), "plan", []string{"a target that cannot be"}},
		{"tag of the plan", handed(first(func(p *document.PlannedPromotion) { p.Tags[0].Name = "{{version}}" }), nil), "plan", []string{"a tag that cannot be"}},
		{"a tag that an environment owns", handed(planned(func(p *document.Plan) {
			p.Environment, p.Config, p.Promotions[0].Tags = "", nil, p.Promotions[0].Tags[:1]
		}), nil),
			"plan", []string{`"registry.acme.example/prod/app:production", which environment "production" owns`}},
	}
	t.Chdir(t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(acme(), tt.env)
			fault := expectOneFault(t, err)
			if fault.Input != tt.input || fault.Expected == "" || fault.Example == "" {
				t.Errorf("fault is %+v, want one in %s", fault, tt.input)
			}
			expectText(t, fault.Message(), tt.want...)
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x1b\r") {
				t.Errorf("error is %q", err)
			}
		})
	}
}

func TestPlanWithoutItsConfig(t *testing.T) {
	_, err := settle(nil, handed(planned(nil), nil))
	fault := expectOneFault(t, err)
	if fault.Input != "plan" {
		t.Errorf("fault is %+v", fault)
	}
	expectText(t, fault.Message(), "made with the config", "no .github/promotion.yml in /", "actions/checkout")
}

func TestPlanAndItsDigest(t *testing.T) {
	raw := planned(nil).Encode()
	digest := document.DigestOf(raw)
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	files := map[string]string{"plan.json": string(raw) + "\n", "plan.txt": document.Pack(raw) + "\n", "at@plan": string(raw), "large": strings.Repeat(" ", maxPlanFile+1)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "plan.json"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	at := func(plan string) env { return env{"mode": "apply", "plan": plan, "GITHUB_WORKSPACE": dir} }
	for _, plan := range []string{document.Pack(raw), "plan.json", "plan.txt", "at@plan", filepath.Join(dir, "plan.json")} {
		for _, suffix := range []string{"", "@" + digest} {
			settings, err := settle(acme(), at(plan+suffix))
			if err != nil || len(settings.Request.Items) != 1 {
				t.Errorf("plan %.40s%s: %v", plan, suffix, err)
			}
		}
		_, err := settle(acme(), at(plan+"@"+digestA))
		expectDenial(t, err, "the plan is not the one that was approved", "its digest is "+digest+", expected "+digestA)
	}
	for plan, want := range map[string]string{"large": fmt.Sprintf("more than %d bytes", maxPlanFile), "link": "a symbolic link", dir: "a directory"} {
		_, err := settle(acme(), at(plan))
		expectText(t, expectOneFault(t, err).Given, want)
	}
}

// A plan that was altered in any byte is refused: by its digest, or as no plan.
func TestAlteredPlan(t *testing.T) {
	raw := planned(nil).Encode()
	digest := document.DigestOf(raw)
	path := filepath.Join(t.TempDir(), "plan.json")
	for i := range raw {
		altered := []byte(string(raw))
		altered[i] ^= 1
		if err := os.WriteFile(path, altered, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := settle(acme(), env{"mode": "apply", "plan": path + "@" + digest}); err == nil {
			t.Errorf("byte %d altered: %s", i, altered)
		}
	}
}
