package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// input is one of a step's inputs.
type input struct{ name, value string }

// inputs are a step's inputs in the order in which they are shown.
type inputs []input

// job runs the program step by step, with the environment and the files that
// the runner gives to a container action.
type job struct {
	program Program
	out     io.Writer
	folder  string
	summary string // of the last step
}

func newJob(program Program, out io.Writer) (*job, error) {
	folder, err := os.MkdirTemp("", "promote-demo-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for outputs and summary: %w", err)
	}
	return &job{program: program, out: out, folder: folder}, nil
}

func (j *job) close() { _ = os.RemoveAll(j.folder) }

// print prints a text. The demo's output is a show: if it cannot be written, as
// into a closed pipe, there is nobody to tell.
func (j *job) print(text string) { _, _ = io.WriteString(j.out, text) }

func (j *job) tell(format string, args ...any) { j.print(fmt.Sprintf(format, args...) + "\n") }

func (j *job) title(text string) {
	j.tell("\n%s\n%s", text, strings.Repeat("─", len([]rune(text))))
}

// step runs the program once and shows what the job's log and outputs would.
func (j *job) step(ctx context.Context, want string, with inputs) error {
	j.print(with.String())
	env, err := j.environment(with)
	if err != nil {
		return err
	}
	var log bytes.Buffer
	code := j.program(ctx, env, nil, &log, &log)
	j.print(indent(show(log.String()), "  "))
	outputs, err := os.ReadFile(env["GITHUB_OUTPUT"])
	if err != nil {
		return fmt.Errorf("read the outputs: %w", err)
	}
	summary, err := os.ReadFile(env["GITHUB_STEP_SUMMARY"])
	if err != nil {
		return fmt.Errorf("read the summary: %w", err)
	}
	j.summary = string(summary)
	result := output(string(outputs), "result")
	j.tell("outputs: result=%s changed=%s previous-digest=%s (exit code %d)", result,
		output(string(outputs), "changed"), output(string(outputs), "previous-digest"), code)
	if result != want {
		return fmt.Errorf("the step ended as %q; the story says %q", result, want)
	}
	return nil
}

// environment is what the runner sets, with fresh files for outputs and summary.
func (j *job) environment(with inputs) (map[string]string, error) {
	env := map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", "HOME": j.folder}
	for _, key := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} {
		env[key] = filepath.Join(j.folder, strings.ToLower(key))
		if err := os.WriteFile(env[key], nil, 0o600); err != nil {
			return nil, fmt.Errorf("make a file for the runner: %w", err)
		}
	}
	for _, i := range with {
		env["INPUT_"+strings.ToUpper(i.name)] = i.value
	}
	return env, nil
}

// String shows the inputs as a workflow does, secrets as the log would.
func (i inputs) String() string {
	var b strings.Builder
	b.WriteString("- uses: artifact-promotion/promote@v1\n  with:\n")
	for _, in := range i {
		value := hide(in.value)
		if strings.Contains(value, "\n") {
			value = "|\n      " + strings.ReplaceAll(value, "\n", "\n      ")
		}
		fmt.Fprintf(&b, "    %s: %s\n", in.name, value)
	}
	return b.String() + "\n"
}

func hide(value string) string {
	return strings.NewReplacer(builder.password, "***", releaser.password, "***").Replace(value)
}

// output reads a value from the runner's file: name<<delimiter, lines, delimiter.
func output(file, name string) string {
	_, rest, found := strings.Cut("\n"+file, "\n"+name+"<<")
	if !found {
		return ""
	}
	delimiter, rest, _ := strings.Cut(rest, "\n")
	value, _, _ := strings.Cut("\n"+rest, "\n"+delimiter)
	return strings.TrimPrefix(value, "\n")
}
