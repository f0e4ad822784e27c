package ledger

import (
	"context"
	"fmt"
	"time"
)

const (
	// lease is how long after its last sign of life the run of an open entry counts as at work.
	lease = 2 * time.Minute
	// writable is how long after its last sign of life a run may begin to write a tag. Each such
	// write takes at most writeTime, so that a run which was paused, and continues, has either
	// written before its lease is over, or notices that it is.
	writable = time.Minute
	// renewAfter is when a run with many tags renews its lease.
	renewAfter = writable / 2
	// WriteTime is how long one write of a tag may take.
	WriteTime = 20 * time.Second
	// leaseEvery is how often a run that waits for another one looks.
	leaseEvery = 5 * time.Second
)

// firstSeen is when this run first saw an open entry as it is.
type firstSeen struct {
	renewed time.Time // by the entry
	at      time.Time // by this machine's clock
}

func (l *Ledger) watchLeases(v View) {
	for _, e := range v.entries {
		if seen, known := l.leases[e.ID]; e.IsOpen() && (!known || !seen.renewed.Equal(e.Renewed)) {
			l.leases[e.ID] = firstSeen{e.Renewed, v.began}
		}
	}
}

// leaseLeft is for how long the run of an open entry still counts as at work. The registry's
// clock decides: both runs read it. Without one, or if the entry is of a time to come, this run's
// own clock does, from when it first saw the entry as it is.
func (l *Ledger) leaseLeft(e Entry, v View) time.Duration {
	if e.Run.precedes(l.run) {
		return 0
	}
	term := l.lease
	own := term - time.Since(l.leases[e.ID].at)
	if v.clock.IsZero() || e.Renewed.IsZero() || e.Renewed.After(v.clock.Add(term)) {
		return own
	}
	return min(term, e.Renewed.Add(term).Sub(v.clock)) // the clock has seconds only, and is never ahead of itself
}

// rivals are the open entries of others about any of the tags.
func (h head) rivals(own string, tags []string) (open []Entry) {
	for _, e := range h.entries {
		if e.ID != own && e.IsOpen() && e.Moves(tags) {
			open = append(open, e)
		}
	}
	return open
}

// atWork is the first of them whose lease is not over.
func (l *Ledger) atWork(v View, rivals []Entry) (e Entry, left time.Duration, found bool) {
	for _, e := range rivals {
		if left := l.leaseLeft(e, v); left > 0 {
			return e, left, true
		}
	}
	return Entry{}, 0, false
}

// Await waits until no other run is at work on any of the tags. It says for whom it waits.
func (l *Ledger) Await(ctx context.Context, v View, tags []string, say func(string)) (View, error) {
	return l.await(ctx, v, "", tags, say)
}

// await is Await for a run that has an entry of its own, perhaps.
func (l *Ledger) await(ctx context.Context, v View, own string, tags []string, say func(string)) (View, error) {
	said := map[string]bool{}
	for {
		e, left, found := l.atWork(v, union(l.known, v.head).rivals(own, tags))
		if !found {
			return v, nil
		}
		if !said[e.ID] {
			said[e.ID] = true
			say(fmt.Sprintf("Another run is promoting %s there (%s); this run waits for it, for up to %s.", e.Line.Digest, e.describeRun(), left.Round(time.Second)))
		}
		if err := sleep(ctx, min(left, leaseEvery)); err != nil {
			return v, fmt.Errorf("this run was waiting for another one (%s), which has not ended: %w", e.describeRun(), err)
		}
		var err error
		if v, err = l.Read(ctx); err != nil {
			return v, err
		}
	}
}

// describeRun is the run's URL, or who started it.
func (e Entry) describeRun() string {
	switch {
	case e.Run.URL != "":
		return e.Run.URL
	case e.Line.Actor != "":
		return "started by " + e.Line.Actor
	}
	return "begun " + e.Begun.UTC().Format("2006-01-02 15:04:05 UTC")
}
