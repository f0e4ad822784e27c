package promote_test

import (
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

const (
	revision = "org.opencontainers.image.revision"
	version  = "org.opencontainers.image.version"
	commit   = "0123456789abcdef0123456789abcdef01234567"
)

// labelled is an index of images with these labels, one each.
func labelled(t testing.TB, at *regtest.Registry, annotations string, all ...map[string]string) {
	t.Helper()
	var lines []string
	for n, labels := range all {
		i := regtest.Build(regtest.Spec{Labels: labels, Seed: "labelled"})
		push(t, i, at, "acme/app")
		platform := []string{"amd64", "arm64", "s390x"}[n]
		lines = append(lines, line(ociManifest, i.Root, len(i.Manifest(i.Root).Bytes), `,"platform":{"os":"linux","architecture":"`+platform+`"}`))
	}
	body := index(lines...)
	if annotations != "" {
		body = strings.TrimSuffix(body, "}") + `,"annotations":` + annotations + "}"
	}
	put(t, at, "acme/app", "dev", ociIndex, body)
}

func TestTemplates(t *testing.T) {
	one := map[string]string{revision: commit, version: "1.4.2"}
	tests := []struct {
		name        string
		labels      []map[string]string
		annotations string
		template    string
		want        string // a tag
		says        string // or a fault
	}{
		{"labels of all platforms", []map[string]string{one, one}, "", "v{{version}}-{{revision}}", "v1.4.2-0123456", ""},
		{"labels of one platform", []map[string]string{{}, one}, "", "v{{version}}", "v1.4.2", ""},
		{"annotations of the index", []map[string]string{{version: "1"}, {version: "2"}}, `{"` + version + `":"3"}`, "v{{version}}", "v3", ""},
		{"an annotation for the one, labels for the other", []map[string]string{one, one}, `{"` + version + `":"3"}`, "{{version}}-{{revision}}", "3-0123456", ""},
		{"platforms disagree", []map[string]string{{version: "1"}, {version: "2"}}, "", "v{{version}}", "", `disagree on the label ` + version + `: "1" and "2"`},
		{"the last of three disagrees", []map[string]string{one, one, {revision: commit, version: "2"}}, "", "v{{version}}", "", `disagree`},
		{"they disagree on the commit", []map[string]string{one, {revision: strings.Repeat("f", 40), version: "1.4.2"}}, "", "v{{revision}}", "", "disagree on the label " + revision},
		{"they disagree on what is not used", []map[string]string{one, {revision: commit, version: "2"}}, "", "v{{revision}}", "v0123456", ""},
		{"no label", []map[string]string{{}, {}}, "", "v{{version}}", "", "no label org.opencontainers.image.version"},
		{"a label that is no commit", []map[string]string{{revision: "main"}}, "", "v{{revision}}", "", "commit of at least 7"},
		{"a label that is no tag", []map[string]string{{version: "1/2"}}, "", "v{{version}}", "", "1/2"},
		{"the rest", []map[string]string{one}, "", "{{env}}-{{run-number}}-{{source-tag}}-{{date 'YYYYMMDD-HHmmss'}}", "staging-7-dev-20261122-143000", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
			labelled(t, source, test.annotations, test.labels...)
			r := request(t, source.Host()+"/acme/app:dev", fixed+target.Host()+"/prod/app:"+test.template)
			r.TargetEnv, r.RunNumber = "staging", "7"
			d := run(t, r)
			if test.says != "" {
				faulted(t, d, document.Invalid, test.says)
				untouched(t, target)
				if got := tag(t, d, ":"+test.template); got.State != document.TagPending {
					t.Errorf("tag %+v", got)
				}
				return
			}
			expect(t, d, document.Promoted)
			expectTag(t, d, ":"+test.want, document.TagMoved, "", holds(t, source, "acme/app", "dev"))
			if got := holds(t, target, "prod/app", test.want); got == "" {
				t.Error("no such tag at the target")
			}
		})
	}
}

// TestTemplatesOfASingleImage: its configuration's labels, or its annotations.
func TestTemplatesOfASingleImage(t *testing.T) {
	for want, spec := range map[string]regtest.Spec{
		"v1.4.2": {Labels: map[string]string{version: "1.4.2"}},
		"v1.4.3": {Labels: map[string]string{version: "1.4.2"}, Annotations: map[string]string{version: "1.4.3"}},
		"v1.4.4": {Artifact: regtest.Helm, Annotations: map[string]string{version: "1.4.4"}},
		"v1.4.5": {Platforms: []string{"linux/amd64"}, Provenance: true, Labels: map[string]string{version: "1.4.5"}},
	} {
		source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
		push(t, regtest.Build(spec), source, "acme/app", "dev")
		d := run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:v{{version}}", target.Host()+"/prod/app:{{digest}}"))
		expect(t, d, document.Promoted)
		complete(t, source, "acme/app", "dev", target, "prod/app", want)
		complete(t, source, "acme/app", "dev", target, "prod/app", strings.TrimPrefix(d.Promotions[0].Digest, "sha256:")[:12])
	}
}

// TestLabelsAreReadWhereTheyAreUsed: another image's disagreement is nobody's trouble.
func TestLabelsAreReadWhereTheyAreUsed(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	labelled(t, source, "", map[string]string{version: "1"}, map[string]string{version: "2"})
	push(t, regtest.Build(regtest.Spec{Labels: map[string]string{version: "3"}}), source, "acme/worker", "dev")
	expect(t, run(t, requestOf(
		item(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:production"),
		item(t, source.Host()+"/acme/worker:dev", target.Host()+"/prod/worker:v{{version}}"),
	)), document.Promoted)
	if holds(t, target, "prod/worker", "v3") == "" {
		t.Error("no tag v3")
	}
}

// TestOneTagByTwoNames is one tag, unless it is meant as a fixed one as well.
func TestOneTagByTwoNames(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := plain("x")
	push(t, i, source, "acme/app", "dev")
	r := request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:dev", target.Host()+"/prod/app:{{source-tag}}")
	d := run(t, r)
	expect(t, d, document.Promoted)
	if len(d.Promotions[0].Tags) != 1 {
		t.Errorf("tags %+v", d.Promotions[0].Tags)
	}
	target.ResetRequests()
	d = run(t, request(t, source.Host()+"/acme/app:dev", target.Host()+"/prod/app:dev", fixed+target.Host()+"/prod/app:{{source-tag}}"))
	faulted(t, d, document.Invalid, "as a moving and as a fixed tag")
	untouched(t, target)
}

// TestTagsWithoutAValue: a template is refused before anything is asked at the target.
func TestTagsWithoutAValue(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	i := plain("x")
	push(t, i, source, "acme/app", "dev")
	r := request(t, source.Host()+"/acme/app@"+i.Root, target.Host()+"/prod/app:{{source-tag}}", target.Host()+"/prod/app:{{env}}")
	d := run(t, r)
	faulted(t, d, document.Invalid, "source-tag", "env")
	if len(d.Faults) != 2 {
		t.Errorf("faults %+v", d.Faults)
	}
	if n := len(ours(target)); n > 0 {
		t.Errorf("%d requests at the target", n)
	}
}
