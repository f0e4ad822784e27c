package config

import (
	"crypto/sha256"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/template"
)

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse("promotion.yml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	text := `
images: [app, worker]
environments:
  dev:
    repository: "ghcr.io/acme/{{ image }}"
    tags: [dev, "{{env}}-latest"]
  prod:
    from: dev
    repository: registry.acme.example:5000/prod/{{image}}-x
    tags: [prod]
    fixed-tags: ["{{version}}", "r-{{date 'YYYYMMDD'}}"]
    require-plan: true
    keep: 5
    attach-records: true
    valid-for: 1d12h
    overridable: [from, soak, checks]
    gates:
      soak: 1d6h
      checks: {repository: "acme/{{ image }}", names: [e2e, load]}
      approvals: {environments: [change, prod], distinct: true, not-actor: true}
      max-age: 30d
      no-downgrade: true
      deny: [{digest: "` + digestA + `", reason: CVE-1}]
`
	c := parse(t, text)
	if !slices.Equal(c.Names(), []string{"dev", "prod"}) {
		t.Error(c.Names())
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text))); c.Digest != want {
		t.Errorf("digest %s, want %s", c.Digest, want)
	}
	dev, prod := c.Environment("dev"), c.Environment("prod")
	if c.Environment("test") != nil || dev == nil || prod.From != dev || dev.From != nil {
		t.Fatal("environments are not found, or not in order")
	}
	if dev.ValidFor != 7*24*time.Hour || dev.RequirePlan || prod.ValidFor != 36*time.Hour || !prod.RequirePlan {
		t.Errorf("valid for %s and %s", dev.ValidFor, prod.ValidFor)
	}
	if dev.Keep != 3 || prod.Keep != 5 || dev.AttachRecords || !prod.AttachRecords {
		t.Errorf("%d and %d rollback targets are kept, records attached: %v and %v", dev.Keep, prod.Keep, dev.AttachRecords, prod.AttachRecords)
	}
	if got := prod.RepositoryOf("app"); got != "registry.acme.example:5000/prod/app-x" {
		t.Error(got)
	}
	if got := dev.RepositoryOf("worker"); got != "ghcr.io/acme/worker" {
		t.Error(got)
	}
	if !slices.Equal(prod.Overridable, []string{"from", "soak", "checks"}) {
		t.Error(prod.Overridable)
	}
	if len(dev.Tags) != 2 || len(prod.FixedTags) != 2 || prod.FixedTags[1].String() != "r-{{date 'YYYYMMDD'}}" {
		t.Error("tags are missing")
	}
	want := gate.Policy{
		Soak:        30 * time.Hour,
		Checks:      &gate.CheckPolicy{Repository: "acme/{{image}}", Names: []string{"e2e", "load"}},
		Approvals:   &gate.ApprovalPolicy{Environments: []string{"change", "prod"}, Distinct: true, NotActor: true},
		MaxAge:      720 * time.Hour,
		NoDowngrade: true,
		Deny:        []gate.Denial{{Digest: digestA, Reason: "CVE-1"}},
	}
	if !reflect.DeepEqual(prod.Gates, want) {
		t.Errorf("gates are %+v, want %+v", prod.Gates, want)
	}
}

// TestDesignHasItsGates counts what has no fields to look at.
func TestDesignHasItsGates(t *testing.T) {
	raw, err := os.ReadFile("testdata/good-design.yml")
	if err != nil {
		t.Fatal(err)
	}
	p := parse(t, string(raw)).Environment("production").Gates
	if len(p.Platforms) != 2 || p.Platforms[1].String() != "linux/arm64" || len(p.Freeze) != 2 || len(p.Labels) != 1 || len(p.Expressions) != 1 || p.Soak != 24*time.Hour || p.MaxAge != 720*time.Hour {
		t.Errorf("%+v", p)
	}
	holiday := gate.Evidence{Now: time.Date(2026, 12, 24, 12, 0, 0, 0, time.UTC)}
	for _, v := range p.Evaluate(holiday) {
		if v.Gate == gate.Freeze && !strings.Contains(v.Message, "holidays") {
			t.Errorf("%+v", v)
		}
	}
}

func TestOneImageNeedsNoPlaceholder(t *testing.T) {
	c := parse(t, "images: [app]\n"+dev(""))
	if e, image := c.Owner("ghcr.io/acme/app", "dev"); e == nil || image != "app" {
		t.Errorf("owner %v, image %q", e, image)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7d": 168 * time.Hour, "168h": 168 * time.Hour, "1h30m": 90 * time.Minute, "1.5d": 36 * time.Hour, "90d": 2160 * time.Hour, "1s": time.Second, "1m1s": 61 * time.Second,
	} {
		if got := parse(t, dev("    valid-for: "+text+"\n")).Environments[0].ValidFor; got != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 720 * time.Hour, "12h": 12 * time.Hour, "1h30m": 90 * time.Minute, "0.5s": time.Second / 2, "0d": 0, "100000d": 2400000 * time.Hour,
	} {
		if got, ok := Duration(text); !ok || got != want {
			t.Errorf("%s is %s, %v, want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "d", "30", "-1d", "+1d", "1 d", "1d ", "1w", "1D", ".5d", "1.d", "1e3d", "1ms", "100001d", "1d100000d", strings.Repeat("9", 400) + "d", "1h\n"} {
		if got, ok := Duration(text); ok {
			t.Errorf("%q is %s", text, got)
		}
	}
}

func TestOwner(t *testing.T) {
	c := parse(t, `
images: [app, worker]
environments:
  dev:
    repository: ghcr.io/acme/{{image}}
    tags: [dev, "{{env}}-latest"]
    fixed-tags: ["{{version}}-dev", "v{{version}}"]
  prod:
    repository: ghcr.io/acme/{{image}}
    tags: [production, v1]
    fixed-tags: ["release-{{date 'YYYYMMDD-HHmmss'}}", "g{{revision}}.{{digest}}"]
  hub:
    repository: docker.io/acme/{{image}}
    tags: [latest]
`)
	for _, tt := range []struct{ repository, tag, owner, image string }{
		{"ghcr.io/acme/app", "dev", "dev", "app"},
		{"ghcr.io/acme/worker", "dev-latest", "dev", "worker"},
		{"ghcr.io/acme/worker", "production", "prod", "worker"},
		{"GHCR.io:443/acme/worker", "production", "prod", "worker"},
		{"ghcr.io./acme/worker", "production", "prod", "worker"},
		{"ghcr.io/acme/app", "v1", "prod", "app"}, // named: before what a version may be
		{"ghcr.io/acme/app", "v2", "dev", "app"},
		{"ghcr.io/acme/app", "1.0-dev", "dev", "app"},
		{"ghcr.io/acme/app", "release-20261122-143000", "prod", "app"},
		{"ghcr.io/acme/app", "release-2026112-143000", "", ""},
		{"ghcr.io/acme/app", "release-notes", "", ""},
		{"ghcr.io/acme/app", "g0123abc.0123456789ab", "prod", "app"},
		{"ghcr.io/acme/app", "g0123abc_0123456789ab", "", ""},
		{"ghcr.io/acme/app", "{{env}}-latest", "", ""},
		{"ghcr.io/acme/app", "Dev", "", ""},
		{"ghcr.io/acme/app", "", "", ""},
		{"ghcr.io/acme/other", "dev", "", ""},
		{"ghcr.io/acme/{{image}}", "dev", "", ""},
		{"acme/app", "latest", "hub", "app"},
		{"registry-1.docker.io/acme/app", "latest", "hub", "app"},
		{"index.docker.io/acme/worker", "latest", "hub", "worker"},
		{"::", "dev", "", ""},
	} {
		e, image := c.Owner(tt.repository, tt.tag)
		name := ""
		if e != nil {
			name = e.Name
		}
		if name != tt.owner || image != tt.image {
			t.Errorf("%s:%s is owned by %q for %q, want %q for %q", tt.repository, tt.tag, name, image, tt.owner, tt.image)
		}
	}
}

func TestTrespass(t *testing.T) {
	c := parse(t, `
environments:
  dev: {repository: ghcr.io/acme/app, tags: [dev], fixed-tags: ["{{version}}"]}
  prod: {repository: ghcr.io/acme/app, tags: [production], fixed-tags: ["{{version}}-p"]}
  away: {repository: ghcr.io/acme/away, tags: [production]}
`)
	dev := c.Environment("dev")
	if e := c.Trespass(dev, "ghcr.io/acme/app", "production"); e == nil || e.Name != "prod" {
		t.Error("dev's version may be named production")
	}
	for _, tag := range []string{"dev", "1.0", "1.0-p"} {
		if e := c.Trespass(dev, "ghcr.io/acme/app", tag); e != nil {
			t.Errorf("%s is %s's", tag, e.Name)
		}
	}
	if e := c.Trespass(dev, "ghcr.io/acme/elsewhere", "production"); e != nil {
		t.Error("another repository is nobody's")
	}
}

// TestPatternsMatchWhatTemplatesRender asks the templates themselves what they
// stand for.
func TestPatternsMatchWhatTemplatesRender(t *testing.T) {
	var texts []string
	for _, format := range strings.Fields("YYYY YY MMMM MMM MM M DDDD DDD DD D HH H hh h A a mm m ss s X YYYYMMDD-HHmmss [v]YYYY[.x]M YYYY0.D-D_D") {
		texts = append(texts, "{{date '"+format+"'}}", "a{{ date  \""+format+"\" }}.b")
	}
	texts = append(texts, "x", "{{revision}}", "v{{version}}", "{{source-tag}}-{{env}}", "{{run-number}}", "{{digest}}", "{{ env }}{{env}}")
	moment := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 400 {
		values := template.Values{
			Now: moment, Revision: fmt.Sprintf("%040X", i*7919), Version: fmt.Sprintf("1.%d.0-rc_x", i), SourceTag: "main",
			Env: "prod", RunNumber: fmt.Sprint(i), Digest: fmt.Sprintf("sha256:%064x", i),
		}
		moment = moment.Add(31*time.Hour + 17*time.Minute + 13*time.Second)
		for _, text := range texts {
			parsed, err := template.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			tag, err := parsed.Render(values)
			if err != nil {
				t.Fatal(err)
			}
			if p := pattern(parsed, "prod"); !p.MatchString(tag) {
				t.Fatalf("%s renders to %s, which %s does not match", text, tag, p)
			}
		}
	}
}

func TestPatternsAreNarrow(t *testing.T) {
	for text, tags := range map[string][]string{
		"{{date 'YYYY-MM-DD'}}": {"2026-1-02", "x2026-01-02", "2026-01-02x", "2026.01.02"},
		"{{date 'MMM'}}":        {"Janu", "Ja", "123"},
		"a.b":                   {"axb"},
		"{{revision}}":          {"0123abcd", "0123ab", "0123abg"},
		"{{env}}":               {"dev", "prodx"},
		"v{{version}}":          {"v", "1.0"},
	} {
		parsed, err := template.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			if pattern(parsed, "prod").MatchString(tag) {
				t.Errorf("%s matches %s", text, tag)
			}
		}
	}
}

func TestReserved(t *testing.T) {
	for tag, want := range map[string]bool{
		"promotion-ledger.": true, "promotion-ledger.env.prod.a": true, "promotion-ledger.tag.qa.1": true, "promotion-keep.prod.1": true,
		"promotion-": false, "promotion": false, "xpromotion-ledger.env.prod.a": false, "Promotion-ledger.env.prod.a": false, "promotion-led": false,
		"promotion-ledger": false, "promotion-ledger-prod": false, "promotion-keep": false, "promotion-record-1": false,
	} {
		if ledger.Reserved(tag) != want {
			t.Errorf("Reserved(%q) is %v", tag, !want)
		}
	}
}
