package gate

import (
	"time"

	"github.com/artifact-promotion/promote/internal/document"
)

// Rollback is one that took an environment from an image to another one.
type Rollback struct {
	At     time.Time // zero: not known
	Actor  string    // untrusted, as Reason is; may be empty
	Reason string
}

// judgeRolledBack refuses an image that the environment was rolled back from, so that automation does
// not bring it back. There is no verdict where that was not so.
func judgeRolledBack(e Evidence) []document.Verdict {
	if e.RolledBack == nil {
		return nil
	}
	text := plain(e.Environment) + " was rolled back from this image"
	if !e.RolledBack.At.IsZero() {
		text += " on " + moment(e.RolledBack.At)
	}
	if e.RolledBack.Actor != "" {
		text += " by " + quote(e.RolledBack.Actor)
	}
	if e.RolledBack.Reason != "" {
		text += ": " + quote(e.RolledBack.Reason)
	}
	return fail(RolledBack, text+"; promote another image, or override this gate with a reason")
}
