package document

import "time"

// Status is what a gate says.
type Status string

// What a gate can say. Only Pass lets a tag move; Pending is no hindrance to a plan.
const (
	Pass    Status = "pass"
	Fail    Status = "fail"
	Pending Status = "pending" // not yet: it may pass later, without anything about the image changing
	Unknown Status = "error"   // it could not be found out
)

// Verdict is what one gate says about one promotion, and why.
type Verdict struct {
	Gate       string     `json:"gate"`           // its key in the config: "freeze"
	Name       string     `json:"name,omitempty"` // of one of several under a key, such as an expression's
	Status     Status     `json:"status"`
	Message    string     `json:"message"`              // why, as a sentence for people
	FreeAt     *time.Time `json:"freeAt,omitempty"`     // when it will pass by itself, if that is known; UTC
	Overridden bool       `json:"overridden,omitempty"` // it did not pass, and was overridden
}

// Passes reports whether the gate lets a tag move.
func (v Verdict) Passes() bool { return v.Status == Pass || v.Overridden }
