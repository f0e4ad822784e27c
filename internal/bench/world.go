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
	sites    map[place]site
	root     string // of the product's module
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
	w := &world{choice: c, folder: folder, sites: map[place]site{}, program: filepath.Join(folder, "promote"), registry: filepath.Join(folder, "distribution")}
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
	if w.root, err = productRoot(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-C", w.root, "build", "-o", w.program, "."},
		{"-C", filepath.Join(w.root, "internal/regtest/distribution"), "build", "-o", w.registry, "."},
	} {
		if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	for _, s := range scenarios {
		if !chosen(w.cases, s.name) || w.sites[s.at] != (site{}) {
			continue
		}
		if w.sites[s.at], err = w.open(ctx, s.at); err != nil {
			return err
		}
	}
	return w.introduce(ctx)
}

// productRoot is where the program that is measured has its source.
func productRoot(ctx context.Context) (string, error) {
	const product = "github.com/artifact-promotion/promote"
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", product).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("find the module %s from here (run this in internal/bench): %w\n%s", product, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// open starts the registries of a place.
func (w *world) open(ctx context.Context, at place) (s site, err error) {
	var source, target []string
	binary := w.registry
	switch at {
	case far:
		source, target = w.distribution("source", farSource), w.distribution("target", farTarget)
	case plain:
		source, target = w.distribution("source", ""), w.distribution("target", "")
	case near:
		binary = w.bench
		source = []string{"hollow", "-name", nearSource, "-layer", strconv.FormatInt(w.layer, 10)}
		target = []string{"hollow", "-name", nearTarget}
	}
	if s.source, err = start(ctx, binary, source...); err != nil {
		return s, err
	}
	s.target, err = start(ctx, binary, target...)
	return s, err
}

// distribution is how one behind the network is started; without a name it speaks
// plain HTTP.
func (w *world) distribution(folder, name string) []string {
	args := []string{
		"-root", filepath.Join(w.folder, folder), "-user", user, "-password", password,
		"-rtt", w.rtt.String(), "-bandwidth", strconv.FormatInt(w.bandwidth, 10),
	}
	if name != "" {
		args = append(args, "-tls", "-name", name)
	}
	return args
}

func (w *world) servers() (all []*server) {
	for _, s := range w.sites {
		all = append(all, s.source, s.target)
	}
	return all
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

// introduce tells the tools where the registries are, whom to trust, and the account.
func (w *world) introduce(ctx context.Context) error {
	var authorities strings.Builder
	for _, s := range w.servers() {
		authorities.WriteString(s.authority)
	}
	if err := os.WriteFile(w.authorities(), []byte(authorities.String()), 0o600); err != nil {
		return err
	}
	if err := w.writeHosts(); err != nil {
		return err
	}
	if err := w.logIn(); err != nil {
		return err
	}
	return w.tellRegctl(ctx)
}

func (w *world) authorities() string { return filepath.Join(w.folder, "authorities.pem") }

// logIn writes docker's config file, which every tool reads.
func (w *world) logIn() error {
	type entry struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     []byte `json:"auth"`
	}
	login := entry{user, password, []byte(user + ":" + password)}
	logins := map[string]entry{}
	for _, s := range w.servers() {
		logins[s.host] = login
	}
	config, err := json.Marshal(map[string]any{"auths": logins})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(w.folder, ".docker"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.folder, ".docker", "config.json"), config, 0o600)
}

// tellRegctl tells it which registries speak plain HTTP: the others find out.
func (w *world) tellRegctl(ctx context.Context) error {
	if _, err := exec.LookPath("regctl"); err != nil {
		return nil //nolint:nilerr // named on the page
	}
	for _, s := range w.servers() {
		if s.authority != "" {
			continue
		}
		c := exec.CommandContext(ctx, "regctl", "registry", "set", s.host, "--tls", "disabled", "--skip-check")
		c.Env = w.environment()
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("regctl registry set: %w\n%s", err, out)
		}
	}
	return nil
}

func (w *world) environment() []string {
	return append(os.Environ(), "HOME="+w.folder, "SSL_CERT_FILE="+w.authorities(), "DOCKER_CONFIG="+filepath.Join(w.folder, ".docker"), "GITHUB_ACTIONS=", "GITHUB_WORKSPACE="+w.folder)
}

func (w *world) close() {
	for _, s := range w.servers() {
		s.close()
	}
	_ = os.RemoveAll(w.folder)
}
