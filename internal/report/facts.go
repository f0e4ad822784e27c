package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
)

// facts are the lines under the table: what was copied, how it was checked,
// and under which conditions.
func facts(r document.Report) []string {
	var lines []string
	add := func(name, text string) {
		if text != "" {
			lines = append(lines, "- **"+name+":** "+text)
		}
	}
	add("Reason", prose(r.Reason))
	add("Was there before", wasThere(r))
	add("From", from(r))
	add("Content", content(r))
	add("Would copy", missing(r))
	add("Copied", copied(r))
	add("Platforms", platforms(r))
	add("Attachments", attachments(r))
	add("Verified", verified(r))
	add("Record", records(r))
	add("Gates", noGates(r))
	add("Config", config(r.Config))
	add("Plan", planFact(r))
	add("Job", job(r.Job))
	return lines
}

// noGates says that nothing was held to a condition, and why not.
func noGates(r document.Report) string {
	switch {
	case r.NoGates && !reads(r):
		return "no gates (`config: none`): nothing was held to a condition"
	case reads(r) || r.Config == nil || !done(r) || len(gateRows(r)) > 0:
		return ""
	case goesBack(r):
		return "no gate was judged: only `deny`, `signed-by` and `attestations` hold for a rollback"
	default:
		return "no gate was judged: nothing was held to a condition"
	}
}

func config(c *document.Config) string {
	if c == nil {
		return ""
	}
	text := code(c.Path)
	if c.Ref != "" {
		text += " at " + code(c.Ref)
	}
	return text + ", " + code(short(c.Digest))
}

// job is what ran, for whom.
func job(j document.Job) string {
	var said []string
	add := func(word, text string) {
		if text != "" {
			said = append(said, word+code(text))
		}
	}
	add("", j.Name)
	add("run ", j.RunID)
	add("attempt ", j.Attempt)
	add("of ", j.Repository)
	add("workflow ", j.Workflow)
	add("commit ", j.Commit)
	add("started by ", j.Actor)
	if j.TriggeringActor != j.Actor {
		add("run again by ", j.TriggeringActor)
	}
	add("", j.URL)
	return strings.Join(said, ", ")
}

// content is what belongs to the images, attachments included.
func content(r document.Report) string {
	var sum document.Content
	for _, p := range r.Promotions {
		sum.Manifests += p.Content.Manifests
		sum.Blobs += p.Content.Blobs
		sum.Bytes += p.Content.Bytes
	}
	if sum == (document.Content{}) {
		return ""
	}
	return fmt.Sprintf("%s, %s (%s)", count(sum.Manifests, "manifest"), count(sum.Blobs, "blob"), size(float64(sum.Bytes)))
}

func copied(r document.Report) string {
	sum := total(r)
	idle := sum == document.Copied{Present: sum.Present}
	switch {
	case r.DryRun, reads(r), r.Result == document.Planned, idle && !done(r):
		return ""
	case idle:
		return "nothing; everything needed was there already" + took(r)
	}
	text := fmt.Sprintf("%s, %s sent (%s)", count(sum.Manifests, "manifest"), count(sum.Blobs, "blob"), size(float64(sum.Bytes)))
	if sum.Mounted > 0 {
		text += fmt.Sprintf(", %d taken over inside the registry", sum.Mounted)
	}
	if sum.Present > 0 {
		text += fmt.Sprintf(", %d there already", sum.Present)
	}
	return text + took(r)
}

func total(r document.Report) document.Copied {
	var sum document.Copied
	for _, p := range r.Promotions {
		sum.Manifests += p.Copied.Manifests
		sum.Blobs += p.Copied.Blobs
		sum.Mounted += p.Copied.Mounted
		sum.Present += p.Copied.Present
		sum.Bytes += p.Copied.Bytes
	}
	return sum
}

func took(r document.Report) string {
	if r.Started.IsZero() || !r.Ended.After(r.Started) {
		return ""
	}
	return "; the run took " + span(r.Ended.Sub(r.Started))
}

func platforms(r document.Report) string {
	const shown = 12
	var names []string
	for _, p := range r.Promotions {
		names = append(names, p.Platforms...)
	}
	slices.Sort(names)
	return codes(slices.Compact(names), shown)
}

// codes lists texts as code, at most shown of them.
func codes(texts []string, shown int) string {
	var said []string
	for _, text := range texts[:min(len(texts), shown)] {
		said = append(said, code(text))
	}
	if more := len(texts) - shown; more > 0 {
		said = append(said, fmt.Sprintf("%d more", more))
	}
	return strings.Join(said, ", ")
}

// attachments counts by kind: cosign's by their tags, referrers by their types.
func attachments(r document.Report) string {
	const shown = 8
	counts := map[string]int{}
	for _, p := range r.Promotions {
		for _, a := range p.Attachments {
			counts[kind(a)]++
		}
	}
	kinds := make([]string, 0, len(counts))
	for k := range counts {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	var said []string
	for _, k := range kinds[:min(len(kinds), shown)] {
		said = append(said, fmt.Sprintf("%d × %s", counts[k], code(k)))
	}
	if more := len(kinds) - shown; more > 0 {
		said = append(said, fmt.Sprintf("%d other kinds", more))
	}
	return strings.Join(said, ", ")
}

// kind names an attachment. Cosign's tag scheme:
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
func kind(a document.Attachment) string {
	switch {
	case strings.HasSuffix(a.Tag, ".sig"):
		return "signature (.sig)"
	case strings.HasSuffix(a.Tag, ".att"):
		return "attestation (.att)"
	case strings.HasSuffix(a.Tag, ".sbom"):
		return "SBOM (.sbom)"
	case a.ArtifactType != "":
		return "referrer " + a.ArtifactType
	default:
		return "referrer without a type"
	}
}

// verified says what the weakest verification among the promotions proves.
func verified(r document.Report) string {
	weakest := ""
	for _, level := range []string{"content", "blobs", "manifests"} {
		for _, p := range r.Promotions {
			if p.Verified == level {
				weakest = level
			}
		}
	}
	switch weakest {
	case "manifests":
		return "every manifest was read back at the target and hashed"
	case "blobs":
		return "every manifest was read back at the target and hashed, every blob is known to be there"
	case "content":
		return "every manifest and every blob was read back at the target and hashed"
	default:
		return ""
	}
}
