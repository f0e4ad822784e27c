package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// marker stands in a text right before the place at which a fault is expected.
const marker = "§"

// dev is an environment with more keys.
func dev(more string) string {
	return "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: [dev]\n" + more
}

// gates is an environment with gates.
func gates(more string) string { return dev("    gates:\n" + more) }

// two is two environments, the second with other keys.
func two(more string) string { return dev("  prod:\n" + more) }

// soaking is two environments, of which the second has the gate soak.
func soaking(value string) string {
	return two("    from: dev\n    repository: ghcr.io/acme/app\n    tags: [prod]\n    gates: {soak: " + value + "}\n")
}

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

// faultTable is every rule broken once.
var faultTable = []struct {
	name, text string
	meaning    bool // no schema can tell
	want       []string
}{
	// The form.
	{"empty file", "", true, []string{"given an empty file", "environments"}},
	{"only a comment", "# nothing\n", true, []string{"an empty file"}},
	{"a text", "§hello\n", false, []string{`given "hello"; expected YAML with the key environments`}},
	{"a list", "§- a\n", false, []string{"given a list"}},
	{"no environments", "§images: [app]\n", false, []string{`the file without the key "environments"`, "ghcr.io/acme/app"}},
	{"environments without a value", "§environments:\n", false, []string{"given no value; expected environments by name"}},
	{"no environment", "environments: §{}\n", false, []string{"given no keys"}},
	{"environments as a list", "environments: §[dev]\n", false, []string{"given a list; expected environments by name"}},
	{"environment without a value", "environments:\n  §dev:\n", false, []string{"given no value; expected an environment with the keys repository and tags"}},
	{"environment with nothing", "environments: {dev: §{}}\n", false, []string{"given no keys; expected an environment"}},
	{"unknown key at the top", "§environment: {}\n" + dev(""), false, []string{`the unknown key "environment" in the file`, "one of environments, images", `did you mean "environments"?`}},
	{"unknown key in an environment", dev("    §fixed_tags: [a]\n"), false, []string{`the unknown key "fixed_tags"`, `did you mean "fixed-tags"?`}},
	{"unknown key that is like none", dev("    §zzzzzzzzz: [a]\n"), false, []string{"one of from, repository, tags, fixed-tags, gates, require-plan, keep, attach-records, valid-for, overridable\n"}},
	{"gate outside gates", dev("    §freeze: []\n"), false, []string{`the key "freeze" in an environment; expected it under gates`}},
	{"images in an environment", dev("    §images: [a]\n"), false, []string{"it at the top"}},
	{"unknown gate", gates("      §platform: [linux/amd64]\n"), false, []string{`the unknown key "platform" in gates`, `did you mean "platforms"?`}},
	{"soak without from", gates("      §soak: 24h\n"), true, []string{`given "soak" in the environment "dev", which has no from`, "expected the key from beside gates", "or no soak"}},
	{"soak of no unit", soaking("§\"24\""), false, []string{`"24"; expected a duration, such as 7d, 36h or 1h30m`}},
	{"soak a number", soaking("§24"), false, []string{"24, which YAML reads as a number; expected text"}},
	{"soak negative", soaking("§-1h"), false, []string{`"-1h"; expected a duration`}},
	{"soak of nothing", soaking("§0h"), true, []string{`"0h", which is less than a second`}},
	{"soak too long", soaking("§366d"), true, []string{`"366d"; expected at most 365d`}},
	{"soak that overflows", soaking("§999999999999999999999999999999999d"), true, []string{"expected at most 365d"}},
	{"soak as a list", soaking("§[24h]"), false, []string{"given a list; expected a duration"}},
	{"signed-by", gates("      §signed-by: []\n"), false, []string{`the gate "signed-by", which this version does not have yet`}},
	{"attestations", gates("      §attestations: []\n"), false, []string{`the gate "attestations", which this version does not have yet`}},
	{"duplicate environment", dev("  §dev:\n    repository: ghcr.io/acme/b\n    tags: [b]\n"), true, []string{`the key "dev" again, first given at line 2; expected each key once`}},
	{"duplicate key", dev("    §tags: [b]\n"), true, []string{`the key "tags" again, first given at line 4`}},
	{"key that is a number", dev("  §1: {}\n"), true, []string{"the key 1, which YAML reads as a number"}},
	{"key that is a boolean", dev("  §true: {}\n"), true, []string{"the key true, which YAML reads as a boolean"}},
	{"no repository", "environments:\n  §dev:\n    tags: [dev]\n", false, []string{`an environment without the key "repository"; expected repository: registry/path`}},
	{"no tags", "environments:\n  §dev:\n    repository: ghcr.io/acme/app\n", false, []string{`an environment without the key "tags"; expected tags: a list of tags`}},
	{"string for a list", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: §dev\n", false, []string{`given "dev"; expected a list of tags that a promotion moves, such as [production]`}},
	{"number for text", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: [§1.0]\n", false, []string{`1.0, which YAML reads as a number; expected text: "1.0" in quotes`}},
	{"boolean for text", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: [§true]\n", false, []string{`true, which YAML reads as a boolean; expected text: "true" in quotes`}},
	{"map for text", dev("    from: §{a: b}\n"), false, []string{"given keys with values; expected the name of another environment"}},
	{"list for text", dev("    from: §[a]\n"), false, []string{"given a list"}},
	{"null for text", dev("    §from: ~\n"), false, []string{"given no value; expected the name of another environment"}},
	{"text for keys", dev("    gates: §none\n"), false, []string{`given "none"; expected gates by name`}},
	{"text for a boolean", dev("    require-plan: §\"true\"\n"), false, []string{`"true"; expected true or false (lower case, without quotes)`}},
	{"yes for a boolean", dev("    require-plan: §yes\n"), false, []string{`"yes"; expected true or false (lower case`}},
	{"True for a boolean", dev("    require-plan: §True\n"), true, []string{`"True"; expected true or false`}},
	{"number for a boolean", dev("    require-plan: §1\n"), false, []string{"1, which YAML reads as a number; expected true or false"}},
	{"empty list", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: §[]\n", false, []string{"an empty list; expected a list of tags"}},
	{"empty gates", dev("    gates: §{}\n"), false, []string{"no keys; expected gates by name"}},
	{"empty text", dev("    from: §\"\"\n"), false, []string{"empty text"}},
	{"blank text", gates("      checks: [§\"  \"]\n"), false, []string{"empty text; expected the name of a check"}},
	{"null in a list", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: [dev, §~]\n", false, []string{"no value"}},
	{"control character", gates("      checks: [§\"a\\u0007\"]\n"), true, []string{`"a\a", which has a control character in it`}},
	{"too long", gates("      checks: [§" + strings.Repeat("a", 1001) + "]\n"), false, []string{"text of 1001 characters; expected at most 1000"}},
	{"too many", "environments:\n  dev:\n    repository: ghcr.io/acme/app\n    tags: §[" + strings.Repeat("a,", 51) + "]\n", false, []string{"51 entries; expected at most 50"}},
	{"comma missing", gates("      deny: [{digest: " + digestA + ", reason: §a digest: b}]\n"), true, []string{`"a digest: b"; expected quotes around text with ': ' in it, or a comma`}},
	{"blank missing", gates("      deny: [{digest: " + digestA + ", reason:§a}]\n"), true, []string{`"reason:a"; expected a blank after the colon`}},
	{"anchor", dev("    from: §&x prod\n"), true, []string{"an anchor (&); expected no anchors"}},
	{"alias", dev("    from: §*x\n"), true, []string{"an alias (*); expected no aliases"}},
	{"merge key", dev("    §<<: {from: x}\n"), true, []string{"a merge key (<<)"}},
	{"YAML tag", dev("    from: §!!str 1\n"), true, []string{`a YAML tag "!!str"`}},
	{"explicit key", dev("    §? from\n    : prod\n"), true, []string{"a key after a question mark"}},

	// Environments.
	{"upper case in a name", "environments: {§Dev: {repository: ghcr.io/a/b, tags: [dev]}}\n", false, []string{`"Dev"; expected a name of 1 to 63 lower-case letters`}},
	{"name begins with a dash", "environments: {§-dev: {repository: ghcr.io/a/b, tags: [dev]}}\n", false, []string{`"-dev"; expected a name`}},
	{"name with a slash", "environments: {§a/b: {repository: ghcr.io/a/b, tags: [dev]}}\n", false, []string{`"a/b"; expected a name`}},
	{"name too long", "environments: {§" + strings.Repeat("a", 64) + ": {repository: ghcr.io/a/b, tags: [dev]}}\n", false, []string{"text of 64 characters; expected at most 63"}},
	{"unknown from", two("    from: §devv\n    repository: ghcr.io/acme/app\n    tags: [prod]\n"), true, []string{`the unknown environment "devv"; expected one of dev, prod; did you mean "dev"?`}},
	{"from itself", dev("    from: §dev\n"), true, []string{`"dev", the environment itself`}},
	{"cycle", "environments:\n  dev:\n    from: §prod\n    repository: ghcr.io/acme/app\n    tags: [dev]\n  test:\n    from: dev\n    repository: ghcr.io/acme/app\n    tags: [test]\n  prod:\n    from: test\n    repository: ghcr.io/acme/app\n    tags: [prod]\n", true, []string{"a cycle: dev from prod from test from dev; expected an environment without from"}},
	{"overridable that it has not", dev("    overridable: [§freeze]\n"), true, []string{`"freeze", a gate that the environment "dev" does not have; expected no overridable`}},
	{"overridable of another gate", gates("      no-downgrade: true\n    overridable: [no-downgrade, §from]\n"), true, []string{`"from", a gate that the environment "dev" does not have; expected one of its gates: no-downgrade`}},
	{"overridable that is off", gates("      no-downgrade: false\n    overridable: [§no-downgrade]\n"), true, []string{"does not have"}},
	{"overridable that is none", dev("    overridable: [§frieze]\n"), false, []string{`"frieze"; expected one of from, soak, platforms, freeze`, `did you mean "freeze"?`}},
	{"overridable twice", gates("      no-downgrade: true\n    overridable: [no-downgrade, §no-downgrade]\n"), false, []string{`"no-downgrade" again, first given at line 7`}},
	{"overridable that always may be", gates("      no-downgrade: true\n    overridable: [no-downgrade, §rolled-back]\n"), false, []string{`"rolled-back"; expected one of from, soak`, "(rolled-back may be overridden without being listed)"}},
	{"keep negative", dev("    keep: §-1\n"), false, []string{"-1; expected a number of rollback targets from 0 to 20"}},
	{"keep too many", dev("    keep: §21\n"), false, []string{"21; expected a number of rollback targets from 0 to 20"}},
	{"keep a fraction", dev("    keep: §1.5\n"), false, []string{"1.5; expected a number of rollback targets"}},
	{"keep a fraction of nothing", dev("    keep: §3.0\n"), true, []string{"3.0; expected a number of rollback targets"}},
	{"keep octal", dev("    keep: §010\n"), true, []string{"010; expected a number of rollback targets"}},
	{"keep that overflows", dev("    keep: §99999999999999999999\n"), false, []string{"expected a number of rollback targets"}},
	{"keep in words", dev("    keep: §three\n"), false, []string{`"three"; expected a number of rollback targets from 0 to 20 (in digits, without quotes)`}},
	{"keep in quotes", dev("    keep: §\"3\"\n"), false, []string{`"3"; expected a number of rollback targets`, "without quotes"}},
	{"keep no value", dev("    §keep:\n"), false, []string{"no value; expected a number of rollback targets"}},
	{"keep a boolean", dev("    keep: §false\n"), false, []string{"false, which YAML reads as a boolean; expected a number of rollback targets"}},
	{"keep a list", dev("    keep: §[3]\n"), false, []string{"given a list; expected a number of rollback targets"}},
	{"attach-records in words", dev("    attach-records: §always\n"), false, []string{`"always"; expected true or false`}},
	{"valid-for of no unit", dev("    valid-for: §\"7\"\n"), false, []string{`"7"; expected a duration, such as 7d`}},
	{"valid-for negative", dev("    valid-for: §\"-7d\"\n"), false, []string{`"-7d"; expected a duration`}},
	{"valid-for a number", dev("    valid-for: §7\n"), false, []string{"7, which YAML reads as a number; expected text"}},
	{"valid-for nothing", dev("    valid-for: §0d\n"), true, []string{`"0d", which is less than a second`}},
	{"valid-for too long", dev("    valid-for: §91d\n"), true, []string{`"91d"; expected at most 90d`}},
	{"valid-for that overflows", dev("    valid-for: §999999999999999999999999999999999d\n"), true, []string{"expected at most 90d"}},
	{"max-age too long", gates("      max-age: §3651d\n"), true, []string{`"3651d"; expected at most 3650d`}},

	// Repositories and images.
	{"repository without a registry", "environments: {dev: {repository: §acme/app, tags: [dev]}}\n", true, []string{`"acme/app" without a registry; expected registry/path with the registry's name`}},
	{"repository without a path", "environments: {dev: {repository: §ghcr.io, tags: [dev]}}\n", false, []string{`"ghcr.io" without a registry or without a path`}},
	{"repository with a tag", "environments: {dev: {repository: §\"ghcr.io/acme/app:dev\", tags: [dev]}}\n", false, []string{"with a tag", "a repository has no tag"}},
	{"repository with a digest", "environments: {dev: {repository: §\"ghcr.io/acme/app@" + digestA + "\", tags: [dev]}}\n", false, []string{"with a digest"}},
	{"repository with a scheme", "environments: {dev: {repository: §\"https://ghcr.io/acme/app\", tags: [dev]}}\n", false, []string{`with "https://" before it`}},
	{"repository in upper case", "environments: {dev: {repository: §ghcr.io/Acme/app, tags: [dev]}}\n", false, []string{"upper-case letters in its path; expected lower case: ghcr.io/acme/app"}},
	{"repository that leads elsewhere", "environments: {dev: {repository: §ghcr.io/acme/../app, tags: [dev]}}\n", true, []string{`given "ghcr.io/acme/../app"`}},
	{"short name of Docker Hub", "environments: {dev: {repository: §docker.io/nginx, tags: [dev]}}\n", true, []string{"docker.io/library/nginx"}},
	{"unknown expression in a repository", "environments: {dev: {repository: §\"ghcr.io/acme/{{env}}\", tags: [dev]}}\n", false, []string{"with {{env}}; expected no expression but {{image}}"}},
	{"image without images", "environments: {dev: {repository: §\"ghcr.io/acme/{{image}}\", tags: [dev]}}\n", true, []string{"no images that it could stand for", "images: [app, worker]"}},
	{"images that share a repository", "images: [app, worker]\nenvironments: {dev: {repository: §ghcr.io/acme/app, tags: [dev]}}\n", true, []string{"without {{image}}: two images would share it", "ghcr.io/acme/app/{{image}}"}},
	{"image in the registry", "images: [app]\nenvironments: {dev: {repository: §\"{{image}}.acme.example/app\", tags: [dev]}}\n", false, []string{"{{image}} in the registry's name; expected {{image}} in the path"}},
	{"image that breaks a repository", "images: [app]\nenvironments: {dev: {repository: §\"ghcr.io/acme/.{{image}}\", tags: [dev]}}\n", true, []string{`"ghcr.io/acme/.{{image}}", which is "ghcr.io/acme/.app"`}},
	{"no images", "images: §[]\n" + dev(""), false, []string{"an empty list; expected a list of the names that {{image}} stands for"}},
	{"image twice", "images: [app, §app]\n" + dev(""), false, []string{`"app" again, first given at line 1`}},
	{"image with a slash", "images: [§a/b]\n" + dev(""), false, []string{`"a/b"; expected a part of a repository's path`}},
	{"image in upper case", "images: [§App]\n" + dev(""), false, []string{`"App"; expected a part`}},

	// Tags.
	{"tag with a bad character", "environments: {dev: {repository: ghcr.io/a/b, tags: [de§+v]}}\n", false, []string{`the tag "de+v": "+" cannot stand there`}},
	{"tag in quotes with a bad character", "environments: {dev: {repository: ghcr.io/a/b, tags: [\"de§+v\"]}}\n", false, []string{`the tag "de+v"`}},
	{"tag with a repository", "environments: {dev: {repository: ghcr.io/a/b, tags: [\"ghcr.io§/a/b:dev\"]}}\n", false, []string{"expected the tag alone, without a repository: dev"}},
	{"tag with an unknown expression", "environments: {dev: {repository: ghcr.io/a/b, tags: [\"v§{{sha}}\"]}}\n", true, []string{"unknown expression {{sha}}", "{{revision}}"}},
	{"tag twice", "environments: {dev: {repository: ghcr.io/a/b, tags: [dev, §dev]}}\n", false, []string{`the tag "dev" again, first given at line 1; expected each tag once`}},
	{"fixed tag twice", dev("    fixed-tags: [\"{{version}}\", §\"{{ version }}\"]\n"), true, []string{`the tag "{{ version }}" again`}},
	{"tag both moving and fixed", dev("    fixed-tags: [a, §dev]\n"), true, []string{`the tag "dev" as a fixed one, which is a moving one at line 4`}},
	{"tag both moving and fixed by name", dev("    fixed-tags: [§\"{{env}}\"]\n"), true, []string{`the tag "{{env}}" as a fixed one`}},
	{"two environments own one tag", two("    repository: ghcr.io/acme/app\n    tags: [prod, §dev]\n"), true, []string{`the tag "dev", which the environment "dev" owns in the same repository (line 4); expected a tag of its own`}},
	{"two owners, another spelling", two("    repository: GHCR.IO:443/acme/app\n    tags: [§dev]\n"), true, []string{"owns in the same repository"}},
	{"two owners through an image", "images: [x-a, a]\nenvironments:\n  dev: {repository: \"ghcr.io/x-{{image}}\", tags: [t]}\n  prod: {repository: \"ghcr.io/{{image}}\", tags: [§t]}\n", true, []string{`which the environment "dev" owns`}},
	{"two owners of a template", "environments:\n  dev: {repository: ghcr.io/a/b, tags: [dev], fixed-tags: [\"v{{version}}\"]}\n  prod: {repository: ghcr.io/a/b, tags: [prod], fixed-tags: [§\"v{{version}}\"]}\n", true, []string{`which the environment "dev" owns`, "such as {{env}}-v{{version}}"}},
	{"two owners of a date", "environments:\n  dev: {repository: ghcr.io/a/b, tags: [dev], fixed-tags: [\"{{date 'YYYY'}}\"]}\n  prod: {repository: ghcr.io/a/b, tags: [prod], fixed-tags: [§'{{ date \"YYYY\" }}']}\n", true, []string{`which the environment "dev" owns`}},
	{"two owners, one moving and one fixed", two("    repository: ghcr.io/acme/app\n    tags: [prod]\n    fixed-tags: [§dev]\n"), true, []string{"owns in the same repository"}},
	{"another's name by expression", "environments:\n  dev: {repository: ghcr.io/a/b, tags: [\"{{env}}\"]}\n  prod: {repository: ghcr.io/a/b, tags: [§dev]}\n", true, []string{"owns in the same repository"}},
	{"reserved tag", "environments: {dev: {repository: ghcr.io/a/b, tags: [§promotion-ledger.env.dev.a]}}\n", true, []string{`the tag "promotion-ledger.env.dev.a", which is reserved; expected a tag that does not begin with promotion-ledger. or promotion-keep.`}},
	{"reserved tag of a rollback target", "environments: {dev: {repository: ghcr.io/a/b, tags: [dev], fixed-tags: [§\"promotion-keep.{{version}}\"]}}\n", true, []string{`the tag "promotion-keep.{{version}}", which is reserved`}},
	{"reserved beginning", "environments: {dev: {repository: ghcr.io/a/b, tags: [§\"promotion-ledger.{{version}}\"]}}\n", true, []string{"which is reserved"}},
	{"reserved by name", "environments: {keep.x: {repository: ghcr.io/a/b, tags: [§\"promotion-{{env}}\"]}}\n", true, []string{"which is reserved"}},

	// Gates.
	{"check twice", gates("      checks: [e2e, §E2E]\n"), true, []string{`"E2E" again`}},
	{"checks without names", gates("      §checks: {repository: acme/app}\n"), false, []string{`checks without the key "names"`}},
	{"checks without a repository", gates("      §checks: {names: [a]}\n"), false, []string{`checks without the key "repository"`}},
	{"checks as text", gates("      checks: §e2e\n"), false, []string{`"e2e"; expected a list of checks`}},
	{"checks of an address", gates("      checks: {repository: §\"https://github.com/acme/app\", names: [a]}\n"), false, []string{"expected owner/name"}},
	{"checks of another expression", gates("      checks: {repository: §\"acme/{{env}}\", names: [a]}\n"), false, []string{"expected owner/name"}},
	{"checks with image without images", gates("      checks: {repository: §\"acme/{{image}}\", names: [a]}\n"), true, []string{"no images that it could stand for"}},
	{"no checks", gates("      checks: {repository: acme/app, names: §[]}\n"), false, []string{"an empty list"}},
	{"approvals without environments", gates("      §approvals: {distinct: true}\n"), false, []string{`approvals without the key "environments"`}},
	{"approvals of nobody", gates("      approvals: {environments: §[]}\n"), false, []string{"an empty list; expected a list of GitHub environments"}},
	{"approvals twice", gates("      approvals: {environments: [a, §A]}\n"), true, []string{`"A" again`}},
	{"approvals as a list", gates("      approvals: §[production]\n"), false, []string{"a list; expected {environments: [production]"}},
	{"distinct as a number", gates("      approvals: {environments: [a], distinct: §2}\n"), false, []string{"expected true or false"}},
	{"deny of no digest", gates("      deny: [{digest: §latest, reason: x}]\n"), false, []string{`"latest"; expected sha256: and 64 lower-case`}},
	{"deny of half a digest", gates("      deny: [{digest: §\"sha256:abc\", reason: x}]\n"), false, []string{"expected sha256: and 64"}},
	{"deny without a reason", gates("      deny:\n        - §digest: " + digestA + "\n"), false, []string{`a denied digest without the key "reason"`}},
	{"deny twice", gates("      deny:\n        - {digest: " + digestA + ", reason: a}\n        - {digest: §" + digestA + ", reason: b}\n"), true, []string{"again, first given at line 7"}},
	{"deny of text", gates("      deny: [§" + digestA + "]\n"), false, []string{"expected {digest:"}},
	{"freeze as text", gates("      freeze: §weekend\n"), false, []string{"expected a list of windows"}},
	{"freeze without an end", gates("      freeze: [§{from: 2026-12-20, timezone: UTC}]\n"), false, []string{`a freeze window without the key "to"`}},
	{"freeze without a zone", gates("      freeze: [§{from: 2026-12-20, to: 2026-12-24}]\n"), false, []string{`without the key "timezone"`}},
	{"freeze of a number", gates("      freeze: [{from: §20261220, to: 2026-12-24, timezone: UTC}]\n"), false, []string{"20261220, which YAML reads as a number"}},
	{"labels as a list", gates("      labels: §[a]\n"), false, []string{"expected patterns by the names of labels"}},
	{"label without a pattern", gates("      labels:\n        §a:\n"), false, []string{"no value; expected a pattern"}},
	{"expression without a name", gates("      expressions: [§{cel: \"true\"}]\n"), false, []string{`an expression without the key "name"`}},
	{"expression without a condition", gates("      expressions: [§{name: a}]\n"), false, []string{`an expression without the key "cel"`}},
	{"bad platform", gates("      platforms: [§linux]\n"), false, []string{`"linux" is no platform; expected os/arch`}},
	{"bad platform in upper case", gates("      platforms: [linux/amd64, §Linux/arm64]\n"), false, []string{`"Linux/arm64" is no platform`}},
	{"platform twice", gates("      platforms: [linux/amd64, §linux/amd64]\n"), false, []string{"again"}},
	{"unknown zone", gates("      freeze:\n        - {from: \"fri 16:00\", to: \"mon 08:00\", timezone: §Europe/Berlyn}\n"), true, []string{`"Europe/Berlyn" is not known`}},
	{"unknown day", gates("      freeze:\n        - {from: §fry 16:00, to: \"mon 08:00\", timezone: UTC}\n"), true, []string{`"fry" is no day of the week`}},
	{"unknown day at the end", gates("      freeze:\n        - {from: fri 16:00, to: §mun 08:00, timezone: UTC}\n"), true, []string{`"mun" is no day of the week`}},
	{"no such date", gates("      freeze:\n        - from: 2026-12-20\n          to: §2027-02-30\n          timezone: UTC\n"), true, []string{"no such date"}},
	{"no such date at the beginning", gates("      freeze: [{from: §2027-02-30, to: 2027-03-01, timezone: UTC}]\n"), true, []string{"no such date"}},
	{"a window of two kinds", gates("      freeze: [{from: 2027-02-20, to: §mon 10:00, timezone: UTC}]\n"), true, []string{"are not of one kind"}},
	{"a window that ends before", gates("      freeze: [{from: 2027-02-20, to: §2027-02-19, timezone: UTC}]\n"), true, []string{"is not before"}},
	{"bad pattern", gates("      labels:\n        a.b: §\"v[0-9\"\n"), true, []string{`"v[0-9" is no pattern`, "missing closing ]"}},
	{"bad CEL", gates("      expressions:\n        - name: a\n          cel: actor == §bot\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL in quotes", gates("      expressions: [{name: a, cel: 'actor == §bot'}]\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL in double quotes", gates("      expressions: [{name: é, cel: \"'é' == §bot\"}]\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL behind escapes", gates("      expressions: [{name: a, cel: §\"actor == \\\"x\\\" && bot\"}]\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL in a block", gates("      expressions:\n        - name: a\n          cel: |\n\n            actor == \"x\" &&\n              §bot\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL in a stripped block", gates("      expressions:\n        - name: a\n          cel: |2- # why\n              actor == \"x\" &&\n            §bot\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL in a folded block", gates("      expressions:\n        - name: a\n          cel: §>\n            actor == \"x\" &&\n            bot\n"), true, []string{"undeclared reference to 'bot'"}},
	{"bad CEL over two lines", gates("      expressions:\n        - name: a\n          cel: §actor == \"x\" &&\n            bot\n"), true, []string{"undeclared reference to 'bot'"}},
	{"CEL of a number", gates("      expressions: [{name: a, cel: §1 + 1}]\n"), true, []string{"not true or false"}},
	{"expression's name twice", gates("      expressions: [{name: a, cel: actor == \"x\"}, {name: §a, cel: actor == \"y\"}]\n"), true, []string{`"a" again, first given at line 6; expected a name of its own`}},
	{"expression as a boolean", gates("      expressions: [{name: a, cel: §true}]\n"), false, []string{`"true" in quotes`}},
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range faultTable {
		t.Run(tt.name, func(t *testing.T) { refuses(t, tt.text, tt.want) })
	}
}

// refuses expects one fault, at the marker.
func refuses(t *testing.T, marked string, want []string) {
	t.Helper()
	text := strings.Replace(marked, marker, "", 1)
	before, _, placed := strings.Cut(marked, marker)
	place := "promotion.yml: "
	if placed {
		line := strings.Count(before, "\n") + 1
		column := utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
		place = fmt.Sprintf("promotion.yml:%d:%d: ", line, column)
	}
	c, err := Parse("promotion.yml", []byte(text))
	var faults *Error
	if !errors.As(err, &faults) || c != nil {
		t.Fatalf("Parse gave %v and %v, want an *Error\n%s", c, err, text)
	}
	message := err.Error() + "\n"
	if len(faults.Faults) != 1 {
		t.Errorf("%d faults, want one", len(faults.Faults))
	}
	if !strings.HasPrefix(message, place) {
		t.Errorf("want the place %s", place)
	}
	for _, w := range want {
		if !strings.Contains(message, w) {
			t.Errorf("want %q", w)
		}
	}
	if t.Failed() {
		t.Logf("%s\ngives\n%s", text, message)
	}
}

// TestParseRefusesBytes is what is no YAML, or too much of it.
func TestParseRefusesBytes(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no UTF-8", "a: \xff\n", "promotion.yml:1:4: given the byte 0xff, which is not UTF-8; expected a file in UTF-8"},
		{"NUL", "a: b\nc: é\x00\n", "promotion.yml:2:5: given the control character U+0000"},
		{"delete", "a: \x7f\n", "promotion.yml:1:4: given the control character U+007F"},
		{"next line", "a: \u0085\n", "promotion.yml:1:4: given the control character U+0085"},
		{"carriage return alone", "a: b\rc: d\n", "promotion.yml:1:5: given the control character U+000D"},
		{"tab before", "a:\n\tb: c\n", "promotion.yml:2:1: given a tab; expected blanks"},
		{"tab within", "a: b\t# c\n", "promotion.yml:1:5: given a tab"},
		{"too large", strings.Repeat("#", 1<<20+1), "promotion.yml: given a file of 1048577 bytes; expected at most 1048576"},
		{"too many lines", strings.Repeat("\n", 5000), "promotion.yml: given a file with 5001 lines; expected at most 5000"},
		{"too many colons", strings.Repeat(":", 8001), "promotion.yml: given a file with 8001 colons; expected at most 8000"},
		{"too many brackets", strings.Repeat("[", 1001) + strings.Repeat("{", 1000), "promotion.yml: given a file with 2001 brackets"},
		{"too much indentation", "a:\n" + strings.Repeat(" ", 201) + "b\n", "promotion.yml:2:202: given a line that is indented by 201; expected at most 200"},
		{"too many levels in a line", "a:\n  " + strings.Repeat("- ", 16) + "b\n", "promotion.yml:2:3: given a line that opens 16 levels or more"},
		{"too deep in brackets", "images: " + strings.Repeat("[", 20) + strings.Repeat("]", 20), "a value that is nested too deeply"},
		{"several documents", dev("") + "---\nb: c\n", "promotion.yml:6:1: given a second YAML document; expected one document"},
		{"directive", "%YAML 1.2\n---\n" + dev(""), "a second YAML document"},
		{"bracket that is not closed", "environments: [a\n", "promotion.yml:1:15: given text that is no YAML"},
		{"expression without quotes", dev("    fixed-tags: [{{env}}]\n"), `expected quotes around a value with {{ }} in it, as in "{{env}}-latest"`},
		{"colon in a value", "environments: a: b\n", "promotion.yml:1:15: given text that is no YAML"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("promotion.yml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("gives %v, want %s", err, tt.want)
			}
		})
	}
}

// TestParseGolden reads whole files: those that are good, and what is said about
// the others.
func TestParseGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(".github/promotion.yml", raw)
			if strings.HasPrefix(filepath.Base(file), "good-") {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("was read without a fault")
			}
			golden(t, strings.TrimSuffix(file, ".yml")+".golden", []byte(err.Error()+"\n"))
		})
	}
}

func TestErrorIsBounded(t *testing.T) {
	_, err := Parse("a\x1b.yml", []byte(dev("    gates:\n      deny: ["+strings.Repeat("1,", 150)+"]\n")))
	var faults *Error
	if !errors.As(err, &faults) || len(faults.Faults) != maxFaults || faults.More != 50 {
		t.Fatalf("%v", err)
	}
	text := err.Error()
	if !strings.HasSuffix(text, `and 50 more in a\x1b.yml`) || strings.Contains(text, "\x1b") || len(text) > 100_000 {
		t.Errorf("%d bytes, ending in %q", len(text), text[len(text)-40:])
	}
}

func TestErrorEscapesTheSource(t *testing.T) {
	_, err := Parse("p.yml", []byte("é: \u202e\"x\n"))
	want := "\n  1 | \\u00e9: \\u202e\"x\n    | ^\n"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v", err)
	}
}

func TestParseTakesWhatEditorsWrite(t *testing.T) {
	want, err := Parse("p", []byte(dev("")))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"\ufeff" + dev(""), strings.ReplaceAll(dev(""), "\n", "\r\n"), "# first\n---\n" + dev("") + "...\n", dev("") + "---\n",
		"# - - - - - - - - - - - - - - - - - - -\n" + dev(""),
	} {
		got, err := Parse("p", []byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got.Digest == want.Digest {
			t.Error("the digest is not of the bytes as they are")
		}
		if got.Environments[0].Name != "dev" || got.Environments[0].Tags[0].String() != "dev" {
			t.Errorf("%q: the environments are %v", text, got.Names())
		}
	}
}
