package input

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/template"
)

func templates(texts ...string) []template.Template {
	var list []template.Template
	for _, text := range texts {
		t, err := template.Parse(text)
		if err != nil {
			panic(err)
		}
		list = append(list, t)
	}
	return list
}

// acme is the config of one image: dev, staging and production.
func acme() *config.Config {
	dev := &config.Environment{Name: "dev", Repository: "ghcr.io/acme/app", Tags: templates("dev", "latest")}
	staging := &config.Environment{Name: "staging", From: dev, Repository: "ghcr.io/acme/app", Tags: templates("{{env}}")}
	production := &config.Environment{
		Name: "production", From: staging, Repository: "registry.acme.example/prod/app", Tags: templates("production", "{{version}}"),
		FixedTags: templates("release-{{date 'YYYYMMDD'}}"), Gates: gate.Policy{MaxAge: time.Hour},
		ValidFor: time.Minute, Overridable: []string{gate.Freeze, gate.Checks},
	}
	return &config.Config{Environments: []*config.Environment{dev, staging, production}, Digest: digestA}
}

// fleet is the config of several images.
func fleet() *config.Config {
	c := acme()
	c.Images = []string{"app", "worker", "web"}
	c.Environments[0].Repository, c.Environments[1].Repository = "ghcr.io/acme/{{image}}", "ghcr.io/acme/{{image}}"
	c.Environments[2].Repository = "registry.acme.example/prod/{{image}}"
	return c
}

// settle reads inputs and completes the request with a config; nil: there is no file.
func settle(c *config.Config, e env) (*Settings, error) {
	settings, err := Read(nil, e.variables(), now)
	if err != nil {
		return settings, err
	}
	settings.reader.parse = func(string, []byte) (*config.Config, error) { return c, nil }
	_, err = settings.Configure(context.Background(), func(context.Context, string, string) ([]byte, string, error) {
		if c == nil {
			return nil, "", fs.ErrNotExist
		}
		return nil, "", nil
	})
	return settings, err
}

// detail is show with the images' names and what must hold them already.
func detail(items []promote.Item) string {
	var shown []string
	for _, i := range items {
		text := show([]promote.Item{i})
		if i.Image != "" {
			text = i.Image + " " + text
		}
		if i.From != nil {
			text += fmt.Sprintf(" from %s %s:%s", i.From.Environment, i.From.Repository.Name(), i.From.Tag)
		}
		shown = append(shown, text)
	}
	return strings.Join(shown, "; ")
}

func TestEnvironments(t *testing.T) {
	const (
		built    = `{"containerimage.digest": "DIGEST", "image.name": "ghcr.io/acme/app:1,docker.io/acme/app:1"}`
		prodTags = "[production {{version}} release-{{date 'YYYYMMDD'}}!]"
		fromApp  = " from staging ghcr.io/acme/app:staging"
	)
	prod := func(image string) string {
		return image + " ghcr.io/acme/" + image + ":staging => registry.acme.example/prod/" + image + prodTags + " from staging ghcr.io/acme/" + image + ":staging"
	}
	tests := []struct {
		name   string
		config *config.Config
		env    env
		want   string
	}{
		{"what the one before holds", acme(), env{"target-env": "production"},
			"ghcr.io/acme/app:staging => registry.acme.example/prod/app" + prodTags + fromApp},
		{"its first tag, rendered with its own name", acme(), env{"target-env": "staging"}, "ghcr.io/acme/app:dev => ghcr.io/acme/app[{{env}}] from dev ghcr.io/acme/app:dev"},
		{"a digest that it must be", acme(), env{"target-env": "staging", "digest": digestA}, "ghcr.io/acme/app:dev@" + digestA + " => ghcr.io/acme/app[{{env}}] from dev ghcr.io/acme/app:dev"},
		{"fixed tags of the input too", acme(), env{"target-env": "staging", "fixed-tags": "v1, ghost"}, "ghcr.io/acme/app:dev => ghcr.io/acme/app[{{env}} v1! ghost!] from dev ghcr.io/acme/app:dev"},
		{"a source", acme(), env{"target-env": "production", "source": "ghcr.io/acme/app@" + digestA},
			"ghcr.io/acme/app:@" + digestA + " => registry.acme.example/prod/app" + prodTags + fromApp},
		{"a source from elsewhere", acme(), env{"target-env": "dev", "source": "build.io/x", "digest": digestA}, "build.io/x:@" + digestA + " => ghcr.io/acme/app[dev latest]"},
		{"metadata", acme(), env{"target-env": "dev", "metadata": strings.ReplaceAll(built, "DIGEST", digestA)}, "ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[dev latest]"},
		{"all images", fleet(), env{"target-env": "production"}, prod("app") + "; " + prod("worker") + "; " + prod("web")},
		{"some images", fleet(), env{"target-env": "production", "images": "web, app,web"}, prod("web") + "; " + prod("app")},
		{"one image and its digest", fleet(), env{"target-env": "staging", "images": "web", "digest": digestA},
			"web ghcr.io/acme/web:dev@" + digestA + " => ghcr.io/acme/web[{{env}}] from dev ghcr.io/acme/web:dev"},
		{"an image's source by from's repository", fleet(), env{"target-env": "staging", "source": "ghcr.io/acme/worker:1"},
			"worker ghcr.io/acme/worker:1 => ghcr.io/acme/worker[{{env}}] from dev ghcr.io/acme/worker:dev"},
		{"an image's source by another repository", fleet(), env{"target-env": "staging", "source": "registry.acme.example/prod/worker:1"},
			"worker registry.acme.example/prod/worker:1 => ghcr.io/acme/worker[{{env}}] from dev ghcr.io/acme/worker:dev"},
		{"an image's source by its path", fleet(), env{"target-env": "dev", "source": "build.io/x/worker:1\nbuild.io/web:2"},
			"worker build.io/x/worker:1 => ghcr.io/acme/worker[dev latest]; web build.io/web:2 => ghcr.io/acme/web[dev latest]"},
		{"sources and images", fleet(), env{"target-env": "dev", "images": "web", "source": "build.io/web:2"}, "web build.io/web:2 => ghcr.io/acme/web[dev latest]"},
		{"a config at a ref", acme(), env{"target-env": "staging", "config": "ci/x.yml@main"}, "ghcr.io/acme/app:dev => ghcr.io/acme/app[{{env}}] from dev ghcr.io/acme/app:dev"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := settle(tt.config, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if got := detail(settings.Request.Items); got != tt.want {
				t.Errorf("items are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestEnvironmentFaults(t *testing.T) {
	inconstant := acme()
	inconstant.Environments[1].Tags = templates("{{version}}", "staging")
	bare := acme()
	bare.Environments[2].Overridable = nil
	tests := []struct {
		name   string
		config *config.Config
		env    env
		input  string
		want   []string
	}{
		{"unknown environment", acme(), env{"target-env": "stagin"}, "target-env", []string{`given "stagin"; expected an environment of .github/promotion.yml: dev, staging, production; the closest is staging`}},
		{"hostile environment", acme(), env{"target-env": "\x1b[31m\u202ex"}, "target-env", []string{`"\x1b[31m\u202ex"`}},
		{"unknown environment at a ref", acme(), env{"target-env": "qa", "config": "x.yml@main"}, "target-env", []string{"an environment of x.yml at main: dev"}},
		{"no source and no from", acme(), env{"target-env": "dev"}, "source", []string{"nothing, and environment dev has no `from`", "metadata"}},
		{"from has no lasting tag", inconstant, env{"target-env": "production"}, "target-env", []string{`whose first tag is "{{version}}", which does not name what it holds`}},
		{"target as well", acme(), env{"target-env": "staging", "target": "x"}, "target-env", []string{`"staging" together with target`}},
		{"source without a tag", acme(), env{"target-env": "dev", "source": "ghcr.io/acme/app"}, "source", []string{"without a tag or a digest"}},
		{"sources for one image", acme(), env{"target-env": "dev", "source": "a.io/x:1\na.io/y:1"}, "source", []string{`"a.io/x:1" and "a.io/y:1" for one image`}},
		{"sources for one of several images", fleet(), env{"target-env": "dev", "source": "a.io/web:1\na.io/x/web:1"}, "source", []string{`for one image "web"`}},
		{"source of no image", fleet(), env{"target-env": "dev", "source": "a.io/db:1"}, "source", []string{`"a.io/db:1", whose repository belongs to no environment`, "ghcr.io/acme/{{image}}", "app, worker, web"}},
		{"source of an image left out", fleet(), env{"target-env": "dev", "images": "app", "source": "a.io/web:1"}, "source", []string{`the image "web", which images leaves out`}},
		{"image without a source", fleet(), env{"target-env": "dev", "images": "app,web", "source": "a.io/web:1"}, "images", []string{`"app", for which source has no image`}},
		{"metadata of no image", fleet(), env{"target-env": "dev", "metadata": `{"image.name": "a.io/db:1", "containerimage.digest": "` + digestA + `"}`}, "metadata", []string{"belongs to no environment"}},
		{"unknown image", fleet(), env{"target-env": "production", "images": "app,wep"}, "images", []string{`"wep"; expected images of .github/promotion.yml: app, worker, web; the closest is web`}},
		{"images without images", acme(), env{"target-env": "production", "images": "app"}, "images", []string{"has no `images`"}},
		{"images without target-env", acme(), good(env{"images": "app", "target": "qa"}), "images", []string{"without target-env"}},
		{"images without config", nil, env{"source": "a.io/x:1", "config": "none", "target-env": "x", "images": "app"}, "images", []string{"together with `config: none`"}},
		{"digest for several images", fleet(), env{"target-env": "production", "digest": digestA}, "digest", []string{"one digest for 3 sources"}},
		{"fixed tag that the environment moves", acme(), env{"target-env": "production", "fixed-tags": "production"}, "fixed-tags", []string{"moving tag as well"}},
		{"fixed tag of another environment", acme(), env{"target-env": "staging", "fixed-tags": "dev"}, "fixed-tags", []string{`"ghcr.io/acme/app:dev", which environment "dev" owns`}},
		{"tag of the config without a value", acme(), env{"target-env": "dev", "source": "ghcr.io/acme/app:1", "fixed-tags": "{{run-number}}"}, "fixed-tags", []string{"GITHUB_RUN_NUMBER"}},

		{"override of an unknown gate", acme(), env{"target-env": "production", "override-gates": "freze", "reason": "x"}, "override-gates", []string{`"freze"; expected gates: from, soak, platforms,`, "the closest is freeze"}},
		{"override without a reason", acme(), env{"target-env": "production", "override-gates": "freeze"}, "reason", []string{"override-gates is given"}},
		{"override of what cannot be", acme(), env{"target-env": "production", "override-gates": "freeze,deny", "reason": "x"}, "override-gates", []string{`"deny"; expected gates that environment production lets be overridden (overridable in the config): freeze, checks, rolled-back`}},
		{"override where nothing can be", bare, env{"target-env": "production", "override-gates": "freeze", "reason": "x"}, "override-gates", []string{`"freeze"; expected gates that environment production lets be overridden (overridable in the config): rolled-back`}},
		{"record in words", acme(), env{"target-env": "production", "record": "require"}, "record", []string{`"require"; expected one of required, optional, none; the closest is required`}},
		{"override without target-env", acme(), good(env{"target": "qa", "override-gates": "freeze", "reason": "x"}), "override-gates", []string{"without target-env"}},
		{"override without config", nil, env{"source": "a.io/x:1", "config": "none", "target-env": "x", "override-gates": "freeze", "reason": "x"}, "override-gates", []string{"together with `config: none`"}},

		{"no config", nil, env{"target-env": "production"}, "target-env", []string{`"production", whose config file is .github/promotion.yml, which was looked for and is not there: no .github/promotion.yml in /`, "actions/checkout must come first", "config: .github/promotion.yml@main"}},
		{"no config at the ref", nil, env{"target-env": "production", "config": "x.yml@main"}, "target-env", []string{"no x.yml at main in the repository at that ref"}},
		{"no config where one was named", nil, good(env{"config": "x.yml"}), "config", []string{`"x.yml", which was looked for`}},
		{"config with an empty ref", nil, good(env{"config": "x.yml@"}), "config", []string{`"x.yml@", whose ref is empty`}},
		{"config without a path", nil, good(env{"config": "@main"}), "config", []string{`"@main" without a path`}},
		{"config outside of the repository", nil, good(env{"config": "../x.yml@main"}), "config", []string{"not one within the repository"}},
		{"config from the root", nil, good(env{"config": "/x.yml@main"}), "config", []string{"not one within the repository"}},
		{"config with a line end", nil, good(env{"config": "x\ny"}), "config", []string{`"x\ny", which is no path`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(tt.config, tt.env)
			fault := expectOneFault(t, err)
			if fault.Input != tt.input || fault.Given == "" || fault.Expected == "" || fault.Example == "" {
				t.Errorf("fault is %+v, want one in %s with every field", fault, tt.input)
			}
			expectText(t, fault.Message()+fault.Hint(), tt.want...)
		})
	}
}

// TestRecording: an environment of the config is promoted to with a record or not at all, whoever names
// it, unless the input says otherwise.
func TestRecording(t *testing.T) {
	kept := acme()
	kept.Environments[2].Keep, kept.Environments[2].AttachRecords = 5, true
	tests := []struct {
		name   string
		config *config.Config
		env    env
		want   promote.Recording
		keep   int
	}{
		{"an environment", kept, env{"target-env": "production"}, promote.RecordRequired, 5},
		{"an environment that a plan names", kept, handed(planned(nil), nil), promote.RecordRequired, 5},
		{"a rollback", kept, back(nil), promote.RecordRequired, 5},
		{"a tag", nil, good(env{"target": "qa"}), promote.RecordOptional, 0},
		{"a tag beside a config", kept, good(env{"target": "qa"}), promote.RecordOptional, 0},
		{"a tag that is rolled back", nil, back(env{"target-env": "", "target": "a.io/x:qa"}), promote.RecordOptional, 0},
		{"a tag that a plan names", nil, handed(planned(func(p *document.Plan) {
			p.Environment, p.Config, p.Promotions[0].From = "", nil, nil
		}), nil), promote.RecordOptional, 0},
		{"no config", nil, env{"source": "a.io/x:1", "config": "none", "target-env": "x"}, promote.RecordOptional, 0},
	}
	for _, tt := range tests {
		for given, want := range map[string]promote.Recording{
			"": tt.want, "required": promote.RecordRequired, "optional": promote.RecordOptional, "none": promote.RecordNone,
		} {
			e := env{"record": given}
			for k, v := range tt.env {
				e[k] = v
			}
			settings, err := settle(tt.config, e)
			if err != nil {
				t.Errorf("%s, record %q: %v", tt.name, given, err)
				continue
			}
			if r := settings.Request; r.Record != want || r.Keep != tt.keep || r.AttachRecords != (tt.keep > 0) {
				t.Errorf("%s, record %q: %s, keeps %d, attaches %v; want %s and %d", tt.name, given, r.Record, r.Keep, r.AttachRecords, want, tt.keep)
			}
		}
	}
}

func TestGatesOfTheEnvironment(t *testing.T) {
	settings, err := settle(acme(), env{"target-env": "production", "override-gates": "checks\nfreeze,checks", "reason": "INC-1", "config": "ci/x.yml@main"})
	if err != nil {
		t.Fatal(err)
	}
	r := settings.Request
	want := &promote.Gates{Policy: gate.Policy{MaxAge: time.Hour}, Overridable: []string{"freeze", "checks", "rolled-back"}, Overrides: []string{"checks", "freeze"}}
	if !reflect.DeepEqual(r.Gates, want) || r.ValidFor != time.Minute || r.NoGates || r.TargetEnv != "production" || r.Mode != promote.Promote {
		t.Errorf("gates are %+v, valid for %v; request is %+v", r.Gates, r.ValidFor, r)
	}
	if want := (document.Config{Path: "ci/x.yml", Ref: "main", Digest: digestA}); r.Config == nil || *r.Config != want {
		t.Errorf("config is %+v", r.Config)
	}
	settings, err = settle(acme(), good(env{"target": "qa"}))
	if err != nil || settings.Request.Gates != nil || settings.Request.Config == nil {
		t.Errorf("without an environment: gates %+v, config %+v, error %v", settings.Request.Gates, settings.Request.Config, err)
	}
	settings, err = settle(nil, good(nil))
	if err != nil || settings.Request.Config != nil || settings.Request.NoGates {
		t.Errorf("without a file: config %+v, error %v", settings.Request.Config, err)
	}
}

func TestRequiredPlan(t *testing.T) {
	c := acme()
	c.Environments[2].RequirePlan = true
	for _, dry := range []string{"true", "false"} {
		_, err := settle(c, env{"target-env": "production", "dry-run": dry})
		var denied *DeniedError
		if !errors.As(err, &denied) {
			t.Fatalf("error is %v, want a denial", err)
		}
		if want := "environment production takes only approved plans (require-plan in .github/promotion.yml)"; denied.Error() != want {
			t.Errorf("message is %s", denied.Message)
		}
		expectText(t, denied.Hint, "mode: plan", "mode: apply")
	}
	if _, err := settle(c, env{"target-env": "production", "mode": "plan"}); err != nil {
		t.Errorf("a plan is refused: %v", err)
	}
	if _, err := settle(c, env{"target-env": "staging"}); err != nil {
		t.Errorf("another environment is refused: %v", err)
	}
	_, err := settle(c, env{"target-env": "production", "images": "x"}) // what is wrong comes first
	expectOneFault(t, err)
}

// A tag that an environment owns is promoted only through target-env.
func TestOwnedTags(t *testing.T) {
	tests := []struct {
		name   string
		config *config.Config
		env    env
		input  string // empty: let through
		owner  string
	}{
		{"moving", acme(), env{"source": "a.io/x:1", "target": "registry.acme.example/prod/app:production"}, "target", "production"},
		{"bare", acme(), env{"source": "ghcr.io/acme/app:1", "target": "staging"}, "target", "staging"},
		{"second tag", acme(), env{"source": "ghcr.io/acme/app:1", "target": "qa,latest"}, "target", "dev"},
		{"as a fixed tag", acme(), env{"source": "ghcr.io/acme/app:1", "target": "qa", "fixed-tags": "dev"}, "fixed-tags", "dev"},
		{"fixed, by its pattern", acme(), env{"source": "a.io/x:1", "target": "registry.acme.example/prod/app:release-20200101"}, "target", "production"},
		{"by the source's tag", acme(), env{"source": "ghcr.io/acme/app:dev", "target": "{{source-tag}}"}, "target", "dev"},
		{"in an arrow", acme(), env{"target": "a.io/x:1 => ghcr.io/acme/app:dev"}, "target", "dev"},
		{"by a label", acme(), env{"source": "ghcr.io/acme/app:1", "target": "{{version}}"}, "target", "dev"},
		{"by a part of a label", acme(), env{"source": "ghcr.io/acme/app:1", "target": "d{{version}}"}, "target", "dev"},
		{"of another environment by a label", acme(), env{"target-env": "staging", "fixed-tags": "{{version}}"}, "fixed-tags", "dev"},
		{"of a later environment by a label", acme(), env{"target-env": "dev", "source": "a.io/x:1", "fixed-tags": "{{version}}"}, "fixed-tags", "staging"},
		{"of one of several images", fleet(), env{"source": "a.io/x:1", "target": "ghcr.io/acme/worker:staging"}, "target", "staging"},
		{"not by a label", acme(), env{"source": "ghcr.io/acme/app:1", "target": "v{{version}}"}, "", ""},
		{"not by a commit", acme(), env{"source": "ghcr.io/acme/app:1", "target": "{{revision}},{{digest}}"}, "", ""},
		{"another tag", acme(), env{"source": "ghcr.io/acme/app:1", "target": "qa"}, "", ""},
		{"another repository", acme(), env{"source": "a.io/x:1", "target": "production,dev,{{version}}"}, "", ""},
		{"without config", acme(), env{"source": "ghcr.io/acme/app:1", "target": "staging", "config": "none"}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(tt.config, tt.env)
			if tt.input == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			fault := expectOneFault(t, err)
			if fault.Input != tt.input {
				t.Errorf("fault is in %s, want %s", fault.Input, tt.input)
			}
			expectText(t, fault.Message()+fault.Hint(), `environment "`+tt.owner+`" owns`, "target-env: "+tt.owner)
		})
	}
}

func TestErrorsOfReading(t *testing.T) {
	settings, err := Read(nil, env{"target-env": "staging", "config": "x.yml@main"}.variables(), now)
	if err != nil {
		t.Fatal(err)
	}
	unreachable := errors.New("no route")
	_, err = settings.Configure(context.Background(), func(_ context.Context, path, ref string) ([]byte, string, error) {
		if path != "x.yml" || ref != "main" {
			t.Errorf("%s at %s is read", path, ref)
		}
		return nil, "", unreachable
	})
	var invalid *Error
	if !errors.Is(err, unreachable) || errors.As(err, &invalid) || !strings.Contains(err.Error(), "read the config: no route") {
		t.Errorf("error is %v", err)
	}

	// What is wrong with the file goes through as it is, with the notice.
	settings, _ = Read(nil, env{"target-env": "staging"}.variables(), now)
	broken := &config.Error{Path: "x", Faults: []config.Fault{{Line: 1}}}
	settings.reader.parse = func(path string, raw []byte) (*config.Config, error) {
		if path != config.Default || string(raw) != "text" {
			t.Errorf("parsed %s: %s", path, raw)
		}
		return nil, broken
	}
	notices, err := settings.Configure(context.Background(), func(context.Context, string, string) ([]byte, string, error) { return []byte("text"), "beware", nil })
	if !errors.Is(err, broken) || len(notices) != 1 || notices[0] != "beware" {
		t.Errorf("error is %v, notices %v", err, notices)
	}
}

// As many images as a config may have take no time worth speaking of.
func TestManyImages(t *testing.T) {
	c := fleet()
	c.Images = nil
	for i := range 500 {
		c.Images = append(c.Images, fmt.Sprintf("image-%d", i))
	}
	defer time.AfterFunc(time.Minute, func() { panic("settled for longer than a minute") }).Stop()
	settings, err := settle(c, env{"target-env": "production"})
	if err != nil || len(settings.Request.Items) != 500 {
		t.Fatalf("%d items, error %v", len(settings.Request.Items), err)
	}
}
