package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/artifact-promotion/promote"

// layers are the packages from the top down: each may import those below it only.
var layers = []string{
	"demo", "input", "runner", "promote", "config", "gate", "ledger", "writeahead", "template", "transfer", "graph", "referrer",
	"report", "document", "registry", "github", "credential", "proxy", "queue", "regtest",
}

func TestPackagesImportDownwards(t *testing.T) {
	found := map[string]bool{}
	walkGo(t, func(file string, imports []string) {
		layer, ok := layerOf(path.Dir(file))
		if !ok || strings.HasSuffix(file, "_test.go") {
			return
		}
		found[layers[layer]] = true
		for _, i := range imports {
			if below, ok := layerOf(strings.TrimPrefix(i, module+"/")); ok && strings.HasPrefix(i, module) && below <= layer {
				if below != layer {
					t.Errorf("%s imports %s, which is above it", file, i)
				}
			}
		}
	})
	for _, l := range layers {
		if !found[l] {
			t.Errorf("package internal/%s is in the list and not in the tree", l)
		}
	}
	folders, err := os.ReadDir("internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !slices.Contains(layers, f.Name()) && !isModule("internal/"+f.Name()) {
			t.Errorf("package internal/%s has no place in the list", f.Name())
		}
	}
}

// isModule tells a module of its own, which this one does not import.
func isModule(folder string) bool {
	_, err := os.Stat(path.Join(folder, "go.mod"))
	return err == nil
}

func layerOf(folder string) (int, bool) {
	parts := strings.Split(strings.TrimPrefix(folder, "internal/"), "/")
	i := slices.Index(layers, parts[0])
	return i, i >= 0
}

// TestForbiddenImports holds what must stay out, each for its reason.
func TestForbiddenImports(t *testing.T) {
	for _, rule := range []struct{ imported, only, why string }{
		{"github.com/google/go-containerregistry/pkg/v1/remote", "internal/registry", "one package speaks to registries"},
		{"github.com/hashicorp/go-retryablehttp", "internal/registry internal/credential internal/github", "retries are in one place"},
		{"github.com/sethvargo/go-githubactions", "internal/runner internal/input", "GitHub stays at the edge"},
		{"github.com/olareg/olareg", "internal/regtest", "registries of our own are for tests and the demo"},
		{module + "/internal/regtest", "internal/demo", "registries of our own are for tests and the demo"},
		{"os", "main.go internal/demo internal/input internal/runner internal/credential internal/regtest", "only the edge touches the process"},
		{"testing", "", "the binary holds nothing that only tests need"},
	} {
		walkGo(t, func(file string, imports []string) {
			if strings.HasSuffix(file, "_test.go") || strings.Contains(file, "runnertest") || allowed(file, rule.only) {
				return
			}
			for _, i := range imports {
				if i == rule.imported || strings.HasPrefix(i, rule.imported+"/") && rule.imported != "os" {
					t.Errorf("%s imports %s: %s", file, i, rule.why)
				}
			}
		})
	}
}

// TestLibrariesInUse holds what must not be replaced by code of our own.
func TestLibrariesInUse(t *testing.T) {
	used := map[string]map[string]bool{}
	walkGo(t, func(file string, imports []string) {
		if strings.HasSuffix(file, "_test.go") {
			return
		}
		for _, i := range imports {
			if used[i] == nil {
				used[i] = map[string]bool{}
			}
			used[i][path.Dir(file)] = true
		}
	})
	for _, rule := range []struct{ imported, by, calls string }{
		{"github.com/google/go-containerregistry/pkg/v1/remote/transport", "internal/registry/internal/auth", "transport.Ping( transport.Exchange("},
		{"github.com/google/go-containerregistry/pkg/v1/remote/transport", "internal/registry/internal/wire", "transport.CheckError("},
		{"github.com/google/go-containerregistry/pkg/authn", "internal/registry internal/credential", ""},
		{"github.com/google/go-containerregistry/pkg/name", "internal/registry", ""},
		{"github.com/google/go-containerregistry/pkg/v1", "internal/registry", ""},
		{"github.com/hashicorp/go-retryablehttp", "internal/registry/internal/retry internal/credential internal/github", "retryablehttp."},
		{"github.com/sethvargo/go-githubactions", "internal/runner", ""},
	} {
		for _, folder := range strings.Fields(rule.by) {
			if !used[rule.imported][folder] {
				t.Errorf("%s does not use %s", folder, rule.imported)
			}
			for _, call := range strings.Fields(rule.calls) {
				if !mentions(t, folder, call) {
					t.Errorf("%s does not call %s)", folder, call)
				}
			}
		}
	}
}

// mentions reports whether a folder's code has a text in it.
func mentions(t *testing.T, folder, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		code, err := os.ReadFile(file)
		return err == nil && !strings.HasSuffix(file, "_test.go") && strings.Contains(string(code), text)
	})
}

func allowed(file, only string) bool {
	for _, place := range strings.Fields(only) {
		if file == place || strings.HasPrefix(file, place+"/") {
			return true
		}
	}
	return false
}

// walkGo visits every Go file of the module with its imports.
func walkGo(t *testing.T, visit func(file string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (file != "." && isModule(file) || entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && file != ".") {
			return fs.SkipDir
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, i := range parsed.Imports {
			text, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, text)
		}
		visit(filepath.ToSlash(file), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
