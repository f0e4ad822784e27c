package promote_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// raceSeeds is how many interleavings a race is run in.
var raceSeeds = flag.Uint64("races", 6, "in how many interleavings each race is run")

// history is what a registry did with manifests that were asked for by tag, in its order.
type history struct {
	mu   sync.Mutex
	past []event
}

// event is one answer: who read or wrote what, and what was there.
type event struct {
	agent, tag, digest string // no digest: there was nothing
	wrote              bool
}

func (h *history) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, tag, ok := strings.Cut(r.URL.Path, "/manifests/")
		if !ok || strings.Contains(tag, ":") || r.UserAgent() == regtest.Agent {
			next.ServeHTTP(w, r)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		spy := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(spy, r)
		e := event{agent: r.UserAgent(), tag: tag, wrote: r.Method == http.MethodPut}
		if spy.status < 300 {
			e.digest = w.Header().Get("Docker-Content-Digest")
		}
		h.past = append(h.past, e)
	})
}

// last is what somebody saw when it last read a tag, after all that it wrote itself.
func (h *history) last(agent, tag string) (digest string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range slices.Backward(h.past) {
		if e.agent == agent && e.tag == tag {
			return e.digest, !e.wrote
		}
	}
	return "", false
}

func (h *history) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lines []string
	for _, e := range h.past {
		what := "read"
		if e.wrote {
			what = "wrote"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s: %s", e.agent, what, e.tag, e.digest))
	}
	return strings.Join(lines, "\n")
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// race is several runs at once on one target, whose requests take from nothing to 100 ms each, by seed.
type race struct {
	memory  *regtest.Memory
	target  *regtest.Registry
	history history
}

func newRace(t *testing.T, seed uint64) *race {
	t.Helper()
	r := &race{memory: regtest.NewMemory()}
	target, _, err := regtest.StartChaos(regtest.Options{Memory: r.memory, Delete: true, Traits: traitsOf(vendorsCut[false][seed%2]), Wrap: r.history.wrap},
		regtest.ChaosOptions{Seed: seed, Delay: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.target = target
	t.Cleanup(func() {
		_ = target.Close()
		r.memory.Close()
	})
	return r
}

// run makes the requests at once, each in the name of an agent, and returns their reports.
func (r *race) run(ctx context.Context, requests map[string]promote.Request) map[string]document.Report {
	var mu sync.Mutex
	var all sync.WaitGroup
	reports := map[string]document.Report{}
	for agent, request := range requests {
		all.Go(func() {
			d := r.promote(ctx, agent, request)
			mu.Lock()
			defer mu.Unlock()
			reports[agent] = d
		})
	}
	all.Wait()
	return reports
}

func (r *race) promote(ctx context.Context, agent string, request promote.Request) document.Report {
	transport := r.memory.Transport()
	defer transport.CloseIdleConnections()
	w := &world{}
	return promote.Run(ctx, w.client(transport, agent), request, &watcher{})
}

func (r *race) at() regtest.Access { return r.target.Access("", "") }

// races runs a test in many interleavings, each in a bubble of its own.
func races(t *testing.T, test func(*testing.T, *race)) {
	t.Helper()
	for seed := range *raceSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRace(t, seed)
				test(t, r)
				if t.Failed() {
					t.Logf("the registry's history:\n%s", &r.history)
				}
			})
		})
	}
}

// TestRaceForTags: two promotions of different images move the same two tags at once.
//
// No registry compares before it swaps. Between what a run reads and what it then writes, the other can write; and
// after its last read, the other can still come. So this is what can be held, and is: each tag ends as the old digest
// or as one of the two, and all of that image is there. Whoever reports success saw, after its own last write, its
// digest under every tag. What a report says of a tag is what that run saw there last. And the tags do not end where
// neither wanted them while both say that they have succeeded.
func TestRaceForTags(t *testing.T) {
	long(t)
	var outcomes sync.Map
	t.Run("seeds", func(t *testing.T) {
		races(t, func(t *testing.T, r *race) { raceForTags(t, r, &outcomes) })
	})
	var all []string
	outcomes.Range(func(outcome, _ any) bool {
		all = append(all, outcome.(string))
		return true
	})
	slices.Sort(all)
	t.Logf("ended in these ways:\n%s", strings.Join(all, "\n"))
	if len(all) < 3 {
		t.Error("the runs hardly met each other: the interleavings are too much alike")
	}
}

func raceForTags(t *testing.T, r *race, outcomes *sync.Map) {
	t.Helper()
	tags := []string{"production", "stable"}
	old := regtest.Build(regtest.Spec{Seed: "old"})
	if err := old.Push(t.Context(), r.at(), "prod/app", tags...); err != nil {
		t.Fatal(err)
	}
	images, requests := map[string]*regtest.Image{"old": old}, map[string]promote.Request{}
	for _, agent := range []string{"first", "second"} {
		i := regtest.Build(regtest.Spec{Seed: agent})
		attach(i, agent)
		if err := i.Push(t.Context(), r.at(), "acme/"+agent, "dev"); err != nil {
			t.Fatal(err)
		}
		to := r.target.Host() + "/prod/app:"
		images[agent] = i
		requests[agent] = request(t, r.target.Host()+"/acme/"+agent+":dev", to+tags[0], to+tags[1])
	}
	reports := r.run(t.Context(), requests)

	outcome := fmt.Sprintf("first %s, second %s", reports["first"].Result, reports["second"].Result)
	for _, tag := range tags {
		holder := r.holder(t, tag, images)
		outcome += ", " + tag + " " + holder
		if holder == "old" && reports["first"].Result.ExitCode() == 0 && reports["second"].Result.ExitCode() == 0 {
			t.Errorf("both succeeded, and tag %s is as before", tag)
		}
	}
	outcomes.Store(outcome, true)
	for agent, d := range reports {
		r.saw(t, agent, d, images[agent].Root)
	}
}

// holder is whose image a tag holds, whole.
func (r *race) holder(t *testing.T, tag string, images map[string]*regtest.Image) string {
	t.Helper()
	now, _, err := regtest.TagDigest(t.Context(), r.at(), "prod/app", tag)
	for owner, i := range images {
		if err != nil || i.Root != now {
			continue
		}
		if owner == "old" {
			return owner
		}
		if err := r.has("prod/app", "acme/"+owner, i.Root); err != nil {
			t.Errorf("tag %s: %v", tag, err)
		}
		return owner
	}
	t.Errorf("tag %s holds %q, error %v", tag, now, err)
	return "?"
}

// has expects in one repository all that belongs to an image in another.
func (r *race) has(repo, from, root string) error {
	want, err := regtest.Read(context.Background(), r.at(), from, root)
	if err != nil {
		return err
	}
	got, err := regtest.Read(context.Background(), r.at(), repo, root)
	if err != nil {
		return err
	}
	if diff := regtest.Diff(want, got); len(diff) > 0 {
		return errors.New(strings.Join(diff, "; "))
	}
	return nil
}

// saw compares a run's report with what the registry answered to it.
func (r *race) saw(t *testing.T, agent string, d document.Report, root string) {
	t.Helper()
	for _, said := range d.Promotions[0].Tags {
		_, tag, _ := strings.Cut(said.Reference, "prod/app:")
		last, read := r.history.last(agent, tag)
		switch {
		case d.Result.ExitCode() == 0 && (!read || last != root):
			t.Errorf("%s: %s, and tag %s held %q when it was last seen (read after the write: %v)", agent, d.Result, tag, last, read)
		case said.State != document.TagUnknown && said.After != last:
			t.Errorf("%s: tag %s is said to hold %q (%s) and held %q when it was last seen", agent, tag, said.After, said.State, last)
		}
	}
}

// TestRaceForReferrers: five runs bring one image at once from five repositories, each with attachments of its own, to
// a registry without the referrers API, whose lists hold a line already.
//
// A list, or a tag of cosign's, is read, changed and written, and nothing keeps another writer from writing between: what
// it writes then lacks the line. Who wrote reads again and merges again, and looks once more if it saw a rival. A writer that read before and comes after that last look takes a line
// away all the same: this the protocol does not exclude, and the next run repairs it. So this is held: what was listed
// before all of them is never lost. Whoever reports success saw all of its lines and signatures when it last read each
// list and each of cosign's tags, after its own last write. One that fails says why. When each has run once more, one
// after the other, everything of all of them is there.
func TestRaceForReferrers(t *testing.T) {
	t.Parallel()
	long(t)
	var mu sync.Mutex
	succeeded, lost := 0, 0
	t.Run("seeds", func(t *testing.T) {
		races(t, func(t *testing.T, r *race) {
			s, l := raceForReferrers(t, r)
			mu.Lock()
			defer mu.Unlock()
			succeeded, lost = succeeded+s, lost+l
		})
	})
	t.Logf("%d runs succeeded, %d of them lost something to a later one", succeeded, lost)
	if all := 5 * int(*raceSeeds); succeeded < all*9/10 || lost > succeeded/4 {
		t.Errorf("of %d runs %d succeeded and %d of those lost something: they hardly wait for each other", all, succeeded, lost)
	}
}

func raceForReferrers(t *testing.T, r *race) (succeeded, lost int) {
	t.Helper()
	build := func() *regtest.Image { return regtest.Build(regtest.Spec{Seed: "shared"}) }
	before := build()
	attach(before, "before")
	if err := before.Push(t.Context(), r.at(), "prod/app"); err != nil {
		t.Fatal(err)
	}
	was, err := regtest.Read(t.Context(), r.at(), "prod/app", before.Root)
	if err != nil {
		t.Fatal(err)
	}
	requests := map[string]promote.Request{}
	for n := range 5 {
		agent := fmt.Sprint("run", n)
		i := build()
		attach(i, agent)
		if err := i.Push(t.Context(), r.at(), "acme/"+agent, "dev"); err != nil {
			t.Fatal(err)
		}
		requests[agent] = request(t, r.target.Host()+"/acme/"+agent+":dev", r.target.Host()+"/prod/app:"+agent)
	}
	reports := r.run(t.Context(), requests)
	if lines := r.lacks(t, was, before.Root); len(lines) > 0 {
		t.Errorf("of what was there before: %s", strings.Join(lines, "; "))
	}
	for agent, d := range reports {
		own := r.tree(t, "acme/"+agent, before.Root)
		switch {
		case d.Result.ExitCode() != 0 && len(d.Faults) == 0:
			t.Errorf("%s: %s without a reason", agent, d.Result)
		case d.Result.ExitCode() == 0:
			succeeded++
			r.sawAll(t, agent, own)
			if len(r.lacks(t, own, before.Root)) > 0 {
				lost++
			}
		}
	}
	for agent, request := range requests {
		if d := r.promote(t.Context(), agent, request); d.Result.ExitCode() != 0 {
			t.Errorf("%s alone: %s: %+v", agent, d.Result, d.Faults)
		}
	}
	for agent := range requests {
		if lines := r.lacks(t, r.tree(t, "acme/"+agent, before.Root), before.Root); len(lines) > 0 {
			t.Errorf("%s, after its second run: %s", agent, strings.Join(lines, "; "))
		}
	}
	return succeeded, lost
}

// sawAll expects that a run saw all of its own in what it read last of each list and of each tag of cosign's.
func (r *race) sawAll(t *testing.T, agent string, own *regtest.Tree) {
	t.Helper()
	for subject := range own.Nodes {
		if want := own.Referrers(subject); len(want) > 0 {
			r.sawIn(t, agent, digestTag(subject, ""), want)
		}
	}
	for tag, digest := range own.DigestTags {
		r.sawIn(t, agent, tag, own.Nodes[digest].Blobs[1:])
	}
}

func (r *race) sawIn(t *testing.T, agent, tag string, want []string) {
	t.Helper()
	digest, read := r.history.last(agent, tag)
	_, text, err := regtest.GetManifest(t.Context(), r.at(), "prod/app", digest)
	if err != nil || !read {
		t.Errorf("%s did not read %s after it wrote it (last %q, error %v)", agent, tag, digest, err)
	}
	for _, line := range want {
		if !strings.Contains(string(text), line) {
			t.Errorf("%s succeeded, and its %s was not in %s when it last read it", agent, line, tag)
		}
	}
}

func (r *race) tree(t *testing.T, repo, root string) *regtest.Tree {
	t.Helper()
	tree, err := regtest.Read(t.Context(), r.at(), repo, root)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// lacks lists what a tree has that is not in the target, signatures merged.
func (r *race) lacks(t *testing.T, want *regtest.Tree, root string) []string {
	t.Helper()
	got := r.tree(t, "prod/app", root)
	return append(lostLayers(want, got), regtest.Diff(withoutSignatures(want), got)...)
}
