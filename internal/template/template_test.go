package template

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var values = Values{
	// 5 November 2026, 14:30:07 in UTC, seen from five hours west.
	Now:       time.Date(2026, 11, 5, 9, 30, 7, 0, time.FixedZone("west", -5*3600)),
	Revision:  "ABCDEF0123456789abcdef0123456789abcdef01",
	Version:   "1.4.2",
	SourceTag: "sha-1a2b3c4",
	Env:       "production",
	RunNumber: "512",
	Digest:    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
}

func TestRender(t *testing.T) {
	tests := []struct{ text, want string }{
		{"staging", "staging"},
		{"_x", "_x"},
		{"v1.4.2", "v1.4.2"},
		{"release-{{date 'YYYYMMDD-HHmmss'}}", "release-20261105-143007"},
		{`{{date "YYYYMMDD"}}`, "20261105"},
		{"{{ date  'YYYY' }}", "2026"},
		{"{{date 'YY.M.D-H_h'}}", "26.11.5-14_2"},
		{"{{date 'MMMM-MMM-DDDD-DDD-DD'}}", "November-Nov-309-309-05"},
		{"{{date 'HH-hh-A-a'}}", "14-02-PM-pm"},
		{"{{date 'mm-m-ss-s'}}", "30-30-07-7"},
		{"{{date 'X'}}", "1793889007"},
		{"{{date '[v]YYYY[T]'}}", "v2026T"},
		{"{{date 'YYYY0'}}", "20260"},
		{"{{revision}}", "abcdef0"},
		{"v{{version}}-{{run-number}}", "v1.4.2-512"},
		{"{{source-tag}}", "sha-1a2b3c4"},
		{"{{env}}.{{digest}}", "production.0123456789ab"},
		{strings.Repeat("a", 128), strings.Repeat("a", 128)},
	}
	for _, tt := range tests {
		parsed, err := Parse(tt.text)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.text, err)
			continue
		}
		got, err := parsed.Render(values)
		if err != nil || got != tt.want {
			t.Errorf("Render(%q) = %q, %v; want %q", tt.text, got, err, tt.want)
		}
		if parsed.String() != tt.text {
			t.Errorf("String() = %q, want %q", parsed, tt.text)
		}
	}
}

func TestDateTokens(t *testing.T) {
	morning := time.Date(2026, 1, 2, 0, 4, 5, 0, time.UTC)
	tests := []struct{ format, want string }{
		{"H", "0"}, {"HH", "00"}, {"h", "12"}, {"hh", "12"}, {"A", "AM"}, {"a", "am"},
		{"DDD", "2"}, {"DDDD", "002"}, {"D", "2"}, {"DD", "02"},
		{"M", "1"}, {"MM", "01"}, {"MMM", "Jan"}, {"MMMM", "January"},
		{"m", "4"}, {"mm", "04"}, {"s", "5"}, {"ss", "05"},
	}
	for _, tt := range tests {
		got, _, err := formatDate(tt.format, morning)
		if err != nil || got != tt.want {
			t.Errorf("formatDate(%q) = %q, %v; want %q", tt.format, got, err, tt.want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		change     func(*Values)
		want       []string
	}{
		{"no version", "{{version}}", func(v *Values) { v.Version = "" }, []string{"org.opencontainers.image.version", "docker/metadata-action", `"{{version}}"`}},
		{"no revision", "{{revision}}", func(v *Values) { v.Revision = "" }, []string{"has no value", "org.opencontainers.image.revision", "docker/metadata-action"}},
		{"revision is no commit", "{{revision}}", func(v *Values) { v.Revision = "main-branch" }, []string{`is "main-branch"`, "hexadecimal"}},
		{"revision too short", "{{revision}}", func(v *Values) { v.Revision = "abc123" }, []string{`is "abc123"`, "at least 7"}},
		{"no source tag", "{{source-tag}}", func(v *Values) { v.SourceTag = "" }, []string{"without a tag", "ghcr.io/acme/app:1.4.2@sha256:"}},
		{"no environment", "{{env}}", func(v *Values) { v.Env = "" }, []string{"no target-env", "without {{env}}"}},
		{"no run number", "{{run-number}}", func(v *Values) { v.RunNumber = "" }, []string{"GITHUB_RUN_NUMBER"}},
		{"no digest", "{{digest}}", func(v *Values) { v.Digest = "" }, []string{"sha256: and 64"}},
		{"digest is none", "{{digest}}", func(v *Values) { v.Digest = "sha256:nothexnothex" }, []string{"sha256:nothexnothex"}},
		{"no time", "{{date 'YYYY'}}", func(v *Values) { v.Now = time.Time{} }, []string{"time of the run"}},
		{"version unfit", "{{version}}", func(v *Values) { v.Version = "1.0+build" }, []string{`renders to "1.0+build"`, "letters, digits"}},
		{"version begins with a dot", "{{version}}", func(v *Values) { v.Version = ".1" }, []string{`renders to ".1"`}},
		{"hostile version", "{{version}}", func(v *Values) { v.Version = "1\n::stop-commands::x\u202e" }, []string{`"1\n::stop-commands::x\u202e"`}},
		{"long version", "{{version}}", func(v *Values) { v.Version = strings.Repeat("9", 1<<20) }, []string{"longer than a tag may be"}},
		{"too long together", "{{version}}-{{version}}", func(v *Values) { v.Version = strings.Repeat("9", 100) }, []string{"which is no tag", "1 to 128"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parsed, err := Parse(tt.text)
			if err != nil {
				t.Fatal(err)
			}
			v := values
			tt.change(&v)
			got, err := parsed.Render(v)
			if err == nil {
				t.Fatalf("Render gave %q, want an error", got)
			}
			var fault *Error
			if !errors.As(err, &fault) || fault.Text != tt.text {
				t.Errorf("error is %#v, want *Error with the template's text", err)
			}
			expectText(t, err, tt.want...)
		})
	}
	if got, err := (Template{}).Render(values); err == nil {
		t.Errorf("the zero template rendered to %q", got)
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		text     string
		position int
		want     []string
	}{
		{"", 0, []string{"empty", "example: staging"}},
		{strings.Repeat("a", 513), 0, []string{"513 bytes", "at most 512"}},
		{"release-{{sha}}", 9, []string{
			"at character 9: unknown expression {{sha}}", "{{date 'YYYYMMDD-HHmmss'}}, {{revision}}, {{version}}, {{source-tag}}, {{env}}, {{run-number}}, {{digest}}",
			"example: release-{{date"}},
		{"{{}}", 1, []string{"unknown expression {{}}"}},
		{"é{{x}}", 1, []string{`"\u00e9" cannot stand there`}},
		{"a-{{date 'YYYY'", 3, []string{"no closing }}"}},
		{"{{date}}", 1, []string{"without its format", "example: {{date 'YYYYMMDD-HHmmss'}}"}},
		{"{{date YYYY}}", 8, []string{"one format in quotes"}},
		{"{{date ''}}", 8, []string{"one format in quotes"}},
		{"{{date 'YYYY\"}}", 8, []string{"one format in quotes"}},
		{"{{date 'YYYY' 'MM'}}", 8, []string{"one format in quotes"}},
		{"{{date 'YYYY' tz='UTC'}}", 8, []string{"always in UTC"}},
		{"{{date 'YYYY-Q'}}", 14, []string{`"Q" is no date token`, "YYYY YY MMMM"}},
		{"{{date 'YYYYY'}}", 9, []string{`"YYYYY" is no date token`}},
		{"{{date 'HH:mm'}}", 11, []string{`":" cannot stand in a tag`}},
		{"{{date 'HH mm'}}", 11, []string{`" " cannot stand in a tag`}},
		{"{{date '[v YYYY'}}", 9, []string{"no closing ]"}},
		{"{{date '[a/b]'}}", 9, []string{`"a/b" cannot stand`}},
		{"{{revision 'x'}}", 1, []string{"nothing after its name", "example: {{revision}}"}},
		{"a b", 2, []string{`" " cannot stand there`, "1 to 128"}},
		{".hidden", 1, []string{`"." cannot stand there`}},
		{"-x", 1, []string{`"-" cannot stand there`}},
		{"v1+build", 3, []string{`"+" cannot stand there`}},
		{"{date 'YYYY'}", 1, []string{"two braces"}},
		{"version}}", 8, []string{"two braces"}},
		{"a\n::error::x", 2, []string{`"\n" cannot stand there`, `"a\n::error::x"`}},
		{"a\xff", 2, []string{`"\xff" cannot stand there`}},
	}
	for _, tt := range tests {
		_, err := Parse(tt.text)
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("Parse(%q) = %v, want *Error", tt.text, err)
			continue
		}
		if fault.Position != tt.position {
			t.Errorf("Parse(%q): position %d, want %d", tt.text, fault.Position, tt.position)
		}
		expectText(t, err, tt.want...)
	}
}

func TestErrorsAreShort(t *testing.T) {
	_, err := Parse(strings.Repeat("\x00", 1<<20))
	if err == nil || len(err.Error()) > 2048 {
		t.Errorf("error is %.3000v", err)
	}
	_, dateErr := renderDate(values, "Q")
	if dateErr == nil || !strings.Contains(dateErr.Error(), `"Q" is no date token`) {
		t.Errorf("an unknown date token gives %v", dateErr)
	}
}

func TestUses(t *testing.T) {
	parsed, err := Parse("version-{{env}}")
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.Uses("env") || parsed.Uses("version") {
		t.Error("Uses does not tell expressions from text")
	}
	other, err := Parse("version-{{ env }}")
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Equal(other) || !parsed.Equal(parsed) {
		t.Error("Equal does not compare the text")
	}
}

func TestBlank(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", ""},
		{"a:b", "a:b"},
		{"a:{{date 'HH:mm'}}-b", "a:________________-b"},
		{"{{a}}/{{b}}", "_____/_____"},
		{"a{{b:c", "a_____"},
		{"a}}b{{", "a}}b__"},
	}
	for _, tt := range tests {
		if got := Blank(tt.text); got != tt.want {
			t.Errorf("Blank(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"staging", "release-{{date 'YYYYMMDD-HHmmss'}}", "{{date \"[v]YY\"}}", "{{revision}}{{version}}", "{{env", "}}", "{{ }}", "a{{date '[[]]'}}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if blank := Blank(text); len(blank) != len(text) {
			t.Fatalf("Blank(%q) has %d bytes, want %d", text, len(blank), len(text))
		}
		parsed, err := Parse(text)
		if err != nil {
			if len(err.Error()) > 4096 || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("error is long or raw: %q", err)
			}
			return
		}
		if parsed.String() != text || len(text) > maxLength {
			t.Fatalf("Parse(%q).String() = %q", text, parsed)
		}
		tag, err := parsed.Render(values)
		if err == nil && !ValidTag(tag) {
			t.Fatalf("Render(%q) = %q, which is no tag", text, tag)
		}
	})
}

func expectText(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error says\n%s\nwant in it: %s", err, w)
		}
	}
}
