package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/regtest"
)

// world is the registries, the images at the first, and a folder for all that
// the tools leave behind.
type world struct {
	choice
	folder   string
	far      site   // behind the network
	near     site   // without a network, and hollow: for the large layer
	bench    string // this program
	program  string // the one that is measured, built for this run
	registry string // distribution
}

// site is a pair of registries.
type site struct{ source, target *server }

func (s site) servers() map[string]*server { return map[string]*server{"S": s.source, "T": s.target} }

func newWorld(ctx context.Context, c choice) (*world, error) {
	folder, err := os.MkdirTemp(c.memory, "promote-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	w := &world{choice: c, folder: folder, program: filepath.Join(folder, "promote"), registry: filepath.Join(folder, "distribution")}
	if err := w.build(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) build(ctx context.Context) (err error) {
	if w.bench, err = os.Executable(); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"build", "-o", w.program, "."},
		{"-C", "internal/regtest/distribution", "build", "-o", w.registry, "."},
	} {
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	if w.far.source, err = w.startFar(ctx, "source"); err != nil {
		return err
	}
	if w.far.target, err = w.startFar(ctx, "target"); err != nil {
		return err
	}
	if w.near.source, err = start(ctx, w.bench, "hollow", "-layer", strconv.FormatInt(w.wantedLayer(), 10)); err != nil {
		return err
	}
	if w.near.target, err = start(ctx, w.bench, "hollow"); err != nil {
		return err
	}
	return w.logIn(ctx)
}

// wantedLayer is 0 when no case needs the large layer, which takes a while to make.
func (w *world) wantedLayer() int64 {
	if chosen(w.cases, "layer") {
		return w.layer
	}
	return 0
}

func (w *world) startFar(ctx context.Context, name string) (*server, error) {
	return start(ctx, w.registry, "-root", filepath.Join(w.folder, name), "-user", user, "-password", password,
		"-rtt", w.rtt.String(), "-bandwidth", strconv.FormatInt(w.bandwidth, 10))
}

// fill puts the images of the chosen cases into the source, without a network.
func (w *world) fill(ctx context.Context) error {
	s, err := start(ctx, w.registry, "-root", filepath.Join(w.folder, "source"))
	if err != nil {
		return err
	}
	defer s.close()
	done := map[string]bool{}
	for _, h := range w.holdings() {
		for n := range h.count {
			repository := h.repository(n)
			if done[repository] {
				continue
			}
			done[repository] = true
			if err := h.image(n).Push(ctx, regtest.Access{Host: s.host}, repository, "dev"); err != nil {
				return fmt.Errorf("push %s: %w", repository, err)
			}
		}
	}
	return nil
}

// holdings are the images that the chosen cases need.
func (w *world) holdings() (all []holding) {
	for _, s := range scenarios {
		if chosen(w.cases, s.name) {
			all = append(all, s.holds...)
		}
	}
	return all
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
	logins := map[string]entry{}
	for _, s := range []*server{w.far.source, w.far.target, w.near.source, w.near.target} {
		logins[s.host] = login
	}
	config, err := json.Marshal(map[string]any{"auths": logins})
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
		return nil //nolint:nilerr // named on the page
	}
	for host := range logins {
		c := exec.CommandContext(ctx, "regctl", "registry", "set", host, "--tls", "disabled", "--skip-check")
		c.Env = w.environment()
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("regctl registry set: %w\n%s", err, out)
		}
	}
	return nil
}

func (w *world) environment() []string {
	return append(os.Environ(), "HOME="+w.folder, "DOCKER_CONFIG="+filepath.Join(w.folder, ".docker"), "GITHUB_ACTIONS=", "GITHUB_WORKSPACE="+w.folder)
}

func (w *world) close() {
	for _, s := range []*server{w.far.source, w.far.target, w.near.source, w.near.target} {
		s.close()
	}
	_ = os.RemoveAll(w.folder)
}
