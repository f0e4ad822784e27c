package config

import (
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	day         = 24 * time.Hour
	maxValidFor = 90 * day
	maxMaxAge   = 3650 * day
)

var units = map[byte]time.Duration{'d': day, 'h': time.Hour, 'm': time.Minute, 's': time.Second}

// duration reads 7d or 1h30m: the shape has checked the form.
func (r *reader) duration(n *node, most time.Duration, mostForm string) time.Duration {
	total := 0.0
	for rest := n.text; rest != ""; {
		end := strings.IndexAny(rest, "dhms")
		count, err := strconv.ParseFloat(rest[:end], 64)
		if err != nil {
			count = math.Inf(1)
		}
		total += count * float64(units[rest[end]])
		rest = rest[end+1:]
	}
	switch {
	case total < float64(time.Second):
		r.refuse(n, quote(n.text)+", which is less than a second", durationForm)
	case total > float64(most):
		r.refuse(n, quote(n.text), "at most "+mostForm)
	default:
		return time.Duration(math.Round(total))
	}
	return 0
}
