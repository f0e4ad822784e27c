package config

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/artifact-promotion/promote/internal/gate"
	"github.com/artifact-promotion/promote/internal/template"
)

// FuzzParse holds that every file is either refused with places that are in it,
// or is one that the schema takes too and that can be written again in another
// way without a difference.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	for _, text := range []string{
		"", "\ufeff", "a:\n\tb", "a: \xff", "'", "- - -", "? ", "{[", "environments: {a: {repository: r.x/y, tags: [\"{{env}}\"]}}",
		"environments: {a: {repository: r.x/y, tags: [b]}, c: {from: a, repository: r.x/y, tags: [c], gates: {soak: 1.5h}}}",
		"environments:\r\n  a:\r\n    repository: >-\r\n      r.x/y\r\n    tags:\r\n    - |-\r\n      a", "environments: {a: {repository: r.x/y, tags: [b], gates: {expressions: [{name: a, cel: |\n x\n}]}}}",
	} {
		f.Add([]byte(text))
	}
	schema := validator(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse("p.yml", raw)
		if err != nil {
			checkFaults(t, raw, err)
			return
		}
		if err := schema.Validate(asJSON(t, "accepted", raw)); err != nil {
			t.Errorf("the schema says %v", err)
		}
		again, err := Parse("p.yml", rewritten(t, c))
		if err != nil {
			t.Fatalf("%v\n%s", err, rewritten(t, c))
		}
		if a, b := plainly(c), plainly(again); !reflect.DeepEqual(a, b) {
			t.Errorf("%+v\nis written as\n%+v", a, b)
		}
	})
}

func checkFaults(t *testing.T, raw []byte, err error) {
	var faults *Error
	if !errors.As(err, &faults) || len(faults.Faults) == 0 || len(faults.Faults) > maxFaults {
		t.Fatalf("%#v", err)
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(string(raw), "\ufeff"), "\r\n", "\n"), "\n")
	last := Fault{}
	for _, f := range faults.Faults {
		if f.Given == "" || f.Expected == "" {
			t.Errorf("%+v says nothing", f)
		}
		if f.Line < 0 || f.Line > len(lines) || (f.Line > 0) != (f.Column > 0) ||
			f.Line > 0 && f.Column > utf8.RuneCountInString(lines[f.Line-1])+1 {
			t.Errorf("%+v is outside of the file", f)
		}
		if f.Line < last.Line || f.Line == last.Line && f.Column < last.Column {
			t.Errorf("%+v is after %+v", f, last)
		}
		last = f
	}
	text := err.Error()
	strange := func(r rune) bool { return (r < ' ' && r != '\n' || r > '~') && r != '…' }
	if at := strings.IndexFunc(text, strange); at >= 0 || len(text) > 500_000 {
		t.Errorf("%d bytes, or a character that is not escaped at %d: %q", len(text), at, text)
	}
}

// plain is what of an environment can be compared.
type plain struct {
	Name, From, Repository string
	Tags, FixedTags        []string
	Owned                  string
	RequirePlan            bool
	ValidFor, Soak         string
	Checks                 *gate.CheckPolicy
	Approvals              *gate.ApprovalPolicy
	Deny                   []gate.Denial
	Images                 []string
}

func plainly(c *Config) []plain {
	var all []plain
	for _, e := range c.Environments {
		p := plain{
			Name: e.Name, Repository: e.Repository, Tags: texts(e.Tags), FixedTags: texts(e.FixedTags), RequirePlan: e.RequirePlan,
			ValidFor: e.ValidFor.String(), Checks: e.Gates.Checks, Approvals: e.Gates.Approvals, Deny: e.Gates.Deny, Images: c.Images,
			Soak: e.Gates.Soak.String(),
		}
		if e.From != nil {
			p.From = e.From.Name
		}
		repository := e.RepositoryOf(strings.Join(c.Images[:min(1, len(c.Images))], ""))
		if owner, _ := c.Owner(repository, strings.ReplaceAll(p.Tags[0], "{{env}}", e.Name)); owner != nil {
			p.Owned = owner.Name
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b plain) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func texts(templates []template.Template) []string {
	var texts []string
	for _, t := range templates {
		texts = append(texts, t.String())
	}
	return texts
}

// rewritten writes a config as JSON, which is YAML of another style.
func rewritten(t *testing.T, c *Config) []byte {
	type object = map[string]any
	environments := object{}
	for _, p := range plainly(c) {
		e := object{"repository": p.Repository, "tags": p.Tags, "require-plan": p.RequirePlan, "valid-for": p.ValidFor}
		gates := object{}
		if p.Soak != "0s" {
			gates["soak"] = p.Soak
		}
		if p.From != "" {
			e["from"] = p.From
		}
		if p.FixedTags != nil {
			e["fixed-tags"] = p.FixedTags
		}
		if p.Checks != nil {
			gates["checks"] = p.Checks.Names
			if p.Checks.Repository != "" {
				gates["checks"] = object{"repository": p.Checks.Repository, "names": p.Checks.Names}
			}
		}
		if p.Approvals != nil {
			gates["approvals"] = object{"environments": p.Approvals.Environments, "distinct": p.Approvals.Distinct, "not-actor": p.Approvals.NotActor}
		}
		var denied []object
		for _, d := range p.Deny {
			denied = append(denied, object{"digest": d.Digest, "reason": d.Reason})
		}
		if denied != nil {
			gates["deny"] = denied
		}
		if len(gates) > 0 {
			e["gates"] = gates
		}
		environments[p.Name] = e
	}
	file := object{"environments": environments}
	if c.Images != nil {
		file["images"] = c.Images
	}
	text, err := json.MarshalIndent(file, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return text
}
