package input

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/transfer"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var now = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)

var (
	digestA = "sha256:" + strings.Repeat("a1", 32)
	digestB = "sha256:" + strings.Repeat("b2", 32)
)

// env is the runner's variables by the inputs' names; others keep theirs.
type env map[string]string

// variables are those of the runner.
func (e env) variables() map[string]string {
	all := map[string]string{}
	for k, v := range e {
		if _, _, input := lookup(k); input {
			k = "INPUT_" + strings.ToUpper(k)
		}
		all[k] = v
	}
	return all
}

// ask reads the inputs and completes the request; config files are the disk's.
func ask(args []string, e env) (*Settings, error) {
	settings, err := Read(args, e.variables(), now)
	if err != nil {
		return settings, err
	}
	_, err = settings.Configure(context.Background(), settings.Files(nil))
	return settings, err
}

// show writes items as "source => repository[tag fixed!]", apart by semicolons.
func show(items []promote.Item) string {
	var shown []string
	for _, i := range items {
		var targets []string
		for _, t := range i.Targets {
			var tags []string
			for _, tag := range t.Tags {
				text := tag.Template.String()
				if tag.Fixed {
					text += "!"
				}
				tags = append(tags, text)
			}
			targets = append(targets, fmt.Sprintf("%s%v", t.Repository.Name(), tags))
		}
		source := i.Source.Repository.Name() + ":" + i.Source.Tag
		if i.Source.Digest != (v1.Hash{}) {
			source += "@" + i.Source.Digest.String()
		}
		shown = append(shown, source+" => "+strings.Join(targets, " "))
	}
	return strings.Join(shown, "; ")
}

func TestItems(t *testing.T) {
	long := strings.Repeat("x", 128)
	tests := []struct {
		name string
		env  env
		want string
	}{
		{"bare tag in the source's repository", env{"source": "ghcr.io/acme/app:1.4.2", "target": "staging"},
			"ghcr.io/acme/app:1.4.2 => ghcr.io/acme/app[staging]"},
		{"by digest", env{"source": "ghcr.io/acme/app@" + digestA, "target": "staging"},
			"ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"tag and digest", env{"source": "ghcr.io/acme/app:1@" + digestA, "target": "staging"},
			"ghcr.io/acme/app:1@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"digest apart", env{"source": "ghcr.io/acme/app", "digest": digestA, "target": "staging"},
			"ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"digest apart, with a tag", env{"source": "ghcr.io/acme/app:1", "digest": digestA, "target": "staging"},
			"ghcr.io/acme/app:1@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"the same digest twice", env{"source": "ghcr.io/acme/app@" + digestA, "digest": digestA, "target": "staging"},
			"ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"Docker Hub's short name", env{"source": "nginx:1.27", "target": "acme/nginx:prod"},
			"index.docker.io/library/nginx:1.27 => index.docker.io/acme/nginx[prod]"},
		{"a short name's tag", env{"source": "nginx:1.27", "target": "nginx:prod"},
			"index.docker.io/library/nginx:1.27 => index.docker.io/library/nginx[prod]"},
		{"a port", env{"source": "localhost:5000/app:1", "target": "registry:5000/prod/app:prod"},
			"localhost:5000/app:1 => registry:5000/prod/app[prod]"},
		{"an IPv6 address", env{"source": "[::1]:5000/app:1", "target": "x"},
			"[::1]:5000/app:1 => [::1]:5000/app[x]"},
		{"a service with an underscore", env{"source": "my_registry:5000/app:1", "target": "x"},
			"my_registry:5000/app:1 => my_registry:5000/app[x]"},
		{"several sources", env{"source": "ghcr.io/acme/app:1\n# a comment\n\n ghcr.io/acme/worker:2 \r\n", "target": "staging"},
			"ghcr.io/acme/app:1 => ghcr.io/acme/app[staging]; ghcr.io/acme/worker:2 => ghcr.io/acme/worker[staging]"},
		{"commas and lines", env{"source": "a.io/x:1", "target": "staging, latest\nqa,"},
			"a.io/x:1 => a.io/x[staging latest qa]"},
		{"quotes", env{"source": `"a.io/x:1"`, "target": "\"staging\",\"{{date 'YYYY'}}\""},
			"a.io/x:1 => a.io/x[staging {{date 'YYYY'}}]"},
		{"metadata-action's tags", env{"source": "a.io/x:1", "target": "ghcr.io/acme/app:1.4.2\nghcr.io/acme/app:1.4\ndocker.io/acme/app:1.4.2\ndocker.io/acme/app:1.4"},
			"a.io/x:1 => ghcr.io/acme/app[1.4.2 1.4] index.docker.io/acme/app[1.4.2 1.4]"},
		{"bare tags go to the named repositories", env{"source": "a.io/x:1", "target": "b.io/x:production,latest", "fixed-tags": "v1.4.2"},
			"a.io/x:1 => b.io/x[production latest v1.4.2!]"},
		{"bare tags go to all named repositories", env{"source": "a.io/x:1", "target": "latest,b.io/x:b,c.io/x:c"},
			"a.io/x:1 => b.io/x[latest b] c.io/x[latest c]"},
		{"a repository alone with fixed tags", env{"source": "a.io/x:1", "target": "b.io/x", "fixed-tags": "release-{{date 'YYYYMMDD'}}\n{{revision}}"},
			"a.io/x:1 => b.io/x[release-{{date 'YYYYMMDD'}}! {{revision}}!]"},
		{"a repository alone with a bare tag", env{"source": "a.io/x:1", "target": "b.io/x,prod"}, "a.io/x:1 => b.io/x[prod]"},
		{"fixed tags alone", env{"source": "a.io/x:1", "fixed-tags": "v1"}, "a.io/x:1 => a.io/x[v1!]"},
		{"fixed-tags with double quotes in a template", env{"source": "a.io/x:1", "fixed-tags": `r-{{date "YYYY"}},v1`}, `a.io/x:1 => a.io/x[r-{{date "YYYY"}}! v1!]`},
		{"a template beside a colon", env{"source": "a.io/x:1", "target": "b.io:5000/x:{{source-tag}}-{{run-number}}", "GITHUB_RUN_NUMBER": "7"},
			"a.io/x:1 => b.io:5000/x[{{source-tag}}-{{run-number}}]"},
		{"the same tag twice", env{"source": "a.io/x:1", "target": "staging\na.io/x:staging\nstaging"}, "a.io/x:1 => a.io/x[staging]"},
		{"the same tag written twice over", env{"source": "a.io/x:1", "target": "1,{{source-tag}}"}, "a.io/x:1 => a.io/x[1]"},
		{"the same repository written twice over", env{"source": "a.io/x:1", "target": "nginx:a\ndocker.io/library/nginx:b"},
			"a.io/x:1 => index.docker.io/library/nginx[a b]"},
		{"arrows", env{"target": "a.io/x:1 => b.io/x:prod\na.io/y:2 => stable\na.io/x:1=>latest"},
			"a.io/x:1 => b.io/x[prod latest]; a.io/y:2 => a.io/y[stable]"},
		{"arrows with commas", env{"target": "a.io/x:1 => prod, latest\na.io/y:2 => prod", "fixed-tags": "v-{{source-tag}}"},
			"a.io/x:1 => a.io/x[prod latest v-{{source-tag}}!]; a.io/y:2 => a.io/y[prod v-{{source-tag}}!]"},
		{"one arrow and a digest", env{"target": "a.io/x => prod", "digest": digestA}, "a.io/x:@" + digestA + " => a.io/x[prod]"},
		{"sources of one repository, told apart by their tags", env{"source": "a.io/x:1\na.io/x:2", "target": "b.io/x:{{source-tag}}"},
			"a.io/x:1 => b.io/x[{{source-tag}}]; a.io/x:2 => b.io/x[{{source-tag}}]"},
		{"sources of one repository, told apart by the image", env{"source": "a.io/x:1\na.io/x:2", "target": "b.io/x:{{version}}"},
			"a.io/x:1 => b.io/x[{{version}}]; a.io/x:2 => b.io/x[{{version}}]"},
		{"sources of one repository, told apart by their digests", env{"source": "a.io/x@" + digestA + "\na.io/x@" + digestB, "fixed-tags": "{{digest}}\n{{revision}}"},
			"a.io/x:@" + digestA + " => a.io/x[{{digest}}! {{revision}}!]; a.io/x:@" + digestB + " => a.io/x[{{digest}}! {{revision}}!]"},
		{"ports without tags", env{"source": "localhost:5000/x", "digest": digestA, "target": "b.io:5000/x", "fixed-tags": "v1"},
			"localhost:5000/x:@" + digestA + " => b.io:5000/x[v1!]"},
		{"an environment without config", env{"source": "a.io/x:1", "target-env": "staging", "config": "none", "fixed-tags": "{{env}}-1"},
			"a.io/x:1 => a.io/x[staging {{env}}-1!]"},
		{"the longest tag", env{"source": "a.io/x:" + long, "target": "{{source-tag}}"}, "a.io/x:" + long + " => a.io/x[{{source-tag}}]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(nil, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(settings.Request.Items); got != tt.want {
				t.Errorf("items are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// good is a request without faults, to be spoilt one input at a time.
func good(changes env) env {
	e := env{"source": "ghcr.io/acme/app:1.4.2", "target": "staging"}
	for k, v := range changes {
		e[k] = v
	}
	return e
}

func TestFaults(t *testing.T) {
	const pushed = "docker/build-push-action is empty when it pushed nothing (push: true is missing)"
	tests := []struct {
		name  string
		env   env
		input string // at fault
		want  []string
	}{
		{"no source", env{"target": "staging"}, "source", []string{"given nothing", "repo@sha256:…"}},
		{"no target", env{"source": "a.io/x:1"}, "target", []string{"given nothing, and neither target-env nor fixed-tags"}},
		{"no source but a comment", env{"source": "# none", "target": "staging"}, "source", []string{"given nothing"}},
		{"no target but blanks", env{"source": "a.io/x:1", "target": " , \n#x\n\"\""}, "target", []string{"given nothing"}},
		{"no tag", good(env{"source": "ghcr.io/acme/app"}), "source", []string{
			`"ghcr.io/acme/app" without a tag or a digest`, pushed, "source: ghcr.io/acme/app\n           digest: ${{ steps.build.outputs.digest }}"}},
		{"no tag in an arrow", env{"target": "a.io/x => prod"}, "target", []string{`"a.io/x" without a tag or a digest`}},
		{"empty digest", good(env{"source": "ghcr.io/acme/app@"}), "source", []string{
			"an empty digest", pushed, "source: ghcr.io/acme/app\n           digest: ${{ steps.build.outputs.digest }}"}},
		{"empty digest after sha256", good(env{"source": "ghcr.io/acme/app:1@sha256:"}), "source", []string{"an empty digest", pushed}},
		{"empty tag", good(env{"source": "ghcr.io/acme/app:"}), "source", []string{"whose tag is empty"}},
		{"bad tag", good(env{"source": "ghcr.io/acme/app:a+b"}), "source", []string{`whose tag "a+b" cannot exist`, "1 to 128"}},
		{"tag too long", good(env{"source": "ghcr.io/acme/app:" + strings.Repeat("x", 129)}), "source", []string{"1 to 128"}},
		{"bad digest", good(env{"source": "ghcr.io/acme/app@sha256:1234"}), "source", []string{`digest "sha256:1234"`, "64 lower-case hexadecimal digits"}},
		{"sha512", good(env{"source": "ghcr.io/acme/app@sha512:" + strings.Repeat("a", 128)}), "source", []string{"expected sha256:"}},
		{"digest with a repository", good(env{"digest": "ghcr.io/acme/app@" + digestA}), "digest", []string{`the digest alone, without a repository: "` + digestA}},
		{"digest without sha256", good(env{"digest": strings.Repeat("a", 64)}), "digest", []string{"sha256: is missing", "source: ghcr.io/acme/app\n"}},
		{"digest for several", good(env{"source": "a.io/x:1\na.io/y:1", "digest": digestA}), "digest", []string{"one digest for 2 sources", "source: |"}},
		{"digests differ", good(env{"source": "a.io/x@" + digestA, "digest": digestB}), "digest", []string{digestB + ", but source has " + digestA}},
		{"source twice", good(env{"source": "nginx:1\ndocker.io/library/nginx:1"}), "source", []string{`"docker.io/library/nginx:1" twice`}},
		{"https", good(env{"source": "https://ghcr.io/acme/app:1"}), "source", []string{`begins with "https://"`, `without that: "ghcr.io/acme/app:1"`}},
		{"docker://", good(env{"source": "docker://ghcr.io/acme/app:1"}), "source", []string{`begins with "docker://"`, `"ghcr.io/acme/app:1"`}},
		{"https in a target", good(env{"target": "https://ghcr.io/acme/app:1"}), "target", []string{`begins with "https://"`}},
		{"upper case", good(env{"source": "ghcr.io/Acme/App:1"}), "source", []string{`"ghcr.io/Acme/App"`, "${{ github.repository }}", "lower case: ghcr.io/acme/app"}},
		{"upper case in a target", good(env{"target": "ghcr.io/Acme/app:1"}), "target", []string{"lower case: ghcr.io/acme/app"}},
		{"upper case before a digest", good(env{"source": "ghcr.io/Acme/App@" + digestA}), "source", []string{"lower case: ghcr.io/acme/app"}},
		{"two on a line", good(env{"source": "a.io/x:1, a.io/y:2"}), "source", []string{"a blank or a comma", "one reference on each line"}},
		{"dots for a path", good(env{"source": "ghcr.io/../app:1"}), "source", []string{`"ghcr.io/../app"`, "registry/path"}},
		{"empty path element", good(env{"source": "ghcr.io//app:1"}), "source", []string{"registry/path"}},
		{"bad host", good(env{"source": "gh$cr.io/app:1"}), "source", []string{"registry/path"}},
		{"no repository", good(env{"source": ":1"}), "source", []string{"no repository"}},
		{"hostile source", good(env{"source": "ghcr.io/\u202eapp\x1b[31m:1"}), "source", []string{`\u202eapp\x1b[31m`}},

		{"digest in a target", good(env{"target": "a.io/x:1@" + digestA}), "target", []string{"which has a digest", "belongs to source"}},
		{"template in the repository", good(env{"target": "a.io/{{env}}:1"}), "target", []string{"template in the repository", "in the tag only"}},
		{"template error", good(env{"target": "a.io/x:v{{sha}}"}), "target", []string{`"v{{sha}}", at character 2: unknown expression {{sha}}`, "{{revision}}"}},
		{"comma in a template", good(env{"target": "{{date 'YYYY,MM'}}"}), "target", []string{`"{{date 'YYYY,MM'}}", at character 13: "," cannot stand in a tag`}},
		{"empty tag in a target", good(env{"target": "a.io/x:"}), "target", []string{"whose tag is empty"}},
		{"colon alone", good(env{"target": ":prod"}), "target", []string{`a bare tag: "prod"`}},
		{"repository without tags", good(env{"target": "a.io/x"}), "target", []string{`"a.io/x" without a tag`, "fixed-tags", "target: a.io/x:{{source-tag}}"}},
		{"repository whose tag is at fault", good(env{"target": "a.io/x", "fixed-tags": "v!"}), "fixed-tags", []string{`"v!", at character 2`, "example: fixed-tags: v1.4.2"}},
		{"repository whose tag is taken", env{"source": "a.io/s:1\na.io/s:2", "target": "a.io/x\na.io/x:{{source-tag}}\nb.io/y:prod"}, "target", []string{`"b.io/y:prod" for two sources`}},
		{"one of two repositories without tags", good(env{"target": "a.io/x\nb.io/x:1"}), "target", []string{`"a.io/x" without a tag`}},
		{"bad bare tag", good(env{"target": "prod!"}), "target", []string{`"prod!", at character 5: "!" cannot stand there`}},
		{"quote left open", good(env{"target": "ok\n\"prod"}), "target", []string{`line 2: "\"prod" without a closing quote`}},
		{"text after quotes", good(env{"target": `"prod" x`}), "target", []string{`"x" after an item in quotes`}},
		{"tag for two sources", good(env{"source": "a.io/x:1\na.io/x:2"}), "target", []string{`"a.io/x:staging" for two sources, "a.io/x:1" and "a.io/x:2"`}},
		{"tag for two sources by fixed-tags", env{"source": "a.io/x:1\na.io/x:2", "fixed-tags": "v1"}, "fixed-tags", []string{`"a.io/x:v1" for two sources`}},
		{"fixed and moving", good(env{"fixed-tags": "staging"}), "fixed-tags", []string{`"staging", which is a moving tag as well`, "either fixed or moving"}},
		{"fixed and moving through a template", good(env{"target": "{{version}}", "fixed-tags": "{{version}}"}), "fixed-tags", []string{"moving tag as well"}},
		{"fixed and moving, written differently", good(env{"target": "1.4.2", "fixed-tags": "{{source-tag}}"}), "fixed-tags", []string{"moving tag as well", `target has "1.4.2"`}},
		{"reference in fixed-tags", good(env{"fixed-tags": "a.io/x:v1"}), "fixed-tags", []string{"names a repository", "target: registry.acme.example/prod/app"}},
		{"value known to be missing: env", good(env{"target": "{{env}}-1"}), "target", []string{"no target-env was given"}},
		{"value known to be missing: source-tag", good(env{"source": "a.io/x@" + digestA, "fixed-tags": "{{source-tag}}"}), "fixed-tags", []string{"without a tag"}},
		{"value known to be missing: run-number", good(env{"target": "{{run-number}}"}), "target", []string{"GITHUB_RUN_NUMBER"}},
		{"too long when rendered", good(env{"target": strings.Repeat("x", 110) + "{{date 'YYYYMMDD-HHmmss-YYYYMMDD'}}"}), "target", []string{"which is no tag"}},
		{"too many items", good(env{"target": strings.Repeat("a\n", 1001)}), "target", []string{"more than 1000 items"}},

		{"arrows and source", good(env{"target": "a.io/x:1 => prod"}), "source", []string{"together with `source => target` lines"}},
		{"arrows and others", env{"target": "latest\na.io/x:1 => prod"}, "target", []string{`"latest" beside`, "either only such lines, or none"}},
		{"arrows and others after", env{"target": "a.io/x:1 => prod\nlatest"}, "target", []string{`"latest" beside`}},
		{"two arrows", env{"target": "a.io/x:1 => a => b"}, "target", []string{"one source and one target"}},
		{"arrow to nothing", env{"target": "a.io/x:1 =>"}, "target", []string{"one source and one target"}},
		{"arrow from nothing", env{"target": "=> a"}, "target", []string{"one source and one target"}},
		{"bad source of an arrow", env{"target": "a.io/X:1 => a"}, "target", []string{"lower case: a.io/x"}},
		{"tag for two arrows", env{"target": "a.io/x:1 => b.io/z:1\na.io/y:1 => b.io/z:1"}, "target", []string{`"b.io/z:1" for two sources`}},
		{"digest for two arrows", env{"target": "a.io/x:1 => a\na.io/y:1 => b", "digest": digestA}, "digest", []string{"2 sources"}},

		{"environment without config", env{"source": "a.io/x:1", "target-env": "staging"}, "target-env", []string{
			"whose config file is .github/promotion.yml, which was looked for and is not there: no .github/promotion.yml in /", "actions/checkout must come first",
			"`config: none`, with which target-env is a tag of that name", "target-env: staging\n           config: .github/promotion.yml@main"}},
		{"environment with another config", env{"source": "a.io/x:1", "target-env": "staging", "config": "ci/x.yml"}, "target-env", []string{"whose config file is ci/x.yml, which was looked for and is not there: no ci/x.yml in /"}},
		{"environment with a config at a ref", env{"source": "a.io/x:1", "target-env": "staging", "config": "ci/x.yml@main"}, "config", []string{"no repository is known", "GITHUB_REPOSITORY"}},
		{"environment and target", good(env{"target-env": "staging", "config": "none"}), "target-env", []string{"together with target"}},
		{"environment that is no tag", env{"source": "a.io/x:1", "target-env": "{{env}}", "config": "none"}, "target-env", []string{"can be a tag"}},
		{"config without environment", good(env{"config": ".github/promotion.yml"}), "config", []string{`".github/promotion.yml", which was looked for and is not there: no`, "config: .github/promotion.yml@main"}},

		{"user without password", good(env{"source-username": "bob"}), "source-password", []string{"source-username is given", "fork"}},
		{"password without user", good(env{"target-password": "hunter22"}), "target-username", []string{"target-password is given"}},
		{"mode", good(env{"mode": "rolback"}), "mode", []string{`given "rolback"`, "expected one of promote, plan, apply, rollback, history, audit; the closest is rollback"}},
		{"an unknown mode says nothing about inputs", good(env{"mode": "histori", "since": "30d", "limit": "1"}), "mode", []string{"the closest is history"}},
		{"mode with a slip", good(env{"mode": "plam"}), "mode", []string{"the closest is plan"}},
		{"boolean", good(env{"dry-run": "yes"}), "dry-run", []string{`given "yes"`, "true or false"}},
		{"boolean one", good(env{"summary": "1"}), "summary", []string{`given "1"`}},
		{"choice", good(env{"verify": "blob"}), "verify", []string{`given "blob"`, "one of manifests, blobs, content; the closest is blobs"}},
		{"attachments", good(env{"attachments": "true"}), "attachments", []string{"one of all, none"}},
		{"concurrency 0", good(env{"concurrency": "0"}), "concurrency", []string{"from 1 to 64"}},
		{"concurrency 65", good(env{"concurrency": "65"}), "concurrency", []string{"from 1 to 64"}},
		{"concurrency half", good(env{"concurrency": "1.5"}), "concurrency", []string{`given "1.5"`}},
		{"timeout number", good(env{"timeout": "30"}), "timeout", []string{"30m for minutes", "example: timeout: 30m"}},
		{"timeout 0", good(env{"timeout": "0"}), "timeout", []string{"more than 0"}},
		{"timeout negative", good(env{"timeout": "-5m"}), "timeout", []string{"more than 0"}},
		{"timeout long", good(env{"timeout": "24h1s"}), "timeout", []string{"at most 24h"}},
		{"timeout words", good(env{"timeout": "1 hour"}), "timeout", []string{`given "1 hour"`, "1h30m"}},
		{"digest beside a faulty source", good(env{"source": "A/b:1", "digest": digestA}), "source", []string{"lower case"}},
		{"long and wrong", good(env{"verify": strings.Repeat("\x00", 1<<19)}), "verify", []string{`\x00"…`}},
		{"large value", good(env{"reason": strings.Repeat("x", 1<<20+1)}), "reason", []string{"1048577 bytes", "at most 1048576"}},
	}
	t.Chdir(t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(nil, tt.env)
			fault := expectOneFault(t, err)
			if fault.Input != tt.input || fault.Given == "" || fault.Expected == "" || fault.Example == "" {
				t.Errorf("fault is %+v, want one in %s with every field", fault, tt.input)
			}
			if settings == nil {
				t.Error("no settings beside the error")
			}
			expectText(t, err.Error(), tt.want...)
			if len(err.Error()) > 2000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
			if strings.ContainsAny(err.Error(), "\x1b\r\u202e") || !strings.HasPrefix(err.Error(), "invalid input, nothing was contacted:") {
				t.Errorf("error is %q", err)
			}
		})
	}
}

func expectOneFault(t *testing.T, err error) Fault {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || len(e.Faults) != 1 {
		t.Fatalf("error is %v, want one fault", err)
	}
	return e.Faults[0]
}

func expectText(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("text is\n%s\nwant in it: %s", text, w)
		}
	}
}

func TestScalars(t *testing.T) {
	settings, err := ask(nil, good(nil))
	if err != nil {
		t.Fatal(err)
	}
	request := settings.Request
	if request.DryRun || !request.Attachments || request.Verify != transfer.Blobs || settings.Transfers != 0 || request.NoGates ||
		request.TargetEnv != "" || !request.Started.Equal(now) || settings.Timeout != 30*time.Minute || !settings.Summary {
		t.Errorf("defaults are %+v, timeout %v, summary %v", request, settings.Timeout, settings.Summary)
	}
	settings, err = ask(nil, env{
		"source": "a.io/x:1", "target-env": "prod", "config": "none", "dry-run": "TRUE", "attachments": "none", "verify": "content", "concurrency": "64",
		"reason": " CHG-1 ", "timeout": "24h", "summary": "False", "github-token": "ghs_x", "GITHUB_RUN_NUMBER": "12", "GITHUB_ACTOR": "bob",
		"source-username": "u", "source-password": "p", "target-username": "v", "target-password": "q",
	})
	if err != nil {
		t.Fatal(err)
	}
	request = settings.Request
	if !request.DryRun || request.Attachments || request.Verify != transfer.Content || settings.Transfers != 64 || !request.NoGates ||
		request.TargetEnv != "prod" || request.Reason != "CHG-1" || request.RunNumber != "12" || settings.Timeout != 24*time.Hour || settings.Summary {
		t.Errorf("request is %+v, timeout %v, summary %v", request, settings.Timeout, settings.Summary)
	}
	c := settings.Credentials
	if c.Source != (credential.Login{Username: "u", Password: "p"}) || c.Target != (credential.Login{Username: "v", Password: "q"}) || c.GitHubToken != "ghs_x" || c.GitHubActor != "bob" {
		t.Error("credentials are not those given")
	}
	if settings, err = ask(nil, good(env{"reason": "#123"})); err != nil || settings.Request.Reason != "#123" {
		t.Errorf("reason is %q, %v", settings.Request.Reason, err)
	}
	if got := request.Items[0].Source.Text; got != "a.io/x:1" {
		t.Errorf("source's text is %q", got)
	}
}

func TestFaultsAreReportedTogether(t *testing.T) {
	_, err := ask([]string{"--sorce=x", "--timeout=5"}, env{"source": "A/b", "target": "x!,y!", "dry-run": "no"})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var inputs []string
	for _, f := range e.Faults {
		inputs = append(inputs, f.Input)
	}
	if got, want := strings.Join(inputs, " "), "--sorce source target target dry-run timeout"; got != want {
		t.Errorf("faults are in %s, want %s", got, want)
	}
	if hint := e.Faults[5].Hint(); !strings.Contains(hint, "\n  timeout: 5m") || (Fault{}).Hint() != "" {
		t.Errorf("hint is %q", hint)
	}
	if message := e.Faults[5].Message(); strings.Contains(message, "\n") || !strings.Contains(message, "timeout: given") {
		t.Errorf("message is %q", message)
	}
}

func TestManyFaultsAreCutShort(t *testing.T) {
	var bad []string
	for i := range 30 {
		bad = append(bad, fmt.Sprintf("bad!%d", i))
	}
	_, err := ask(nil, good(env{"target": strings.Join(bad, ",") + "," + bad[0]}))
	var e *Error
	if !errors.As(err, &e) || len(e.Faults) != 30 {
		t.Fatalf("error is %v, want 30 faults", err)
	}
	expectText(t, err.Error(), "and 10 more")
	if got := strings.Count(err.Error(), "target: given"); got != 20 {
		t.Errorf("the text shows %d faults, want 20", got)
	}
}

func TestTagsAreBounded(t *testing.T) {
	var sources, targets []string
	for i := range 1000 {
		sources = append(sources, fmt.Sprintf("a.io/x%d:1", i))
		targets = append(targets, fmt.Sprintf("t%d", i))
	}
	settings, err := ask(nil, env{"source": strings.Join(sources, "\n"), "target": strings.Join(targets, ",")})
	expectTagBound(t, settings, err)

	var repositories []string
	for i := range 500 {
		repositories = append(repositories, fmt.Sprintf("a.io/r%d", i))
	}
	settings, err = ask(nil, env{"source": "a.io/x:1", "target": strings.Join(slices.Concat(repositories, targets[:400]), ",")})
	expectTagBound(t, settings, err)
}

func expectTagBound(t *testing.T, settings *Settings, err error) {
	t.Helper()
	if fault := expectOneFault(t, err); !strings.Contains(fault.Given, "more than 10000 tags") {
		t.Errorf("fault is %+v", fault)
	}
	count := 0
	for _, item := range settings.Request.Items {
		for _, target := range item.Targets {
			count += len(target.Tags)
		}
	}
	if count > maxTags+1 {
		t.Errorf("%d tags were kept", count)
	}
}

func TestArguments(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  env
		want string
	}{
		{"equals", []string{"--source=a.io/x:1", "--target=staging"}, nil, "a.io/x:1 => a.io/x[staging]"},
		{"apart", []string{"--source", "a.io/x:1", "--target", "staging"}, nil, "a.io/x:1 => a.io/x[staging]"},
		{"mode first", []string{"promote", "--source=a.io/x:1", "--target=staging"}, nil, "a.io/x:1 => a.io/x[staging]"},
		{"mode as a flag", []string{"--mode=promote", "--source=a.io/x:1", "--target=staging"}, nil, "a.io/x:1 => a.io/x[staging]"},
		{"lists repeat", []string{"--source=a.io/x:1", "--source=a.io/y:2", "--target=b", "--target=c,d"}, nil, "a.io/x:1 => a.io/x[b c d]; a.io/y:2 => a.io/y[b c d]"},
		{"a flag wins", []string{"--target=qa"}, good(nil), "ghcr.io/acme/app:1.4.2 => ghcr.io/acme/app[qa]"},
		{"an empty flag wins too", []string{"--target=", "--fixed-tags=v1"}, good(nil), "ghcr.io/acme/app:1.4.2 => ghcr.io/acme/app[v1!]"},
		{"an equals sign in the value", []string{"--target=a.io/x:1 => b"}, nil, "a.io/x:1 => a.io/x[b]"},
		{"a value with hyphens", []string{"--source=a.io/x:1", "--target=b", "--reason", "--because"}, nil, "a.io/x:1 => a.io/x[b]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(tt.args, tt.env)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(settings.Request.Items); got != tt.want {
				t.Errorf("items are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestBareBooleans(t *testing.T) {
	settings, err := ask([]string{"--dry-run", "--summary=false"}, good(env{"dry-run": "false", "summary": "true"}))
	if err != nil || !settings.Request.DryRun || settings.Summary {
		t.Errorf("settings are %+v, %v", settings, err)
	}
}

func TestBadArguments(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want []string
	}{
		{"unknown flag", []string{"--sorce=x"}, []string{"--sorce: given an unknown flag", "the closest is --source"}},
		{"unknown flag, nothing near", []string{"--quiet"}, []string{"--quiet: given an unknown flag", "promote --help lists them"}},
		{"unknown flag's value is no argument", []string{"--tarjet", "x"}, []string{"--tarjet: given", "--target=…"}},
		{"unknown flag before a flag", []string{"--tarjet", "--dry-run"}, []string{"the closest is --target"}},
		{"one hyphen", []string{"-source=x"}, []string{"-source: given an unknown flag", "--source"}},
		{"misspelt boolean", []string{"--dryrun"}, []string{"the closest is --dry-run", "example: --dry-run\n"}},
		{"upper case", []string{"--TARGET=x"}, []string{"the closest is --target"}},
		{"hostile flag", []string{"--x\n::error::y"}, []string{`--x\n::error::y: given an unknown flag`}},
		{"stray argument", []string{"--target=a", "b"}, []string{`argument 2: given "b"`, "flags only"}},
		{"boolean apart", []string{"--dry-run", "false"}, []string{"argument 2", "--dry-run=false"}},
		{"mode twice", []string{"promote", "--mode=promote"}, []string{"mode: given --mode twice"}},
		{"unknown mode", []string{"deploy", "--target=a"}, []string{`mode: given "deploy"`, "expected one of promote"}},
		{"no value", []string{"--reason", "--target=a"}, []string{"reason: given --reason without a value"}},
		{"no value at the end", []string{"--reason"}, []string{"reason: given --reason without a value"}},
		{"value twice", []string{"--reason=a", "--reason=b"}, []string{"reason: given --reason twice"}},
		{"empty digest", []string{"--digest="}, []string{"digest: given an empty digest", "pushed nothing"}},
		{"two hyphens", []string{"--"}, []string{`argument 1: given "--"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ask(tt.args, good(nil))
			expectOneFault(t, err)
			expectText(t, err.Error()+"\n", tt.want...)
		})
	}
}

func TestUnknownFlagsAndTheirNeighbours(t *testing.T) {
	settings, _ := ask([]string{"--tarjet", "--dry-run"}, good(nil))
	if !settings.Request.DryRun {
		t.Error("a flag was taken for an unknown flag's value")
	}
	settings, _ = ask([]string{"--dryrun=x", "--reason=y"}, good(nil))
	if settings.Request.Reason != "y" {
		t.Error("a flag was taken for an unknown flag's value")
	}
	var e *Error
	if _, err := ask([]string{"--dryrun", "x"}, good(nil)); !errors.As(err, &e) || len(e.Faults) != 2 {
		t.Errorf("error is %v, want an unknown flag and a stray argument", err)
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"-help"}, {"-h"}, {"promote", "--help"}, {"--nonsense", "--source-password=hunter22", "--help"}} {
		settings, err := ask(args, env{})
		if !errors.Is(err, ErrHelp) || settings == nil {
			t.Errorf("Read(%v) = %v, want ErrHelp", args, err)
		}
	}
}

const secretYAML = `
- registry: ghcr.io/acme
  username: bob
  password: 0123
- registry: registry.acme.example
  username: "ann"
  password: 'hunter''22'
- username: hub
  password: |
    first line
    second line
`

func TestSecrets(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  env
		want []string
	}{
		{"inputs", nil, good(env{"source-username": "u", "source-password": " hunter1 ", "target-username": "u", "target-password": "hunter2", "github-token": "ghs_x"}),
			[]string{"hunter1", "hunter2", "ghs_x"}},
		{"several lines", nil, good(env{"source-username": "u", "source-password": "{\r\n  \"key\": \"x\"\r\n}"}),
			[]string{"{\r\n  \"key\": \"x\"\r\n}", "{", `"key": "x"`, "}"}},
		{"registry-auth", nil, good(env{"registry-auth": secretYAML}), []string{"0123", "hunter'22", "first line\nsecond line", "first line", "second line"}},
		{"flag over variable", []string{"--source-password=flag-secret", "--source-username=u"}, good(env{"source-password": "variable-secret"}),
			[]string{"flag-secret", "variable-secret"}},
		{"faulty inputs", []string{"--nonsense"}, env{"source": "A", "timeout": "x", "target-password": "hunter2", "registry-auth": "- registry: x\n  pasword: hunter3\n  deeper: {password: [a, {password: hunter4}]}"},
			[]string{"hunter2", "hunter3", "hunter4"}},
		{"registry-auth that is no YAML", nil, good(env{"registry-auth": "- registry: x\n  password: \"hunter 5\n- {password: hunter6, username: x}"}),
			[]string{"hunter 5", "hunter6"}},
		{"registry-auth that is no list", nil, good(env{"registry-auth": "registry: x\npassword: hunter7"}), []string{"hunter7"}},
		{"registry-auth that is too large", nil, good(env{"registry-auth": "password: hunter8\n" + strings.Repeat("#", 65<<10)}), []string{"hunter8"}},
		{"misspelt flag", []string{"--source-pasword=hunter9"}, good(nil), []string{"hunter9"}},
		{"misspelt flag apart", []string{"--source-pasword", "hunter10"}, good(nil), []string{"hunter10"}},
		{"twice", []string{"--source-password=hunter11", "--source-password=hunter12"}, good(nil), []string{"hunter11", "hunter12"}},
		{"help", []string{"--help", "--target-password", "hunter13"}, env{"github-token": "ghs_y"}, []string{"hunter13", "ghs_y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(tt.args, tt.env)
			for _, secret := range tt.want {
				if !slices.Contains(settings.Secrets, secret) {
					t.Errorf("secrets are %q, want %q among them", settings.Secrets, secret)
				}
				if err != nil && len(secret) > 3 && strings.Contains(err.Error(), secret) {
					t.Errorf("error shows %q:\n%v", secret, err)
				}
				for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", settings, settings, settings, settings), fmt.Sprintf("%+v %#v", settings.Credentials, *settings)} {
					if len(secret) > 3 && strings.Contains(shown, secret) {
						t.Errorf("fmt shows %q: %s", secret, shown)
					}
				}
			}
			if slices.Contains(settings.Secrets, "") {
				t.Error("the empty text is a secret")
			}
			for _, plain := range []string{"bob", "ghcr.io/acme", "u", "|"} {
				if slices.Contains(settings.Secrets, plain) {
					t.Errorf("%q is a secret", plain)
				}
			}
		})
	}
}

func TestShortSecretsDoNotGarble(t *testing.T) {
	_, err := ask(nil, good(env{"target-username": "u", "target-password": "e", "verify": "none"}))
	expectText(t, err.Error(), `verify: given "none"`)
}

// A secret may stand where it does not belong.
func TestErrorsShowNoSecrets(t *testing.T) {
	tests := []struct {
		name string
		args []string
		env  env
	}{
		{"unquoted blank", []string{"--source-password", "ok", "hunter22"}, nil},
		{"after a misspelt flag", []string{"--source-pass", "ok", "hunter22"}, nil},
		{"in another input", nil, env{"source": "hunter22!", "target-username": "u", "target-password": "hunter22"}},
		{"in another input, escaped", nil, env{"source": "a.io/x:hunter22\"é", "target-username": "u", "target-password": "hunter22\"é"}},
		{"in a URL", nil, env{"source": "https://bob:hunter22@ghcr.io/acme/app:1"}},
		{"in certificates", nil, env{"ca-certificates": "-----BEGIN PRIVATE KEY-----\naHVudGVyMjI=\n-----END PRIVATE KEY-----"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ask(tt.args, good(tt.env))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			for _, f := range e.Faults {
				if text := fmt.Sprintf("%+v %s", f, err); strings.Contains(text, "hunter22") || strings.Contains(text, "aHVudGVyMjI") {
					t.Errorf("the fault shows a secret: %s", text)
				}
			}
		})
	}
}

func TestRegistryAuth(t *testing.T) {
	if _, err := ask(nil, good(env{"registry-auth": secretYAML + "- registry: https://index.docker.io/v1/\n  username: a\n  password: !x\n"})); err == nil {
		t.Error("a tagged value was taken for text")
	}
	settings, err := ask(nil, good(env{"registry-auth": secretYAML + "- {registry: 'https://r.io:5000/team/', username: 1e3, password: true}\n- {registry: 'https://index.docker.io/v1/', username: a, password: b}"}))
	if err != nil {
		t.Fatal(err)
	}
	want := []credential.Entry{
		{Registry: "ghcr.io/acme", Username: "bob", Password: "0123"},
		{Registry: "registry.acme.example", Username: "ann", Password: "hunter'22"},
		{Registry: "docker.io", Username: "hub", Password: "first line\nsecond line"},
		{Registry: "r.io:5000/team", Username: "1e3", Password: "true"},
		{Registry: "https://index.docker.io/v1/", Username: "a", Password: "b"},
	}
	if !slices.Equal(settings.Credentials.Entries, want) {
		for i, e := range settings.Credentials.Entries {
			t.Errorf("entry %d is %q %q %q", i, e.Registry, e.Username, e.Password)
		}
	}
}

// The YAML parser needs many seconds for this, and some allocations for each of its signs.
func TestRegistryAuthIsBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("- ", 32<<10), strings.Repeat("[", 60<<10)} {
		if n := testing.AllocsPerRun(1, func() {
			if _, err := ask(nil, good(env{"registry-auth": text})); err == nil {
				t.Error("deep text was taken for credentials")
			}
		}); n > 10_000 {
			t.Errorf("%g allocations: it was parsed", n)
		}
	}
}

func TestRegistryAuthFaults(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"colon", "- registry: SECRET.io\n  username: u\n  password: SECRET: x\n", []string{"at line 3, column", "no YAML", "needs quotes"}},
		{"reserved", "- password: @SECRET", []string{"at line 1, column 13", "no YAML"}},
		{"open quote", "- password: \"SECRET", []string{"at line 1, column 13", "no YAML"}},
		{"key twice", "- registry: SECRET.io\n  username: u\n  password: SECRET\n  password: SECRET2", []string{"at line 4, column 3", "each once"}},
		{"unknown key", "- registry: a.io\n  user: SECRET\n  username: u\n  password: SECRET", []string{"at line 2, column 3", "an unknown key in entry 1", "registry, username or password"}},
		{"scope", "- {registry: a.io, scope: SECRET, username: u, password: SECRET}", []string{"unknown key", "docker/login-action's scope"}},
		{"unknown key for a known one", "- {registry: a.io, username: u, pasword: SECRET}", []string{"unknown key"}},
		{"second entry incomplete", "- {username: u, password: SECRET}\n- {username: u}", []string{"entry 2 without"}},
		{"no list", "registry: a.io\nusername: SECRET\npassword: SECRET", []string{"at line 1", "no list"}},
		{"a word", "SECRET", []string{"no list"}},
		{"list of words", "- SECRET", []string{"entry 1 without keys"}},
		{"documents", "- {username: u, password: SECRET}\n---\n- {username: u, password: SECRET}", []string{"several YAML documents"}},
		{"no password", "- registry: a.io\n  username: SECRET", []string{"entry 1 without a username or a password", "empty"}},
		{"empty password", "- {username: SECRET, password: }", []string{"entry 1 without"}},
		{"password is a comment", "- username: u\n  password: #SECRET", []string{"entry 1 without", "begins with #"}},
		{"no username", "- password: SECRET", []string{"entry 1 without"}},
		{"alias", "- username: u\n  password: *SECRET", []string{"at line 2, column 13", "no plain text", "quotes"}},
		{"anchor", "- username: u\n  password: &SECRET x", []string{"no plain text"}},
		{"list for a password", "- username: u\n  password: [SECRET]", []string{"no plain text"}},
		{"bad registry", "- {registry: 'SE CRET', username: u, password: SECRET}", []string{"a registry (not shown) in entry 1"}},
		{"registry with upper-case path", "- {registry: a.io/SECRET, username: u, password: SECRET}", []string{"a registry (not shown) in entry 1"}},
		{"http", "- {registry: 'http://SECRET.io', username: u, password: SECRET}", []string{"a registry (not shown) in entry 1"}},
		{"documents of nothing", "# SECRET", []string{"no list"}},
		{"registry twice", "- {registry: a.io, username: u, password: SECRET}\n- {registry: a.io/, username: u, password: SECRET}", []string{"entry 2 for the same registry as entry 1"}},
		{"large", "- {username: u, password: SECRET}" + strings.Repeat("#", 64<<10), []string{"too large or too deep"}},
		{"deep", strings.Repeat("[", 60<<10) + "SECRET", []string{"too large or too deep"}},
		{"deep in dashes", strings.Repeat("- ", 30<<10) + "SECRET", []string{"too large or too deep"}},
		{"many", strings.Repeat("- {username: u, password: SECRET, registry: a.io}\n", 1001), []string{"more than 1000 entries"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(nil, good(env{"registry-auth": tt.text}))
			var e *Error
			if !errors.As(err, &e) || e.Faults[0].Input != "registry-auth" {
				t.Fatalf("error is %v, want a fault in registry-auth", err)
			}
			if len(e.Faults) != 1 {
				t.Errorf("%d faults, want one: %v", len(e.Faults), err)
			}
			var all strings.Builder
			for _, f := range e.Faults {
				all.WriteString(f.Message() + "\n")
			}
			expectText(t, all.String(), tt.want...)
			if strings.Contains(strings.ToLower(all.String()), "secret.") || strings.Contains(all.String(), "SECRET") || strings.Contains(all.String(), "a.io") {
				t.Errorf("the text of registry-auth is shown:\n%s", all.String())
			}
			if len(settings.Credentials.Entries) > 0 {
				t.Errorf("%d entries beside the fault", len(settings.Credentials.Entries))
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	certificate := readFile(t, filepath.Join("testdata", "ca.pem"))
	dir := t.TempDir()
	t.Chdir(dir)
	files := map[string]string{
		"ca.pem":    certificate,
		"empty.pem": "",
		"key.pem":   "-----BEGIN PRIVATE KEY-----\naHVudGVyMjI=\n-----END PRIVATE KEY-----\n",
		"cut.pem":   "-----BEGIN CERTIFICATE-----\naHVudGVyMjI=\n-----END CERTIFICATE-----\n",
		"large.pem": certificate + strings.Repeat("\n", 1<<20),
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{certificate, "ca.pem", filepath.Join(dir, "ca.pem"), "# ours\n" + certificate + certificate} {
		settings, err := ask(nil, good(env{"ca-certificates": value}))
		if err != nil || !strings.Contains(string(settings.CACertificates), strings.TrimSpace(certificate)) {
			t.Errorf("certificates of %.40q: %v", value, err)
		}
	}
	tests := []struct {
		name, value string
		want        []string
	}{
		{"no file", "no/ca.pem", []string{`file "no/ca.pem": no such file`, "actions/checkout"}},
		{"folder", dir, []string{"is a directory"}},
		{"empty file", "empty.pem", []string{`file "empty.pem", which has no certificate`}},
		{"key file", "key.pem", []string{`block 1 is of the type "PRIVATE KEY"`, "keep a private key out of it"}},
		{"key after a certificate", certificate + files["key.pem"], []string{"PEM text, whose block 2"}},
		{"cut", "cut.pem", []string{`file "cut.pem", whose certificate 1 cannot be read`}},
		{"large file", "large.pem", []string{"at most 1048576 bytes"}},
		{"lines without PEM", "MIIB\nhunter22", []string{"several lines (not shown)"}},
		{"PEM cut off", "-----BEGIN CERTIFICATE-----\nMIIB", []string{"PEM text, which has no certificate"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(nil, good(env{"ca-certificates": tt.value}))
			fault := expectOneFault(t, err)
			if fault.Input != "ca-certificates" || settings.CACertificates != nil {
				t.Errorf("fault is %+v", fault)
			}
			expectText(t, err.Error(), tt.want...)
			if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "aHVudGVy") {
				t.Errorf("error shows what was given: %v", err)
			}
		})
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
