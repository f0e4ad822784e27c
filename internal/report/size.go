package report

import (
	"fmt"
	"strconv"
	"time"
)

// Size is a number of bytes for people: 312 MiB.
func Size(bytes int64) string { return size(float64(bytes)) }

// size is a number of bytes in binary units: 312 MiB, 1.2 GiB.
func size(bytes float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	unit := 0
	for bytes >= 1024 && unit < len(units)-1 {
		bytes /= 1024
		unit++
	}
	if unit > 0 && bytes < 10 {
		return fmt.Sprintf("%.1f %s", bytes, units[unit])
	}
	return fmt.Sprintf("%.0f %s", bytes, units[unit])
}

// span is a time in the two units that matter: 0.4 s, 11 s, 2 min 5 s, 1 h 4 min.
func span(d time.Duration) string {
	switch seconds := int64(d.Round(time.Second) / time.Second); {
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case seconds < 60:
		return fmt.Sprintf("%d s", seconds)
	case seconds < 3600:
		return fmt.Sprintf("%d min %d s", seconds/60, seconds%60)
	default:
		return fmt.Sprintf("%d h %d min", seconds/3600, seconds%3600/60)
	}
}

// Count is a number with its noun: 1 tag, 2 tags.
func Count(n int, noun string) string { return count(n, noun) }

// count is a number with its noun: 1 tag, 2 tags.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Entries counts entries of a ledger.
func Entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}
