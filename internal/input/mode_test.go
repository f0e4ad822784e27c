package input

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// back is a rollback without faults.
func back(changes env) env {
	e := env{"mode": "rollback", "target-env": "production", "reason": "INC-1"}
	for k, v := range changes {
		e[k] = v
	}
	return e
}

func hashOf(t *testing.T, text string) v1.Hash {
	t.Helper()
	digest, err := v1.NewHash(text)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestRollback(t *testing.T) {
	labelled := acme()
	labelled.Environments[2].Tags = templates("production", "{{source-tag}}")
	labelled.Environments[2].FixedTags = templates("r-{{run-number}}", "v-{{source-tag}}", "release-{{date 'YYYYMMDD'}}")
	several := fleet()
	several.Environments[2].Tags = labelled.Environments[2].Tags
	own := func(image string) string {
		return "registry.acme.example/prod/" + image + ": => registry.acme.example/prod/" + image + "[production {{version}} release-{{date 'YYYYMMDD'}}!]"
	}
	const alone = "a.io/x: => a.io/x[qa]"
	tests := []struct {
		name    string
		config  *config.Config
		env     env
		want    string
		notices int
	}{
		{"an environment", acme(), back(nil), own("app"), 0},
		{"one that has none before it", acme(), back(env{"target-env": "dev"}), "ghcr.io/acme/app: => ghcr.io/acme/app[dev latest]", 0},
		{"all images", fleet(), back(nil), "app " + own("app") + "; worker " + own("worker") + "; web " + own("web"), 0},
		{"some images", fleet(), back(env{"images": "web"}), "web " + own("web"), 0},
		{"tags that nothing is known for", labelled, back(nil), "registry.acme.example/prod/app: => registry.acme.example/prod/app[production release-{{date 'YYYYMMDD'}}!]", 3},
		{"such tags of several images", several, back(env{"images": "app,web"}),
			"app " + strings.ReplaceAll(own("app"), " {{version}}", "") + "; web " + strings.ReplaceAll(own("web"), " {{version}}", ""), 1},
		{"a run's number", labelled, back(env{"GITHUB_RUN_NUMBER": "7"}),
			"registry.acme.example/prod/app: => registry.acme.example/prod/app[production r-{{run-number}}! release-{{date 'YYYYMMDD'}}!]", 2},
		{"a tag", nil, back(env{"target-env": "", "target": "a.io/x:qa"}), alone, 0},
		{"a tag beside a config", acme(), back(env{"target-env": "", "target": "a.io/x:qa"}), alone, 0},
		{"a tag without config", nil, back(env{"target-env": "", "target": "a.io/x:qa", "config": "none"}), alone, 0},
		{"a tag on Docker Hub", nil, back(env{"target-env": "", "target": "nginx:qa"}), "index.docker.io/library/nginx: => index.docker.io/library/nginx[qa]", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := settle(tt.config, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			r := settings.Request
			if got := detail(r.Items); got != tt.want {
				t.Errorf("items are\n%s\nwant\n%s", got, tt.want)
			}
			for _, i := range r.Items {
				if i.Source.Text != i.Source.Repository.Name() || i.Source.Digest != (v1.Hash{}) || i.From != nil {
					t.Errorf("item is %+v", i)
				}
			}
			if r.Mode != promote.Rollback || r.Reason != "INC-1" || r.TargetEnv != tt.env["target-env"] || r.To != (promote.To{Text: "previous"}) || r.Stages != nil || r.Query != (promote.Query{}) {
				t.Errorf("request is %+v", r)
			}
			if (r.Gates == nil) != (r.TargetEnv == "") || (r.Trespass == nil) != (tt.config == nil) {
				t.Errorf("gates are %+v, trespass known: %v", r.Gates, r.Trespass != nil)
			}
			notices := settings.reader.notices
			if len(notices) != tt.notices || len(notices) > 0 && !strings.Contains(strings.Join(notices, "\n"), "the tag {{source-tag}} of environment production is left alone") {
				t.Errorf("notices are %q", notices)
			}
		})
	}
}

func TestTagsLeftAloneAreToldOf(t *testing.T) {
	c := acme()
	c.Environments[2].FixedTags = templates("r-{{run-number}}")
	settings, err := Read(nil, back(nil).variables(), now)
	if err != nil {
		t.Fatal(err)
	}
	settings.reader.parse = func(string, []byte) (*config.Config, error) { return c, nil }
	notices, err := settings.Configure(t.Context(), func(context.Context, string, string) ([]byte, string, error) { return nil, "beware", nil })
	if err != nil || len(notices) != 2 || notices[0] != "beware" || !strings.Contains(notices[1], "the tag r-{{run-number}} of environment production is left alone") {
		t.Errorf("notices are %q, error %v", notices, err)
	}
}

// TestRollbackFromAShell names the mode first, as the runbook does.
func TestRollbackFromAShell(t *testing.T) {
	settings, err := Read([]string{"rollback", "--target-env=production", "--reason=INC-1", "--to", digestA, "--dry-run", "--verify=content"}, env{}.variables(), now)
	if err != nil {
		t.Fatal(err)
	}
	r := settings.Request
	if r.Mode != promote.Rollback || r.To != (promote.To{Text: digestA, Digest: hashOf(t, digestA)}) || !r.DryRun || r.Verify != transfer.Content {
		t.Errorf("request is %+v", r)
	}
}

func TestRollbackIsHeldToDenials(t *testing.T) {
	c := acme()
	deny := []gate.Denial{{Digest: digestB}}
	c.Environments[2].Gates.Deny, c.Environments[2].RequirePlan = deny, true
	settings, err := settle(c, back(env{"override-gates": "checks"}))
	if err != nil {
		t.Fatalf("an incident waits for a plan: %v", err)
	}
	want := &promote.Gates{Policy: gate.Policy{Deny: deny}, Overridable: []string{"freeze", "checks", "rolled-back"}, Overrides: []string{"checks"}}
	if got := settings.Request.Gates; !reflect.DeepEqual(got, want) {
		t.Errorf("gates are %+v, want %+v", got, want)
	}
	if c.Environments[2].Gates.MaxAge != time.Hour {
		t.Error("the config's own gates are changed")
	}
}

func TestTo(t *testing.T) {
	digest := hashOf(t, digestA)
	for text, want := range map[string]promote.To{
		"previous": {}, digestA: {Digest: digest}, "v1.4.1": {Tag: "v1.4.1"}, "sha256-x": {Tag: "sha256-x"}, "Previous": {Tag: "Previous"}, "abc": {Tag: "abc"},
	} {
		want.Text = text
		if got, f := parseTo(text); f != nil || got != want {
			t.Errorf("%s is %+v, %+v", text, got, f)
		}
	}
	settings, err := settle(acme(), back(env{"to": " v1 "}))
	if err != nil || settings.Request.To != (promote.To{Text: "v1", Tag: "v1"}) {
		t.Errorf("to is %+v, error %v", settings.Request.To, err)
	}
}

// holding are stages as lines of text.
func holding(stages []promote.Stage) string {
	var lines []string
	for _, s := range stages {
		line := fmt.Sprintf("%s/%s<%s %s %s%v", s.Environment, s.Image, s.From, s.Repository.Name(), s.Ledger, s.Tags)
		if s.Asked {
			line += " asked"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestStages(t *testing.T) {
	const (
		devStage     = "dev/< ghcr.io/acme/app dev[dev latest]"
		stagingStage = "staging/<dev ghcr.io/acme/app staging[staging]"
		prodStage    = "production/<staging registry.acme.example/prod/app production[production]"
		asked        = " asked"
	)
	inconstant := acme()
	inconstant.Environments[1].Tags = templates("{{version}}", "{{date 'YYYY'}}-{{env}}")
	tests := []struct {
		name   string
		config *config.Config
		env    env
		want   []string
	}{
		{"all", acme(), nil, []string{devStage + asked, stagingStage + asked, prodStage + asked}},
		{"one", acme(), env{"target-env": "staging"}, []string{devStage, stagingStage + asked, prodStage}},
		{"no lasting tag", inconstant, env{"target-env": "dev"}, []string{devStage + asked, "staging/<dev ghcr.io/acme/app staging[]", prodStage}},
		{"images", fleet(), env{"target-env": "production", "images": "web,app"}, []string{
			"dev/app< ghcr.io/acme/app dev[dev latest]", "dev/worker< ghcr.io/acme/worker dev[dev latest]", "dev/web< ghcr.io/acme/web dev[dev latest]",
			"staging/app<dev ghcr.io/acme/app staging[staging]", "staging/worker<dev ghcr.io/acme/worker staging[staging]", "staging/web<dev ghcr.io/acme/web staging[staging]",
			"production/app<staging registry.acme.example/prod/app production[production] asked",
			"production/worker<staging registry.acme.example/prod/worker production[production]",
			"production/web<staging registry.acme.example/prod/web production[production] asked",
		}},
		{"a tag", nil, env{"target": "a.io/x:qa"}, []string{"/< a.io/x qa[qa] asked"}},
		{"a tag beside a config", acme(), env{"target": "ghcr.io/acme/app:qa"}, []string{"/< ghcr.io/acme/app qa[qa] asked"}},
		{"a tag without config", acme(), env{"target": "ghcr.io/acme/app:dev", "config": "none"}, []string{"/< ghcr.io/acme/app dev[dev] asked"}},
	}
	for _, mode := range []promote.Mode{promote.History, promote.Audit} {
		for _, tt := range tests {
			t.Run(string(mode)+" of "+tt.name, func(t *testing.T) {
				e := env{"mode": string(mode)}
				for k, v := range tt.env {
					e[k] = v
				}
				settings, err := settle(tt.config, e)
				if err != nil {
					t.Fatal(err)
				}
				r := settings.Request
				if got, want := holding(r.Stages), strings.Join(tt.want, "\n"); got != want {
					t.Errorf("stages are\n%s\nwant\n%s", got, want)
				}
				if r.Mode != mode || r.Items != nil || r.Gates != nil || r.To != (promote.To{}) {
					t.Errorf("request is %+v", r)
				}
			})
		}
	}
	settings, err := settle(fleet(), env{"mode": "history", "images": "worker"})
	if err != nil || strings.Count(holding(settings.Request.Stages), asked) != 3 {
		t.Errorf("stages are\n%s\nerror %v", holding(settings.Request.Stages), err)
	}
}

func TestQuery(t *testing.T) {
	settings, err := settle(acme(), env{"mode": "history"})
	if err != nil || settings.Request.Query != (promote.Query{Limit: 50}) {
		t.Errorf("query is %+v, error %v", settings.Request.Query, err)
	}
	settings, err = settle(acme(), env{"mode": "history", "since": "12h", "limit": "0", "find": "ghcr.io/acme/app:1@" + digestA})
	if want := (promote.Query{Since: now.Add(-12 * time.Hour), Find: hashOf(t, digestA)}); err != nil || settings.Request.Query != want {
		t.Errorf("query is %+v, error %v", settings.Request.Query, err)
	}
	settings, err = settle(acme(), env{"mode": "audit"})
	if err != nil || settings.Request.Query != (promote.Query{}) {
		t.Errorf("request is %+v, error %v", settings.Request, err)
	}
}

func TestSince(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-01": "2026-11-01T00:00:00Z", "2026-11-22": "2026-11-22T00:00:00Z", "2026-11-01T08:00:00Z": "2026-11-01T08:00:00Z",
		"2026-11-22T16:30:00+02:00": "2026-11-22T14:30:00Z", "2026-11-01T08:00:00.5Z": "2026-11-01T08:00:00.5Z",
		"30d": "2026-10-23T14:30:00Z", "12h": "2026-11-22T02:30:00Z", "1h30m": "2026-11-22T13:00:00Z", "1d12h": "2026-11-21T02:30:00Z", "0s": "2026-11-22T14:30:00Z",
	} {
		got, f := parseSince(text, now)
		if f != nil || got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %s, %+v, want %s", text, got.Format(time.RFC3339Nano), f, want)
		}
	}
	if got, f := parseSince("", now); f != nil || !got.IsZero() {
		t.Errorf("nothing is %s, %+v", got, f)
	}
}

func TestModeFaults(t *testing.T) {
	hidden := acme()
	hidden.Environments[2].Tags = templates("{{source-tag}}")
	const owner = "production"
	history := func(changes env) env {
		e := env{"mode": "history", "target-env": "production"}
		for k, v := range changes {
			e[k] = v
		}
		return e
	}
	audit := func(changes env) env { e := history(changes); e["mode"] = "audit"; return e }
	tag := func(e env, target string) env { e["target-env"], e["target"] = "", target; return e }
	tests := []struct {
		name   string
		config *config.Config
		env    env
		input  string
		want   []string
	}{
		{"no reason", acme(), back(env{"reason": "  "}), "reason", []string{"nothing, but a rollback needs a reason", "reason: INC-1234"}},
		{"no reason, and an override", acme(), back(env{"reason": "", "override-gates": "freeze"}), "reason", []string{"a rollback needs a reason"}},
		{"nothing to roll back", acme(), back(env{"target-env": ""}), "target-env", []string{"nothing, and no target", "one registry/path:tag"}},
		{"both", acme(), back(env{"target": "a.io/x:1"}), "target-env", []string{`"production" together with target`}},
		{"unknown environment", acme(), back(env{"target-env": "prodution"}), "target-env", []string{"the closest is production"}},
		{"no config", nil, back(nil), "target-env", []string{"which was looked for and is not there: no .github/promotion.yml in /", "or target with one registry/path:tag in place of an environment"}},
		{"config none", nil, back(env{"config": "none"}), "target", []string{"nothing, and `config: none`", "without a config nothing says in which repository", "target: registry.acme.example/prod/app:production"}},
		{"only tags that nothing is known for", hidden, back(nil), "target-env", []string{"{{source-tag}}"}},
		{"unknown image", fleet(), back(env{"images": "wep"}), "images", []string{"the closest is web"}},
		{"override of what cannot be", acme(), back(env{"override-gates": "deny"}), "override-gates", []string{"lets be overridden (overridable in the config): freeze, checks, rolled-back"}},
		{"override for a tag", nil, tag(back(env{"override-gates": "freeze"}), "a.io/x:1"), "override-gates", []string{"without target-env"}},
		{"images for a tag", nil, tag(back(env{"images": "app"}), "a.io/x:1"), "images", []string{"without target-env"}},
		{"a tag that an environment owns", acme(), tag(back(nil), "registry.acme.example/prod/app:production"), "target", []string{`environment "production" owns`, "target-env: production"}},

		{"several tags", nil, tag(back(nil), "a.io/x:1,a.io/x:2"), "target", []string{`"a.io/x:1" and more; expected one registry/path:tag`, "mode: rollback"}},
		{"a bare tag", nil, tag(back(nil), "qa"), "target", []string{`"qa" without a repository`}},
		{"a repository", nil, tag(back(nil), "a.io/x"), "target", []string{`"a.io/x" without a tag`}},
		{"a template", nil, tag(back(nil), "a.io/x:{{version}}"), "target", []string{"which has a template in its tag"}},
		{"a digest", nil, tag(back(nil), "a.io/x@"+digestA), "target", []string{"which has a digest"}},
		{"an arrow", nil, tag(back(nil), "a.io/x:1=>a.io/x:2"), "target", []string{`repository "a.io/x:1=>a.io/x"`}},
		{"a ledger", nil, tag(history(nil), "a.io/x:promotion-ledger.tag.qa.a"), "target", []string{"a tag that the program keeps for itself"}},
		{"no reference", nil, tag(history(nil), "a.io/x:"), "target", []string{"whose tag is empty"}},

		{"to with a repository", acme(), back(env{"to": "registry.acme.example/prod/app:v1.4.1"}), "to", []string{"a whole reference", "here v1.4.1", "to: v1.4.1"}},
		{"to with a repository and a digest", acme(), back(env{"to": "registry.acme.example/prod/app:v1@" + digestA}), "to", []string{"here " + digestA, "to: sha256:"}},
		{"to with a name", acme(), back(env{"to": "app:v1"}), "to", []string{"to: v1"}},
		{"to as a repository", acme(), back(env{"to": "ghcr.io/acme/app"}), "to", []string{"a whole reference"}},
		{"to as a part of a digest", acme(), back(env{"to": "sha256:a1a1a1a1a1a1"}), "to", []string{"all 64 digits", "results"}},
		{"to of another kind", acme(), back(env{"to": "sha512:" + strings.Repeat("a1", 64)}), "to", []string{"64 lower-case"}},
		{"to in upper case", acme(), back(env{"to": "SHA256:" + strings.Repeat("A1", 32)}), "to", []string{"64 lower-case"}},
		{"to without sha256", acme(), back(env{"to": strings.Repeat("a1", 32)}), "to", []string{"sha256: before it", "to: sha256:a1a1"}},
		{"to that is no tag", acme(), back(env{"to": ".x y"}), "to", []string{`".x y"; expected previous, the digest`}},
		{"to with a template", acme(), back(env{"to": "{{version}}"}), "to", []string{`"{{version}}"`}},
		{"to as a tag of the ledger", acme(), back(env{"to": "promotion-ledger.env.production.a"}), "to", []string{"the digest of the record"}},
		{"to as a tag that keeps an image", acme(), back(env{"to": "promotion-keep.production.1"}), "to", []string{"or of the image"}},
		{"hostile to", acme(), back(env{"to": "a/\x1b[31m:\u202ex"}), "to", []string{`\x1b[31m:\u202ex`}},

		{"since in words", acme(), history(env{"since": "yesterday"}), "since", []string{`"yesterday"; expected a time such as 2026-11-01T08:00:00Z, a date`}},
		{"since without seconds", acme(), history(env{"since": "2026-11-01T08:00Z"}), "since", []string{"expected a time such as"}},
		{"since without a zone", acme(), history(env{"since": "2026-11-01T08:00:00"}), "since", nil},
		{"since with a short hour", acme(), history(env{"since": "2026-11-01T8:00:00Z"}), "since", nil},
		{"since with a comma", acme(), history(env{"since": "2026-11-01T08:00:00,5Z"}), "since", nil},
		{"since no such date", acme(), history(env{"since": "2026-02-30"}), "since", nil},
		{"since of no unit", acme(), history(env{"since": "30"}), "since", nil},
		{"since negative", acme(), history(env{"since": "-30d"}), "since", nil},
		{"since too long", acme(), history(env{"since": "999999999d"}), "since", nil},
		{"since tomorrow", acme(), history(env{"since": "2026-11-23"}), "since", []string{"which is still to come: it is 2026-11-22 14:30:00 UTC"}},
		{"since a moment ahead", acme(), history(env{"since": "2026-11-22T14:30:01Z"}), "since", []string{"still to come"}},
		{"limit negative", acme(), history(env{"limit": "-1"}), "limit", []string{`"-1"; expected a whole number; 0 lists everything`}},
		{"limit in words", acme(), history(env{"limit": "all"}), "limit", []string{"0 lists everything", "limit: 50"}},
		{"limit half", acme(), history(env{"limit": "1.5"}), "limit", nil},
		{"limit too large", acme(), history(env{"limit": "99999999999999999999"}), "limit", nil},
		{"find a tag", acme(), history(env{"find": "v1.4.2"}), "find", []string{`"v1.4.2", which is no digest`, "a tag has named other images too"}},
		{"find a reference", acme(), history(env{"find": "ghcr.io/acme/app:v1"}), "find", []string{"which is no digest"}},
		{"find a part", acme(), history(env{"find": "sha256:a1a1a1a1a1a1"}), "find", []string{"all 64 digits"}},
		{"find a part of a reference", acme(), history(env{"find": "ghcr.io/acme/app@sha256:a1"}), "find", []string{"all 64 digits"}},
		{"find nothing", acme(), history(env{"find": "ghcr.io/acme/app@"}), "find", []string{"an empty digest"}},
		{"find twice", acme(), history(env{"find": "ghcr.io/acme/app@" + digestA + "@" + digestA}), "find", nil},
		{"find in no repository", acme(), history(env{"find": "GHCR.io/Acme/App@" + digestA}), "find", []string{"lower case"}},
		{"record in words", acme(), back(env{"record": "require"}), "record", []string{`"require"; expected one of required, optional, none; the closest is required`}},

		{"history without config", nil, env{"mode": "history"}, "target-env", []string{"nothing, which means every environment of .github/promotion.yml", "not there: no .github/promotion.yml in /", "or target with one registry/path:tag", "mode: history"}},
		{"audit without config at a ref", nil, env{"mode": "audit", "config": "x.yml@main"}, "target-env", []string{"no x.yml at main in the repository at that ref", "mode: audit"}},
		{"history of an environment without config", nil, history(nil), "target-env", []string{`"production", whose config file is`, "in place of an environment"}},
		{"history without config and target", nil, env{"mode": "history", "config": "none"}, "target", []string{"nothing, and `config: none`", "mode: history"}},
		{"audit of an environment, config none", nil, audit(env{"config": "none"}), "target", []string{"nothing, and `config: none`"}},
		{"history of both", acme(), history(env{"target": "a.io/x:1"}), "target-env", []string{"together with target"}},
		{"history of an unknown environment", acme(), history(env{"target-env": "qa"}), "target-env", []string{"expected an environment of"}},
		{"history of an unknown image", fleet(), env{"mode": "history", "images": "db"}, "images", []string{"app, worker, web"}},
		{"history of images without images", acme(), history(env{"images": "app"}), "images", []string{"has no `images`"}},
		{"history of a tag and images", acme(), tag(history(env{"images": "app"}), "a.io/x:1"), "images", []string{`"app" together with target`}},
		{"audit of a tag and images, config none", nil, tag(audit(env{"images": "app", "config": "none"}), "a.io/x:1"), "images", []string{"together with target"}},
		{"history of an owned tag", acme(), tag(history(nil), "registry.acme.example/prod/app:production"), "target", []string{`"registry.acme.example/prod/app:production", which environment "production" owns`, "its records are kept for the environment", "mode: history\n  target-env: " + owner}},
		{"audit of an owned fixed tag", acme(), tag(audit(nil), "registry.acme.example/prod/app:release-20200101"), "target", []string{"target-env: " + owner}},
		{"audit of an image's owned tag", fleet(), tag(audit(nil), "ghcr.io/acme/worker:staging"), "target", []string{`environment "staging" owns`}},
	}
	t.Chdir(t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := settle(tt.config, tt.env)
			fault := expectOneFault(t, err)
			if fault.Input != tt.input || fault.Given == "" || fault.Expected == "" || fault.Example == "" {
				t.Errorf("fault is %+v, want one in %s with every field", fault, tt.input)
			}
			expectText(t, fault.Message()+fault.Hint(), tt.want...)
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x1b\r\u202e") {
				t.Errorf("error is %q", err)
			}
		})
	}
}

// TestInputsOfOtherModes gives every input in every mode that it is not for.
func TestInputsOfOtherModes(t *testing.T) {
	values := env{
		"source": "a.io/x:1", "digest": digestA, "metadata": `{"image.name": "ghcr.io/acme/app:1", "containerimage.digest": "` + digestA + `"}`, "fixed-tags": "v1", "plan": "H4sI", "to": "v1", "since": "30d", "limit": "10",
		"find": digestA, "record": "none", "reason": "CHG-1", "override-gates": "freeze", "dry-run": "true", "attachments": "none", "verify": "content",
	}
	runs := map[string]env{
		"promote": {"target-env": "staging"}, "plan": {"target-env": "staging"}, "apply": handed(planned(nil), nil),
		"rollback": back(nil), "history": {"target-env": "staging"}, "audit": {},
	}
	only := map[string]string{ // the modes that an input is for
		"source": "promote plan", "digest": "promote plan", "metadata": "promote plan", "fixed-tags": "promote plan", "plan": "apply", "to": "rollback",
		"since": "history", "limit": "history", "find": "history", "record": "promote plan apply rollback", "reason": "promote plan apply rollback",
		"override-gates": "promote plan apply rollback", "dry-run": "promote plan apply rollback", "attachments": "promote plan rollback", "verify": "promote plan rollback",
	}
	for mode, run := range runs {
		for input, value := range values {
			e := env{"mode": mode, input: value}
			for k, v := range run {
				e[k] = v
			}
			if input == "override-gates" && !strings.Contains("history audit", mode) {
				e["target-env"], e["reason"] = "production", "CHG-1"
			}
			_, err := settle(acme(), e)
			if strings.Contains(only[input], mode) {
				if err != nil {
					t.Errorf("%s in mode %s: %v", input, mode, err)
				}
				continue
			}
			fault := expectOneFault(t, err)
			if fault.Input != input || !strings.Contains(fault.Given, "together with mode: "+mode) || fault.Expected == "" || fault.Example == "" || strings.Contains(fault.Given, "H4sI") {
				t.Errorf("%s in mode %s: %+v", input, mode, fault)
			}
		}
	}
}

// The runner hands over defaults in every mode, however they are spelt.
func TestDefaultsAreForEveryMode(t *testing.T) {
	e := env{"mode": "history"}
	for _, in := range Table {
		if in.Name != "mode" && in.initial() != "" {
			e[in.Name] = in.initial()
		}
	}
	e["dry-run"], e["summary"] = "False", "TRUE"
	if _, err := settle(acme(), e); err != nil {
		t.Error(err)
	}
}
