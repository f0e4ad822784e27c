package input

import (
	"strings"
	"testing"
)

func FuzzSplitList(f *testing.F) {
	for _, seed := range []string{"a,b\nc", `"a,b",c`, `"a""b"`, "{{date 'YYYY,MM'}},x", "# x\r\n y ", `"`, `a"b,c`, "{{,{{,", `"a" ,`} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, text string, commas bool) {
		items, fault := splitList(text, commas)
		if fault != nil {
			return
		}
		var again strings.Builder
		for i, item := range items {
			if item.text == "" || item.text != strings.TrimSpace(item.text) || strings.Contains(item.text, "\n") {
				t.Fatalf("splitList(%q) has the item %q", text, item.text)
			}
			separator := "\n"
			if commas && i%2 == 1 {
				separator = ","
			}
			again.WriteString(`"` + strings.ReplaceAll(item.text, `"`, `""`) + `"` + separator)
		}
		second, fault := splitList(again.String(), commas)
		if fault != nil || len(second) != len(items) {
			t.Fatalf("splitList(%q): %v, %d items, want %d", again.String(), fault, len(second), len(items))
		}
		for i := range items {
			if second[i].text != items[i].text {
				t.Fatalf("item %d is %q, want %q", i, second[i].text, items[i].text)
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"staging", "a.io/x:1 => b, c", "ghcr.io/acme/app:{{version}}\nlatest", "a.io/x", "=>", "a.io/x:{{date 'HH:mm'}}", "[::1]:5/x:y", "a:1=>b=>c", "docker://x@y"} {
		f.Add("a.io/x:1", seed)
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, source, target string) {
		settings, err := ask(nil, env{"source": source, "target": target})
		if err != nil {
			if text := err.Error(); strings.ContainsAny(text, "\r\x1b\x00") || len(text) > 64<<10 {
				t.Fatalf("error is raw or long: %q", text)
			}
			return
		}
		if len(settings.Request.Items) == 0 {
			t.Fatal("neither items nor an error")
		}
		for _, item := range settings.Request.Items {
			seen := map[string]bool{}
			for _, target := range item.Targets {
				if seen[target.Repository.Name()] || len(target.Tags) == 0 || strings.Contains(target.Repository.Name(), "{{") {
					t.Fatalf("targets are %s", show(settings.Request.Items))
				}
				seen[target.Repository.Name()] = true
			}
			if len(item.Targets) == 0 || item.Source.Tag == "" && item.Source.Digest.Hex == "" {
				t.Fatalf("items are %s", show(settings.Request.Items))
			}
		}
	})
}

func FuzzRegistryAuth(f *testing.F) {
	for _, seed := range []string{secretYAML, "- password: x: y", "[{registry: a, username: b, password: c}]", "- &a {password: *a}", "a: b", "? x\n: y", "- password: |\n  x", "%YAML 1.2\n---\n- a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		secrets := registryAuthSecrets(text)
		entries, faults := parseRegistryAuth(text)
		for _, fault := range faults {
			if fault.Given == "" || fault.Expected == "" || len(fault.Message()) > 1024 || strings.Contains(fault.Message(), "\n") {
				t.Fatalf("fault is %+v", fault)
			}
		}
		for _, e := range entries {
			found := false
			for _, s := range secrets {
				found = found || s == e.Password
			}
			if !found || e.Username == "" || e.Registry == "" {
				t.Fatalf("entry %q %q: its password is not among the secrets", e.Registry, e.Username)
			}
		}
	})
}
