package credential

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestRedact(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain", "refused", "refused"},
		{"secret", "refused hunter2, and again hunter2", "refused ***, and again ***"},
		{"lines", "first\r\nsecond", "first"},
		{"line feed", "first\nsecond", "first"},
		{"long", "x" + strings.Repeat("é", maxAnswer), "x" + strings.Repeat("é", maxAnswer/2-1) + "…"},
	} {
		got := redact(t.Context(), errors.New(test.text), "", "hunter2").Error()
		if got != test.want || !utf8.ValidString(got) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("cancelled")
	cancel(cause)
	if err := redact(ctx, errors.New("x")); !errors.Is(err, cause) {
		t.Errorf("after the context: %v", err)
	}
}

// TestErrorTellsNotices: what an earlier place lacked may be the reason.
func TestErrorTellsNotices(t *testing.T) {
	env := dockerConfig(t, `{"credsStore": "absent"}`).with(environment{"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/key.json"})
	_, err := (&Chain{Getenv: env.get}).Find(t.Context(), Target, repository(t, googleRepository))
	if err == nil || !strings.Contains(err.Error(), "/nowhere/key.json") || !strings.Contains(err.Error(), "docker-credential-absent") {
		t.Errorf("error %v", err)
	}
}
