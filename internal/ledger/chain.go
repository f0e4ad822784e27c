package ledger

import (
	"fmt"
	"reflect"

	"github.com/artifact-promotion/promote/internal/document"
)

// Damage is what can be wrong with a chain of records.
type Damage string

// The kinds of damage.
const (
	Removed    Damage = "removed"    // the record before this one is in no line
	Altered    Damage = "altered"    // the line or the record is not what was written
	Forked     Damage = "forked"     // another record names the same one before it
	Disordered Damage = "disordered" // the line stands before the one that it follows
)

// Finding is something wrong with a ledger.
type Finding struct {
	Damage  Damage `json:"damage"`
	Record  string `json:"record"`  // digest of the record whose line shows it
	Message string `json:"message"` // what it means, and what may be behind it
}

// Check finds what was done to a ledger besides adding to it. Records are bytes by
// digest, for as many lines as they were read of. What was cut off at the end, only
// the records' tags show (see [Book.CatchUp]).
//
// Two runs at once both follow the same record: that is a fork too, and only whoever
// knows the runs can tell it from a forged one.
func Check(h History, records map[string][]byte) []Finding {
	c := chain{History: h, at: map[string]int{}, follows: map[string]string{}}
	for i, line := range h.Lines {
		if _, twice := c.at[line.Record]; !twice {
			c.at[line.Record] = i
		}
	}
	for i, line := range h.Lines {
		c.judge(i, line)
		if raw, read := records[line.Record]; read {
			c.compare(line, raw)
		}
	}
	return c.findings
}

type chain struct {
	History
	at       map[string]int    // each record's first line
	follows  map[string]string // the first record that names one as the one before it
	findings []Finding
}

func (c *chain) add(d Damage, line document.Line, format string, args ...any) {
	c.findings = append(c.findings, Finding{d, line.Record, fmt.Sprintf(format, args...)})
}

func (c *chain) judge(i int, line document.Line) {
	if line.Fault != "" {
		c.add(Altered, line, "line %d cannot be relied on: %s", i+1, line.Fault)
		return
	}
	before, listed := c.at[line.PreviousRecord]
	begins := i == 0 && (line.PreviousRecord == "" || c.Rebuilt || !c.Whole)
	switch {
	case c.at[line.Record] != i:
		c.add(Forked, line, "lines %d and %d are of the same record", c.at[line.Record]+1, i+1)
		return
	case begins:
	case line.PreviousRecord != "" && !listed:
		c.add(Removed, line, "line %d follows the record %s, which is in no line: somebody has removed it, or its run ended before it was listed", i+1, line.PreviousRecord)
	case listed && before >= i, i > 0 && line.Time.Before(c.Lines[i-1].Time):
		c.add(Disordered, line, "line %d stands before the one that it follows, or is older than the one before it", i+1)
	}
	if line.Outcome == document.OutcomeUnconfirmed {
		return // it counts for nothing: what a run announced, and then announced anew as another came first
	}
	if other, twice := c.follows[line.PreviousRecord]; twice {
		c.add(Forked, line, "line %d follows the same record as %s does: two runs at once promoted there, or somebody has added one", i+1, other)
		return
	}
	c.follows[line.PreviousRecord] = line.Record
}

// compare holds a line against its record. What became of the record, and when, only
// the line says.
func (c *chain) compare(line document.Line, raw []byte) {
	if "sha256:"+hash(string(raw)) != line.Record {
		c.add(Altered, line, "the registry's bytes are not those of the record")
		return
	}
	r, err := document.ParseRecord(raw)
	if err != nil {
		c.add(Altered, line, "%s", err.Error())
		return
	}
	want := document.LineOf(r, line.Record, int64(len(raw)), line.Outcome)
	want.Moved, want.RecordTag, want.Fault = line.Moved, line.RecordTag, line.Fault
	if !reflect.DeepEqual(want, line) {
		c.add(Altered, line, "the line says something else than the record")
		return
	}
	if wrong := map[document.Mode]document.Outcome{
		document.ModePromote: document.OutcomeRolledBack, document.ModeRollback: document.OutcomePromoted,
	}; wrong[r.Mode] == line.Outcome {
		c.add(Altered, line, "the line says %s of a %s", line.Outcome, r.Mode)
	}
}
