package input

import (
	"strconv"
	"strings"

	"github.com/artifact-promotion/promote/internal/transfer"
)

// Kind says how an input's text is read. The names follow docker's actions.
type Kind string

// The kinds of inputs.
const (
	String   Kind = "String"
	List     Kind = "List"     // one per line
	ListCSV  Kind = "List/CSV" // one per line, or between commas
	Boolean  Kind = "Boolean"
	Number   Kind = "Number"
	Duration Kind = "Duration"
	YAML     Kind = "YAML"
)

// Input is one row of the table.
type Input struct {
	Name        string
	Kind        Kind
	Default     string // as action.yml declares it
	Example     string // a good value, for messages; secrets have their expression
	Secret      bool   // the value is masked and never shown
	Description string // may not contain ${{: the runner evaluates it there
}

// defaultLimit is how many records a history lists of each environment.
const defaultLimit = 50

// Table is every input, in the order in which they are documented.
var Table = []Input{
	{Name: "mode", Kind: String, Default: "promote", Example: "promote",
		Description: "What to do: `promote`, `plan` (write nothing, pin every digest, and show what would happen), `apply` (promote exactly what a plan says), " +
			"`rollback` (go back to an earlier image), `history` (list what was promoted, by whom and why), or `audit` (compare what the registry holds with what was recorded)."},
	{Name: "source", Kind: List, Example: "ghcr.io/acme/app:1.4.2",
		Description: "The image to promote: `repo:tag`, `repo@sha256:…`, `repo:tag@sha256:…`, or `repo` together with `digest`. Several images: one per line."},
	{Name: "digest", Kind: String, Example: "${{ steps.build.outputs.digest }}",
		Description: "The digest that `source` must have, such as docker/build-push-action's output `digest`. Any other is refused (exit 3)."},
	{Name: "metadata", Kind: String, Example: "${{ steps.build.outputs.metadata }}",
		Description: "The output `metadata` of docker/build-push-action or docker/bake-action, in place of `source` and `digest`, or the path of a file that holds it: each image that was built is promoted, by its digest. Set `BUILDX_METADATA_PROVENANCE: disabled` for the build, so that the output stays small."},
	{Name: "target", Kind: ListCSV, Example: "registry.acme.example/prod/app:production",
		Description: "Tags to move to the image: full references (`registry/path:tag`), bare tags in the target's (else the source's) repository, " +
			"docker/metadata-action's output `tags` as it is, or `source => target` lines for several images. Templates as in `fixed-tags`. " +
			"For `rollback`, `history` and `audit`: one full reference, of a tag that no environment has."},
	{Name: "target-env", Kind: String, Example: "staging",
		Description: "The environment of the config file to promote to; without `source`, what the environment before it holds. With `config: none`, a tag of that name in the source's repository. " +
			"For `rollback`, the environment that goes back; for `history` and `audit`, the one that they are about, or all without it."},
	{Name: "config", Kind: String, Example: ".github/promotion.yml@main",
		Description: "The config file of environments and their gates, `.github/promotion.yml` in the checkout if not given. `path@ref` reads it from the repository at a branch, which should be protected; `none` opts out of it and of its gates."},
	{Name: "images", Kind: ListCSV, Example: "app, worker",
		Description: "Of a config with several images, only these."},
	{Name: "plan", Kind: String, Example: "${{ needs.plan.outputs.plan }}",
		Description: "For `mode: apply`, the plan: the output `plan` of a step with `mode: plan`, or the path of a file that holds it. With `@` and the output `plan-digest` after it, no other plan is applied; with `target-env`, none for anything else."},
	{Name: "to", Kind: String, Default: previous, Example: "v1.4.1",
		Description: "For `mode: rollback`, where it goes: `previous` (what was there before, images that were rolled back from left out), the digest of an image or of a record, or a tag."},
	{Name: "since", Kind: String, Example: "30d",
		Description: "For `mode: history`, only what was recorded since then: a time (`2026-11-01T08:00:00Z`), a date (`2026-11-01`, UTC), or how long ago (`30d`, `12h`)."},
	{Name: "limit", Kind: Number, Default: strconv.Itoa(defaultLimit), Example: "50",
		Description: "For `mode: history`, the newest so many of each environment; `0` lists all."},
	{Name: "find", Kind: String, Example: "ghcr.io/acme/app@sha256:…",
		Description: "For `mode: history`, only where the image of this digest came or went."},
	{Name: "fixed-tags", Kind: ListCSV, Example: "release-{{date 'YYYYMMDD-HHmmss'}}",
		Description: "Tags that are written once and never changed, in every target repository, such as `release-{{date 'YYYYMMDD-HHmmss'}}`. " +
			"Templates: `{{date '…'}}` (UTC), `{{revision}}` (the image's commit, 7 digits), `{{version}}` (its version label), `{{source-tag}}`, `{{env}}`, `{{run-number}}`, `{{digest}}` (12 digits)."},
	{Name: "source-username", Kind: String, Example: "${{ github.actor }}",
		Description: "User name for the source's registry."},
	{Name: "source-password", Kind: String, Example: "${{ secrets.SOURCE_PASSWORD }}", Secret: true,
		Description: "Password or token for the source's registry."},
	{Name: "target-username", Kind: String, Example: "${{ github.actor }}",
		Description: "User name for the target's registry."},
	{Name: "target-password", Kind: String, Example: "${{ secrets.TARGET_PASSWORD }}", Secret: true,
		Description: "Password or token for the target's registry."},
	{Name: "registry-auth", Kind: YAML, Secret: true,
		Example:     "|\n  - registry: registry.acme.example/prod\n    username: ${{ vars.REGISTRY_USER }}\n    password: ${{ secrets.REGISTRY_PASSWORD }}",
		Description: "Credentials for several registries: a YAML list of `registry`, `username` and `password`, as docker/login-action takes it. A `registry` may go on with the beginning of a repository's path; the longest match wins."},
	{Name: "ca-certificates", Kind: String, Example: "certs/registry-ca.pem",
		Description: "Certificates of private authorities, as PEM text or a file's path; added to the built-in ones."},
	{Name: "attachments", Kind: String, Default: "all", Example: "all",
		Description: "Signatures, attestations, SBOMs and other artifacts that are attached to the image: `all` of them go along, or `none`."},
	{Name: "verify", Kind: String, Default: string(transfer.Blobs), Example: string(transfer.Blobs),
		Description: "What is checked at the target before tags move: `manifests` (all are read back), `blobs` (and every blob is known to exist), `content` (and every byte is read back and hashed)."},
	{Name: "record", Kind: String, Example: "required",
		Description: "What happens where the ledger cannot be written: `required` (no tag moves; the default for an environment of the config), `optional` (a notice; the default otherwise), or `none` (nothing is recorded; the tags of a release then move together only while the run lives)."},
	{Name: "dry-run", Kind: Boolean, Default: "false", Example: "true",
		Description: "Write nothing; show what would happen."},
	{Name: "reason", Kind: String, Example: "CHG-1234",
		Description: "Why the image is promoted: a ticket, an incident. It is recorded, and shown in the summary. A rollback needs one, and so does overriding a gate."},
	{Name: "override-gates", Kind: ListCSV, Example: "freeze",
		Description: "Gates that do not hold this once: those that the config lets be overridden (`overridable`), and `rolled-back`. Needs `reason`."},
	{Name: "concurrency", Kind: Number, Example: "8",
		Description: "The most blobs copied at the same time from, or to, one registry, each over a connection of its own: 1 to 64. `24` if not given; fewer while a registry asks for it."},
	{Name: "timeout", Kind: Duration, Default: "30m", Example: "30m",
		Description: "Time for the whole run, at most `24h`."},
	{Name: "github-token", Kind: String, Default: "${{ github.token }}", Example: "${{ github.token }}", Secret: true,
		Description: "Token for GitHub; also for ghcr.io when no other credential is given."},
	{Name: "summary", Kind: Boolean, Default: "true", Example: "true",
		Description: "Write a job summary."},
}

// lookup finds an input and its place in the table.
func lookup(name string) (in Input, index int, ok bool) {
	for i, in := range Table {
		if in.Name == name {
			return in, i, true
		}
	}
	return Input{}, -1, false
}

// initial is the value of an input that was not given. An expression is for the
// runner to evaluate; outside of it the input is empty.
func (in Input) initial() string {
	if strings.HasPrefix(in.Default, "${{") {
		return ""
	}
	return in.Default
}

// exampleOf shows how an input is written in a workflow.
func exampleOf(name string) string {
	in, _, _ := lookup(name)
	return name + ": " + in.Example
}
