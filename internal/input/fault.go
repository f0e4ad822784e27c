package input

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrHelp is returned when help was asked for: print [Usage].
var ErrHelp = errors.New("help was asked for")

// Fault is one input that cannot be used. Its texts are escaped, except that an
// example may have several lines.
type Fault struct {
	Input    string // the input's name, or the argument as it was written
	Given    string // what was given, in quotes, and what is wrong with it
	Expected string // what was expected, or what to do
	Example  string // as it is written in a workflow; may be empty
}

// Message is the fault without its example, in one line.
func (f Fault) Message() string {
	return fmt.Sprintf("%s: given %s; expected %s", f.Input, f.Given, f.Expected)
}

// Hint shows how it is written right; empty if there is nothing to show.
func (f Fault) Hint() string {
	if f.Example == "" {
		return ""
	}
	return "For example:\n  " + strings.ReplaceAll(f.Example, "\n", "\n  ")
}

// Error is everything that is wrong with the inputs, in the table's order.
type Error struct{ Faults []Fault }

// maxShown is how many faults the error's text has at most.
const maxShown = 20

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("invalid input, nothing was contacted:")
	for i, f := range e.Faults {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(e.Faults)-maxShown)
			break
		}
		fmt.Fprintf(&b, "\n%s: given %s\n  expected %s", f.Input, f.Given, f.Expected)
		if f.Example != "" {
			fmt.Fprintf(&b, "\n  example: %s", strings.ReplaceAll(f.Example, "\n", "\n           "))
		}
	}
	return b.String()
}

// sorted puts faults in the order of the table, arguments that name no input
// first, and drops repetitions.
func sorted(faults []Fault) []Fault {
	seen := map[Fault]bool{}
	faults = slices.DeleteFunc(faults, func(f Fault) bool {
		again := seen[f]
		seen[f] = true
		return again
	})
	slices.SortStableFunc(faults, func(a, b Fault) int {
		_, i, _ := lookup(a.Input)
		_, j, _ := lookup(b.Input)
		return i - j
	})
	return faults
}

// maxQuoted is how much of a value a fault repeats, in bytes.
const maxQuoted = 200

// quote shows text escaped to ASCII, so that control characters and look-alikes
// are seen, and shortened.
func quote(text string) string {
	if len(text) > maxQuoted {
		return strconv.QuoteToASCII(text[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(text)
}

// plain is quote without the quotes, for examples.
func plain(text string) string {
	return strings.TrimSuffix(strings.Trim(quote(text), `"`), `"…`)
}
