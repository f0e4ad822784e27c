package config

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day         = 24 * time.Hour
	maxValidFor = 90 * day
	maxMaxAge   = 3650 * day
	maxSoak     = 365 * day
)

// durations are the texts that are durations, however long.
var durations = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?[dhms])+$`)

var units = map[byte]time.Duration{'d': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}

// Duration reads 7d, 36h or 1h30m, as durations in the file are written. Text of
// another form is not ok, nor is one that is longer than 100,000 days.
func Duration(text string) (d time.Duration, ok bool) {
	const most = 100_000 * day
	if !durations.MatchString(text) {
		return 0, false
	}
	sum := total(text)
	return time.Duration(math.Round(min(sum, float64(most)))), sum <= float64(most)
}

// total is a duration in nanoseconds, whose form was checked.
func total(text string) (sum float64) {
	for rest := text; rest != ""; {
		end := strings.IndexAny(rest, "dhms")
		count, err := strconv.ParseFloat(rest[:end], 64)
		if err != nil {
			count = math.Inf(1)
		}
		sum += count * float64(units[rest[end]])
		rest = rest[end+1:]
	}
	return sum
}

// duration reads 7d or 1h30m: the shape has checked the form.
func (r *reader) duration(n *node, most time.Duration, mostForm string) time.Duration {
	sum := total(n.text)
	switch {
	case sum < float64(time.Second):
		r.refuse(n, quote(n.text)+", which is less than a second", durationForm)
	case sum > float64(most):
		r.refuse(n, quote(n.text), "at most "+mostForm)
	default:
		return time.Duration(math.Round(sum))
	}
	return 0
}
