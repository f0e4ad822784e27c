package gate

import (
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestSpan(t *testing.T) {
	for _, test := range []struct {
		d        time.Duration
		down, up string
	}{
		{0, "less than 1 min", "less than 1 min"},
		{time.Second, "less than 1 min", "1 min"},
		{time.Minute, "1 min", "1 min"},
		{59*time.Minute + 59*time.Second, "59 min", "1 h"},
		{time.Hour, "1 h", "1 h"},
		{19*time.Hour + 12*time.Minute, "19 h 12 min", "19 h 12 min"},
		{99*time.Hour + 1, "99 h", "99 h 1 min"},
		{100 * time.Hour, "4 days", "4 days"},
		{720*time.Hour + 1, "30 days", "30 days"},
	} {
		if down, up := span(test.d), spanUp(test.d); down != test.down || up != test.up {
			t.Errorf("%s: %q and %q, want %q and %q", test.d, down, up, test.down, test.up)
		}
	}
}

func TestMoments(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	late := time.Date(2026, 11, 21, 23, 30, 0, 0, time.UTC)
	if got := moments(late, berlin); got != "2026-11-21 23:30 UTC (Sun 00:30 Europe/Berlin)" {
		t.Error(got)
	}
	if got := moments(late.In(berlin), time.UTC); got != "2026-11-21 23:30 UTC" {
		t.Error(got)
	}
}

func TestQuote(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("a", 98), strings.Repeat("a", 99), strings.Repeat("a", 5000), strings.Repeat("\x00", 99), strings.Repeat("😀", 40), "\u202e\xff", strings.Repeat("\"", 60)} {
		got := quote(text)
		if len(got) > maxQuoted {
			t.Errorf("%q: %d bytes", got, len(got))
		}
		whole := strconv.QuoteToASCII(text)
		if len(whole) <= maxQuoted && got != whole {
			t.Errorf("%q, want %q", got, whole)
		}
		if len(whole) > maxQuoted && (!strings.HasSuffix(got, `"…`) || len(got) < 80) {
			t.Errorf("%q", got)
		}
	}
}

func TestPlain(t *testing.T) {
	if got := plain("Übergabe\nund\tmehr\x1b[0m\u202e\xff"); got != `Übergabe und mehr\x1b[0m\u202e`+"\uFFFD" && got != `Übergabe und mehr\x1b[0m\u202e\ufffd` {
		t.Errorf("%q", got)
	}
	long := plain(strings.Repeat("ü", 5000))
	if len(long) > maxSentence+len("…")+1 || !utf8.ValidString(long) || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes", len(long))
	}
}

func TestShort(t *testing.T) {
	for digest, want := range map[string]string{
		digestA: "sha256:aaaaaaaaaaaa", "sha256:abc": `"sha256:abc"`, "md5:" + strings.Repeat("a", 32): `"md5:` + strings.Repeat("a", 32) + `"`,
		"sha256:\x1b" + strings.Repeat("a", 20): `"sha256:\x1b` + strings.Repeat("a", 20) + `"`, "": `""`,
	} {
		if got := short(digest); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
