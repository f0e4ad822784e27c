package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/rogpeppe/go-internal/testscript"
)

// How TestRegistry reaches a registry that is up (see docs/registries.md, "Try yours").
var (
	upHost     = flag.String("registry", "", "run the scenarios against this registry, HOST[:PORT]; plain http is spoken on loopback, unless -registry-ca is given")
	upUser     = flag.String("registry-user", "", "account that may push, pull and delete below the prefix")
	upPassword = flag.String("registry-password", "", "the account's password; the variable REGISTRY_PASSWORD keeps it out of the list of processes")
	upCA       = flag.String("registry-ca", "", "PEM file of the private authority that signed the registry's certificate")
	upPrefix   = flag.String("registry-prefix", "promote-test", "what every repository's name begins with")
	upName     = flag.String("registry-name", "", "name in testdata/registries.txt, whose scenarios are expected to fail")
)

// TestRegistry runs the scenarios of testdata/script against a registry that is up: "within" has every registry of
// a scenario be that one, "into" all but the first, which is in this process and so most often the source. It pushes
// only below the prefix, to repositories of its own in each run, and leaves them there.
//
// Without -registry a few run against a registry in this process, which asks for TLS, a login and a prefix.
func TestRegistry(t *testing.T) {
	long(t)
	up, some := upFromFlags(t), []string(nil)
	if up == nil {
		up, some = upHere(t), []string{"attachments_none", "environment", "single_manifest"}
	}
	up.probe(t)
	t.Logf("%s: referrers API %t, deletes %t; its requests are not counted", up.access.Host, up.hasAPI, up.deletes)
	known := readKnown(t, *upName)
	for _, into := range []bool{false, true} {
		there := *up
		there.into = into
		t.Run(map[bool]string{false: "within", true: "into"}[into], func(t *testing.T) { there.run(t, some, known) })
	}
}

func (up *upRegistry) run(t *testing.T, some []string, known map[string]string) {
	t.Parallel()
	scenarios, left := up.choose(t, some)
	t.Logf("%d scenarios run, and not:\n%s", len(scenarios), strings.Join(left, "\n"))
	place := strings.TrimPrefix(t.Name(), "TestRegistry/") + "/"
	for row := range known {
		name, isHere := strings.CutPrefix(row, place)
		if isHere && !slices.Contains(scenarios, scenarioFile(name)) {
			t.Errorf("%s lists %q for %s, which does not run", knownFile, row, *upName)
		}
	}
	params := scriptParams()
	params.Dir, params.Files = "", scenarios
	params.Setup = up.setUp
	testscript.RunT(expected{T: t, place: place, known: known}, params)
}

// upRegistry is a registry that was not started here.
type upRegistry struct {
	access          regtest.Access
	prefix          string
	hasAPI, deletes bool
	into            bool // the first registry of each scenario is in this process
}

func upFromFlags(t *testing.T) *upRegistry {
	if *upHost == "" {
		return nil
	}
	up := &upRegistry{prefix: strings.Trim(*upPrefix, "/"), access: regtest.Access{
		Host: *upHost, User: *upUser, Password: *upPassword, Secure: !isLoopback(*upHost),
	}}
	if up.access.Password == "" {
		up.access.Password = os.Getenv("REGISTRY_PASSWORD")
	}
	if *upCA != "" {
		pem, err := os.ReadFile(*upCA)
		if err != nil {
			t.Fatal(err)
		}
		up.access.CAPEM = pem
	}
	return up
}

func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

func upHere(t *testing.T) *upRegistry {
	owner := regtest.User{Password: "of-the-prefix", Grants: []regtest.Grant{{Repository: "some/where/*", Actions: []string{"*"}}}}
	r, err := regtest.Start(regtest.Options{TLS: true, Delete: true, Auth: &regtest.Auth{Users: map[string]regtest.User{"owner": owner}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return &upRegistry{access: r.Access("owner", owner.Password), prefix: "some/where"}
}

// probe finds out what a scenario may ask for. It fails where nothing can be pushed at all.
func (up *upRegistry) probe(t *testing.T) {
	ctx, repository := t.Context(), up.repositories()+"probe"
	image := regtest.Build(regtest.Spec{Seed: repository, Layers: 1, LayerSize: 100})
	if err := image.Push(ctx, up.access, repository, "probe"); err != nil {
		t.Fatalf("push an image to %s/%s: %v", up.access.Host, repository, err)
	}
	tree, err := regtest.Read(ctx, up.access, repository, "probe")
	if err != nil {
		t.Fatalf("read an image of %s/%s: %v", up.access.Host, repository, err)
	}
	up.hasAPI = tree.HasAPI
	err = errors.Join(
		regtest.DeleteManifest(ctx, up.access, repository, "probe"),
		regtest.DeleteManifest(ctx, up.access, repository, image.Root))
	if up.deletes = err == nil; err != nil {
		t.Logf("delete a tag and a manifest: %v", err)
	}
}

// repositories is what the repositories of one scenario begin with.
func (up *upRegistry) repositories() string {
	own := "promote-" + strings.ToLower(rand.Text()[:10]) + "-"
	if up.prefix == "" {
		return own
	}
	return up.prefix + "/" + own
}

const scriptFolder = "testdata/script"

func scenarioFile(name string) string { return filepath.Join(scriptFolder, name+".txtar") }

// choose picks the scenarios that such a registry can run, and says of the others why it cannot.
func (up *upRegistry) choose(t *testing.T, some []string) (files, left []string) {
	all, err := filepath.Glob(scenarioFile("*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range all {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		if some != nil && !slices.Contains(some, name) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if why := up.cannot(string(text)); why != "" {
			left = append(left, "  "+name+": "+why)
			continue
		}
		files = append(files, file)
	}
	return files, left
}

var (
	registryLine = regexp.MustCompile(`(?m)^registry (\w+)(.*)$`)
	registryFlag = regexp.MustCompile(` -(\w+)`)
	fallbackTag  = regexp.MustCompile(`(?m):sha256-\$\w+_hex(?:\s|$)`)
)

// cannot says why a scenario cannot run, going by what it asks of its registries; "" if it can.
func (up *upRegistry) cannot(scenario string) string {
	lines := registryLine.FindAllStringSubmatch(scenario, -1)
	switch {
	case up.into && len(lines) < 2:
		return "has no second registry"
	case up.into:
		lines = lines[1:]
	case len(lines) == 0:
		return "needs no registry"
	case strings.Contains(scenario, `"mounted":0`):
		return "has nothing mounted"
	}
	if up.access.CAPEM != nil && strings.Contains(scenario, "\nca-certificates:") {
		return "gives an authority of its own"
	}
	if up.hasAPI && fallbackTag.MatchString(scenario) {
		return "looks at the fallback tag"
	}
	for _, line := range lines {
		if strings.Contains(scenario, "$"+line[1]+"_port") {
			return "names the registry in two ways"
		}
		for _, f := range registryFlag.FindAllStringSubmatch(line[2], -1) {
			switch {
			case f[1] == "delete" && up.deletes:
			case (f[1] == "api" || f[1] == "page") && up.hasAPI:
			default:
				return "asks for -" + f[1]
			}
		}
	}
	return ""
}

// setUp gives a scenario a login as "docker login" leaves it, and the authority as an input. No run may take longer
// than a registry that is well can need.
func (up *upRegistry) setUp(env *testscript.Env) error {
	if err := setUpScript(env); err != nil {
		return err
	}
	w := env.Values[worldKey{}].(*world)
	w.up, w.salt = up, rand.Text() // some registries share blobs among all repositories
	w.access[up.access.Host] = up.access
	w.defaults = map[string]string{"timeout": "90s", "ca-certificates": string(up.access.CAPEM)}
	for name, value := range w.defaults {
		env.Setenv("INPUT_"+strings.ToUpper(name), value)
	}
	if up.access.User == "" {
		return nil
	}
	w.secrets = append(w.secrets, up.access.Password)
	auth := base64.StdEncoding.EncodeToString([]byte(up.access.User + ":" + up.access.Password))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{up.access.Host: map[string]string{"auth": auth}}})
	return errors.Join(err,
		os.Mkdir(filepath.Join(env.WorkDir, ".docker"), 0o700),
		os.WriteFile(filepath.Join(env.WorkDir, ".docker", "config.json"), config, 0o600))
}

// introduce has NAME stand for repositories of the registry that nobody else uses. It reports whether it did: the
// first registry of a scenario may be one of this process.
func (up *upRegistry) introduce(ts *testscript.TestScript, name string) bool {
	if up.into && len(worldOf(ts).registries) == 0 {
		return false
	}
	ts.Setenv(name, up.access.Host+"/"+up.repositories()+strings.ToLower(name))
	return true
}

// knownFile lists the scenarios that fail on a registry today.
const knownFile = "testdata/registries.txt"

// readKnown reads why which scenarios fail on the registry of that name.
func readKnown(t *testing.T, name string) map[string]string {
	file, err := os.Open(knownFile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	known := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if len(words) < 3 {
			t.Fatalf("%s: %q is not REGISTRY SCENARIO REASON", knownFile, lines.Text())
		}
		if words[0] == name {
			known[words[1]] = strings.Join(words[2:], " ")
		}
	}
	return known
}

// expected runs scripts, and turns around what the known ones have to do: fail.
type expected struct {
	*testing.T
	place  string            // what the names of scenarios in known begin with
	known  map[string]string // by scenario
	reason string            // of this one; "" if it has to pass
}

func (e expected) Run(name string, f func(testscript.T)) {
	e.T.Run(name, func(t *testing.T) {
		reason := e.known[e.place+name]
		f(expected{T: t, reason: reason})
		if reason != "" {
			t.Errorf("it passes: take it from %s, which says %q", knownFile, reason)
		}
	})
}

func (e expected) Parallel() { e.T.Parallel() }

func (expected) Verbose() bool { return testing.Verbose() }

func (e expected) FailNow() {
	if e.reason != "" {
		e.Skip("it fails, as known: " + e.reason)
	}
	e.T.FailNow()
}

func (e expected) Fatal(args ...any) {
	e.Log(fmt.Sprint(args...))
	e.FailNow()
}

func TestCannot(t *testing.T) {
	for _, c := range []struct {
		up             upRegistry
		scenario, want string
	}{
		{upRegistry{}, "registry dev\nregistry prod\n", ""},
		{upRegistry{}, "step 2 with.yml\n", "needs no registry"},
		{upRegistry{into: true}, "registry hub\n", "has no second registry"},
		{upRegistry{}, "registry dev -slow GET|/blobs/|2s\nregistry prod\n", "asks for -slow"},
		{upRegistry{into: true}, "registry dev -slow GET|/blobs/|2s\nregistry prod\n", ""},
		{upRegistry{}, "registry prod -delete\n", "asks for -delete"},
		{upRegistry{deletes: true}, "registry prod -delete\n", ""},
		{upRegistry{}, "registry prod -api\n", "asks for -api"},
		{upRegistry{hasAPI: true}, "registry prod -api -page 900\n", ""},
		{upRegistry{hasAPI: true}, "registry prod\nshow $prod/acme/app:sha256-$APP_hex\n", "looks at the fallback tag"},
		{upRegistry{hasAPI: true}, "registry prod\ntag $prod/acme/app:sha256-$APP_hex.sig -\n", ""},
		{upRegistry{}, "registry prod\nrun 0 --target=localhost:$prod_port/app:x\n", "names the registry in two ways"},
		{upRegistry{}, "registry prod\noutput results '.*\"mounted\":0.*'\n", "has nothing mounted"},
		{upRegistry{access: regtest.Access{CAPEM: []byte("PEM")}}, "registry prod\n-- with.yml --\nca-certificates: other.pem\n", "gives an authority of its own"},
	} {
		if got := c.up.cannot(c.scenario); got != c.want {
			t.Errorf("%+v, %q: %q, want %q", c.up, c.scenario, got, c.want)
		}
	}
}
