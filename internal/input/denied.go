package input

// DeniedError says that what was asked for is well written and must not be: an
// environment takes only plans, or a plan is not the one that was approved. Its
// texts are escaped; the hint may have several lines.
type DeniedError struct{ Message, Hint string }

func (e *DeniedError) Error() string { return e.Message }
