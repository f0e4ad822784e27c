package promote_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/artifact-promotion/promote/internal/template"
	"github.com/artifact-promotion/promote/internal/transfer"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestMain lets many tests wait at once: what they wait for is time, not the processor. In the process that a test
// starts in order to kill it, it promotes instead.
func TestMain(m *testing.M) {
	if job := os.Getenv(jobVariable); job != "" {
		os.Exit(work(job))
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "24")
	if testing.Short() { // the long tests measure memory
		debug.SetGCPercent(400) // a fifth of the processor time goes to collecting otherwise
	}
	log.SetOutput(io.Discard) // net/http tells there what hostile registries send it
	os.Exit(m.Run())
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}

// watcher keeps what a run tells, and can act on a step.
type watcher struct {
	onStep func(title string)

	mu    sync.Mutex
	lines []string
	steps []string
}

func (w *watcher) tell(kind, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, kind+": "+text)
}

func (w *watcher) Step(title string) {
	w.tell("step", title)
	w.mu.Lock()
	w.steps = append(w.steps, title)
	w.mu.Unlock()
	if w.onStep != nil {
		w.onStep(title)
	}
}
func (w *watcher) Info(text string)                               { w.tell("info", text) }
func (w *watcher) Notice(text string)                             { w.tell("notice", text) }
func (w *watcher) Warning(text string)                            { w.tell("warning", text) }
func (w *watcher) Progress(int64, int64, int, int, time.Duration) {}

func push(t testing.TB, i *regtest.Image, to *regtest.Registry, repo string, tags ...string) {
	t.Helper()
	if err := i.Push(t.Context(), to.Access("", ""), repo, tags...); err != nil {
		t.Fatal(err)
	}
}

// fixed marks a target's tag as a fixed one.
const fixed = "fixed "

// item is a source "host/path:tag@digest" and its targets "host/path:tag".
func item(t testing.TB, source string, targets ...string) promote.Item {
	t.Helper()
	text := source
	i := promote.Item{Source: promote.Source{Text: text}}
	if repo, digest, ok := strings.Cut(source, "@"); ok {
		h, err := v1.NewHash(digest)
		if err != nil {
			t.Fatal(err)
		}
		source, i.Source.Digest = repo, h
	}
	i.Source.Repository, i.Source.Tag = split(t, source)
	for _, text := range targets {
		text, isFixed := strings.CutPrefix(text, fixed)
		repo, tag := split(t, text)
		parsed, err := template.Parse(tag)
		if err != nil {
			t.Fatal(err)
		}
		i.Targets = add(i.Targets, repo, promote.Tag{Template: parsed, Fixed: isFixed})
	}
	return i
}

func add(targets []promote.Target, repo name.Repository, tag promote.Tag) []promote.Target {
	for n := range targets {
		if targets[n].Repository.Name() == repo.Name() {
			targets[n].Tags = append(targets[n].Tags, tag)
			return targets
		}
	}
	return append(targets, promote.Target{Repository: repo, Tags: []promote.Tag{tag}})
}

// split parts repository and tag, which may be a template.
func split(t testing.TB, text string) (name.Repository, string) {
	t.Helper()
	path, tag := text, ""
	if at := strings.LastIndex(template.Blank(text), ":"); at > strings.LastIndex(template.Blank(text), "/") {
		path, tag = text[:at], text[at+1:]
	}
	repo, err := name.NewRepository(path)
	if err != nil {
		t.Fatal(err)
	}
	return repo, tag
}

func requestOf(items ...promote.Item) promote.Request {
	return promote.Request{
		Items: items, Attachments: true, Verify: transfer.Blobs,
		Started: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC),
	}
}

// request promotes one image.
func request(t testing.TB, source string, targets ...string) promote.Request {
	t.Helper()
	return requestOf(item(t, source, targets...))
}

// networks are the networks within the process, by the name of the test in a bubble that each belongs to.
var networks sync.Map

// network is the test's own; nil: it is in no bubble.
func network(t testing.TB) *regtest.Memory {
	if m, ok := networks.Load(t.Name()); ok {
		return m.(*regtest.Memory) //nolint:forcetypeassert // nothing else is stored
	}
	return nil
}

// inBubble runs a test where time passes as soon as everybody waits, and gives it a network within the process.
func inBubble(t *testing.T, test func(t *testing.T, m *regtest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := regtest.NewMemory()
		networks.Store(t.Name(), m)
		defer networks.Delete(t.Name())
		defer m.Close() // before the registries, which wait for their connections
		test(t, m)
	})
}

// at is a client that reaches registries as that one is reached, in a bubble too.
func at(r *regtest.Registry) *registry.Client { return registry.New(registry.Options{Dial: r.Dial()}) }

func anonymous() *registry.Client { return registry.New(registry.Options{}) }

// anonymousOf is a client without a credential, which reaches the network of a test in a bubble.
func anonymousOf(t testing.TB) *registry.Client {
	if m := network(t); m != nil {
		return registry.New(registry.Options{Dial: m.DialContext})
	}
	return anonymous()
}

// run promotes, and shows what was told if the test fails.
func run(t testing.TB, r promote.Request) document.Report {
	t.Helper()
	return runWith(t, t.Context(), anonymousOf(t), r, &watcher{})
}

func runWith(t testing.TB, ctx context.Context, client *registry.Client, r promote.Request, w *watcher) document.Report { //nolint:revive // the test comes first
	t.Helper()
	d := promote.Run(ctx, client, r, w)
	client.Close() // many runs are under way at once, and each has many connections
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s: faults %+v, told:\n%s", d.Result, d.Faults, strings.Join(w.lines, "\n"))
		}
	})
	return d
}

func expect(t testing.TB, d document.Report, want document.Result) {
	t.Helper()
	if d.Result != want {
		t.Errorf("result %s, want %s: %+v", d.Result, want, d.Faults)
	}
	if (len(d.Faults) > 0) != (want == document.Failed || want == document.Denied || want == document.Invalid) {
		t.Errorf("result %s with %d faults", d.Result, len(d.Faults))
	}
}

// faulted expects a fault that says all of that, with a hint.
func faulted(t testing.TB, d document.Report, want document.Result, says ...string) {
	t.Helper()
	expect(t, d, want)
	var all strings.Builder
	for _, f := range d.Faults {
		fmt.Fprintln(&all, f.Message, "\n", f.Hint)
	}
	for _, s := range says {
		if !strings.Contains(all.String(), s) {
			t.Errorf("no fault says %q:\n%s", s, all.String())
		}
	}
}

// tag finds a tag of the report by the end of its reference.
func tag(t testing.TB, d document.Report, end string) document.Tag {
	t.Helper()
	for _, p := range d.Promotions {
		for _, tag := range p.Tags {
			if strings.HasSuffix(tag.Reference, end) {
				return tag
			}
		}
	}
	t.Fatalf("no tag %s in %+v", end, d.Promotions)
	return document.Tag{}
}

// expectTag expects what became of a tag.
func expectTag(t testing.TB, d document.Report, end string, state document.TagState, before, after string) {
	t.Helper()
	got := tag(t, d, end)
	if got.State != state || got.Before != before || got.After != after {
		t.Errorf("tag %s is %s, %q → %q; want %s, %q → %q", end, got.State, got.Before, got.After, state, before, after)
	}
	told := state == document.TagLeft || state == document.TagTaken || state == document.TagUnknown
	if state != document.TagPending && (got.Note != "") != told { // a pending one may tell of a refused write
		t.Errorf("tag %s is %s with the note %q", end, got.State, got.Note)
	}
}

// holds is what a tag holds now, empty if it does not exist.
func holds(t testing.TB, at *regtest.Registry, repo, tag string) string {
	t.Helper()
	digest, _, err := regtest.TagDigest(t.Context(), at.Access("", ""), repo, tag)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func read(t testing.TB, at *regtest.Registry, repo, reference string) *regtest.Tree {
	t.Helper()
	tree, err := regtest.Read(t.Context(), at.Access("", ""), repo, reference)
	if err != nil {
		t.Fatalf("read %s of %s: %v", reference, repo, err)
	}
	return tree
}

// complete expects all that the source's reference has at the target's.
func complete(t testing.TB, source *regtest.Registry, sourceRepo, sourceRef string, target *regtest.Registry, targetRepo, targetRef string) {
	t.Helper()
	for _, d := range regtest.Diff(read(t, source, sourceRepo, sourceRef), read(t, target, targetRepo, targetRef)) {
		t.Error(d)
	}
}

// ours are the requests that the tests did not make themselves.
func ours(r *regtest.Registry) (all []regtest.Request) {
	for _, q := range r.Requests() {
		if q.Agent != regtest.Agent {
			all = append(all, q)
		}
	}
	return all
}

func writes(r *regtest.Registry) (all []string) {
	for _, q := range ours(r) {
		if q.Method != http.MethodGet && q.Method != http.MethodHead && q.Path != "/token" {
			all = append(all, q.Method+" "+q.Path)
		}
	}
	return all
}

func untouched(t testing.TB, r *regtest.Registry) {
	t.Helper()
	if w := writes(r); len(w) > 0 {
		t.Errorf("written: %q", w)
	}
}

// nothingNamed sees that no manifest was written: bytes that nothing names are nothing.
func nothingNamed(t testing.TB, r *regtest.Registry) {
	t.Helper()
	for _, w := range writes(r) {
		if strings.Contains(w, "/manifests/") {
			t.Errorf("written: %q", w)
		}
	}
}

// forUs wraps what the program asks, and lets the tests' own requests pass.
func forUs(wrap func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		wrapped := wrap(next)
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.UserAgent() == regtest.Agent {
				next.ServeHTTP(w, q)
				return
			}
			wrapped.ServeHTTP(w, q)
		})
	}
}

// on matches a method and the end of a path.
func on(method, end string) func(*http.Request) bool {
	return func(q *http.Request) bool { return q.Method == method && strings.HasSuffix(q.URL.Path, end) }
}

// hook runs something when a request matches, before it is served.
func hook(match func(*http.Request) bool, do func()) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if match(q) {
				do()
			}
			next.ServeHTTP(w, q)
		})
	}
}

// logins is a client with a credential per side.
func logins(source, target credential.Login) *registry.Client {
	return registry.New(registry.Options{Credentials: &credential.Chain{Source: source, Target: target}})
}

func digestTag(digest, suffix string) string { return strings.Replace(digest, ":", "-", 1) + suffix }

func digestOf(text string) string {
	return registry.NewManifest("", []byte(text)).Digest.String()
}
