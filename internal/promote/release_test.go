package promote_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/credential"
	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/registry"
	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/google/go-containerregistry/pkg/name"
)

// fleet is three images, each on its way to a repository of its own, to a moving tag there that holds an old image and
// to a fixed one that is new.
type fleet struct {
	source, target        *regtest.Registry
	old, new, next, third []*regtest.Image

	mu      sync.Mutex
	refused func(*http.Request) bool // what is answered with 403
	noticed func(*http.Request)      // is told of every request
	served  func(*http.Request)      // is told of every request that was let through, when its answer is written
}

const ships = 3

// settle is how long a release is believed to be under way where no test is about that.
const settle = 10 * time.Millisecond

func repoOf(n int) string { return fmt.Sprint("prod/app", n) }

func newFleet(t *testing.T, o regtest.Options) *fleet {
	t.Helper()
	f := &fleet{source: regtest.Serve(t, regtest.Options{Delete: true})}
	o.Wrap = forUs(f.wrap)
	f.target = regtest.Serve(t, o)
	tiny := func(seed string, n int) *regtest.Image {
		return regtest.Build(regtest.Spec{Seed: fmt.Sprint(seed, n), LayerSize: 10})
	}
	for n := range ships {
		f.old, f.new = append(f.old, tiny("old", n)), append(f.new, tiny("new", n))
		f.next, f.third = append(f.next, tiny("next", n)), append(f.third, tiny("third", n))
		push(t, f.new[n], f.source, fmt.Sprint("acme/app", n), "dev")
		push(t, f.next[n], f.source, fmt.Sprint("acme/app", n), "next")
		push(t, f.old[n], f.target, repoOf(n), "production")
		push(t, f.third[n], f.target, repoOf(n))
	}
	f.target.ResetRequests()
	return f
}

func (f *fleet) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		f.mu.Lock()
		noticed, served := f.noticed, f.served
		f.mu.Unlock()
		if noticed != nil {
			noticed(q)
		}
		if f.refuses(q) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"errors":[{"code":"DENIED"}]}`))
			return
		}
		next.ServeHTTP(w, q)
		if served != nil {
			served(q)
		}
	})
}

// refuses asks one at a time.
func (f *fleet) refuses(q *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused != nil && f.refused(q)
}

// refuse has the target answer 403 to what matches, and to nothing else.
func (f *fleet) refuse(match func(*http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = match
}

func (f *fleet) notice(tell func(*http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noticed = tell
}

// putOf matches the writing of one of the fleet's tags.
func putOf(n int, tag string) func(*http.Request) bool {
	return on(http.MethodPut, fmt.Sprintf("/%s/manifests/%s", repoOf(n), tag))
}

// request is a release of some of the images, by the tag at the source. One by the tag dev has fixed tags.
func (f *fleet) request(t *testing.T, tag string, which ...int) promote.Request {
	t.Helper()
	if len(which) == 0 {
		which = []int{0, 1, 2}
	}
	var items []promote.Item
	for _, n := range which {
		to := f.target.Host() + "/" + repoOf(n)
		targets := []string{to + ":production"}
		if tag == "dev" {
			targets = append(targets, fixed+to+":v1")
		}
		items = append(items, item(t, fmt.Sprintf("%s/acme/app%d:%s", f.source.Host(), n, tag), targets...))
	}
	r := requestOf(items...)
	r.Settling = settle
	return r
}

// expect expects what the tags hold: for each repository the moving tag, then the fixed one.
func (f *fleet) expect(t *testing.T, what string, images []*regtest.Image, fixedOnes []*regtest.Image) {
	t.Helper()
	for n := range ships {
		f.expectOne(t, what, n, images[n], nil)
		if fixedOnes == nil {
			f.expectTag(t, what, n, "v1", "")
		} else {
			f.expectTag(t, what, n, "v1", fixedOnes[n].Root)
		}
	}
}

func (f *fleet) expectOne(t *testing.T, what string, n int, moving, fixedOne *regtest.Image) {
	t.Helper()
	f.expectTag(t, what, n, "production", moving.Root)
	if fixedOne != nil {
		f.expectTag(t, what, n, "v1", fixedOne.Root)
	}
}

func (f *fleet) expectTag(t *testing.T, what string, n int, tag, want string) {
	t.Helper()
	if got := holds(t, f.target, repoOf(n), tag); got != want {
		t.Errorf("%s: %s:%s holds %q, want %q", what, repoOf(n), tag, got, want)
	}
}

// opened is a repository as the tests see it.
func opened(t testing.TB, at *regtest.Registry, repo string) *registry.Repository {
	t.Helper()
	n, err := name.NewRepository(at.Host() + "/" + repo)
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.New(registry.Options{UserAgent: regtest.Agent}).Open(t.Context(), credential.Target, n, registry.Push)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func journalAt(t testing.TB, at *regtest.Registry, repo, tag string) *ledger.Journal {
	t.Helper()
	j, err := ledger.ReadJournal(t.Context(), opened(t, at, repo), tag)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// open reports whether a release is under way, as the journal of the first repository and its head say.
func (f *fleet) open(t *testing.T) bool {
	t.Helper()
	j := journalAt(t, f.target, repoOf(0), "production")
	if j == nil {
		return false
	}
	_, repo, _ := strings.Cut(j.Head.Repository, "/")
	head := journalAt(t, f.target, repo, j.Head.Tag)
	return head != nil && head.Release == j.Release && !head.Done
}

// killed makes a release by the tag dev that is ended before it is said to be over, and undoes by hand what it would not
// have moved yet: moved is how many of its tags are moved, in their order: v1 of each, then production of each.
func (f *fleet) killed(t *testing.T, moved int) {
	t.Helper()
	first := true
	f.refuse(func(q *http.Request) bool {
		if !on(http.MethodPut, "/app0/manifests/"+ledger.TagFor("production"))(q) {
			return false
		}
		was := first
		first = false
		return !was
	})
	d := run(t, f.request(t, "dev"))
	faulted(t, d, document.Failed, "every tag has moved", "403")
	f.expect(t, "killed at the end", f.new, f.new)
	f.refuse(nil)
	access := f.target.Access("", "")
	for n := range ships {
		if n >= moved {
			if err := regtest.DeleteManifest(t.Context(), access, repoOf(n), "v1"); err != nil {
				t.Fatal(err)
			}
		}
		if n+ships >= moved {
			if err := regtest.PutTag(t.Context(), access, repoOf(n), "production", f.old[n].Root); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !f.open(t) {
		t.Fatal("the journal is not open")
	}
	f.target.ResetRequests()
}

func told(d document.Report, part string) bool {
	return slices.ContainsFunc(d.Notices, func(n string) bool { return strings.Contains(n, part) })
}

// tagsWritten are the tags that were written, in their order, journals and all, but for records.
func tagsWritten(at *regtest.Registry) (all []string) {
	for _, w := range writes(at) {
		if path, tag, ok := strings.Cut(w, "/manifests/"); ok && !isDigestOrRecord(tag) {
			all = append(all, strings.TrimPrefix(path, "PUT /v2/")+":"+tag)
		}
	}
	return all
}

func isDigestOrRecord(tag string) bool {
	return strings.HasPrefix(tag, "sha256") || ledger.Reserved(tag) && !strings.HasPrefix(tag, ledger.Prefix)
}

// TestRelease: the journal comes before the first tag, its head before the rest; and in the end it is closed.
func TestRelease(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	r := f.request(t, "dev")
	r.Job.URL, r.Job.RunID = "https://github.com/acme/app/actions/runs/7", "7"
	d := run(t, r)
	expect(t, d, document.Promoted)
	f.expect(t, "a release", f.new, f.new)
	for n := range ships {
		expectTag(t, d, fmt.Sprint("app", n, ":production"), document.TagMoved, f.old[n].Root, f.new[n].Root)
		expectTag(t, d, fmt.Sprint("app", n, ":v1"), document.TagMoved, "", f.new[n].Root)
	}
	order := tagsWritten(f.target)
	journal := func(n int) string { return repoOf(n) + ":" + ledger.TagFor("production") }
	end := 3 * ships // a journal, a fixed tag and a moving one of each
	if len(order) != 4*ships || order[0] != journal(0) || order[end] != journal(0) || order[3] != repoOf(0)+":v1" {
		t.Errorf("written in the order %q", order)
	}
	for at, tag := range order {
		if strings.HasPrefix(tag[strings.Index(tag, ":")+1:], ledger.Prefix) != (at < ships || at >= end) {
			t.Errorf("written in the order %q: %s", order, tag)
		}
	}
	for n := range ships {
		j := journalAt(t, f.target, repoOf(n), "production")
		if j == nil || j.Head != (ledger.Place{Repository: f.target.Host() + "/" + repoOf(0), Tag: "production"}) || !j.Done || j.RunID != "7" || j.Run != r.Job.URL {
			t.Fatalf("the journal of %s is %+v", repoOf(n), j)
		}
		if j.Moves != nil || j.Places != nil {
			t.Errorf("the journal of %s, which is closed, says %+v, %+v", repoOf(n), j.Moves, j.Places)
		}
	}
	f.target.ResetRequests()
	expect(t, run(t, f.request(t, "dev")), document.Unchanged)
	untouched(t, f.target)
	d = run(t, f.request(t, "next"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
	f.expect(t, "the next release", f.next, f.new)
}

// TestReopenedRelease: who may write to the head's repository could say again that the release is under way. The other
// repositories say that it is over.
func TestReopenedRelease(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	expect(t, run(t, f.request(t, "dev")), document.Promoted)
	repo := opened(t, f.target, repoOf(0))
	head := *journalAt(t, f.target, repoOf(0), "production")
	head.Done = false
	for n := range ships {
		head.Places = append(head.Places, ledger.Place{Repository: f.target.Host() + "/" + repoOf(n), Tag: "production"})
	}
	if err := ledger.WriteJournal(t.Context(), repo, "production", head); err != nil {
		t.Fatal(err)
	}
	r := f.request(t, "next", 0)
	r.Settling = settle
	expect(t, run(t, r), document.Promoted)
	f.expectOne(t, "another repository", 1, f.new[1], f.new[1])
	f.expectOne(t, "another repository", 2, f.new[2], f.new[2])
}

// TestNoJournal: one tag alone moves or does not, and a release in which only fixed tags are new changes nothing that
// could be put back.
func TestNoJournal(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	expect(t, run(t, f.request(t, "next", 1)), document.Promoted)
	to := func(n int) string { return f.target.Host() + "/" + repoOf(n) + ":v9" }
	expect(t, run(t, requestOf(item(t, f.source.Host()+"/acme/app0:dev", fixed+to(0)), item(t, f.source.Host()+"/acme/app1:dev", fixed+to(1)))), document.Promoted)
	for _, tag := range tagsWritten(f.target) {
		if strings.Contains(tag, ledger.Prefix) {
			t.Errorf("%s was written", tag)
		}
	}
}

// TestReleaseThatIsRefused at one tag: all is put back, the journal is closed, and the report says what each tag is.
func TestReleaseThatIsRefused(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.refuse(putOf(1, "production"))
	d := run(t, f.request(t, "dev"))
	faulted(t, d, document.Failed, "app1:production", "403")
	f.expect(t, "refused", f.old, nil)
	for n := range ships {
		expectTag(t, d, fmt.Sprint("app", n, ":v1"), document.TagPutBack, "", "")
		got := tag(t, d, fmt.Sprint("app", n, ":production"))
		if got.After != f.old[n].Root || got.Before != f.old[n].Root || got.State != document.TagPutBack && got.State != document.TagPending {
			t.Errorf("%+v", got)
		}
	}
	if got := tag(t, d, "app1:production"); got.State != document.TagPending || got.Note != "the registry refused the write" {
		t.Errorf("%+v", got)
	}
	if f.open(t) {
		t.Error("the journal is open")
	}
	f.refuse(nil)
	d = run(t, f.request(t, "dev"))
	expect(t, d, document.Promoted)
	if len(d.Notices) > 0 {
		t.Errorf("told %q", d.Notices)
	}
	f.expect(t, "at last", f.new, f.new)
}

// TestReleaseThatCannotBePutBack leaves its journal open, and the next run puts back what it can.
func TestReleaseThatCannotBePutBack(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	seen := 0
	f.refuse(func(q *http.Request) bool {
		if putOf(0, "production")(q) {
			seen++
			return seen > 1
		}
		return putOf(1, "production")(q)
	})
	// The second tag is refused once the first has moved.
	moved := make(chan struct{})
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) {
			<-moved
		}
	})
	f.served = func(q *http.Request) {
		if putOf(0, "production")(q) {
			close(moved)
		}
	}
	d := run(t, f.request(t, "dev"))
	expect(t, d, document.Failed)
	expectTag(t, d, "app0:production", document.TagLeft, f.old[0].Root, f.new[0].Root)
	if !f.open(t) || !told(d, "next promotion") {
		t.Errorf("open %v, told %q", f.open(t), d.Notices)
	}
	f.refuse(nil)
	f.notice(nil)
	f.served = nil
	d = run(t, f.request(t, "next", 2))
	expect(t, d, document.Promoted)
	f.expectOne(t, "after the next", 0, f.old[0], nil)
	f.expectOne(t, "after the next", 1, f.old[1], nil)
	f.expectOne(t, "after the next", 2, f.next[2], nil)
	if f.open(t) {
		t.Error("the journal is open")
	}
}

// TestReleaseOfWhichOneIsTaken: somebody else's tag is let alone, and that is said.
func TestReleaseOfWhichOneIsTaken(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	f.refuse(putOf(1, "production"))
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) { // app0's v1 has moved by then
			_ = regtest.PutTag(t.Context(), f.target.Access("", ""), repoOf(0), "v1", f.third[0].Root)
		}
	})
	d := run(t, f.request(t, "dev"))
	expect(t, d, document.Failed)
	expectTag(t, d, "app0:v1", document.TagTaken, "", f.third[0].Root)
	f.expectTag(t, "taken", 0, "v1", f.third[0].Root)
	for n := range ships {
		f.expectTag(t, "taken", n, "production", f.old[n].Root)
		if n > 0 {
			f.expectTag(t, "taken", n, "v1", "")
		}
	}
	if f.open(t) {
		t.Error("the journal is open")
	}
}

// TestReleaseOfWhichOneCannotBeCopied: no tag has moved, and nothing is written of a release.
func TestReleaseOfWhichOneCannotBeCopied(t *testing.T) {
	f := newFleet(t, regtest.Options{})
	f.refuse(func(q *http.Request) bool {
		return q.Method != http.MethodGet && q.Method != http.MethodHead && strings.Contains(q.URL.Path, "/app2/")
	})
	d := run(t, f.request(t, "dev"))
	faulted(t, d, document.Failed, "app2", "403")
	f.expect(t, "not copied", f.old, nil)
	if tags := tagsWritten(f.target); len(slices.DeleteFunc(tags, func(tag string) bool { return strings.HasPrefix(tag, repoOf(2)) })) > 0 {
		t.Errorf("written: %q", tags)
	}
	for n := range ships {
		if j := journalAt(t, f.target, repoOf(n), "production"); j != nil {
			t.Errorf("%s has the journal %+v", repoOf(n), j)
		}
		expectTag(t, d, fmt.Sprint("app", n, ":production"), document.TagPending, f.old[n].Root, f.old[n].Root)
	}
}

// TestReleaseWithoutAJournal: where none can be written, nothing moves.
func TestReleaseWithoutAJournal(t *testing.T) {
	long(t)
	for n := range ships {
		f := newFleet(t, regtest.Options{})
		f.refuse(putOf(n, ledger.TagFor("production")))
		d := run(t, f.request(t, "dev"))
		faulted(t, d, document.Failed, ledger.TagFor("production"), "403")
		f.expect(t, "no journal", f.old, nil)
		if f.open(t) {
			t.Error("the journal is open")
		}
		f.refuse(nil)
		expect(t, run(t, f.request(t, "next")), document.Promoted)
		f.expect(t, "the next", f.next, nil)
	}
}

// TestReleaseInOneRepository: its journals say everything that changes there, whichever image it is of.
func TestReleaseInOneRepository(t *testing.T) {
	f := newFleet(t, regtest.Options{Delete: true})
	var items []promote.Item
	for n := range ships {
		items = append(items, item(t, fmt.Sprintf("%s/acme/app%d:dev", f.source.Host(), n), fmt.Sprintf("%s/prod/all:app%d", f.target.Host(), n)))
	}
	seen := false
	f.refuse(func(q *http.Request) bool {
		was := seen
		seen = seen || on(http.MethodPut, ledger.TagFor("app0"))(q)
		return was && on(http.MethodPut, ledger.TagFor("app0"))(q)
	})
	expect(t, run(t, requestOf(items...)), document.Failed)
	f.refuse(nil)
	for n := range ships {
		if got := holds(t, f.target, "prod/all", fmt.Sprint("app", n)); got != f.new[n].Root {
			t.Fatalf("app%d holds %q", n, got)
		}
	}
	r := requestOf(item(t, f.source.Host()+"/acme/app1:next", f.target.Host()+"/prod/all:app1"))
	r.Settling = settle
	expect(t, run(t, r), document.Promoted)
	for n, want := range []string{"", f.next[1].Root, ""} {
		if got := holds(t, f.target, "prod/all", fmt.Sprint("app", n)); got != want {
			t.Errorf("app%d holds %q, want %q", n, got, want)
		}
	}
}

// TestReleaseToTwoRegistries: a journal leads from the one to the other.
func TestReleaseToTwoRegistries(t *testing.T) {
	f, g := newFleet(t, regtest.Options{Delete: true}), newFleet(t, regtest.Options{Delete: true})
	both := func(tag string) promote.Request {
		r := requestOf(
			item(t, f.source.Host()+"/acme/app0:"+tag, f.target.Host()+"/prod/app0:production"),
			item(t, f.source.Host()+"/acme/app1:"+tag, g.target.Host()+"/prod/app1:production"),
		)
		r.Settling = settle
		return r
	}
	for _, at := range []*fleet{f, g} { // whichever has the head
		seen := false
		at.refuse(func(q *http.Request) bool {
			journal := q.Method == http.MethodPut && strings.Contains(q.URL.Path, ledger.Prefix)
			was := seen
			seen = seen || journal
			return was && journal
		})
	}
	faulted(t, run(t, both("dev")), document.Failed, "every tag has moved")
	f.refuse(nil)
	g.refuse(nil)
	expect(t, run(t, both("next")), document.Promoted)
	f.expectOne(t, "the next", 0, f.next[0], nil)
	g.expectOne(t, "the next", 1, f.next[1], nil)
}

// TestWriteThatLandsLate: nobody has answered it, and the tag shows what it held. It may still land, so that the next
// run looks again.
func TestWriteThatLandsLate(t *testing.T) {
	long(t)
	t.Parallel()
	f := newFleet(t, regtest.Options{Delete: true})
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	f.notice(func(q *http.Request) {
		if putOf(1, "production")(q) {
			cancel(errors.New("enough"))
			<-q.Context().Done()
			panic(http.ErrAbortHandler)
		}
	})
	d := runWith(t, ctx, anonymous(), f.request(t, "dev"), &watcher{})
	faulted(t, d, document.Failed, "enough")
	if got := tag(t, d, "app1:production"); got.State != document.TagPending || !strings.Contains(got.Note, "read it again") {
		t.Errorf("%+v", got)
	}
	f.expect(t, "ended", f.old, nil)
	f.notice(nil)
	push(t, f.new[1], f.target, repoOf(1), "production") // it lands
	expect(t, run(t, f.request(t, "next", 0)), document.Promoted)
	f.expect(t, "the next", []*regtest.Image{f.next[0], f.old[1], f.old[2]}, nil)
}
