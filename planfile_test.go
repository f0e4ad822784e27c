package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/runner/runnertest"
)

// largePlan has a promotion for each of so many images: two digests each, which no
// packing makes smaller.
func largePlan(images int) *document.Plan {
	digest := func(text string) string {
		sum := sha256.Sum256([]byte(text))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	created := time.Date(2026, 11, 22, 14, 3, 0, 0, time.UTC)
	plan := &document.Plan{Schema: document.PlanSchema, Created: created, Expires: created.Add(time.Hour), Verify: "blobs"}
	for i := range images {
		name := fmt.Sprintf("registry.example/acme/app-%d", i)
		plan.Promotions = append(plan.Promotions, document.PlannedPromotion{
			Source: document.Source{Reference: name + ":dev", Repository: name, Tag: "dev"}, Digest: digest(name), Repository: name,
			Tags: []document.PlannedTag{{Name: "production", Before: digest(name + " before")}},
		})
	}
	return plan
}

// A step that could not be started with its plan as an input has its path.
func TestLargePlanIsAFile(t *testing.T) {
	long(t)
	for _, test := range []struct {
		images int
		inFile bool
	}{{10, false}, {2000, true}} {
		folder := t.TempDir()
		plan := largePlan(test.images)
		code, outputs, log := finishStep(t, folder, folder, plan)
		if code != 0 || outputs["result"] != "planned" {
			t.Fatalf("%d images: exit code %d, result %q: %s", test.images, code, outputs["result"], log)
		}
		if inFile := strings.HasPrefix(outputs["plan"], "promotion-plan-"); inFile != test.inFile {
			t.Fatalf("%d images: the output plan is %.60q", test.images, outputs["plan"])
		}
		if !test.inFile {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(folder, outputs["plan"]))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(raw, plan.Encode()) || document.DigestOf(raw) != outputs["plan-digest"] {
			t.Error("the file is not the plan")
		}
	}
}

// A plan that could not be written was not made: nobody could apply it.
func TestLargePlanThatCannotBeWritten(t *testing.T) {
	folder := t.TempDir()
	code, outputs, log := finishStep(t, folder, filepath.Join(folder, "missing"), largePlan(2000))
	if code != 1 || outputs["result"] != "failed" || outputs["plan"] != "" || outputs["matrix"] != "" {
		t.Errorf("exit code %d, outputs %v", code, outputs)
	}
	if !strings.Contains(log, "The plan is too large for an output, so it goes into the workspace.") {
		t.Errorf("the log does not say what to do: %s", log)
	}
}

// finishStep ends a step that has made a plan.
func finishStep(t *testing.T, folder, workspace string, plan *document.Plan) (code int, outputs map[string]string, log string) {
	t.Helper()
	file := filepath.Join(folder, "output")
	env := map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": file, "GITHUB_STEP_SUMMARY": filepath.Join(folder, "summary"), "GITHUB_WORKSPACE": workspace,
	}
	var stdout, stderr bytes.Buffer
	out := newRunner(env, &stdout, &stderr)
	code = finish(out, true, document.Report{Result: document.Planned, Plan: plan})
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if outputs, err = runnertest.ParseKeyValueFile(string(text)); err != nil {
		t.Fatal(err)
	}
	return code, outputs, stdout.String() + stderr.String()
}
