package report

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

var (
	newDigest = "sha256:" + strings.Repeat("1a2b3c4d5e6f7081", 4)
	oldDigest = "sha256:" + strings.Repeat("9f8e7d6c5b4a3928", 4)
	sigDigest = "sha256:" + strings.Repeat("00112233445566ff", 4)
	started   = time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)
)

// cases are the reports whose text is kept in testdata.
func cases() map[string]document.Report {
	all := recordCases()
	maps.Copy(all, promotionCases())
	return all
}

func promotionCases() map[string]document.Report {
	return map[string]document.Report{
		"promoted-cross-registry": crossRegistry(),
		"retag":                   retag(),
		"unchanged":               unchangedRun(),
		"repaired":                repaired(),
		"dry-run":                 dryRun(),
		"denied-drift":            drift(),
		"denied-fixed-tag":        fixedTag(),
		"failed-put-back":         putBack(),
		"cancelled":               cancelled(),
		"invalid-input":           invalid(),
		"several-images":          several(3),
		"planned":                 plannedRun(),
		"planned-release":         plannedRelease(40),
		"planned-without-gates":   plannedWithoutGates(),
		"denied-by-gates":         deniedByGates(),
		"denied-apply":            deniedApply(),
		"overridden":              overriddenRun(),
		"applied":                 applied(),
		"hostile":                 hostile("| a | <b> ![x](https://evil.example) @octo #1\n::error::`x` \x1b[31m\u202e $(id)"),
	}
}

func report(result document.Result, promotions ...document.Promotion) document.Report {
	return document.Report{Result: result, Started: started, Ended: started.Add(2100 * time.Millisecond), Promotions: promotions}
}

func crossRegistry() document.Report {
	target := "registry.acme.example/prod/app"
	r := report(document.Promoted, document.Promotion{
		Source:     document.Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
		Digest:     newDigest,
		MediaType:  "application/vnd.oci.image.index.v1+json",
		Repository: target,
		Tags: []document.Tag{
			{Reference: target + ":production", Before: oldDigest, After: newDigest, State: document.TagMoved},
			{Reference: target + ":release-20261122-143000", Fixed: true, After: newDigest, State: document.TagMoved},
		},
		Platforms: []string{"linux/amd64", "linux/arm64"},
		Attachments: []document.Attachment{
			{Digest: sigDigest, Subject: newDigest, Tag: strings.Replace(newDigest, ":", "-", 1) + ".sig"},
			{Digest: sigDigest, Subject: newDigest, Tag: strings.Replace(newDigest, ":", "-", 1) + ".att"},
			{Digest: sigDigest, Subject: newDigest, ArtifactType: "application/spdx+json"},
			{Digest: sigDigest, Subject: newDigest, ArtifactType: "application/spdx+json"},
		},
		Content:  document.Content{Manifests: 20, Blobs: 47, Bytes: 84_200_000},
		Copied:   document.Copied{Manifests: 20, Blobs: 44, Mounted: 0, Present: 3, Bytes: 84_000_000},
		Verified: "blobs",
	})
	r.Reason = "CHG-4711: release of the week"
	return r
}

func retag() document.Report {
	r := report(document.Promoted, sameRepository(document.Tag{
		Reference: "ghcr.io/acme/app:production", Before: oldDigest, After: newDigest, State: document.TagMoved,
	}))
	r.TargetEnv, r.NoGates = "production", true
	return r
}

func sameRepository(tags ...document.Tag) document.Promotion {
	return document.Promotion{
		Source:     document.Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
		Digest:     newDigest,
		Repository: "ghcr.io/acme/app",
		Tags:       tags,
		Platforms:  []string{"linux/amd64"},
		Copied:     document.Copied{Present: 12},
		Verified:   "manifests",
	}
}

func unchangedRun() document.Report {
	return report(document.Unchanged, sameRepository(document.Tag{
		Reference: "ghcr.io/acme/app:production", Before: newDigest, After: newDigest, State: document.TagUnchanged,
	}))
}

func repaired() document.Report {
	r := unchangedRun()
	r.Result = document.Promoted
	r.Promotions[0].Copied = document.Copied{Manifests: 2, Blobs: 1, Bytes: 900}
	r.Notices = []string{"the signature of sha256-1a2b was missing at the target"}
	return r
}

func dryRun() document.Report {
	r := report(document.WouldPromote, sameRepository(
		document.Tag{Reference: "ghcr.io/acme/app:production", Before: oldDigest, State: document.TagPending},
		document.Tag{Reference: "ghcr.io/acme/app:v1.4.2", Fixed: true, State: document.TagPending},
	))
	r.DryRun = true
	r.Promotions[0].Verified = ""
	r.Promotions[0].Content = document.Content{Manifests: 3, Blobs: 12, Bytes: 40 << 20}
	return r
}

func drift() document.Report {
	r := report(document.Denied, sameRepository(document.Tag{Reference: "ghcr.io/acme/app:production", State: document.TagPending}))
	r.Promotions[0].Digest, r.Promotions[0].Verified, r.Promotions[0].Platforms = "", "", nil
	r.Promotions[0].Copied = document.Copied{}
	r.Faults = []document.Fault{{
		Message: "tag ghcr.io/acme/app:staging holds " + newDigest + ", not the digest that was given, " + oldDigest,
		Hint:    "Somebody pushed the tag since the build. Promote the digest itself:\n  source: ghcr.io/acme/app@" + oldDigest,
	}}
	return r
}

func fixedTag() document.Report {
	r := report(document.Denied, sameRepository(
		document.Tag{Reference: "ghcr.io/acme/app:production", Before: oldDigest, After: oldDigest, State: document.TagPending},
		document.Tag{Reference: "ghcr.io/acme/app:v1.4.2", Fixed: true, Before: oldDigest, After: oldDigest, State: document.TagPending},
	))
	r.Promotions[0].Verified, r.Promotions[0].Copied = "", document.Copied{}
	r.Faults = []document.Fault{{
		Message: "fixed tag ghcr.io/acme/app:v1.4.2 holds " + oldDigest + " already",
		Hint:    "A fixed tag never changes: choose another name.",
	}}
	return r
}

func putBack() document.Report {
	r := report(document.Failed, sameRepository(
		document.Tag{Reference: "ghcr.io/acme/app:production", Before: oldDigest, After: oldDigest, State: document.TagPutBack},
		document.Tag{Reference: "ghcr.io/acme/app:stable", Before: oldDigest, After: newDigest, State: document.TagLeft, Note: "the registry answered 403"},
		document.Tag{Reference: "ghcr.io/acme/app:new", State: document.TagPutBack},
		document.Tag{Reference: "ghcr.io/acme/app:hot", Before: oldDigest, After: sigDigest, State: document.TagTaken},
		document.Tag{Reference: "ghcr.io/acme/app:lost", Before: oldDigest, State: document.TagUnknown, Note: "check it with crane digest"},
		document.Tag{Reference: "ghcr.io/acme/app:last", Before: oldDigest, State: document.TagPending},
	))
	r.Faults = []document.Fault{
		{Message: "write tag ghcr.io/acme/app:lost at the target: the registry answered 500", Hint: "Run the promotion again: it takes up where this one ended."},
		{Message: "put back tag ghcr.io/acme/app:stable: the registry answered 403"},
	}
	return r
}

func cancelled() document.Report {
	r := report(document.Failed, sameRepository(document.Tag{Reference: "ghcr.io/acme/app:production", Before: oldDigest, State: document.TagPending}))
	r.Promotions[0].Copied = document.Copied{Manifests: 0, Blobs: 7, Bytes: 12 << 20}
	r.Promotions[0].Verified = ""
	r.Faults = []document.Fault{{Message: "the run was cancelled", Hint: "Run it again: what was copied is not sent twice."}}
	return r
}

func invalid() document.Report {
	r := report(document.Invalid)
	r.Faults = []document.Fault{
		{Message: `input digest: "latest" is not a digest`, Hint: "Give sha256: and 64 hex digits, for example " + newDigest},
		{Message: `input timeout: "5 minutes" is not a duration`, Hint: "Give a number and a unit: 5m"},
	}
	return r
}

func several(n int) document.Report {
	var promotions []document.Promotion
	for i := range n {
		repository := "registry.acme.example/prod/service-" + strings.Repeat("x", i%20)
		digest := fmt.Sprintf("sha256:%012x%s", 0x1a2b3c4d5e6f+i, newDigest[len("sha256:")+12:])
		promotions = append(promotions, document.Promotion{
			Source:     document.Source{Reference: "ghcr.io/acme/service:staging", Repository: "ghcr.io/acme/service", Tag: "staging"},
			Digest:     digest,
			Repository: repository,
			Tags: []document.Tag{
				{Reference: repository + ":production", Before: oldDigest, After: digest, State: document.TagMoved},
				{Reference: repository + ":v1.4.2", Fixed: true, After: digest, State: document.TagMoved},
			},
			Platforms:   []string{"linux/amd64", "linux/arm64"},
			Attachments: []document.Attachment{{Digest: sigDigest, Subject: digest, ArtifactType: "application/spdx+json"}},
			Copied:      document.Copied{Manifests: 5, Blobs: 11, Bytes: 21 << 20},
			Verified:    "blobs",
		})
	}
	r := report(document.Promoted, promotions...)
	r.TargetEnv = "production"
	return r
}

// hostileTexts try to break out of every medium a report is printed to.
var hostileTexts = []string{
	"evil | cell | <script>alert(1)</script> | ![x](https://evil.example/x.png)",
	"[click](https://evil.example) https://evil.example www.evil.example evil@evil.example",
	"`code` ``more`` `| @octo-org/team #123 GH-123 acme/app#7 acme/app@deadbeef deadbeef",
	"line one\n| a | b | c | d |\n| --- | --- |\n# heading\n\n- item\n> quote\r\n```\nfence\n```\n~~~\n",
	"</details><details><summary>x</summary> <!-- <a href=x> &lt;b&gt; &#64;octocat",
	"\x1b[31mred\x1b[0m \u202egnihtemos\u200b \x00\x07 :tada: :+1: $x^2$ $$y$$ *b* _i_ ~~s~~ [^1] [x]: y",
	"::error::owned\n##[error]owned\n::set-output name=digest::evil",
	`\| \` + "`" + ` \\| trailing backslash \`,
	"$(touch /tmp/x) `touch /tmp/x` \"; touch /tmp/x; ' ${{ github.token }} <!channel>",
	"1. one", "- x", "+ x", "# x", "> x", "    indented", "\t| x", "---", "===", "| --- |",
	"", " ", "`", "|", "\\", "<", "[", "!", "@", "\xff\xfe", strings.Repeat("|", 500), strings.Repeat("`", 501),
}

// hostile has the text in every field that others write.
func hostile(text string) document.Report {
	r := report(document.Failed, document.Promotion{
		Source:      document.Source{Reference: text, Repository: text, Tag: text},
		Digest:      text,
		MediaType:   text,
		Repository:  text,
		Tags:        []document.Tag{{Reference: text, Before: text, After: text, State: document.TagLeft, Note: text}},
		Platforms:   []string{text},
		Attachments: []document.Attachment{{Digest: text, Subject: text, ArtifactType: text}, {Tag: text}},
		Verified:    text,
	})
	r.Reason, r.Notices = text, []string{text}
	r.Faults = []document.Fault{{Message: text, Hint: "Do:\n" + text}}
	hostileGates(&r, text)
	return r
}

// hostileGates has the text in all that gates and plans bring.
func hostileGates(r *document.Report, text string) {
	p := &r.Promotions[0]
	p.Image, p.From = text, &document.Held{Environment: text, Reference: text, Digest: "sha256:" + text}
	p.Gates = []document.Verdict{
		{Gate: text, Name: text, Status: document.Fail, Message: text},
		{Gate: text + "2", Status: document.Pending, Message: text, Overridden: true},
		{Gate: text + "3", Status: document.Status(text), Message: text},
		{Gate: text + "4", Status: document.Pass, Message: text},
	}
	p.Missing = &document.Missing{Manifests: 1}
	r.Config, r.Overrides, r.PlanFile = &document.Config{Path: text, Ref: text, Digest: text}, []string{text}, text
	r.Job = document.Job{
		Repository: text, RunID: text, Attempt: text, Name: text, URL: text,
		Workflow: text, Commit: text, Actor: text, TriggeringActor: text + "2",
	}
	plan := planOf(*r)
	plan.Environment = text
	r.Plan = &plan
}
