package gate

import (
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

const (
	// horizon is how soon a freeze must begin to be worth a word.
	horizon = week
	// enough is for how long weekly windows must follow upon each other without a
	// gap to have none: a year and more, in which every zone changes its clocks.
	enough = 54 * week
)

// judgeFreeze asks that no window is active.
func (p Policy) judgeFreeze(e Evidence) []document.Verdict {
	if len(p.Freeze) == 0 {
		return nil
	}
	active := freezes(p.Freeze, e.Now)
	if len(active) == 0 {
		return pass(Freeze, "no freeze is active"+next(p.Freeze, e.Now))
	}
	opens, last := opening(p.Freeze, e.Now)
	if opens.IsZero() {
		return pending(Freeze, frozen(active)+"; it never opens, because the windows cover the whole week; change freeze in the config")
	}
	message := fmt.Sprintf("%s; it opens at %s, in %s; run it again then", frozen(active), moments(opens, last.zone), spanUp(opens.Sub(e.Now)))
	return freeAt(pending(Freeze, message), opens)
}

// freeze is a window that is active, and its period.
type freeze struct {
	Window
	period
}

func freezes(windows []Window, t time.Time) []freeze {
	var active []freeze
	for _, w := range windows {
		for _, p := range w.around(t) {
			if p.has(t) {
				active = append(active, freeze{w, p})
			}
		}
	}
	return active
}

// frozen says what is active, and since when; the freeze that began first speaks.
func frozen(active []freeze) string {
	first := active[0]
	var reasons []string
	for _, f := range active {
		if f.start.Before(first.start) {
			first = f
		}
		if f.reason != "" {
			reasons = append(reasons, plain(f.reason))
		}
	}
	if len(reasons) == 0 {
		return "frozen since " + moments(first.start, first.zone)
	}
	return fmt.Sprintf("frozen (%s) since %s", list(reasons), moments(first.start, first.zone))
}

// opening is the first instant from t on at which no window is active, and the
// window that is the last one to end; zero if there is none. A window that is not
// weekly ends once, so that the search does too.
func opening(windows []Window, t time.Time) (time.Time, Window) {
	var last Window
	for weekly := t; t.Sub(weekly) < enough; {
		active := freezes(windows, t)
		if len(active) == 0 {
			return t, last
		}
		for _, f := range active {
			if f.end.After(t) {
				t, last = f.end, f.Window
			}
		}
		if !last.weekly {
			weekly = t
		}
	}
	return time.Time{}, Window{}
}

// next says when the next freeze begins, if that is soon.
func next(windows []Window, now time.Time) string {
	var soonest freeze
	for _, w := range windows {
		for _, p := range w.around(now) {
			if p.start.After(now) && p.start.Sub(now) <= horizon && (soonest.start.IsZero() || p.start.Before(soonest.start)) {
				soonest = freeze{w, p}
			}
		}
	}
	if soonest.start.IsZero() {
		return ""
	}
	because := ""
	if soonest.reason != "" {
		because = " (" + plain(soonest.reason) + ")"
	}
	return fmt.Sprintf("; the next one%s begins at %s", because, moments(soonest.start, soonest.zone))
}
