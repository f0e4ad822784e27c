package gate

import (
	"fmt"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// judgeSoak asks that the environment before this one has held the image for long
// enough, without a break, as its records say. A tag alone does not say since when.
func (p Policy) judgeSoak(e Evidence) []document.Verdict {
	if p.Soak <= 0 {
		return nil
	}
	if e.From == nil {
		return unknown(Soak, "there is no environment before this one that the image could have been in; name one in from, or leave soak out of the config")
	}
	h, env := *e.From, plain(e.From.Environment)
	switch {
	case h.Err != nil:
		return unknown(Soak, h.unread())
	case h.Digest == "" || h.Digest != e.Image.Digest:
		return fail(Soak, fmt.Sprintf("%s %s not hold the image (%s), which is %s; promote it to %s first", env, does(h.Planned), plain(h.Reference), short(e.Image.Digest), env))
	case h.LedgerErr != nil:
		return unknown(Soak, h.unreadRecords())
	case h.Open != "":
		return unknown(Soak, plain(h.Open))
	case !h.recorded():
		return fail(Soak, fmt.Sprintf("nobody knows since when %s holds it: only its tag %s shows that it does; promote it to %s with this action, which records it, or override this gate if the config lets you", env, plain(h.Reference), env))
	case h.Record != h.Digest && h.Planned:
		return fail(Soak, fmt.Sprintf("%s held it when the plan was made, and its last record says %s; make a new plan of what it holds now", env, short(h.Record)))
	case h.Record != h.Digest:
		return fail(Soak, h.drift())
	case h.Since.IsZero() || h.Since.After(e.Now.Add(clockSkew)):
		return unknown(Soak, fmt.Sprintf("since when %s holds it is not known: %s (it is %s); set the clock of the machine that promoted it, and promote it to %s again", env, sinceTime(h.Since), moment(e.Now), env))
	}
	return p.judgeStay(h, e.Now)
}

func does(planned bool) string {
	if planned {
		return "did"
	}
	return "does"
}

func sinceTime(t time.Time) string {
	if t.IsZero() {
		return "its record does not say"
	}
	return "its record says since " + moment(t) + ", which is still to come"
}

// judgeStay compares how long the image was held with how long it must be.
func (p Policy) judgeStay(h Held, now time.Time) []document.Verdict {
	env, free := plain(h.Environment), h.Since.Add(p.Soak)
	stay := fmt.Sprintf("%s has held it since %s without a break, %s of %s", env, moment(h.Since), exactly(now.Sub(h.Since)), exactly(p.Soak))
	if !now.Before(free) {
		return pass(Soak, stay)
	}
	return freeAt(pending(Soak, fmt.Sprintf("%s; it is long enough at %s, in %s; run it again then", stay, momentUp(free), exactly(roundUp(free.Sub(now))))), free)
}

// exactly is a duration in days, hours and minutes, what is less than a minute left
// out: 6 days of 7 days must not read as 7 of 7.
func exactly(d time.Duration) string {
	if d < long {
		return span(max(d, 0))
	}
	text := count(int(d/day), "day")
	if rest := d % day; rest >= time.Minute {
		text += " " + span(rest)
	}
	return text
}

// momentUp is the first whole minute that is not before t.
func momentUp(t time.Time) string { return moment(t.Add(time.Minute - 1)) }
