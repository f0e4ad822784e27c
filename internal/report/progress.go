package report

import (
	"fmt"
	"strings"
	"time"
)

// ProgressLine says how far a copy is, as one line for a log: "copied 312 MiB of
// 1.2 GiB (26 %), 84 MiB/s, 11 s left, 14 of 47 blobs". A total of 0 is unknown.
func ProgressLine(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration) string {
	text := "copied " + size(float64(max(done, 0)))
	if total > 0 {
		text += fmt.Sprintf(" of %s (%d %%)", size(float64(total)), percent(done, total))
	}
	return text + pace(done, total, elapsed) + blobs(blobsDone, blobsTotal)
}

// ProgressBar says the same in exactly width columns of ASCII, for a line that
// is drawn over and over on a terminal.
func ProgressBar(done, total int64, blobsDone, blobsTotal int, elapsed time.Duration, width int) string {
	text := size(float64(max(done, 0)))
	if total > 0 {
		text = fmt.Sprintf("%3d %%  %s of %s", percent(done, total), text, size(float64(total)))
	}
	text += pace(done, total, elapsed) + blobs(blobsDone, blobsTotal)
	const frame, least = len("[] "), 10
	if cells := width - len(text) - frame; total > 0 && cells >= least {
		text = "[" + cellsOf(cells, done, total) + "] " + text
	}
	return fmt.Sprintf("%-*.*s", max(width, 0), max(width, 0), text)
}

func cellsOf(cells int, done, total int64) string {
	full := cells * percent(done, total) / 100
	return strings.Repeat("#", full) + strings.Repeat("-", cells-full)
}

// percent is rounded down, so that 100 is said only at the end.
func percent(done, total int64) int {
	share := float64(done) / float64(total) * 100
	return int(min(max(share, 0), 100))
}

// pace is the rate and the time left, from the average since the start.
func pace(done, total int64, elapsed time.Duration) string {
	if done <= 0 || elapsed <= 0 {
		return ""
	}
	rate := float64(done) / elapsed.Seconds()
	text := ", " + size(rate) + "/s"
	if total > done {
		// A stalled copy of a huge image overflows a Duration: past a hundred
		// hours nobody reads the number.
		left := min(float64(total-done)/rate, 360_000)
		text += ", " + span(time.Duration(left*float64(time.Second))) + " left"
	}
	return text
}

func blobs(done, total int) string {
	if total <= 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %s", done, count(total, "blob"))
}
