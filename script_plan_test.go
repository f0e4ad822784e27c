package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/runner/runnertest"
	"github.com/rogpeppe/go-internal/testscript"
)

// keepOutput sets a variable to an output of the last step, as
// ${{ steps.….outputs.… }} hands it on.
//
//	keep OUTPUT VARIABLE
func keepOutput(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[1], outputOf(ts, args[0]))
}

func outputOf(ts *testscript.TestScript, name string) string {
	outputs, err := runnertest.ParseKeyValueFile(ts.ReadFile("github_output"))
	ts.Check(err)
	value, ok := outputs[name]
	if !ok {
		ts.Fatalf("there is no output %q", name)
	}
	return value
}

// splitMatrix reads the output matrix as strategy.matrix does, checks that it has
// so many jobs, and sets VARIABLE_1_image, VARIABLE_1_plan and so on.
//
//	matrix VARIABLE N
func splitMatrix(ts *testscript.TestScript, _ bool, args []string) {
	var matrix struct{ Include []map[string]string }
	ts.Check(json.Unmarshal([]byte(outputOf(ts, "matrix")), &matrix))
	if len(matrix.Include) != number(ts, args[1]) {
		ts.Fatalf("%d jobs, want %s", len(matrix.Include), args[1])
	}
	for i, job := range matrix.Include {
		for key, value := range job {
			ts.Setenv(fmt.Sprintf("%s_%d_%s", args[0], i+1, strings.ReplaceAll(key, "-", "_")), value)
		}
	}
}

// agePlan makes a plan so much older: its digest changes too.
//
//	age VARIABLE DURATION
func agePlan(ts *testscript.TestScript, _ bool, args []string) {
	by, err := time.ParseDuration(args[1])
	ts.Check(err)
	plan, err := document.ParsePlan(unpacked(ts, args[0]))
	ts.Check(err)
	plan.Created, plan.Expires = plan.Created.Add(-by), plan.Expires.Add(-by)
	ts.Setenv(args[0], document.Pack(plan.Encode()))
}

// forgePlan replaces a text in a plan, and packs it as the program does.
//
//	forge VARIABLE OLD NEW
func forgePlan(ts *testscript.TestScript, _ bool, args []string) {
	raw := string(unpacked(ts, args[0]))
	if !strings.Contains(raw, args[1]) {
		ts.Fatalf("the plan has no %s:\n%s", args[1], raw)
	}
	ts.Setenv(args[0], document.Pack([]byte(strings.ReplaceAll(raw, args[1], args[2]))))
}

func unpacked(ts *testscript.TestScript, variable string) []byte {
	raw, err := document.Unpack(ts.Getenv(variable))
	ts.Check(err)
	return raw
}

// damagePlan changes one character in the middle of a plan's text.
//
//	damage VARIABLE
func damagePlan(ts *testscript.TestScript, _ bool, args []string) {
	text := []byte(ts.Getenv(args[0]))
	if at := len(text) / 2; text[at] == 'A' {
		text[at] = 'B'
	} else {
		text[at] = 'A'
	}
	ts.Setenv(args[0], string(text))
}
