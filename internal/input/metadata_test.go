package input

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// entry is what BuildKit says of one build.
func entry(digest, names string) string {
	return `{"buildx.build.ref": "builder/x", "buildx.build.provenance": {"a": [1]}, "containerimage.descriptor": {"digest": "x"}, "containerimage.digest": "` + digest + `", "image.name": "` + names + `"}`
}

func TestMetadata(t *testing.T) {
	tests := []struct{ name, metadata, target, want string }{
		{"build-push-action", entry(digestA, "ghcr.io/acme/app:1,ghcr.io/acme/app:2"), "staging", "ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"several repositories", entry(digestA, "ghcr.io/acme/app:1, docker.io/acme/app:1"), "staging", "ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"Docker Hub", entry(digestA, "acme/app:1"), "staging", "index.docker.io/acme/app:@" + digestA + " => index.docker.io/acme/app[staging]"},
		{"pushed by digest", entry(digestA, "ghcr.io/acme/app"), "staging", "ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"bake-action, in its order", `{"web": ` + entry(digestB, "ghcr.io/acme/web:1") + `, "app": ` + entry(digestA, "ghcr.io/acme/app:1") + `, "buildx.build.warnings": [{"x": 1}]}`, "staging",
			"ghcr.io/acme/web:@" + digestB + " => ghcr.io/acme/web[staging]; ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
		{"bake's targets of one image", `{"a": ` + entry(digestA, "ghcr.io/acme/app:1") + `, "b": ` + entry(digestA, "ghcr.io/acme/app:2") + `}`, "staging",
			"ghcr.io/acme/app:@" + digestA + " => ghcr.io/acme/app[staging]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			settings, err := ask(nil, env{"metadata": tt.metadata, "target": tt.target})
			if err != nil {
				t.Fatal(err)
			}
			if got := show(settings.Request.Items); got != tt.want {
				t.Errorf("items are\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestMetadataFaults(t *testing.T) {
	good := entry(digestA, "ghcr.io/acme/app:1")
	tests := []struct {
		name  string
		env   env
		input string
		want  []string
	}{
		{"no JSON", env{"metadata": "x"}, "metadata", []string{`"x", a file that is not in /`, "docker/bake-action", "actions/download-artifact must come first"}},
		{"a list", env{"metadata": "[]"}, "metadata", []string{`"[]", which is neither JSON that begins with { nor a path`}},
		{"several lines", env{"metadata": "a\nb"}, "metadata", []string{`"a\nb", which is neither`}},
		{"a long line", env{"metadata": strings.Repeat("x", maxConfigPath+1)}, "metadata", []string{"which is neither"}},
		{"cut off", env{"metadata": good[:len(good)-1]}, "metadata", []string{"damaged or cut off"}},
		{"cut off in a value", env{"metadata": good[:len(good)-3]}, "metadata", []string{"damaged or cut off"}},
		{"two", env{"metadata": good + good}, "metadata", []string{"something stands after its end"}},
		{"key twice", env{"metadata": `{"image.name": "a", "image.name": "b"}`}, "metadata", []string{`"image.name" stands in it twice`}},
		{"empty", env{"metadata": "{}"}, "metadata", []string{"no image", "push: true"}},
		{"nothing built", env{"metadata": `{"buildx.build.ref": "x", "buildx.build.warnings": []}`}, "metadata", []string{"no image"}},
		{"nothing pushed", env{"metadata": `{"image.name": "a.io/x:1"}`}, "metadata", []string{"without containerimage.digest", "push: true"}},
		{"empty digest", env{"metadata": entry("", "a.io/x:1")}, "metadata", []string{"without containerimage.digest"}},
		{"no name", env{"metadata": entry(digestA, "")}, "metadata", []string{"without image.name"}},
		{"nothing pushed for a target", env{"metadata": `{"a": ` + good + `, "te\u202est": {"buildx.build.ref": "x"}}`}, "metadata", []string{`target "te\u202est" without containerimage.digest`}},
		{"target of another kind", env{"metadata": `{"a": ` + good + `, "b": 1}`}, "metadata", []string{`target "b" that is no JSON object`}},
		{"digest of another kind", env{"metadata": `{"image.name": "a.io/x:1", "containerimage.digest": 1}`}, "metadata", []string{"whose containerimage.digest is no text"}},
		{"name of another kind", env{"metadata": `{"image.name": null, "containerimage.digest": "` + digestA + `"}`}, "metadata", []string{"whose image.name is no text"}},
		{"bad digest", env{"metadata": entry("sha256:12", "a.io/x:1")}, "metadata", []string{`metadata, whose digest "sha256:12"`}},
		{"bad name", env{"metadata": entry(digestA, "a.io/\\u001b[31m:1")}, "metadata", []string{`"a.io/\x1b[31m"`}},
		{"source", env{"metadata": good, "source": "a.io/x:1"}, "source", []string{`"a.io/x:1" together with metadata`}},
		{"digest", env{"metadata": good, "digest": digestA}, "digest", []string{"together with metadata"}},
		{"arrows", env{"metadata": good, "target": "a.io/x:1 => prod"}, "metadata", []string{"together with `source => target` lines"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.env["target"] == "" {
				tt.env["target"] = "staging"
			}
			_, err := ask(nil, tt.env)
			fault := expectOneFault(t, err)
			if fault.Input != tt.input || fault.Expected == "" {
				t.Errorf("fault is %+v, want one in %s", fault, tt.input)
			}
			expectText(t, fault.Message(), tt.want...)
		})
	}
}

// A file is found from the workspace, where a step before has left it, and read as
// the output is. What cannot be read is told from what is not there.
func TestMetadataInAFile(t *testing.T) {
	long(t)
	workspace := t.TempDir()
	t.Chdir(t.TempDir())
	good := entry(digestA, "ghcr.io/acme/app:1")
	for name, text := range map[string]string{
		"build.json": good + "\n", "out/build.json": good, "cut.json": good[:len(good)-1], "empty.json": "", "unpushed.json": "{}",
		"largest.json": good + strings.Repeat(" ", maxMetadataFile-len(good)), "large.json": good + strings.Repeat(" ", maxMetadataFile+1-len(good)),
	} {
		write(t, filepath.Join(workspace, name), text)
	}
	if err := os.Symlink("build.json", filepath.Join(workspace, "link.json")); err != nil {
		t.Fatal(err)
	}
	from := func(path string) env {
		return env{"metadata": path, "target": "staging", "GITHUB_WORKSPACE": workspace}
	}
	for _, path := range []string{"build.json", " ./out/build.json", "largest.json", filepath.Join(workspace, "build.json")} {
		settings, err := ask(nil, from(path))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := show(settings.Request.Items), "ghcr.io/acme/app:@"+digestA+" => ghcr.io/acme/app[staging]"; got != want {
			t.Errorf("items of %s are %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]string{
		"missing.json":  `given "missing.json", a file that is not in ` + workspace + "; expected",
		"out":           `file "out": it is a directory and not a regular file`,
		"link.json":     `file "link.json": it is a symbolic link`,
		"large.json":    `file "large.json": it has more than 16777216 bytes`,
		"cut.json":      `file "cut.json": metadata that is no JSON object of a build: it is damaged or cut off`,
		"empty.json":    `file "empty.json": metadata that is no JSON object of a build: it does not begin with {`,
		"unpushed.json": `file "unpushed.json": no image; expected the metadata of images that were pushed`,
	} {
		_, err := ask(nil, from(path))
		fault := expectOneFault(t, err)
		expectText(t, fault.Message(), "metadata: given", want)
	}
}

func TestMetadataIsBounded(t *testing.T) {
	var targets []string
	for i := range maxBuilds + 1 {
		targets = append(targets, `"t`+strings.Repeat("x", i)+`": {}`)
	}
	_, f := parseMetadata([]byte("{" + strings.Join(targets, ",") + "}"))
	if f == nil || !strings.Contains(f.Given, "more than 1000 builds") {
		t.Errorf("fault is %+v", f)
	}
}

// FuzzMetadata: what is taken for metadata is JSON, and every source in it stands
// there with its digest; what is not is said in one short line.
func FuzzMetadata(f *testing.F) {
	for _, seed := range []string{entry(digestA, "ghcr.io/acme/app:1,b.io/x"), `{"a": ` + entry(digestA, "a.io/x") + `}`, "{}", `{"image.name":null}`, "[", `{"a":{"a":{}}}`, `{"containerimage.digest":"\u0000"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sources, fault := parseMetadata([]byte(text))
		if fault != nil {
			if m := fault.Message(); len(m) > 2048 || strings.ContainsAny(m, "\n\r\x1b\x00") {
				t.Errorf("%q is refused with %q", text, m)
			}
			return
		}
		var whole any
		if err := json.Unmarshal([]byte(text), &whole); err != nil || len(sources) == 0 {
			t.Fatalf("%q has the sources %v, and as JSON the error %v", text, sources, err)
		}
		for _, s := range sources {
			if !holds(whole, s.Digest.String()) || s.Tag != "" {
				t.Errorf("%q has no digest %s", text, s.Digest)
			}
		}
	})
}

// holds says whether a JSON value has the text in it somewhere.
func holds(value any, text string) bool {
	switch v := value.(type) {
	case string:
		return v == text
	case map[string]any:
		for _, inside := range v {
			if holds(inside, text) {
				return true
			}
		}
	}
	return false
}
