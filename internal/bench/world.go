package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// The account of both registries.
const (
	user     = "bench"
	password = "bench-password"
)

// world is the two registries, the image at the first, and a folder for all
// that the tools leave behind.
type world struct {
	folder         string
	source, target *server
	program        string // ours, built for this run
}

// server is a registry in a process of its own, so that a tool's process is
// measured alone.
type server struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  *bufio.Reader
	host    string
}

func newWorld(ctx context.Context, memory string, n network) (*world, error) {
	folder, err := os.MkdirTemp(memory, "promote-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	w := &world{folder: folder, program: filepath.Join(folder, "promote")}
	if err := w.build(ctx, n); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) build(ctx context.Context, n network) error {
	registry := filepath.Join(w.folder, "distribution")
	for _, args := range [][]string{
		{"build", "-o", w.program, "."},
		{"-C", "internal/regtest/distribution", "build", "-o", registry, "."},
	} {
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	var err error
	if w.source, err = start(ctx, registry, filepath.Join(w.folder, "source"), n); err != nil {
		return err
	}
	if w.target, err = start(ctx, registry, filepath.Join(w.folder, "target"), n); err != nil {
		return err
	}
	if err := w.logIn(ctx); err != nil {
		return err
	}
	access := regtest.Access{Host: w.source.host, User: user, Password: password}
	if err := regtest.ReferenceImage().Push(ctx, access, "acme/app", "dev"); err != nil {
		return fmt.Errorf("push the image: %w", err)
	}
	_, err = w.source.requests() // the push is nobody's
	return err
}

func start(ctx context.Context, binary, root string, n network) (*server, error) {
	c := exec.CommandContext(ctx, binary, "-root", root, "-user", user, "-password", password,
		"-rtt", n.rtt.String(), "-bandwidth", strconv.FormatInt(n.bandwidth, 10))
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("start registry: %w", err)
	}
	s := &server{command: c, stdin: stdin, stdout: bufio.NewReaderSize(stdout, 1<<20)}
	line, err := s.stdout.ReadString('\n')
	s.host = strings.TrimSpace(line)
	return s, err
}

// logIn writes docker's config file, which every tool reads, and tells regctl
// that the registries speak plain http.
func (w *world) logIn(ctx context.Context) error {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     []byte `json:"auth"`
	}
	login := entry{user, password, []byte(user + ":" + password)}
	config, err := json.Marshal(map[string]any{"auths": map[string]entry{w.source.host: login, w.target.host: login}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(w.folder, ".docker"), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(w.folder, ".docker", "config.json"), config, 0o600); err != nil {
		return err
	}
	if _, err := exec.LookPath("regctl"); err != nil {
		return nil //nolint:nilerr // named in the table
	}
	for _, host := range []string{w.source.host, w.target.host} {
		c := exec.CommandContext(ctx, "regctl", "registry", "set", host, "--tls", "disabled", "--skip-check")
		c.Env = w.environment()
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("regctl registry set: %w\n%s", err, out)
		}
	}
	return nil
}

func (w *world) environment() []string {
	return append(os.Environ(), "HOME="+w.folder, "DOCKER_CONFIG="+filepath.Join(w.folder, ".docker"), "GITHUB_ACTIONS=")
}

func (w *world) close() {
	for _, s := range []*server{w.source, w.target} {
		if s != nil {
			_ = s.stdin.Close()
			_ = s.command.Wait()
		}
	}
	_ = os.RemoveAll(w.folder)
}

// requests are those since the last call.
func (s *server) requests() ([]regtest.Request, error) {
	if _, err := fmt.Fprintln(s.stdin, "requests"); err != nil {
		return nil, err
	}
	line, err := s.stdout.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var all []regtest.Request
	err = json.Unmarshal(line, &all)
	return all, err
}
