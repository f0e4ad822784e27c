package promote_test

import (
	"flag"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/regtest"
)

var (
	chaosAll  = flag.Bool("chaos", false, "make all runs under faults, not only a sample of them")
	chaosSeed = flag.Uint64("chaos-seed", 0, "make only the run of this seed under faults; 0: those of the test")
	chaosOnly = flag.String("chaos-only", "", "make only these faults, by name with commas between; empty: all")
)

// TestChaos promotes under every fault that regtest knows, each at 2 % of the requests that it fits, then at 5 %: about
// one request in five goes wrong, then two in five. At 2 % every run succeeds. At 5 % two in a hundred may fail, if they
// say so. After any run all that is said is true, and the next run without faults completes what is missing, in the
// ledger too. A rollback then goes to what was there before.
func TestChaos(t *testing.T) {
	long(t)
	for _, test := range []struct {
		rate                  float64
		runs, sample, mayFail int
	}{
		{0.02, 100, 11, 0},
		{0.05, 100, 6, 2},
	} {
		runs := test.runs
		if !*chaosAll {
			runs, test.mayFail = test.sample, min(test.mayFail, 1)
		}
		var failed atomic.Int32
		t.Run(fmt.Sprintf("%g", test.rate), func(t *testing.T) {
			for n := range runs {
				seed := uint64(n + 1)
				if *chaosSeed != 0 && seed != *chaosSeed {
					continue
				}
				t.Run(fmt.Sprint(seed), func(t *testing.T) {
					t.Parallel()
					chaos(t, seed, test.rate, &failed)
				})
			}
		})
		if n := int(failed.Load()); n > test.mayFail {
			t.Errorf("at %g %d of %d runs failed, and %d may", test.rate, n, runs, test.mayFail)
		}
	}
}

// faultsOf is every fault at that rate, or those that were asked for.
func faultsOf(seed uint64, rate float64) regtest.ChaosOptions {
	o := regtest.ChaosOptions{Seed: seed, Rate: rate}
	if *chaosOnly == "" {
		return o
	}
	o.Rate, o.Rates = 0, map[regtest.Fault]float64{}
	for name := range strings.SplitSeq(*chaosOnly, ",") {
		o.Rates[regtest.Fault(name)] = rate
	}
	return o
}

// chaos is one run under faults, and one after it without.
func chaos(t *testing.T, seed uint64, rate float64, failed *atomic.Int32) {
	t.Helper()
	s := pick(seed)
	tryIn(t, s, faultsOf(seed, rate), func(t *testing.T, tr *trial) {
		w := &watcher{}
		d := tr.promote(t.Context(), w)
		if d.Result.ExitCode() != 0 {
			failed.Add(1)
			t.Logf("%s ends as %s: %+v", s.name, d.Result, d.Faults)
		}
		if err := tr.honest(t.Context(), d); err != nil {
			t.Errorf("%s, result %s: %v", s.name, d.Result, err)
		}
		if err := tr.secrets(); err != nil {
			t.Error(err)
		}
		if t.Failed() || d.Result.ExitCode() != 0 {
			t.Logf("faults %+v\nstruck:\n%s\ntold:\n%s", d.Faults, tr.tell(), strings.Join(w.lines, "\n"))
		}
		tr.calm()
		again := tr.promote(t.Context(), &watcher{})
		if again.Result.ExitCode() != 0 {
			t.Errorf("%s: without faults the next run ends as %s: %+v", s.name, again.Result, again.Faults)
		}
		if d.Result.ExitCode() == 0 && again.Result != document.Unchanged {
			t.Errorf("%s: %s, and the next run had something left to do: %s", s.name, d.Result, again.Result)
		}
		if err := tr.done(t.Context()); err != nil {
			t.Errorf("%s, after the next run: %v", s.name, err)
		}
		if err := tr.wentBack(t.Context(), tr.run(t.Context(), tr.back(), &watcher{})); err != nil {
			t.Errorf("%s, after a rollback: %v", s.name, err)
		}
	})
}
