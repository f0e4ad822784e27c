package gate

import "errors"

// Window is a time in which nothing may be promoted: the same every week, or once.
type Window struct{ reason string }

// ParseWindow reads a window: "fri 16:00" to "mon 08:00" every week, or
// 2026-12-20 to 2027-01-04, or with times of day. The error is an [*Error].
func ParseWindow(from, to, timezone, reason string) (Window, error) {
	return Window{reason}, errors.New(from + to + timezone)
}
