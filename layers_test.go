package main

import (
	"go/ast"
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
	"demo", "input", "runner", "promote", "config", "gate", "ledger", "template", "transfer", "graph", "referrer",
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

// senders are the functions that may send a request, or hand one on to what sends it. All others go through them, so
// that no request escapes the retries, the bounds, the rules for redirects and the proxy.
var senders = []string{
	"internal/credential/client.go Chain.ask",
	"internal/credential/client.go within.RoundTrip",    // ends a request with the run
	"internal/credential/google.go lastError.RoundTrip", // keeps why a proxy refused
	"internal/github/ask.go Client.ask",
	"internal/registry/attempt.go attempt.send",
	"internal/registry/internal/auth/ping.go guarded.send",
	"internal/registry/internal/retry/do.go Do",                        // the library's loop, over a transport that sends nothing itself
	"internal/registry/internal/wire/transport.go UserAgent.RoundTrip", // sets a header
}

// TestSenders holds the program to these functions, and the list to those that there are.
func TestSenders(t *testing.T) {
	var found []string
	walkGo(t, func(file string, _ []string) {
		if strings.HasSuffix(file, "_test.go") || strings.HasPrefix(file, "internal/regtest/") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, sendersOf(file, parsed)...)
	})
	for _, f := range found {
		if !slices.Contains(senders, f) {
			t.Errorf("%s sends a request, which is not its business", f)
		}
	}
	for _, s := range senders {
		if !slices.Contains(found, s) {
			t.Errorf("%s is in the list and sends nothing", s)
		}
	}
}

// TestSendersOf holds that each way to send a request is seen, and nothing else.
func TestSendersOf(t *testing.T) {
	for call, sends := range map[string]bool{
		"a.transport.RoundTrip(req)": true, "client(ctx).Do(req)": true, "http.Get(url)": true, "http.PostForm(url, nil)": true,
		"http.DefaultClient.Do(req)": true, "go func() { _, _ = c.Do(req) }()": true, "f := c.RoundTrip; f(nil)": true, "use(http.DefaultClient)": true,
		"once.Do(func() {})": false, "retry.Do(ctx, h, f)": false, "header.Get(name)": false, "http.NewRequest(m, u, nil)": false,
	} {
		parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc (c *C) f() {\n"+call+"\n}\n", 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(sendersOf("x.go", parsed), "x.go C.f"); got != sends {
			t.Errorf("%s: %v, want %v", call, got, sends)
		}
	}
}

// sendersOf are the functions of a file that send requests, as "FILE FUNCTION" or "FILE TYPE.METHOD".
func sendersOf(file string, parsed *ast.File) (all []string) {
	for _, d := range parsed.Decls {
		name := "a variable"
		if f, ok := d.(*ast.FuncDecl); ok {
			name = f.Name.Name
			if f.Recv != nil {
				name = receiver(f.Recv.List[0].Type) + "." + name
			}
		}
		sends := false
		ast.Inspect(d, func(n ast.Node) bool {
			sends = sends || isSending(n)
			return true
		})
		if sends {
			all = append(all, file+" "+name)
		}
	}
	return all
}

func receiver(of ast.Expr) string {
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name
	}
	return "?"
}

// isSending tells what sends a request, without knowing types: RoundTrip, the Do of one argument that is no function
// (as sync.Once has it), and the client of package http.
func isSending(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.SelectorExpr:
		x, _ := n.X.(*ast.Ident)
		return n.Sel.Name == "RoundTrip" ||
			x != nil && x.Name == "http" && slices.Contains([]string{"DefaultClient", "Get", "Head", "Post", "PostForm"}, n.Sel.Name)
	case *ast.CallExpr:
		f, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || f.Sel.Name != "Do" || len(n.Args) != 1 {
			return false
		}
		_, isFunc := n.Args[0].(*ast.FuncLit)
		return !isFunc
	}
	return false
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
