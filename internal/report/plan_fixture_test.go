package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

var verdicts = map[string]document.Verdict{
	"from":      {Gate: "from", Status: document.Pass, Message: "staging holds sha256:1a2b3c4d5e6f"},
	"platforms": {Gate: "platforms", Status: document.Pass, Message: "linux/amd64 and linux/arm64 are there"},
	"freeze":    {Gate: "freeze", Status: document.Pending, Message: "frozen for weekend until 2026-11-23 07:00 UTC (Mon 08:00 Europe/Berlin)"},
	"approvals": {Gate: "approvals", Status: document.Pending, Message: "change-control and production have not approved this run yet"},
	"checks":    {Gate: "checks", Status: document.Fail, Message: `check "load-test" of acme/app@0badc0ffee failed (timed_out): https://github.com/acme/app/runs/99`},
	"order":     {Gate: "no-downgrade", Status: document.Unknown, Message: "GitHub could not be asked: 403; add contents: read to the job's permissions"},
	"ours":      {Gate: "expressions", Name: "base image is ours", Status: document.Pass, Message: "it holds"},
}

func judged(names ...string) []document.Verdict {
	var all []document.Verdict
	for _, name := range names {
		all = append(all, verdicts[name])
	}
	return all
}

// planOf is a plan of what the report has.
func planOf(r document.Report) document.Plan {
	plan := document.Plan{
		Schema: document.PlanSchema, Created: started, Expires: started.Add(7 * 24 * time.Hour), Environment: r.TargetEnv,
		Config: r.Config, Attachments: true, Verify: "blobs", Reason: r.Reason, Job: r.Job, NoGates: r.NoGates,
	}
	for _, p := range r.Promotions {
		planned := document.PlannedPromotion{
			Image: p.Image, Source: p.Source, Digest: p.Digest, MediaType: p.MediaType, Repository: p.Repository,
			From: p.From, Platforms: p.Platforms, Content: p.Content, Gates: p.Gates,
		}
		for _, tag := range p.Tags {
			name := strings.TrimPrefix(tag.Reference, p.Repository+":")
			planned.Tags = append(planned.Tags, document.PlannedTag{Name: name, Fixed: tag.Fixed, Before: tag.Before})
		}
		plan.Promotions = append(plan.Promotions, planned)
	}
	return plan
}

func withPlan(r document.Report) document.Report {
	plan := planOf(r)
	r.Plan = &plan
	return r
}

// governed is the run of an environment with a config, in a job.
func governed(result document.Result, gates ...string) document.Report {
	r := crossRegistry()
	r.Result, r.TargetEnv = result, "production"
	r.Config = &document.Config{Path: ".github/promotion.yml", Ref: "main", Digest: sigDigest}
	r.Job = document.Job{
		Repository: "acme/app", RunID: "7012345678", Attempt: "2", Name: "promote", URL: "https://github.com/acme/app/actions/runs/7012345678",
		Workflow: "acme/app/.github/workflows/promote.yml@refs/heads/main", Commit: "0badc0ffee0badc0ffee0badc0ffee0badc0ffee",
		Actor: "ann", TriggeringActor: "bob",
	}
	p := &r.Promotions[0]
	p.From = &document.Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: newDigest}
	p.Gates = judged(gates...)
	return r
}

// untouched takes back what the run did.
func untouched(r document.Report) document.Report {
	for i := range r.Promotions {
		p := &r.Promotions[i]
		p.Copied, p.Verified = document.Copied{}, ""
		for j := range p.Tags {
			p.Tags[j].State, p.Tags[j].After = document.TagPending, ""
		}
	}
	return r
}

func plannedRun() document.Report {
	r := untouched(governed(document.Planned, "from", "platforms", "freeze", "approvals", "ours"))
	r.Job.Name = "plan"
	r.Promotions[0].Missing = &document.Missing{Manifests: 18, Blobs: 44, Bytes: 84_000_000}
	return withPlan(r)
}

func plannedWithoutGates() document.Report {
	r := untouched(governed(document.Planned))
	r.Config, r.NoGates = nil, true
	r.Promotions[0].Missing, r.Promotions[0].From = &document.Missing{}, nil
	return withPlan(r)
}

// plannedRelease is of many images, of which the second and the seventh have
// trouble of their own.
func plannedRelease(n int) document.Report {
	r := untouched(several(n))
	head := governed(document.Planned)
	r.Result, r.Config, r.Job, r.Reason = head.Result, head.Config, head.Job, head.Reason
	for i := range r.Promotions {
		p := &r.Promotions[i]
		p.Image = fmt.Sprintf("service-%02d", i+1)
		p.Source = document.Source{Reference: "ghcr.io/acme/" + p.Image + ":staging", Repository: "ghcr.io/acme/" + p.Image, Tag: "staging"}
		p.Repository = "registry.acme.example/prod/" + p.Image
		for j, name := range []string{"production", "v1.4.2"} {
			p.Tags[j].Reference = p.Repository + ":" + name
		}
		p.From = &document.Held{Environment: "staging", Reference: p.Source.Reference, Digest: p.Digest}
		p.Missing = &document.Missing{Manifests: 5, Blobs: 11, Bytes: 21 << 20}
		p.Content = document.Content{Manifests: 5, Blobs: 12, Bytes: 22 << 20}
		p.Gates = judged("from", "platforms", "freeze")
		p.Gates[0].Message = "staging holds " + short(p.Digest)
		green := document.Verdict{Gate: "checks", Status: document.Pass, Message: `checks "e2e" and "load-test" are green`}
		if i == 1 || i == 6 {
			green.Status, green.Message = document.Pending, fmt.Sprintf(`check "e2e" of acme/%s still runs`, p.Image)
		}
		p.Gates = append(p.Gates, green)
	}
	return withPlan(r)
}

func deniedByGates() document.Report {
	r := untouched(governed(document.Denied, "from", "platforms", "freeze", "checks", "order"))
	r.Faults = []document.Fault{
		{Gate: "checks", Message: "gate checks: " + verdicts["checks"].Message, Hint: "Run the check again, and then the promotion."},
		{Gate: "no-downgrade", Message: "gate no-downgrade: " + verdicts["order"].Message},
	}
	return r
}

func overriddenRun() document.Report {
	r := governed(document.Promoted, "from", "freeze", "platforms")
	r.Promotions[0].Gates[1].Overridden = true
	r.Overrides, r.Reason = []string{"freeze"}, "CHG-1234"
	return r
}

func applied() document.Report {
	return withPlan(governed(document.Promoted, "from", "platforms", "ours"))
}

func deniedApply() document.Report {
	r := withPlan(untouched(governed(document.Denied, "from", "platforms")))
	r.Promotions[0].Tags[0].Before = sigDigest
	r.Faults = []document.Fault{{
		Message: "tag registry.acme.example/prod/app:production holds " + sigDigest + ", and held " + oldDigest + " when the plan was made",
		Hint:    "Somebody moved it since. Make a new plan.",
	}}
	return r
}
