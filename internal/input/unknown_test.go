package input

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A key of a step's `with:` that is no input is refused, however it is written, with
// the input that was most likely meant.
func TestUnknownInputs(t *testing.T) {
	for variable, want := range map[string][]string{
		"INPUT_DRYRUN":                      {"dryrun: given an unknown input (INPUT_DRYRUN); expected an input;", "the closest is dry-run", "dry-run: true"},
		"INPUT_DRY_RUN":                     {"dry_run: given", "the closest is dry-run"}, // also of "dry run": the runner writes _ for a space
		"INPUT_TARGET_ENV":                  {"target_env: given", "the closest is target-env", "target-env: staging"},
		"INPUT_TARGETENV":                   {"the closest is target-env"},
		"INPUT_GITHUB_TOKEN":                {"the closest is github-token"},
		"INPUT_FIXED-TAG":                   {"the closest is fixed-tags"},
		"INPUT_OVERRIDE_GATE":               {"the closest is override-gates"},
		"INPUT_KUBECONFIG":                  {"kubeconfig: given", "expected one of those that the README lists"},
		"INPUT_":                            {"(INPUT_);"},
		"INPUT_dry-run":                     {"dry-run: given", "(INPUT_dry-run)", "expected its name in upper case: INPUT_DRY-RUN"},
		"INPUT_ARGS2":                       {"args2: given"},
		"INPUT_X\n::error::y":               {`x\n::error::y: given`, `(INPUT_X\n::error::y);`},
		"INPUT_" + strings.Repeat("A", 300): {"expected one of those"},
	} {
		for _, value := range []string{"true", ""} {
			_, err := ask(nil, good(env{variable: value}))
			fault := expectOneFault(t, err)
			expectText(t, fault.Message()+"\n"+fault.Example, want...)
			if text := fault.Message(); len(text) > 700 || strings.ContainsAny(text, "\n\x1b") {
				t.Errorf("it is said in %q", text)
			}
		}
	}
}

// All of them are said at once, in one message, in an order that is always the same.
func TestUnknownInputsAreSaidTogether(t *testing.T) {
	_, err := ask(nil, env{"INPUT_SORCE": "a.io/x:1", "INPUT_TARGETS": "staging", "INPUT_DRYRUN": "true"})
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	var names []string
	for _, f := range e.Faults {
		names = append(names, f.Input)
	}
	if want := []string{"dryrun", "sorce", "targets", "source", "target"}; !slices.Equal(names, want) {
		t.Errorf("faults are of %v, want %v", names, want)
	}
}

// What GitHub itself sets is no input: the keys of `with:` that every step with a
// container has, and what only looks like one.
func TestVariablesOfGitHub(t *testing.T) {
	variables := good(env{
		"INPUT_ARGS": "--dry-run", "INPUT_ENTRYPOINT": "/promote", "INPUT": "x", "input_dryrun": "x", "INPUTS_X": "x",
		"GITHUB_ACTIONS": "true", "RUNNER_TEMP": "/tmp", "MY_INPUT_X": "x",
	})
	for _, in := range Table {
		variables["INPUT_"+strings.ToUpper(in.Name)] = "" // the runner hands over each, given or not
	}
	variables["INPUT_SOURCE"], variables["INPUT_TARGET"] = "ghcr.io/acme/app:1.4.2", "staging"
	delete(variables, "source")
	delete(variables, "target")
	if _, err := ask(nil, variables); err != nil {
		t.Error(err)
	}
}

// A misspelt password is masked, and shown nowhere.
func TestUnknownInputsKeepSecrets(t *testing.T) {
	settings, err := ask(nil, good(env{"INPUT_TARGET_PASSWORD": " hunter22 ", "INPUT_REGISTRYAUTH": "- password: hunter23"}))
	for _, secret := range []string{"hunter22", "hunter23"} {
		if !slices.Contains(settings.Secrets, secret) || strings.Contains(err.Error(), secret) {
			t.Errorf("secrets are %q, error %v", settings.Secrets, err)
		}
	}
}
