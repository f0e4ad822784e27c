package gate

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones, whatever machine this is

	"github.com/artifact-promotion/promote/internal/document"
)

func mustWindow(t testing.TB, from, to, zone string) Window {
	t.Helper()
	w, err := ParseWindow(from, to, zone, "")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	moment, err := time.Parse("2006-01-02 15:04:05", text+":00"[:max(0, 19-len(text))])
	if err != nil {
		t.Fatal(err)
	}
	return moment
}

func TestParseWindowRefuses(t *testing.T) {
	for _, test := range []struct{ from, to, zone, given, expected string }{
		{"", "mon 08:00", "", `from "" is no day and time`, "fri 16:00"},
		{"fri 16:00", "", "", `to "" is no day and time`, "2026-12-20"},
		{"fry 16:00", "mon 08:00", "", `from "fry 16:00": "fry" is no day`, "sun"},
		{"fri", "mon 08:00", "", `from "fri" has no time`, "fri 16:00"},
		{"fri 24:01", "mon 08:00", "", `from "fri 24:01": there is no such time`, "24:00"},
		{"fri 25:00", "mon 08:00", "", "no such time", "24:00"},
		{"fri 12:60", "mon 08:00", "", "no such time", "24:00"},
		{"fri 9:00", "mon 08:00", "", "no day and time", "fri 16:00"},
		{"fri 09:00:00", "mon 08:00", "", "no day and time", "fri 16:00"},
		{"16:00", "18:00", "", "no day and time", "fri 16:00"},
		{"fri 16:00", "2026-12-20", "", "not of one kind", "fri 16:00"},
		{"2026-12-20", "mon 08:00", "", "not of one kind", "fri 16:00"},
		{"fri 16:00", "fri 16:00", "", "same time of the week", "sun 24:00"},
		{"fri 24:00", "sat 00:00", "", "same time of the week", "sun 24:00"},
		{"fri 24:00", "fri 24:00", "", "same time of the week", "sun 24:00"},
		{"2026-02-30", "2026-03-01", "", `from "2026-02-30": there is no such date`, "calendar"},
		{"2026-02-28", "2026-02-29", "", `to "2026-02-29": there is no such date`, "calendar"},
		{"2026-13-01", "2027-01-01", "", "no such date", "calendar"},
		{"2026-00-01", "2027-01-01", "", "no such date", "calendar"},
		{"1999-12-31", "2027-01-01", "", "no such date", "2000 to 2199"},
		{"2026-12-20", "9999-12-31", "", "no such date", "2000 to 2199"},
		{"2026-1-1", "2027-01-01", "", "no day and time", "2026-12-20"},
		{"2026-12-20T18:00", "2027-01-01", "", "no day and time", "2026-12-20 18:00"},
		{"2027-01-04", "2026-12-20", "", `from "2027-01-04" is not before to "2026-12-20"`, "begins before"},
		{"2026-12-20 18:00", "2026-12-20 18:00", "", "is not before", "begins before"},
		{"2026-12-20 18:00", "2026-12-20 17:59", "", "is not before", "begins before"},
		{"2026-12-20 24:00", "2026-12-20", "", "is not before", "begins before"},
		{"fri 16:00", "mon 08:00", "Local", `timezone "Local" is not known`, "Europe/Berlin"},
		{"fri 16:00", "mon 08:00", "Berlin", `timezone "Berlin" is not known`, "Europe/Berlin"},
		{"fri 16:00", "mon 08:00", "../etc/passwd", "is not known", "Europe/Berlin"},
		{"fri 16:00\x00", "mon 08:00", "", `from "fri 16:00\x00"`, "fri 16:00"},
		{strings.Repeat("x", 5000), "mon 08:00", "", "…", "sun"},
	} {
		_, err := ParseWindow(test.from, test.to, test.zone, "")
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("%.40q to %q in %q: %v is no *Error", test.from, test.to, test.zone, err)
			continue
		}
		if !strings.Contains(fault.Given, test.given) || !strings.Contains(fault.Expected, test.expected) {
			t.Errorf("%.40q to %q in %q: %v; want %q and %q", test.from, test.to, test.zone, err, test.given, test.expected)
		}
		if len(err.Error()) > 600 {
			t.Errorf("the error has %d bytes", len(err.Error()))
		}
	}
}

// TestWindowEdges holds the first and the last minute of a window.
func TestWindowEdges(t *testing.T) {
	for _, test := range []struct{ what, from, to, zone, start, end string }{
		{"weekend", "fri 16:00", "mon 08:00", "", "2026-11-20 16:00", "2026-11-23 08:00"},
		{"full names and case", "FRIDAY 16:00", "Monday  08:00", "UTC", "2026-11-20 16:00", "2026-11-23 08:00"},
		{"over midnight", "tue 22:00", "wed 06:00", "", "2026-11-24 22:00", "2026-11-25 06:00"},
		{"one evening", "tue 18:00", "tue 24:00", "", "2026-11-24 18:00", "2026-11-25 00:00"},
		{"from 24:00", "tue 24:00", "wed 01:00", "", "2026-11-25 00:00", "2026-11-25 01:00"},
		{"to the end of the week", "sun 12:00", "sun 24:00", "", "2026-11-22 12:00", "2026-11-23 00:00"},
		{"from the end of the week", "sun 24:00", "mon 01:00", "", "2026-11-23 00:00", "2026-11-23 01:00"},
		{"nearly a week", "mon 00:01", "mon 00:00", "", "2026-11-16 00:01", "2026-11-23 00:00"},
		{"over the year's end", "thu 12:00", "fri 12:00", "", "2026-12-31 12:00", "2027-01-01 12:00"},
		{"over the leap day", "mon 12:00", "wed 12:00", "", "2028-02-28 12:00", "2028-03-01 12:00"},
		{"dates", "2026-12-20", "2027-01-04", "Europe/Berlin", "2026-12-19 23:00", "2027-01-04 23:00"},
		{"one date", "2028-02-29", "2028-02-29", "", "2028-02-29 00:00", "2028-03-01 00:00"},
		{"dates with times", "2026-12-20 18:00", "2027-01-04 08:00", "America/New_York", "2026-12-20 23:00", "2027-01-04 13:00"},
		{"a date and a time", "2026-12-20", "2027-01-04 08:00", "", "2026-12-20 00:00", "2027-01-04 08:00"},
		{"centuries", "2000-01-01", "2199-12-31", "", "2000-01-01 00:00", "2200-01-01 00:00"},
		{"three quarters", "fri 16:00", "mon 08:00", "Asia/Kathmandu", "2026-11-20 10:15", "2026-11-23 02:15"},
		{"three quarters with daylight saving", "fri 16:00", "mon 08:00", "Pacific/Chatham", "2026-11-20 02:15", "2026-11-22 18:15"},
		{"far east", "mon 00:00", "mon 08:00", "Pacific/Kiritimati", "2026-11-22 10:00", "2026-11-22 18:00"},
		{"far west", "sun 20:00", "sun 24:00", "Etc/GMT+12", "2026-11-23 08:00", "2026-11-23 12:00"},

		{"spring, Berlin: over it", "sat 12:00", "sun 12:00", "Europe/Berlin", "2026-03-28 11:00", "2026-03-29 10:00"},
		{"spring, Berlin: begins in the gap", "sun 02:30", "sun 12:00", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 10:00"},
		{"spring, Berlin: ends in the gap", "sat 12:00", "sun 02:30", "Europe/Berlin", "2026-03-28 11:00", "2026-03-29 01:30"},
		{"spring, Berlin: ends as it ends", "sat 12:00", "sun 03:00", "Europe/Berlin", "2026-03-28 11:00", "2026-03-29 01:00"},
		{"spring, Berlin: ends as it begins", "sat 12:00", "sun 02:00", "Europe/Berlin", "2026-03-28 11:00", "2026-03-29 01:00"},
		{"spring, Berlin: within the gap", "2026-03-29 02:15", "2026-03-29 02:45", "Europe/Berlin", "2026-03-29 01:00", "2026-03-29 01:45"},
		{"autumn, Berlin: begins in the hour shown twice", "sun 02:30", "sun 12:00", "Europe/Berlin", "2026-10-25 00:30", "2026-10-25 11:00"},
		{"autumn, Berlin: ends in the hour shown twice", "sat 12:00", "sun 02:30", "Europe/Berlin", "2026-10-24 10:00", "2026-10-25 01:30"},
		{"autumn, Berlin: within the hour shown twice", "sun 02:15", "sun 02:30", "Europe/Berlin", "2026-10-25 00:15", "2026-10-25 01:30"},
		{"autumn, Berlin: ends as it begins", "sat 12:00", "sun 02:00", "Europe/Berlin", "2026-10-24 10:00", "2026-10-25 01:00"},
		{"autumn, Berlin: ends as it ends", "sat 12:00", "sun 03:00", "Europe/Berlin", "2026-10-24 10:00", "2026-10-25 02:00"},
		{"spring, New York: begins in the gap", "sun 02:30", "sun 12:00", "America/New_York", "2026-03-08 07:00", "2026-03-08 16:00"},
		{"spring, New York: ends in the gap", "sat 12:00", "sun 02:30", "America/New_York", "2026-03-07 17:00", "2026-03-08 07:30"},
		{"autumn, New York: begins in the hour shown twice", "sun 01:30", "sun 12:00", "America/New_York", "2026-11-01 05:30", "2026-11-01 17:00"},
		{"autumn, New York: ends in the hour shown twice", "sat 12:00", "sun 01:30", "America/New_York", "2026-10-31 16:00", "2026-11-01 06:30"},
		{"half an hour, Lord Howe: ends in the gap", "sat 12:00", "sun 02:15", "Australia/Lord_Howe", "2026-10-03 01:30", "2026-10-03 15:45"},
		{"midnight that is not shown, Beirut", "2026-03-29", "2026-03-29", "Asia/Beirut", "2026-03-28 22:00", "2026-03-29 21:00"},
		{"a day before midnight that is not shown", "2026-03-28", "2026-03-28", "Asia/Beirut", "2026-03-27 22:00", "2026-03-28 22:00"},
		{"a day that was left out, Apia", "2011-12-29", "2011-12-30", "Pacific/Apia", "2011-12-29 10:00", "2011-12-30 10:00"},
	} {
		w := mustWindow(t, test.from, test.to, test.zone)
		start, end := at(t, test.start), at(t, test.end)
		for _, probe := range []struct {
			at     time.Time
			active bool
		}{{start.Add(-time.Second), false}, {start, true}, {end.Add(-time.Second), true}, {end, false}} {
			if got := len(freezes([]Window{w}, probe.at)) > 0; got != probe.active {
				t.Errorf("%s: active at %s: %v, want %v", test.what, probe.at, got, probe.active)
			}
		}
		if opens, _ := opening([]Window{w}, start); !opens.Equal(end) {
			t.Errorf("%s: opens at %s, want %s", test.what, opens, end)
		}
	}
}

func TestWindowIsNotActiveWhenTheClocksLeaveItOut(t *testing.T) {
	w := mustWindow(t, "2026-03-29 02:30", "2026-03-29 03:00", "Europe/Berlin")
	for minute := range 240 {
		now := at(t, "2026-03-29 00:00").Add(time.Duration(minute) * time.Minute)
		if len(freezes([]Window{w}, now)) > 0 {
			t.Errorf("active at %s", now)
		}
	}
}

func TestZeroWindowIsNeverActive(t *testing.T) {
	if got := freezes([]Window{{}}, time.Now()); len(got) > 0 {
		t.Error(got)
	}
}

// oracle knows a window by looking at the clock of its zone every minute: nothing
// of it computes with offsets.
type oracle struct{ from, to string } // "2006-01-02 15:04", as a clock shows them

const clock = "2006-01-02 15:04"

// mark marks the window's minutes, given what the clock shows in each.
func (o oracle) mark(t *testing.T, shown []string, active []bool) {
	t.Helper()
	start, end := -1, 0
	for i, text := range shown {
		if start < 0 && text >= o.from {
			start = i
		}
		switch {
		case text < o.to:
			end = i + 1
		case text == o.to:
			end = i
		}
	}
	if start < 0 || end == 0 {
		return // it begins after them, or has ended before
	}
	if end < len(shown) {
		end += o.leftOut(t, shown[end-1], shown[end])
	}
	for i := start; i < min(end, len(active)); i++ {
		active[i] = true
	}
}

// leftOut is how many minutes before the window's end the clock jumped over it.
func (o oracle) leftOut(t *testing.T, before, after string) int {
	t.Helper()
	if after == o.to {
		return 0
	}
	last, _ := time.Parse(clock, before)
	to, _ := time.Parse(clock, o.to)
	minutes := int(to.Sub(last)/time.Minute) - 1
	if minutes < 0 || minutes > 120 {
		t.Fatalf("the oracle is wrong: %+v, %s, %s", o, before, after)
	}
	return minutes
}

// look is what the clock of a zone shows, minute by minute.
func look(zone *time.Location, first time.Time, minutes int) []string {
	shown := make([]string, minutes)
	for i := range shown {
		shown[i] = first.Add(time.Duration(i) * time.Minute).In(zone).Format(clock)
	}
	return shown
}

// TestWindowsAgreeWithTheClock compares windows drawn at random, over weeks in
// which clocks change, with someone who looks at the clock.
func TestWindowsAgreeWithTheClock(t *testing.T) {
	if testing.Short() {
		t.Skip("long: it runs without -short")
	}
	random := rand.New(rand.NewPCG(4, 11))
	for _, c := range []struct{ zone, sunday string }{
		{"Europe/Berlin", "2026-03-29"}, {"Europe/Berlin", "2026-10-25"},
		{"America/New_York", "2026-03-08"}, {"America/New_York", "2026-11-01"},
		{"Pacific/Chatham", "2026-04-05"}, {"Australia/Lord_Howe", "2026-10-04"},
		{"Asia/Beirut", "2026-03-29"}, {"America/Havana", "2026-11-01"},
		{"Asia/Kathmandu", "2028-02-27"}, {"UTC", "2027-01-03"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		middle := at(t, c.sunday+" 00:00")
		first := middle.Add(-time.Duration(margin+seen/2) * time.Minute)
		shown := look(zone, first, seen+2*margin)
		for range 5 {
			compare(t, random, zone, middle, first, shown)
		}
	}
}

const (
	seen   = 2 * 7 * 24 * 60 // minutes that are compared
	margin = 2 * 7 * 24 * 60 // and those on both sides, whose windows reach into them
)

func compare(t *testing.T, random *rand.Rand, zone *time.Location, middle, first time.Time, shown []string) {
	t.Helper()
	active := make([]bool, len(shown))
	var windows []Window
	for range 1 + random.IntN(3) {
		w, oracles := draw(t, random, zone, middle)
		windows = append(windows, w)
		for _, o := range oracles {
			o.mark(t, shown, active)
		}
	}
	opens := make([]int, len(active)+1)
	opens[len(active)] = len(active)
	for i := len(active) - 1; i >= 0; i-- {
		opens[i] = i
		if active[i] {
			opens[i] = opens[i+1]
		}
	}
	for i := margin; i < margin+seen; i++ {
		if away := i - len(active)/2; (away < -600 || away > 600) && i%11 != 0 {
			continue // every minute of the night in which clocks change is enough
		}
		now := first.Add(time.Duration(i) * time.Minute)
		if got := len(freezes(windows, now)) > 0; got != active[i] {
			t.Fatalf("%s %s: %+v: active %v, the clock says %v", zone, now, windows, got, active[i])
		}
		if !active[i] || i%5 != 0 || opens[i] == len(active) {
			continue
		}
		want := first.Add(time.Duration(opens[i]) * time.Minute)
		if got, _ := opening(windows, now); !got.Equal(want) {
			t.Fatalf("%s %s: %+v: opens at %s, the clock says %s", zone, now, windows, got, want)
		}
	}
}

// draw draws a window, mostly with an edge in the small hours of the Sunday on
// which clocks change, and tells what a clock shows at each of its edges.
func draw(t *testing.T, random *rand.Rand, zone *time.Location, sunday time.Time) (Window, []oracle) {
	t.Helper()
	edge := func() time.Time {
		if random.IntN(2) == 0 {
			return sunday.Add(time.Duration(random.IntN(16)*15) * time.Minute)
		}
		return sunday.Add(time.Duration(random.IntN(2*7*24*4)-7*24*4) * 15 * time.Minute)
	}
	from, to := edge(), edge()
	for from.Equal(to) {
		to = edge()
	}
	if to.Before(from) {
		from, to = to, from
	}
	if random.IntN(3) == 0 {
		return mustWindow(t, from.Format(clock), to.Format(clock), zone.String()), []oracle{{from.Format(clock), to.Format(clock)}}
	}
	for to.Sub(from) >= 7*24*time.Hour {
		to = to.AddDate(0, 0, -7)
	}
	if to.Equal(from) {
		to = to.Add(time.Hour)
	}
	var all []oracle
	for n := -4; n <= 4; n++ {
		all = append(all, oracle{from.AddDate(0, 0, 7*n).Format(clock), to.AddDate(0, 0, 7*n).Format(clock)})
	}
	return mustWindow(t, from.Format("Mon 15:04"), to.Format("Monday 15:04"), zone.String()), all
}

func TestFreeze(t *testing.T) {
	weekend := func(t *testing.T) Window { return named(t, "fri 16:00", "mon 08:00", "Europe/Berlin", "weekend") }
	for _, test := range []struct {
		what    string
		windows []Window
		now     string
		status  document.Status
		message string
		free    string
	}{
		{"open", []Window{weekend(t)}, "2026-11-24 12:00", document.Pass,
			"no freeze is active; the next one (weekend) begins at 2026-11-27 15:00 UTC (Fri 16:00 Europe/Berlin)", ""},
		{"open, and the next is far", []Window{named(t, "2026-12-20", "2027-01-04", "UTC", "")}, "2026-12-12 23:59", document.Pass,
			"no freeze is active", ""},
		{"open, and the next is a week off", []Window{named(t, "2026-12-20", "2027-01-04", "UTC", "")}, "2026-12-13 00:00", document.Pass,
			"no freeze is active; the next one begins at 2026-12-20 00:00 UTC", ""},
		{"open, and it was long ago", []Window{named(t, "2020-12-20", "2021-01-04", "UTC", "")}, "2026-12-13 00:00", document.Pass,
			"no freeze is active", ""},
		{"closed", []Window{weekend(t)}, "2026-11-22 11:48", document.Pending,
			"frozen (weekend) since 2026-11-20 15:00 UTC (Fri 16:00 Europe/Berlin); it opens at 2026-11-23 07:00 UTC (Mon 08:00 Europe/Berlin), in 19 h 12 min; run it again then", "2026-11-23 07:00"},
		{"the last second", []Window{weekend(t)}, "2026-11-23 06:59:59", document.Pending,
			"frozen (weekend) since 2026-11-20 15:00 UTC (Fri 16:00 Europe/Berlin); it opens at 2026-11-23 07:00 UTC (Mon 08:00 Europe/Berlin), in 1 min; run it again then", "2026-11-23 07:00"},
		{"no reason", []Window{named(t, "fri 16:00", "mon 08:00", "", "")}, "2026-11-22 12:00", document.Pending,
			"frozen since 2026-11-20 16:00 UTC; it opens at 2026-11-23 08:00 UTC, in 20 h; run it again then", "2026-11-23 08:00"},
		{"two that overlap", []Window{weekend(t), named(t, "2026-11-22", "2026-11-24", "UTC", "audit\n\u202ex")}, "2026-11-22 12:00", document.Pending,
			`frozen (weekend and audit \u202ex) since 2026-11-20 15:00 UTC (Fri 16:00 Europe/Berlin); it opens at 2026-11-25 00:00 UTC, in 60 h; run it again then`, "2026-11-25 00:00"},
		{"two that overlap, the later one first", []Window{named(t, "2026-11-22", "2026-11-24", "UTC", "audit"), weekend(t)}, "2026-11-22 12:00", document.Pending,
			"frozen (audit and weekend) since 2026-11-20 15:00 UTC (Fri 16:00 Europe/Berlin); it opens at 2026-11-25 00:00 UTC, in 60 h; run it again then", "2026-11-25 00:00"},
		{"two that touch", []Window{named(t, "mon 08:00", "tue 08:00", "UTC", "monday"), named(t, "sun 08:00", "mon 08:00", "UTC", "sunday")}, "2026-11-22 12:00", document.Pending,
			"frozen (sunday) since 2026-11-22 08:00 UTC; it opens at 2026-11-24 08:00 UTC, in 44 h; run it again then", "2026-11-24 08:00"},
		{"the whole week", []Window{named(t, "mon 00:00", "sun 24:00", "Europe/Berlin", "closed")}, "2026-11-22 12:00", document.Pending,
			"frozen (closed) since 2026-11-15 23:00 UTC (Mon 00:00 Europe/Berlin); it never opens, because the windows cover the whole week; change freeze in the config", ""},
		{"the whole week in two", []Window{named(t, "mon 00:00", "thu 00:00", "UTC", ""), named(t, "thu 00:00", "mon 00:00", "UTC", "")}, "2026-11-22 12:00", document.Pending,
			"frozen since 2026-11-19 00:00 UTC; it never opens, because the windows cover the whole week; change freeze in the config", ""},
	} {
		t.Run(test.what, func(t *testing.T) {
			got := Policy{Freeze: test.windows}.Evaluate(Evidence{Now: at(t, test.now)})
			if len(got) != 1 || got[0].Gate != Freeze || got[0].Status != test.status || got[0].Message != test.message {
				t.Fatalf("%+v\nwant %s: %s", got, test.status, test.message)
			}
			if free := got[0].FreeAt; (free == nil) != (test.free == "") || free != nil && (!free.Equal(at(t, test.free)) || free.Location() != time.UTC) {
				t.Errorf("free at %v, want %q", free, test.free)
			}
		})
	}
}

// TestFreezeOpensOnlyWhenTheClocksChange has windows in two zones that leave a gap
// only while one of them has summer time.
func TestFreezeOpensOnlyWhenTheClocksChange(t *testing.T) {
	windows := []Window{named(t, "mon 00:00", "sun 00:00", "UTC", ""), named(t, "sun 01:00", "mon 01:00", "Europe/Berlin", "")}
	got := Policy{Freeze: windows}.Evaluate(Evidence{Now: at(t, "2026-04-08 12:00")})[0]
	// In summer the second one ends at 23:00 UTC on Sunday, in winter at midnight.
	if want := at(t, "2026-04-12 23:00"); got.FreeAt == nil || !got.FreeAt.Equal(want) {
		t.Errorf("in summer: %+v, want %s", got, want)
	}
	got = Policy{Freeze: windows}.Evaluate(Evidence{Now: at(t, "2026-11-11 12:00")})[0]
	if want := at(t, "2027-03-28 23:00"); got.FreeAt == nil || !got.FreeAt.Equal(want) {
		t.Errorf("in winter: %+v, want %s", got, want)
	}
}

func TestFreezeForCenturiesIsSearchedQuickly(t *testing.T) {
	windows := []Window{named(t, "2000-01-01", "2199-12-31", "", "")}
	for year := 2001; year < 2199; year++ {
		windows = append(windows, named(t, fmt.Sprintf("%d-01-01", year), fmt.Sprintf("%d-12-31", year), "Europe/Berlin", ""))
	}
	windows = append(windows, named(t, "mon 00:00", "sun 24:00", "America/New_York", ""))
	defer time.AfterFunc(2*time.Minute, func() { panic("searched for longer than two minutes") }).Stop()
	if got := (Policy{Freeze: windows}).Evaluate(Evidence{Now: at(t, "2026-11-22 12:00")})[0]; got.FreeAt != nil || got.Status != document.Pending {
		t.Errorf("%+v", got)
	}
}

func named(t testing.TB, from, to, zone, reason string) Window {
	t.Helper()
	w, err := ParseWindow(from, to, zone, reason)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// FuzzParseWindow knows by another way what a window is: each of its edges, read
// back from what was parsed, is what was written.
func FuzzParseWindow(f *testing.F) {
	for _, seed := range [][3]string{
		{"fri 16:00", "mon 08:00", "Europe/Berlin"}, {"2026-12-20", "2027-01-04", ""}, {"2028-02-29 18:00", "2028-02-29 24:00", "UTC"},
		{"mon 00:00", "sun 24:00", "Asia/Kathmandu"}, {"Sunday 02:30", "SUN 03:00", "America/New_York"}, {"x", "", "Local"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, from, to, zone string) {
		w, err := ParseWindow(from, to, zone, "")
		var fault *Error
		switch {
		case err != nil && (!errors.As(err, &fault) || fault.Given == "" || fault.Expected == ""):
			t.Fatalf("%v", err)
		case err != nil:
			return
		}
		if w.length <= 0 || w.weekly && w.length > week {
			t.Fatalf("length %s", w.length)
		}
		for text, edge := range map[string]time.Time{from: w.from.Time, to: w.from.Add(w.length)} {
			if from != to && !written(text, edge, w.weekly) {
				t.Errorf("%q was read as %s", text, edge)
			}
		}
		for _, p := range w.around(w.from.Time) {
			if !p.start.Before(p.end) {
				t.Errorf("%+v", p)
			}
		}
	})
}

// written reports whether an edge of a window can have been written so.
func written(text string, edge time.Time, weekly bool) bool {
	forms := []string{"2006-01-02", "2006-01-02 15:04"}
	if weekly {
		forms = []string{"Mon 15:04", "Monday 15:04"}
	}
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	for _, form := range forms {
		yesterday := strings.Replace(edge.AddDate(0, 0, -1).Format(form), "00:00", "24:00", 1)
		if text == strings.ToLower(edge.Format(form)) || text == strings.ToLower(yesterday) {
			return true
		}
	}
	return false
}
