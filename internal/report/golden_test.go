package report

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

var update = flag.Bool("update", false, "write testdata anew")

// TestGolden holds the texts of typical reports: a summary (.md), and the log's
// closing lines with the outputs (.txt). `go test ./internal/report -update`
// writes them anew; read the difference before you commit it.
func TestGolden(t *testing.T) {
	for name, r := range cases() {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".md", Summary(r))
			golden(t, name+".txt", linesAndOutputs(r))
		})
	}
}

// packed is a plan's text, which another version of Go may pack otherwise.
var packed = regexp.MustCompile(`\bH4sI[A-Za-z0-9_-]{100,}`)

func linesAndOutputs(r document.Report) string {
	var text strings.Builder
	text.WriteString(strings.Join(Lines(r), "\n") + "\n\n")
	for _, o := range Outputs(r) {
		text.WriteString(o.Name + "<<\n" + packed.ReplaceAllString(o.Value, "H4sI…") + "\n")
	}
	return text.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs from what was written before.\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestGoldenFilesHaveACase(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), ".")
		if _, ok := cases()[name]; !ok {
			t.Errorf("%s belongs to no case", file)
		}
	}
}
