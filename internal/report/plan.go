package report

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

const (
	// maxPlanText is the longest plan that is an output. One environment string of
	// 128 KiB keeps a container from being started, and the next job's action gets
	// the plan as one (Linux, MAX_ARG_STRLEN).
	maxPlanText = 96 << 10
	// maxMatrix leaves room for the other outputs, in bytes of UTF-16.
	maxMatrix = 400_000
)

// PlanTooLarge reports whether a packed plan must go into a file, because it is
// too large for an output and for the environment of the job that applies it.
func PlanTooLarge(packed string) bool { return len(packed) > maxPlanText }

// planText is the plan as an output: itself, or where its file is.
func planText(r document.Report) string {
	if r.Result != document.Planned || r.Plan == nil {
		return ""
	}
	if r.PlanFile != "" {
		return Visible(r.PlanFile)
	}
	packed := document.Pack(r.Plan.Encode())
	if PlanTooLarge(packed) {
		return ""
	}
	return packed
}

func planDigest(r document.Report) string {
	if r.Plan == nil {
		return ""
	}
	return document.DigestOf(r.Plan.Encode())
}

// shard is one job of a matrix. Its names hold no host: the runner drops outputs
// with a masked value in them, and hosts are masked in some places.
type shard struct {
	Image       string `json:"image"`
	Environment string `json:"environment"`
	Digest      string `json:"digest"` // of the first image
	PlanDigest  string `json:"plan-digest"`
	Plan        string `json:"plan"`
}

// matrix is JSON for strategy.matrix: a plan for each image, or for several where
// there is no room for so many. It is empty if there is none for any.
func matrix(r document.Report) string {
	if r.Result != document.Planned || r.Plan == nil || len(r.Plan.Promotions) == 0 {
		return ""
	}
	shards := r.Plan.Split()
	for {
		text, fits := matrixOf(shards)
		if fits || len(shards) == 1 {
			return text
		}
		shards = r.Plan.SplitInto(len(shards) / 2)
	}
}

func matrixOf(plans []document.Plan) (text string, fits bool) {
	var all struct {
		Include []shard `json:"include"`
	}
	room := maxMatrix
	for _, p := range plans {
		s := shardOf(p)
		if room -= 2 * len(s.Plan); room < 0 || PlanTooLarge(s.Plan) {
			return "", false
		}
		all.Include = append(all.Include, s)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err) // plain values: json.Marshal has no way to fail
	}
	if text = shellSafe(raw); utf16Size(text) > maxMatrix {
		return "", false
	}
	return text, true
}

func shardOf(p document.Plan) shard {
	raw := p.Encode()
	return shard{
		Image:       Visible(shardName(p)),
		Environment: Visible(p.Environment),
		Digest:      Visible(p.Promotions[0].Digest),
		PlanDigest:  document.DigestOf(raw),
		Plan:        document.Pack(raw),
	}
}

// shardName names the images: by the config's names, else by their paths.
func shardName(p document.Plan) string {
	var names []string
	known := map[string]bool{}
	for _, promotion := range p.Promotions {
		name := promotion.Image
		if name == "" {
			_, name, _ = strings.Cut(promotion.Source.Repository, "/")
		}
		if !known[name] {
			known[name] = true
			names = append(names, clip(name, maxReference))
		}
	}
	return some(names)
}

// planNotices tell which outputs are empty because they would be too large.
func planNotices(r document.Report) []string {
	if r.Result != document.Planned || r.Plan == nil {
		return nil
	}
	var notices []string
	if planText(r) == "" {
		notices = append(notices, "The plan is too large for the output plan, which is empty: plan fewer images at once")
	}
	if matrix(r) == "" {
		notices = append(notices, "The output matrix is empty, because it would be too large: apply the plan as a whole, or plan fewer images at once")
	}
	return notices
}

// planned says what there is to do with a plan, or what was done with it.
func planned(r document.Report) string {
	switch {
	case r.Plan == nil && r.Result != document.Planned:
		return ""
	case r.Result == document.Planned:
		return toApply(r)
	case r.Result == document.Unrecorded:
		return ", applying plan " + short(planDigest(r))
	case r.Result == document.Failed:
		return "; plan " + short(planDigest(r)) + " was not applied in full"
	case r.Result.ExitCode() != 0:
		return "; plan " + short(planDigest(r)) + " was not applied"
	case r.DryRun:
		return "; plan " + short(planDigest(r)) + " would be applied"
	default:
		return ", applying plan " + short(planDigest(r))
	}
}

func toApply(r document.Report) string {
	text := ""
	if names := gatesThat(r, waiting); len(names) > 0 {
		text = "; waiting for " + list(names)
	}
	if r.Plan != nil {
		text += "; approve and apply before " + minute(r.Plan.Expires)
	}
	return text
}

// idle says that a plan has nothing to move.
func idle(r document.Report) string {
	if n := tagCount(r); n > 0 && countStates(r)[document.TagUnchanged] == n {
		return " (no tag would move)"
	}
	return ""
}

func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// from says what the environment before holds, and for which images it is not
// what is promoted.
func from(r document.Report) string {
	const shown = 8
	held := map[string]int{}
	var environments, said []string
	labels := imageLabels(r)
	for i, p := range r.Promotions {
		switch {
		case p.From == nil:
		case p.From.Digest == p.Digest && p.Digest != "":
			if held[p.From.Environment]++; held[p.From.Environment] == 1 {
				environments = append(environments, p.From.Environment)
			}
		default:
			said = append(said, fmt.Sprintf("%s holds %s, not %s", code(p.From.Reference), code(short(p.From.Digest)), code(labels[i])))
		}
	}
	for _, e := range environments {
		said = append(said, code(e)+" holds "+these(held[e], len(r.Promotions)))
	}
	if more := len(said) - shown; more > 0 {
		said = append(said[:shown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, "; ")
}

func these(n, all int) string {
	switch {
	case all == 1:
		return "this image"
	case n == all:
		return "all of these images"
	default:
		return fmt.Sprintf("%d of these images", n)
	}
}

// missing is what a plan would copy.
func missing(r document.Report) string {
	var sum document.Missing
	known := false
	for _, p := range r.Promotions {
		if p.Missing != nil {
			known = true
			sum.Manifests += p.Missing.Manifests
			sum.Blobs += p.Missing.Blobs
			sum.Bytes += p.Missing.Bytes
		}
	}
	switch {
	case !known:
		return ""
	case sum == document.Missing{}:
		return "nothing; everything is at the target already"
	default:
		return fmt.Sprintf("%s, %s (%s) that the target does not have yet",
			count(sum.Manifests, "manifest"), count(sum.Blobs, "blob"), size(float64(sum.Bytes)))
	}
}

// planFact names the plan for one who compares it with another run's.
func planFact(r document.Report) string {
	if r.Plan == nil {
		return ""
	}
	text := code(planDigest(r)) + ", made " + minute(r.Plan.Created) + ", valid until " + minute(r.Plan.Expires)
	if r.PlanFile != "" {
		text += ", in the file " + code(r.PlanFile)
	}
	return text
}

func planLines(r document.Report) []string {
	var lines []string
	if text := missing(r); text != "" {
		lines = append(lines, "  would copy: "+line(text))
	}
	if r.Plan != nil {
		lines = append(lines, "  plan: "+line(strings.ReplaceAll(planFact(r), "`", "")))
	}
	for _, notice := range planNotices(r) {
		lines = append(lines, "  note: "+line(notice))
	}
	return lines
}

// jobKey is what may stand as a job's key in an expression.
var jobKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,99}$`)

// howToApply is the job that applies the plan, to copy.
func howToApply(p *page, r document.Report) {
	if r.Result != document.Planned || r.Plan == nil {
		return
	}
	p.block("how to apply the plan", unfold("How to apply this plan")+fence("yaml", applyJob(r))+"\n"+folded)
}

func applyJob(r document.Report) string {
	from, environment := "plan", "ENVIRONMENT"
	if jobKey.MatchString(r.Plan.Job.Name) {
		from = r.Plan.Job.Name
	}
	if pasteable.MatchString(r.Plan.Environment) {
		environment = r.Plan.Environment
	}
	lines := []string{
		"apply:",
		"  needs: " + from,
		"  environment: " + environment + "  # its reviewers approve the plan",
		"  runs-on: ubuntu-latest",
		"  steps:",
	}
	checkout, config := configOf(*r.Plan)
	if checkout {
		lines = append(lines, "    - uses: actions/checkout@v5  # the config")
	}
	plan := "${{ needs." + from + ".outputs.plan }}"
	if r.PlanFile != "" {
		plan = "PLAN-FILE"
		if file := path.Base(r.PlanFile); pasteable.MatchString(file) {
			plan = file
		}
		lines = append(lines, "    # job "+from+" hands the file on with actions/upload-artifact, path: ${{ steps.ID.outputs.plan }}",
			"    - uses: actions/download-artifact@v5", "      with:", "        name: promotion-plan")
	}
	lines = append(lines, "    - uses: artifact-promotion/promote@v1", "      with:", "        mode: apply",
		"        plan: "+plan+"@${{ needs."+from+".outputs.plan-digest }}")
	if config != "" {
		lines = append(lines, "        config: "+config)
	}
	return strings.Join(lines, "\n")
}

// configPath is a path, or path@ref, that may stand in the job's YAML.
var configPath = regexp.MustCompile(`^\.?[A-Za-z0-9][A-Za-z0-9._/@+-]{0,199}$`)

// configOf is how a job comes by the config that the plan was made with: whether it
// needs a checkout, and what its input config is, if that is not the default.
func configOf(p document.Plan) (checkout bool, input string) {
	if p.Config == nil && p.NoGates {
		return false, "none"
	}
	if p.Config == nil {
		return false, ""
	}
	input = p.Config.Path
	if p.Config.Ref != "" {
		input += "@" + p.Config.Ref
	}
	switch {
	case input == ".github/promotion.yml":
		input = ""
	case !configPath.MatchString(input):
		input = "CONFIG"
	}
	return p.Config.Ref == "", input
}
