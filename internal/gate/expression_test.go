package gate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/artifact-promotion/promote/internal/document"
)

func TestExpressions(t *testing.T) {
	label := func(n int, name, value string) func(*Evidence) {
		return func(e *Evidence) { e.Image.Variants[n].Labels[name] = value }
	}
	for _, test := range []struct {
		text string
		j    judgement
	}{
		{"true", judgement{"", nil, document.Pass, "it is true for linux/amd64 and linux/arm64"}},
		{"1 > 2", judgement{"", nil, document.Fail, "it is false for linux/amd64 and linux/arm64: 1 > 2"}},
		{`image.name == "app" && image.digest == "` + digestA + `" && image.mediaType.endsWith("index.v1+json")`, judgement{"", nil, document.Pass, ""}},
		{`image.repository == "ghcr.io/acme/app" && image.size == 1048576 && image.platforms == platforms`, judgement{"", nil, document.Pass, ""}},
		{`image.labels == labels && image.labels["` + labelVersion + `"] == "1.4.2"`, judgement{"", nil, document.Pass, ""}},
		{`platforms == ["linux/amd64", "linux/arm64"] && size(platforms) == 2`, judgement{"", nil, document.Pass, ""}},
		{`source.reference == "ghcr.io/acme/app:staging" && source.repository == "ghcr.io/acme/app" && source.tag == "staging"`, judgement{"", nil, document.Pass, ""}},
		{`target.repository.startsWith("registry.acme.example/") && "production" in target.tags && target.tags.all(t, t.matches("^[a-z]+$"))`, judgement{"", nil, document.Pass, ""}},
		{`environment == "production" && actor == "alice" && commit == "` + revision + `"`, judgement{"", nil, document.Pass, ""}},
		{`now == timestamp("2026-11-22T12:00:00Z") && now.getDayOfWeek() == 0 && now.getHours("Europe/Berlin") == 13`, judgement{"", nil, document.Pass, ""}},
		{`now - image.created == duration("19h12m")`, judgement{"", nil, document.Pass, ""}},
		{`image.created == timestamp("2026-11-20T00:00:00Z")`, judgement{"the label is preferred, on its platform", label(1, labelCreated, "2026-11-20T00:00:00Z"), document.Fail, "it is false for linux/amd64: image.created"}},
		{`image.created > timestamp("2000-01-01T00:00:00Z")`, judgement{"not known", func(e *Evidence) { e.Image.Variants[1].Created = time.Time{} }, document.Unknown, "it cannot be told for linux/arm64: \"no such key: created\""}},
		{`commit == ""`, judgement{"no revision", label(0, labelRevision, ""), document.Pass, ""}},
		{`commit == ""`, judgement{"a branch", label(0, labelRevision, "main"), document.Pass, ""}},
		{`labels["team"] == "red"`, judgement{"on one platform", label(0, "team", "red"), document.Unknown, `it cannot be told for linux/arm64: "no such key: team"; ask first whether it is there, as in "key" in labels && labels["key"] == "value" (labels["team"] == "red")`}},
		{`labels["team"] == "red"`, judgement{"false on one, missing on the other", label(0, "team", "blue"), document.Fail, "it is false for linux/amd64: labels"}},
		{`"team" in labels && labels["team"] == "red"`, judgement{"the hint", label(0, "team", "red"), document.Fail, "false for linux/arm64"}},
		{`!("team" in labels)`, judgement{"no labels at all", func(e *Evidence) { e.Image.Variants[0].Labels = nil }, document.Pass, ""}},
		{`image.lables["x"] == "y"`, judgement{"misspelt in a map", nil, document.Unknown, "no such key: lables"}},
		{`image.name > 1`, judgement{"another type at last", nil, document.Unknown, "no such overload"}},
		{`labels[labels["n"]] == "y"`, judgement{"hostile value", func(e *Evidence) { everywhere(e, "n", "\x1b[31m"+strings.Repeat("x", 500)) }, document.Unknown, `"no such key: \x1b[31mxx`}},
		{`labels.all(k, labels.all(l, labels.all(m, labels.all(n, k + l + m + n != ""))))`, judgement{"costly", func(e *Evidence) {
			for n := range 200 {
				label(0, fmt.Sprint(n), "x")(e)
			}
		}, document.Unknown, "it takes too long; make it simpler"}},
		{`commit.matches("^[0-9a-f]{40}$") && matches(actor, "a.{3}e")`, judgement{"counts", nil, document.Pass, ""}},
		{`labels["p"].matches("^((a?){9}){9}b$")`, judgement{"a long text", func(e *Evidence) { everywhere(e, "p", strings.Repeat("a", 1<<20)) }, document.Unknown, "it takes too long"}},
		{`target.tags[7] == ""`, judgement{"out of bounds", nil, document.Unknown, "index out of bounds: 7"}},
		{`true`, judgement{"artifact", func(e *Evidence) { e.Image.Variants = nil }, document.Unknown, "nothing to judge"}},
		{`false`, judgement{"no platform's name", func(e *Evidence) { e.Image.Variants = []Variant{{}} }, document.Fail, `it is false for an unknown platform`}},
	} {
		test.j.what += " " + test.text
		test.j.check(t, Expressions, Policy{Expressions: []Expression{mustExpression(t, "", test.text)}})
	}
	judgement{"zero value", nil, document.Unknown, "never compiled"}.check(t, Expressions, Policy{Expressions: []Expression{{}}})
}

func TestExpressionNames(t *testing.T) {
	long := "size(\n" + `"` + strings.Repeat("x", 200) + `") > 0`
	p := Policy{Expressions: []Expression{mustExpression(t, "base\x1b image is ours", "true"), mustExpression(t, "", long)}}
	e := good()
	e.From = nil
	got := p.Evaluate(e)
	if got[0].Name != `base\x1b image is ours` || got[1].Name != quote(long) || len(got[1].Name) > maxQuoted {
		t.Errorf("%+v", got)
	}
}

func TestParseExpressionRefuses(t *testing.T) {
	for _, test := range []struct {
		text, given  string
		line, column int
	}{
		{"", "no condition", 0, 0},
		{" \n", "no condition", 0, 0},
		{"imge.name == 'x'", "undeclared reference to 'imge'", 1, 1},
		{"true &&\n  lables['x'] == 'y'", "undeclared reference to 'lables'", 2, 3},
		{"'äöü€' == actr", "undeclared reference to 'actr'", 1, 11},
		{"1 +", "Syntax error", 1, 4},
		{"1 == 'x'", "no matching overload", 1, 3},
		{"labels['x'] == 1", "no matching overload", 1, 13},
		{"labels['x']", "type string, and not true or false", 0, 0},
		{"image.name", "type dyn, and not true or false", 0, 0},
		{"1", "type int", 0, 0},
		{"actor.matches('(')", "the pattern of matches is none: error parsing regexp: missing closing )", 1, 15},
		{"matches(actor, '(')", "the pattern of matches is none", 1, 16},
		{"actor.matches(labels['p'])", "the pattern of matches is not written out", 1, 21},
		{"['x'].exists(p, actor.matches(p))", "the pattern of matches is not written out", 1, 31},
		{"actor.matches('((a{10}){10}){10}')", "the pattern of matches is too large", 1, 15},
		{"now > timestamp('yesterday')", "invalid timestamp argument", 1, 17},
		{"now - now > duration('long')", "invalid duration argument", 1, 22},
		{strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), "recursion", 0, 0},
		{strings.Repeat("!", 3000) + "true", "", 0, 0},
		{"true" + strings.Repeat(" ", maxExpression), "4100 bytes", 0, 0},
		{"true || '\xff' == ''", "not UTF-8", 0, 0},
		{"environment.nope()", "undeclared reference to 'nope'", 1, 17},
	} {
		x, err := ParseExpression("name", test.text)
		if err == nil && test.given == "" {
			continue // it may be accepted, if only it ends
		}
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("%.60q: %v is no *Error", test.text, err)
			continue
		}
		if !strings.Contains(fault.Given, test.given) || fault.Expected == "" || strings.Contains(fault.Given, "container") || x.program != nil {
			t.Errorf("%.60q: %v; want %s", test.text, err, test.given)
		}
		if test.line > 0 && (fault.Line != test.line || fault.Column != test.column) {
			t.Errorf("%.60q: %d:%d, want %d:%d (%v)", test.text, fault.Line, fault.Column, test.line, test.column, err)
		}
		if len(err.Error()) > 700 || !utf8.ValidString(err.Error()) {
			t.Errorf("%.60q: %d bytes", test.text, len(err.Error()))
		}
	}
}

// FuzzParseExpression: whatever is written, it compiles or is an [*Error] with a
// place that is in the text, and its judgement ends soon.
func FuzzParseExpression(f *testing.F) {
	for _, seed := range []string{
		`image.labels["org.opencontainers.image.base.name"].startsWith("ghcr.io/acme/")`, `"x" in labels && labels["x"].matches("^a+$")`,
		`platforms.all(p, platforms.exists(q, p == q))`, `now - image.created < duration("720h")`, "true &&\n lables", `[1,2,3].map(x, x * x).filter(y, y > 2) == []`,
		`commit.matches("^[0-9a-f]{40}$")`, `has(image.name) ? commit != "" : actor == ""`, `b"\xff" == b'' || r"\d".matches(r"\d") || 0x7f > 1u`, "'ä' + '\U0001F600' == ", "{1: 2}[3] == 4 // x",
	} {
		f.Add(seed)
	}
	e := good()
	f.Fuzz(func(t *testing.T, text string) {
		defer time.AfterFunc(2*time.Minute, func() { panic("judged for longer than two minutes: " + text) }).Stop()
		x, err := ParseExpression("fuzz", text)
		if err != nil {
			inText(t, text, err)
			return
		}
		for _, v := range (Policy{Expressions: []Expression{x}}).judgeExpressions(e) {
			if v.Message == "" || len(v.Message) > 2000 || v.Status == document.Pending {
				t.Errorf("%+v", v)
			}
		}
	})
}

func inText(t *testing.T, text string, err error) {
	t.Helper()
	var fault *Error
	if !errors.As(err, &fault) || fault.Given == "" || fault.Expected == "" {
		t.Fatalf("%v", err)
	}
	lines := strings.Split(text, "\n")
	if fault.Line == 0 && fault.Column == 0 {
		return
	}
	if fault.Line < 1 || fault.Line > len(lines) || fault.Column < 1 || fault.Column > utf8.RuneCountInString(lines[fault.Line-1])+1 {
		t.Errorf("%d:%d is not in the text (%v)", fault.Line, fault.Column, err)
	}
}
