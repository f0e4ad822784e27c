package config

import (
	"regexp"

	"github.com/artifact-promotion/promote/internal/gate"
)

// Limits on what one file may ask for. Promotions multiply: every environment may
// hold every image under every tag.
const (
	maxEnvironments = 50
	maxImages       = 500
	maxTags         = 50
)

// DefaultKeep is how many rollback targets an environment keeps unless its config says another
// number, of at most maxKeep.
const (
	DefaultKeep = 3
	maxKeep     = 20
)

// maxNameOfEnvironment is that of a DNS label, which environments often become.
const maxNameOfEnvironment = 63

const (
	nameForm     = "a name of 1 to 63 lower-case letters, digits, '.', '_' and '-' that does not begin with '.' or '-'"
	durationForm = "a duration, such as 7d, 36h or 1h30m"
	component    = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
	tagOutline   = `^([A-Za-z0-9_]|\{\{[^{}]+\}\})([A-Za-z0-9_.-]|\{\{[^{}]+\}\})*$`
)

// later are gates that the config's form has and this version has not.
var later = []string{"signed-by", "attestations"}

// fileShape is the whole file.
var fileShape = &shape{
	kind: dictionary, noun: "the file", form: documentForm,
	about: "Environments that images are promoted through, and the gates that guard them.",
	fields: []field{
		{"environments", true, &shape{
			kind: dictionary, form: "environments by name, as in dev: {repository: ghcr.io/acme/app, tags: [dev]}",
			about: "The environments by name, in the order of promotion.",
			most:  maxEnvironments, names: environmentName, item: environmentShape,
		}},
		{"images", false, &shape{
			kind: list, form: "a list of the names that {{image}} stands for, such as [app, worker]",
			about:    "What {{image}} in a repository stands for. A release promotes all of them together.",
			examples: []any{[]string{"app", "worker"}},
			most:     maxImages, unique: true,
			item: &shape{
				kind: text, form: "a part of a repository's path: lower-case letters and digits, with '.', '_' or '-' between them",
				pattern: regexp.MustCompile("^" + component + "$"), most: 128,
			},
		}},
	},
}

var environmentName = &shape{
	kind: text, form: nameForm, pattern: regexp.MustCompile(`^[a-z0-9_][a-z0-9._-]*$`), most: maxNameOfEnvironment,
}

var environmentShape = &shape{
	kind: dictionary, noun: "an environment", form: "an environment with the keys repository and tags",
	about: "A named stage: a repository, the tags that it owns there, and its gates.",
	fields: []field{
		{"from", false, &shape{
			kind: text, form: "the name of another environment",
			about:    "The environment before this one: an image must be what that one holds. Without it images come from a build.",
			examples: []any{"staging"},
			pattern:  environmentName.pattern, most: maxNameOfEnvironment,
		}},
		{"repository", true, &shape{
			kind: text, form: "registry/path, such as ghcr.io/acme/app",
			about:    "Where the environment's images are: registry/path, without a tag. {{image}} stands for each of images.",
			examples: []any{"ghcr.io/acme/app", "registry.acme.example/prod/{{image}}"},
			outline:  `^([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?(/([a-z0-9._-]|\{\{ *image *\}\})+)+$`,
		}},
		{"tags", true, tagsShape("a list of tags that a promotion moves, such as [production]",
			"The moving tags: a promotion points them at the image. They belong to this environment alone.", "production")},
		{"fixed-tags", false, tagsShape("a list of tags that are written once, such as [\"release-{{date 'YYYYMMDD-HHmmss'}}\"]",
			"Tags that are written once and never changed. {{date '…'}}, {{revision}}, {{version}}, {{source-tag}}, {{env}}, {{run-number}} and {{digest}} are filled in.",
			"release-{{date 'YYYYMMDD-HHmmss'}}")},
		{"gates", false, gatesShape},
		{"require-plan", false, toggle("Only a plan that was made and approved before may be applied.")},
		{"keep", false, &shape{
			kind: number, form: "a number of rollback targets from 0 to 20", most: maxKeep, examples: []any{DefaultKeep},
			about: "How many of the images that were replaced last stay reachable by tags of the program's own (promotion-keep.*), so that no clean-up takes them. 3 if nothing is said, 0 for none.",
		}},
		{"attach-records", false, toggle("Attach records to images also where the registry has no referrers API: that writes the fallback list.")},
		{"valid-for", false, durationShape("How long a plan may be applied: 7 days if nothing is said, 90 at most.", "7d")},
		{"overridable", false, &shape{
			kind: list, form: "a list of gates that this environment has, such as [freeze]",
			about: "Gates that override-gates with a reason may pass.", examples: []any{[]string{gate.Freeze}},
			unique: true, item: &shape{
				kind: text, words: overridableGates,
				form: "one of " + listed(overridableGates) + " (" + gate.RolledBack + " may be overridden without being listed)",
			},
		}},
	},
}

func tagsShape(form, about, example string) *shape {
	return &shape{
		kind: list, form: form, about: about, examples: []any{[]string{example}}, most: maxTags, unique: false,
		item: &shape{kind: text, form: "a tag, such as " + example, outline: tagOutline, most: 512},
	}
}

func toggle(about string) *shape {
	return &shape{kind: boolean, form: "true or false", about: about}
}

func durationShape(about, example string) *shape {
	return &shape{
		kind: text, form: durationForm, about: about + " Units are d, h, m and s.", examples: []any{example},
		pattern: durations, most: 40,
	}
}

var gatesShape = &shape{
	kind: dictionary, noun: "gates", form: "gates by name, such as platforms: [linux/amd64, linux/arm64]",
	about: "What must hold before a tag of this environment moves. All gates are judged, and all must pass.",
	later: later,
	fields: []field{
		{gate.Soak, false, durationShape("How long the environment before must have held the image, without a break and as its records say. Needs from.", "24h")},
		{gate.Platforms, false, &shape{
			kind: list, form: "a list of platforms, such as [linux/amd64, linux/arm64]",
			about: "Platforms that the image must be built for.", examples: []any{[]string{"linux/amd64", "linux/arm64"}},
			unique: true, item: &shape{kind: text, form: "os/arch or os/arch/variant, such as linux/arm64", outline: `^[a-z0-9]{1,32}(/[a-z0-9]{1,32}){1,2}$`},
		}},
		{gate.Freeze, false, &shape{
			kind: list, form: `a list of windows, as in - {from: "fri 16:00", to: "mon 08:00", timezone: Europe/Berlin, reason: weekend}`,
			about: "Times in which nothing is promoted: the same every week, or once.", item: windowShape,
		}},
		{gate.Checks, false, checksShape},
		{gate.Approvals, false, approvalsShape},
		{gate.MaxAge, false, durationShape("How long ago the image may have been built, at most.", "720h")},
		{gate.Deny, false, &shape{
			kind: list, form: "a list of digests with a reason, as in - {digest: \"sha256:…\", reason: CVE-2026-0001}",
			about: "Digests that are never promoted: of images, platforms, layers or attachments.", item: denialShape,
		}},
		{gate.NoDowngrade, false, toggle("An image must not be older than the one it replaces, by version or by commit.")},
		{gate.Labels, false, &shape{
			kind: dictionary, form: "patterns by the names of labels, as in org.opencontainers.image.source: https://github\\.com/acme/.*",
			about: "Labels that the image must have on every platform, and patterns (RE2) that the whole of their values must match.",
			names: &shape{kind: text, form: "the name of a label"},
			item:  &shape{kind: text, form: "a pattern that the whole value must match (RE2)", examples: []any{`https://github\.com/acme/.*`}},
		}},
		{gate.Expressions, false, &shape{
			kind: list, form: "a list of conditions, as in - {name: small enough, cel: image.size < 500000000}",
			about: "Conditions in CEL (https://cel.dev), each of which must be true.", item: expressionShape,
		}},
	},
}

var windowShape = &shape{
	kind: dictionary, noun: "a freeze window", form: `a window, as in {from: "fri 16:00", to: "mon 08:00", timezone: Europe/Berlin, reason: weekend}`,
	fields: []field{
		{"from", true, &shape{kind: text, form: `a day of the week with a time, "fri 16:00", or a date, 2026-12-20`, about: "When it begins.", examples: []any{"fri 16:00", "2026-12-20"}}},
		{"to", true, &shape{kind: text, form: `a day of the week with a time, "mon 08:00", or a date, 2027-01-04`, about: "When it ends.", examples: []any{"mon 08:00", "2027-01-04"}}},
		{"timezone", true, &shape{kind: text, form: "a time zone, such as Europe/Berlin or UTC", about: "Whose clock is meant.", examples: []any{"Europe/Berlin", "UTC"}}},
		{"reason", false, reasonShape("Why, for those who wait.", "weekend")},
	},
}

func reasonShape(about, example string) *shape {
	return &shape{kind: text, form: "a reason, such as " + example, about: about, examples: []any{example}}
}

var checkNames = &shape{
	kind: list, form: "a list of checks, such as [e2e, load-test]",
	about:    "Names of check runs or commit statuses that must be green on the commit that the image was built from.",
	examples: []any{[]string{"e2e", "load-test"}}, unique: true, most: 100,
	item: &shape{kind: text, form: "the name of a check"},
	or: &shape{
		kind: dictionary, noun: "checks", form: "{repository: owner/name, names: [e2e]}",
		about: "Checks of another repository than the workflow's own.",
	},
}

var checksShape = func() *shape {
	names := *checkNames
	names.or = nil
	checkNames.or.fields = []field{
		{"repository", true, &shape{
			kind: text, form: "owner/name of a repository on GitHub, such as acme/app",
			about:    "The repository that the images are built from. {{image}} stands for each of images.",
			examples: []any{"acme/app", "acme/{{image}}"},
			pattern:  regexp.MustCompile(`^[A-Za-z0-9-]{1,39}/([A-Za-z0-9._-]|\{\{ *image *\}\})+$`), most: 200,
		}},
		{"names", true, &names},
	}
	return checkNames
}()

var approvalsShape = &shape{
	kind: dictionary, noun: "approvals", form: "{environments: [production], distinct: true, not-actor: true}",
	about: "Approvals of the workflow run's own GitHub environments.",
	fields: []field{
		{"environments", true, &shape{
			kind: list, form: "a list of GitHub environments, such as [change-control, production]",
			about: "GitHub environments of which each must have been approved.", examples: []any{[]string{"change-control", "production"}},
			unique: true, most: 100, item: &shape{kind: text, form: "the name of a GitHub environment", most: 255},
		}},
		{"distinct", false, toggle("As many people as there are environments must have approved.")},
		{"not-actor", false, toggle("None of them may have started the run.")},
	},
}

var denialShape = &shape{
	kind: dictionary, noun: "a denied digest", form: `{digest: "sha256:…", reason: CVE-2026-0001}`,
	fields: []field{
		{"digest", true, &shape{kind: text, form: "sha256: and 64 lower-case hexadecimal digits", about: "Of an image, a platform, a layer or an attachment.", pattern: regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)}},
		{"reason", true, reasonShape("Why, for those who are refused.", "CVE-2026-0001")},
	},
}

var expressionShape = &shape{
	kind: dictionary, noun: "an expression", form: "{name: small enough, cel: image.size < 500000000}",
	fields: []field{
		{"name", true, &shape{kind: text, form: "a name, such as base image is ours", about: "What it demands, in words.", examples: []any{"base image is ours"}}},
		{"cel", true, &shape{
			kind: text, form: "a condition in CEL (https://cel.dev)", about: "A condition in CEL over image, labels, platforms, source, target, environment, actor, commit and now.",
			examples: []any{`image.labels["org.opencontainers.image.base.name"].startsWith("ghcr.io/acme/")`}, most: 4096,
		}},
	},
}
