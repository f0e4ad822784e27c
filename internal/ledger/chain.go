package ledger

import (
	"fmt"
	"reflect"
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// Damage is what can be wrong with a ledger.
type Damage string

// The kinds of damage.
const (
	Removed Damage = "removed" // an entry is missing
	Altered Damage = "altered" // an entry or its record is not what was written
	Forked  Damage = "forked"  // two entries follow the same one, and their runs were not at work at the same time
	Moved   Damage = "moved"   // a tag was moved by something that is not in the ledger
)

// Finding is something wrong with a ledger.
type Finding struct {
	Damage  Damage
	Record  string // digest of the record whose entry shows it
	Message string
}

// Check finds what was done to a ledger besides adding to it, and tags that moved between its
// entries. Records are bytes by digest, for as many entries as they were read of.
//
// Runs that were at work at the same time may not have seen each other: they follow the same entry.
func Check(h History, records map[string][]byte) []Finding {
	c := chain{History: h, listed: map[string]bool{}, ids: map[string]bool{}, followed: map[string]Entry{}, points: map[string]string{}}
	for _, e := range h.Entries {
		c.listed[e.Line.Record], c.ids[e.ID] = true, true
		if e.Fault != "" {
			c.nameless++
		}
	}
	for n, e := range h.Entries {
		if e.Fault != "" {
			c.add(Altered, e, "an entry cannot be relied on: %s", e.Fault)
			continue
		}
		c.checkSeen(n, e)
		c.checkPrevious(n, e)
		c.checkTags(e)
		if raw, read := records[e.Line.Record]; read {
			c.compare(e, raw)
		}
	}
	return c.findings
}

type chain struct {
	History
	listed   map[string]bool   // records
	ids      map[string]bool   // of entries
	nameless int               // faulty entries whose ID was not met yet
	followed map[string]Entry  // the first entry that follows a record
	points   map[string]string // digest by tag, as the last entry about it says; a tag that no entry is about is not there
	findings []Finding
}

func (c *chain) add(d Damage, e Entry, format string, args ...any) {
	c.findings = append(c.findings, Finding{d, e.Line.Record, fmt.Sprintf(format, args...)})
}

// checkSeen looks for the entries that were there when one was begun. Those before the first one that was read may
// be in older segments.
func (c *chain) checkSeen(n int, e Entry) {
	if n < maxSeen && !c.Whole {
		return
	}
	for _, id := range e.Seen {
		if !c.ids[id] {
			c.ids[id] = true // it is told once
			if c.nameless--; c.nameless >= 0 {
				continue
			}
			c.add(Removed, e, "entry %d was begun after the entry %s, which is missing", e.Number, id)
		}
	}
}

// checkPrevious follows the chain of records.
func (c *chain) checkPrevious(n int, e Entry) {
	previous := e.Line.PreviousRecord
	if previous == "" {
		if n > 0 && !areConcurrent(c.Entries[0], e) {
			c.add(Forked, e, "entry %d follows no entry, although there are older ones", e.Number)
		}
		return
	}
	if !c.listed[previous] && (n > 0 || c.Whole) {
		c.add(Removed, e, "entry %d follows the record %s, which is not in the ledger", e.Number, previous)
	}
	if other, twice := c.followed[previous]; twice {
		if areConcurrent(other, e) {
			return
		}
		c.add(Forked, e, "entries %d and %d follow the same record %s", other.Number, e.Number, previous)
		return
	}
	c.followed[previous] = e
}

// areConcurrent reports whether the runs of two entries were at work at the same time.
func areConcurrent(a, b Entry) bool {
	return !a.isOver(b.Begun) && !b.isOver(a.Begun)
}

// isOver reports whether the entry's run had ended before a time. Registries' clocks have seconds.
func (e Entry) isOver(t time.Time) bool {
	return !e.IsOpen() && e.Resolved.Before(t.Truncate(time.Second))
}

// checkTags follows the chain of what each tag points to.
func (c *chain) checkTags(e Entry) {
	for _, t := range e.Tags {
		last, known := c.points[t.Name]
		if known && t.Found != last && e.State().Good() {
			c.add(Moved, e, "entry %d found tag %s at %s, and the entry before it left it at %s", e.Number, t.Name, orNothing(t.Found), orNothing(last))
		}
		switch {
		case e.State().Good():
			c.points[t.Name] = t.After
		case e.State() == document.OutcomeInterrupted:
			c.points[t.Name] = t.Held
		}
	}
}

// compare holds an entry against its record.
func (c *chain) compare(e Entry, raw []byte) {
	r, err := document.ParseRecord(raw)
	if err != nil {
		c.add(Altered, e, "the record of entry %d is not readable: %v", e.Number, err)
		return
	}
	want := document.LineOf(r, e.Line.Record, int64(len(raw)), e.State())
	got := e.Line
	want.Moved, got.Moved = time.Time{}, time.Time{}
	if !reflect.DeepEqual(want, got) || r.Entry != e.ID {
		c.add(Altered, e, "entry %d does not say what its record says", e.Number)
	}
}
