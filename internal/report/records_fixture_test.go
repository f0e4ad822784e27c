package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

var recordDigests = []string{
	"sha256:" + strings.Repeat("aa01", 16), "sha256:" + strings.Repeat("bb02", 16), "sha256:" + strings.Repeat("cc03", 16),
}

// recordCases are the reports of what records are for: rollbacks, histories, audits.
func recordCases() map[string]document.Report {
	return map[string]document.Report{
		"rolled-back":         rolledBackRun(),
		"rolled-back-release": rolledBackRelease(),
		"rollback-dry-run":    rollbackDryRun(),
		"rollback-failed":     rollbackFailed(),
		"unrecorded":          unrecordedRun(),
		"history":             historyRun(),
		"history-hostile":     hostileHistory("| a | <b> ![x](https://evil.example) @octo #1\n::error::`x` \x1b[31m\u202e $(id)"),
		"history-empty":       emptyHistory(),
		"history-outcomes":    historyOfOutcomes(),
		"history-several":     severalHistories(),
		"audit-clean":         cleanAudit(),
		"audit-partly":        partlyAudited(),
		"audit-nothing":       nothingAudited(),
		"audit-findings":      auditFindings(),
	}
}

func at(day, hour int) time.Time { return time.Date(2026, 11, day, hour, 30, 0, 0, time.UTC) }

func runURL(id int) string { return fmt.Sprintf("https://github.com/acme/app/actions/runs/%d", id) }

func broughtLine() document.Line {
	return document.Line{
		Time: at(20, 14), Moved: at(20, 14), Environment: "production", Mode: document.ModePromote, Outcome: document.OutcomePromoted,
		From: "staging", Repository: "registry.acme.example/prod/app", Digest: oldDigest, PreviousDigest: sigDigest,
		Tags: []string{"production", "release-20261120-143000"}, Actor: "octocat", Reason: "CHG-4711: release of the week",
		Run: runURL(7012345600), Record: recordDigests[0], Size: 2100,
	}
}

func rolledBackRun() document.Report {
	target, line := "registry.acme.example/prod/app", broughtLine()
	r := report(document.RolledBack, document.Promotion{
		Source: document.Source{Reference: target + "@" + oldDigest, Repository: target},
		Digest: oldDigest, Repository: target,
		Tags: []document.Tag{
			{Reference: target + ":production", Before: newDigest, After: oldDigest, State: document.TagMoved},
			{Reference: target + ":release-20261122-143000", Fixed: true, After: oldDigest, State: document.TagMoved},
		},
		Platforms: []string{"linux/amd64"}, Copied: document.Copied{Present: 12}, Verified: "blobs",
		Record: recordDigests[1], Recorded: true, Brought: &line,
	})
	r.Ended = r.Started.Add(340 * time.Millisecond)
	r.Mode, r.TargetEnv, r.Reason = "rollback", "production", "INC-815: checkout answers 500"
	r.Config = &document.Config{Path: ".github/promotion.yml", Digest: sigDigest}
	return r
}

func rolledBackRelease() document.Report {
	r := several(3)
	r.Result, r.Mode, r.Reason = document.RolledBack, "rollback", "INC-815"
	for i := range r.Promotions {
		p, line := &r.Promotions[i], broughtLine()
		p.Image = []string{"api", "web", "worker"}[i]
		p.Source = document.Source{Reference: p.Repository, Repository: p.Repository}
		p.Copied, p.Attachments, p.Tags = document.Copied{Present: 5}, nil, p.Tags[:1]
		p.Record, p.Recorded, p.Brought = recordDigests[i], i != 1, &line
		line.Digest, line.Reason = p.Digest, ""
	}
	r.Promotions[2].Brought = nil
	return r
}

func rollbackDryRun() document.Report {
	r := rolledBackRun()
	r.Result, r.DryRun = document.WouldPromote, true
	p := &r.Promotions[0]
	p.Record, p.Recorded, p.Verified, p.Copied = "", false, "", document.Copied{}
	for i := range p.Tags {
		p.Tags[i].State, p.Tags[i].After = document.TagPending, ""
	}
	return r
}

func rollbackFailed() document.Report {
	r := report(document.Failed)
	r.Mode, r.TargetEnv, r.Reason = "rollback", "production", "INC-815"
	r.Faults = []document.Fault{{
		Message: "production has no record of an earlier image in registry.acme.example/prod/app",
		Hint:    "Name the image yourself, for example one of these:\n  to: v1.4.1\n  to: v1.4.0",
	}}
	return r
}

func unrecordedRun() document.Report {
	r := crossRegistry()
	r.Result, r.TargetEnv = document.Unrecorded, "production"
	r.Promotions[0].Record = recordDigests[2]
	r.Faults = []document.Fault{{
		Message: "every tag has moved, but the ledger does not say so yet: write tag registry.acme.example/prod/app:promotion-ledger.env.production.a: the registry answered 503",
		Hint:    "Run it again, which writes the outcome, or let the next promotion there do it.",
	}}
	return r
}

// threeLines are a bad release, and what followed it, newest first.
func threeLines() []document.Line {
	first := broughtLine()
	bad := first
	bad.Time, bad.Digest, bad.PreviousDigest, bad.Record = at(21, 9), newDigest, oldDigest, recordDigests[1]
	bad.Tags, bad.Reason, bad.Run = []string{"production", "release-20261121-093000"}, "", runURL(7012345700)
	back := bad
	back.Time, back.Digest, back.PreviousDigest, back.Record = at(21, 10), oldDigest, newDigest, recordDigests[2]
	back.Mode, back.Outcome, back.From, back.Actor = document.ModeRollback, document.OutcomeRolledBack, "registry.acme.example/prod/app", "hubot"
	back.Tags, back.Reason, back.Run = []string{"production", "a", "b", "c", "d"}, "INC-815: checkout answers 500", runURL(7012345800)+"/attempts/2"
	return []document.Line{back, bad, first}
}

func historyOf(lines []document.Line) document.History {
	return document.History{
		Environment: "production", Repository: "registry.acme.example/prod/app", Tag: "production",
		Ledger: "registry.acme.example/prod/app:promotion-ledger.env.production.a", Lines: lines,
	}
}

func historyRun() document.Report {
	r := report(document.Listed)
	r.Mode, r.TargetEnv = "history", "production"
	h := historyOf(threeLines())
	h.Older, h.LeftOut = true, 2
	r.Histories = []document.History{h}
	r.Lineage = branch()
	r.Config = &document.Config{Path: ".github/promotion.yml", Digest: sigDigest}
	return r
}

// branch is dev to staging to production, and to a second environment from staging.
func branch() []document.Holding {
	return []document.Holding{
		{Environment: "dev", Reference: "ghcr.io/acme/app:dev", Digest: sigDigest, Since: at(22, 8), Recorded: true, Actor: "octocat"},
		{Environment: "staging", From: "dev", Reference: "ghcr.io/acme/app:staging", Digest: newDigest, Since: at(20, 16), Recorded: true, Actor: "octocat"},
		{Environment: "production", From: "staging", Reference: "registry.acme.example/prod/app:production", Digest: oldDigest, Since: at(21, 10), Recorded: true, Actor: "hubot"},
		{Environment: "demo", From: "staging", Reference: "ghcr.io/acme/app:demo", Digest: newDigest},
	}
}

// hostileHistory has the text in every field of records and of what is held now.
func hostileHistory(text string) document.Report {
	r := report(document.Listed)
	r.Mode = "history"
	line := document.Line{
		Time: at(20, 14), Environment: text, Mode: document.Mode(text), Outcome: document.Outcome(text), From: text, Repository: text,
		Digest: text, PreviousDigest: text, Tags: []string{text, text}, Actor: text, Reason: text, Run: text, Record: text, Fault: text,
	}
	good := line
	good.Outcome, good.Fault = document.OutcomePromoted, ""
	evil := good
	evil.Run = "https://evil.example/acme/app/actions/runs/1"
	h := document.History{Environment: text, Image: text, Repository: text, Tag: text, Ledger: text, Lines: []document.Line{line, good, evil}}
	empty := document.History{Environment: text + "2", Repository: text, Ledger: text}
	tag := document.History{Repository: text, Tag: text, Ledger: text, Missing: true}
	r.Histories = []document.History{h, empty, tag}
	r.Lineage = []document.Holding{
		{Environment: text, Image: text, Reference: text, Digest: text, Since: at(20, 14), Recorded: true, Actor: text},
		{Environment: text + "2", Image: text, From: text, Reference: text, Digest: text},
		{Environment: text + "3", Image: text, From: text, Reference: text, Fault: text},
	}
	return r
}

func emptyHistory() document.Report {
	r := report(document.Listed)
	r.Mode, r.TargetEnv = "history", "production"
	h := historyOf(nil)
	h.Missing = true
	r.Histories = []document.History{h}
	r.Lineage = []document.Holding{{Environment: "production", Reference: "registry.acme.example/prod/app:production"}}
	return r
}

func severalHistories() document.Report {
	r := report(document.Listed)
	r.Mode = "history"
	for i, image := range []string{"api", "worker"} {
		for _, environment := range []string{"staging", "production"} {
			h := historyOf(threeLines()[i:])
			h.Environment, h.Image = environment, image
			if environment == "production" && i == 1 {
				h.Lines, h.LeftOut = nil, 1
			}
			r.Histories = append(r.Histories, h)
			held := document.Holding{Environment: environment, Image: image, Digest: newDigest, Since: at(20, 16), Recorded: true}
			if environment == "production" {
				held.From = "staging"
			}
			r.Lineage = append(r.Lineage, held)
		}
	}
	failed := &r.Histories[0].Lines[0]
	failed.Outcome = document.OutcomeFailed
	r.Lineage[3].Fault = "read tag ghcr.io/acme/worker:production: the registry answered 403"
	return r
}

// historyOfOutcomes has a promotion for each way in which one can end, and one that has not ended.
func historyOfOutcomes() document.Report {
	r := historyRun()
	r.Lineage = nil
	h := historyOf(nil)
	for n, outcome := range []document.Outcome{
		document.OutcomePending, document.OutcomeInterrupted, document.OutcomeFailed, document.OutcomePromoted,
	} {
		line := threeLines()[1]
		line.Time, line.Outcome = at(21, 12-n), outcome
		h.Lines = append(h.Lines, line)
	}
	r.Histories = []document.History{h}
	return r
}

// longHistories are histories with n lines each, an hour apart.
func longHistories(histories, n int) document.Report {
	r := report(document.Listed)
	r.Mode = "history"
	for i := range histories {
		h := historyOf(nil)
		if histories > 1 {
			h.Environment = fmt.Sprintf("environment-%d", i)
		}
		for j := range n {
			l := threeLines()[1]
			l.Time = at(22, 12).Add(-time.Duration(j) * time.Hour)
			l.Reason, l.Run = fmt.Sprintf("CHG-%d: the release of the day", n-j), runURL(7012345700-j)
			h.Lines = append(h.Lines, l)
		}
		r.Histories = append(r.Histories, h)
	}
	return r
}

func cleanAudit() document.Report {
	r := report(document.Clean)
	r.Mode = "audit"
	r.Audited = []string{"ghcr.io/acme/app:dev", "ghcr.io/acme/app:staging", "registry.acme.example/prod/app:production"}
	r.Config = &document.Config{Path: ".github/promotion.yml", Digest: sigDigest}
	return r
}

// partlyAudited has what no record was there to be compared with.
func partlyAudited() document.Report {
	r := cleanAudit()
	r.Audited = r.Audited[1:]
	r.Uncompared = []document.Uncompared{
		{Environment: "dev", Reference: "ghcr.io/acme/app:dev", Reason: "nothing is recorded of it, as no environment comes before it and builds push to it"},
		{Environment: "production", Image: "app", Reference: "registry.acme.example/prod/app:latest", Reason: "it does not exist, and no record names it"},
	}
	return r
}

// nothingAudited is an audit of what is not there.
func nothingAudited() document.Report {
	r := report(document.Findings)
	r.Mode, r.TargetEnv = "audit", "production"
	r.Config = &document.Config{Path: ".github/promotion.yml", Digest: sigDigest}
	r.Findings = []document.Finding{{
		Kind: document.FindingMissing, Environment: "production", Reference: "registry.acme.example/prod/app",
		Message: "production: repository registry.acme.example/prod/app does not exist or cannot be read. Expected: the tag production and the ledger registry.acme.example/prod/app:promotion-ledger.env.production.a.",
		Hint:    "Check the repository's name and that this credential may read it. If it was deleted, find out who did that. If nothing was promoted there yet, do that first.",
	}}
	return r
}

func auditFindings() document.Report {
	r := cleanAudit()
	r.Result = document.Findings
	tag, ledger := "registry.acme.example/prod/app:production", "registry.acme.example/prod/app:promotion-ledger.env.production.a"
	r.Findings = []document.Finding{
		{Kind: document.FindingDrift, Environment: "production", Reference: tag, Digest: sigDigest,
			Message: "production holds " + sigDigest + ", not " + newDigest + " as the last record says: it was changed outside promotion, after 2026-11-21 10:30 UTC",
			Hint:    "Find out who moved the tag; promote or roll back production, which sets it anew."},
		{Kind: document.FindingChain, Environment: "production", Reference: ledger, Digest: recordDigests[0], Message: "record " + recordDigests[1] + " names a record before it that is gone", Hint: "Look for who may delete in the repository."},
		{Kind: document.FindingLedger, Environment: "production", Reference: ledger, Message: "A promotion of " + newDigest + " to production, begun 2026-11-21 09:30 UTC, never ended: its run died while its tags moved.", Hint: "Promote to the environment again, or roll back."},
		{Kind: document.FindingImage, Environment: "staging", Image: "worker", Reference: "ghcr.io/acme/worker:staging", Digest: newDigest, Message: "blob " + sigDigest + " is gone", Hint: "Promote the image again: it is copied anew."},
		{Kind: document.FindingRollbackTarget, Environment: "production", Reference: "registry.acme.example/prod/app@" + oldDigest, Digest: oldDigest, Message: "its signature is gone", Hint: "Promote it again from staging."},
		{Kind: document.FindingRetention, Environment: "production", Reference: "registry.acme.example/prod/app@" + oldDigest, Digest: oldDigest, Message: "no tag holds it, and it is 92 days old: a clean-up may take it soon", Hint: "Give it a fixed tag, or exclude it from the clean-up."},
		{Kind: document.FindingUnreadable, Environment: "staging", Reference: "ghcr.io/acme/app:staging", Message: "the registry answered 403"},
	}
	return r
}

// hostileAudit has the text in every field of an audit.
func hostileAudit(text string) document.Report {
	r := report(document.Findings)
	r.Mode, r.Audited = "audit", []string{text}
	f := document.Finding{Kind: document.FindingKind(text), Environment: text, Image: text, Reference: text, Digest: text, Message: text, Hint: text}
	other := f
	other.Environment = text + "2"
	r.Findings = []document.Finding{f, other}
	r.Uncompared = []document.Uncompared{{Environment: text, Image: text, Reference: text, Reason: text}}
	return r
}

// hostileRollback has the text in every field of a rollback's records.
func hostileRollback(text string) document.Report {
	r := hostile(text)
	r.Result, r.Mode, r.TargetEnv = document.RolledBack, "rollback", text
	p := &r.Promotions[0]
	p.Record = text
	p.Brought = &document.Line{Time: at(20, 14), From: text, Digest: text, Actor: text, Reason: text, Run: text, Record: text}
	return r
}
