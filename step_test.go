//go:build container

package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/runner/runnertest"
	"github.com/goccy/go-yaml"
)

const (
	jobToken  = "ghs_token-of-the-job"
	runnerUID = 1001            // of GitHub's runners: what the runner made is not root's
	longest   = 2 * time.Minute // of a step, on a busy machine
)

// Files and folders of the host that a container action sees, from the step's
// folder on.
const (
	outputFile  = "temp/_runner_file_commands/set_output_4f1c"
	summaryFile = "temp/_runner_file_commands/step_summary_4f1c"
)

var mounts = [][2]string{
	{"temp", "/github/runner_temp"},
	{"temp/_github_home", "/github/home"},
	{"temp/_github_workflow", "/github/workflow"},
	{"temp/_runner_file_commands", "/github/file_commands"},
	{"workspace", "/github/workspace"},
}

// step is one step of a job that uses the action, as the runner sees it.
type step struct {
	name    string
	folder  string
	env     map[string]string // of the container
	options []string          // of docker run, beyond the runner's own
	mirror  string            // the image, where the step names one; "" is the action
	before  []string          // what the folder holds before the step runs
}

// newStep prepares what the runner does before it starts the container.
func newStep(t *testing.T, inputs map[string]string) *step {
	t.Helper()
	s := &step{
		name: fmt.Sprintf("promote_%08x", rand.Uint32()), folder: t.TempDir(), options: []string{"--network", "host"},
		env: map[string]string{
			"HOME":                "/github/home",
			"GITHUB_ACTOR":        "octocat",
			"GITHUB_OUTPUT":       "/github/file_commands/" + filepath.Base(outputFile),
			"GITHUB_REPOSITORY":   "acme/app",
			"GITHUB_RUN_ID":       "1658821493",
			"GITHUB_RUN_NUMBER":   "7",
			"GITHUB_SERVER_URL":   "https://github.com",
			"GITHUB_STEP_SUMMARY": "/github/file_commands/" + filepath.Base(summaryFile),
			"GITHUB_WORKSPACE":    "/github/workspace",
			"RUNNER_OS":           "Linux",
			"RUNNER_TEMP":         "/github/runner_temp",
		},
	}
	for _, m := range mounts {
		s.own(t, m[0], os.MkdirAll(filepath.Join(s.folder, m[0]), 0o755))
	}
	s.write(t, outputFile, "")
	s.write(t, summaryFile, "")
	for name, input := range readAction(t).Inputs {
		s.env["INPUT_"+strings.ToUpper(name)] = strings.ReplaceAll(input.Default, "${{ github.token }}", jobToken)
	}
	for name, value := range inputs {
		key := "INPUT_" + strings.ToUpper(name)
		if _, declared := s.env[key]; !declared {
			t.Fatalf("action.yml declares no input %q", name)
		}
		s.env[key] = value
	}
	return s
}

// newMirrorStep is a step with "uses: docker://…": the runner reads no action.yml, so that the container has the step's
// own inputs alone, and the image's own entrypoint.
func newMirrorStep(t *testing.T, image string, inputs map[string]string) *step {
	t.Helper()
	s := newStep(t, inputs)
	s.mirror = image
	maps.DeleteFunc(s.env, func(name, _ string) bool {
		return strings.HasPrefix(name, "INPUT_") && !slices.ContainsFunc(slices.Collect(maps.Keys(inputs)), func(input string) bool {
			return name == "INPUT_"+strings.ToUpper(input)
		})
	})
	return s
}

// action is what the runner reads of action.yml.
type action struct {
	Inputs map[string]struct{ Default string }
	Runs   struct{ Using, Image, Entrypoint string }
}

func readAction(t *testing.T) action {
	t.Helper()
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// write makes a file that an earlier step could have made.
func (s *step) write(t *testing.T, path, text string) {
	t.Helper()
	folder := filepath.Dir(path)
	s.own(t, folder, os.MkdirAll(filepath.Join(s.folder, folder), 0o755))
	s.own(t, path, os.WriteFile(filepath.Join(s.folder, path), []byte(text), 0o644))
}

func (s *step) own(t *testing.T, path string, err error) {
	t.Helper()
	if err := errors.Join(err, os.Chown(filepath.Join(s.folder, path), runnerUID, runnerUID)); err != nil {
		t.Fatalf("make what belongs to the runner's user (as root): %v", err)
	}
}

// running is a step's container and the docker client in front of it.
type running struct {
	*step
	client *exec.Cmd
	log    bytes.Buffer // both streams: the runner reads commands from either
}

// outcome is what a step leaves.
type outcome struct {
	code    int
	log     string
	outputs map[string]string
	summary string
}

func (s *step) run(t *testing.T) outcome {
	t.Helper()
	return s.start(t).wait(t)
}

// start is DockerCommandManager.DockerRun: variables go by name, their values
// stand in the client's own environment.
func (s *step) start(t *testing.T) *running {
	t.Helper()
	s.before = s.list(t)
	args := []string{"run", "--name", s.name, "--label", "promote-ci", "--workdir", "/github/workspace", "--rm"}
	env := []string{"PATH=" + os.Getenv("PATH"), "DOCKER_HOST=" + os.Getenv("DOCKER_HOST")}
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		args = append(args, "-e", name)
		env = append(env, name+"="+s.env[name])
	}
	args = append(args, "-e", "GITHUB_ACTIONS=true", "-e", "CI=true")
	image := s.mirror
	if image == "" {
		image = testedImage(t)
		args = append(args, "--entrypoint", readAction(t).Runs.Entrypoint)
	}
	args = append(args, s.options...)
	args = append(args, s.volumes()...)

	ctx, cancel := context.WithTimeout(t.Context(), longest)
	t.Cleanup(cancel)
	r := &running{step: s, client: exec.CommandContext(ctx, dockerClient(t), append(args, image)...)}
	r.client.Env, r.client.Stdout, r.client.Stderr = env, &r.log, &r.log
	t.Cleanup(func() { s.remove(t) })
	if err := r.client.Start(); err != nil {
		t.Fatalf("start the docker client: %v", err)
	}
	return r
}

func (s *step) volumes() []string {
	socket := strings.TrimPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	args := []string{"-v", socket + ":/var/run/docker.sock"}
	for _, m := range mounts {
		args = append(args, "-v", filepath.Join(s.folder, m[0])+":"+m[1])
	}
	return args
}

// remove ends the container of a test that ended before it did.
func (s *step) remove(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
	defer cancel()
	_ = exec.CommandContext(ctx, dockerClient(t), "rm", "--force", s.name).Run() // --rm removes all others
}

// wait reads what the step leaves as the runner does, and that it leaves nothing
// else.
func (r *running) wait(t *testing.T) outcome {
	t.Helper()
	err := r.client.Wait()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		t.Fatalf("wait for the docker client: %v", err)
	}
	o := r.read(t)
	o.code, o.log = r.client.ProcessState.ExitCode(), r.log.String()
	t.Logf("exit code %d, log:\n%s", o.code, o.log)
	if after := r.list(t); !slices.Equal(after, r.before) {
		t.Errorf("the step changes what lies there:\n%s\nwas\n%s", strings.Join(after, "\n"), strings.Join(r.before, "\n"))
	}
	return o
}

func (s *step) read(t *testing.T) (o outcome) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, outputFile))
	if err == nil {
		o.outputs, err = runnertest.ParseKeyValueFile(string(text))
	}
	if err != nil {
		t.Errorf("the runner cannot read the outputs: %v\n%s", err, text)
	}
	summary, err := os.ReadFile(filepath.Join(s.folder, summaryFile))
	if err != nil {
		t.Error(err)
	}
	o.summary = string(summary)
	return o
}

// list names everything in the step's folder, with its owner and its mode.
func (s *step) list(t *testing.T) (all []string) {
	t.Helper()
	err := filepath.WalkDir(s.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%s %v %d", path, info.Mode(), info.Sys().(*syscall.Stat_t).Uid))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// expect checks what every outcome has: a result that fits the exit code, a
// summary, and an annotation where it ended badly.
func (o outcome) expect(t *testing.T, code int, result string) {
	t.Helper()
	if o.code != code || o.outputs["result"] != result {
		t.Fatalf("exit code %d and result %q, want %d and %q; message: %s", o.code, o.outputs["result"], code, result, o.outputs["message"])
	}
	if o.outputs["message"] == "" || !strings.HasPrefix(o.summary, "### ") {
		t.Errorf("the message is %q, the summary:\n%s", o.outputs["message"], o.summary)
	}
	failed := slices.ContainsFunc(runnertest.ParseLog(o.log), func(c runnertest.Command) bool { return c.Name == "error" })
	if failed != (code != 0) {
		t.Errorf("exit code %d, but an error in the log: %v", code, failed)
	}
}

// checkMasks holds that the log begins with the masks of exactly these secrets,
// and has no command after them that the program has no need of.
func (o outcome) checkMasks(t *testing.T, secrets ...string) {
	t.Helper()
	commands := runnertest.ParseLog(o.log)
	masked := map[string]bool{}
	for len(commands) > 0 && commands[0].Name == "add-mask" {
		masked[commands[0].Data] = true
		commands = commands[1:]
	}
	for _, secret := range secrets {
		if !masked[secret] {
			t.Errorf("%q is not masked first", secret)
		}
		delete(masked, secret)
	}
	if len(masked) > 0 {
		t.Errorf("these are masked too: %q", slices.Collect(maps.Keys(masked)))
	}
	for _, c := range commands {
		if !slices.Contains([]string{"group", "endgroup", "notice", "warning", "error"}, c.Name) {
			t.Errorf("the log runs the command %+v", c)
		}
	}
	if !strings.HasPrefix(o.log, "::add-mask::") {
		t.Error("something is printed before the masks")
	}
}

// checkHides holds that secrets stand nowhere but in their masks.
func (o outcome) checkHides(t *testing.T, secrets ...string) {
	t.Helper()
	text := o.summary
	for _, value := range o.outputs {
		text += "\n" + value
	}
	for line := range strings.Lines(o.log) {
		if !strings.HasPrefix(line, "::add-mask::") {
			text += line
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("log, outputs or summary show %q", secret)
		}
	}
}

// basic is how name and password stand in docker's config and in HTTP.
func basic(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

// dockerClient and testedImage come from .ci/container: without them nothing
// is tested, and that is a failure.
func dockerClient(t *testing.T) string { return given(t, "PROMOTE_DOCKER") }

func testedImage(t *testing.T) string { return given(t, "PROMOTE_CONTAINER_IMAGE") }

func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run .ci/container", name)
	}
	return value
}

// docker runs the client and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), dockerClient(t), args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, text, &stderr)
	}
	return string(text)
}
