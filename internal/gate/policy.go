package gate

import (
	"reflect"
	"time"
)

// The names of the gates, as they stand in the config, in verdicts, and in the
// input override-gates.
const (
	From        = "from"
	Soak        = "soak"
	Platforms   = "platforms"
	Freeze      = "freeze"
	Checks      = "checks"
	Approvals   = "approvals"
	MaxAge      = "max-age"
	Deny        = "deny"
	NoDowngrade = "no-downgrade"
	Labels      = "labels"
	Expressions = "expressions"

	// RolledBack keeps a digest away that the environment was rolled back from. Every environment
	// has it.
	RolledBack = "rolled-back"
)

// Names are all gates, in the order in which they are judged and shown.
var Names = []string{From, Soak, Platforms, Freeze, Checks, Approvals, MaxAge, Deny, NoDowngrade, Labels, Expressions, RolledBack}

// Policy is what one environment asks of an image. The zero value asks nothing.
// That the image must be what the environment before holds is not in it: the
// evidence says whether there is one.
type Policy struct {
	Soak        time.Duration // in the environment before, without a break; 0: none
	Platforms   []Platform    // that the image must be built for
	Freeze      []Window      // when nothing may be promoted
	Checks      *CheckPolicy
	Approvals   *ApprovalPolicy
	MaxAge      time.Duration // since the image was built; 0: any
	Deny        []Denial
	NoDowngrade bool
	Labels      []Label
	Expressions []Expression
}

// IsZero reports whether the policy asks nothing.
func (p Policy) IsZero() bool { return reflect.ValueOf(p).IsZero() }

// CheckPolicy asks for green check runs or commit statuses on the commit that the
// image was built from.
type CheckPolicy struct {
	Repository string   // owner/name of the images' sources, may hold {{image}}; empty: the workflow's own
	Names      []string // of check runs, or contexts of commit statuses
}

// ApprovalPolicy asks for approvals of the run's own GitHub environments.
type ApprovalPolicy struct {
	Environments []string // each must be approved
	Distinct     bool     // by as many people as there are environments
	NotActor     bool     // none of whom started the run
}

// Denial is a digest that must not be promoted: an image's, a platform's, a
// layer's or an attachment's.
type Denial struct {
	Digest string // sha256:…
	Reason string
}

// Facts says what evidence a policy needs that costs requests to gather.
type Facts struct {
	Image     bool // labels, creation times: every platform's configuration
	Previous  bool // the same of what the target's tag holds now
	Checks    bool
	Approvals bool
	Order     bool // of the commits of the previous image and of this one

	// Records are those of the environment before, as they are now: also where a plan
	// says what it held then. Where nothing says that, from asks for them anyhow.
	Records bool
}

// ForRollback is what of the policy an image is held to that the environment held
// before: whatever else was asked of it, it once met.
func (p Policy) ForRollback() Policy { return Policy{Deny: p.Deny} }

// Error is a value that a policy cannot have.
type Error struct {
	Given    string // what is wrong with it
	Expected string
	Line     int // within a text of several lines, from 1; 0: not known
	Column   int // in characters, from 1
}

func (e *Error) Error() string { return e.Given + "; expected " + e.Expected }
