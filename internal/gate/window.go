package gate

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Window is a time in which nothing may be promoted: the same every week, or once.
type Window struct {
	reason string
	zone   *time.Location
	weekly bool
	from   wall          // weekly: in the week of Monday, January 1st of 2001
	length time.Duration // on the wall
}

const (
	day  = 24 * time.Hour
	week = 7 * day

	// A duration holds less than three centuries.
	minYear, maxYear = 2000, 2199

	windowRule = `days and times such as "fri 16:00" to "mon 08:00", dates such as 2026-12-20 to 2027-01-04, the last one included, or dates with times such as "2026-12-20 18:00" to "2027-01-04 08:00"`
	zoneRule   = "a name of the IANA time zone database, such as UTC, Europe/Berlin or America/New_York"
)

// firstWeek begins on a Monday.
var firstWeek = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// ParseWindow reads a window: "fri 16:00" to "mon 08:00" every week, or
// 2026-12-20 to 2027-01-04, the last day included, or either date with a time of
// day. An empty time zone is UTC; the reason may be empty. The error is an [*Error].
func ParseWindow(from, to, timezone, reason string) (Window, error) {
	zone, err := parseZone(timezone)
	if err != nil {
		return Window{}, err
	}
	start, err := parseEdge("from", from)
	if err != nil {
		return Window{}, err
	}
	end, err := parseEdge("to", to)
	if err != nil {
		return Window{}, err
	}
	if start.weekly != end.weekly {
		return Window{}, &Error{
			Given:    fmt.Sprintf("from %s and to %s are not of one kind", quote(from), quote(to)),
			Expected: windowRule,
		}
	}
	length, err := lengthOf(start, end)
	if err != nil {
		return Window{}, err
	}
	return Window{reason: reason, zone: zone, weekly: start.weekly, from: wall{start.at}, length: length}, nil
}

func parseZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || zone == time.Local {
		return nil, &Error{Given: "timezone " + quote(name) + " is not known", Expected: zoneRule}
	}
	return zone, nil
}

// edge is a window's beginning or end as it was written.
type edge struct {
	text   string
	at     time.Time // weekly: in the first week, or at its end
	weekly bool
	whole  bool // a date without a time
	late   bool // the time is 24:00
}

var edgeShape = regexp.MustCompile(`^([A-Za-z]+|[0-9]{4}-[0-9]{2}-[0-9]{2})(?: +([0-9]{2}):([0-9]{2}))?$`)

func parseEdge(key, text string) (edge, error) {
	m := edgeShape.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return edge{}, &Error{Given: key + " " + quote(text) + " is no day and time", Expected: windowRule}
	}
	e := edge{text: text, whole: m[2] == ""}
	if m[1][0] > '9' {
		n, ok := dayOfWeek(m[1])
		if !ok {
			return edge{}, &Error{Given: fmt.Sprintf("%s %s: %s is no day of the week", key, quote(text), quote(m[1])), Expected: "mon, tue, wed, thu, fri, sat or sun, and a time"}
		}
		if e.whole {
			return edge{}, &Error{Given: key + " " + quote(text) + " has no time", Expected: `a day of the week and a time from 00:00 to 24:00, such as "fri 16:00"`}
		}
		e.weekly, e.at = true, firstWeek.AddDate(0, 0, n)
	} else {
		date, err := time.Parse(time.DateOnly, m[1])
		if err != nil || date.Year() < minYear || date.Year() > maxYear {
			return edge{}, &Error{
				Given:    fmt.Sprintf("%s %s: there is no such date", key, quote(text)),
				Expected: fmt.Sprintf("a date of the calendar as year-month-day, such as 2026-12-20, in the years %d to %d", minYear, maxYear),
			}
		}
		e.at = date
	}
	return e.withTime(key, m[2], m[3])
}

func (e edge) withTime(key, hours, minutes string) (edge, error) {
	if e.whole {
		return e, nil
	}
	h, _ := strconv.Atoi(hours) // two digits each, as the shape says
	m, _ := strconv.Atoi(minutes)
	if h > 24 || m > 59 || h == 24 && m > 0 {
		return edge{}, &Error{Given: fmt.Sprintf("%s %s: there is no such time of day", key, quote(e.text)), Expected: "a time from 00:00 to 24:00"}
	}
	e.at, e.late = e.at.Add(time.Duration(h)*time.Hour+time.Duration(m)*time.Minute), h == 24
	return e, nil
}

var dayNames = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

// dayOfWeek counts from Monday.
func dayOfWeek(text string) (int, bool) {
	text = strings.ToLower(text)
	for n, name := range dayNames {
		if text == name || text == name[:3] {
			return n, true
		}
	}
	return 0, false
}

func lengthOf(start, end edge) (time.Duration, error) {
	if start.weekly {
		return weeklyLength(start, end)
	}
	until := end.at
	if end.whole {
		until = until.AddDate(0, 0, 1)
	}
	if !start.at.Before(until) {
		return 0, &Error{
			Given:    fmt.Sprintf("from %s is not before to %s", quote(start.text), quote(end.text)),
			Expected: "a window that begins before it ends",
		}
	}
	return until.Sub(start.at), nil
}

// weeklyLength reaches over the end of the week where the end is no later in it.
// "mon 00:00" to "sun 24:00" is the whole week; from a time to the same time could
// be that, or nothing.
func weeklyLength(start, end edge) (time.Duration, error) {
	length := (end.at.Sub(start.at) + week) % week
	if length > 0 {
		return length, nil
	}
	if end.late && !start.late {
		return week, nil
	}
	return 0, &Error{
		Given:    fmt.Sprintf("from %s and to %s are the same time of the week", quote(start.text), quote(end.text)),
		Expected: `two times that differ; the whole week is "mon 00:00" to "sun 24:00"`,
	}
}

// period is from an instant to just before another one.
type period struct{ start, end time.Time }

func (p period) has(t time.Time) bool { return !t.Before(p.start) && t.Before(p.end) }

// around are the window's periods, if they are not empty, from about a week and a
// half before an instant to a fortnight after it; one that is not weekly has one
// period, whenever that is.
func (w Window) around(t time.Time) []period {
	if !w.weekly {
		return w.period(0)
	}
	this := int(wallOf(t.In(w.zone)).Sub(firstWeek) / week)
	var all []period
	for n := this - 2; n <= this+2; n++ {
		all = append(all, w.period(n)...)
	}
	return all
}

// period is the window's in the nth week. What the clocks are put forward or back
// over belongs to the window as far as it can: it must not open early.
func (w Window) period(n int) []period {
	if w.zone == nil {
		return nil // the zero value
	}
	from := w.from.AddDate(0, 0, 7*n)
	start, _ := wall{from}.in(w.zone)
	_, end := wall{from.Add(w.length)}.in(w.zone)
	if !start.Before(end) {
		return nil
	}
	return []period{{start, end}}
}
