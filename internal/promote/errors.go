package promote

import (
	"errors"
	"fmt"
	"strings"

	"github.com/artifact-promotion/promote/internal/document"
	"github.com/artifact-promotion/promote/internal/graph"
	"github.com/artifact-promotion/promote/internal/ledger"
	"github.com/artifact-promotion/promote/internal/registry"
)

// deniedError says that something must not be, and what to do about it: exit 3.
type deniedError struct {
	message, hint string
	gate          string // whose verdict it is; empty: none
}

func (e *deniedError) Error() string { return e.message }

// invalidError says that the input cannot be meant so, as only the image shows: exit 2.
type invalidError struct{ message, hint string }

func (e *invalidError) Error() string { return e.message }

// unrecordedError says that everything is done, but for the ledger's outcome: exit 1.
type unrecordedError struct{ err error }

func (e *unrecordedError) Error() string {
	return fmt.Sprintf("cannot write the outcome to the ledger: %v", e.err)
}

func (e *unrecordedError) Unwrap() error { return e.err }

func (e *unrecordedError) hint() string {
	text := "Run it again, which writes the outcome, or let the next promotion there do it."
	if more := ledgerHint(e.err); more != "" {
		text += "\n" + more
	}
	return text
}

// resultOf is the outcome that an error stands for.
func resultOf(err error) document.Result {
	var denied *deniedError
	var invalid *invalidError
	var unrecorded *unrecordedError
	switch {
	case errors.As(err, &unrecorded):
		return document.Unrecorded
	case errors.As(err, &denied):
		return document.Denied
	case errors.As(err, &invalid):
		return document.Invalid
	default:
		return document.Failed
	}
}

// faultsOf are the single faults of an error that joins several.
func faultsOf(err error) []document.Fault {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var faults []document.Fault
		for _, e := range joined.Unwrap() {
			faults = append(faults, faultsOf(e)...)
		}
		return faults
	}
	fault := document.Fault{Message: strings.TrimSpace(err.Error()), Hint: hintOf(err)}
	var denied *deniedError
	if errors.As(err, &denied) {
		fault.Gate = denied.gate
	}
	return []document.Fault{fault}
}

func hintOf(err error) string {
	var denied *deniedError
	var invalid *invalidError
	var missing *graph.MissingError
	var broken *brokenError
	var unrecorded *unrecordedError
	var conflict *ledger.ConflictError
	var ledgerErr *ledger.Error
	var record recordError
	switch {
	case errors.As(err, &record):
		return record.hint()
	case errors.As(err, &conflict):
		return conflictHint
	case errors.As(err, &ledgerErr):
		return ledgerErr.Hint
	case errors.As(err, &broken):
		return broken.hint
	case errors.As(err, &unrecorded):
		return unrecorded.hint()
	case errors.As(err, &denied):
		return denied.hint
	case errors.As(err, &invalid):
		return invalid.hint
	case errors.As(err, &missing):
		return "A clean-up may have deleted it, or only some platforms were pushed. Push the image again, whole; then promote the digest that this gives."
	default:
		return registry.HintOf(err)
	}
}

// brokenError says that something is not there that should be, and what to do about
// it: exit 1.
type brokenError struct {
	message, hint string
	err           error
}

func (e *brokenError) Error() string { return e.message }

func (e *brokenError) Unwrap() error { return e.err }
