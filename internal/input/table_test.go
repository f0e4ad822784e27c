package input

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/goccy/go-yaml"
)

var update = flag.Bool("update", false, "rewrite action.yml and the tables of README.md")

const (
	actionFile = "../../action.yml"
	readmeFile = "../../README.md"
)

func TestActionFile(t *testing.T) {
	expectFile(t, actionFile, actionText())
}

func TestReadmeTables(t *testing.T) {
	text := readFile(t, readmeFile)
	text = between(t, text, "inputs", inputsTable())
	text = between(t, text, "outputs", outputsTable())
	expectFile(t, readmeFile, text)
}

// TestActionFileIsRead reads action.yml as the runner does: as YAML.
func TestActionFileIsRead(t *testing.T) {
	var action struct {
		Name, Description, Author string
		Branding                  struct{ Icon, Color string }
		Inputs                    map[string]struct{ Description, Default string }
		Outputs                   map[string]struct{ Description string }
		Runs                      struct{ Using, Image, Entrypoint string }
	}
	if err := yaml.UnmarshalWithOptions([]byte(readFile(t, actionFile)), &action, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if action.Author != "artifact-promotion" || action.Runs.Using != "docker" || action.Runs.Image != "Dockerfile" || action.Runs.Entrypoint != "/promote" {
		t.Errorf("action is %+v", action)
	}
	for _, in := range Table {
		if got := action.Inputs[in.Name]; got.Description != in.Description || got.Default != in.Default {
			t.Errorf("input %s is %+v in action.yml, want %+v", in.Name, got, in)
		}
	}
	for _, out := range document.Outputs {
		if got := action.Outputs[out.Name]; got.Description != out.Description {
			t.Errorf("output %s is %+v in action.yml, want %+v", out.Name, got, out)
		}
	}
	if len(action.Inputs) != len(Table) || len(action.Outputs) != len(document.Outputs) {
		t.Errorf("action.yml has %d inputs and %d outputs, want %d and %d", len(action.Inputs), len(action.Outputs), len(Table), len(document.Outputs))
	}
}

func TestTable(t *testing.T) {
	names := inputNames()
	want := strings.Fields("mode source digest metadata target target-env config images plan to since limit find fixed-tags source-username source-password target-username target-password " +
		"registry-auth ca-certificates attachments verify record dry-run reason override-gates concurrency timeout github-token summary")
	if !slices.Equal(names, want) {
		t.Errorf("inputs are %v, want %v", names, want)
	}
	var secrets []string
	for _, in := range Table {
		if in.Secret {
			secrets = append(secrets, in.Name)
		}
		// The runner evaluates expressions in descriptions, and then cannot load the action.
		if in.Description == "" || strings.Contains(in.Description, "${{") {
			t.Errorf("%s has the description %q", in.Name, in.Description)
		}
		if in.Kind == Duration {
			if _, err := time.ParseDuration(in.Default); err != nil {
				t.Errorf("%s: default: %v", in.Name, err)
			}
		}
	}
	if got, want := fmt.Sprint(secrets), "[source-password target-password registry-auth github-token]"; got != want {
		t.Errorf("secrets are %s, want %s", got, want)
	}
}

func TestOutputs(t *testing.T) {
	var names []string
	for _, out := range document.Outputs {
		names = append(names, out.Name)
	}
	if got, want := strings.Join(names, " "), "result message changed digest previous-digest image images tags plan plan-digest matrix record ledger-head results"; got != want {
		t.Errorf("outputs are %s, want %s", got, want)
	}
}

func TestUsage(t *testing.T) {
	usage := Usage()
	for _, in := range Table {
		if !strings.Contains(usage, "\n  --"+in.Name+"  ") {
			t.Errorf("usage has no --%s", in.Name)
		}
	}
	expectText(t, usage, "--timeout  Duration, default 30m\n", "--source  List\n")
	if strings.Contains(usage, "${{") {
		t.Error("usage shows an expression of workflows as a default")
	}
	for line := range strings.Lines(usage) {
		if len([]rune(line)) > 110 || strings.TrimRight(line, " \n") != strings.TrimSuffix(line, "\n") {
			t.Errorf("usage has the line %q", line)
		}
	}
}

func actionText() string {
	var b strings.Builder
	b.WriteString(`# Made from internal/input and internal/document: go test ./internal/input -update
name: Promote container images by digest
description: Promotes a container image by digest, with its signatures, attestations and SBOMs, between environments and registries.
author: artifact-promotion
branding:
  icon: arrow-up-circle
  color: blue
inputs:
`)
	for _, in := range Table {
		fmt.Fprintf(&b, "  %s:\n    description: %s\n", in.Name, doubleQuoted(in.Description))
		if in.Default != "" {
			fmt.Fprintf(&b, "    default: %s\n", doubleQuoted(in.Default))
		}
	}
	b.WriteString("outputs:\n")
	for _, out := range document.Outputs {
		fmt.Fprintf(&b, "  %s:\n    description: %s\n", out.Name, doubleQuoted(out.Description))
	}
	b.WriteString("runs:\n  using: docker\n  image: Dockerfile\n  entrypoint: /promote\n")
	return b.String()
}

func doubleQuoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

func inputsTable() string {
	var b strings.Builder
	b.WriteString("| Input | Kind | Default | Meaning |\n| --- | --- | --- | --- |\n")
	for _, in := range Table {
		fallback := ""
		if in.Default != "" {
			fallback = "`" + in.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", in.Name, in.Kind, fallback, cell(in.Description))
	}
	return b.String()
}

func outputsTable() string {
	var b strings.Builder
	b.WriteString("| Output | Meaning |\n| --- | --- |\n")
	for _, out := range document.Outputs {
		fmt.Fprintf(&b, "| `%s` | %s |\n", out.Name, cell(out.Description))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// between puts body between the name's markers.
func between(t *testing.T, text, name, body string) string {
	t.Helper()
	markers := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n.*<!-- /` + name + ` -->`)
	if len(markers.FindAllString(text, -1)) != 1 {
		t.Fatalf("%s has no pair of markers for %s", readmeFile, name)
	}
	return markers.ReplaceAllLiteralString(text, "<!-- "+name+" -->\n"+body+"<!-- /"+name+" -->")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func expectFile(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if readFile(t, path) != want {
		t.Errorf("%s differs from the tables: run go test ./internal/input -update", path)
	}
}
