package runner

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/artifact-promotion/promote/internal/report"
	"github.com/artifact-promotion/promote/internal/runner/runnertest"
)

// withFiles is a Runner on Actions whose command files are in a folder.
func withFiles(t *testing.T) (s *stage, outputs, summary string) {
	t.Helper()
	folder := t.TempDir()
	outputs, summary = filepath.Join(folder, "output"), filepath.Join(folder, "summary")
	return newStage(map[string]string{
		"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": outputs, "GITHUB_STEP_SUMMARY": summary,
	}, false), outputs, summary
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var hostileValues = []string{
	"", "plain", "two\nlines", "\n", "\n\n", "ends\n", "\nstarts", "a=b", "a<<EOF\nx\nEOF\nevil=1", "EOF", "name<<", "<<", "=",
	"x\r\ny\rz", "_GitHubActionsFileCommandDelimeter_", "x\n_GitHubActionsFileCommandDelimeter_\nevil<<_GitHubActionsFileCommandDelimeter_\ny",
	"promote_\npromote_", "\xff\xfe", "\x00\x1b", "\u2028\u0085", "\ufeffx", strings.Repeat("long ", 20_000),
}

func TestOutputsComeBack(t *testing.T) {
	for _, value := range hostileValues {
		checkRoundTrip(t, value)
	}
}

func FuzzOutputs(f *testing.F) {
	for _, value := range hostileValues {
		f.Add(value)
	}
	f.Fuzz(checkRoundTrip)
}

func checkRoundTrip(t *testing.T, value string) {
	s, outputs, _ := withFiles(t)
	sent := []report.Output{{Name: "first", Value: value}, {Name: "second-one", Value: "x"}, {Name: "third", Value: value}}
	for range 2 {
		if err := s.SetOutputs(sent); err != nil {
			t.Fatal(err)
		}
	}
	got, err := runnertest.ParseKeyValueFile(read(t, outputs))
	if err != nil {
		t.Fatalf("%q: %v", value, err)
	}
	valid := strings.ToValidUTF8(value, "\uFFFD")
	if want := map[string]string{"first": valid, "second-one": "x", "third": valid}; !maps.Equal(got, want) {
		t.Errorf("%q comes back as %q", value, got)
	}
	if s.stdout.Len() > 0 {
		t.Errorf("outputs are printed: %q", s.stdout.String())
	}
}

func TestEveryValueHasItsOwnDelimiter(t *testing.T) {
	s, outputs, _ := withFiles(t)
	if err := s.SetOutputs([]report.Output{{Name: "a"}, {Name: "b"}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(read(t, outputs), "\n")
	first, second := strings.TrimPrefix(lines[0], "a<<"), strings.TrimPrefix(lines[3], "b<<")
	if len(first) < 30 || len(second) < 30 || first == second {
		t.Errorf("delimiters are %q and %q", first, second)
	}
}

func TestOutputsAreAllOrNone(t *testing.T) {
	for name, bad := range map[string]report.Output{
		"value with the delimiter": {Name: "b", Value: "x\nEOF\nevil=1"},
		"name with a line":         {Name: "b<<EOF\nx\nEOF\nc", Value: "x"},
		"name with equals":         {Name: "b=c", Value: "x"},
		"no name":                  {Value: "x"},
		"name is the delimiter":    {Name: "EOF", Value: "x"},
	} {
		s, outputs, _ := withFiles(t)
		s.delimiter = func() string { return "EOF" }
		if err := s.SetOutputs([]report.Output{{Name: "a", Value: "1"}, bad}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := os.Stat(outputs); !os.IsNotExist(err) {
			t.Errorf("%s: something was written: %q", name, read(t, outputs))
		}
	}
}

func TestFilesThatCannotBeWrittenAreErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no", "such", "folder")
	for file, want := range map[string]string{
		"":          "the environment does not name its file in %s",
		missing:     "write to the file in %s: ",
		t.TempDir(): "write to the file in %s: ",
	} {
		s := newStage(map[string]string{"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": file, "GITHUB_STEP_SUMMARY": file}, false)
		err := s.SetOutputs([]report.Output{{Name: "a", Value: "1"}})
		if want := fmt.Sprintf(want, "GITHUB_OUTPUT"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("file %q: SetOutputs = %v, want %q in it", file, err, want)
		}
		err = s.WriteSummary("x")
		if want := fmt.Sprintf(want, "GITHUB_STEP_SUMMARY"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("file %q: WriteSummary = %v, want %q in it", file, err, want)
		}
		s.Info("the lock is free")
	}
}

func TestOutputsOutsideOfActions(t *testing.T) {
	s := onShell()
	if err := s.SetOutputs([]report.Output{{Name: "a", Value: "1"}}); err != nil || s.stdout.Len() > 0 {
		t.Errorf("SetOutputs on a shell = %v, prints %q", err, s.stdout.String())
	}
	path := filepath.Join(t.TempDir(), "output")
	s = newStage(map[string]string{"GITHUB_OUTPUT": path}, false)
	if err := s.SetOutputs([]report.Output{{Name: "a", Value: "1"}}); err != nil {
		t.Fatal(err)
	}
	if got, err := runnertest.ParseKeyValueFile(read(t, path)); err != nil || got["a"] != "1" {
		t.Errorf("outputs in a file that a shell names = %v, %v", got, err)
	}
}

func TestSummaryIsAppended(t *testing.T) {
	s, _, summary := withFiles(t)
	for _, text := range []string{"### one", "### two | ::x"} {
		if err := s.WriteSummary(text); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read(t, summary), "### one\n### two | ::x\n"; got != want {
		t.Errorf("summary = %q, want %q", got, want)
	}
	if s.stdout.Len() > 0 {
		t.Errorf("the summary is printed: %q", s.stdout.String())
	}
}

func TestSummaryThatGitHubWouldDropIsAnError(t *testing.T) {
	s, _, summary := withFiles(t)
	if err := s.WriteSummary(strings.Repeat("x", maxSummary-1)); err != nil {
		t.Errorf("a summary of 1 MiB: %v", err)
	}
	if err := os.Remove(summary); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteSummary(strings.Repeat("x", maxSummary)); err == nil {
		t.Error("a summary of more than 1 MiB is no error")
	}
	if _, err := os.Stat(summary); !os.IsNotExist(err) {
		t.Error("a summary that is too large was written all the same")
	}
}

func TestSummaryOnAShellIsPrinted(t *testing.T) {
	s := newStage(map[string]string{"GITHUB_STEP_SUMMARY": filepath.Join(t.TempDir(), "no", "folder")}, false)
	long := strings.Repeat("line\n", maxText)
	if err := s.WriteSummary("### Done\n\n| a | b |\n::error::x \x1b[31m\n" + long); err != nil {
		t.Fatal(err)
	}
	if got, want := s.stdout.String(), "### Done\n\n| a | b |\n:\\x3aerror:\\x3ax \\x1b[31m\n"+long; got != want {
		t.Errorf("printed %.100q, want %.100q", got, want)
	}
}
