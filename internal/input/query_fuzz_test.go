package input

import (
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	ago  = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?[dhms])+$`)
	term = regexp.MustCompile(`([0-9.]+)([dhms])`)
)

// FuzzSince reckons durations again in whole fractions, and writes times again.
func FuzzSince(f *testing.F) {
	for _, seed := range []string{"30d", "12h", "1h30m", "0.1s", "1.5d0.25h", "2026-11-01", "2026-11-22T14:30:00Z", "2026-11-22T16:30:00.25+02:00", "0000-01-01", "2026-11-01T08:00:00,5Z", "-1d", "1d 2h", "9999999d", "2026-13-01", "2026-11-01T8:00:00Z", "\x1b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		since, fault := parseSince(text, now)
		if fault != nil {
			if fault.Expected == "" || len(fault.Message()) > 2000 || strings.ContainsAny(fault.Message(), "\x1b\r\n\x00") {
				t.Fatalf("fault is %+v", fault)
			}
			return
		}
		switch {
		case text == "":
			if !since.IsZero() {
				t.Fatalf("nothing is %s", since)
			}
		case ago.MatchString(text):
			expectAgo(t, text, now.Sub(since))
		case len(text) == len("2026-11-01"):
			if since.Format("2006-01-02 15:04:05.999999999") != text+" 00:00:00" {
				t.Fatalf("%q is %s", text, since)
			}
		default:
			_, zone, _ := strings.Cut(text, "T")
			again, err := time.Parse("2006-01-02T15:04:05Z07:00", text)
			if zone == "" || err != nil || !again.Equal(since) || !strings.HasPrefix(again.Format(time.RFC3339Nano), text[:len("2026-11-22T14:30:00")]) {
				t.Fatalf("%q is %s, %v", text, since, err)
			}
		}
		if since.After(now) || since.Location() != time.UTC {
			t.Fatalf("%q is %s", text, since)
		}
	})
}

// expectAgo allows what floating point is off by: a part in 2^50.
func expectAgo(t *testing.T, text string, got time.Duration) {
	t.Helper()
	units := map[string]int64{"d": 24 * 3600 * 1e9, "h": 3600 * 1e9, "m": 60 * 1e9, "s": 1e9}
	sum := new(big.Rat)
	for _, m := range term.FindAllStringSubmatch(text, -1) {
		count, ok := new(big.Rat).SetString(m[1])
		if !ok {
			t.Fatalf("%q has %q", text, m[1])
		}
		sum.Add(sum, count.Mul(count, new(big.Rat).SetInt64(units[m[2]])))
	}
	want, _ := sum.Float64()
	if diff := float64(got) - want; diff > 1+want/(1<<50)*float64(len(text)) || -diff > 1+want/(1<<50)*float64(len(text)) {
		t.Fatalf("%q is %s ago, want %g ns", text, got, want)
	}
}
