package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/runner/runnertest"
	"github.com/rogpeppe/go-internal/testscript"
)

// distribution names a server of CNCF distribution to run the scripts against,
// in place of the registry in this process (see CONTRIBUTING.md).
var distribution = flag.String("distribution", "", "run the scripts against this distribution server's binary")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"promote": main})
}

// TestScripts runs the scenarios of testdata/script. Their commands are those of
// testscript and the ones of the table below.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setUpScript,
		Condition: func(name string) (bool, error) {
			if name == "distribution" {
				return *distribution != "", nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry": startRegistry,
			"image":    pushImage,
			"promote":  runPromote,
			"same":     checkSame,
			"tag":      checkTag,
			"move":     moveTag,
			"remove":   removeManifest,
			"manifest": pushManifest,
			"requests": countRequests,
			"output":   checkOutput,
			"harmless": checkHarmless,
			"job":      enterJob,
		},
	})
}

type worldKey struct{}

// world is what a script has started.
type world struct {
	mu         sync.Mutex
	registries map[string]*regtest.Registry // by name
	access     map[string]regtest.Access    // by host: with every right
}

func setUpScript(env *testscript.Env) error {
	w := &world{registries: map[string]*regtest.Registry{}, access: map[string]regtest.Access{}}
	env.Values[worldKey{}] = w
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("GITHUB_ACTIONS", "")
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// enterJob sets what the runner sets for a container action's step.
//
//	job
func enterJob(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) > 0 {
		ts.Fatalf("usage: job")
	}
	ts.Setenv("GITHUB_ACTIONS", "true")
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} {
		file := ts.MkAbs(strings.ToLower(name))
		ts.Check(os.WriteFile(file, nil, 0o600))
		ts.Setenv(name, file)
	}
}

// startRegistry starts a registry and sets NAME to its host.
//
//	registry NAME [-api] [-page BYTES] [-delete] [-basic] [-onescope] [-account USER:PASSWORD:REPOSITORY=ACTIONS]... [-immutable PREFIX] [-fault METHOD:PATHPART:STATUS]... [-slow PATHPART:DURATION]
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	api := flags.Bool("api", false, "")
	page := flags.Int64("page", 0, "")
	remove := flags.Bool("delete", false, "")
	basic := flags.Bool("basic", false, "")
	oneScope := flags.Bool("onescope", false, "")
	immutable := flags.String("immutable", "", "")
	var accounts, faults, slow list
	flags.Var(&accounts, "account", "")
	flags.Var(&faults, "fault", "")
	flags.Var(&slow, "slow", "")
	name := args[0]
	ts.Check(flags.Parse(args[1:]))

	o := regtest.Options{Referrers: *api, ReferrersPage: *page, Delete: *remove}
	access := regtest.Access{User: "root", Password: "root-of-the-test"}
	if len(accounts) > 0 {
		o.Auth = authOf(ts, accounts, access)
		o.Auth.Basic, o.Auth.OneScope = *basic, *oneScope
	} else {
		access = regtest.Access{}
	}
	if *immutable != "" {
		o.Immutable = func(_, tag string) bool { return strings.HasPrefix(tag, *immutable) }
	}
	o.Wrap = wrapsOf(ts, faults, slow)
	if *distribution != "" && !*api {
		backend, stop, err := regtest.Spawn(context.Background(), *distribution)
		ts.Check(err)
		ts.Defer(func() { _ = stop() })
		o.Backend = backend
	}
	r, err := regtest.Start(o)
	ts.Check(err)
	ts.Defer(func() { _ = r.Close() })
	access.Host = r.Host()
	w := worldOf(ts)
	w.registries[name], w.access[r.Host()] = r, access
	ts.Setenv(name, r.Host())
}

func authOf(ts *testscript.TestScript, accounts list, root regtest.Access) *regtest.Auth {
	auth := &regtest.Auth{Users: map[string]regtest.User{
		root.User: {Password: root.Password, Grants: []regtest.Grant{{Repository: "*", Actions: []string{"pull", "push", "delete"}}}},
	}}
	for _, account := range accounts {
		parts := strings.SplitN(account, ":", 3)
		if len(parts) != 3 {
			ts.Fatalf("account %q is not USER:PASSWORD:REPOSITORY=ACTIONS", account)
		}
		repository, actions, _ := strings.Cut(parts[2], "=")
		user := auth.Users[parts[0]]
		user.Password = parts[1]
		user.Grants = append(user.Grants, regtest.Grant{Repository: repository, Actions: strings.Split(actions, ",")})
		auth.Users[parts[0]] = user
	}
	return auth
}

// wrapsOf makes the registry fail, or wait, for requests of the program.
func wrapsOf(ts *testscript.TestScript, faults, slow list) func(http.Handler) http.Handler {
	var wraps []func(http.Handler) http.Handler
	for _, f := range faults {
		parts := strings.Split(f, "|")
		if len(parts) != 3 {
			ts.Fatalf("fault %q is not METHOD|PATHPART|STATUS", f)
		}
		status, err := strconv.Atoi(parts[2])
		ts.Check(err)
		wraps = append(wraps, always(parts[0], parts[1], status))
	}
	for _, s := range slow {
		part, text, _ := strings.Cut(s, "|")
		d, err := time.ParseDuration(text)
		ts.Check(err)
		wraps = append(wraps, delay(part, d))
	}
	return regtest.Chain(wraps...)
}

func byProgram(r *http.Request, part string) bool {
	return r.UserAgent() != regtest.Agent && strings.Contains(r.URL.Path, part)
}

func always(method, part string, status int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == method && byProgram(r, part) {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func delay(part string, d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if byProgram(r, part) {
				select {
				case <-r.Context().Done():
				case <-time.After(d):
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// pushImage builds an image, pushes it, and sets VARIABLE to its digest.
//
//	image REFERENCE VARIABLE [-seed TEXT] [-single] [-nested] [-docker] [-buildkit] [-artifact TYPE] [-foreign N] [-layers N] [-size BYTES] [-label KEY=VALUE]... [-attached] [-signed]
func pushImage(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	spec := regtest.Spec{Labels: map[string]string{}}
	flags.StringVar(&spec.Seed, "seed", "one", "")
	single := flags.Bool("single", false, "")
	flags.BoolVar(&spec.Nested, "nested", false, "")
	flags.BoolVar(&spec.Docker, "docker", false, "")
	buildkit := flags.Bool("buildkit", false, "")
	flags.StringVar(&spec.Artifact, "artifact", "", "")
	flags.IntVar(&spec.Foreign, "foreign", 0, "")
	flags.IntVar(&spec.Layers, "layers", 2, "")
	flags.Int64Var(&spec.LayerSize, "size", 2000, "")
	var labels list
	flags.Var(&labels, "label", "")
	attached := flags.Bool("attached", false, "")
	signed := flags.Bool("signed", false, "")
	reference, variable := args[0], args[1]
	ts.Check(flags.Parse(args[2:]))

	if !*single && spec.Artifact == "" {
		spec.Platforms = []string{"linux/amd64", "linux/arm64"}
	}
	spec.Provenance, spec.SBOM = *buildkit, *buildkit
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		spec.Labels[key] = strings.NewReplacer(`\n`, "\n", `\e`, "\x1b").Replace(value)
	}
	image := regtest.Build(spec)
	if *signed || *attached {
		image.Sign(image.Root, ".sig", "key")
	}
	if *attached {
		attach(image)
	}
	access, repository, tag := target(ts, reference)
	ts.Check(image.Push(context.Background(), access, repository, tag))
	ts.Setenv(variable, image.Root)
}

// attach hangs on the image what a careful build leaves: on the index, on its
// first child, and on an attachment itself.
func attach(image *regtest.Image) {
	child := image.Manifests[0].Digest
	image.Sign(image.Root, ".att", "provenance")
	image.Sign(image.Root, ".sbom", "sbom")
	image.Sign(child, ".sig", "key")
	bundle := image.Attach(image.Root, "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle")
	image.Attach(bundle, "application/vnd.example.timestamp", "time")
	image.Attach(child, "application/spdx+json", "sbom")
}

// target splits a reference and finds the access with every right to its host.
func target(ts *testscript.TestScript, reference string) (access regtest.Access, repository, ref string) {
	host, rest, _ := strings.Cut(reference, "/")
	access, ok := worldOf(ts).access[host]
	if !ok {
		ts.Fatalf("no registry was started for %q", reference)
	}
	if repository, ref, ok = strings.Cut(rest, "@"); ok {
		return access, repository, ref
	}
	i := strings.LastIndex(rest, ":")
	if i < 0 {
		ts.Fatalf("reference %q has no tag and no digest", reference)
	}
	return access, rest[:i], rest[i+1:]
}

// runPromote runs the program and checks its exit code.
//
//	promote CODE ARGUMENT...
func runPromote(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: promote CODE ARGUMENT...")
	}
	err := ts.Exec("promote", args[1:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// checkSame reads two references with code that shares nothing with the engine,
// hashing every manifest and blob, and checks that the second has all that the
// first has, attachments included.
//
//	same REFERENCE REFERENCE
func checkSame(ts *testscript.TestScript, neg bool, args []string) {
	var trees []*regtest.Tree
	for _, reference := range args {
		access, repository, ref := target(ts, reference)
		tree, err := regtest.Read(context.Background(), access, repository, ref)
		if err != nil {
			ts.Fatalf("read %s: %v", reference, err)
		}
		trees = append(trees, tree)
	}
	missing := regtest.Diff(trees[0], trees[1])
	if neg == (len(missing) == 0) {
		ts.Fatalf("%s lacks %d things of %s:\n%s", args[1], len(missing), args[0], strings.Join(missing, "\n"))
	}
}

// checkTag checks which digest a tag holds; "-" is a tag that does not exist.
//
//	tag REFERENCE DIGEST
func checkTag(ts *testscript.TestScript, neg bool, args []string) {
	access, repository, tag := target(ts, args[0])
	digest, exists, err := regtest.TagDigest(context.Background(), access, repository, tag)
	ts.Check(err)
	if !exists {
		digest = "-"
	}
	if neg == (digest == args[1]) {
		ts.Fatalf("%s holds %s; compared with %s", args[0], digest, args[1])
	}
}

// moveTag points a tag to what another reference of the repository holds.
//
//	move REFERENCE TAG
func moveTag(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := target(ts, args[0])
	ts.Check(regtest.PutTag(context.Background(), access, repository, args[1], ref))
}

// removeManifest deletes a manifest from a registry behind its index's back.
//
//	remove REFERENCE
func removeManifest(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := target(ts, args[0])
	ts.Check(regtest.DeleteManifest(context.Background(), access, repository, ref))
}

// pushManifest writes a file as a manifest.
//
//	manifest REFERENCE MEDIATYPE FILE
func pushManifest(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := target(ts, args[0])
	ts.Check(regtest.PutManifest(context.Background(), access, repository, ref, args[1], []byte(ts.ReadFile(args[2]))))
}

// countRequests counts the program's requests to a registry since the last
// count: all of them, those that write, or those with a method and a part of
// their path; and checks that there are exactly, or at most, so many.
//
//	requests NAME (all|writes|METHOD PATHPART) (N|<=N)
func countRequests(ts *testscript.TestScript, _ bool, args []string) {
	r := worldOf(ts).registries[args[0]]
	want := args[len(args)-1]
	n := 0
	var seen []string
	for _, q := range r.Requests() {
		if q.Agent == regtest.Agent || !wanted(q, args[1:len(args)-1]) {
			continue
		}
		n++
		seen = append(seen, fmt.Sprintf("%s %s?%s → %d", q.Method, q.Path, q.Query, q.Status))
	}
	r.ResetRequests()
	most, atMost := strings.CutPrefix(want, "<=")
	limit, err := strconv.Atoi(most)
	ts.Check(err)
	if n > limit || (!atMost && n != limit) {
		ts.Fatalf("%d requests, want %s:\n%s", n, want, strings.Join(seen, "\n"))
	}
}

func wanted(q regtest.Request, what []string) bool {
	switch {
	case what[0] == "all":
		return true
	case what[0] == "writes":
		return q.Method != http.MethodGet && q.Method != http.MethodHead && !strings.Contains(q.Path, "token")
	default:
		return q.Method == what[0] && (len(what) == 1 || strings.Contains(q.Path, what[1]))
	}
}

// checkOutput reads an output as the runner does and matches it whole.
//
//	output NAME REGEXP
func checkOutput(ts *testscript.TestScript, neg bool, args []string) {
	outputs, err := runnertest.ParseKeyValueFile(ts.ReadFile("github_output"))
	ts.Check(err)
	value, ok := outputs[args[0]]
	if !ok {
		ts.Fatalf("there is no output %q", args[0])
	}
	if neg == regexp.MustCompile(`^(?s:`+args[1]+`)$`).MatchString(value) {
		ts.Fatalf("output %s is %q", args[0], value)
	}
}

// checkHarmless reads the log of the last program as the runner does: it must
// hold the program's own commands and no other.
//
//	harmless
func checkHarmless(ts *testscript.TestScript, _ bool, _ []string) {
	for _, stream := range []string{"stdout", "stderr"} {
		for _, c := range runnertest.ParseLog(ts.ReadFile(stream)) {
			switch c.Name {
			case "group", "endgroup", "add-mask", "notice", "warning", "error":
			default:
				ts.Fatalf("the log runs the command %+v", c)
			}
		}
	}
}
