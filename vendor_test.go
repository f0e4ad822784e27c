package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/regtest"
	"github.com/rogpeppe/go-internal/testscript"
)

var (
	vendors     = flag.String("vendors", "", "run the scenarios on these vendors, NAME,…, or on all; without it each runs on one in rotation")
	vendorShift = flag.Uint("vendor-shift", uint(time.Now().Unix()/(24*60*60)), "where the rotation of vendors stands; it turns every day (UTC)")
	updateDocs  = flag.Bool("update", false, "write the generated parts of docs/registries.md")
)

// vendorScenarios are the scripts that copy, move and go back. On a vendor they run as they are, with three
// differences: a registry that a script gives a fault, immutable tags or the referrers API of its own accord is as the
// script says; attachments that the vendor refuses are missing at the source already; and numbers of requests are not
// looked at, but for writes and reads that must not be made at all.
var vendorScenarios = strings.Fields(`
	artifacts attachments_none attachments_cosign_merged attachments_fallback_merged audit_of_nothing basic_auth buildkit_attestations command_line
	config_file cross_registry docker_login docker_schema2 drift environment fixed_tag foreign_layers going_back history
	kept_images large_layers metadata_action_tags mount nested_index one_platform other_repository plan plan_matrix plan_several private_ca
	record_none registry_auth release rerun rollback rollback_release rollback_unrecorded rolled_back_gate several_images several_registries single_manifest
	soak tag_promotion target_env templates`)

// TestVendors runs scenarios on registries with the ways of vendors. What is known to fail stands in vendor_failing_test.go.
func TestVendors(t *testing.T) {
	long(t)
	checkFailing(t)
	if *vendors == "" {
		t.Logf("as of -vendor-shift=%d", *vendorShift)
	}
	for n, scenario := range vendorScenarios {
		for _, v := range vendorsOf(t, n) {
			t.Run(v.Name+"/"+scenario, func(t *testing.T) {
				t.Parallel()
				runOnVendor(t, scenario, v)
			})
		}
	}
}

// vendorsOf are the vendors that the nth scenario runs on now: one in rotation, or those that the flag names.
func vendorsOf(t *testing.T, n int) []regtest.Vendor {
	t.Helper()
	switch *vendors {
	case "":
		return []regtest.Vendor{rotated(uint(n), *vendorShift)}
	case "all":
		return regtest.Vendors
	}
	var all []regtest.Vendor
	for name := range strings.SplitSeq(*vendors, ",") {
		v, ok := regtest.FindVendor(name)
		if !ok {
			t.Fatalf("there is no vendor %q", name)
		}
		all = append(all, v)
	}
	return all
}

// rotated is the vendor of the nth scenario when the rotation stands at shift.
func rotated(n, shift uint) regtest.Vendor {
	return regtest.Vendors[(n+shift)%uint(len(regtest.Vendors))]
}

// TestVendorRotation holds that every vendor runs something every day, and every scenario in turn.
func TestVendorRotation(t *testing.T) {
	pairs := map[string]bool{}
	for shift := range len(regtest.Vendors) {
		today := map[string]bool{}
		for n, scenario := range vendorScenarios {
			v := rotated(uint(n), *vendorShift+uint(shift))
			today[v.Name], pairs[v.Name+"/"+scenario] = true, true
		}
		if len(today) != len(regtest.Vendors) {
			t.Errorf("with -vendor-shift=%d only %d of %d vendors run", *vendorShift+uint(shift), len(today), len(regtest.Vendors))
		}
	}
	if want := len(regtest.Vendors) * len(vendorScenarios); len(pairs) != want {
		t.Errorf("%d pairs of a vendor and a scenario run in turn, want %d", len(pairs), want)
	}
}

func runOnVendor(t *testing.T, scenario string, v regtest.Vendor) {
	t.Helper()
	run := &vendorRun{Vendor: v}
	params := scriptParams()
	params.Dir, params.Files = "", []string{filepath.Join("testdata/script", scenario+".txtar")}
	known, listed := failingOf(v.Name, scenario)
	params.Deadline = time.Now().Add(5 * time.Minute)
	params.Setup = func(env *testscript.Env) error {
		err := setUpScript(env)
		env.Values[worldKey{}].(*world).vendor = run
		return err
	}
	a := &attempt{}
	testscript.RunT(a, params)
	switch {
	case a.failed && !listed:
		t.Errorf("on %s:\n%s", v.Title, a.log.String())
	case a.failed && !regexp.MustCompile(known.shows).MatchString(a.log.String()):
		t.Errorf("on %s it fails, as known, but with something else than %q:\n%s", v.Title, known.shows, a.log.String())
	case !a.failed && listed && !known.sometimes:
		t.Errorf("on %s it passes: take it from the list that says %q", v.Title, known.why)
	}
}

// vendorRun is a vendor in one run of a script. Nil is none.
type vendorRun struct{ regtest.Vendor }

// apply gives a registry the vendor's ways. What a script says of the referrers API stays.
func (v *vendorRun) apply(o *regtest.Options) {
	if !o.Referrers {
		o.Traits = v.Traits
	}
}

// fit makes layers large where the vendor's ways show in large ones alone.
func (v *vendorRun) fit(spec *regtest.Spec) {
	if v != nil && v.Has("small bodies") && spec.Layers <= 2 {
		spec.LayerSize = max(spec.LayerSize, 1200<<10)
	}
}

func (v *vendorRun) push(ts *testscript.TestScript, image *regtest.Image, access regtest.Access, repository, tag string) {
	err := image.Offer(context.Background(), access, repository, tag)
	if errors.Is(err, regtest.ErrUnfit) {
		ts.Fatalf("%s holds no such image: %v", v.Title, err)
	}
	ts.Check(err)
}

// attempt is a run of a script that may fail.
type attempt struct {
	mu     sync.Mutex
	log    strings.Builder
	failed bool
}

func (a *attempt) Log(args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fmt.Fprintln(&a.log, args...)
}

func (a *attempt) FailNow() {
	a.mu.Lock()
	a.failed = true
	a.mu.Unlock()
	runtime.Goexit()
}

func (a *attempt) Fatal(args ...any) {
	a.Log(args...)
	a.FailNow()
}

func (a *attempt) Skip(args ...any) { a.Fatal(append([]any{"skipped: "}, args...)...) }

func (*attempt) Parallel()     {}
func (*attempt) Verbose() bool { return false }

func (a *attempt) Run(_ string, f func(testscript.T)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(a)
	}()
	<-done
}

// failing are scenarios that fail on a vendor, for one reason. shows matches what such a run prints, so that no other
// failure hides behind it.
type failing struct {
	vendor, scenarios string
	why, shows        string
	// sometimes: the scenario may pass, because it depends on what comes first.
	sometimes bool
}

func lists() []failing { return slices.Concat(unfit, refusesRecords, productMustMend) }

func failingOf(vendor, scenario string) (failing, bool) {
	for _, f := range lists() {
		if f.vendor == vendor && slices.Contains(strings.Fields(f.scenarios), scenario) {
			return f, true
		}
	}
	return failing{}, false
}

// checkFailing holds the lists to vendors and scenarios that there are, each in one list.
func checkFailing(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range lists() {
		if _, ok := regtest.FindVendor(f.vendor); !ok {
			t.Errorf("the list has an unknown vendor %q", f.vendor)
		}
		for _, scenario := range strings.Fields(f.scenarios) {
			if !slices.Contains(vendorScenarios, scenario) || seen[f.vendor+scenario] {
				t.Errorf("%s/%s is listed twice, or does not run", f.vendor, scenario)
			}
			seen[f.vendor+scenario] = true
		}
	}
	for _, scenario := range vendorScenarios {
		if _, err := os.Stat(filepath.Join("testdata/script", scenario+".txtar")); err != nil {
			t.Error(err)
		}
	}
}
