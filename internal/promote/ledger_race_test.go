package promote_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/promote"
	"github.com/artifact-promotion/promote/internal/regtest"
)

// crowd is how many promotions run at once.
const crowd = 20

// gathering is where the runs of a crowd go: the environment, its moving tag and its repository, by the run's number.
type gathering struct {
	name           string
	env, tag, repo string
	dated          bool // with a fixed tag beside
}

func (g gathering) of(n int) (env, tag, repo string) {
	number := strings.NewReplacer("#", fmt.Sprint(n))
	return number.Replace(g.env), number.Replace(g.tag), number.Replace(g.repo)
}

// TestTwentyAtOnce: twenty promotions of different images run at once.
//
// Whoever reports success is in the ledger as promoted, once all have ended; nobody's entry is lost, and the next run adds
// its own and no other. Where two moved one tag, at least one of them exits with 1 and says why. Where nobody else moves
// the tag, and nobody else writes the ledger, each succeeds. The chain shows forks where one tag was moved at once, and
// nothing else. Without -sweep each place has one kind of registry.
func TestTwentyAtOnce(t *testing.T) {
	long(t)
	for n, where := range []gathering{
		{name: "one environment", env: "production", tag: "production", repo: "prod/app"},
		{name: "one environment, with fixed tags", env: "production", tag: "production", repo: "prod/app", dated: true},
		{name: "environments of one repository", env: "env-#", tag: "env-#", repo: "prod/app"},
		{name: "one ledger, a moving tag each", env: "production", tag: "region-#", repo: "prod/app"},
		{name: "one environment in many repositories", env: "production", tag: "production", repo: "prod/app-#"},
	} {
		for m, api := range []bool{false, true} {
			if m != n%2 && !*sweepAll {
				continue
			}
			t.Run(fmt.Sprintf("%s, API %v", where.name, api), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { gather(t, where, api, uint64(n)) })
			})
		}
	}
}

// mob is a crowd at its registry.
type mob struct {
	*testing.T
	*world
	gathering
	memory *regtest.Memory
	old    *regtest.Image
	images []*regtest.Image
}

func gather(t *testing.T, where gathering, api bool, seed uint64) {
	m := &mob{T: t, world: &world{}, gathering: where, memory: regtest.NewMemory()}
	target, chaos, err := regtest.StartChaos(regtest.Options{Memory: m.memory, Delete: true, Traits: traitsOf(vendorsCut[api][seed%2])},
		regtest.ChaosOptions{Seed: seed, Delay: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = target.Close()
		m.memory.Close()
	})
	m.source, m.target = target, target
	m.old = regtest.Build(regtest.Spec{Seed: "old", LayerSize: 10})
	for n := range crowd + 1 {
		i := regtest.Build(regtest.Spec{Seed: fmt.Sprint("image", n), LayerSize: 10})
		_, tag, repo := m.of(n)
		err := errors.Join(i.Push(t.Context(), m.at(target), fmt.Sprint("acme/", n), "dev"), m.old.Push(t.Context(), m.at(target), repo, tag))
		if err != nil {
			t.Fatal(err)
		}
		m.images = append(m.images, i)
	}
	reports := m.all()
	chaos.Calm()
	m.afterwards(reports)
}

// all runs everybody at once.
func (m *mob) all() []document.Report {
	reports := make([]document.Report, crowd)
	var all sync.WaitGroup
	for n := range crowd {
		all.Go(func() { reports[n] = m.run(n, n, fmt.Sprint(n)) })
	}
	all.Wait()
	return reports
}

// run promotes an image to where the run of a number goes.
func (m *mob) run(n, where int, id string) document.Report {
	transport := m.memory.Transport()
	defer transport.CloseIdleConnections()
	env, tag, repo := m.of(where)
	host := m.target.Host()
	targets := []string{host + "/" + repo + ":" + tag}
	if m.dated {
		targets = append(targets, fixed+host+"/"+repo+":v-"+id)
	}
	r := requestOf(item(m, fmt.Sprint(host, "/acme/", n, ":dev"), targets...))
	r.TargetEnv, r.Reason = env, "TICKET-"+id
	r.Job = document.Job{Repository: "acme/app", RunID: id, Attempt: "1", Name: "promote"}
	return promote.Run(m.Context(), m.client(transport, ""), r, &watcher{})
}

// places are the ledgers that there are: repository and environment, with one of the runs that go there.
func (m *mob) places() map[[2]string][]int {
	all := map[[2]string][]int{}
	for n := range crowd {
		env, _, repo := m.of(n)
		all[[2]string{repo, env}] = append(all[[2]string{repo, env}], n)
	}
	return all
}

func (m *mob) afterwards(reports []document.Report) {
	results := map[document.Result]int{}
	for n, d := range reports {
		results[d.Result]++
		m.believe(n, d)
	}
	elsewhere := 0
	for place, runs := range m.places() {
		before, held := m.annals(place), m.holder(runs[0])
		next := m.run(crowd, runs[0], "last") // where the first of them went
		expect(m, next, document.Promoted)
		a := m.annals(place)
		if len(a.lines) != len(before.lines)+1 {
			m.Errorf("%v: the next run has made of %q: %q", place, before.all(), a.all())
		}
		for _, n := range runs {
			m.account(a, n, reports[n])
		}
		m.once(a)
		if n := len(before.good()); n < 1 {
			m.Errorf("%v: none has moved a tag: %q", place, before.all())
		}
		err := m.chained(m.Context(), place[0], place[1], func(f ledger.Finding) bool {
			return len(runs) > 1 && f.Damage == ledger.Forked || len(runs) > 1 && m.tag == "production" && f.Damage == ledger.Moved
		})
		if err != nil {
			m.Errorf("%v: %v", place, err)
		}
		if m.rollBack(runs[0], reports, held) {
			elsewhere++
		}
	}
	m.Logf("%v; %d rollbacks went to another that succeeded than the last", results, elsewhere)
	if m.tag != "production" && results[document.Promoted] < crowd {
		m.Errorf("nobody moves another's tag, and the runs ended as %v", results)
	}
}

// holder is what the moving tag of a run holds.
func (m *mob) holder(n int) string {
	_, tag, repo := m.of(n)
	now, _, err := regtest.TagDigest(m.Context(), m.at(m.target), repo, tag)
	if err != nil {
		m.Fatal(err)
	}
	return now
}

// rollBack goes back from the last image to what was there before, or to another that succeeded: of those that moved one
// tag at once, the lines do not tell which was the last.
func (m *mob) rollBack(where int, reports []document.Report, held string) (elsewhere bool) {
	if m.tag == "region-#" { // one ledger for many tags: there is no one image to go back to
		return false
	}
	transport := m.memory.Transport()
	defer transport.CloseIdleConnections()
	env, tag, repo := m.of(where)
	to := m.target.Host() + "/" + repo
	r := requestOf(item(m, to, to+":"+tag))
	r.Mode, r.TargetEnv, r.Reason = promote.Rollback, env, "INC-1"
	expect(m, promote.Run(m.Context(), m.client(transport, ""), r, &watcher{}), document.RolledBack)
	now := m.holder(where)
	n := slices.IndexFunc(m.images, func(i *regtest.Image) bool { return i.Root == now })
	switch {
	case now == held:
		return false
	case n < 0 || n == crowd || !succeeded(reports[n]) && !overtaken(reports[n]):
		m.Errorf("the rollback went to %s (image %d), and before the last promotion %s was there", now, n, held)
	}
	return true
}

func (m *mob) annals(place [2]string) annals {
	a, err := readAnnals(m.Context(), m.at(m.target), place[0], place[1])
	if err != nil {
		m.Fatal(err)
	}
	return a
}

// believe compares a report with what is there once all have ended.
func (m *mob) believe(n int, d document.Report) {
	env, _, repo := m.of(n)
	records, err := readRecords(m.Context(), m.at(m.target), repo, env)
	if err != nil {
		m.Fatal(err)
	}
	said := d.Promotions[0].Record
	there := slices.ContainsFunc(records, func(r recordOf) bool { return r.record == said && r.subject == m.images[n].Root })
	switch {
	case (d.Result == document.Promoted || d.Result == document.Unrecorded) && !there:
		m.Errorf("run %d: %s, and its record %q is not there", n, d.Result, said)
	case d.Result == document.Promoted && !d.Promotions[0].Recorded, d.Result == document.Unrecorded && d.Promotions[0].Recorded:
		m.Errorf("run %d: %s, listed: %v", n, d.Result, d.Promotions[0].Recorded)
	case d.Result == document.Unchanged:
		m.Errorf("run %d: %s", n, d.Result)
	case d.Result.ExitCode() != 0 && len(d.Faults) == 0:
		m.Errorf("run %d: %s without a reason", n, d.Result)
	}
}

// account looks a run up in the ledger, after all.
func (m *mob) account(a annals, n int, d document.Report) {
	at := slices.IndexFunc(a.lines, func(l annal) bool { return l.run == fmt.Sprint(n) })
	switch {
	case at < 0 && d.Promotions[0].Record != "":
		m.Errorf("run %d, %s: its record is in no entry: %q", n, d.Result, a.all())
	case at < 0:
	case d.Result == document.Promoted && !a.lines[at].good():
		m.Errorf("run %d: %s, and its entry says %s", n, d.Result, a.lines[at].result)
	case !succeeded(d) && a.lines[at].good() && !overtaken(d):
		m.Errorf("run %d: %s %+v, and its entry says %s", n, d.Result, d.Faults, a.lines[at].result)
	}
}

// overtaken reports whether a run says that another one moved the same tag: whoever read it between has seen its image
// there.
func overtaken(d document.Report) bool {
	return slices.ContainsFunc(d.Promotions[0].Tags, func(t document.Tag) bool { return t.State == document.TagTaken }) ||
		slices.ContainsFunc(d.Faults, func(f document.Fault) bool { return strings.Contains(f.Message, "another run") })
}

// once expects every entry to have a record of its own.
func (m *mob) once(a annals) {
	seen := map[string]bool{}
	for _, l := range a.lines {
		if seen[l.record] {
			m.Errorf("the record %s has two entries", l.record)
		}
		seen[l.record] = true
	}
}
