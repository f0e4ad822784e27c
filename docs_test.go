package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/config"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/input"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/goccy/go-yaml"
	"github.com/rhysd/actionlint"
)

var (
	yamlBlock   = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	configBlock = regexp.MustCompile("(?s)<!-- config -->\n```yaml\n(.*?)```\n")
)

// readmeConfigs are the README's config files, each read as the program reads it.
func readmeConfigs(t *testing.T, readme []byte) (all [][]byte) {
	t.Helper()
	for _, block := range configBlock.FindAllSubmatch(readme, -1) {
		if _, err := config.Parse("README.md", block[1]); err != nil {
			t.Errorf("example:\n%s%v", block[1], err)
		}
		all = append(all, block[1])
	}
	if len(all) < 2 {
		t.Errorf("found %d config files; the README has more", len(all))
	}
	return all
}

// TestReadmeExamples checks every example of the README: a workflow by
// actionlint, each step of this action by the table of its inputs and outputs.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	configs := readmeConfigs(t, readme)
	blocks := yamlBlock.FindAllSubmatch(configBlock.ReplaceAll(readme, nil), -1)
	var uses []string
	for _, block := range blocks {
		text := string(block[1])
		for _, problem := range lint(t, asWorkflow(text)) {
			t.Errorf("example:\n%s%s", text, problem)
		}
		var tree any
		if err := yaml.Unmarshal(block[1], &tree); err != nil {
			t.Errorf("example:\n%s%v", text, err)
		}
		uses = append(uses, checkSteps(t, tree, configs)...)
		if namesMetadata.MatchString(text) && !leavesProvenanceOut(tree) {
			t.Errorf("the example uses a build's metadata without BUILDX_METADATA_PROVENANCE: disabled, so that it may be too large for a variable:\n%s", text)
		}
	}
	if len(blocks) < 25 || len(uses) < 25 {
		t.Errorf("found %d examples with %d steps of this action; the README has more", len(blocks), len(uses))
	}
	if !slices.ContainsFunc(uses, func(u string) bool { return strings.HasPrefix(u, "docker://") }) {
		t.Error("found no step that runs a mirror of the image; the README has one")
	}
}

// namesMetadata finds the use of what a build tells of its images.
var namesMetadata = regexp.MustCompile(`\boutputs\.metadata\b`)

// leavesProvenanceOut finds, anywhere in a document, that a build's metadata has no provenance.
func leavesProvenanceOut(tree any) bool {
	switch node := tree.(type) {
	case []any:
		return slices.ContainsFunc(node, leavesProvenanceOut)
	case map[string]any:
		return node["BUILDX_METADATA_PROVENANCE"] == "disabled" || slices.ContainsFunc(slices.Collect(maps.Values(node)), leavesProvenanceOut)
	}
	return false
}

// asWorkflow completes an example that shows only steps or only permissions.
func asWorkflow(text string) string {
	head := "on:\n  workflow_dispatch:\n    inputs:\n      tag:\n        type: string\n      environment:\n        type: string\n" +
		"      previous-digest:\n        type: string\n      reason:\n        type: string\n"
	jobs := "jobs:\n  build:\n    runs-on: ubuntu-latest\n    outputs:\n      digest: ''\n    steps:\n      - run: echo\n" +
		"  promote:\n    needs: build\n    runs-on: ubuntu-latest\n"
	switch {
	case strings.Contains(text, "jobs:"):
		return text
	case strings.HasPrefix(text, "permissions:"):
		return head + text + jobs + "    steps:\n      - run: echo\n"
	default:
		return head + jobs + "    steps:\n      " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n      ") + "\n"
	}
}

func lint(t *testing.T, workflow string) []string {
	t.Helper()
	linter, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{Shellcheck: "", Pyflakes: ""})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := linter.Lint("example.yml", []byte(workflow), nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range problems {
		all = append(all, p.Error())
	}
	return all
}

// thisAction is how a step uses this action: from its repository, or from a mirror of its image.
var thisAction = regexp.MustCompile(`^(?:artifact-promotion/promote@|docker://\S+/promote[:@])`)

// checkSteps checks the steps that use this action, anywhere in a document, and says how each does.
func checkSteps(t *testing.T, tree any, configs [][]byte) (all []string) {
	t.Helper()
	switch node := tree.(type) {
	case []any:
		for _, child := range node {
			all = append(all, checkSteps(t, child, configs)...)
		}
	case map[string]any:
		if uses, _ := node["uses"].(string); thisAction.MatchString(uses) {
			all = append(all, uses)
			checkInputs(t, node["with"], configs)
		}
		for _, child := range node {
			all = append(all, checkSteps(t, child, configs)...)
		}
	}
	return all
}

// checkInputs reads the inputs of a step as the program does, beside one of the
// README's config files.
func checkInputs(t *testing.T, with any, configs [][]byte) {
	t.Helper()
	inputs, ok := with.(map[string]any)
	if !ok {
		t.Errorf("a step of this action has no inputs: %v", with)
	}
	env := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": "acme/app", "GITHUB_RUN_NUMBER": "7"}
	for name, value := range inputs {
		if !slices.ContainsFunc(input.Table, func(i input.Input) bool { return i.Name == name }) {
			t.Errorf("there is no input %q", name)
		}
		env["INPUT_"+strings.ToUpper(name)] = example(fmt.Sprint(value), configs)
	}
	var refusals []error
	for _, c := range configs {
		err := accept(t, env, c)
		if err == nil {
			return
		}
		refusals = append(refusals, err)
	}
	t.Errorf("the inputs %v are refused: %v", inputs, errors.Join(refusals...))
}

func accept(t *testing.T, env map[string]string, config []byte) error {
	t.Helper()
	settings, err := input.Read(nil, env, exampleTime)
	if err != nil {
		return err
	}
	_, err = settings.Configure(t.Context(), func(context.Context, string, string) ([]byte, string, error) { return config, "", nil })
	return err
}

var (
	exampleTime = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
	expression  = regexp.MustCompile(`\$\{\{\s*([^}]*?)\s*\}\}`)
)

// example puts in what an expression could stand for.
func example(value string, configs [][]byte) string {
	plan := examplePlan(configs[0]).Encode()
	return expression.ReplaceAllStringFunc(value, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		switch {
		case strings.HasSuffix(name, "plan-digest"):
			return document.DigestOf(plan)
		case strings.HasSuffix(name, ".plan"):
			return document.Pack(plan)
		case strings.Contains(name, "digest"):
			return "sha256:" + strings.Repeat("1a", 32)
		case strings.Contains(name, "meta.outputs.tags"):
			return "ghcr.io/acme/app:1.2.3\ndocker.io/acme/app:1.2.3"
		case strings.HasSuffix(name, "outputs.metadata"):
			return `{"app": {"containerimage.digest": "sha256:` + strings.Repeat("1a", 32) + `", "image.name": "ghcr.io/acme/app:7"},
				"worker": {"containerimage.digest": "sha256:` + strings.Repeat("2b", 32) + `", "image.name": "ghcr.io/acme/worker:7"}}`
		case name == "inputs.environment":
			return "staging"
		default:
			return "text"
		}
	})
}

// examplePlan is a plan of the README's first config file.
func examplePlan(raw []byte) document.Plan {
	digest := "sha256:" + strings.Repeat("1a", 32)
	sum := sha256.Sum256(raw)
	return document.Plan{
		Schema: document.PlanSchema, Created: exampleTime.Add(-time.Hour), Expires: exampleTime.Add(time.Hour),
		Environment: "production", Config: &document.Config{Path: config.Default, Digest: "sha256:" + hex.EncodeToString(sum[:])},
		Attachments: true, Verify: "blobs",
		Promotions: []document.PlannedPromotion{{
			Source: document.Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
			Digest: digest, MediaType: "application/vnd.oci.image.index.v1+json", Repository: "registry.acme.example/prod/app",
			Tags: []document.PlannedTag{{Name: "production"}, {Name: "release-20261122-133000", Fixed: true}},
			From: &document.Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: digest},
		}},
	}
}

// TestReadmeNamesOutputs holds the README's use of outputs to those there are.
func TestReadmeNamesOutputs(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`steps\.promote\.outputs\.([a-z-]+)`).FindAllSubmatch(readme, -1) {
		if !slices.ContainsFunc(document.Outputs, func(o document.Output) bool { return o.Name == string(m[1]) }) {
			t.Errorf("the README uses the output %q, which does not exist", m[1])
		}
	}
	if !bytes.Contains(readme, []byte("steps.promote.outputs.")) {
		t.Error("the README shows no use of an output")
	}
}

// TestReadmeCommands reads every command line of the README that is of this program,
// as the program does.
func TestReadmeCommands(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	configs := readmeConfigs(t, readme)
	lines := regexp.MustCompile(`(?m)^\$ promote (.*)$`).FindAllSubmatch(readme, -1)
	for _, line := range lines {
		settings, err := input.Read(strings.Fields(string(line[1])), nil, exampleTime)
		if err == nil {
			_, err = settings.Configure(t.Context(), func(context.Context, string, string) ([]byte, string, error) { return configs[0], "", nil })
		}
		if err != nil {
			t.Errorf("%s: %v", line[0], err)
		}
	}
	if len(lines) < 5 {
		t.Errorf("found %d commands; the README has more", len(lines))
	}
}

// TestReadmeCountsFaults holds the README's number of faults to those that the promotions under faults meet.
func TestReadmeCountsFaults(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	chaos, err := os.ReadFile("internal/promote/chaos_test.go")
	if err != nil {
		t.Fatal(err)
	}
	left := len(regexp.MustCompile(`(?m)^\s+regtest\.\w+: 0,`).FindAll(chaos, -1))
	want := fmt.Sprintf("each of %d kinds", len(regtest.Faults())-left)
	if !bytes.Contains(readme, []byte(want)) {
		t.Errorf("the README does not say %q: there are %d faults, of which the runs leave out %d", want, len(regtest.Faults()), left)
	}
}
