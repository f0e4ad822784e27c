package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/goccy/go-yaml"
)

func TestThePlanIsAnOutput(t *testing.T) {
	for name, r := range map[string]document.Report{"one": plannedRun(), "release": plannedRelease(40), "no gates": plannedWithoutGates()} {
		raw, err := document.Unpack(output(t, r, "plan"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := document.ParsePlan(raw); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(raw, r.Plan.Encode()) || output(t, r, "plan-digest") != document.DigestOf(raw) {
			t.Errorf("%s: the output is another plan: %s", name, raw)
		}
		if notices := planNotices(r); len(notices) != 0 {
			t.Errorf("%s: %q", name, notices)
		}
	}
}

// TestOnlyAPlanThatWasMadeIsAnOutput: an apply job whose outputs are mistaken for
// the plan job's must not get a plan that was refused.
func TestOnlyAPlanThatWasMadeIsAnOutput(t *testing.T) {
	for name, r := range map[string]document.Report{"applied": applied(), "denied": deniedApply(), "none": retag(), "promised": report(document.Planned)} {
		if got := output(t, r, "plan") + output(t, r, "matrix"); got != "" {
			t.Errorf("%s: the outputs have a plan: %s", name, got)
		}
		if got, want := output(t, r, "plan-digest") != "", r.Plan != nil; got != want {
			t.Errorf("%s: plan-digest is there: %v, want %v", name, got, want)
		}
	}
}

func TestThePlansFileIsAnOutput(t *testing.T) {
	r := plannedRun()
	r.PlanFile = "/github/workspace/promotion-plan.txt"
	if got := output(t, r, "plan"); got != r.PlanFile {
		t.Errorf("plan = %q, want the file %s", got, r.PlanFile)
	}
	for _, text := range []string{Summary(r), strings.Join(Lines(r), "\n")} {
		if !strings.Contains(text, r.PlanFile) {
			t.Errorf("the file is not told: %s", text)
		}
	}
}

// large is a plan whose text cannot be compressed below size.
func large(images, size int) document.Report {
	r := plannedRelease(images)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range r.Plan.Promotions {
		noise := make([]byte, size/images)
		for j := range noise {
			noise[j] = byte('0' + random.IntN(64))
		}
		r.Plan.Promotions[i].Platforms = []string{string(noise)}
	}
	return r
}

func TestLargePlans(t *testing.T) {
	long(t)
	for name, test := range map[string]struct {
		report       document.Report
		file         string
		plan, matrix bool // is there
		notices      int
	}{
		"small":                  {large(4, 40<<10), "", true, true, 0},
		"too large, no file":     {large(4, 150<<10), "", false, true, 1},
		"too large, in a file":   {large(4, 150<<10), "plan.txt", true, true, 0},
		"the matrix also":        {large(4, 400<<10), "plan.txt", true, false, 1},
		"too large in all parts": {large(1, 150<<10), "", false, false, 2},
	} {
		r := test.report
		r.PlanFile = test.file
		values, size := map[string]string{}, 0
		for _, o := range Outputs(r) {
			values[o.Name] = o.Value
			size += utf16Size(o.Value)
		}
		if got := values["plan"] != ""; got != test.plan {
			t.Errorf("%s: the plan is there: %v, want %v", name, got, test.plan)
		}
		if got := values["matrix"] != ""; got != test.matrix {
			t.Errorf("%s: the matrix is there: %v, want %v", name, got, test.matrix)
		}
		if size > maxOutputs || utf16Size(values["matrix"]) > maxMatrix {
			t.Errorf("%s: outputs have %d bytes of UTF-16", name, size)
		}
		checkNotices(t, name, r, test.notices)
	}
}

func checkNotices(t *testing.T, name string, r document.Report, want int) {
	t.Helper()
	lines, summary := strings.Join(Lines(r), "\n"), Summary(r)
	if got := strings.Count(lines, "  note: "); got != want {
		t.Errorf("%s: the log has %d notes, want %d: %s", name, got, want, lines)
	}
	if got := strings.Count(summary, "- **Note:** The "); got != want {
		t.Errorf("%s: the summary has %d notes, want %d: %s", name, got, want, summary)
	}
}

func TestPlanTooLarge(t *testing.T) {
	if PlanTooLarge(strings.Repeat("x", 96<<10)) || !PlanTooLarge(strings.Repeat("x", 96<<10+1)) {
		t.Error("the limit is not 96 KiB")
	}
}

func TestMatrix(t *testing.T) {
	for _, n := range []int{1, 3, 40} {
		r := plannedRelease(n)
		var got struct {
			Include []map[string]string `json:"include"`
		}
		if err := json.Unmarshal([]byte(output(t, r, "matrix")), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Include) != n {
			t.Fatalf("the matrix has %d jobs, want %d", len(got.Include), n)
		}
		for i, job := range got.Include {
			checkShard(t, job, r.Plan.Promotions[i])
		}
	}
}

func checkShard(t *testing.T, job map[string]string, want document.PlannedPromotion) {
	t.Helper()
	raw, err := document.Unpack(job["plan"])
	if err != nil {
		t.Fatal(err)
	}
	p, err := document.ParsePlan(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Promotions) != 1 || p.Promotions[0].Repository != want.Repository || p.Promotions[0].Digest != want.Digest {
		t.Errorf("the job's plan has %+v, want %+v", p.Promotions, want)
	}
	if job["plan-digest"] != document.DigestOf(raw) || job["image"] != want.Image || job["digest"] != want.Digest || job["environment"] != "production" {
		t.Errorf("the job is %v", job)
	}
	if len(job) != 5 {
		t.Errorf("the job has %d values, want 5: %v", len(job), job)
	}
}

// TestMatrixNamesNoHost: the runner drops an output with a masked value in it.
func TestMatrixNamesNoHost(t *testing.T) {
	long(t)
	r := plannedRelease(600) // several images a job
	for i := range r.Plan.Promotions {
		p := &r.Plan.Promotions[i]
		p.Image = ""
		p.Source.Repository = fmt.Sprint("ghcr.io/acme/service-", i)
	}
	got := matrix(r)
	if got == "" || strings.Contains(got, "ghcr.io") || strings.Contains(got, "registry.acme.example") {
		t.Errorf("the matrix is %.300s", got)
	}
	if !strings.Contains(got, `{"image":"acme/service-0, acme/service-1, acme/service-2 and `) {
		t.Errorf("a job of several images does not name them: %.300s", got)
	}
	if got, want := strings.Count(got, `"plan":"H4sI`), 128; got != want {
		t.Errorf("the matrix has %d jobs, want %d: more do not fit", got, want)
	}
}

func TestVerdictOfPlans(t *testing.T) {
	idle := plannedRun()
	for i := range idle.Promotions[0].Tags {
		idle.Promotions[0].Tags[i].State = document.TagUnchanged
	}
	failed, dry, unchanged, bare := applied(), applied(), applied(), plannedRun()
	failed.Result, dry.Result, dry.DryRun, unchanged.Result, bare.Plan = document.Failed, document.WouldPromote, true, document.Unchanged, nil
	for name, test := range map[string]struct {
		report document.Report
		want   string
	}{
		"pending":  {plannedRun(), "Planned: ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (now sha256:9f8e7d6c5b4a); waiting for freeze, approvals; approve and apply before 2026-11-29 14:30 UTC"},
		"no gates": {plannedWithoutGates(), "Planned: ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (now sha256:9f8e7d6c5b4a); approve and apply before 2026-11-29 14:30 UTC"},
		"idle":     {idle, "Planned: ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (no tag would move); waiting"},
		"no plan":  {bare, "Planned: ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (now sha256:9f8e7d6c5b4a); waiting for freeze, approvals"},
		"applied":  {applied(), "Promoted ghcr.io/acme/app@sha256:1a2b3c4d5e6f to production (was sha256:9f8e7d6c5b4a), applying plan " + short(planDigest(applied()))},
		"denied":   {deniedApply(), "(no tag was moved); plan " + short(planDigest(deniedApply())) + " was not applied"},
		"failed":   {failed, "; plan " + short(planDigest(failed)) + " was not applied in full"},
		"dry run":  {dry, "; plan " + short(planDigest(dry)) + " would be applied"},
		"again":    {unchanged, " already, applying plan " + short(planDigest(unchanged))},
	} {
		if got := verdict(test.report); !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q in it", name, got, test.want)
		}
	}
}

func TestAPlanChangesNothing(t *testing.T) {
	r := plannedRun()
	if got := output(t, r, "changed"); got != "false" {
		t.Errorf("changed = %s", got)
	}
	if text := strings.Join(Lines(r), "\n"); strings.Contains(text, "copied") {
		t.Errorf("the log says that something was copied: %s", text)
	}
	if got, want := output(t, r, "tags"), "registry.acme.example/prod/app:production\nregistry.acme.example/prod/app:release-20261122-143000"; got != want {
		t.Errorf("tags = %q, want those that would hold the image", got)
	}
}

func TestFrom(t *testing.T) {
	other := plannedRelease(3)
	other.Promotions[1].From.Digest = oldDigest
	absent := plannedRun()
	absent.Promotions[0].From.Digest = ""
	for want, r := range map[string]document.Report{
		"`staging` holds this image":          plannedRun(),
		"`staging` holds all of these images": plannedRelease(3),
		"":                                    retag(),
		"`ghcr.io/acme/service-02:staging` holds `sha256:9f8e7d6c5b4a`, not `service-02`; `staging` holds 2 of these images": other,
		"`ghcr.io/acme/app:staging` holds —, not `ghcr.io/acme/app@sha256:1a2b3c4d5e6f`":                                     absent,
	} {
		if got := from(r); got != want {
			t.Errorf("from is %q, want %q", got, want)
		}
	}
}

// TestHowToApply reads the job to copy as GitHub would, whatever the plan's names.
func TestHowToApply(t *testing.T) {
	type step struct {
		Uses string
		With map[string]string
	}
	for _, test := range []struct{ job, environment, file, needs, applies string }{
		{"plan", "production", "", "plan", "${{ needs.plan.outputs.plan }}"},
		{"plan-all", "eu/production", "", "plan-all", "${{ needs.plan-all.outputs.plan }}"},
		{"", "", "", "plan", "${{ needs.plan.outputs.plan }}"},
		{"x }} ${{ secrets.A }}", "a\n  b: c", "", "plan", "${{ needs.plan.outputs.plan }}"},
		{"plan", "production", "/github/workspace/out/plan.txt", "plan", "plan.txt"},
		{"plan", "production", "/github/workspace/$(id) ", "plan", "PLAN-FILE"},
	} {
		r := plannedRun()
		r.Plan.Job.Name, r.Plan.Environment, r.PlanFile = test.job, test.environment, test.file
		var got map[string]struct {
			Needs, Environment string
			Steps              []step
		}
		if err := yaml.Unmarshal([]byte(applyJob(r)), &got); err != nil {
			t.Fatal(err)
		}
		last := got["apply"].Steps[len(got["apply"].Steps)-1]
		if len(got) != 1 || got["apply"].Needs != test.needs || last.With["plan"] != test.applies+"@${{ needs."+test.needs+".outputs.plan-digest }}" || last.With["mode"] != "apply" {
			t.Errorf("the job for %+v is %+v", test, got)
		}
		if fetched := strings.Contains(applyJob(r), "actions/download-artifact"); fetched != (test.file != "") {
			t.Errorf("the job for %+v has %d steps", test, len(got["apply"].Steps))
		}
	}
}

// An apply needs the config that the plan was made with.
func TestHowToApplyWithTheConfig(t *testing.T) {
	at := func(path, ref string) *document.Config { return &document.Config{Path: path, Ref: ref} }
	for _, test := range []struct {
		config   *document.Config
		noGates  bool
		checkout bool
		input    string
	}{
		{at(".github/promotion.yml", ""), false, true, ""},
		{at("ops/promotion.yml", ""), false, true, "ops/promotion.yml"},
		{at(".github/promotion.yml", "main"), false, false, ".github/promotion.yml@main"},
		{at("x\n  y: z", "main"), false, false, "CONFIG"},
		{at("${{ secrets.A }}", ""), false, true, "CONFIG"},
		{nil, true, false, "none"},
		{nil, false, false, ""},
	} {
		r := plannedRun()
		r.Plan.Config, r.Plan.NoGates = test.config, test.noGates
		job := applyJob(r)
		var got map[string]struct {
			Steps []struct {
				Uses string
				With map[string]string
			}
		}
		if err := yaml.Unmarshal([]byte(job), &got); err != nil {
			t.Fatal(err)
		}
		steps := got["apply"].Steps
		if input := steps[len(steps)-1].With["config"]; input != test.input {
			t.Errorf("the job for %+v has config %q, want %q", test.config, input, test.input)
		}
		if checkout := strings.HasPrefix(steps[0].Uses, "actions/checkout@"); checkout != test.checkout {
			t.Errorf("the job for %+v is\n%s", test.config, job)
		}
	}
}
