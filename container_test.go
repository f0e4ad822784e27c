//go:build container

package main_test

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// TestContainerPromotes brings an image and all that is attached to it from one
// registry to another, each with an account of its own.
func TestContainerPromotes(t *testing.T) {
	const readerPassword, writerPassword = "read%only $'\"-secret", "may-write-secret"
	source, sourceRoot := guarded(t, "reader", readerPassword, "team/app", "pull")
	target, targetRoot := guarded(t, "writer", writerPassword, "prod/app", "pull", "push")
	image := regtest.Build(regtest.Spec{Seed: "new", Platforms: []string{"linux/amd64", "linux/arm64"}, Layers: 3, Provenance: true})
	image.Sign(image.Root, ".sig", "key")
	image.Attach(image.Manifests[0].Digest, "application/spdx+json", "sbom")
	push(t, image, sourceRoot, "team/app", "v1")
	old := regtest.Build(regtest.Spec{Seed: "old"})
	push(t, old, targetRoot, "prod/app", "production")

	o := newStep(t, map[string]string{
		"source":          source.Host() + "/team/app:v1",
		"target":          target.Host() + "/prod/app:production",
		"fixed-tags":      "release-{{run-number}}",
		"source-username": "reader", "source-password": readerPassword,
		"registry-auth": fmt.Sprintf("- registry: %s\n  username: writer\n  password: %s\n", target.Host(), writerPassword),
		"reason":        "first line\nsecond line",
	}).run(t)

	o.expect(t, 0, "promoted")
	o.checkMasks(t, readerPassword, writerPassword, jobToken)
	o.checkHides(t, readerPassword, writerPassword, jobToken, basic("reader", readerPassword), basic("writer", writerPassword))
	for name, want := range map[string]string{
		"changed":         "true",
		"digest":          image.Root,
		"previous-digest": old.Root,
		"image":           target.Host() + "/prod/app@" + image.Root,
		"tags":            target.Host() + "/prod/app:production\n" + target.Host() + "/prod/app:release-7",
	} {
		if o.outputs[name] != want {
			t.Errorf("output %s is %q, want %q", name, o.outputs[name], want)
		}
	}
	if !strings.HasPrefix(o.summary, "### Promoted ") || !strings.Contains(o.summary, image.Root) {
		t.Errorf("the summary does not tell of the promotion:\n%s", o.summary)
	}
	missing := regtest.Diff(readTree(t, sourceRoot, "team/app", image.Root), readTree(t, targetRoot, "prod/app", "production"))
	if len(missing) > 0 {
		t.Errorf("the target lacks %s", strings.Join(missing, "\n"))
	}
	expectTag(t, targetRoot, "prod/app", "release-7", image.Root)
}

// TestContainerDockerConfig logs in by the file that docker/login-action leaves
// where a container action can see it.
func TestContainerDockerConfig(t *testing.T) {
	for name, test := range map[string]struct {
		folder string // below the runner's temporary folder
		env    map[string]string
	}{
		"home":        {folder: "_github_home/.docker"},
		"runner temp": {folder: ".docker", env: map[string]string{"DOCKER_CONFIG": "/github/runner_temp/.docker"}},
	} {
		t.Run(name, func(t *testing.T) {
			const password = "kept-in-the-config"
			registry, root := guarded(t, "docker", password, "team/app", "pull", "push")
			image := regtest.Build(regtest.Spec{})
			push(t, image, root, "team/app", "v1")

			s := newStep(t, map[string]string{"source": registry.Host() + "/team/app:v1", "target": "staging"})
			maps.Copy(s.env, test.env)
			s.write(t, filepath.Join("temp", test.folder, "config.json"),
				fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, registry.Host(), basic("docker", password)))
			o := s.run(t)

			o.expect(t, 0, "promoted")
			o.checkHides(t, password, basic("docker", password))
			expectTag(t, root, "team/app", "staging", image.Root)
		})
	}
}

// TestContainerExitCodes holds that docker run ends as the program does.
func TestContainerExitCodes(t *testing.T) {
	registry := regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	push(t, image, registry.Access("", ""), "team/app", "v1")
	for name, test := range map[string]struct {
		inputs map[string]string
		code   int
		result string
		said   string
	}{
		"invalid":   {map[string]string{"digest": "sha256:short"}, 2, "invalid", "sha256:short"},
		"denied":    {map[string]string{"digest": "sha256:" + strings.Repeat("0", 64)}, 3, "denied", image.Root},
		"failed":    {map[string]string{"source": registry.Host() + "/team/app:v2"}, 1, "failed", "team/app:v2"},
		"unchanged": {map[string]string{"target": "v1"}, 0, "unchanged", image.Root},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := map[string]string{"source": registry.Host() + "/team/app:v1", "target": "staging"}
			maps.Copy(inputs, test.inputs)
			o := newStep(t, inputs).run(t)

			o.expect(t, test.code, test.result)
			if !strings.Contains(o.log, test.said) {
				t.Errorf("the log does not say %q", test.said)
			}
			expectTag(t, registry.Access("", ""), "team/app", "staging", "")
		})
	}
}

// TestContainerCertificates holds that certificates are checked, and that a
// private authority's can be given: as text of many lines, or as a file.
func TestContainerCertificates(t *testing.T) {
	registry := regtest.Serve(t, regtest.Options{TLS: true})
	push(t, regtest.Build(regtest.Spec{}), registry.Access("", ""), "team/app", "v1")
	authority := string(registry.CAPEM())
	for tag, test := range map[string]struct {
		certificates, file string
		code               int
		result             string
		said               string
	}{
		"unknown": {code: 1, result: "failed", said: "unknown authority"},
		"text":    {certificates: authority, result: "promoted"},
		"file":    {certificates: "certs/authority.pem", file: authority, result: "promoted"},
		"missing": {certificates: "certs/authority.pem", code: 2, result: "invalid", said: "certs/authority.pem"},
	} {
		t.Run(tag, func(t *testing.T) {
			s := newStep(t, map[string]string{
				"source": registry.Host() + "/team/app:v1", "target": tag, "ca-certificates": test.certificates,
			})
			if test.file != "" {
				s.write(t, "workspace/certs/authority.pem", test.file)
			}
			o := s.run(t)
			o.expect(t, test.code, test.result)
			if !strings.Contains(o.log, test.said) {
				t.Errorf("the log does not say %q", test.said)
			}
		})
	}
}

// TestContainerCancel ends a run at its worst moments. The runner gives a step
// 7.5 seconds from its first signal to the next, and 2.5 more.
func TestContainerCancel(t *testing.T) {
	upload := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method != http.MethodPost
	}
	second := func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/manifests/second") && r.Method == http.MethodPut
	}
	slow := &regtest.Network{RTT: 20 * time.Millisecond, BytesPerSecond: 1 << 20}
	for name, test := range map[string]struct {
		in      func(*http.Request) bool // the request during which the signal comes
		silence silence
		network *regtest.Network
		cancel  func(*testing.T, *running)
		moved   bool // the first tag, which nobody can put back
	}{
		"copy over a slow line":                {in: upload, network: slow, cancel: interruptClient},
		"copy, one request is not answered":    {in: upload, silence: once, cancel: killWith("INT")},
		"SIGTERM":                              {in: upload, silence: once, cancel: killWith("TERM")},
		"one tag moved, the next not answered": {in: second, silence: once, cancel: killWith("INT")},
		"one tag moved, then nothing answered": {in: second, silence: forever, cancel: killWith("INT"), moved: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{})
			source := regtest.Serve(t, regtest.Options{})
			target := regtest.Serve(t, regtest.Options{Network: test.network, Wrap: meet(test.in, reached, test.silence)})
			image := regtest.Build(regtest.Spec{Seed: "new", Layers: 2, LayerSize: 16 << 20})
			push(t, image, source.Access("", ""), "team/app", "v1")
			old := regtest.Build(regtest.Spec{Seed: "old"})
			push(t, old, target.Access("", ""), "prod/app", "first", "second")

			r := newStep(t, map[string]string{
				"source": source.Host() + "/team/app:v1",
				"target": target.Host() + "/prod/app:first\n" + target.Host() + "/prod/app:second",
			}).start(t)
			select {
			case <-reached:
			case <-time.After(time.Minute):
				r.remove(t)
				r.wait(t)
				t.Fatal("the run does not come so far")
			}
			killed := time.AfterFunc(10*time.Second, func() { r.remove(t) }) // as the runner does
			test.cancel(t, r)
			o := r.wait(t)
			killed.Stop()

			o.expect(t, 1, "failed")
			first := old.Root
			if test.moved {
				first = image.Root
			}
			expectTag(t, target.Access("", ""), "prod/app", "first", first)
			expectTag(t, target.Access("", ""), "prod/app", "second", old.Root)
		})
	}
}

// silence is how long a registry answers the program nothing.
type silence int

const (
	never   silence = iota
	once            // to one request
	forever         // from that request on
)

// meet tells of the program's first request that matches, and may be silent then.
func meet(match func(*http.Request) bool, reached chan<- struct{}, quiet silence) func(http.Handler) http.Handler {
	var met atomic.Bool
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ours := r.UserAgent() != regtest.Agent
			first := ours && match(r) && met.CompareAndSwap(false, true)
			if first {
				close(reached)
			}
			if quiet == never || !first && (quiet == once || !ours || !met.Load()) {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		})
	}
}

// interruptClient is what the runner does first; the client passes it on.
func interruptClient(t *testing.T, r *running) {
	t.Helper()
	if err := r.client.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func killWith(signal string) func(*testing.T, *running) {
	return func(t *testing.T, r *running) {
		t.Helper()
		docker(t, "kill", "--signal", signal, r.name)
	}
}

// TestContainerMemory promotes a layer of many times the memory that there is,
// and reads it back.
func TestContainerMemory(t *testing.T) {
	source, target := regtest.Serve(t, regtest.Options{}), regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{LayerSize: 512 << 20})
	push(t, image, source.Access("", ""), "team/app", "v1")

	s := newStep(t, map[string]string{
		"source": source.Host() + "/team/app:v1", "target": target.Host() + "/prod/app:production", "verify": "content",
	})
	s.options = append(s.options, "--memory", "96m", "--memory-swap", "96m")
	s.run(t).expect(t, 0, "promoted")
	expectTag(t, target.Access("", ""), "prod/app", "production", image.Root)
}

// TestContainerImage holds what the image is: one static binary that brings its
// own root certificates and time zones, started as action.yml says.
func TestContainerImage(t *testing.T) {
	var config struct {
		Entrypoint []string
		User       string
	}
	if err := json.Unmarshal([]byte(docker(t, "inspect", "--format", "{{json .Config}}", testedImage(t))), &config); err != nil {
		t.Fatal(err)
	}
	entrypoint := readAction(t).Runs.Entrypoint
	if !slices.Equal(config.Entrypoint, []string{entrypoint}) {
		t.Errorf("the image starts %q, action.yml %q", config.Entrypoint, entrypoint)
	}
	if config.User != "" {
		t.Errorf("the image's user is %q, who cannot write the runner's files", config.User)
	}
	if version := docker(t, "run", "--rm", "--network", "none", testedImage(t), "version"); version != "ci\n" {
		t.Errorf("the version is %q, not the build's argument", version)
	}
	docker(t, "run", "--rm", "--network", "none", "--entrypoint", "sh", testedImage(t), "-c", "test ! -e /etc/ssl && test ! -e /usr/share/zoneinfo")

	binary := copyOut(t, entrypoint)
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"build\tCGO_ENABLED=0", "build\t-trimpath=true", "dep\tgolang.org/x/crypto/x509roots/fallback\t"} {
		if !strings.Contains(info.String(), line) {
			t.Errorf("the binary's build information has no %q", line)
		}
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "Europe/Berlin") {
		t.Error("the binary has no time zones")
	}
}

func copyOut(t *testing.T, path string) string {
	t.Helper()
	id := strings.TrimSpace(docker(t, "create", testedImage(t)))
	defer docker(t, "rm", id)
	to := filepath.Join(t.TempDir(), "binary")
	docker(t, "cp", id+":"+path, to)
	return to
}

// TestContainerMirror runs the image from a mirror, under a name of its own, as the README shows: the program's own
// defaults stand for those of action.yml, so that the token is one of three inputs.
func TestContainerMirror(t *testing.T) {
	const mirror = "mirror.example:5000/artifact-promotion/promote:v1"
	docker(t, "tag", testedImage(t), mirror)
	defer docker(t, "rmi", mirror)
	registry := regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	push(t, image, registry.Access("", ""), "team/app", "staging")
	s := newMirrorStep(t, mirror, map[string]string{
		"source": registry.Host() + "/team/app:staging", "target": "production", "github-token": jobToken,
	})
	if inputs := slices.Collect(maps.Keys(s.env)); len(slices.DeleteFunc(inputs, func(n string) bool { return !strings.HasPrefix(n, "INPUT_") })) != 3 {
		t.Fatalf("the container gets %v", s.env)
	}
	o := s.run(t)

	o.expect(t, 0, "promoted")
	o.checkMasks(t, jobToken)
	o.checkHides(t, jobToken)
	expectTag(t, registry.Access("", ""), "team/app", "production", image.Root)
}

// TestContainerKubernetes starts the action as Actions Runner Controller does in
// its Kubernetes mode: the container waits in tail, and a script runs the
// entrypoint under env, for no shell exports a name with a hyphen
// (actions/runner-container-hooks, packages/k8s/src/k8s/utils.ts).
func TestContainerKubernetes(t *testing.T) {
	registry := regtest.Serve(t, regtest.Options{})
	image := regtest.Build(regtest.Spec{})
	push(t, image, registry.Access("", ""), "team/app", "v1")
	s := newStep(t, map[string]string{
		"source": registry.Host() + "/team/app:v1", "target-env": "staging", "config": "none", "reason": "a $HOME \"quoted\" `reason`",
	})
	s.env["GITHUB_ACTIONS"] = "true"
	script := "#!/bin/sh -l\n\ncd /github/workspace && \\\nexec env "
	for _, name := range slices.Sorted(maps.Keys(s.env)) {
		script += `"` + name + "=" + regexp.MustCompile("[\\\\\"$`]").ReplaceAllString(s.env[name], `\$0`) + `" `
	}
	s.write(t, "temp/step.sh", script+readAction(t).Runs.Entrypoint+"\n")

	args := append([]string{"run", "--detach", "--rm", "--name", s.name, "--entrypoint", "tail"}, s.options...)
	docker(t, append(append(args, s.volumes()...), testedImage(t), "-f", "/dev/null")...)
	t.Cleanup(func() { s.remove(t) })
	log := docker(t, "exec", s.name, "sh", "-e", "/github/runner_temp/step.sh")

	o := s.read(t)
	o.log = log
	o.expect(t, 0, "promoted")
	if !strings.Contains(o.summary, "quoted") {
		t.Errorf("the summary has no reason:\n%s", o.summary)
	}
	expectTag(t, registry.Access("", ""), "team/app", "staging", image.Root)
}

// guarded starts a registry with one account for the program, and one with every
// right for the test.
func guarded(t *testing.T, user, password, repository string, actions ...string) (*regtest.Registry, regtest.Access) {
	t.Helper()
	r := regtest.Serve(t, regtest.Options{Auth: &regtest.Auth{Users: map[string]regtest.User{
		user:   {Password: password, Grants: []regtest.Grant{{Repository: repository, Actions: actions}}},
		"root": {Password: "root-of-the-test", Grants: []regtest.Grant{{Repository: "*", Actions: []string{"*"}}}},
	}}})
	return r, r.Access("root", "root-of-the-test")
}

func push(t *testing.T, image *regtest.Image, to regtest.Access, repository string, tags ...string) {
	t.Helper()
	if err := image.Push(t.Context(), to, repository, tags...); err != nil {
		t.Fatal(err)
	}
}

func readTree(t *testing.T, from regtest.Access, repository, reference string) *regtest.Tree {
	t.Helper()
	tree, err := regtest.Read(t.Context(), from, repository, reference)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// expectTag holds what a tag points at: nothing, if the digest is empty.
func expectTag(t *testing.T, at regtest.Access, repository, tag, want string) {
	t.Helper()
	digest, exists, err := regtest.TagDigest(t.Context(), at, repository, tag)
	if err != nil || digest != want || exists != (want != "") {
		t.Errorf("%s holds %q (error %v), want %q", tag, digest, err, want)
	}
}
