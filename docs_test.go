package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/input"
	"github.com/goccy/go-yaml"
	"github.com/rhysd/actionlint"
)

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestReadmeExamples checks every example of the README: a workflow by
// actionlint, each step of this action by the table of its inputs and outputs.
func TestReadmeExamples(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := yamlBlock.FindAllSubmatch(readme, -1)
	steps := 0
	for _, block := range blocks {
		text := string(block[1])
		for _, problem := range lint(t, asWorkflow(text)) {
			t.Errorf("example:\n%s%s", text, problem)
		}
		var tree any
		if err := yaml.Unmarshal(block[1], &tree); err != nil {
			t.Errorf("example:\n%s%v", text, err)
		}
		steps += checkSteps(t, tree)
	}
	if len(blocks) < 15 || steps < 15 {
		t.Errorf("found %d examples with %d steps of this action; the README has more", len(blocks), steps)
	}
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

// checkSteps finds the steps that use this action, anywhere in a document.
func checkSteps(t *testing.T, tree any) (found int) {
	t.Helper()
	switch node := tree.(type) {
	case []any:
		for _, child := range node {
			found += checkSteps(t, child)
		}
	case map[string]any:
		if uses, _ := node["uses"].(string); strings.HasPrefix(uses, "artifact-promotion/promote@") {
			found++
			checkInputs(t, node["with"])
		}
		for _, child := range node {
			found += checkSteps(t, child)
		}
	}
	return found
}

func checkInputs(t *testing.T, with any) {
	t.Helper()
	inputs, ok := with.(map[string]any)
	if !ok {
		t.Errorf("a step of this action has no inputs: %v", with)
	}
	env := map[string]string{"GITHUB_ACTIONS": "true"}
	for name, value := range inputs {
		if !slices.ContainsFunc(input.Table, func(i input.Input) bool { return i.Name == name }) {
			t.Errorf("there is no input %q", name)
		}
		env["INPUT_"+strings.ToUpper(name)] = example(fmt.Sprint(value))
	}
	if _, err := input.Read(nil, func(key string) string { return env[key] }, time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)); err != nil {
		t.Errorf("the inputs %v are refused: %v", inputs, err)
	}
}

var expression = regexp.MustCompile(`\$\{\{\s*([^}]*?)\s*\}\}`)

// example puts in what an expression could stand for.
func example(value string) string {
	return expression.ReplaceAllStringFunc(value, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		switch {
		case strings.Contains(name, "digest"):
			return "sha256:" + strings.Repeat("1a", 32)
		case strings.Contains(name, "meta.outputs.tags"):
			return "ghcr.io/acme/app:1.2.3\ndocker.io/acme/app:1.2.3"
		default:
			return "text"
		}
	})
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
