package promote

import (
	"errors"
	"testing"

	"github.com/artifact-promotion/promote/internal/document"
)

func TestEnded(t *testing.T) {
	cause := errors.New("the timeout of 5s has passed")
	const (
		early  = "the run was ended early: the timeout of 5s has passed"
		answer = "; the registry's last answer was 429 Too Many Requests"
	)
	for name, tt := range map[string]struct{ faults, want []string }{
		"nothing else":               {[]string{cause.Error()}, []string{early}},
		"what was being done":        {[]string{"read a: " + cause.Error(), "read b: " + cause.Error()}, []string{early + ", during: read a"}},
		"with the last answer":       {[]string{"write a: " + cause.Error() + answer}, []string{early + ", during: write a" + answer}},
		"an answer tells more":       {[]string{"read a: " + cause.Error(), "write b: " + cause.Error() + answer}, []string{early + ", during: write b" + answer}},
		"the first answer":           {[]string{"write a: " + cause.Error() + answer, "write b: " + cause.Error() + answer}, []string{early + ", during: write a" + answer}},
		"another fault":              {[]string{"read a: 404 Not Found"}, []string{early, "read a: 404 Not Found"}},
		"a fault that goes on to it": {[]string{"a: " + cause.Error() + ": b"}, []string{early, "a: " + cause.Error() + ": b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var faults []document.Fault
			for _, message := range tt.faults {
				faults = append(faults, document.Fault{Message: message})
			}
			got := ended(faults, cause)
			if len(got) != len(tt.want) {
				t.Fatalf("ended(%q) = %q, want %q", tt.faults, got, tt.want)
			}
			for i, f := range got {
				if f.Message != tt.want[i] {
					t.Errorf("fault %d: %q, want %q", i, f.Message, tt.want[i])
				}
			}
		})
	}
}
