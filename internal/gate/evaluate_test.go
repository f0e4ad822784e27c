package gate

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

const (
	digestA  = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB  = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	digestC  = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
	revision = "0123456789abcdef0123456789abcdef01234567"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// good is evidence that passes every gate of strict.
func good() Evidence {
	variant := func(platform, digest string) Variant {
		return Variant{Platform: platform, Digest: digest, Created: now.Add(-19*time.Hour - 12*time.Minute), Labels: map[string]string{
			labelRevision: revision, labelSource: "https://github.com/acme/app", labelVersion: "1.4.2",
		}}
	}
	return Evidence{
		Now: now, Environment: "production", Actor: "alice", Persons: []string{"alice"},
		Source: Source{Reference: "ghcr.io/acme/app:staging", Repository: "ghcr.io/acme/app", Tag: "staging"},
		Target: Target{Repository: "registry.acme.example/prod/app", Tags: []string{"production"}},
		Image: Image{
			Name: "app", Digest: digestA, MediaType: "application/vnd.oci.image.index.v1+json", Size: 1 << 20,
			Variants: []Variant{variant("linux/amd64", digestB), variant("linux/arm64", digestC)},
			Digests:  []string{digestA, digestB, digestC},
		},
		Previous:  &Image{Digest: digestB, Variants: []Variant{{Platform: "linux/amd64", Labels: map[string]string{labelVersion: "1.4.1"}}}},
		From:      &Held{Environment: "staging", Reference: "ghcr.io/acme/app:staging", Digest: digestA, Recorded: true, Record: digestA, Since: now.Add(-25 * time.Hour)},
		Checks:    CheckEvidence{Repository: "acme/app", Commit: revision, List: []Check{{Name: "e2e", State: CheckPassed}}},
		Approvals: ApprovalEvidence{List: []Approval{{"production", "bob", true}}},
		Order:     OrderEvidence{Repository: "acme/app", Relation: Ahead},
	}
}

// strict has every gate.
func strict(t testing.TB) Policy {
	return Policy{
		Soak:        24 * time.Hour,
		Platforms:   []Platform{mustPlatform(t, "linux/amd64")},
		Freeze:      []Window{mustWindow(t, "fri 16:00", "fri 20:00", "")},
		Checks:      &CheckPolicy{Names: []string{"e2e"}},
		Approvals:   &ApprovalPolicy{Environments: []string{"production"}, NotActor: true},
		MaxAge:      24 * time.Hour,
		Deny:        []Denial{{Digest: "sha256:" + strings.Repeat("d", 64)}},
		NoDowngrade: true,
		Labels:      []Label{mustLabel(t, labelVersion, `[0-9.]+`)},
		Expressions: []Expression{mustExpression(t, "one", "true"), mustExpression(t, "two", "size(platforms) == 2")},
	}
}

func mustPlatform(t testing.TB, text string) Platform {
	t.Helper()
	p, err := ParsePlatform(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustLabel(t testing.TB, name, pattern string) Label {
	t.Helper()
	l, err := ParseLabel(name, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustExpression(t testing.TB, name, text string) Expression {
	t.Helper()
	x, err := ParseExpression(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// judgement is a case of one gate: evidence that is good but for one change.
type judgement struct {
	what    string
	change  func(*Evidence)
	status  document.Status
	message string // part of it
}

func (j judgement) check(t *testing.T, gate string, policy Policy) {
	t.Helper()
	e := good()
	if j.change != nil {
		j.change(&e)
	}
	var got []document.Verdict
	for _, v := range policy.Evaluate(e) {
		if v.Gate == gate {
			got = append(got, v)
		}
	}
	if len(got) != 1 {
		t.Errorf("%s: %d verdicts", j.what, len(got))
		return
	}
	if got[0].Status != j.status || !strings.Contains(got[0].Message, j.message) {
		t.Errorf("%s:\n got %s: %s\nwant %s: %s", j.what, got[0].Status, got[0].Message, j.status, j.message)
	}
	if got[0].FreeAt != nil || got[0].Overridden {
		t.Errorf("%s: %+v", j.what, got[0])
	}
}

func TestEvaluateJudgesEveryGateInOrder(t *testing.T) {
	var order []string
	for _, v := range strict(t).Evaluate(good()) {
		order = append(order, v.Gate+v.Name)
		if v.Status != document.Pass || v.Message == "" {
			t.Errorf("%+v", v)
		}
	}
	want := append(slices.Clone(Names[:len(Names)-2]), Expressions+"one", Expressions+"two") // nothing was rolled back from
	if !slices.Equal(order, want) {
		t.Errorf("%v, want %v", order, want)
	}
}

// TestEvaluateGoesOn has nothing but a source that was refused: every gate has
// its say all the same, and none takes what is not known for a pass.
func TestEvaluateGoesOn(t *testing.T) {
	policy := strict(t)
	policy.Freeze = []Window{mustWindow(t, "sun 00:00", "sun 24:00", "")}
	want := map[string]document.Status{
		From: document.Fail, Soak: document.Fail, Platforms: document.Fail, Freeze: document.Pending, Checks: document.Unknown, Approvals: document.Unknown,
		MaxAge: document.Unknown, Deny: document.Unknown, NoDowngrade: document.Unknown, Labels: document.Unknown, Expressions: document.Unknown,
	}
	want[RolledBack] = document.Fail
	got := policy.Evaluate(Evidence{Now: now, From: &Held{}, Previous: &Image{Digest: digestB}, RolledBack: &Rollback{}})
	if len(got) != len(Names)+1 {
		t.Errorf("%d verdicts: %+v", len(got), got)
	}
	for _, v := range got {
		if v.Status != want[v.Gate] || v.Passes() {
			t.Errorf("%+v, want %s", v, want[v.Gate])
		}
	}
}

func TestNoPolicyHasNoVerdicts(t *testing.T) {
	e := good()
	e.From = nil
	if got := (Policy{}).Evaluate(e); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestFacts(t *testing.T) {
	for what, test := range map[string]struct {
		policy Policy
		want   Facts
	}{
		"nothing":     {Policy{}, Facts{}},
		"freeze":      {Policy{Freeze: []Window{{}}}, Facts{}},
		"deny":        {Policy{Deny: []Denial{{}}}, Facts{}},
		"soak":        {Policy{Soak: 1}, Facts{Records: true}},
		"platforms":   {Policy{Platforms: []Platform{{}}}, Facts{Image: true}},
		"labels":      {Policy{Labels: []Label{{}}}, Facts{Image: true}},
		"expressions": {Policy{Expressions: []Expression{{}}}, Facts{Image: true}},
		"max-age":     {Policy{MaxAge: 1}, Facts{Image: true}},
		"checks":      {Policy{Checks: &CheckPolicy{}}, Facts{Image: true, Checks: true}},
		"approvals":   {Policy{Approvals: &ApprovalPolicy{}}, Facts{Approvals: true}},
		"downgrade":   {Policy{NoDowngrade: true}, Facts{Image: true, Previous: true, Order: true}},
	} {
		if got := test.policy.Facts(); got != test.want {
			t.Errorf("%s: %+v, want %+v", what, got, test.want)
		}
	}
}

func TestFrom(t *testing.T) {
	for _, j := range []judgement{
		{"it holds it", nil, document.Pass, "staging holds it (ghcr.io/acme/app:staging)"},
		{"it held it", func(e *Evidence) { e.From.Planned = true }, document.Pass, "staging held it when the plan was made (ghcr.io/acme/app:staging)"},
		{"another", func(e *Evidence) { e.From.Digest, e.From.Record = digestB, digestB }, document.Fail,
			"staging holds sha256:bbbbbbbbbbbb (ghcr.io/acme/app:staging), and the image is sha256:aaaaaaaaaaaa; promote the image to staging first"},
		{"another by its tag alone", func(e *Evidence) { e.From.Digest = digestB }, document.Fail, "staging holds sha256:bbbbbbbbbbbb"},
		{"held another", func(e *Evidence) { e.From.Digest, e.From.Planned = digestB, true }, document.Fail, "staging held, when the plan was made, sha256:bbbbbbbbbbbb"},
		{"no tag", func(e *Evidence) { e.From.Digest = "" }, document.Fail, "the tag ghcr.io/acme/app:staging does not exist; promote the image to staging first"},
		{"nothing is nothing", func(e *Evidence) { e.From.Digest, e.From.Record, e.Image.Digest = "", "", "" }, document.Fail, "does not exist"},
		{"not readable", func(e *Evidence) { e.From.Err = errors.New("denied\nby \x1b[31mghcr.io") }, document.Unknown,
			`could not be read from ghcr.io/acme/app:staging: denied by \x1b[31mghcr.io; see that the run may read`},
		{"an error is no pass", func(e *Evidence) { e.From.Err, e.From.Planned = errors.New("x"), true }, document.Unknown, "could not be read"},
		{"no digest", func(e *Evidence) { e.From.Digest = "sha256:\x1b[0m" }, document.Fail, `holds "sha256:\x1b[0m"`},

		{"another by its record", func(e *Evidence) { e.From.Record = digestB }, document.Fail,
			"staging was changed outside of promotion: its tag ghcr.io/acme/app:staging holds sha256:aaaaaaaaaaaa, and its last record says sha256:bbbbbbbbbbbb; promote the image to staging, which records it, or see with mode: audit"},
		{"a hostile record", func(e *Evidence) { e.From.Record = "sha256:\x1b[0m" }, document.Fail, `its last record says "sha256:\x1b[0m"`},
		{"it held it, whatever the record says now", func(e *Evidence) { e.From.Planned, e.From.Record = true, digestB }, document.Pass, "held it when the plan was made"},
		{"it held it, whatever can be read now", func(e *Evidence) { e.From.Planned, e.From.LedgerErr = true, errors.New("x") }, document.Pass, "held it when the plan was made"},
		{"records not readable", func(e *Evidence) { e.From.LedgerErr = errors.New("ledger\nlost") }, document.Unknown,
			"the records of staging could not be read beside ghcr.io/acme/app:staging: ledger lost; see that the run may read"},
		{"records not readable are not none", func(e *Evidence) { e.From.LedgerErr, e.From.Recorded = errors.New("x"), false }, document.Unknown, "could not be read"},
		{"a promotion that has not ended", func(e *Evidence) { e.From.Open = "a promotion of x\nhas not ended" }, document.Unknown, "a promotion of x has not ended"},
		{"it held it, whatever moves now", func(e *Evidence) { e.From.Planned, e.From.Open = true, "x" }, document.Pass, "held it when the plan was made"},
		{"no records", unrecorded, document.Pass, "staging holds it (ghcr.io/acme/app:staging); only its tag says so: no record tells"},
		{"none that says what it holds", func(e *Evidence) { e.From.Record = "" }, document.Pass, "only its tag says so"},
		{"no records, and another", func(e *Evidence) { unrecorded(e); e.From.Digest = digestB }, document.Fail, "staging holds sha256:bbbbbbbbbbbb"},
		{"since when does not matter", func(e *Evidence) { e.From.Since = time.Time{} }, document.Pass, "staging holds it"},
	} {
		j.check(t, From, Policy{})
	}
}

func unrecorded(e *Evidence) { e.From.Recorded, e.From.Record, e.From.Since = false, "", time.Time{} }

func TestForRollbackKeepsWhatDenies(t *testing.T) {
	policy := strict(t)
	got := policy.ForRollback()
	if !reflect.DeepEqual(got, Policy{Deny: policy.Deny}) || len(got.Deny) == 0 {
		t.Errorf("%+v", got)
	}
	policy.Deny[0].Digest = digestC
	e := good()
	e.From = nil
	if verdicts := policy.ForRollback().Evaluate(e); len(verdicts) != 1 || verdicts[0].Gate != Deny || verdicts[0].Passes() {
		t.Errorf("%+v", verdicts)
	}
}

func TestParsePlatform(t *testing.T) {
	for _, text := range []string{"linux/amd64", "linux/arm/v7", "windows/amd64", "wasip1/wasm"} {
		if p, err := ParsePlatform(text); err != nil || p.String() != text {
			t.Errorf("%s: %v, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "linux", "linux/", "/amd64", "linux//v8", "linux/arm64/", "linux/arm64/v8/x", "Linux/amd64", "linux/AMD64", "linux/x86_64", " linux/amd64", "linux/amd64\n", "linux,amd64", strings.Repeat("a", 40) + "/b"} {
		p, err := ParsePlatform(text)
		var fault *Error
		if !errors.As(err, &fault) || p != (Platform{}) || !strings.Contains(fault.Given, quote(text)) || !strings.Contains(fault.Expected, "linux/arm/v7") {
			t.Errorf("%q: %v, %v", text, p, err)
		}
	}
}

func TestPlatforms(t *testing.T) {
	for _, test := range []struct {
		wanted, has string
		status      document.Status
		message     string
	}{
		{"linux/amd64", "linux/amd64", document.Pass, "it is built for linux/amd64"},
		{"linux/arm64 linux/amd64", "linux/amd64 linux/arm64", document.Pass, "it is built for linux/arm64 and linux/amd64"},
		{"linux/arm64", "linux/arm64/v8", document.Pass, "linux/arm64"},
		{"linux/arm64/v8", "linux/arm64", document.Pass, "linux/arm64/v8"},
		{"linux/amd64/v1", "linux/amd64", document.Pass, "linux/amd64/v1"},
		{"linux/amd64", "linux/amd64/v1", document.Pass, ""},
		{"linux/amd64", "linux/amd64/v3", document.Fail, "it is not built for linux/amd64, only for linux/amd64/v3"},
		{"linux/amd64/v3", "linux/amd64", document.Fail, "not built for linux/amd64/v3"},
		{"linux/arm64", "linux/arm64/v9", document.Fail, ""},
		{"linux/arm", "linux/arm/v5", document.Pass, ""},
		{"linux/arm", "linux/arm", document.Pass, ""},
		{"linux/arm", "linux/arm64", document.Fail, ""},
		{"linux/arm/v7", "linux/arm/v6", document.Fail, ""},
		{"linux/arm/v7", "linux/arm", document.Fail, ""},
		{"linux/amd64", "windows/amd64", document.Fail, ""},
		{"linux/amd64 linux/arm64 linux/s390x", "linux/arm64", document.Fail,
			"it is not built for linux/amd64 and linux/s390x, only for linux/arm64; build it for linux/amd64 and linux/s390x too"},
		{"linux/amd64", "", document.Fail, "no image with platforms"},
		{"linux/amd64", "linux/amd64\x1b[31m", document.Fail, `only for "linux/amd64\x1b[31m"`},
		{"linux/amd64", "unknown/unknown/x/y", document.Fail, `only for "unknown/unknown/x/y"`},
		{"linux/riscv64", "a/1 a/2 a/3 a/4 a/5 a/6 a/7 a/8 a/9 a/10", document.Fail, "a/8 and 2 more; build"},
	} {
		var policy Policy
		for text := range strings.FieldsSeq(test.wanted) {
			policy.Platforms = append(policy.Platforms, mustPlatform(t, text))
		}
		judgement{test.wanted + " of " + test.has, func(e *Evidence) {
			e.Image.Variants = nil
			for text := range strings.FieldsSeq(test.has) {
				e.Image.Variants = append(e.Image.Variants, Variant{Platform: text})
			}
		}, test.status, test.message}.check(t, Platforms, policy)
	}
}

func TestDeny(t *testing.T) {
	deny := func(digests ...string) Policy {
		var p Policy
		for _, d := range digests {
			p.Deny = append(p.Deny, Denial{Digest: d, Reason: "CVE-2026-0001"})
		}
		return p
	}
	layer := "sha256:" + strings.Repeat("e", 64)
	withLayer := func(e *Evidence) { e.Image.Digests = append(e.Image.Digests, layer) }
	for _, test := range []struct {
		policy Policy
		j      judgement
	}{
		{deny(layer), judgement{"nothing", nil, document.Pass, "nothing of it is denied (3 digests, 1 denial)"}},
		{deny(digestA), judgement{"the image", nil, document.Fail, "the image (" + digestA + ") is denied: CVE-2026-0001; promote"}},
		{deny(digestC), judgement{"a platform", nil, document.Fail, "the image for linux/arm64 (" + digestC + ") is denied: CVE-2026-0001"}},
		{deny(layer), judgement{"a layer", withLayer, document.Fail, "a part of the image: a layer, a configuration or an attachment (" + layer + ") is denied"}},
		{deny("x", layer, digestA), judgement{"two", withLayer, document.Fail, "is denied: CVE-2026-0001; the image ("}},
		{deny(strings.ToUpper(layer)), judgement{"upper case", withLayer, document.Fail, "is denied"}},
		{deny(layer), judgement{"nothing known", func(e *Evidence) { e.Image.Digests = nil }, document.Unknown, "is not known"}},
		{deny(digestA), judgement{"the image, nothing else known", func(e *Evidence) { e.Image.Digests = nil }, document.Fail, "is denied"}},
		{deny(digestA), judgement{"an artifact", func(e *Evidence) { e.Image.Variants = nil }, document.Fail, "is denied"}},
		{Policy{Deny: []Denial{{Digest: digestA}}}, judgement{"no reason", nil, document.Fail, ") is denied; promote"}},
	} {
		test.j.check(t, Deny, test.policy)
	}
}

func TestMaxAge(t *testing.T) {
	built := func(times ...time.Time) func(*Evidence) {
		return func(e *Evidence) {
			for i, created := range times {
				e.Image.Variants[i].Created = created
			}
		}
	}
	labelled := func(text string) func(*Evidence) {
		return func(e *Evidence) { e.Image.Variants[1].Labels[labelCreated] = text }
	}
	for _, j := range []judgement{
		{"young", nil, document.Pass, "built at 2026-11-21 16:48 UTC, 19 h 12 min ago; 24 h is the most"},
		{"just", built(now.Add(-24 * time.Hour)), document.Pass, "the image for linux/amd64 was built at 2026-11-21 12:00 UTC, 24 h ago"},
		{"a second too old", built(now.Add(-24*time.Hour - time.Second)), document.Fail, "24 h 1 min ago; 24 h is the most; build it again"},
		{"the second is older", built(now, now.Add(-25*time.Hour)), document.Fail, "the image for linux/arm64 was built at 2026-11-21 11:00 UTC, 25 h ago"},
		{"not known", built(now, time.Time{}), document.Unknown, "for linux/arm64 was built is not known: it does not say; reproducible builds"},
		{"1970", built(time.Unix(0, 0)), document.Unknown, "it says 1970-01-01 00:00 UTC"},
		{"1980", built(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)), document.Unknown, labelCreated},
		{"1999", built(earliest.Add(-time.Second)), document.Unknown, "it says 1999-12-31 23:59 UTC"},
		{"2000", built(earliest), document.Fail, "build it again"},
		{"the clock is a little ahead", built(now.Add(5*time.Minute), now.Add(time.Minute)), document.Pass, "less than 1 min ago"},
		{"still to come", built(now.Add(5*time.Minute + time.Second)), document.Unknown, "still to come (it is 2026-11-22 12:00 UTC)"},
		{"one still to come, one too old", built(now.Add(-99*time.Hour), now.Add(time.Hour)), document.Unknown, "the image for linux/arm64 was built at 2026-11-22 13:00 UTC"},
		{"label", func(e *Evidence) { built(now, time.Unix(0, 0))(e); labelled("2026-11-22T12:00:00+02:00")(e) }, document.Pass, "built at 2026-11-22 10:00 UTC, 2 h ago"},
		{"label too old", labelled("2026-11-20T12:00:00Z"), document.Fail, "48 h ago"},
		{"label that is no time", labelled("yesterday"), document.Pass, "19 h 12 min"},
		{"label that says nothing", labelled("0001-01-01T00:00:00Z"), document.Unknown, "it does not say"},
		{"artifact", func(e *Evidence) { e.Image.Variants = nil }, document.Unknown, "no image with platforms"},
	} {
		j.check(t, MaxAge, Policy{MaxAge: 24 * time.Hour})
	}
}

func TestLabels(t *testing.T) {
	set := func(n int, value string) func(*Evidence) {
		return func(e *Evidence) { e.Image.Variants[n].Labels["team"] = value }
	}
	both := func(value string) func(*Evidence) {
		return func(e *Evidence) { set(0, value)(e); set(1, value)(e) }
	}
	for _, test := range []struct {
		pattern string
		j       judgement
	}{
		{"blue|red", judgement{"one", both("red"), document.Pass, `it has "team" as asked for`}},
		{"blue|red", judgement{"a part", both("redo"), document.Fail, `"team" is "redo" and must match "blue|red" for linux/amd64 and linux/arm64; build`}},
		{"blue|red", judgement{"the other part", both("a blue"), document.Fail, `"a blue"`}},
		{"blue", judgement{"one more line", both("blue\nred"), document.Fail, `"blue\nred"`}},
		{"blue", judgement{"a line's end", both("blue\n"), document.Fail, `"blue\n"`}},
		{"(?m)blue$", judgement{"lines", both("blue\nred"), document.Fail, `"blue\nred"`}},
		{"blue", judgement{"on one", set(1, "blue"), document.Fail, `"team" is missing for linux/amd64; build`}},
		{"blue", judgement{"on none", nil, document.Fail, `"team" is missing for linux/amd64 and linux/arm64`}},
		{"blue", judgement{"differ", func(e *Evidence) { set(0, "blue")(e); set(1, "red")(e) }, document.Fail, `"team" is "red" and must match "blue" for linux/arm64`}},
		{".*", judgement{"empty", both(""), document.Pass, "as asked for"}},
		{".+", judgement{"empty, and must not be", both(""), document.Fail, `is ""`}},
		{"(?s).*", judgement{"too long", both(strings.Repeat("x", maxLabelValue+1)), document.Fail, "…"}},
		{"(?s).*", judgement{"long", both(strings.Repeat("x", maxLabelValue)), document.Pass, ""}},
		{"x", judgement{"no image", func(e *Evidence) { e.Image.Variants = nil }, document.Unknown, "has no labels"}},
	} {
		test.j.check(t, Labels, Policy{Labels: []Label{mustLabel(t, "team", test.pattern)}})
	}
	judgement{"several", both("red"), document.Fail, `"x" is missing for linux/amd64 and linux/arm64; "y" is missing`}.
		check(t, Labels, Policy{Labels: []Label{mustLabel(t, "x", "."), mustLabel(t, "team", "red"), mustLabel(t, "y", ".")}})
	judgement{"zero value", both("red"), document.Fail, "missing"}.check(t, Labels, Policy{Labels: []Label{{}}})
}

func TestParseLabelRefuses(t *testing.T) {
	for _, test := range []struct{ name, pattern, given string }{
		{"", "x", "no name of a label"},
		{"team", "", "no pattern"},
		{"team", "(", "missing closing )"},
		{"team", "a)|(?:b", "unexpected )"},
		{"team", `\Qa`, "is no pattern"},
		{"team", "a**", `"a**" is no pattern: invalid nested repetition operator: "**"`},
		{"team", "(?=a)", "invalid or unsupported Perl syntax"},
		{"team", "((a{1000}){1000})", "expression nests too deeply|invalid repeat count"},
		{"team", strings.Repeat("a", maxPattern+1), "1025 bytes"},
		{"team", "a\xff", "invalid UTF-8"},
	} {
		_, err := ParseLabel(test.name, test.pattern)
		var fault *Error
		if !errors.As(err, &fault) || !slices.ContainsFunc(strings.Split(test.given, "|"), func(s string) bool { return strings.Contains(fault.Given, s) }) || fault.Expected == "" {
			t.Errorf("%.40q: %v; want %q", test.pattern, err, test.given)
		}
	}
}
