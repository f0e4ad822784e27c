package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

func TestSummaryOfManyImagesIsWhole(t *testing.T) {
	got := Summary(several(200))
	if len(got) > maxSummary {
		t.Fatalf("the summary has %d bytes, limit %d", len(got), maxSummary)
	}
	if strings.Contains(got, "Left out") {
		t.Errorf("a summary of 200 images leaves something out: %s", got[len(got)-300:])
	}
	if rows := strings.Count(got, "| moved |"); rows != 200 {
		t.Errorf("the table has %d moved tags, want 200", rows)
	}
}

func TestSummaryNeverExceedsItsLimit(t *testing.T) {
	long(t)
	for name, r := range map[string]document.Report{
		"images":      several(2500),
		"a plan":      plannedRelease(2500),
		"verdicts":    unlike(plannedRelease(600)),
		"hostile":     manyHostile(600),
		"faults":      manyFaults(200),
		"attachments": manyAttachments(50_000),
	} {
		t.Run(name, func(t *testing.T) {
			got := Summary(r)
			if len(got) > maxSummary {
				t.Fatalf("the summary has %d bytes, limit %d", len(got), maxSummary)
			}
			if !strings.HasPrefix(got, "### ") {
				t.Errorf("the summary does not start with the verdict: %.80s", got)
			}
			shape(t, got)
		})
	}
}

func TestSummarySaysWhatIsLeftOut(t *testing.T) {
	long(t)
	got := Summary(several(4000))
	last := got[strings.LastIndex(strings.TrimSpace(got), "\n")+1:]
	for _, want := range []string{"Left out, because GitHub shows at most 1 MiB", "rows of the table", "full digests", "commands"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last line does not say %q: %s", want, last)
		}
	}
}

// unlike has a verdict of its own for every image, so that none are told together.
func unlike(r document.Report) document.Report {
	for i := range r.Promotions {
		for j := range r.Promotions[i].Gates {
			v := &r.Promotions[i].Gates[j]
			v.Status, v.Message = document.Fail, fmt.Sprint("for reason ", i, strings.Repeat(" x.y", 100))
		}
	}
	return r
}

func manyHostile(n int) document.Report {
	r := hostile(strings.Repeat("|`<@\u200b", 200))
	for range n {
		r.Promotions = append(r.Promotions, r.Promotions[0])
	}
	return r
}

func manyFaults(n int) document.Report {
	r := invalid()
	for i := range n {
		text := strings.Repeat(fmt.Sprintf("%d: x.y ", i), 2000)
		r.Faults = append(r.Faults, document.Fault{Message: text, Hint: strings.ReplaceAll(text, " ", "\n")})
		r.Notices = append(r.Notices, text)
	}
	return r
}

func manyAttachments(n int) document.Report {
	r := crossRegistry()
	for i := range n {
		a := document.Attachment{Digest: sigDigest, Subject: newDigest, ArtifactType: fmt.Sprintf("application/vnd.x-%d", i)}
		r.Promotions[0].Attachments = append(r.Promotions[0].Attachments, a)
		r.Promotions[0].Platforms = append(r.Promotions[0].Platforms, fmt.Sprintf("os/%d", i))
	}
	return r
}

func TestFaultsBeyondTheShownAreCounted(t *testing.T) {
	if got := Summary(manyFaults(18)); strings.Contains(got, "more faults; the log has them all.") {
		t.Error("a summary of 20 faults leaves some out")
	}
	if got := Summary(manyFaults(25)); !strings.Contains(got, "And 7 more faults; the log has them all.") {
		t.Error("a summary of 27 faults does not say that 7 are missing")
	}
}

func TestCommandsOnlyOfferWhatCanBePasted(t *testing.T) {
	for _, reference := range []string{
		"ghcr.io/acme/app$(id)", "ghcr.io/acme/app;id", "ghcr.io/acme/app`id`", "ghcr.io/acme/app\nid",
		"ghcr.io/acme/app ${{ github.token }}", "-rf", "ghcr.io/acme/app'", `ghcr.io/acme/app"`, "#x",
	} {
		r := crossRegistry()
		r.Promotions[0].Repository = reference
		r.Promotions[0].Tags[0].Reference = reference + ":production"
		if got := commands(r); len(got) != 0 {
			t.Errorf("repository %q gets into commands: %q", reference, got)
		}
	}
}

func TestGoBackLeavesFixedTagsAlone(t *testing.T) {
	r := crossRegistry()
	r.Promotions[0].Tags[1].Before = oldDigest
	got := strings.Join(commands(r), "\n")
	if want := "target: |\n      registry.acme.example/prod/app:production\n```"; !strings.Contains(got, want) {
		t.Errorf("the way back is not %q: %s", want, got)
	}
	if strings.Contains(got, "--target=registry.acme.example/prod/app:production,") {
		t.Errorf("the way back moves a fixed tag: %s", got)
	}
}

func TestGoBackGathersTagsThatHeldTheSame(t *testing.T) {
	r := retag()
	r.Promotions[0].Tags = append(r.Promotions[0].Tags,
		document.Tag{Reference: "ghcr.io/acme/app:stable", Before: oldDigest, After: newDigest, State: document.TagMoved},
		document.Tag{Reference: "ghcr.io/acme/app:new", After: newDigest, State: document.TagMoved},
	)
	got := wayBack(r)
	want := move{source: "ghcr.io/acme/app@" + oldDigest, targets: []string{"ghcr.io/acme/app:production", "ghcr.io/acme/app:stable"}}
	if len(got) != 1 || got[0].source != want.source || strings.Join(got[0].targets, " ") != strings.Join(want.targets, " ") {
		t.Errorf("wayBack = %v, want %v", got, want)
	}
}

func TestNothingToPasteWhereNothingIsKnown(t *testing.T) {
	for _, r := range []document.Report{drift(), dryRun(), cancelled(), invalid()} {
		if got := commands(r); len(got) != 0 {
			t.Errorf("a run that ended %s offers %q", r.Result, got)
		}
	}
}

// long skips a test that takes a quarter of a second of processor time or more, where only short ones are asked for.
func long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
}
