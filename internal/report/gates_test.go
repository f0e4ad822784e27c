package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

// release has a promotion for each list of verdicts.
func release(verdicts ...[]document.Verdict) document.Report {
	r := several(len(verdicts))
	for i := range r.Promotions {
		r.Promotions[i].Image, r.Promotions[i].Gates = fmt.Sprint("image-", i), verdicts[i]
	}
	return r
}

func verdictOf(gate string, status document.Status, message string) document.Verdict {
	return document.Verdict{Gate: gate, Status: status, Message: message}
}

func TestGateRows(t *testing.T) {
	pass, fail := verdictOf("checks", document.Pass, "green"), verdictOf("checks", document.Fail, "red")
	named := func(name string, status document.Status) document.Verdict {
		return document.Verdict{Gate: "expressions", Name: name, Status: status, Message: "says " + name}
	}
	over := fail
	over.Overridden = true
	type verdicts = []document.Verdict
	for name, test := range map[string]struct {
		of   []verdicts
		want []string
	}{
		"none":        {[]verdicts{nil, nil}, nil},
		"one":         {[]verdicts{{pass}}, []string{"gate checks: pass: green"}},
		"all pass":    {[]verdicts{{pass}, {pass}, {pass}}, []string{"gate checks, all 3 images: pass: green"}},
		"all fail":    {[]verdicts{{fail}, {fail}}, []string{"gate checks, all 2 images: fail: red"}},
		"one fails":   {[]verdicts{{pass}, {fail}, {pass}}, []string{"gate checks, image-1: fail: red", "gate checks, 2 images: pass: green"}},
		"two fail":    {[]verdicts{{fail}, {pass}, {fail}}, []string{"gate checks, image-0: fail: red", "gate checks, image-2: fail: red", "gate checks, image-1: pass: green"}},
		"own reasons": {[]verdicts{{pass}, {verdictOf("checks", document.Pass, "also green")}}, []string{"gate checks, all 2 images: pass"}},
		"only one":    {[]verdicts{{pass}, nil}, []string{"gate checks, image-0: pass: green"}},
		"not all":     {[]verdicts{{fail}, {fail}, nil}, []string{"gate checks, 2 images: fail: red"}},
		"names": {[]verdicts{{named("a", document.Pass), named("b", document.Fail)}},
			[]string{"gate expressions (b): fail: says b", "gate expressions (a): pass: says a"}},
		"overridden": {[]verdicts{{over}, {pass}}, []string{"gate checks, image-0: OVERRIDDEN (fail): red", "gate checks, image-1: pass: green"}},
		"every kind": {[]verdicts{{
			verdictOf("a", document.Pass, "a"), verdictOf("b", document.Pending, "b"), verdictOf("c", document.Unknown, "c"),
			verdictOf("d", document.Fail, "d"), over, verdictOf("e", "", "e"), verdictOf("f", document.Pass, ""),
		}}, []string{
			"gate d: fail: d", "gate c: error: c", "gate e: error: e", "gate b: pending: b",
			"gate checks: OVERRIDDEN (fail): red", "gate a: pass: a", "gate f: pass",
		}},
	} {
		var got []string
		for _, line := range gateLines(release(test.of...)) {
			got = append(got, strings.TrimSpace(line))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", name, got, test.want)
		}
	}
}

// TestImagesOfOneNameAreToldApart: one image goes to two repositories.
func TestImagesOfOneNameAreToldApart(t *testing.T) {
	r := release([]document.Verdict{verdictOf("checks", document.Fail, "red")}, []document.Verdict{verdictOf("checks", document.Pass, "green")})
	r.Promotions[0].Image, r.Promotions[1].Image = "app", "app"
	got := strings.Join(gateLines(r), "\n")
	for _, p := range r.Promotions {
		if !strings.Contains(got, "app to "+p.Repository+":") {
			t.Errorf("%q does not name the repository %s", got, p.Repository)
		}
	}
}

// TestEveryVerdictIsAWord holds that a reader who sees no colours and no emoji is
// told the same.
func TestEveryVerdictIsAWord(t *testing.T) {
	for status, want := range map[document.Status]string{
		document.Pass: "✅ pass", document.Fail: "❌ fail", document.Pending: "⏳ pending", document.Unknown: "⚠ error", "": "⚠ error",
	} {
		v := verdictOf("freeze", status, "because")
		if got := Summary(release([]document.Verdict{v})); !strings.Contains(got, "| `freeze` | "+want+" | because |") {
			t.Errorf("%s is not told as %q: %s", status, want, got)
		}
		v.Overridden = true
		word := strings.Fields(want)[1]
		if got := Summary(release([]document.Verdict{v})); !strings.Contains(got, "| **`freeze`** | **⚠ OVERRIDDEN** ("+word+") | because |") {
			t.Errorf("%s, overridden, is not told: %s", status, got)
		}
	}
}

func TestDeniedByGates(t *testing.T) {
	pass, fail := verdictOf("from", document.Pass, ""), verdictOf("checks", document.Fail, "")
	pending, broken := verdictOf("freeze", document.Pending, ""), verdictOf("no-downgrade", document.Unknown, "")
	over := verdictOf("max-age", document.Fail, "")
	over.Overridden = true
	for _, test := range []struct {
		verdicts []document.Verdict
		want     string
	}{
		{[]document.Verdict{pass}, "Denied: "},
		{[]document.Verdict{pass, over}, "Denied: "},
		{[]document.Verdict{pass, fail}, "Denied by checks: "},
		{[]document.Verdict{broken, fail}, "Denied by checks, no-downgrade (error): "},
		{[]document.Verdict{pending}, "Denied by freeze (pending): "},
		{[]document.Verdict{pending, fail}, "Denied by checks, with freeze pending: "},
		{[]document.Verdict{fail, fail}, "Denied by checks: "},
	} {
		r := release(test.verdicts, test.verdicts)
		r.Result = document.Denied
		if got := verdict(r); !strings.HasPrefix(got, test.want) {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
	var many []document.Verdict
	for i := range 1000 {
		many = append(many, verdictOf(fmt.Sprint("gate-", i), document.Fail, ""))
	}
	r := release(many)
	if r.Result = document.Denied; !strings.HasPrefix(verdict(r), "Denied by gate-0,") || !strings.Contains(verdict(r), "gate-11 and 988 more: ") {
		t.Errorf("1000 gates are told as %q", verdict(r))
	}
}

// TestOverridesAreLoud: on every outcome, wherever the report has them.
func TestOverridesAreLoud(t *testing.T) {
	listed := retag()
	listed.Overrides = []string{"freeze"}
	judged := retag()
	judged.Promotions[0].Gates = []document.Verdict{{Gate: "freeze", Status: document.Fail, Overridden: true}}
	both := judged
	both.Overrides = []string{"freeze"}
	for _, r := range []document.Report{listed, judged, both} {
		for _, result := range []document.Result{
			document.Promoted, document.Unchanged, document.WouldPromote, document.Planned, document.Denied, document.Failed,
		} {
			r.Result, r.Reason = result, "CHG-1234"
			for _, text := range []string{verdict(r), Message(r), Annotation(r), Lines(r)[0]} {
				if !strings.HasSuffix(text, " with freeze OVERRIDDEN (CHG-1234)") {
					t.Errorf("%s: %q does not say it", result, text)
				}
			}
			want := []string{"gate freeze did not pass and was OVERRIDDEN; reason: CHG-1234"}
			if got := Warnings(r); !slices.Equal(got, want) {
				t.Errorf("%s: warnings are %q, want %q", result, got, want)
			}
		}
	}
	passed := retag()
	passed.Promotions[0].Gates = []document.Verdict{verdictOf("freeze", document.Pass, "open")}
	if got := Warnings(passed); len(got) != 0 || strings.Contains(verdict(passed), "OVERRIDDEN") {
		t.Errorf("a gate that passed is told as overridden: %q, %s", got, verdict(passed))
	}
	for _, text := range hostileTexts {
		for _, warning := range Warnings(hostile(text)) {
			if Visible(warning) != warning {
				t.Errorf("warning %q hides something", warning)
			}
		}
	}
}

func TestNoGatesAreTold(t *testing.T) {
	none := governed(document.Promoted)
	if got := Summary(none); !strings.Contains(got, "- **Gates:** no gate was judged") {
		t.Error("a config without gates is not told")
	}
	none.Config, none.NoGates = nil, true
	if got := Summary(none); !strings.Contains(got, "no gates (`config: none`)") {
		t.Error("config: none is not told")
	}
	if got := Summary(governed(document.Promoted, "from")); strings.Contains(got, "**Gates:**") {
		t.Error("a run with gates is said to have none")
	}
	if got := Summary(governed(document.Failed)); strings.Contains(got, "**Gates:**") {
		t.Error("a run that failed before its gates is said to have none")
	}
}
