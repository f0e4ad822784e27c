package gate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Most of what a message repeats, in bytes and in items.
const (
	maxQuoted   = 100  // of a stranger's text
	maxSentence = 1000 // of the config's text, or of another package's error
	maxListed   = 8
)

// quote shows a stranger's text: in quotes, escaped to ASCII so that control
// characters and look-alikes are seen, and shortened.
func quote(text string) string {
	whole := strconv.QuoteToASCII(text[:min(len(text), maxQuoted)])
	if len(text) <= maxQuoted && len(whole) <= maxQuoted {
		return whole
	}
	end := min(len(text), maxQuoted-5) // quotes and the three bytes of …
	for len(strconv.QuoteToASCII(text[:end]))+len("…") > maxQuoted {
		end--
	}
	return strconv.QuoteToASCII(text[:end]) + "…"
}

// plain shows text of the config or of an error of our own, on one line.
func plain(text string) string {
	var b strings.Builder
	for i, r := range text {
		if i >= maxSentence {
			return b.String() + "…"
		}
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			b.WriteByte(' ')
		case strconv.IsPrint(r):
			b.WriteRune(r)
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		}
	}
	return b.String()
}

// list joins items as a sentence does, and counts those that are too many.
func list(items []string) string {
	if len(items) > maxListed {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:maxListed], ", "), len(items)-maxListed)
	}
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " and " + items[last]
}

func quoted(items []string) []string {
	var all []string
	for _, i := range items {
		all = append(all, quote(i))
	}
	return all
}

// count is "1 label" or "2 labels".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// short is a digest that a person can compare: sha256:0123456789ab.
func short(digest string) string {
	algorithm, hex, found := strings.Cut(digest, ":")
	if !found || len(hex) < 12 || strings.Trim(hex, "0123456789abcdef") != "" || algorithm != "sha256" {
		return quote(digest)
	}
	return algorithm + ":" + hex[:12]
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" }

// moments is a moment in UTC and on the clocks of a zone.
func moments(t time.Time, zone *time.Location) string {
	if zone.String() == time.UTC.String() {
		return moment(t)
	}
	return fmt.Sprintf("%s (%s %s)", moment(t), t.In(zone).Format("Mon 15:04"), zone)
}

// long is from where on a duration is shown in days.
const long = 100 * time.Hour

// span is a duration in hours and minutes, what is less than a minute left out; a
// long one in days.
func span(d time.Duration) string {
	if d >= long {
		return fmt.Sprintf("%d days", int64((d+12*time.Hour)/(24*time.Hour)))
	}
	hours, minutes := int64(d/time.Hour), int64(d%time.Hour/time.Minute)
	switch {
	case hours == 0 && minutes == 0:
		return "less than 1 min"
	case hours == 0:
		return fmt.Sprintf("%d min", minutes)
	case minutes == 0:
		return fmt.Sprintf("%d h", hours)
	}
	return fmt.Sprintf("%d h %d min", hours, minutes)
}

// spanUp is span, rounded up to the minute: for what is still to come, or too long.
func spanUp(d time.Duration) string {
	return span(roundUp(d))
}

func roundUp(d time.Duration) time.Duration { return (d + time.Minute - 1).Truncate(time.Minute) }

// cut shortens what plain has made.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
