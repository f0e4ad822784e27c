package main

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/github/githubtest"
	"github.com/artifact-promotion/promote/internal/input"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/runner/runnertest"
	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/testscript"
)

// distribution names a server of CNCF distribution to run the scripts against,
// in place of the registry in this process (see CONTRIBUTING.md).
var distribution = flag.String("distribution", "", "run the scripts against this distribution server's binary")

// TestMain lets eight scenarios run at once, on a machine with fewer processors too: much of each is waiting.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // -parallel on the command line comes after it
	testscript.Main(m, map[string]func(){"promote": main})
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}

// TestScripts runs the scenarios of testdata/script. Their commands are those of
// testscript and the ones of the table below.
func TestScripts(t *testing.T) {
	p := scriptParams()
	if testing.Short() {
		p.Dir = ""
		for _, name := range basic {
			p.Files = append(p.Files, filepath.Join("testdata", "script", name+".txtar"))
		}
	}
	testscript.Run(t, p)
}

// basic are the scenarios that -short runs: one of each thing that the program does.
var basic = []string{
	"attachments", "bad_input", "cross_registry", "drift", "environment", "gates_passed", "plan", "release", "rollback", "tag_promotion",
}

func scriptParams() testscript.Params {
	return testscript.Params{
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
			"registry":  startRegistry,
			"proxy":     startProxy,
			"tunnels":   checkTunnels,
			"image":     pushImage,
			"move":      moveTag,
			"remove":    removeManifest,
			"manifest":  pushManifest,
			"login":     writeLogin,
			"secret":    keepSecret,
			"job":       enterJob,
			"step":      runStep,
			"run":       runPromote,
			"interrupt": interrupt,
			"crash":     crash,
			"ended":     checkEnded,
			"same":      checkSame,
			"tag":       checkTag,
			"show":      showManifest,
			"blob":      showBlob,
			"referrers": showReferrers,
			"backdate":  backdate,
			"requests":  countRequests,
			"output":    checkOutput,
			"github":    startGitHub,
			"check":     addCheck,
			"approve":   approve,
			"compare":   compareCommits,
			"commit":    commitFile,
			"protect":   protect,
			"permit":    permit,
			"ratelimit": limitRate,
			"asked":     countAsked,
			"checkout":  checkOut,
			"moment":    setMoment,
			"keep":      keepOutput,
			"matrix":    splitMatrix,
			"age":       agePlan,
			"forge":     forgePlan,
			"damage":    damagePlan,
		},
	}
}

type worldKey struct{}

// world is what a script has started.
type world struct {
	registries map[string]*regtest.Registry // by name
	access     map[string]regtest.Access    // by host: with every right
	secrets    []string                     // what no run may show
	github     *githubtest.Server           // nil: there is none
	proxies    map[string]*forwardProxy     // by name
	vendor     *vendorRun                   // whose ways the registries have; nil: nobody's
	up         *upRegistry                  // what TestRegistry runs against; nil in TestScripts
	salt       string                       // sets its images apart from those of other scripts
	defaults   map[string]string            // inputs that every run has, unless it says otherwise

	interrupted *exec.Cmd
}

func setUpScript(env *testscript.Env) error {
	env.Values[worldKey{}] = &world{registries: map[string]*regtest.Registry{}, access: map[string]regtest.Access{}, proxies: map[string]*forwardProxy{}}
	env.Setenv("HOME", env.WorkDir)
	return nil
}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

// pushImage builds an image, pushes it, and sets VARIABLE to its digest,
// VARIABLE_hex to that without "sha256:", VARIABLE_child to its first child's,
// VARIABLE_layer to its first layer's, and VARIABLE_referrer to its last referrer's. The same options make the same image.
//
//	image REFERENCE VARIABLE [-seed TEXT] [-single] [-nested] [-docker] [-buildkit] [-artifact TYPE] [-foreign N] [-layers N] [-size BYTES] [-label KEY=VALUE]... [-annotation KEY=VALUE]... [-signed KEY]... [-sbom TEXT] [-refer TYPE]... [-attached]
//
// -signed and -sbom add cosign's tags .sig and .sbom, -refer a referrer, and
// -attached what a careful build leaves (see attach).
func pushImage(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	var spec regtest.Spec
	flags.StringVar(&spec.Seed, "seed", "one", "")
	single := flags.Bool("single", false, "")
	flags.BoolVar(&spec.Nested, "nested", false, "")
	flags.BoolVar(&spec.Docker, "docker", false, "")
	buildkit := flags.Bool("buildkit", false, "")
	flags.StringVar(&spec.Artifact, "artifact", "", "")
	flags.IntVar(&spec.Foreign, "foreign", 0, "")
	flags.IntVar(&spec.Layers, "layers", 2, "")
	flags.Int64Var(&spec.LayerSize, "size", 2000, "")
	var labels, annotations, keys, types list
	flags.Var(&labels, "label", "")
	flags.Var(&annotations, "annotation", "")
	flags.Var(&keys, "signed", "")
	flags.Var(&types, "refer", "")
	sbom := flags.String("sbom", "", "")
	attached := flags.Bool("attached", false, "")
	reference, variable := args[0], args[1]
	ts.Check(flags.Parse(args[2:]))

	if !*single && spec.Artifact == "" {
		spec.Platforms = []string{"linux/amd64", "linux/arm64"}
	}
	spec.Seed += worldOf(ts).salt
	spec.Provenance, spec.SBOM = *buildkit, *buildkit
	spec.Labels, spec.Annotations = pairs(labels), pairs(annotations)
	worldOf(ts).vendor.fit(&spec)
	image := regtest.Build(spec)
	for _, key := range keys {
		image.Sign(image.Root, ".sig", key)
	}
	if *sbom != "" {
		image.Sign(image.Root, ".sbom", *sbom)
	}
	for _, t := range types {
		ts.Setenv(variable+"_referrer", image.Attach(image.Root, t, "referrer"))
	}
	if *attached {
		attach(image)
	}
	access, repository, tag := place(ts, reference)
	ts.Check(image.PushForeign(context.Background(), access, repository))
	if run := worldOf(ts).vendor; run != nil {
		run.push(ts, image, access, repository, tag)
	} else {
		ts.Check(image.Push(context.Background(), access, repository, tag))
	}
	ts.Setenv(variable, image.Root)
	ts.Setenv(variable+"_hex", strings.TrimPrefix(image.Root, "sha256:"))
	ts.Setenv(variable+"_layer", firstLayer(image))
	if children := image.Children(); len(children) > 0 {
		ts.Setenv(variable+"_child", children[0])
	}
}

func firstLayer(image *regtest.Image) string {
	for _, b := range image.Blobs {
		if strings.Contains(b.MediaType, "layer") {
			return b.Digest
		}
	}
	return ""
}

// pairs reads KEY=VALUE, with \n, \r and \e for an escape in the value.
func pairs(texts list) map[string]string {
	values := map[string]string{}
	for _, text := range texts {
		key, value, _ := strings.Cut(text, "=")
		values[key] = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\e`, "\x1b").Replace(value)
	}
	return values
}

// attach hangs on the image what a careful build leaves: on the root, on its
// first manifest, and on an attachment itself.
func attach(image *regtest.Image) {
	child := image.Manifests[0].Digest
	for _, suffix := range []string{".sig", ".att", ".sbom"} {
		image.Sign(image.Root, suffix, "build")
	}
	bundle := image.Attach(image.Root, "application/vnd.dev.sigstore.bundle.v0.3+json", "bundle")
	image.Attach(bundle, "application/vnd.example.timestamp", "time")
	image.AttachIndex(image.Root, "application/vnd.example.reports", "reports")
	if child != image.Root {
		image.Sign(child, ".sig", "build")
		image.Attach(child, "application/spdx+json", "sbom")
	}
}

// place splits a reference and finds the access with every right to its host.
func place(ts *testscript.TestScript, reference string) (access regtest.Access, repository, ref string) {
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

// moveTag points a tag to what another reference of the repository holds.
//
//	move REFERENCE TAG
func moveTag(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := place(ts, args[0])
	ts.Check(regtest.PutTag(context.Background(), access, repository, args[1], ref))
}

// removeManifest deletes a tag, or a manifest behind its index's back.
//
//	remove REFERENCE
func removeManifest(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := place(ts, args[0])
	ts.Check(regtest.DeleteManifest(context.Background(), access, repository, ref))
}

// pushManifest writes a file, in which $VARIABLES are replaced, as a manifest.
//
//	manifest REFERENCE MEDIATYPE FILE
func pushManifest(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := place(ts, args[0])
	ts.Check(regtest.PutManifest(context.Background(), access, repository, ref, args[1], []byte(readWith(ts, args[2]))))
}

// readWith reads a file in which $VARIABLES are replaced.
func readWith(ts *testscript.TestScript, file string) string {
	return os.Expand(ts.ReadFile(file), ts.Getenv)
}

// writeLogin writes the file that "docker login" would.
//
//	login FOLDER HOST USER PASSWORD
func writeLogin(ts *testscript.TestScript, _ bool, args []string) {
	keepSecret(ts, false, []string{args[3]})
	auth := base64.StdEncoding.EncodeToString([]byte(args[2] + ":" + args[3]))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{args[1]: map[string]string{"auth": auth}}})
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+"/config.json"), config, 0o600))
}

// keepSecret names texts that no run may show. Every password of a registry's
// account is one already.
//
//	secret TEXT...
func keepSecret(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	w.secrets = append(w.secrets, args...)
}

// The files by which a step of a job talks to the runner.
var stepFiles = []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"}

// enterJob sets what the runner sets for a container action's step. A script that
// uses step needs it only to change something of that.
//
//	job
func enterJob(ts *testscript.TestScript, _ bool, _ []string) {
	keepSecret(ts, false, []string{jobToken})
	ts.Setenv("GITHUB_ACTIONS", "true")
	for name, usual := range map[string]string{"GITHUB_REPOSITORY": "acme/app", "GITHUB_RUN_ID": "1658821493", "GITHUB_RUN_ATTEMPT": "1"} {
		if ts.Getenv(name) == "" {
			ts.Setenv(name, usual)
		}
	}
	for _, name := range stepFiles {
		ts.Setenv(name, ts.MkAbs(strings.ToLower(name)))
	}
	prepare(ts)
}

// jobToken is what the runner gives for ${{ github.token }}.
const jobToken = "ghs_0123456789abcdef"

func inJob(ts *testscript.TestScript) bool { return ts.Getenv("GITHUB_ACTIONS") == "true" }

// runStep runs the program as the runner runs a step "uses: promote" of a job:
// FILE is its "with:", in which $VARIABLES are replaced. A key that action.yml does
// not declare is a variable too, and stays one for the rest of the script; args are
// the program's arguments besides.
//
//	step CODE FILE
func runStep(ts *testscript.TestScript, _ bool, args []string) {
	if !inJob(ts) {
		enterJob(ts, false, nil)
	}
	with, inputs := map[string]any{}, ""
	ts.Check(yaml.Unmarshal([]byte(readWith(ts, args[1])), &with))
	for _, in := range input.Table { // the runner sets every input that action.yml declares
		if with[in.Name] == nil {
			with[in.Name] = cmp.Or(worldOf(ts).defaults[in.Name], strings.ReplaceAll(in.Default, "${{ github.token }}", jobToken))
		}
	}
	for name, value := range with {
		ts.Setenv(variableOf(name), fmt.Sprint(value))
		inputs += fmt.Sprint(value) + "\n"
	}
	arguments := args[:1]
	if with["args"] != nil {
		arguments = append(arguments, strings.Fields(fmt.Sprint(with["args"]))...)
	}
	runPromote(ts, false, arguments)
	checkMasked(ts, inputs)
	for _, in := range input.Table {
		ts.Setenv(variableOf(in.Name), worldOf(ts).defaults[in.Name])
	}
}

// variableOf is the variable that the runner makes of a key of "with:".
func variableOf(name string) string {
	return "INPUT_" + strings.ToUpper(strings.ReplaceAll(name, " ", "_"))
}

// runPromote runs the program and checks its exit code. Whatever the run was to
// show, it must show no secret, and run no command of the runner but its own.
//
//	run CODE ARGUMENT...
func runPromote(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: run CODE ARGUMENT...")
	}
	prepare(ts)
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
	checkShown(ts)
}

// prepare gives the step new files, as the runner does, and forgets the requests
// of the run before.
func prepare(ts *testscript.TestScript) {
	if inJob(ts) {
		for _, name := range stepFiles {
			ts.Check(os.WriteFile(ts.MkAbs(strings.ToLower(name)), nil, 0o600))
		}
	}
	for _, r := range worldOf(ts).registries {
		r.ResetRequests()
	}
}

// checkShown holds everything that the last run has shown to what must not be
// shown.
func checkShown(ts *testscript.TestScript) {
	shown := []string{ts.ReadFile("stdout"), ts.ReadFile("stderr")}
	for _, text := range shown {
		checkCommands(ts, text)
	}
	if inJob(ts) {
		for _, name := range stepFiles {
			shown = append(shown, ts.ReadFile(strings.ToLower(name)))
		}
	}
	for _, text := range shown {
		text = masks.ReplaceAllString(text, "")
		for _, secret := range worldOf(ts).secrets {
			if strings.Contains(text, secret) {
				ts.Fatalf("the secret %q is shown", secret)
			}
		}
	}
}

// checkMasked checks that the runner was told every secret of the inputs before
// anything else was printed.
func checkMasked(ts *testscript.TestScript, inputs string) {
	first := strings.Join(leading.FindAllString(ts.ReadFile("stdout"), 1), "")
	for _, secret := range worldOf(ts).secrets {
		if strings.Contains(inputs, secret) && !strings.Contains(first, "::add-mask::"+secret+"\n") {
			ts.Fatalf("the secret %q is not masked before all else", secret)
		}
	}
}

// leading is the masks that a log begins with.
var leading = regexp.MustCompile(`^(::add-mask::.*\n)+`)

// masks are how the runner learns what it has to hide.
var masks = regexp.MustCompile(`(?m)^::add-mask::.*$`)

// checkCommands reads a log as the runner does.
func checkCommands(ts *testscript.TestScript, log string) {
	for _, c := range runnertest.ParseLog(log) {
		if !slices.Contains([]string{"group", "endgroup", "add-mask", "notice", "warning", "error"}, c.Name) {
			ts.Fatalf("the log runs the command %+v", c)
		}
	}
}

// interrupt waits until the program in the background has sent such a request,
// and sends it SIGINT, as the runner does when a job is cancelled.
//
//	interrupt NAME METHOD PATHPART
func interrupt(ts *testscript.TestScript, _ bool, args []string) { signalAt(ts, args, os.Interrupt) }

// crash waits likewise and ends the program at once, as a machine that goes down does.
//
//	crash NAME METHOD PATHPART
func crash(ts *testscript.TestScript, _ bool, args []string) { signalAt(ts, args, os.Kill) }

func signalAt(ts *testscript.TestScript, request []string, signal os.Signal) {
	w := worldOf(ts)
	awaitRequest(ts, w.registries[request[0]], request[1:])
	w.interrupted = ts.BackgroundCmds()[0]
	ts.Check(w.interrupted.Process.Signal(signal))
}

func awaitRequest(ts *testscript.TestScript, r *regtest.Registry, what []string) {
	limit := time.After(5 * time.Minute)
	for {
		next := r.Arrival()
		if len(requestsOf(r, what)) > 0 {
			return
		}
		select {
		case <-next:
		case <-limit:
			ts.Fatalf("no request %v came", what)
		}
	}
}

// checkEnded checks how the interrupted program, which was waited for, ended.
//
//	ended CODE
func checkEnded(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	if code := w.interrupted.ProcessState.ExitCode(); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	checkShown(ts)
}

// checkSame reads two references with code that shares nothing with the engine,
// hashing every manifest and blob, and checks that the second has all that the
// first has, attachments included.
//
//	same REFERENCE REFERENCE
func checkSame(ts *testscript.TestScript, neg bool, args []string) {
	var trees []*regtest.Tree
	for _, reference := range args {
		access, repository, ref := place(ts, reference)
		tree, err := regtest.Read(context.Background(), access, repository, ref)
		if err != nil {
			ts.Fatalf("read %s: %v", reference, err)
		}
		trees = append(trees, tree.Without("application/vnd.in-toto+json")) // each promotion adds a record, after it has copied
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
	access, repository, tag := place(ts, args[0])
	digest, exists, err := regtest.TagDigest(context.Background(), access, repository, tag)
	ts.Check(err)
	if !exists {
		digest = "-"
	}
	if neg == (digest == args[1]) {
		ts.Fatalf("%s holds %s; compared with %s", args[0], digest, args[1])
	}
}

// showManifest prints a manifest, for stdout to look at.
//
//	show REFERENCE
func showManifest(ts *testscript.TestScript, _ bool, args []string) {
	access, repository, ref := place(ts, args[0])
	_, text, err := regtest.GetManifest(context.Background(), access, repository, ref)
	ts.Check(err)
	_, err = ts.Stdout().Write(text)
	ts.Check(err)
}

// countRequests counts the requests of the last run to a registry: all of them,
// those that write, or those with a method and a part of their path; and checks
// that there are exactly, at most, or at least so many.
//
//	requests NAME (all|writes|METHOD PATHPART) (N|<=N|>=N)
func countRequests(ts *testscript.TestScript, _ bool, args []string) {
	r, isHere := worldOf(ts).registries[args[0]]
	if !isHere && worldOf(ts).up != nil {
		return // it does not tell
	}
	last := len(args) - 1
	seen := requestsOf(r, args[1:last])
	limit, err := strconv.Atoi(strings.TrimLeft(args[last], "<>="))
	ts.Check(err)
	if worldOf(ts).vendor != nil && (limit > 0 || args[1] == http.MethodHead) {
		return // a vendor's ways cost requests, and save some: only writes and reads that must not be made are looked at
	}
	less, more := !strings.HasPrefix(args[last], "<="), !strings.HasPrefix(args[last], ">=")
	if (len(seen) < limit && less) || (len(seen) > limit && more) {
		ts.Fatalf("%d requests, want %s:\n%s", len(seen), args[last], strings.Join(seen, "\n"))
	}
}

func requestsOf(r *regtest.Registry, what []string) []string {
	var seen []string
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent && wanted(q, what) {
			seen = append(seen, fmt.Sprintf("%s %s?%s → %d", q.Method, q.Path, q.Query, q.Status))
		}
	}
	return seen
}

func wanted(q regtest.Request, what []string) bool {
	switch what[0] {
	case "all":
		return true
	case "writes":
		return q.Method != http.MethodGet && q.Method != http.MethodHead && q.Path != "/token"
	default:
		return q.Method == what[0] && (len(what) == 1 || strings.Contains(q.Path, what[1]))
	}
}

// checkOutput reads an output of the last run as the runner does, and matches it
// whole.
//
//	output NAME REGEXP
func checkOutput(ts *testscript.TestScript, neg bool, args []string) {
	value := outputOf(ts, args[0])
	if neg == regexp.MustCompile(`^(?s:`+args[1]+`)$`).MatchString(value) {
		ts.Fatalf("output %s is %q", args[0], value)
	}
}
