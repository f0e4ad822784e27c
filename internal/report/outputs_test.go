package report

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

func output(t *testing.T, r document.Report, name string) string {
	t.Helper()
	for _, o := range Outputs(r) {
		if o.Name == name {
			return o.Value
		}
	}
	t.Fatalf("there is no output %q", name)
	return ""
}

func TestOutputsAreTheTableOfOutputs(t *testing.T) {
	for name, r := range cases() {
		var got, want []string
		for _, o := range Outputs(r) {
			got = append(got, o.Name)
		}
		for _, o := range document.Outputs {
			want = append(want, o.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: outputs are %v, want %v", name, got, want)
		}
	}
}

func TestChanged(t *testing.T) {
	for name, want := range map[string]string{
		"promoted-cross-registry": "true", "repaired": "true", "unchanged": "false", "dry-run": "false",
		"denied-drift": "false", "failed-put-back": "true", "cancelled": "true", "denied-fixed-tag": "false", "invalid-input": "false",
	} {
		if got := output(t, cases()[name], "changed"); got != want {
			t.Errorf("%s: changed = %s, want %s", name, got, want)
		}
	}
}

func TestPreviousDigestIsOfTheFirstMovingTag(t *testing.T) {
	r := crossRegistry()
	tags := r.Promotions[0].Tags
	tags[0], tags[1] = tags[1], tags[0]
	if got := output(t, r, "previous-digest"); got != oldDigest {
		t.Errorf("previous-digest = %q, want %q", got, oldDigest)
	}
	r.Promotions[0].Tags = tags[:1]
	if got := output(t, r, "previous-digest"); got != "" {
		t.Errorf("previous-digest with only a fixed tag = %q, want nothing", got)
	}
}

func TestNoImageIsNamedUnlessItMayBeUsed(t *testing.T) {
	for _, r := range []document.Report{fixedTag(), putBack(), cancelled()} {
		if got := output(t, r, "image") + output(t, r, "images"); got != "" {
			t.Errorf("a run that ended %s names the image %q", r.Result, got)
		}
		if got := output(t, r, "digest"); got != newDigest {
			t.Errorf("a run that ended %s has digest %q, want %q", r.Result, got, newDigest)
		}
	}
}

// TestLedgerHead: the output is of the first promotion, digests on one line, whatever the result is.
func TestLedgerHead(t *testing.T) {
	r := several(2)
	if got := output(t, r, "ledger-head"); got != "" {
		t.Errorf("of a run without a ledger: %q", got)
	}
	r.Promotions[0].LedgerHeads, r.Promotions[1].LedgerHeads = []string{oldDigest, newDigest}, []string{newDigest}
	for _, result := range []document.Result{document.Promoted, document.Unrecorded, document.Failed} {
		r.Result = result
		if got := output(t, r, "ledger-head"); got != oldDigest+" "+newDigest {
			t.Errorf("%s: %q", result, got)
		}
	}
	r.Promotions[0].LedgerHeads = []string{newDigest}
	if got := output(t, r, "ledger-head"); got != newDigest {
		t.Errorf("of one head: %q", got)
	}
	if got := output(t, invalid(), "ledger-head"); got != "" {
		t.Errorf("of a run without promotions: %q", got)
	}
}

func TestTagsAreThoseThatHoldTheDigest(t *testing.T) {
	want := "ghcr.io/acme/app:production\nghcr.io/acme/app:v1.4.2"
	if got := output(t, dryRun(), "tags"); got != want {
		t.Errorf("tags of a dry run = %q, want %q", got, want)
	}
	if got := output(t, putBack(), "tags"); got != "ghcr.io/acme/app:stable" {
		t.Errorf("tags of a failed run = %q, want the one that was left", got)
	}
	if got := output(t, cancelled(), "tags"); got != "" {
		t.Errorf("tags of a cancelled run = %q, want none", got)
	}
}

func TestOutputsOfOneLineStaySo(t *testing.T) {
	for _, text := range hostileTexts {
		r := hostileRollback(text)
		r.Result, r.Mode = document.Promoted, ""
		for _, name := range []string{"result", "message", "changed", "digest", "previous-digest", "image", "images", "tags", "plan", "plan-digest", "matrix", "record", "ledger-head", "results"} {
			if got := output(t, r, name); strings.ContainsAny(got, "\r\n\x00\x1b") {
				t.Errorf("output %s of %q has several lines or control characters: %q", name, text, got)
			}
		}
	}
}

func TestMessageIsHarmlessInShellAndChat(t *testing.T) {
	for _, text := range hostileTexts {
		if got := Message(hostile(text)); strings.ContainsAny(got, "`$\"'\\<>|;&\n") {
			t.Errorf("message of %q can act: %q", text, got)
		}
	}
}

func TestResultsAreThePromotions(t *testing.T) {
	for _, r := range []document.Report{crossRegistry(), several(3), hostile("'`$;|\"\\ <x> \u2028")} {
		text := output(t, r, "results")
		if strings.ContainsAny(text, "'`$;|<>&") {
			t.Errorf("results have signs of a shell: %s", text)
		}
		var got []document.Promotion
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, r.Promotions) {
			t.Errorf("results = %+v, want %+v", got, r.Promotions)
		}
	}
}

func TestResultsOfNothingAreAnEmptyList(t *testing.T) {
	if got := output(t, invalid(), "results"); got != "[]" {
		t.Errorf("results = %q, want []", got)
	}
	if got := results([]document.Promotion{{}}, maxOutputs); !strings.Contains(got, `"tags":[]`) {
		t.Errorf("tags of a promotion without tags are not a list: %s", got)
	}
}

func TestOutputsStayWithinGitHubsLimit(t *testing.T) {
	long(t)
	for name, test := range map[string]struct {
		report  document.Report
		omitted []string // of the first promotion
		cut     bool
	}{
		"small":       {crossRegistry(), nil, false},
		"200 images":  {several(200), nil, false},
		"attachments": {attached(3000, 0), []string{"attachments"}, false},
		"platforms":   {attached(3000, 60_000), []string{"attachments", "platforms"}, false},
		"images":      {several(1500), []string{"attachments", "platforms"}, true},
		"a plan":      {plannedRelease(40), nil, false},
		"large plan":  {plannedRelease(240), []string{"attachments", "platforms", "gates.message"}, true},
		"verdicts":    {wordy(plannedRelease(150)), []string{"attachments", "platforms", "gates.message"}, false},
	} {
		t.Run(name, func(t *testing.T) { checkLimit(t, test.report, test.omitted, test.cut) })
	}
}

func checkLimit(t *testing.T, r document.Report, omitted []string, cut bool) {
	total := 0
	for _, o := range Outputs(r) {
		total += utf16Size(o.Value)
	}
	if total > maxOutputs {
		t.Errorf("outputs have %d bytes of UTF-16, limit %d", total, maxOutputs)
	}
	var got []result
	if err := json.Unmarshal([]byte(output(t, r, "results")), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got[0].Omitted, omitted) {
		t.Errorf("omitted = %v, want %v", got[0].Omitted, omitted)
	}
	last := got[len(got)-1]
	if missing := len(r.Promotions) - len(got); last.PromotionsOmitted != missing || cut != (missing > 0) {
		t.Errorf("%d promotions are missing and %d are said to be", missing, last.PromotionsOmitted)
	}
}

// wordy has long reasons for every verdict.
func wordy(r document.Report) document.Report {
	for i := range r.Promotions {
		r.Promotions[i].Gates = slices.Clone(r.Promotions[i].Gates)
		for j := range r.Promotions[i].Gates {
			r.Promotions[i].Gates[j].Message = strings.Repeat("because ", 100)
		}
	}
	return r
}

func attached(attachments, platforms int) document.Report {
	r := crossRegistry()
	for i := range attachments {
		r.Promotions[0].Attachments = append(r.Promotions[0].Attachments, document.Attachment{Digest: fmt.Sprint(newDigest, i), Subject: newDigest})
	}
	for i := range platforms {
		r.Promotions[0].Platforms = append(r.Promotions[0].Platforms, fmt.Sprintf("linux/%d", i))
	}
	return r
}

func TestResultsWithoutRoom(t *testing.T) {
	for _, room := range []int{-1, 0, 100} {
		if got := results(several(2).Promotions, room); got != "[]" {
			t.Errorf("results in %d bytes = %s", room, got)
		}
	}
}

func TestUTF16Size(t *testing.T) {
	if got := utf16Size("aé漢😀"); got != 2*5 {
		t.Errorf("utf16Size = %d, want 10", got)
	}
	if got := utf16Size("\xff"); got != 2 {
		t.Errorf("utf16Size of a broken byte = %d, want 2", got)
	}
}

func TestLinesAreSingleLines(t *testing.T) {
	for _, text := range hostileTexts {
		for _, line := range Lines(hostile(text)) {
			if Visible(line) != line {
				t.Errorf("line %q hides something", line)
			}
		}
	}
}

// TestAnnotation shows the first thing to do beside the first fault, in one line.
func TestAnnotation(t *testing.T) {
	r := drift()
	got := Annotation(r)
	for _, want := range []string{r.Faults[0].Message, "Somebody pushed the tag since the build. Promote the digest itself"} {
		if !strings.Contains(got, want) {
			t.Errorf("annotation %q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "\n") {
		t.Errorf("annotation %q has several lines", got)
	}
	r.Faults = append(r.Faults, document.Fault{Message: "another"})
	if got := Annotation(r); !strings.HasSuffix(got, "(and 1 more fault)") {
		t.Errorf("annotation %q hides a fault", got)
	}
	if strings.HasSuffix(got, ":") {
		t.Errorf("annotation %q leads to what is not in it", got)
	}
	r.Faults[0].Hint = "For example:\n  source: ghcr.io/acme/app:1.4.2"
	if got := Annotation(r); strings.Contains(got, "For example") {
		t.Errorf("annotation %q leads to what is not in it", got)
	}
}
