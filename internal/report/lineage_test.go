package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

// chartLine is every line that a chart may have.
var chartLine = regexp.MustCompile("^(?:```mermaid|flowchart LR|  n[0-9]+\\[" + chartLabel + "\\]|  subgraph g[0-9]+\\[\"[A-Za-z0-9._…-]+\"\\]|  end|  n[0-9]+ --> n[0-9]+|```)$")

const chartLabel = `"[A-Za-z0-9._…-]+<br/>(?:[A-Za-z0-9._…-]+|nothing|could not be read)(?:<br/>(?:not recorded|since when is not known|since [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2} UTC))?"`

func TestChartHoldsNoStrangersSigns(t *testing.T) {
	for _, text := range append([]string{
		`x"] --> y["z`, "x]\n  click n0 \"https://evil.example\"", "end", "%%{init: {}}%%", "a;b", "fa:fa-ban", "#quot;", "<img src=x onerror=alert(1)>",
		"x<br/>since 2020-01-01 00:00 UTC", "```\n# out", "\"`**bold**`\"", "1. list", "- list", "::icon(fa fa-x)", "___", "class n0 evil", "@{shape: x}", "|x|", "n1 & n2",
	}, hostileTexts...) {
		if strings.TrimSpace(text) == "" {
			continue
		}
		for line := range strings.SplitSeq(chart(hostileHistory(text).Lineage), "\n") {
			if !chartLine.MatchString(line) {
				t.Errorf("%q puts the line %q into the chart", text, line)
			}
		}
	}
}

func holding(environment, from string) document.Holding {
	return document.Holding{Environment: environment, From: from, Digest: newDigest}
}

func TestChartOnlyWhereItHelps(t *testing.T) {
	var all []document.Holding
	for i := range maxNodes + 1 {
		all = append(all, holding(fmt.Sprint("e", i), fmt.Sprint("e", i-1)))
	}
	for n, want := range map[int]bool{0: false, 1: false, 2: true, maxNodes: true, maxNodes + 1: false} {
		if got := chart(all[:n]) != ""; got != want {
			t.Errorf("%d environments have a chart: %v, want %v", n, got, want)
		}
	}
}

// namesOf are the names of a route, the first in brackets where it is told before.
func namesOf(way route) string {
	var names []string
	for _, h := range way.stages {
		names = append(names, h.Environment)
	}
	if way.known {
		names[0] = "(" + names[0] + ")"
	}
	return strings.Join(names, " ")
}

func TestRoutes(t *testing.T) {
	worker := holding("staging", "dev")
	worker.Image = "worker"
	for name, test := range map[string]struct {
		all  []document.Holding
		want []string
		edge int
	}{
		"none":             {nil, nil, 0},
		"one":              {[]document.Holding{holding("dev", "")}, []string{"dev"}, 0},
		"in order":         {[]document.Holding{holding("dev", ""), holding("staging", "dev"), holding("production", "staging")}, []string{"dev staging production"}, 2},
		"backwards":        {[]document.Holding{holding("production", "staging"), holding("staging", "dev"), holding("dev", "")}, []string{"dev staging production"}, 2},
		"branch":           {[]document.Holding{holding("dev", ""), holding("a", "dev"), holding("b", "dev"), holding("c", "b")}, []string{"dev a", "(dev) b c"}, 3},
		"unknown before":   {[]document.Holding{holding("staging", "dev")}, []string{"staging"}, 0},
		"no name":          {[]document.Holding{holding("", ""), holding("a", "")}, []string{"", "a"}, 0},
		"round":            {[]document.Holding{holding("a", "b"), holding("b", "a")}, []string{"(a) b a"}, 2},
		"from itself":      {[]document.Holding{holding("a", "a")}, []string{"a"}, 0},
		"round and beyond": {[]document.Holding{holding("a", "b"), holding("b", "a"), holding("c", "a")}, []string{"(a) b a c"}, 3},
		"two images":       {[]document.Holding{holding("dev", ""), worker}, []string{"dev", "staging"}, 0},
		"same twice":       {[]document.Holding{holding("dev", ""), holding("dev", ""), holding("a", "dev")}, []string{"dev", "dev a"}, 1},
	} {
		var got []string
		for _, way := range routes(test.all) {
			got = append(got, namesOf(way))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: routes are %q, want %q", name, got, test.want)
		}
		if edges := strings.Count(chart(test.all), "-->"); len(test.all) > 1 && edges != test.edge {
			t.Errorf("%s: the chart has %d arrows, want %d", name, edges, test.edge)
		}
	}
}

func TestRoutesOfManyEnvironments(t *testing.T) {
	long(t)
	const n = 20_000
	var all []document.Holding
	for i := range n {
		all = append(all, holding(fmt.Sprint("e", i), fmt.Sprint("e", i-1)), holding(fmt.Sprint("leaf", i), fmt.Sprint("e", i)))
	}
	told := 0
	for _, way := range routes(all) {
		told += len(way.stages)
		if way.known {
			told--
		}
	}
	if told != len(all) {
		t.Errorf("the routes tell %d environments, want each of %d once", told, len(all))
	}
}

func TestLineageSaysWhatIsNotKnown(t *testing.T) {
	day := at(20, 14)
	for want, h := range map[string]document.Holding{
		"dev (could not be read: no)":                               {Fault: "no", Digest: newDigest, Recorded: true, Since: day},
		"dev (holds nothing)":                                       {Since: day, Recorded: true},
		"dev 1a2b3c4d5e6f (not recorded)":                           {Digest: newDigest, Since: day, Actor: "ann"},
		"dev 1a2b3c4d5e6f (since when is not known by ann)":         {Digest: newDigest, Recorded: true, Actor: "ann"},
		"dev 1a2b3c4d5e6f (since 2026-11-20 14:30 UTC)":             {Digest: newDigest, Recorded: true, Since: day},
		"app: dev 1a2b3c4d5e6f (since 2026-11-20 14:30 UTC by ann)": {Image: "app", Digest: newDigest, Recorded: true, Since: day, Actor: "ann"},
	} {
		h.Environment = "dev"
		if got := lineageLines(document.Report{Lineage: []document.Holding{h}}); len(got) != 1 || strings.TrimSpace(got[0]) != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
