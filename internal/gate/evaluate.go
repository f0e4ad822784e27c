package gate

import "github.com/artifact-promotion/promote/internal/document"

// Facts says what evidence the policy needs.
func (p Policy) Facts() Facts { return Facts{} }

// Evaluate judges every gate of the policy, none of them ending the others. The
// verdicts are in the order of [Names]; a gate that the policy does not have has
// none.
func (p Policy) Evaluate(e Evidence) []document.Verdict { return nil }
