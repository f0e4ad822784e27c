package gate

import (
	"sort"
	"time"
)

// wall is a date and a time of day on somebody's wall, with no zone: the fields
// that it has in UTC.
type wall struct{ time.Time }

func wallOf(t time.Time) wall {
	return wall{time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)}
}

// reach is more than any zone is ahead of or behind UTC. No zone has changed its
// clocks twice within two of it.
const reach = 16 * time.Hour

// in is the instant at which clocks of the zone show the wall's time. Where they
// are put back over it they show it twice. Where they are put forward over it they
// never do: first is then when they jump, and last is when they would have shown it
// if they had not.
func (w wall) in(zone *time.Location) (first, last time.Time) {
	before, after := w.Add(-offset(w.Add(-reach), zone)), w.Add(-offset(w.Add(reach), zone))
	shownBefore, shownAfter := wallOf(before.In(zone)) == w, wallOf(after.In(zone)) == w
	switch {
	case shownBefore && shownAfter:
		return before, after
	case shownBefore:
		return before, before
	case shownAfter:
		return after, after
	}
	return jump(after, before, zone), before
}

func offset(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// jump is the second in (from, to] in which the zone's offset changes.
func jump(from, to time.Time, zone *time.Location) time.Time {
	was := offset(from, zone)
	n := sort.Search(int(to.Sub(from)/time.Second), func(i int) bool {
		return offset(from.Add(time.Duration(i)*time.Second), zone) != was
	})
	return from.Add(time.Duration(n) * time.Second)
}
