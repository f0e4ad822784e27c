package report

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

const mib = 1 << 20

func TestProgressLine(t *testing.T) {
	for _, test := range []struct {
		done, total           int64
		blobsDone, blobsTotal int
		elapsed               time.Duration
		want                  string
	}{
		{312 * mib, 1229 * mib, 14, 47, 3714 * time.Millisecond, "copied 312 MiB of 1.2 GiB (25 %), 84 MiB/s, 11 s left, 14 of 47 blobs"},
		{0, 10 * mib, 0, 2, 0, "copied 0 B of 10 MiB (0 %), 0 of 2 blobs"},
		{10 * mib, 10 * mib, 1, 1, 10 * time.Second, "copied 10 MiB of 10 MiB (100 %), 1.0 MiB/s, 1 of 1 blob"},
		{5 * mib, 0, 0, 0, time.Second, "copied 5.0 MiB, 5.0 MiB/s"},
		{12 * mib, 10 * mib, 1, 1, time.Second, "copied 12 MiB of 10 MiB (100 %), 12 MiB/s, 1 of 1 blob"},
		{mib, 3700 * mib, 0, 1, time.Second, "copied 1.0 MiB of 3.6 GiB (0 %), 1.0 MiB/s, 1 h 1 min left, 0 of 1 blob"},
		{-1, -1, -1, -1, -1, "copied 0 B"},
		{1, math.MaxInt64, 0, 1, time.Hour, "copied 1 B of 8192 PiB (0 %), 0 B/s, 100 h 0 min left, 0 of 1 blob"},
	} {
		if got := ProgressLine(test.done, test.total, test.blobsDone, test.blobsTotal, test.elapsed); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

func TestProgressBar(t *testing.T) {
	got := ProgressBar(312*mib, 1229*mib, 14, 47, 3714*time.Millisecond, 90)
	want := "[######-------------------]  25 %  312 MiB of 1.2 GiB, 84 MiB/s, 11 s left, 14 of 47 blobs"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestProgressBarFillsItsWidth(t *testing.T) {
	for width := range 200 {
		for _, total := range []int64{0, 100 * mib} {
			got := ProgressBar(50*mib, total, 1, 2, time.Second, width)
			if len(got) != width || utf8.RuneCountInString(got) != width {
				t.Errorf("width %d: %q has %d bytes", width, got, len(got))
			}
		}
	}
	if got := ProgressBar(1, 2, 0, 0, 0, -5); got != "" {
		t.Errorf("a bar of width -5 is %q", got)
	}
}

func TestProgressBarIsHalfFullAtHalf(t *testing.T) {
	got := ProgressBar(50*mib, 100*mib, 1, 2, time.Second, 120)
	if full, empty := strings.Count(got, "#"), strings.Count(got, "-"); full != empty && full+1 != empty {
		t.Errorf("%d full and %d empty cells in %q", full, empty, got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0.4 s", 10 * time.Second: "10 s", 59600 * time.Millisecond: "1 min 0 s",
		125 * time.Second: "2 min 5 s", 64 * time.Minute: "1 h 4 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}
