package runner

import (
	"strings"
	"testing"
	"time"
)

const mib = 1 << 20

func TestProgressLinesComeEveryFiveSeconds(t *testing.T) {
	for name, s := range map[string]*stage{"actions": onActions(), "shell": onShell(), "actions with a terminal": newStage(map[string]string{"GITHUB_ACTIONS": "true"}, true)} {
		start := s.now
		for second := 0.0; second <= 17; second += 0.25 {
			s.now = start.Add(time.Duration(second * float64(time.Second)))
			s.Progress(int64(second*mib), 100*mib, 1, 9, s.now.Sub(start))
		}
		want := "copied 5.0 MiB of 100 MiB (5 %), 1.0 MiB/s, 1 min 35 s left, 1 of 9 blobs\n" +
			"copied 10 MiB of 100 MiB (10 %), 1.0 MiB/s, 1 min 30 s left, 1 of 9 blobs\n" +
			"copied 15 MiB of 100 MiB (15 %), 1.0 MiB/s, 1 min 25 s left, 1 of 9 blobs\n"
		if got := s.stdout.String(); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestProgressBarIsDrawnInPlace(t *testing.T) {
	s := newStage(nil, true)
	for range 10 {
		s.now = s.now.Add(50 * time.Millisecond)
		s.Progress(mib, 2*mib, 1, 2, 10*time.Second)
	}
	frames := strings.Split(s.stdout.String(), "\r")[1:]
	if len(frames) != 5 {
		t.Errorf("%d frames in half a second, want 5", len(frames))
	}
	for _, frame := range frames {
		if len(frame) != 79 || strings.Contains(frame, "\n") {
			t.Errorf("frame %q does not fill the line", frame)
		}
	}
}

func TestProgressBarGoesBeforeALine(t *testing.T) {
	gone := "\r" + strings.Repeat(" ", 79) + "\r"
	for name, test := range map[string]struct {
		print func(s *stage)
		want  string
	}{
		"info":    {func(s *stage) { s.Info("line") }, gone + "line\n"},
		"step":    {func(s *stage) { s.Step("next") }, gone + "==> next\n"},
		"end":     {func(s *stage) { s.EndGroup() }, gone},
		"error":   {func(s *stage) { s.Error("line") }, gone},
		"warning": {func(s *stage) { s.Warning("line") }, gone + "warning: line\n"},
	} {
		s := newStage(nil, true)
		s.Progress(mib, 2*mib, 1, 2, 10*time.Second)
		s.stdout.Reset()
		test.print(s)
		if got := s.stdout.String(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		s.stdout.Reset()
		if s.EndGroup(); s.stdout.Len() > 0 {
			t.Errorf("%s: the bar is taken away twice", name)
		}
	}
}
