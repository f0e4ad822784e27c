package report

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

func TestSummaryOfRecordsKeepsItsShape(t *testing.T) {
	for _, text := range hostileTexts {
		t.Run(clip(fmt.Sprintf("%q", text), 40), func(t *testing.T) { checkRecordShape(t, text) })
	}
}

func FuzzRecordsSummary(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Fuzz(checkRecordShape)
}

// checkRecordShape compares what records say, full of the text, with the same full
// of a word.
func checkRecordShape(t *testing.T, text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	word := "wörd"
	if pasteable.MatchString(text) {
		word = "word"
	}
	for name, make := range map[string]func(string) document.Report{"history": hostileHistory, "audit": hostileAudit, "rollback": hostileRollback} {
		if got, want := shape(t, Summary(make(text))), shape(t, Summary(make(word))); !slices.Equal(got, want) {
			t.Errorf("%s: %q changes the summary.\ngot:  %v\nwant: %v", name, text, got, want)
		}
		for _, line := range append(Lines(make(text)), Warnings(make(text))...) {
			if Visible(line) != line {
				t.Errorf("%s: line %q hides something", name, line)
			}
		}
		if got := Message(make(text)); strings.ContainsAny(got, "`$\"'\\<>|;&\n") {
			t.Errorf("%s: message of %q can act: %q", name, text, got)
		}
	}
}

func TestRunsAreLinksToTheirOwnServerOnly(t *testing.T) {
	const enterprise = "https://ghe.acme.example:8443/acme/app/actions/runs/1"
	for _, test := range []struct{ page, own, want string }{
		{runURL(7), "", "[`7`](" + runURL(7) + ")"},
		{runURL(7) + "/attempts/2", runURL(9), "[`7`](" + runURL(7) + "/attempts/2)"},
		{enterprise, enterprise, "[`1`](" + enterprise + ")"},
		{enterprise, "", "`" + enterprise + "`"},
		{runURL(7), enterprise, "`" + runURL(7) + "`"},
		{"https://github.com.evil.example/a/b/actions/runs/1", "", "`https://github.com.evil.example/a/b/actions/runs/1`"},
		{"https://github.com@evil.example/a/b/actions/runs/1", "", "`https://github.com@evil.example/a/b/actions/runs/1`"},
		{"http://github.com/a/b/actions/runs/1", "", "`http://github.com/a/b/actions/runs/1`"},
		{"javascript:alert(1)//https://github.com/a/b/actions/runs/1", "", "`javascript:alert(1)//https://github.com/a/b/actions/runs/1`"},
		{"https://github.com/a/b/actions/runs/1?x=y", "", "`https://github.com/a/b/actions/runs/1?x=y`"},
		{"https://github.com/a/b/actions/runs/1)[x](https://evil.example", "", "`https://github.com/a/b/actions/runs/1)[x](https://evil.example`"},
		{"https://github.com/a/b/../../settings", "", "`https://github.com/a/b/../../settings`"},
		{"https://github.com/a/b/actions/runs/1\n", "", "`https://github.com/a/b/actions/runs/1\\n`"},
		{"", "", "—"},
	} {
		if got := run(document.Report{Job: document.Job{URL: test.own}}, test.page); got != test.want {
			t.Errorf("run %q on %q is %s, want %s", test.page, test.own, got, test.want)
		}
	}
}

func TestVerdictOfRecords(t *testing.T) {
	again := rolledBackRun()
	for i := range again.Promotions[0].Tags {
		again.Promotions[0].Tags[i].State = document.TagUnchanged
	}
	held := rolledBackRun()
	held.Promotions[0].Tags = []document.Tag{{Reference: "x/y:production", Before: oldDigest, After: oldDigest, State: document.TagUnchanged}}
	faulty := historyRun()
	faulty.Histories[0].Lines[1].Fault = "its bytes do not match"
	unknown := rolledBackRun()
	unknown.Promotions[0].Brought, unknown.TargetEnv = nil, ""
	denied := rolledBackRun()
	denied.Result = document.Denied
	for i := range denied.Promotions[0].Tags {
		denied.Promotions[0].Tags[i].State = document.TagPending
	}
	unresolved := rollbackFailed()
	unresolved.Promotions = []document.Promotion{{Source: document.Source{Reference: "x/y"}, Repository: "x/y"}}
	release := rolledBackRelease()
	release.Result = document.Failed
	back := rolledBackRun()
	back.Result = document.Unrecorded
	apply := applied()
	apply.Result = document.Unrecorded
	one := cleanAudit()
	one.TargetEnv = "production"
	leftOut, onePartly := partlyAudited(), partlyAudited()
	leftOut.Uncompared = leftOut.Uncompared[:1]
	onePartly.TargetEnv, onePartly.Audited, onePartly.Uncompared = "production", onePartly.Audited[1:], onePartly.Uncompared[1:]
	tagOnly := historyRun()
	tagOnly.Histories[0].Environment, tagOnly.Histories[0].Older = "", false
	mode := func(mode string, r document.Report) document.Report { r.Mode = mode; return r }
	partly := historyRun()
	partly.Result = document.Failed
	halfAudited := auditFindings()
	halfAudited.Result = document.Failed
	filtered := emptyHistory()
	filtered.Histories[0].Missing = false

	for name, test := range map[string]struct {
		report document.Report
		want   string
	}{
		"rolled back":          {rolledBackRun(), "Rolled back production from sha256:1a2b3c4d5e6f to registry.acme.example/prod/app@sha256:9f8e7d6c5b4a (brought 2026-11-20 14:30 UTC by octocat)"},
		"again":                {again, "Completed the rollback of production from sha256:1a2b3c4d5e6f to registry.acme.example/prod/app@sha256:9f8e7d6c5b4a (brought 2026-11-20 14:30 UTC by octocat): no tag had to move"},
		"held already":         {held, "Completed the rollback of production to registry.acme.example/prod/app@sha256:9f8e7d6c5b4a (brought 2026-11-20 14:30 UTC by octocat): no tag had to move"},
		"not relied on":        {faulty, "History of production: 1 promotion, 1 rollback, 1 other record (older ones are left out)"},
		"tags, no record":      {unknown, "Rolled back production, release-20261122-143000 from sha256:1a2b3c4d5e6f to registry.acme.example/prod/app@sha256:9f8e7d6c5b4a"},
		"denied":               {denied, "Denied: production was not rolled back to registry.acme.example/prod/app@sha256:9f8e7d6c5b4a (no tag was moved)"},
		"unresolved":           {unresolved, "Failed: production was not rolled back (no tag was moved)"},
		"release failed":       {release, "were not rolled back in production (3 tags moved)"},
		"unrecorded rollback":  {back, "by octocat), but the ledger does not say so yet: run it again, or the next promotion there writes it"},
		"unrecorded apply":     {apply, ", applying plan sha256:"},
		"history":              {historyRun(), "History of production: 2 promotions, 1 rollback (older ones are left out)"},
		"history of a tag":     {tagOnly, "History of registry.acme.example/prod/app:production: 2 promotions, 1 rollback"},
		"history, filtered":    {filtered, "History of production: no record matches what was asked for"},
		"history, none":        {report(document.Listed), "History: nothing was asked for"},
		"history failed":       {mode("history", rollbackFailed()), "Failed: the history of production could not be read"},
		"history failed, all":  {mode("history", report(document.Failed)), "Failed: the history could not be read"},
		"history half failed":  {partly, "Failed: the history of production is not complete"},
		"audit":                {auditFindings(), "Audit: 7 findings in 2 environments (production, staging)"},
		"audit of one":         {one, "Audit: production is as recorded"},
		"audit, none":          {report(document.Clean), "Audit: nothing was compared"},
		"audit, partly":        {partlyAudited(), "Audit: 2 tags are as recorded, 2 others were not compared"},
		"audit, one left out":  {leftOut, "Audit: 2 tags are as recorded, ghcr.io/acme/app:dev was not compared"},
		"audit of one, partly": {onePartly, "Audit: production is as recorded, registry.acme.example/prod/app:latest was not compared"},
		"audit of nothing":     {nothingAudited(), "Audit: 1 finding in production"},
		"audit failed":         {mode("audit", report(document.Failed)), "Failed: the audit could not be finished"},
		"audit half failed":    {halfAudited, "Failed: the audit could not be finished (7 findings so far in 2 environments (production, staging))"},
	} {
		exact := !strings.HasPrefix(test.want, "were ") && !strings.HasPrefix(test.want, "by ") && !strings.HasPrefix(test.want, ", ")
		if got := verdict(test.report); exact && got != test.want || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if got := verdict(apply); strings.Contains(got, "was not applied") {
		t.Errorf("an applied plan that is not in the ledger is said to be none: %s", got)
	}
}

func TestOutputsOfRecords(t *testing.T) {
	for name, want := range map[string][3]string{ // changed, whether an image is named, record
		"rolled-back":         {"true", "true", recordDigests[1]},
		"rolled-back-release": {"true", "true", recordDigests[0]},
		"rollback-dry-run":    {"false", "true", ""},
		"rollback-failed":     {"false", "false", ""},
		"unrecorded":          {"true", "true", recordDigests[2]},
		"history":             {"false", "false", ""},
		"audit-clean":         {"false", "false", ""},
		"audit-findings":      {"false", "false", ""},
	} {
		r := cases()[name]
		named := fmt.Sprint(output(t, r, "image") != "" && output(t, r, "images") != "" && output(t, r, "tags") != "")
		if got := [3]string{output(t, r, "changed"), named, output(t, r, "record")}; got != want {
			t.Errorf("%s: changed, image and record are %q, want %q", name, got, want)
		}
	}
	for _, result := range []document.Result{document.RolledBack, document.Unrecorded} { // a record was written at least
		r := rolledBackRun()
		r.Result = result
		r.Promotions[0].Tags[0].State, r.Promotions[0].Tags[1].State = document.TagUnchanged, document.TagUnchanged
		if got := output(t, r, "changed"); got != "true" {
			t.Errorf("%s that moved no tag has changed = %s", result, got)
		}
	}
}

// TestOutcomesInAHistory: each way in which a promotion ends has a word in the table, in the log and in
// the verdict; none is taken for a promotion that is in place.
func TestOutcomesInAHistory(t *testing.T) {
	r := historyOfOutcomes()
	want := "History of production: 1 promotion, 1 failed attempt, 1 interrupted attempt, 1 pending attempt"
	if got := verdict(r); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	summary, log := Summary(r), strings.Join(Lines(r), "\n")
	for mark, word := range map[string]string{"✅": "promoted", "❌": "failed", "⚠": "interrupted", "⏳": "pending"} {
		if strings.Count(summary, "| "+mark+" "+word+" |") != 1 || strings.Count(log, "  "+word+" ") != 1 {
			t.Errorf("%s is not once in the table and in the log:\n%s\n%s", word, summary, log)
		}
	}
	for n, outcome := range []document.Outcome{document.OutcomePending, document.OutcomeInterrupted, document.OutcomeFailed, document.OutcomePromoted, "lost"} {
		if got := kindOf(document.Line{Outcome: outcome}); (got == outcome) != (n < 4) {
			t.Errorf("%s counts as %q", outcome, got)
		}
	}
}

func TestResultsOfReadingAreWhatWasRead(t *testing.T) {
	var histories []document.History
	read := func(r document.Report, into any) {
		t.Helper()
		text := output(t, r, "results")
		if strings.ContainsAny(text, "'`$;|<>&") || strings.Contains(text, "mitted") {
			t.Errorf("results have signs of a shell, or leave something out: %s", text)
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []document.Report{historyRun(), hostileHistory("'`$;|\"\\ <x> \u2028")} {
		histories = nil
		for i := range r.Histories { // a list, never null
			if r.Histories[i].Lines == nil {
				r.Histories[i].Lines = []document.Line{}
			}
		}
		if read(r, &histories); !reflect.DeepEqual(histories, r.Histories) {
			t.Errorf("results = %+v, want %+v", histories, r.Histories)
		}
	}
	for _, r := range []document.Report{auditFindings(), hostileAudit("'`$;|\"\\ <x> \u2028")} {
		var findings []document.Finding
		if read(r, &findings); !reflect.DeepEqual(findings, r.Findings) {
			t.Errorf("results = %+v, want %+v", findings, r.Findings)
		}
	}
	for _, r := range []document.Report{emptyHistory(), cleanAudit(), report(document.Listed)} {
		if text := output(t, r, "results"); strings.Contains(text, "null") {
			t.Errorf("results of nothing are no list: %s", text)
		}
	}
}

func TestResultsOfALongHistoryDropTheOldest(t *testing.T) {
	long(t)
	for name, r := range map[string]document.Report{"one": longHistories(1, 5000), "several": longHistories(7, 900), "unequal": unequal(), "many": longHistories(4000, 1)} {
		total := 0
		for _, o := range Outputs(r) {
			total += utf16Size(o.Value)
		}
		if total > maxOutputs || total < maxOutputs/2 {
			t.Errorf("%s: outputs have %d bytes of UTF-16, limit %d", name, total, maxOutputs)
		}
		var got []listing
		if err := json.Unmarshal([]byte(output(t, r, "results")), &got); err != nil {
			t.Fatal(err)
		}
		checkOldest(t, name, r.Histories, got)
	}
}

// checkOldest compares the histories with what is left of them: the first lines of
// each, and of all none that is older than one that is missing.
func checkOldest(t *testing.T, name string, whole []document.History, got []listing) {
	t.Helper()
	if got[len(got)-1].HistoriesOmitted != len(whole)-len(got) {
		t.Errorf("%s: %d histories are missing, and %d are said to be", name, len(whole)-len(got), got[len(got)-1].HistoriesOmitted)
	}
	var oldest, newest time.Time // of what is there, and of what is missing
	omitted := 0
	for i, l := range got {
		kept := len(l.Lines)
		if l.LinesOmitted != len(whole[i].Lines)-kept || !reflect.DeepEqual(l.Lines, append([]document.Line{}, whole[i].Lines[:kept]...)) {
			t.Fatalf("%s: history %d has not the first %d of %d lines, or says that %d are missing", name, i, kept, len(whole[i].Lines), l.LinesOmitted)
		}
		omitted += l.LinesOmitted
		if kept > 0 && (oldest.IsZero() || l.Lines[kept-1].Time.Before(oldest)) {
			oldest = l.Lines[kept-1].Time
		}
		if kept < len(whole[i].Lines) && whole[i].Lines[kept].Time.After(newest) {
			newest = whole[i].Lines[kept].Time
		}
	}
	if omitted == 0 || !oldest.IsZero() && newest.After(oldest) {
		t.Errorf("%s: %d lines are missing, one of %s though one of %s is there", name, omitted, newest, oldest)
	}
}

// unequal is a long history, and one whose lines are all older.
func unequal() document.Report {
	r := longHistories(2, 3000)
	for i := range r.Histories[0].Lines {
		l := &r.Histories[0].Lines[i]
		l.Time = l.Time.AddDate(-1, 0, 0)
	}
	return r
}

func TestResultsOfManyFindings(t *testing.T) {
	r := manyFindings(5000)
	var got []found
	if err := json.Unmarshal([]byte(output(t, r, "results")), &got); err != nil {
		t.Fatal(err)
	}
	if n := len(got); n < 500 || n == 5000 || got[n-1].FindingsOmitted != 5000-n || got[n-2].FindingsOmitted != 0 || !reflect.DeepEqual(got[n-1].Finding, r.Findings[n-1]) {
		t.Errorf("%d findings are there, and %d are said to be missing", n, got[n-1].FindingsOmitted)
	}
	total := 0
	for _, o := range Outputs(r) {
		total += utf16Size(o.Value)
	}
	if total > maxOutputs {
		t.Errorf("outputs have %d bytes of UTF-16, limit %d", total, maxOutputs)
	}
	for room := 0; room < 20_000; room += 37 {
		for _, text := range []string{findingsJSON(r.Findings[:20], room), historiesJSON(severalHistories().Histories, room)} {
			if text != "[]" && utf16Size(text) > room+2*len("[]") {
				t.Fatalf("results in %d bytes have %d", room, utf16Size(text))
			}
		}
	}
	for _, room := range []int{-1, 0, 100} {
		if got := findingsJSON(r.Findings, room) + historiesJSON(historyRun().Histories, room); got != "[][]" {
			t.Errorf("results in %d bytes = %s", room, got)
		}
	}
}

func manyFindings(n int) document.Report {
	r := auditFindings()
	r.Findings, r.Audited = nil, nil
	for i := range n {
		f := auditFindings().Findings[i%7]
		f.Message += fmt.Sprint(", ", i)
		r.Findings = append(r.Findings, f)
		r.Audited = append(r.Audited, fmt.Sprint(f.Reference, i))
	}
	return r
}

func TestSummaryOfManyRecords(t *testing.T) {
	long(t)
	for name, test := range map[string]struct {
		report document.Report
		want   string // in the last line
	}{
		"history":           {longHistories(1, 5000), " of 5000 rows of the history, the oldest ones"},
		"histories":         {longHistories(30, 500), " of 15000 rows of the history, the oldest ones"},
		"histories of none": {longHistories(20_000, 0), "environments with nothing to list"},
		"short histories":   {longHistories(5000, 1), " of 5000 rows of the history, the oldest ones"},
		"findings":          {manyFindings(5000), " of 5000 findings"},
		"lineage":           {longLineage(10_000), " of 10000 environments"},
	} {
		got := Summary(test.report)
		last := got[strings.LastIndex(strings.TrimSpace(got), "\n")+1:]
		if len(got) > maxSummary || len(got) < maxSummary/2 || !strings.HasPrefix(last, "Left out, because") || !strings.Contains(last, test.want) {
			t.Errorf("%s: the summary has %d bytes, limit %d, and ends %q; want %q in it", name, len(got), maxSummary, last, test.want)
		}
		shape(t, got)
	}
}

func longLineage(n int) document.Report {
	r := report(document.Listed)
	for i := range n {
		h := branch()[0]
		h.Environment, h.Actor = fmt.Sprint("environment-", i), strings.Repeat("x", 100)
		r.Lineage = append(r.Lineage, h)
	}
	return r
}

// TestSummarySharesItsRoom: one long history does not keep another from being shown.
func TestSummarySharesItsRoom(t *testing.T) {
	long(t)
	r := longHistories(3, 3000)
	got := Summary(r)
	for i := range r.Histories {
		_, section, _ := strings.Cut(got, fmt.Sprintf("#### `environment-%d`\n", i))
		section, _, _ = strings.Cut(section, "\n- **Ledger:**")
		rows := strings.Count(section, "\n| 2026-") + strings.Count(section, "\n| 2025-")
		if rows < 500 || rows == 3000 || !strings.Contains(section, "CHG-3000:") && !strings.Contains(section, "`CHG-3000`") {
			t.Errorf("history %d has %d rows, or not the newest", i, rows)
		}
	}
}

// TestLogHasThemAll is what the summary promises where it leaves something out.
func TestLogHasThemAll(t *testing.T) {
	long(t)
	text := strings.Join(Lines(longHistories(2, 5000)), "\n")
	if n := strings.Count(text, ": the release of the day"); n != 10_000 {
		t.Errorf("the log has %d lines of the history, want 10000", n)
	}
	if n := strings.Count(strings.Join(Lines(manyFindings(5000)), "\n"), "  finding: "); n != 5000 {
		t.Errorf("the log has %d findings, want 5000", n)
	}
}

func TestWarningsAreAsManyAsGitHubShows(t *testing.T) {
	for n, want := range map[int]int{0: 0, 1: 1, 10: 10, 11: 10, 5000: 10} {
		r := manyFindings(n)
		got := Warnings(r)
		if len(got) != want {
			t.Fatalf("%d findings have %d warnings, want %d", n, len(got), want)
		}
		if said := n > 10; said && got[9] != fmt.Sprintf("and %d more findings; the log and the summary have them all", n-9) {
			t.Errorf("the last warning of %d is %q", n, got[9])
		}
		if n > 0 && !strings.HasPrefix(got[0], "drift: production, registry.acme.example/prod/app:production: ") {
			t.Errorf("the first warning is %q", got[0])
		}
	}
	if got := strings.Join(Warnings(auditFindings()), "\n"); !strings.Contains(got, "never ended") || strings.Count(got, "\n") != 6 {
		t.Errorf("a finding is no warning:\n%s", got)
	}
	if got := Annotation(auditFindings()); got != "Audit: 7 findings in 2 environments (production, staging)" {
		t.Errorf("the annotation is %q", got)
	}
}

func TestRecordSaysWhetherTheLedgerListsIt(t *testing.T) {
	r := rolledBackRun()
	for name, test := range map[string]struct {
		result   document.Result
		recorded bool
		want     string
	}{
		"listed":     {document.RolledBack, true, "- **Record:** `" + recordDigests[1] + "` (not signed)\n"},
		"not yet":    {document.Promoted, false, "- **Record:** `" + recordDigests[1] + "` (not signed), without an outcome in the ledger yet\n"},
		"unrecorded": {document.Unrecorded, false, "- **Record:** `" + recordDigests[1] + "` (not signed), without an outcome in the ledger yet\n"},
		"failed":     {document.Failed, false, "- **Record:** `" + recordDigests[1] + "` (not signed), of a rollback that did not succeed\n"},
	} {
		r.Result, r.Promotions[0].Recorded = test.result, test.recorded
		if got := Summary(r); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q is not in the summary:\n%s", name, test.want, got)
		}
		want := "  record: " + strings.TrimSpace(strings.NewReplacer("- **Record:** ", "", "`", "").Replace(test.want))
		if !slices.Contains(Lines(r), want) {
			t.Errorf("%s: %q is not in the log: %q", name, want, Lines(r))
		}
	}
	if got := Summary(retag()); strings.Contains(got, "**Record:**") {
		t.Errorf("a run without a record tells of one:\n%s", got)
	}
}

func TestGoBackInAnEnvironment(t *testing.T) {
	production := func(r document.Report) document.Report { r.TargetEnv = "production"; return r }
	config := production(crossRegistry())
	config.Config = &document.Config{Path: "deploy/stages.yml", Ref: "main"}
	failed := production(putBack())
	failed.Promotions[0].Image = "app"
	images := several(2)
	images.Result = document.Unrecorded
	images.Promotions[0].Image, images.Promotions[1].Image = "api", "$(id)"
	hostile := retag()
	hostile.TargetEnv = "$(id)"
	for name, test := range map[string]struct {
		report document.Report
		want   string // all commands after "promote"
	}{
		"one":             {production(crossRegistry()), " rollback --target-env=production --to=" + oldDigest + " --reason=WHY"},
		"no gates":        {retag(), " rollback --target-env=production --to=" + oldDigest + " --reason=WHY --config=none"},
		"other config":    {config, " rollback --target-env=production --to=" + oldDigest + " --reason=WHY --config=deploy/stages.yml@main"},
		"left by failure": {failed, " rollback --target-env=production --to=" + oldDigest + " --reason=WHY"},
		"release":         {several(3), " rollback --target-env=production --reason=WHY"},
		"images":          {images, " rollback --target-env=production --images=api --to=" + oldDigest + " --reason=WHY"},
		"rolled back":     {rolledBackRun(), " --source=registry.acme.example/prod/app@" + newDigest + " --target-env=production"},
		"release back":    {rolledBackRelease(), ""},
		"hostile":         {hostile, ""},
		"nothing moved":   {production(unchangedRun()), ""},
	} {
		var got []string
		for line := range strings.SplitSeq(strings.Join(goBack(test.report), "\n"), "\n") {
			if command, ok := strings.CutPrefix(line, "promote"); ok {
				got = append(got, command)
			}
		}
		if strings.Join(got, "|") != test.want {
			t.Errorf("%s: the way back is %q, want %q", name, got, test.want)
		}
	}
}

func TestRollbackWithoutGates(t *testing.T) {
	for name, test := range map[string]struct {
		report document.Report
		want   bool
	}{
		"rollback":   {rolledBackRun(), true},
		"history":    {historyRun(), false},
		"audit":      {cleanAudit(), false},
		"unrecorded": {unrecordedRun(), false},
	} {
		if got := strings.Contains(Summary(test.report), "hold for a rollback"); got != test.want {
			t.Errorf("%s: says which gates hold for a rollback: %v", name, got)
		}
		if got := strings.Contains(Summary(test.report), "nothing was held to a condition"); got {
			t.Errorf("%s: says that nothing was held to a condition", name)
		}
	}
}

func TestAnUnreliableLineIsMarked(t *testing.T) {
	r := historyRun()
	r.Histories[0].Lines[1].Fault = "its bytes do not match"
	if got, want := Summary(r), "| ⚠ promoted, counts for nothing: its bytes do not match |"; !strings.Contains(got, want) {
		t.Errorf("%q is not in the summary:\n%s", want, got)
	}
}

func TestPageKeepsItsLimit(t *testing.T) {
	const closing = 2 << 10
	for limit := closing; limit < closing+200; limit++ {
		p := newPage(limit)
		p.rows("rows", "a long head\n", []string{"one row", "another row", "a third row"}, "a tail\n")
		if p.text.Len() > limit-closing || p.left < 0 {
			t.Fatalf("a page of %d bytes has %d", limit-closing, p.text.Len())
		}
	}
}

func TestAlign(t *testing.T) {
	got := align([][]string{{"A", "LONGER", "LAST"}, {"äöü", "", "the  last\nmay be " + strings.Repeat("x", maxCell)}, {strings.Repeat("y", maxCell+1), "z\x1b", ""}})
	want := []string{
		"A" + strings.Repeat(" ", maxCell+1) + "LONGER  LAST",
		"äöü" + strings.Repeat(" ", maxCell-1) + "-       the last may be " + strings.Repeat("x", maxCell),
		strings.Repeat("y", maxCell-1) + "…  " + `z\x1b` + "   -",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
