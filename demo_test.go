package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// TestDemo runs the demo through the program itself: every step must end as its
// story says, or the exit code is not 0.
func TestDemo(t *testing.T) {
	long(t)
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), nil, []string{"demo"}, &stdout, &stderr)
	if code != 0 {
		t.Fatalf("exit code %d\n%s\n%s", code, stdout.String(), stderr.String())
	}
	show := stdout.String()
	for _, want := range []string{
		"outputs: result=promoted changed=true", "outputs: result=unchanged changed=false", "outputs: result=denied",
		"production holds every manifest", "▸ Commands to verify and to go back", "Reason: CHG-1042",
		"outputs: result=rolled-back changed=true", "with everything that belongs to it.",
		"outputs: result=listed changed=false", "outputs: result=clean changed=false",
	} {
		if !strings.Contains(show, want) {
			t.Errorf("the demo does not show %q:\n%s", want, show)
		}
	}
	story := regexp.MustCompile(`(?s)WHO +RESULT .*octocat +rolled back +- +INC-1234, checkout fails\n.*octocat +promoted +- +CHG-1043\n.*octocat +promoted +- +CHG-1042\n`)
	if !story.MatchString(show) {
		t.Errorf("the demo does not show its history, newest first:\n%s", show)
	}
	for _, never := range []string{"password-of-the-demo", "::", "<details>"} {
		if strings.Contains(show, never) {
			t.Errorf("the demo shows %q", never)
		}
	}
	if !strings.Contains(show[strings.LastIndex(show, "─"):], "Go back, from a shell:") {
		t.Error("the demo does not end with the rendered summary")
	}
}
