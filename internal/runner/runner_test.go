package runner

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/artifact-promotion/promote/internal/runner/runnertest"
)

// observer is what the engine calls (package promote).
type observer interface {
	Step(title string)
	Info(text string)
	Notice(text string)
	Warning(text string)
	Progress(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration)
}

var _ observer = (*Runner)(nil)

// stage is a Runner with its streams and its clock in the test's hand.
type stage struct {
	*Runner
	stdout, stderr bytes.Buffer
	now            time.Time
}

func newStage(environment map[string]string, terminal bool) *stage {
	s := &stage{now: time.Date(2026, 11, 22, 14, 30, 0, 0, time.UTC)}
	s.Runner = New(Options{
		Getenv:   func(name string) string { return environment[name] },
		Stdout:   &s.stdout,
		Stderr:   &s.stderr,
		Terminal: terminal,
		Width:    80,
		Now:      func() time.Time { return s.now },
	})
	return s
}

func onActions() *stage { return newStage(map[string]string{"GITHUB_ACTIONS": "true"}, false) }
func onShell() *stage   { return newStage(nil, false) }

// commands are the names of the commands in all that was printed.
func (s *stage) commands() []runnertest.Command {
	return runnertest.ParseLog(s.stdout.String() + s.stderr.String())
}

func names(commands []runnertest.Command) string {
	var all []string
	for _, command := range commands {
		all = append(all, command.Name)
	}
	return strings.Join(all, " ")
}

func TestInActions(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "": false, "false": false, "TRUE": false, "1": false} {
		s := newStage(map[string]string{"GITHUB_ACTIONS": value}, false)
		if got := s.InActions(); got != want {
			t.Errorf("GITHUB_ACTIONS=%q: InActions = %v, want %v", value, got, want)
		}
	}
}

func TestZeroOptionsWork(t *testing.T) {
	r := New(Options{})
	r.Mask("secret")
	r.Step("step")
	r.Error("error")
	r.Progress(1, 2, 0, 1, time.Hour)
	if err := r.SetOutputs(nil); err != nil {
		t.Error(err)
	}
	if err := r.WriteSummary("x"); err != nil {
		t.Error(err)
	}
}

func TestLogOnActions(t *testing.T) {
	s := onActions()
	s.Step("Copy")
	s.Info("one\ntwo")
	s.Step("Verify")
	s.Notice("100 %\ndone")
	s.Warning("careful")
	s.Error("broken")
	s.EndGroup()
	want := "::group::Copy\none\ntwo\n::endgroup::\n::group::Verify\n" +
		"::notice::100 %25%0Adone\n::warning::careful\n::endgroup::\n::error::broken\n"
	if got := s.stdout.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if s.stderr.Len() > 0 {
		t.Errorf("stderr has %q: the order of two streams is lost on the runner", s.stderr.String())
	}
}

func TestLogOnShell(t *testing.T) {
	s := onShell()
	s.Step("Copy")
	s.Info("one\ntwo")
	s.Notice("done")
	s.Warning("careful\nvery")
	s.Error("broken\ntwice")
	s.EndGroup()
	if got, want := s.stdout.String(), "==> Copy\none\ntwo\nnotice: done\nwarning: careful\n         very\n"; got != want {
		t.Errorf("stdout: got %q, want %q", got, want)
	}
	if got, want := s.stderr.String(), "error: broken\n       twice\n"; got != want {
		t.Errorf("stderr: got %q, want %q", got, want)
	}
}

// hostileTexts try to make the runner or a terminal act.
var hostileTexts = []string{
	"::error::x", "  ::error::x", "\t::set-output name=digest::evil", "##[error]x", "a ##[group]x ##[error]y", "###[error]x", "##[[error]x",
	":::error::x", "::::error::x", ":::::error:::::x", "x\n::stop-commands::t\n::add-mask::a", "x\r::error::y\r\n::error::z",
	"x\u0085::error::y", "x\u2028::error::y", "x\x0b::error::y", "x\x0c::error::y", "\ufeff::error::x", "\u00a0::error::x", "\u3000::error::x",
	":\u200b:error::x", "::error:\u00ad:x", ":\x00:error:\x00:x", "#\u200d#\u2060[error]x", "\u034f:\ufe0f:error::x", ":\u0591:error:\u0640:x", ":\u0301:error::x",
	"%0A::error::x", "%0D%0A::error::x", "100% ::error::x", "\x1b[31m::error::x\x1b[0m", "\x1b]0;title\x07", "\u202egnihtemos",
	"::add-mask::sha256", "::group::x", "::endgroup::", "::echo::on", "##[start-action x]", "::ERROR::x", "\xff::error::x", ":\xff:error::x",
	strings.Repeat(":", 100) + "error::x", strings.Repeat("#", 50) + "[error]x", "\n\n::error::x\n\n", "",
}

func TestHostileTextIsNoCommand(t *testing.T) {
	for _, text := range hostileTexts {
		t.Run(fmt.Sprintf("%.30q", text), func(t *testing.T) { checkHostile(t, text) })
	}
}

func FuzzHostileText(f *testing.F) {
	for _, text := range hostileTexts {
		f.Add(text)
	}
	f.Fuzz(checkHostile)
}

// checkHostile prints the text in every way: the runner must see our own
// commands and no other, and no control character may reach a terminal.
func checkHostile(t *testing.T, text string) {
	for _, print := range []struct {
		do   func(s *stage)
		want string // the commands on Actions
	}{
		{func(s *stage) { s.Info(text) }, ""},
		{func(s *stage) { s.Notice(text) }, "notice"},
		{func(s *stage) { s.Warning(text) }, "warning"},
		{func(s *stage) { s.Error(text) }, "error"},
		{func(s *stage) { s.Step(text); s.EndGroup() }, "group endgroup"},
		{func(s *stage) { s.annotations["error"] = maxAnnotations; s.Error(text) }, ""},
	} {
		s := onActions()
		print.do(s)
		if got := names(s.commands()); got != print.want {
			t.Errorf("%q: the runner sees %q, want %q, in %q", text, got, print.want, s.stdout.String())
		}
		checkData(t, s.commands())
		checkCharacters(t, s)
		s = onShell()
		print.do(s)
		if got := names(s.commands()); got != "" {
			t.Errorf("%q on a shell: a runner would see %q in %q", text, got, s.stdout.String())
		}
		checkCharacters(t, s)
	}
}

// checkData: what a command shows is printed in the log again, where GitHub's
// page reads ##[group] and its like.
func checkData(t *testing.T, commands []runnertest.Command) {
	for _, command := range commands {
		if found := runnertest.ParseLog(command.Data); len(found) > 0 {
			t.Errorf("the data of %s holds the command %s: %q", command.Name, found[0].Name, command.Data)
		}
	}
}

func checkCharacters(t *testing.T, s *stage) {
	for _, c := range s.stdout.String() + s.stderr.String() {
		if c != '\n' && (c < ' ' || c >= 0x7f && c <= 0x9f || c == '\u202e' || c == '\u200b') {
			t.Errorf("%U reaches the stream: %q", c, s.stdout.String())
		}
	}
}

func TestInfoBreaksOnlyCommands(t *testing.T) {
	for in, want := range map[string]string{
		"sha256:ab [x] #1 ##2 a:b: :c":   "sha256:ab [x] #1 ##2 a:b: :c",
		"::1":                            `:\x3a1`,
		":::":                            `:\x3a:`,
		"::::":                           `:\x3a:\x3a`,
		"##[x":                           `##\x5bx`,
		"a\tb\x1b":                       `a\tb\x1b`,
		"→ ü 漢字":                         "→ ü 漢字",
		"first\r\nsecond\rthird\n\n\r\n": "first\nsecond\nthird",
	} {
		s := onShell()
		s.Info(in)
		if got := s.stdout.String(); got != want+"\n" {
			t.Errorf("Info(%q) prints %q, want %q", in, got, want)
		}
	}
}

func TestLongTextIsCut(t *testing.T) {
	s := onShell()
	s.Info(strings.Repeat("ü", maxText))
	got := s.stdout.String()
	if len(got) > maxText+100 || !strings.HasSuffix(got, fmt.Sprintf("… (%d more bytes)\n", maxText)) {
		t.Errorf("%d bytes are printed, ending in %q", len(got), got[len(got)-40:])
	}
}

func TestAnnotationsBeyondTenAreLines(t *testing.T) {
	s := onActions()
	for i := range 12 {
		s.Warning(fmt.Sprint("w", i))
	}
	s.Error("e")
	want := strings.TrimSpace(strings.Repeat("warning ", 10)) + " error"
	if got := names(s.commands()); got != want {
		t.Errorf("commands are %q, want %q", got, want)
	}
	if got := s.stdout.String(); !strings.Contains(got, "\nwarning: w10\nwarning: w11\n") {
		t.Errorf("what is no annotation any more is not printed: %q", got)
	}
}

func TestLongAnnotationIsCutAndPrintedWhole(t *testing.T) {
	for _, test := range []struct {
		text string
		want int // UTF-16 units of the annotation
		cut  bool
	}{
		{strings.Repeat("a", maxAnnotationUnits), maxAnnotationUnits, false},
		{strings.Repeat("a", maxAnnotationUnits+1), maxAnnotationUnits, true},
		{strings.Repeat("😀", maxAnnotationUnits/2), maxAnnotationUnits, false},
		{strings.Repeat("😀", maxAnnotationUnits), maxAnnotationUnits - 1, true},
	} {
		s := onActions()
		s.Notice(test.text)
		data := s.commands()[0].Data
		units := 0
		for _, c := range data {
			units += 1 + int(c>>16)
		}
		if units != test.want {
			t.Errorf("the annotation has %d units, want %d", units, test.want)
		}
		if whole := strings.Contains(s.stdout.String(), "\nnotice: "+test.text+"\n"); whole != test.cut {
			t.Errorf("the whole text is printed below: %v, want %v", whole, test.cut)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestBrokenStreamsDoNotPanic(t *testing.T) {
	for _, actions := range []string{"true", ""} {
		r := New(Options{
			Getenv: func(string) string { return actions }, Stdout: brokenWriter{}, Stderr: brokenWriter{}, Terminal: true,
		})
		r.Mask("secret")
		r.Step("step")
		r.Info("info")
		r.Warning("warning")
		r.Progress(1, 2, 0, 1, time.Hour)
		r.Error("error")
		if r.InActions() != (actions == "true") {
			t.Error("the environment was not read")
		}
	}
}

func TestMask(t *testing.T) {
	s := onActions()
	s.Mask("hunter22")
	s.Mask("  {\n  \"key\": \"a%b\",\r\n}\rlast line\n")
	s.Mask("abc")
	s.Mask("")
	s.Mask(" \n\t")
	s.Mask("::stop-commands::x")
	var got []string
	for _, command := range s.commands() {
		got = append(got, command.Name+" "+command.Data)
	}
	want := "add-mask hunter22|add-mask \"key\": \"a%b\",|add-mask last line|add-mask ::stop-commands::x"
	if strings.Join(got, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "|"), want)
	}
}

func TestMaskPrintsNothingOnAShell(t *testing.T) {
	s := onShell()
	s.Mask("hunter22")
	if got := s.stdout.String() + s.stderr.String(); got != "" {
		t.Errorf("a shell shows %q", got)
	}
}

func TestConcurrentUse(t *testing.T) {
	s := newStage(nil, true)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 100 {
				s.Info(fmt.Sprintf("line %d of %d", n, i))
				s.Progress(int64(n), 100, n, 100, time.Minute)
				s.Step("step")
			}
		})
	}
	group.Wait()
	s.EndGroup()
	for _, line := range strings.Split(strings.TrimSpace(s.stdout.String()), "\n") {
		text := line[strings.LastIndex(line, "\r")+1:]
		if !strings.HasPrefix(text, "line ") && text != "==> step" && text != "" {
			t.Fatalf("lines are mixed: %q", line)
		}
	}
}
